//! The rights that are shipped, given to a test's client: `manifests/base/rbac.yaml`, word for word.

#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::disallowed_types, reason = "shell: the test's own client")]

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Request, Response};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::client::Body;
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::Value;
use tower::{Layer, Service};

/// Installs the roles with `namespace` in place of `verdigris-system`, and gives the configuration of a client that
/// is the ServiceAccount.
pub(crate) async fn account(admin: &Client, config: kube::Config, namespace: &str) -> kube::Config {
    grant(admin, "base/rbac.yaml", namespace).await;
    token(admin, config, namespace).await
}

/// Installs the roles of a file in `manifests`, with `namespace` in place of `verdigris-system`.
pub(crate) async fn grant(admin: &Client, file: &str, namespace: &str) {
    for object in roles(file, namespace) {
        create(admin, &object).await;
    }
}

/// The configuration of a client that is the ServiceAccount of a namespace.
pub(crate) async fn token(admin: &Client, mut config: kube::Config, namespace: &str) -> kube::Config {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/verdigris/token");
    let body = br#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#.to_vec();
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let answer: Value = admin.request(request).await.unwrap();
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    config.auth_info = kube::config::AuthInfo {
        token: Some(token.into()),
        ..kube::config::AuthInfo::default()
    };
    config
}

fn roles(file: &str, namespace: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("namespace: verdigris-system", &format!("namespace: {namespace}"));
    text.split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

async fn create(admin: &Client, object: &Value) {
    let kind = object["kind"].as_str().unwrap();
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", "v1"));
    let plural = format!("{}s", kind.to_lowercase());
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(admin.clone(), namespace, &resource),
        None => Api::all_with(admin.clone(), &resource),
    };
    let object = serde_json::from_value(object.clone()).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Notes every call that RBAC did not allow.
#[derive(Clone, Default)]
pub(crate) struct Denied(Arc<Mutex<Vec<String>>>);

impl Denied {
    pub(crate) fn seen(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl<S> Layer<S> for Denied {
    type Service = Noting<S>;

    fn layer(&self, inner: S) -> Noting<S> {
        Noting {
            inner,
            denied: self.clone(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Noting<S> {
    inner: S,
    denied: Denied,
}

impl<S, B> Service<Request<Body>> for Noting<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = format!("{} {}", request.method(), request.uri());
        let (denied, answer) = (self.denied.clone(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await?;
            if answer.status() == http::StatusCode::FORBIDDEN {
                denied.0.lock().unwrap().push(asked);
            }
            Ok(answer)
        })
    }
}
