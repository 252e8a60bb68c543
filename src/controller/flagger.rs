//! Is a Flagger controller alive? While it is, it owns every decision (decision 4).
//!
//! Owns: the answer and its age. Promises: at most one look around per [`FRESH`], whoever asks; a Flagger that was
//! scaled to zero and comes back is noticed at the next pass, before its pod runs; one that goes is believed gone
//! [`GRACE`] after its last sign of life, when its last pod has ended. Two signs count: a Deployment that runs
//! Flagger's image and wants pods (cached), and Flagger's leader election lease, renewed lately.
#![expect(clippy::disallowed_methods, reason = "shell: reads the clock")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::cluster::Kind;

use super::Context;

/// How long an answer is believed.
pub(super) const FRESH: Duration = Duration::from_secs(10);

/// How long a Flagger that showed no sign of life may still be ending: the usual grace period of a pod.
const GRACE: Duration = Duration::from_secs(30);

/// Flagger's lease.
const LEASE: &str = "flagger-leader-election";

/// Namespaces Flagger keeps its lease in by default, and where its charts install it.
const USUAL_NAMESPACES: [&str; 2] = ["kube-system", "flagger-system"];

/// The last answer, and what it was made of.
#[derive(Default)]
pub(crate) struct Check(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    last: Option<(Instant, Option<String>)>,
    /// Namespace and name of every Deployment that runs Flagger's image, whether it wants pods or not.
    deployments: Vec<(String, String)>,
    last_sign: Option<Instant>,
}

impl Memory {
    /// What to say, given what a look around found now.
    fn judge(&mut self, found: Option<String>, now: Instant) -> Option<String> {
        if found.is_some() {
            self.last_sign = Some(now);
            return found;
        }
        // The same words every time: they go into a condition.
        (now.saturating_duration_since(self.last_sign?) < GRACE).then(|| {
            "Flagger was alive a moment ago and its last pod may still be ending; Verdigris begins soon"
                .to_owned()
        })
    }
}

/// Words for the Flagger that is alive, `None` when none is.
pub(super) async fn alive(cx: &Context) -> Option<String> {
    let mut memory = cx.flagger.0.lock().await;
    if let Some((at, answer)) = memory.last.as_ref()
        && at.elapsed() < FRESH
        && (answer.is_some() || !one_came_back(&memory.deployments, cx))
    {
        return answer.clone();
    }
    let (found, deployments) = look(cx).await;
    memory.deployments = deployments;
    let now = Instant::now();
    let answer = memory.judge(found, now);
    memory.last = Some((now, answer.clone()));
    answer
}

/// True when a known Deployment of Flagger wants pods again.
fn one_came_back(known: &[(String, String)], cx: &Context) -> bool {
    known.iter().any(|(namespace, name)| {
        cx.caches
            .get(Kind::DEPLOYMENT, namespace, name)
            .is_some_and(|deployment| runs_flagger(&deployment) && wants_pods(&deployment))
    })
}

/// Words for the Flagger that is alive, and the Deployments that run its image.
async fn look(cx: &Context) -> (Option<String>, Vec<(String, String)>) {
    let (mut alive, mut known) = (None, Vec::new());
    let mut namespaces: Vec<String> = match &cx.config.namespace {
        // A Flagger elsewhere may have namespaces of its own to work on.
        Some(namespace) => vec![namespace.clone()],
        None => USUAL_NAMESPACES.map(str::to_owned).to_vec(),
    };
    for deployment in cx.caches.all(Kind::DEPLOYMENT) {
        if !runs_flagger(&deployment) {
            continue;
        }
        let text = |key: &str| deployment["metadata"][key].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        known.push((namespace.to_owned(), name.to_owned()));
        if wants_pods(&deployment) {
            alive = Some(format!(
                "Deployment {name}.{namespace} runs Flagger; scale it to 0 to let Verdigris take over"
            ));
        }
        if !namespaces.iter().any(|known| known == namespace) {
            namespaces.push(namespace.to_owned());
        }
    }
    if alive.is_some() {
        return (alive, known);
    }
    for namespace in namespaces {
        match cx.cluster.get(Kind::LEASE, &namespace, LEASE).await {
            Ok(Some(lease)) if is_held(&lease, Timestamp::now()) => {
                let holder = lease
                    .pointer("/spec/holderIdentity")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let words = format!("Lease {LEASE}.{namespace} is held by {holder:?}");
                return (Some(words), known);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!("the lease of Flagger cannot be read: {error}"),
        }
    }
    (None, known)
}

/// True while pods of a Deployment run or are wanted; not for one whose pods never came up within its deadline.
fn wants_pods(deployment: &Value) -> bool {
    let count = |place: &str| deployment.pointer(place).and_then(Value::as_i64);
    if count("/status/readyReplicas").unwrap_or_default() > 0 {
        return true;
    }
    let conditions = deployment.pointer("/status/conditions").and_then(Value::as_array);
    let given_up = conditions.into_iter().flatten().any(|condition| {
        condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded"
    });
    count("/spec/replicas").unwrap_or(1) > 0 && !given_up
}

/// True when a container's image is Flagger itself (not its load tester or Prometheus).
fn runs_flagger(deployment: &Value) -> bool {
    let containers = deployment
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    containers.into_iter().flatten().any(|container| {
        let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
        let last = image.rsplit('/').next().unwrap_or_default();
        last.split(['@', ':']).next() == Some("flagger")
    })
}

/// True when a lease has a holder who renewed it within twice its duration.
fn is_held(lease: &Value, now: Timestamp) -> bool {
    let field = |name: &str| lease.pointer(&format!("/spec/{name}"));
    let held = field("holderIdentity")
        .and_then(Value::as_str)
        .is_some_and(|holder| !holder.is_empty());
    let seconds = field("leaseDurationSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(60);
    let renewed = field("renewTime")
        .and_then(Value::as_str)
        .and_then(|text| text.parse::<Timestamp>().ok());
    held && renewed.is_some_and(|renewed| now.as_second() - renewed.as_second() <= 2 * seconds.max(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flagger_is_known_by_its_image() {
        let table = [
            ("ghcr.io/fluxcd/flagger:1.44.0", true),
            ("flagger", true),
            ("registry:5000/mirror/flagger@sha256:00", true),
            ("docker.io/weaveworks/flagger:0.22", true),
            ("ghcr.io/fluxcd/flagger-loadtester:0.36.0", false),
            ("flagger/app:1", false),
            ("registry.example.com/flagger/prometheus:1", false),
        ];
        for (image, expected) in table {
            let object = json!({"spec": {"template": {"spec": {"containers": [{"image": "side"}, {"image": image}]}}}});
            assert_eq!(runs_flagger(&object), expected, "{image}");
        }
    }

    #[test]
    fn a_deployment_counts_from_the_moment_it_wants_pods() {
        let given_up =
            json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
        let table = [
            (json!({"spec": {"replicas": 1}}), true),
            (json!({"spec": {}}), true),
            (json!({"spec": {"replicas": 0}}), false),
            (
                json!({"spec": {"replicas": 0}, "status": {"readyReplicas": 1}}),
                true,
            ),
            (
                json!({"spec": {"replicas": 1}, "status": {"conditions": given_up}}),
                false,
            ),
            (
                json!({"spec": {"replicas": 2}, "status": {"readyReplicas": 1, "conditions": given_up}}),
                true,
            ),
        ];
        for (deployment, expected) in table {
            assert_eq!(wants_pods(&deployment), expected, "{deployment}");
        }
    }

    #[test]
    fn one_that_goes_is_believed_gone_a_while_later() {
        let mut memory = Memory::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(memory.judge(None, at(0)), None, "there never was one");
        let alive = Some("alive".to_owned());
        assert_eq!(memory.judge(alive.clone(), at(10)), alive);
        assert!(memory.judge(None, at(11)).is_some());
        assert!(memory.judge(None, at(39)).is_some());
        assert_eq!(memory.judge(None, at(40)), None);
        assert_eq!(memory.judge(alive.clone(), at(41)), alive, "it came back");
    }

    #[test]
    fn a_lease_counts_while_it_is_renewed() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let lease = |holder: &str, renewed: &str| {
            json!({"spec": {
                "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed,
            }})
        };
        let table = [
            (lease("flagger-0", "2026-01-02T03:04:01.000000Z"), true),
            (lease("flagger-0", "2026-01-02T03:03:35.000000Z"), true),
            (lease("flagger-0", "2026-01-02T03:03:34.000000Z"), false),
            (lease("", "2026-01-02T03:04:01.000000Z"), false),
            (json!({"spec": {"holderIdentity": "flagger-0"}}), false),
        ];
        for (lease, expected) in table {
            assert_eq!(is_held(&lease, now), expected, "{lease}");
        }
    }
}
