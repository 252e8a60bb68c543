//! What the API server shows, and somebody who reports every Deployment as ready at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use devcluster::client::{Change, Client};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{CANARIES, DEPLOYMENTS, NAMESPACE};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1200);

/// The newest of everything, by name.
#[derive(Default)]
struct Known {
    phases: HashMap<String, (String, Instant)>,
    replicas: HashMap<String, (i64, Instant)>,
}

/// A view that others can wait on.
#[derive(Clone)]
pub(crate) struct Board {
    known: Arc<Mutex<Known>>,
    changed: watch::Receiver<()>,
}

impl Board {
    /// Watches, and reports.
    pub(crate) fn watch(client: &Client) -> Self {
        let (change, changed) = watch::channel(());
        let change = Arc::new(change);
        let known: Arc<Mutex<Known>> = Arc::default();
        let board = Self { known, changed };
        let (mine, told) = (board.clone(), Arc::clone(&change));
        let mut canaries = client.watch(CANARIES);
        tokio::spawn(async move {
            while let Some(change) = canaries.next().await {
                if let Change::Applied(object) = change {
                    mine.note_canary(&object);
                    let _ = told.send(());
                }
            }
        });
        let (mine, client) = (board.clone(), client.clone());
        let mut deployments = client.watch(DEPLOYMENTS);
        tokio::spawn(async move {
            while let Some(news) = deployments.next().await {
                if let Change::Applied(object) = news {
                    mine.note_deployment(&object);
                    let _ = change.send(());
                    report(&client, &object).await;
                }
            }
        });
        board
    }

    fn note_canary(&self, object: &Value) {
        let phase = object["status"]["phase"].as_str().unwrap_or_default();
        let mut known = self.known.lock().unwrap();
        let old = known.phases.get(name(object)).map(|(phase, _)| phase.as_str());
        if old != Some(phase) {
            known
                .phases
                .insert(name(object).to_owned(), (phase.to_owned(), Instant::now()));
        }
    }

    fn note_deployment(&self, object: &Value) {
        let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
        let mut known = self.known.lock().unwrap();
        if known.replicas.get(name(object)).map(|(replicas, _)| *replicas) != Some(replicas) {
            known
                .replicas
                .insert(name(object).to_owned(), (replicas, Instant::now()));
        }
    }

    /// The phase of a Canary.
    pub(crate) fn phase(&self, name: &str) -> String {
        let known = self.known.lock().unwrap();
        known
            .phases
            .get(name)
            .map_or_else(String::new, |(phase, _)| phase.clone())
    }

    /// Since when it is in its phase.
    pub(crate) fn since(&self, name: &str) -> Option<Instant> {
        self.known
            .lock()
            .unwrap()
            .phases
            .get(name)
            .map(|(_, since)| *since)
    }

    /// When a Deployment was scaled up, if it is up.
    pub(crate) fn scaled_up(&self, name: &str) -> Option<Instant> {
        let known = self.known.lock().unwrap();
        known
            .replicas
            .get(name)
            .filter(|(replicas, _)| *replicas > 0)
            .map(|(_, at)| *at)
    }

    /// Waits.
    pub(crate) async fn until(&self, expected: impl Fn(&Board) -> bool) {
        let mut changed = self.changed.clone();
        let waited = tokio::time::timeout(PATIENCE, async {
            while !expected(self) {
                changed.changed().await.unwrap();
            }
        });
        waited.await.expect("it never came to that");
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Every pod that is wanted is there and ready.
async fn report(client: &Client, object: &Value) {
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let status = json!({
        "observedGeneration": object["metadata"]["generation"], "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
        "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "ready"}],
    });
    let current = &object["status"];
    if ["observedGeneration", "replicas", "availableReplicas"]
        .iter()
        .any(|key| current[*key] != status[*key])
    {
        let patch = json!({"status": status});
        // One that is gone meanwhile needs no report.
        let _ = client
            .merge(DEPLOYMENTS, "status", NAMESPACE, name(object), patch)
            .await;
    }
}
