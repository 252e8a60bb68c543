//! One scenario's namespace: what is typed there, what is waited for, what was said.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::kubectl::Said;
use crate::stage::Stage;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Scene {
    pub(crate) stage: Arc<Stage>,
    pub(crate) namespace: String,
}

impl Scene {
    pub(crate) async fn set(stage: &Arc<Stage>, name: &str) -> Self {
        let namespace = format!("e2e-{}-{}", name.replace('_', "-"), stage.mark);
        stage
            .kubectl(&["create", "namespace", &namespace], "")
            .await
            .good();
        let scene = Self {
            stage: Arc::clone(stage),
            namespace,
        };
        scene.measure(1.0);
        scene
    }

    /// Leaves nothing behind where the cluster stays.
    pub(crate) async fn clear(&self) {
        let arguments = ["delete", "namespace", &self.namespace, "--wait=false"];
        self.stage.kubectl(&arguments, "").await.good();
    }

    // Typing.

    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Said {
        self.kubectl_reading(arguments, "").await
    }

    async fn kubectl_reading(&self, arguments: &[&str], stdin: &str) -> Said {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(arguments);
        self.stage.kubectl(&all, stdin).await
    }

    /// `kubectl apply` of one object.
    pub(crate) async fn apply(&self, object: &Value) -> Said {
        self.kubectl_reading(&["apply", "-f", "-"], &object.to_string())
            .await
    }

    /// `kubectl apply --server-side` of one object.
    pub(crate) async fn apply_server_side(&self, object: &Value, manager: &str) -> Said {
        let arguments = ["apply", "--server-side", "--field-manager", manager, "-f", "-"];
        self.kubectl_reading(&arguments, &object.to_string()).await
    }

    pub(crate) async fn patch(&self, what: &str, patch: &Value) {
        let patch = patch.to_string();
        let arguments = ["patch", what, "--type", "merge", "-p", &patch];
        self.kubectl(&arguments).await.good();
    }

    /// `kubectl set image`; the generation of the target it made.
    pub(crate) async fn image(&self, target: &str, image: &str) -> i64 {
        let container = format!("podinfod={image}");
        let arguments = [
            "set",
            "image",
            target,
            &container,
            "-o",
            "jsonpath={.metadata.generation}",
        ];
        self.kubectl(&arguments).await.good().trim().parse().unwrap()
    }

    pub(crate) async fn delete(&self, what: &str) {
        self.kubectl(&["delete", what, "--timeout=90s"]).await.good();
    }

    // Looking.

    pub(crate) async fn get(&self, what: &str) -> Value {
        self.kubectl(&["get", what, "-o", "json"]).await.json()
    }

    pub(crate) async fn is_absent(&self, what: &str) -> bool {
        let arguments = ["get", what, "--ignore-not-found", "-o", "name"];
        self.kubectl(&arguments).await.good().trim().is_empty()
    }

    /// Watches an object until it is as expected.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: &str,
        holds: impl Fn(&Value) -> bool + Send + Sync,
    ) -> Value {
        let last = Mutex::new(Value::Null);
        let found = tokio::time::timeout(PATIENCE, self.watch(what, &holds, &last)).await;
        found.unwrap_or_else(|_| {
            let last = last.lock().unwrap();
            panic!(
                "{}: waited {PATIENCE:?} for {what} to be {wanted}; it is {} {}",
                self.namespace, last["spec"], last["status"]
            )
        })
    }

    async fn watch(
        &self,
        what: &str,
        holds: &(impl Fn(&Value) -> bool + Send + Sync),
        last: &Mutex<Value>,
    ) -> Value {
        let mut pause = tokio::time::interval(Duration::from_millis(300));
        loop {
            pause.tick().await;
            let arguments = ["-n", &self.namespace, "get", what, "-o", "json", "--watch"];
            let mut watching = self
                .stage
                .command(&arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let mut output = watching.stdout.take().unwrap();
            let mut text = Vec::new();
            while output.read_buf(&mut text).await.unwrap() > 0 {
                let mut objects = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
                let mut read = 0;
                while let Some(Ok(object)) = objects.next() {
                    read = objects.byte_offset();
                    if holds(&object) {
                        return object;
                    }
                    *last.lock().unwrap() = object;
                }
                text.drain(..read);
            }
        }
    }

    pub(crate) async fn phase(&self, canary: &str, phase: &str) -> Value {
        let what = format!("canary/{canary}");
        self.until(&what, phase, |object| object["status"]["phase"] == phase)
            .await
    }

    /// Until the run that judges this generation of the target has ended in this phase.
    pub(crate) async fn ended(&self, canary: &str, generation: i64, phase: &str) -> Value {
        let what = format!("canary/{canary}");
        let wanted = format!("{phase} with generation {generation}");
        self.until(&what, &wanted, |object| {
            let status = &object["status"];
            status["phase"] == phase && status["judgedTargetGeneration"].as_i64() >= Some(generation)
        })
        .await
    }

    /// Until a condition of a Canary has this reason; its message.
    pub(crate) async fn stalled(&self, canary: &str, reason: &str) -> String {
        let what = format!("canary/{canary}");
        let object = self
            .until(&what, reason, |object| {
                condition(object, "Stalled").is_some_and(|found| found["reason"] == reason)
            })
            .await;
        let found = condition(&object, "Stalled").unwrap();
        found["message"].as_str().unwrap().to_owned()
    }

    /// Until an event about this Canary says so.
    pub(crate) async fn says(&self, canary: &str, words: &str) {
        let told = tokio::time::timeout(PATIENCE, async {
            let mut pause = tokio::time::interval(Duration::from_millis(500));
            loop {
                pause.tick().await;
                if self.events(canary).await.iter().any(|text| text.contains(words)) {
                    return;
                }
            }
        });
        assert!(
            told.await.is_ok(),
            "{}: no event says {words:?}: {:#?}",
            self.namespace,
            self.events(canary).await
        );
    }

    /// What the events about a Canary say.
    pub(crate) async fn events(&self, canary: &str) -> BTreeSet<String> {
        let found = self.kubectl(&["get", "events", "-o", "json"]).await.json();
        let about = found["items"].as_array().unwrap().iter();
        about
            .filter(|event| {
                event["involvedObject"]["kind"] == "Canary" && event["involvedObject"]["name"] == canary
            })
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect()
    }

    // What releases ask.

    pub(crate) fn hook(&self, name: &str) -> String {
        format!("{}/{}/hook/{name}", self.stage.stub.url, self.namespace)
    }

    pub(crate) fn metrics(&self) -> String {
        format!("{}/{}/metrics", self.stage.stub.url, self.namespace)
    }

    pub(crate) fn measure(&self, value: f64) {
        self.stage.stub.measure(&self.namespace, Some(value));
    }

    pub(crate) fn close(&self, hook: &str) {
        self.stage.stub.close(&self.namespace, hook);
    }

    pub(crate) fn open(&self, hook: &str) {
        self.stage.stub.open(&self.namespace, hook);
    }

    pub(crate) fn calls(&self, hook: &str) -> Vec<Value> {
        self.stage.stub.calls(&self.namespace, hook)
    }

    // What is released.

    /// The fixture's Deployment or DaemonSet.
    pub(crate) fn workload(&self, kind: &str, name: &str) -> Value {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": {
                "name": name, "namespace": self.namespace,
                "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "test-label-prefix"},
                "annotations": {"app.kubernetes.io/instance": "test-annotation-prefix"},
            },
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {
                        "labels": {"app": name},
                        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9898"},
                    },
                    "spec": {"containers": [{
                        "name": "podinfod", "image": "ghcr.io/stefanprodan/podinfo:6.0.0",
                        "ports": [
                            {"name": "http", "containerPort": 9898}, {"name": "http-metrics", "containerPort": 9797},
                            {"name": "grpc", "containerPort": 9999},
                        ],
                    }]},
                },
            },
        });
        if kind == "Deployment" {
            object["spec"]["replicas"] = json!(2);
            object["spec"]["progressDeadlineSeconds"] = json!(60);
        }
        object
    }

    /// A Canary of that: a hook before the run and one at each check, one query, two iterations.
    pub(crate) fn canary(&self, name: &str, spec: &Value) -> Value {
        let hook = |kind: &str, name: &str| json!({"name": name, "type": kind, "url": self.hook(name), "timeout": "5s"});
        let mut object = json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "provider": "kubernetes",
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "progressDeadlineSeconds": 60,
                "metricsServer": self.metrics(),
                "service": {"port": 9898},
                "analysis": {
                    "interval": "500ms", "threshold": 2, "iterations": 2,
                    "metrics": [{
                        "name": "errors", "interval": "1m", "thresholdRange": {"max": 5},
                        "query": "sum(rate(http_requests_total{status=~\"5.*\"}[1m]))",
                    }],
                    "webhooks": [hook("pre-rollout", "acceptance"), hook("rollout", "load")],
                },
            },
        });
        json_patch::merge(&mut object["spec"], spec);
        object
    }

    /// A gate.
    pub(crate) fn gate(&self, kind: &str, name: &str) -> Value {
        json!({"name": name, "type": kind, "url": self.hook(name)})
    }

    /// Applies a Deployment `podinfo` and its Canary, and waits until it is Initialized.
    pub(crate) async fn begin(&self, spec: &Value) -> Value {
        self.apply(&self.workload("Deployment", "podinfo")).await.good();
        self.apply(&self.canary("podinfo", spec)).await.good();
        let canary = self.phase("podinfo", "Initialized").await;
        self.until("deploy/podinfo", "parked", is_parked).await;
        canary
    }
}

pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut conditions = object["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == kind)
}

pub(crate) fn is_parked(target: &Value) -> bool {
    target["spec"]["replicas"] == 0
        || target["spec"]["template"]
            .to_string()
            .contains("flagger.app/scale-to-zero")
}

/// The image a workload runs, without its repository.
pub(crate) fn image(workload: &Value) -> &str {
    let image = workload["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    image.unwrap_or_default().rsplit('/').next().unwrap_or_default()
}
