//! The node: binds pending pods, runs each in a task of its own, ends it gracefully.
//!
//! Owns: the node object, pod status, pod addresses. Promises: a pod marked as deleted keeps serving until traffic
//! had time to turn away, then finishes what it had begun; one that was running before a restart runs again.

#![expect(clippy::disallowed_methods, reason = "shell: the timers of a pod's life")]

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::balance::Balancer;
use super::demo::Server;
use super::image::{Demo, Fate, demo, fate};
use super::network::Network;
use super::status::{Sight, State, render, unschedulable};
use super::{Timing, environment};
use crate::client::{ApiError, Change, Client};
use crate::controllers::drive::{found, now};
use crate::controllers::event::Recorder;
use crate::controllers::object::{
    NODE, NODES, PODS, deleting, int, list, name, namespace, pod_finished, stamp, strings, text, uid,
};

const KIND: (&str, &str) = ("v1", "Pod");
/// The demo application's port when the container names none.
const PORT: u16 = 9898;
/// Between tries of what failed for reasons that may pass.
const RETRY: Duration = Duration::from_millis(200);

/// Creates the node object and runs pods for as long as the cluster lives.
pub(crate) async fn run(client: Client, network: Arc<Network>, balancer: Arc<Balancer>, timing: Timing) {
    register(&client).await;
    let kubelet = Arc::new(Kubelet {
        events: Recorder::new(client.clone(), "kubelet"),
        scheduler: Recorder::new(client.clone(), "default-scheduler"),
        client: client.clone(),
        network,
        balancer,
        timing,
    });
    let mut changes = client.watch(PODS);
    let mut tasks = JoinSet::new();
    let mut running: HashMap<String, (watch::Sender<bool>, AbortHandle)> = HashMap::new();
    while let Some(change) = changes.next().await {
        while tasks.try_join_next().is_some() {}
        match change {
            Change::Applied(pod) => {
                let id = uid(&pod).to_owned();
                if let Some((stop, _)) = running.get(&id) {
                    if deleting(&pod) {
                        stop.send_replace(true);
                    }
                } else if deleting(&pod) || !pod_finished(&pod) {
                    let stop = watch::Sender::new(deleting(&pod));
                    let life = Arc::clone(&kubelet).live(pod, stop.subscribe());
                    running.insert(id, (stop, tasks.spawn(life)));
                }
            }
            Change::Deleted(pod) => {
                if let Some((_, task)) = running.remove(uid(&pod)) {
                    task.abort();
                }
            }
        }
    }
}

fn node_labels() -> BTreeMap<String, String> {
    let labels = [
        ("kubernetes.io/hostname", NODE),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
        ("node-role.kubernetes.io/worker", ""),
    ];
    labels
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Whether a pod spec's `nodeSelector` matches the one node.
pub(crate) fn fits(spec: &Value) -> bool {
    let labels = node_labels();
    strings(spec, "/nodeSelector")
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

async fn register(client: &Client) {
    let time = stamp(now());
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": node_labels()},
        "spec": {"providerID": format!("devcluster://{NODE}")},
    });
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "1000"});
    let status = json!({"status": {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": NODE}],
        "nodeInfo": {"kubeletVersion": "v1.37.0", "operatingSystem": "linux", "architecture": "amd64",
            "containerRuntimeVersion": "devcluster://1", "osImage": "devcluster", "kernelVersion": "", "machineID": "",
            "systemUUID": "", "bootID": "", "kubeProxyVersion": ""},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "kubelet is posting ready status", "lastHeartbeatTime": time, "lastTransitionTime": time}],
    }});
    let answer = async {
        if found(client.get(NODES, "", NODE).await)?.is_none() {
            client.create(NODES, "", node).await?;
        }
        client.merge(NODES, "status", "", NODE, status).await
    };
    if let Err(error) = answer.await {
        tracing::warn!(%error, "node object not written");
    }
}

struct Kubelet {
    client: Client,
    events: Recorder,
    scheduler: Recorder,
    network: Arc<Network>,
    balancer: Arc<Balancer>,
    timing: Timing,
}

/// A started pod.
struct Running {
    sight: Sight,
    fates: Vec<Fate>,
    server: Option<Server>,
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means the kubelet is gone, and this task with it.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Kubelet {
    /// A pod's life, from pending to gone.
    async fn live(self: Arc<Self>, pod: Value, mut stop: watch::Receiver<bool>) {
        let mut server = None;
        tokio::select! {
            () = self.work(&pod, &mut server) => {}
            () = stopped(&mut stop) => {}
        }
        stopped(&mut stop).await;
        self.end(&pod, server).await;
    }

    async fn work(&self, pod: &Value, kept: &mut Option<Server>) {
        let Some(pod) = self.bind(pod).await else { return };
        let Some(mut running) = self.start(&pod).await else {
            return;
        };
        *kept = running.server.take();
        let Some(pod) = self.report(&pod, &running.sight).await else {
            return;
        };
        tokio::time::sleep(self.timing.ready_after).await;
        running.sight.states = running
            .fates
            .iter()
            .map(|fate| State::Running {
                ready: *fate == Fate::Ready,
            })
            .collect();
        if let Some(server) = kept {
            server.set_ready(running.fates.iter().all(|fate| *fate == Fate::Ready));
        }
        if running.fates.contains(&Fate::NeverReady) {
            let message = "Readiness probe failed: HTTP probe failed with statuscode: 503";
            self.events.warning(KIND, &pod, "Unhealthy", message).await;
        }
        if running.fates.contains(&Fate::Crash) {
            self.crash(&pod, running).await;
        } else {
            self.report(&pod, &running.sight).await;
        }
    }

    /// Assigns the pod to the node, unless it cannot be.
    async fn bind(&self, pod: &Value) -> Option<Value> {
        match text(pod, "/spec/nodeName") {
            NODE => return Some(pod.clone()),
            "" => {}
            _ => return None,
        }
        if !fits(pod.get("spec").unwrap_or(&Value::Null)) {
            let message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
            self.scheduler
                .warning(KIND, pod, "FailedScheduling", message)
                .await;
            self.persist(pod, "status", unschedulable(pod, message, now()))
                .await;
            return None;
        }
        let bound = self.persist(pod, "", json!({"spec": {"nodeName": NODE}})).await?;
        let message = format!("Successfully assigned {}/{} to {NODE}", namespace(pod), name(pod));
        self.scheduler.normal(KIND, pod, "Scheduled", &message).await;
        Some(bound)
    }

    /// Starts the containers: configuration, addresses, the demo application if the pod has it. Tries again while
    /// something is missing, and says what.
    async fn start(&self, pod: &Value) -> Option<Running> {
        let containers = list(pod, "/spec/containers");
        let fates: Vec<Fate> = containers
            .iter()
            .map(|container| fate(text(container, "/image")))
            .collect();
        loop {
            let (reason, message) = match self.configure(pod).await {
                Ok(app) => match self.serve(pod, app).await {
                    Ok((ip, server)) => {
                        self.announce(pod).await;
                        let sight = Sight {
                            ip: ip.to_string(),
                            started: now(),
                            states: vec![State::Running { ready: false }; containers.len()],
                            restarts: 0,
                        };
                        return Some(Running { sight, fates, server });
                    }
                    Err(error) => ("CreateContainerError", error.to_string()),
                },
                Err(missing) => ("CreateContainerConfigError", missing),
            };
            self.events
                .warning(KIND, pod, "Failed", &format!("Error: {message}"))
                .await;
            let waiting = Sight {
                ip: self.network.next_pod().to_string(),
                started: now(),
                states: vec![State::Waiting(reason, message); containers.len()],
                restarts: 0,
            };
            self.report(pod, &waiting).await?;
            tokio::time::sleep(RETRY * 5).await;
        }
    }

    /// The demo application and its ports, if a container is it.
    async fn configure(&self, pod: &Value) -> Result<Option<(Demo, Vec<u16>)>, environment::Missing> {
        let mut app = None;
        for container in list(pod, "/spec/containers") {
            let env = environment::resolve(&self.client, pod, container).await?;
            if app.is_none()
                && fate(text(container, "/image")) != Fate::Crash
                && let Some(demo) = demo(text(container, "/image"), &env)
            {
                let ports = list(container, "/ports").iter();
                let mut ports: Vec<u16> = ports
                    .filter(|port| matches!(text(port, "/protocol"), "" | "TCP"))
                    .filter_map(|port| u16::try_from(int(port, "/containerPort")?).ok())
                    .collect();
                if ports.is_empty() {
                    ports.push(PORT);
                }
                app = Some((demo, ports));
            }
        }
        Ok(app)
    }

    /// An address for the pod, and the application listening on it. An address somebody else uses is passed over.
    async fn serve(
        &self,
        pod: &Value,
        app: Option<(Demo, Vec<u16>)>,
    ) -> std::io::Result<(IpAddr, Option<Server>)> {
        let Some((demo, ports)) = app else {
            return Ok((self.network.next_pod().into(), None));
        };
        let mut refusal = None;
        for _ in 0..16 {
            let ip = IpAddr::from(self.network.next_pod());
            match Server::start(demo.clone(), name(pod), ip, &ports).await {
                Ok(server) => return Ok((ip, Some(server))),
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
    }

    async fn announce(&self, pod: &Value) {
        for container in list(pod, "/spec/containers") {
            let (title, image) = (text(container, "/name"), text(container, "/image"));
            let pulled = format!("Container image \"{image}\" already present on machine");
            self.events.normal(KIND, pod, "Pulled", &pulled).await;
            self.events
                .normal(KIND, pod, "Created", &format!("Container created: {title}"))
                .await;
            self.events
                .normal(KIND, pod, "Started", &format!("Container started: {title}"))
                .await;
        }
    }

    /// Containers that exit are started again, later each time, unless the pod says they are not.
    async fn crash(&self, pod: &Value, mut running: Running) {
        let once = text(pod, "/spec/restartPolicy") == "Never";
        let mut wait = self.timing.back_off;
        loop {
            let fates = running.fates.iter();
            let states = fates.map(|fate| match fate {
                Fate::Crash if once => State::Exited { code: 1 },
                Fate::Crash => State::BackOff {
                    wait: format!("{}s", wait.as_secs_f64()),
                },
                Fate::Ready | Fate::NeverReady => State::Running {
                    ready: *fate == Fate::Ready,
                },
            });
            running.sight.states = states.collect();
            if self.report(pod, &running.sight).await.is_none() || once {
                return;
            }
            let message = format!("Back-off restarting failed container in pod {}", name(pod));
            self.events.warning(KIND, pod, "BackOff", &message).await;
            tokio::time::sleep(wait).await;
            running.sight.restarts += 1;
            running.sight.started = now();
            wait = (wait * 2).min(self.timing.back_off * 30);
        }
    }

    async fn report(&self, pod: &Value, sight: &Sight) -> Option<Value> {
        self.persist(pod, "status", render(pod, sight, now())).await
    }

    /// Patches the pod until it is done; `None` when the pod is gone.
    async fn persist(&self, pod: &Value, sub: &str, patch: Value) -> Option<Value> {
        loop {
            match self
                .client
                .merge(PODS, sub, namespace(pod), name(pod), patch.clone())
                .await
            {
                Ok(patched) => return (uid(&patched) == uid(pod)).then_some(patched),
                Err(ApiError { code: 404, .. }) => return None,
                Err(error) => tracing::debug!(%error, pod = name(pod), "pod not written"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Graceful end: traffic turns away, requests in flight finish, the object goes.
    async fn end(&self, pod: &Value, server: Option<Server>) {
        for container in list(pod, "/spec/containers") {
            let message = format!("Stopping container {}", text(container, "/name"));
            self.events.normal(KIND, pod, "Killing", &message).await;
        }
        if let Some(server) = server {
            let grace = int(pod, "/spec/terminationGracePeriodSeconds")
                .unwrap_or(30)
                .max(1);
            let grace = Duration::from_secs(grace.unsigned_abs());
            server.dismiss();
            if tokio::time::timeout(grace, self.balancer.without(server.ip()))
                .await
                .is_err()
            {
                tracing::debug!(pod = name(pod), "Services still lead to a pod that ends");
            }
            server.drain(self.timing.linger, grace).await;
        }
        loop {
            match found(self.client.delete(PODS, namespace(pod), name(pod), Some(0)).await) {
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, pod = name(pod), "pod not deleted"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
