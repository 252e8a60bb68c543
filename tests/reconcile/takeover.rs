//! Taking over from Flagger: a cluster as Flagger leaves it, in every phase, with traffic that is counted.
//!
//! What Flagger leaves is written down here from its behaviour: its hashes, its primary (with a random `flagger-id`),
//! its three Services with their annotations, its status without any field of ours.
#![expect(clippy::disallowed_methods, reason = "shell: clients run beside the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use verdigris::cluster::Kind;

use super::world::{NAMESPACE, World};
use super::{canary, image_of, workload};

/// A Canary, its target, its primary and its Services, as Flagger has them in a phase.
struct Left {
    phase: &'static str,
    /// What the target and the primary run.
    target: &'static str,
    primary: &'static str,
    target_replicas: i64,
    iterations: i64,
    weight: i64,
}

/// Every phase in which Flagger leaves a Canary that is not being deleted.
const LEFT: [Left; 9] = [
    Left {
        phase: "Initialized",
        target: "podinfo:1",
        primary: "podinfo:1",
        target_replicas: 0,
        iterations: 0,
        weight: 0,
    },
    Left {
        phase: "Succeeded",
        target: "podinfo:1",
        primary: "podinfo:1",
        target_replicas: 0,
        iterations: 0,
        weight: 0,
    },
    Left {
        phase: "Failed",
        target: "podinfo:2",
        primary: "podinfo:1",
        target_replicas: 0,
        iterations: 0,
        weight: 0,
    },
    Left {
        phase: "Initializing",
        target: "podinfo:1",
        primary: "podinfo:1",
        target_replicas: 2,
        iterations: 0,
        weight: 0,
    },
    Left {
        phase: "Waiting",
        target: "podinfo:2",
        primary: "podinfo:1",
        target_replicas: 0,
        iterations: 0,
        weight: 0,
    },
    Left {
        phase: "Progressing",
        target: "podinfo:2",
        primary: "podinfo:1",
        target_replicas: 2,
        iterations: 1,
        weight: 0,
    },
    Left {
        phase: "WaitingPromotion",
        target: "podinfo:2",
        primary: "podinfo:1",
        target_replicas: 2,
        iterations: 2,
        weight: 0,
    },
    Left {
        phase: "Promoting",
        target: "podinfo:2",
        primary: "podinfo:2",
        target_replicas: 2,
        iterations: 2,
        weight: 100,
    },
    Left {
        phase: "Finalising",
        target: "podinfo:2",
        primary: "podinfo:2",
        target_replicas: 2,
        iterations: 2,
        weight: 0,
    },
];

impl Left {
    fn name(&self) -> String {
        format!("in-{}", self.phase.to_lowercase())
    }

    async fn create(&self, world: &World) {
        let name = self.name();
        let with = |name: &str, image: &str, replicas: i64| {
            let mut object = workload("Deployment", name, &json!({}));
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
            object["spec"]["replicas"] = json!(replicas);
            object
        };
        world.create(with(&name, self.target, self.target_replicas)).await;
        let spec = json!({"analysis": {"interval": "100ms", "threshold": 2, "iterations": 2}});
        let made = world.create(canary(&name, &spec)).await;
        let owner = json!([{
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": name, "uid": made["metadata"]["uid"],
            "controller": true, "blockOwnerDeletion": true,
        }]);
        let mut primary = with(&format!("{name}-primary"), self.primary, 2);
        primary["metadata"]["ownerReferences"] = owner.clone();
        primary["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
        primary["spec"]["template"]["metadata"]["annotations"] =
            json!({"flagger-id": "e4ed1a11-6b3c-4d40-9c3b-1f0d5a3c2b1a"});
        world.create(primary).await;
        for (service, selects) in [
            (name.clone(), format!("{name}-primary")),
            (format!("{name}-primary"), format!("{name}-primary")),
            (format!("{name}-canary"), name.clone()),
        ] {
            world
                .create(json!({
                    "apiVersion": "v1", "kind": "Service",
                    "metadata": {
                        "name": service, "labels": {"app": service}, "ownerReferences": owner,
                        "annotations": {
                            "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
                            "helm.toolkit.fluxcd.io/driftDetection": "disabled",
                        },
                    },
                    "spec": {
                        "type": "ClusterIP", "selector": {"app": selects},
                        "ports": [{"name": "http", "protocol": "TCP", "port": 9898, "targetPort": 9898}],
                    },
                }))
                .await;
        }
        let promoted = if self.phase == "Initializing" {
            ""
        } else {
            "7895f9d5b"
        };
        let applied = match self.phase {
            "Initializing" => "",
            "Initialized" | "Succeeded" => promoted,
            _ => "6c9bd4f8z",
        };
        let status = json!({"status": {
            "phase": self.phase, "failedChecks": 0, "canaryWeight": self.weight, "iterations": self.iterations,
            "lastAppliedSpec": applied, "lastPromotedSpec": promoted,
            "lastTransitionTime": "2026-01-02T03:04:05Z", "trackedConfigs": {},
            "conditions": [{
                "type": "Promoted", "status": "Unknown", "reason": self.phase, "message": "as Flagger writes it",
                "lastUpdateTime": "2026-01-02T03:04:05Z", "lastTransitionTime": "2026-01-02T03:04:05Z",
            }],
        }});
        world
            .api
            .merge_status(Kind::CANARY, NAMESPACE, &name, &status)
            .await
            .unwrap();
        world
            .until("Deployment", &format!("{name}-primary"), |object| {
                object["status"]["availableReplicas"] == 2
            })
            .await;
    }
}

/// Clients of the apex Services.
struct Traffic {
    task: JoinHandle<()>,
    answered: Arc<AtomicU64>,
    failed: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Traffic {
    fn start(world: &Arc<World>) -> Self {
        let (answered, failed) = (
            Arc::<AtomicU64>::default(),
            Arc::<std::sync::Mutex<Vec<String>>>::default(),
        );
        let (world, counted, noted) = (Arc::clone(world), Arc::clone(&answered), Arc::clone(&failed));
        let task = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(100));
            loop {
                beat.tick().await;
                for left in &LEFT {
                    match ask(&world, &left.name()).await {
                        Ok(()) => drop(counted.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => noted.lock().unwrap().push(format!("{}: {error}", left.name())),
                    }
                }
            }
        });
        Self {
            task,
            answered,
            failed,
        }
    }

    fn stop(self) {
        self.task.abort();
        let failed = self.failed.lock().unwrap();
        assert!(
            failed.is_empty(),
            "{} requests failed, first {:?}",
            failed.len(),
            failed.first()
        );
        assert!(
            self.answered.load(Ordering::Relaxed) > 50,
            "hardly anything was asked"
        );
    }
}

async fn ask(world: &World, service: &str) -> std::io::Result<()> {
    let mut stream = world.dial(&format!("{service}.{NAMESPACE}"), 9898).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
        .await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    if head.starts_with(b"HTTP/1.1 200") {
        Ok(())
    } else {
        Err(std::io::Error::other(String::from_utf8_lossy(&head).into_owned()))
    }
}

async fn scale_flagger(world: &World, replicas: i64) {
    let patch = json!({"spec": {"replicas": replicas}});
    world.patch("Deployment", "flagger", patch).await;
}

async fn all_say_flagger_is_alive(world: &World) {
    for left in &LEFT {
        world.until_stalled(&left.name(), "FlaggerActive").await;
    }
}

/// Generations of what serves and is released: what nobody may touch while Flagger lives.
async fn generations(world: &World) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for left in &LEFT {
        for (kind, name) in [
            ("Deployment", left.name()),
            ("Deployment", format!("{}-primary", left.name())),
        ] {
            let object = world.get(kind, &name).await;
            found.push((name, object["metadata"]["generation"].clone()));
        }
        let apex = world.get("Service", &left.name()).await;
        found.push((left.name(), apex["metadata"]["resourceVersion"].clone()));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_switch_loses_no_traffic_starts_no_run_and_swallows_no_release() {
    let mut world = World::new().await;
    for left in &LEFT {
        left.create(&world).await;
    }
    let mut flagger = workload("Deployment", "flagger", &json!({}));
    flagger["spec"]["replicas"] = json!(1);
    flagger["spec"]["template"]["spec"]["containers"][0]["image"] = json!("ghcr.io/fluxcd/flagger:1.44.0");
    world.create(flagger).await;
    world
        .until("Deployment", "flagger", |object| {
            object["status"]["readyReplicas"] == 1
        })
        .await;
    let before = generations(&world).await;
    world.control();
    let world = Arc::new(world);
    let traffic = Traffic::start(&world);

    // Beside a Flagger that is alive: nothing but the condition.
    all_say_flagger_is_alive(&world).await;
    assert_eq!(generations(&world).await, before, "two controllers at once");

    // The switch. A release happens in the meantime: nobody may swallow it.
    scale_flagger(&world, 0).await;
    world.image("Deployment", "in-succeeded", "podinfo:3").await;
    world.until_phase("in-initialized", "Initialized").await;
    for left in &LEFT {
        let name = left.name();
        let settled = world
            .until("Canary", &name, |object| {
                let status = &object["status"];
                let ours = |key: &str| status[key].as_str().is_some_and(|hash| hash.starts_with("v1:"));
                let phase = status["phase"].as_str().unwrap_or_default();
                ours("lastAppliedSpec") && matches!(phase, "Initialized" | "Succeeded" | "Failed")
            })
            .await;
        let said = world.events(&name).await;
        let ran = said.keys().any(|text| text.contains("New revision detected"));
        let primary = world.get("Deployment", &format!("{name}-primary")).await;
        let (phase, image) = match left.phase {
            "Initialized" | "Initializing" => ("Initialized", "podinfo:1"),
            "Failed" => ("Failed", "podinfo:1"),
            "Succeeded" => ("Succeeded", "podinfo:3"),
            _ => ("Succeeded", "podinfo:2"),
        };
        assert_eq!(settled["status"]["phase"], phase, "{name}");
        assert_eq!(image_of(&primary), image, "{name}");
        let may_run = matches!(
            left.phase,
            "Succeeded" | "Waiting" | "Progressing" | "WaitingPromotion"
        );
        assert!(
            may_run || !ran,
            "{name}: a run was started by the switch: {said:?}"
        );
    }

    // One command back: at once, before its pod is there, nothing is done any more.
    scale_flagger(&world, 1).await;
    world.image("Deployment", "in-initialized", "podinfo:9").await;
    world.until_stalled("in-initialized", "FlaggerActive").await;
    let primary = world.get("Deployment", "in-initialized-primary").await;
    assert_eq!(image_of(&primary), "podinfo:1");
    traffic.stop();
}
