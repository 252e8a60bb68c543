//! The controllers and the node together, on the in-memory API.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::fake::{Fake, uid_of};
use super::object::{
    AUTOSCALERS, CONTROLLER_REVISIONS, DAEMON_SETS, DEFINITIONS, DEPLOYMENTS, ENDPOINTS, EVENTS, NAMESPACES,
    PODS, REPLICA_SETS, SERVICE_ACCOUNTS, SERVICES, annotation, condition, count, deleting, int, list, name,
    pod_active, pod_ready, text,
};
use crate::client::{Backend, Change, Resource};
use crate::pods::{self, Network, Pods, Timing};

const WEB: (&str, &str) = ("test", "web");

/// A running cluster.
pub(crate) struct Cluster {
    pub(crate) api: Fake,
    pub(crate) pods: Pods,
    pub(crate) network: Arc<Network>,
    _controllers: JoinSet<()>,
}

pub(crate) async fn cluster() -> Cluster {
    let api = Fake::default();
    let network = Arc::new(Network::claim().unwrap());
    let timing = Timing {
        ready_after: Duration::from_millis(20),
        linger: Duration::from_millis(100),
        back_off: Duration::from_millis(20),
    };
    let pods = pods::run(&api.client(), Arc::clone(&network), timing)
        .await
        .unwrap();
    Cluster {
        _controllers: super::run(&api.client()),
        api,
        pods,
        network,
    }
}

pub(crate) fn deployment(replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"prometheus.io/scrape": "true"}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"name": "http", "containerPort": 9898}]}]},
            },
        },
    })
}

pub(crate) fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": image, "ports": [{"name": "http", "containerPort": 9898}]}]}}}})
}

fn progressing(deployment: &Value) -> &str {
    condition(deployment, "Progressing").map_or("", |found| text(found, "/reason"))
}

/// Every pod is of the newest template and available, and the controller has seen the newest spec.
pub(crate) fn rolled_out(deployment: Option<&Value>) -> bool {
    deployment.is_some_and(|found| {
        let wanted = count(found, "/spec/replicas", 1);
        let all = |key: &str| count(found, &format!("/status/{key}"), 0) == wanted;
        int(found, "/status/observedGeneration") == int(found, "/metadata/generation")
            && [
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
            ]
            .iter()
            .all(|key| all(key))
            && progressing(found) == "NewReplicaSetAvailable"
    })
}

impl Cluster {
    pub(crate) async fn create(&self, resource: Resource, object: Value) -> Value {
        self.api.create(resource, "test", object).await.unwrap()
    }

    pub(crate) async fn patch(&self, resource: Resource, (space, title): (&str, &str), patch: Value) {
        self.api.merge(resource, "", space, title, patch).await.unwrap();
    }

    pub(crate) async fn rolled(&self) {
        self.api.until(DEPLOYMENTS, WEB, "rolled out", rolled_out).await;
    }

    async fn all(&self, resource: Resource) -> Vec<Value> {
        self.api.list(resource, "test", "").await.unwrap()
    }

    /// Waits until the objects of a kind satisfy a predicate.
    async fn all_until(&self, resource: Resource, what: &str, holds: impl Fn(&[Value]) -> bool) {
        let mut changes = self.api.watch(resource);
        let wait = async {
            while !holds(&self.all(resource).await) {
                changes.next().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "{what}: {:#?}", self.all(resource).await);
    }

    async fn said(&self, reason: &str) -> Vec<String> {
        let events = self.all(EVENTS).await;
        let told = events.iter().filter(|event| text(event, "/reason") == reason);
        told.map(|event| text(event, "/message").to_owned()).collect()
    }
}

#[tokio::test]
async fn a_deployment_becomes_available_and_says_how() {
    let cluster = cluster().await;
    cluster.create(DEPLOYMENTS, deployment(3, "web:1")).await;
    cluster.rolled().await;
    let found = cluster.api.get(DEPLOYMENTS, "test", "web").await.unwrap();
    assert_eq!(annotation(&found, "deployment.kubernetes.io/revision"), Some("1"));
    assert_eq!(
        text(condition(&found, "Available").unwrap(), "/reason"),
        "MinimumReplicasAvailable"
    );
    let sets = cluster.all(REPLICA_SETS).await;
    assert_eq!(sets.len(), 1);
    assert_eq!(
        annotation(&sets[0], "deployment.kubernetes.io/max-replicas"),
        Some("4")
    );
    assert_eq!(
        cluster.said("ScalingReplicaSet").await,
        [format!("Scaled up replica set {} from 0 to 3", name(&sets[0]))]
    );
    assert_eq!(cluster.said("SuccessfulCreate").await.len(), 3);
    let before = cluster.api.writes().len();
    // Nothing more to do: an unrelated change makes nobody write.
    cluster
        .create(SERVICES, json!({"metadata": {"name": "none"}, "spec": {}}))
        .await;
    cluster
        .patch(DEPLOYMENTS, WEB, json!({"metadata": {"labels": {"a": "b"}}}))
        .await;
    cluster
        .create(
            REPLICA_SETS,
            json!({"metadata": {"name": "empty"}, "spec": {"replicas": 0,
        "selector": {"matchLabels": {"app": "none"}}, "template": {}}}),
        )
        .await;
    cluster
        .api
        .until(REPLICA_SETS, ("test", "empty"), "seen", |set| {
            set.unwrap().get("status").is_some()
        })
        .await;
    let writes = cluster.api.writes()[before..].to_vec();
    assert_eq!(writes.len(), 4, "{writes:?}");
}

#[tokio::test]
async fn a_rolling_update_keeps_its_bounds_and_a_rollback_reuses_the_set() {
    let cluster = cluster().await;
    cluster.create(DEPLOYMENTS, deployment(4, "web:1")).await;
    cluster.rolled().await;
    let mut changes = cluster.api.watch(PODS);
    let watched = cluster.api.clone();
    let mut judge = JoinSet::new();
    judge.spawn(async move {
        let mut worst = (4, 4);
        while changes.next().await.is_some() {
            let pods = watched.list(PODS, "test", "").await.unwrap();
            let active: Vec<_> = pods.iter().filter(|pod| pod_active(pod)).collect();
            let ready = active.iter().filter(|pod| pod_ready(pod)).count();
            worst = (worst.0.min(ready), worst.1.max(active.len()));
            if pods.iter().any(|pod| name(pod) == "end") {
                return worst;
            }
        }
        worst
    });
    cluster.patch(DEPLOYMENTS, WEB, image("web:2")).await;
    cluster.rolled().await;
    cluster.patch(DEPLOYMENTS, WEB, image("web:1")).await;
    cluster.rolled().await;
    cluster
        .create(
            PODS,
            json!({"metadata": {"name": "end"}, "spec": {"nodeName": "elsewhere"}}),
        )
        .await;
    // 25 % of four: one more, one fewer. The pod that ends the watch is one more still.
    let (ready, most) = judge.join_next().await.unwrap().unwrap();
    assert!(ready >= 3, "{ready} were ready");
    assert!(most <= 6, "{most} pods");
    assert_eq!(cluster.all(REPLICA_SETS).await.len(), 2);
    let found = cluster.api.get(DEPLOYMENTS, "test", "web").await.unwrap();
    assert_eq!(annotation(&found, "deployment.kubernetes.io/revision"), Some("3"));
}

#[tokio::test]
async fn recreate_never_overlaps() {
    let cluster = cluster().await;
    let mut recreate = deployment(2, "web:1");
    recreate["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.create(DEPLOYMENTS, recreate).await;
    cluster.rolled().await;
    let mut changes = cluster.api.watch(PODS);
    cluster.patch(DEPLOYMENTS, WEB, image("web:2")).await;
    cluster.rolled().await;
    let mut present = std::collections::BTreeMap::new();
    let mut overlapped = false;
    while let Some(Some(change)) = futures::FutureExt::now_or_never(changes.next()) {
        match change {
            Change::Applied(pod) => {
                present.insert(
                    name(&pod).to_owned(),
                    text(&pod, "/spec/containers/0/image").to_owned(),
                );
            }
            Change::Deleted(pod) => {
                present.remove(name(&pod));
            }
        }
        let images: std::collections::BTreeSet<_> = present.values().collect();
        overlapped |= images.len() > 1;
    }
    assert!(!overlapped);
    assert!(present.values().all(|image| image == "web:2"));
}

#[tokio::test]
async fn history_is_limited() {
    let cluster = cluster().await;
    let mut short = deployment(1, "web:0");
    short["spec"]["revisionHistoryLimit"] = json!(1);
    cluster.create(DEPLOYMENTS, short).await;
    cluster.rolled().await;
    for version in 1..4 {
        cluster
            .patch(DEPLOYMENTS, WEB, image(&format!("web:{version}")))
            .await;
        cluster.rolled().await;
    }
    cluster
        .all_until(REPLICA_SETS, "two are left", |sets| sets.len() == 2)
        .await;
}

#[tokio::test]
async fn a_rollout_that_never_becomes_ready_times_out_and_scaling_from_zero_does_not() {
    let cluster = cluster().await;
    let mut stuck = deployment(1, "web:never-ready");
    stuck["spec"]["progressDeadlineSeconds"] = json!(1);
    let mut parked = stuck.clone();
    parked["metadata"]["name"] = json!("parked");
    parked["spec"]["replicas"] = json!(0);
    parked["spec"]["selector"]["matchLabels"] = json!({"app": "parked"});
    parked["spec"]["template"]["metadata"]["labels"] = json!({"app": "parked"});
    cluster.create(DEPLOYMENTS, parked).await;
    let available =
        |found: Option<&Value>| found.is_some_and(|found| progressing(found) == "NewReplicaSetAvailable");
    cluster
        .api
        .until(DEPLOYMENTS, ("test", "parked"), "parked", available)
        .await;
    cluster
        .patch(DEPLOYMENTS, ("test", "parked"), json!({"spec": {"replicas": 1}}))
        .await;
    cluster.create(DEPLOYMENTS, stuck).await;
    let timed_out =
        |found: Option<&Value>| found.is_some_and(|found| progressing(found) == "ProgressDeadlineExceeded");
    cluster.api.until(DEPLOYMENTS, WEB, "timed out", timed_out).await;
    let parked = cluster.api.get(DEPLOYMENTS, "test", "parked").await.unwrap();
    assert_eq!(progressing(&parked), "NewReplicaSetAvailable");
    assert_eq!(text(condition(&parked, "Available").unwrap(), "/status"), "False");
    // Mended, it progresses again.
    cluster.patch(DEPLOYMENTS, WEB, image("web:2")).await;
    cluster.rolled().await;
}

#[tokio::test]
async fn scaling_and_pausing() {
    let cluster = cluster().await;
    cluster.create(DEPLOYMENTS, deployment(0, "web:1")).await;
    cluster.rolled().await;
    cluster
        .patch(DEPLOYMENTS, WEB, json!({"spec": {"replicas": 3}}))
        .await;
    cluster.rolled().await;
    cluster
        .patch(DEPLOYMENTS, WEB, json!({"spec": {"paused": true}}))
        .await;
    let paused = |found: Option<&Value>| found.is_some_and(|found| progressing(found) == "DeploymentPaused");
    cluster.api.until(DEPLOYMENTS, WEB, "paused", paused).await;
    cluster.patch(DEPLOYMENTS, WEB, image("web:2")).await;
    cluster
        .patch(DEPLOYMENTS, WEB, json!({"spec": {"replicas": 1}}))
        .await;
    let scaled = |found: Option<&Value>| found.is_some_and(|found| count(found, "/status/replicas", 0) == 1);
    cluster
        .api
        .until(DEPLOYMENTS, WEB, "scaled while paused", scaled)
        .await;
    assert_eq!(cluster.all(REPLICA_SETS).await.len(), 1);
    cluster
        .patch(DEPLOYMENTS, WEB, json!({"spec": {"paused": false}}))
        .await;
    cluster.rolled().await;
    assert_eq!(cluster.all(REPLICA_SETS).await.len(), 2);
}

#[tokio::test]
async fn an_orphan_is_adopted() {
    let cluster = cluster().await;
    let template = &deployment(1, "web:1")["spec"]["template"];
    let mut pod = template.clone();
    pod["metadata"]["name"] = json!("alone");
    cluster.create(PODS, pod).await;
    let set = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": template}});
    cluster.create(REPLICA_SETS, set).await;
    let both = |set: Option<&Value>| set.is_some_and(|set| count(set, "/status/availableReplicas", 0) == 2);
    cluster.api.until(REPLICA_SETS, WEB, "both ready", both).await;
    let uid = uid_of(&cluster.api, REPLICA_SETS, "test", "web").await;
    let alone = cluster.api.get(PODS, "test", "alone").await.unwrap();
    assert_eq!(text(&alone, "/metadata/ownerReferences/0/uid"), uid);
    assert_eq!(cluster.all(PODS).await.len(), 2);
}

#[tokio::test]
async fn deleting_an_owner_takes_its_dependents() {
    let cluster = cluster().await;
    cluster.create(DEPLOYMENTS, deployment(2, "web:1")).await;
    cluster.rolled().await;
    cluster
        .api
        .delete(DEPLOYMENTS, "test", "web", None)
        .await
        .unwrap();
    cluster
        .all_until(REPLICA_SETS, "no replica sets", <[Value]>::is_empty)
        .await;
    cluster.all_until(PODS, "no pods", <[Value]>::is_empty).await;
}

#[tokio::test]
async fn in_the_foreground_dependents_go_first_and_orphans_stay() {
    let cluster = cluster().await;
    cluster.create(DEPLOYMENTS, deployment(2, "web:1")).await;
    cluster.rolled().await;
    let mut sets = cluster.api.watch(REPLICA_SETS);
    cluster
        .patch(
            DEPLOYMENTS,
            WEB,
            json!({"metadata": {"finalizers": ["foregroundDeletion"]}}),
        )
        .await;
    cluster
        .api
        .delete(DEPLOYMENTS, "test", "web", None)
        .await
        .unwrap();
    cluster
        .api
        .until(DEPLOYMENTS, WEB, "gone", |found| found.is_none())
        .await;
    assert_eq!(
        cluster.all(REPLICA_SETS).await.len() + cluster.all(PODS).await.len(),
        0
    );
    let waited = async {
        while let Some(change) = sets.next().await {
            if let Change::Applied(set) = change
                && deleting(&set)
            {
                return list(&set, "/metadata/finalizers") == [json!("foregroundDeletion")];
            }
        }
        false
    };
    assert!(waited.await, "the replica set waits for its pods, too");

    cluster.create(DEPLOYMENTS, deployment(1, "web:1")).await;
    cluster.rolled().await;
    cluster
        .patch(DEPLOYMENTS, WEB, json!({"metadata": {"finalizers": ["orphan"]}}))
        .await;
    cluster
        .api
        .delete(DEPLOYMENTS, "test", "web", None)
        .await
        .unwrap();
    cluster
        .api
        .until(DEPLOYMENTS, WEB, "gone", |found| found.is_none())
        .await;
    let sets = cluster.all(REPLICA_SETS).await;
    assert_eq!(sets.len(), 1);
    assert!(list(&sets[0], "/metadata/ownerReferences").is_empty());
}

#[tokio::test]
async fn custom_resources_own_too() {
    let cluster = cluster().await;
    let canaries = Resource::new("flagger.app", "v1beta1", "canaries");
    cluster
        .create(DEFINITIONS, json!({"metadata": {"name": "canaries.flagger.app"}}))
        .await;
    let owner = cluster
        .create(canaries, json!({"metadata": {"name": "web"}}))
        .await;
    let reference = |uid: &str| json!([{"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "web", "uid": uid}]);
    let owned = json!({"metadata": {"name": "owned", "ownerReferences": reference(super::object::uid(&owner))}, "spec": {}});
    cluster.create(SERVICES, owned).await;
    let stray = json!({"metadata": {"name": "stray", "ownerReferences": reference("another")}, "spec": {}});
    cluster.create(SERVICES, stray).await;
    cluster
        .api
        .until(SERVICES, ("test", "stray"), "owner never was", |found| {
            found.is_none()
        })
        .await;
    assert!(cluster.api.get(SERVICES, "test", "owned").await.is_ok());
    cluster.api.delete(canaries, "test", "web", None).await.unwrap();
    cluster
        .api
        .until(SERVICES, ("test", "owned"), "owner gone", |found| found.is_none())
        .await;
}

#[tokio::test]
async fn a_namespace_is_furnished_and_emptied() {
    let cluster = cluster().await;
    let space = json!({"metadata": {"name": "test"}, "spec": {"finalizers": ["kubernetes"]}});
    cluster.api.create(NAMESPACES, "", space).await.unwrap();
    cluster
        .api
        .until(SERVICE_ACCOUNTS, ("test", "default"), "account", |found| {
            found.is_some()
        })
        .await;
    cluster.create(DEPLOYMENTS, deployment(2, "web:1")).await;
    cluster.rolled().await;
    cluster.api.delete(NAMESPACES, "", "test", None).await.unwrap();
    cluster
        .api
        .until(NAMESPACES, ("", "test"), "gone", |found| found.is_none())
        .await;
    for resource in [DEPLOYMENTS, REPLICA_SETS, PODS, SERVICE_ACCOUNTS] {
        assert_eq!(cluster.all(resource).await, [] as [Value; 0]);
    }
}

#[tokio::test]
async fn a_daemon_set_runs_rolls_and_parks() {
    let cluster = cluster().await;
    let template = &deployment(1, "web:1")["spec"]["template"];
    let set = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}});
    cluster.create(DAEMON_SETS, set).await;
    let at = |desired: i32| {
        move |set: Option<&Value>| {
            set.is_some_and(|set| {
                let all = [
                    "desiredNumberScheduled",
                    "currentNumberScheduled",
                    "updatedNumberScheduled",
                    "numberAvailable",
                ];
                int(set, "/status/observedGeneration") == int(set, "/metadata/generation")
                    && all
                        .iter()
                        .all(|key| count(set, &format!("/status/{key}"), 0) == desired)
            })
        }
    };
    cluster.api.until(DAEMON_SETS, WEB, "running", at(1)).await;
    cluster.patch(DAEMON_SETS, WEB, image("web:2")).await;
    cluster.api.until(DAEMON_SETS, WEB, "rolled", at(1)).await;
    assert_eq!(cluster.all(CONTROLLER_REVISIONS).await.len(), 2);
    let selector = json!({"spec": {"template": {"spec": {"nodeSelector": {"parked": "true"}}}}});
    cluster.patch(DAEMON_SETS, WEB, selector).await;
    cluster.api.until(DAEMON_SETS, WEB, "parked", at(0)).await;
    cluster.all_until(PODS, "no pods", <[Value]>::is_empty).await;
}

#[tokio::test]
async fn an_autoscaler_enforces_its_bounds() {
    let cluster = cluster().await;
    cluster.create(DEPLOYMENTS, deployment(0, "web:1")).await;
    let scaler = json!({"metadata": {"name": "web"}, "spec": {"minReplicas": 2, "maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    cluster.create(AUTOSCALERS, scaler).await;
    let off = |found: Option<&Value>| {
        let active = found.and_then(|found| condition(found, "ScalingActive"));
        active.is_some_and(|active| text(active, "/reason") == "ScalingDisabled")
    };
    cluster.api.until(AUTOSCALERS, WEB, "disabled at zero", off).await;
    for (from, to) in [(1, 2), (5, 3)] {
        cluster
            .patch(DEPLOYMENTS, WEB, json!({"spec": {"replicas": from}}))
            .await;
        let scaled =
            |found: Option<&Value>| found.is_some_and(|found| count(found, "/spec/replicas", 0) == to);
        cluster.api.until(DEPLOYMENTS, WEB, "scaled", scaled).await;
    }
    cluster.rolled().await;
    let lost = json!({"metadata": {"name": "lost"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}}});
    cluster.create(AUTOSCALERS, lost).await;
    let unable = |found: Option<&Value>| {
        let able = found.and_then(|found| condition(found, "AbleToScale"));
        able.is_some_and(|able| text(able, "/reason") == "FailedGetScale")
    };
    cluster
        .api
        .until(AUTOSCALERS, ("test", "lost"), "no target", unable)
        .await;
}

#[tokio::test]
async fn pods_fare_as_their_images_say() {
    let cluster = cluster().await;
    let pod = |title: &str, image: &str| json!({"metadata": {"name": title}, "spec": {"containers": [{"name": "c", "image": image}]}});
    cluster.create(PODS, pod("crashing", "web:crash")).await;
    cluster.create(PODS, pod("slow", "web:never-ready")).await;
    let mut nowhere = pod("nowhere", "web:1");
    nowhere["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    cluster.create(PODS, nowhere).await;
    let mut starved = pod("starved", "web:1");
    starved["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "none"}}]);
    cluster.create(PODS, starved).await;
    let restarted = |found: Option<&Value>| {
        found.is_some_and(|found| {
            count(found, "/status/containerStatuses/0/restartCount", 0) >= 3
                && text(found, "/status/containerStatuses/0/state/waiting/reason") == "CrashLoopBackOff"
        })
    };
    cluster
        .api
        .until(PODS, ("test", "crashing"), "crash loop", restarted)
        .await;
    let unready = |found: Option<&Value>| {
        found.is_some_and(|found| text(found, "/status/phase") == "Running" && !pod_ready(found))
    };
    cluster
        .api
        .until(PODS, ("test", "slow"), "running and unready", unready)
        .await;
    let pending = |found: Option<&Value>| {
        let scheduled = found.and_then(|found| condition(found, "PodScheduled"));
        scheduled.is_some_and(|scheduled| text(scheduled, "/reason") == "Unschedulable")
    };
    cluster
        .api
        .until(PODS, ("test", "nowhere"), "unschedulable", pending)
        .await;
    let missing = |found: Option<&Value>| {
        let reason = found.map(|found| text(found, "/status/containerStatuses/0/state/waiting/reason"));
        reason == Some("CreateContainerConfigError")
    };
    cluster
        .api
        .until(PODS, ("test", "starved"), "no config", missing)
        .await;
    for title in ["crashing", "nowhere"] {
        cluster.api.delete(PODS, "test", title, None).await.unwrap();
        cluster
            .api
            .until(PODS, ("test", title), "gone", |found| found.is_none())
            .await;
    }
}

#[tokio::test]
async fn endpoints_follow_readiness() {
    let cluster = cluster().await;
    cluster.create(DEPLOYMENTS, deployment(2, "web:1")).await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    cluster.create(SERVICES, service).await;
    let ready = |number: usize| {
        move |found: Option<&Value>| {
            found.is_some_and(|found| list(found, "/subsets/0/addresses").len() == number)
        }
    };
    cluster.api.until(ENDPOINTS, WEB, "two", ready(2)).await;
    cluster
        .patch(DEPLOYMENTS, WEB, json!({"spec": {"replicas": 1}}))
        .await;
    cluster.api.until(ENDPOINTS, WEB, "one", ready(1)).await;
    cluster.api.delete(SERVICES, "test", "web", None).await.unwrap();
    cluster
        .api
        .until(ENDPOINTS, WEB, "gone", |found| found.is_none())
        .await;
}
