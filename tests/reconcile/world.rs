//! A cluster, a controller that can be killed, and a stub of everything the controller asks.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: the test's own client and tasks"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's world: what fails here fails the test"
)]

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use devcluster::DevCluster;
use futures::TryStreamExt as _;
use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use verdigris::cache::Caches;
use verdigris::cluster::{Cluster, Kind, to_value};
use verdigris::controller;
use verdigris::lease::{self, Election, Leadership};
use verdigris::model::parse::Settings;
use verdigris::net::outbound::{Outbound, Reach};
use verdigris::policy::{Set, Shared};
use verdigris::telemetry::Metrics;
use verdigris::workload;

#[path = "../support/rights.rs"]
pub(crate) mod rights;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) const NAMESPACE: &str = "test";

/// Everything a test needs.
pub(crate) struct World {
    pub(crate) cluster: Arc<DevCluster>,
    /// The test's own hands.
    pub(crate) api: Cluster,
    watched: Client,
    denied: rights::Denied,
    calls: Arc<Mutex<Vec<String>>>,
    controller: Option<JoinHandle<Result<(), String>>>,
    stopper: Option<tokio::sync::oneshot::Sender<()>>,
    pub(crate) stub: Stub,
    pub(crate) tracking: bool,
    /// What the organisation asks: nothing, at first.
    pub(crate) policies: Arc<Shared>,
}

impl World {
    /// A cluster with the CRDs, without a controller. The controller's client has the rights of the shipped
    /// ServiceAccount and no others.
    pub(crate) async fn new() -> Self {
        let enforced = devcluster::Config {
            rbac: true,
            ..devcluster::Config::default()
        };
        let cluster = DevCluster::start(enforced).await.unwrap();
        let config = Kubeconfig::from_yaml(cluster.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
            .await
            .unwrap();
        let api = Cluster::new(Client::try_from(config.clone()).unwrap());
        found(&api.client).await;
        let account = rights::account(&api.client, config, NAMESPACE).await;
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&calls);
        let note = tower::util::MapRequestLayer::new(move |request: http::Request<kube::client::Body>| {
            log.lock()
                .unwrap()
                .push(format!("{} {}", request.method(), request.uri()));
            request
        });
        let denied = rights::Denied::default();
        let watched = ClientBuilder::try_from(account)
            .unwrap()
            .with_layer(&note)
            .with_layer(&denied)
            .build();
        Self {
            cluster: Arc::new(cluster),
            api,
            watched,
            denied,
            calls,
            controller: None,
            stopper: None,
            stub: Stub::start().await,
            tracking: true,
            policies: Arc::new(Shared::fixed(Set::default())),
        }
    }

    /// The same with a controller.
    pub(crate) async fn start() -> Self {
        let mut world = Self::new().await;
        world.control();
        world
    }

    /// Starts a controller, after the last one was killed.
    pub(crate) fn control(&mut self) {
        let (stopper, asked) = tokio::sync::oneshot::channel();
        let stop = async move {
            // A world that is dropped stops its controller too.
            let _ = asked.await;
        };
        self.stopper = Some(stopper);
        self.controller = Some(tokio::spawn(self.controller(Leadership::alone(), stop)));
    }

    /// Starts a controller that acts while it holds the Lease.
    pub(crate) fn compete(&self, identity: &str, duration: Duration) -> Replica {
        let (election, leadership) = Election::new(
            self.watched.clone(),
            lease::Config {
                namespace: NAMESPACE.to_owned(),
                identity: identity.to_owned(),
                duration,
                alone_without_namespace: false,
            },
        );
        let retire = CancellationToken::new();
        let (electing, controller) = (
            election.run(retire.clone()),
            self.controller(leadership.clone(), std::future::pending()),
        );
        Replica {
            leadership,
            retire,
            electing: tokio::spawn(electing),
            controller: tokio::spawn(controller),
        }
    }

    fn controller<S: Future<Output = ()> + Send + Sync + 'static>(
        &self,
        leadership: Leadership,
        stop: S,
    ) -> impl Future<Output = Result<(), String>> + Send + use<S> {
        let config = controller::Config {
            namespace: None,
            metrics_server: self.stub.url.clone(),
            settings: Settings {
                min_interval: Duration::from_millis(50),
                ..Settings::default()
            },
            rendering: workload::Options::default(),
            track_configs: self.tracking,
            concurrency: 8,
            notifier: None,
            cluster_name: None,
            event_webhook: None,
        };
        let outbound = Outbound::new(Reach::Anywhere).unwrap();
        let caches = Caches::new(None);
        let watching = caches.clone().keep(self.watched.clone());
        let run = controller::run(
            self.watched.clone(),
            caches,
            config,
            outbound,
            Arc::clone(&self.policies),
            Arc::new(Metrics::new()),
            leadership,
            stop,
        );
        async {
            tokio::select! {
                ended = run => ended,
                ended = watching => ended,
            }
        }
    }

    /// SIGTERM; the controller ends when it is done.
    pub(crate) fn terminate(&mut self) -> JoinHandle<Result<(), String>> {
        self.stopper.take().unwrap().send(()).unwrap();
        self.controller.take().unwrap()
    }

    /// A connection to a ready pod of a Service.
    pub(crate) async fn dial(&self, service: &str, port: u16) -> std::io::Result<tokio::net::TcpStream> {
        self.cluster.pods().unwrap().dial(service, port).await
    }

    pub(crate) fn kubeconfig(&self) -> &str {
        self.cluster.kubeconfig()
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        let controller = self.controller.take().unwrap();
        controller.abort();
        assert!(
            controller.await.unwrap_err().is_cancelled(),
            "the controller had ended"
        );
    }

    /// What the controller has asked of the API so far, but for watches.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        calls
            .iter()
            .filter(|call| !call.contains("watch=true"))
            .cloned()
            .collect()
    }

    /// Gives the ServiceAccount more rights: those of a file in `manifests`.
    pub(crate) async fn grant(&self, file: &str) {
        rights::grant(&self.api.client, file, NAMESPACE).await;
    }

    pub(crate) async fn create(&self, object: Value) -> Value {
        let kind = kind_of(object["kind"].as_str().unwrap());
        let mut object = object;
        object["metadata"]["namespace"] = json!(NAMESPACE);
        self.api.create(kind, &object).await.unwrap()
    }

    pub(crate) async fn patch(&self, kind: &str, name: &str, patch: Value) {
        self.api
            .merge(kind_of(kind), NAMESPACE, name, &patch)
            .await
            .unwrap();
    }

    /// A patch by somebody else.
    pub(crate) async fn patch_as(&self, manager: &str, kind: &str, name: &str, patch: Value) {
        let parameters = kube::api::PatchParams {
            field_manager: Some(manager.to_owned()),
            ..kube::api::PatchParams::default()
        };
        let api = kind_of(kind).api(&self.api.client, NAMESPACE);
        api.patch(name, &parameters, &kube::api::Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// `kubectl scale` of a Deployment.
    pub(crate) async fn scale_as(&self, manager: &str, name: &str, replicas: i64) {
        let parameters = kube::api::PatchParams {
            field_manager: Some(manager.to_owned()),
            ..kube::api::PatchParams::default()
        };
        let api = Kind::DEPLOYMENT.api(&self.api.client, NAMESPACE);
        let patch = json!({"spec": {"replicas": replicas}});
        api.patch_scale(name, &parameters, &kube::api::Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Makes the cluster serve KEDA's ScaledObjects.
    pub(crate) async fn define_keda(&self) {
        let crds = Kind {
            group: "apiextensions.k8s.io",
            version: "v1",
            kind: "CustomResourceDefinition",
            plural: "customresourcedefinitions",
        };
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "scaledobjects.keda.sh"},
            "spec": {
                "group": "keda.sh", "scope": "Namespaced",
                "names": {
                    "kind": "ScaledObject", "plural": "scaledobjects", "singular": "scaledobject",
                    "listKind": "ScaledObjectList",
                },
                "versions": [{
                    "name": "v1alpha1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        });
        let api = kube::Api::<kube::api::DynamicObject>::all_with(self.api.client.clone(), &crds.resource());
        let object = serde_json::from_value(crd).unwrap();
        api.create(&kube::api::PostParams::default(), &object)
            .await
            .unwrap();
        let objects = Kind::SCALED_OBJECT.api(&self.api.client, NAMESPACE);
        let served = async {
            while objects.list(&kube::api::ListParams::default()).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, served).await.unwrap();
    }

    pub(crate) async fn image(&self, kind: &str, name: &str, image: &str) {
        let containers =
            json!([{"name": "app", "image": image, "ports": [{"name": "http", "containerPort": 9898}]}]);
        self.patch(
            kind,
            name,
            json!({"spec": {"template": {"spec": {"containers": containers}}}}),
        )
        .await;
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> Value {
        self.find(kind, name)
            .await
            .unwrap_or_else(|| panic!("{kind} {name} does not exist"))
    }

    pub(crate) async fn find(&self, kind: &str, name: &str) -> Option<Value> {
        self.api.get(kind_of(kind), NAMESPACE, name).await.unwrap()
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        self.api.delete(kind_of(kind), NAMESPACE, name).await.unwrap();
    }

    /// Waits until an object (`Null` when there is none) is as expected, and returns it.
    pub(crate) async fn until(&self, kind: &str, name: &str, expected: impl Fn(&Value) -> bool) -> Value {
        let api = kind_of(kind).api(&self.api.client, NAMESPACE);
        let last = Mutex::new(Value::Null);
        let found = async {
            let mut changes = std::pin::pin!(watcher::watch_object(api, name));
            loop {
                // A watch that breaks begins anew.
                let Ok(Some(change)) = changes.try_next().await else {
                    continue;
                };
                let object = change.map_or(Value::Null, |object| to_value(name, &object).unwrap());
                last.lock().unwrap().clone_from(&object);
                if expected(&object) {
                    return object;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("{kind} {name} never became as expected: {}", last.lock().unwrap()))
    }

    pub(crate) async fn until_phase(&self, canary: &str, phase: &str) -> Value {
        self.until("Canary", canary, |object| object["status"]["phase"] == phase)
            .await
    }

    /// Waits until the Canary is stalled for a reason; its message.
    pub(crate) async fn until_stalled(&self, canary: &str, reason: &str) -> String {
        let object = self
            .until("Canary", canary, |object| {
                stalled(object).is_some_and(|condition| condition["reason"] == reason)
            })
            .await;
        stalled(&object).unwrap()["message"].as_str().unwrap().to_owned()
    }

    /// Counts of the events about an object, by message.
    pub(crate) async fn events(&self, about: &str) -> HashMap<String, i64> {
        let events = self.api.list(Kind::EVENT, NAMESPACE, "").await.unwrap();
        let about = events.iter().filter(|event| {
            event["involvedObject"]["name"] == about && event["involvedObject"]["kind"] == "Canary"
        });
        about
            .map(|event| {
                (
                    event["message"].as_str().unwrap().to_owned(),
                    event["count"].as_i64().unwrap(),
                )
            })
            .collect()
    }
}

async fn found(client: &Client) {
    let crds = Kind {
        group: "apiextensions.k8s.io",
        version: "v1",
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
    };
    let cluster_wide =
        |kind: Kind| kube::Api::<kube::api::DynamicObject>::all_with(client.clone(), &kind.resource());
    for crd in verdigris::api::crd::all(None) {
        let object = serde_json::from_value(serde_json::to_value(&crd).unwrap()).unwrap();
        cluster_wide(crds)
            .create(&kube::api::PostParams::default(), &object)
            .await
            .unwrap();
    }
    let namespaces = Kind {
        group: "",
        version: "v1",
        kind: "Namespace",
        plural: "namespaces",
    };
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    cluster_wide(namespaces)
        .create(
            &kube::api::PostParams::default(),
            &serde_json::from_value(object).unwrap(),
        )
        .await
        .unwrap();
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let denied = self.denied.seen();
            assert!(denied.is_empty(), "the shipped rights do not allow: {denied:?}");
        }
    }
}

/// One of several controllers.
pub(crate) struct Replica {
    pub(crate) leadership: Leadership,
    retire: CancellationToken,
    electing: JoinHandle<()>,
    controller: JoinHandle<Result<(), String>>,
}

impl Replica {
    /// `kill -9`.
    pub(crate) async fn kill(self) {
        self.electing.abort();
        self.controller.abort();
        assert!(
            self.controller.await.unwrap_err().is_cancelled(),
            "the controller had ended"
        );
        let _ = self.electing.await;
    }

    /// A clean stop: the controller first, then the Lease is given back.
    pub(crate) async fn stop(self) {
        self.controller.abort();
        let _ = self.controller.await;
        self.retire.cancel();
        self.electing.await.unwrap();
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.controller.is_finished() && !self.electing.is_finished()
    }
}

pub(crate) fn stalled(canary: &Value) -> Option<&Value> {
    let conditions = canary["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Stalled")
}

fn kind_of(kind: &str) -> Kind {
    [
        Kind::CANARY,
        Kind::DEPLOYMENT,
        Kind::DAEMON_SET,
        Kind::SERVICE,
        Kind::CONFIG_MAP,
        Kind::SECRET,
        Kind::HPA,
        Kind::SCALED_OBJECT,
        Kind::ALERT_PROVIDER,
        Kind::METRIC_TEMPLATE,
        Kind::LEASE,
        Kind::CONTROLLER_REVISION,
    ]
    .into_iter()
    .find(|known| known.kind == kind)
    .unwrap()
}

/// Hooks and a metric server.
#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) url: String,
    inner: Arc<Mutex<Answers>>,
    calls: tokio::sync::watch::Sender<usize>,
}

#[derive(Default)]
struct Answers {
    value: f64,
    closed: Vec<String>,
    held: HashMap<String, Arc<tokio::sync::Semaphore>>,
    authorized: Vec<usize>,
    called: Vec<(String, Value)>,
    /// Canaries whose pre-rollout hook refuses, and those that measure badly.
    refused: BTreeSet<String>,
    bad: BTreeSet<String>,
}

impl Stub {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::default(),
            calls: tokio::sync::watch::Sender::new(0),
        };
        let hook = |State(stub): State<Stub>, Path(name): Path<String>, Json(body): Json<Value>| async move {
            let (refused, held) = stub.hear(&name, body);
            if let Some(held) = held {
                drop(held.acquire().await.unwrap());
            }
            if refused {
                StatusCode::FORBIDDEN
            } else {
                StatusCode::OK
            }
        };
        let query = |State(stub): State<Stub>,
                     headers: http::HeaderMap,
                     Query(asked): Query<HashMap<String, String>>| async move {
            let mut answers = stub.inner.lock().unwrap();
            let credentials = headers.get_all(http::header::AUTHORIZATION).iter().count();
            answers.authorized.push(credentials);
            let about = |canary: &String| asked["query"].contains(&format!("\"{canary}\""));
            let value = if answers.bad.iter().any(about) {
                50.0
            } else {
                answers.value
            }
            .to_string();
            drop(answers);
            let result = json!([{"metric": {}, "value": [1.0, value]}]);
            Json(json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
        };
        let router = axum::Router::new()
            .route("/hook/{name}", post(hook))
            .route("/api/v1/query", get(query))
            .with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stub
    }

    /// Notes a call of a hook: is it refused, and what does it wait for?
    fn hear(&self, name: &str, body: Value) -> (bool, Option<Arc<tokio::sync::Semaphore>>) {
        let mut answers = self.inner.lock().unwrap();
        let canary = body["name"].as_str().unwrap_or_default();
        let refused = name == "pre-rollout" && answers.refused.contains(canary);
        answers.called.push((name.to_owned(), body));
        let refused = refused || answers.closed.iter().any(|closed| closed == name);
        let held = answers.held.get(name).cloned();
        drop(answers);
        self.calls.send_modify(|calls| *calls += 1);
        (refused, held)
    }

    /// What every query answers from now on.
    pub(crate) fn measure(&self, value: f64) {
        self.inner.lock().unwrap().value = value;
    }

    /// How many credentials each query had.
    pub(crate) fn authorized(&self) -> Vec<usize> {
        self.inner.lock().unwrap().authorized.clone()
    }

    /// Lets calls of a hook wait for [`Stub::release`].
    pub(crate) fn hold(&self, hook: &str) {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        self.inner.lock().unwrap().held.insert(hook.to_owned(), gate);
    }

    pub(crate) fn release(&self, hook: &str) {
        let held = self.inner.lock().unwrap().held.remove(hook);
        held.unwrap().add_permits(1_000);
    }

    pub(crate) fn close(&self, hook: &str) {
        self.inner.lock().unwrap().closed.push(hook.to_owned());
    }

    pub(crate) fn open(&self, hook: &str) {
        self.inner.lock().unwrap().closed.retain(|closed| closed != hook);
    }

    /// What a hook was sent, in order.
    pub(crate) fn bodies(&self, hook: &str) -> Vec<Value> {
        let answers = self.inner.lock().unwrap();
        let to = answers.called.iter().filter(|(name, _)| name == hook);
        to.map(|(_, body)| body.clone()).collect()
    }

    /// Waits until a hook was called so often.
    pub(crate) async fn until_called(&self, hook: &str, times: usize) {
        let mut calls = self.calls.subscribe();
        let called = calls.wait_for(|_| self.called(hook) >= times);
        let waited = tokio::time::timeout(PATIENCE, called).await;
        assert!(
            waited.is_ok_and(|called| called.is_ok()),
            "{hook} was called {} times, expected {times}",
            self.called(hook)
        );
    }

    /// What metrics and the pre-rollout hook say about a Canary from now on.
    pub(crate) fn judge(&self, canary: &str, bad_metric: bool, refused: bool) {
        let mut answers = self.inner.lock().unwrap();
        answers.bad.remove(canary);
        answers.refused.remove(canary);
        if bad_metric {
            answers.bad.insert(canary.to_owned());
        }
        if refused {
            answers.refused.insert(canary.to_owned());
        }
    }

    /// The bodies of a hook's calls about a Canary.
    pub(crate) fn calls_for(&self, hook: &str, canary: &str) -> Vec<Value> {
        let answers = self.inner.lock().unwrap();
        let about = answers
            .called
            .iter()
            .filter(|(name, body)| name == hook && body["name"] == canary);
        about.map(|(_, body)| body.clone()).collect()
    }

    /// How often a hook was called.
    pub(crate) fn called(&self, hook: &str) -> usize {
        let answers = self.inner.lock().unwrap();
        answers.called.iter().filter(|(name, _)| name == hook).count()
    }
}
