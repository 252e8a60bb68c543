//! A cluster to ask, and a namespace of its own for every row.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: the test's own client"
)]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::{Config, DevCluster};
use serde_json::{Value, json};

pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON: &str = "application/json-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// The cluster under test.
pub(crate) struct Cluster {
    client: reqwest::Client,
    url: String,
    token: String,
    run: String,
    embedded: Option<DevCluster>,
}

impl Cluster {
    /// The one `CONFORMANCE_KUBECONFIG` names, or a new embedded one.
    pub(crate) async fn find() -> Self {
        let (kubeconfig, embedded) = if let Ok(path) = std::env::var("CONFORMANCE_KUBECONFIG") {
            (std::fs::read_to_string(path).unwrap(), None)
        } else {
            let cluster = DevCluster::start(Config::default()).await.unwrap();
            (cluster.kubeconfig().to_owned(), Some(cluster))
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config: Value = serde_saphyr::from_str(&kubeconfig).unwrap();
        let server = &config["clusters"][0]["cluster"];
        let mut client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30));
        client = match server["certificate-authority-data"].as_str() {
            Some(data) => {
                let pem = STANDARD.decode(data).unwrap();
                client.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem).unwrap())
            }
            None => client.tls_danger_accept_invalid_certs(true),
        };
        Self {
            client: client.build().unwrap(),
            url: server["server"].as_str().unwrap().to_owned(),
            token: config["users"][0]["user"]["token"].as_str().unwrap().to_owned(),
            run: uuid::Uuid::new_v4().simple().to_string()[..6].to_owned(),
            embedded,
        }
    }

    /// A namespace for one row.
    pub(crate) async fn world(&self, number: usize) -> World {
        let namespace = format!("row-{number}-{}", self.run);
        let world = World {
            client: self.client.clone(),
            url: self.url.clone(),
            token: self.token.clone(),
            group: format!("row-{number}-{}.example.com", self.run),
            namespace,
        };
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}});
        world.post("/api/v1/namespaces", &object).await.expect(201);
        world
    }

    pub(crate) async fn stop(self) {
        if let Some(cluster) = self.embedded {
            cluster.stop().await;
        }
    }
}

/// Access to the cluster for one row.
#[derive(Clone)]
pub(crate) struct World {
    client: reqwest::Client,
    pub(crate) url: String,
    pub(crate) token: String,
    /// An API group no other row uses.
    pub(crate) group: String,
    pub(crate) namespace: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// The body, if the code is as expected.
    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }

    /// A refusal's message, if code and reason are as expected.
    #[track_caller]
    pub(crate) fn refused(self, code: u16, reason: &str) -> String {
        assert_eq!(self.code, code, "{}", self.body);
        assert_eq!(self.body["kind"], "Status");
        assert_eq!(self.body["status"], "Failure");
        assert_eq!(
            self.body["reason"].as_str().unwrap_or_default(),
            reason,
            "{}",
            self.body
        );
        self.body["message"].as_str().unwrap_or_default().to_owned()
    }
}

impl World {
    /// Any request. `headers` replace the defaults.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.bearer_auth(&self.token);
        }
        if !headers.iter().any(|(name, _)| *name == "user-agent") {
            request = request.header("user-agent", "conformance/v1");
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let code = response.status().as_u16();
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|w| {
                let text = w
                    .to_str()
                    .unwrap()
                    .strip_prefix("299 - \"")
                    .unwrap()
                    .strip_suffix('"')
                    .unwrap();
                text.replace("\\\"", "\"")
            })
            .collect();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { code, body, warnings }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send("GET", path, &[("accept", accept)], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            Some(body.to_string()),
        )
        .await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "PUT",
            path,
            &[("content-type", "application/json")],
            Some(body.to_string()),
        )
        .await
    }

    pub(crate) async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        self.send("PATCH", path, &[("content-type", kind)], Some(body.to_string()))
            .await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Answer {
        self.send(
            "DELETE",
            path,
            &[("content-type", "application/json")],
            Some(options.to_string()),
        )
        .await
    }

    /// Path of a namespaced resource type in this row's namespace: `core("configmaps")`.
    pub(crate) fn core(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    pub(crate) fn apps(&self, rest: &str) -> String {
        format!("/apis/apps/v1/namespaces/{}/{rest}", self.namespace)
    }

    /// Path below this row's own group.
    pub(crate) fn own(&self, version: &str, rest: &str) -> String {
        format!(
            "/apis/{}/{version}/namespaces/{}/{rest}",
            self.group, self.namespace
        )
    }

    /// Reads until `done` says so, for 60 seconds at most: a real control plane under load takes its time.
    pub(crate) async fn until(&self, path: &str, what: &str, done: impl Fn(&Answer) -> bool) -> Answer {
        let started = std::time::Instant::now();
        loop {
            let answer = self.get(path).await;
            if done(&answer) {
                return answer;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{what}: {}",
                answer.body
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The lines of a watch, read until `enough` says so (or the watch ends).
    pub(crate) async fn watch(&self, path: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        self.watch_as(path, "application/json", enough).await
    }

    pub(crate) async fn watch_as(
        &self,
        path: &str,
        accept: &str,
        enough: impl Fn(&[Value]) -> bool,
    ) -> Vec<Value> {
        let url = format!("{}{path}", self.url);
        let mut response = self
            .client
            .get(url)
            .bearer_auth(&self.token)
            .header("accept", accept)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let (mut buffer, mut lines) = (Vec::new(), Vec::new());
        while !enough(&lines) {
            let Some(chunk) = tokio::time::timeout(Duration::from_secs(20), response.chunk())
                .await
                .expect("a line in time")
                .unwrap()
            else {
                break;
            };
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                lines.push(serde_json::from_slice(&line).unwrap());
            }
        }
        lines
    }

    /// The same row in another namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    /// Between two looks at something that must not change.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// A ConfigMap of this row.
    pub(crate) async fn config_map(&self, name: &str, data: Value) -> Value {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        self.post(&self.core("configmaps"), &object).await.expect(201)
    }

    /// Ends the row's namespace and everything of its group.
    pub(crate) async fn clean(&self) {
        for kind in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{}", self.namespace);
            self.delete(&path, &json!({})).await;
        }
        let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let all = self.get(crds).await.body;
        for crd in all["items"].as_array().into_iter().flatten() {
            if crd["spec"]["group"] == self.group.as_str() {
                self.delete(
                    &format!("{crds}/{}", crd["metadata"]["name"].as_str().unwrap()),
                    &json!({}),
                )
                .await;
            }
        }
        self.delete(&format!("/api/v1/namespaces/{}", self.namespace), &json!({}))
            .await;
    }
}

/// The names of a list's items.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap())
        .collect()
}

/// The fields of a Status' causes.
pub(crate) fn causes(status: &Value) -> Vec<(&str, &str)> {
    let list = status["details"]["causes"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    list.iter()
        .map(|c| {
            (
                c["field"].as_str().unwrap_or_default(),
                c["reason"].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

/// A Deployment of `image` with label `app: NAME`.
pub(crate) fn deployment(name: &str, image: &str, replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]}}}})
}
