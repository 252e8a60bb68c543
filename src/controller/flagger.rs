//! Is a Flagger controller alive? While it is, it owns every decision (decision 4).
//!
//! Owns: the answer and its age. Promises: at most one lookup per [`FRESH`], whoever asks. Two signs count: a ready
//! Deployment that runs Flagger's image (cached), and Flagger's leader election lease, renewed lately.
#![expect(clippy::disallowed_methods, reason = "shell: reads the clock")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::cluster::Kind;

use super::Context;

/// How long an answer is believed.
pub(super) const FRESH: Duration = Duration::from_secs(30);

/// Flagger's lease.
const LEASE: &str = "flagger-leader-election";

/// Namespaces Flagger keeps its lease in by default, and where its charts install it.
const USUAL_NAMESPACES: [&str; 2] = ["kube-system", "flagger-system"];

/// The last answer.
#[derive(Default)]
pub(crate) struct Check(Mutex<Option<(Instant, Option<String>)>>);

/// Words for the Flagger that is alive, `None` when none is.
pub(super) async fn alive(cx: &Context) -> Option<String> {
    let mut last = cx.flagger.0.lock().await;
    if let Some((at, answer)) = last.as_ref()
        && at.elapsed() < FRESH
    {
        return answer.clone();
    }
    let answer = look(cx).await;
    *last = Some((Instant::now(), answer.clone()));
    answer
}

async fn look(cx: &Context) -> Option<String> {
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
        let ready = deployment
            .pointer("/status/readyReplicas")
            .and_then(Value::as_i64);
        if ready.unwrap_or_default() > 0 {
            return Some(format!("Deployment {name}.{namespace} runs Flagger and is ready"));
        }
        if !namespaces.iter().any(|known| known == namespace) {
            namespaces.push(namespace.to_owned());
        }
    }
    for namespace in namespaces {
        match cx.cluster.get(Kind::LEASE, &namespace, LEASE).await {
            Ok(Some(lease)) if is_held(&lease, Timestamp::now()) => {
                let holder = lease
                    .pointer("/spec/holderIdentity")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                return Some(format!("Lease {LEASE}.{namespace} is held by {holder:?}"));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!("the lease of Flagger cannot be read: {error}"),
        }
    }
    None
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
