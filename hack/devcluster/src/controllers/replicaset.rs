//! ReplicaSets: as many pods as asked, made from the template; which pods go first is a pure ranking.

use futures::FutureExt;
use serde_json::{Value, json};

use super::claim::{Owner, claim};
use super::drive::{Outcome, Trigger, drive, found, now};
use super::event::Recorder;
use super::object::{
    Key, PODS, REPLICA_SETS, annotation, condition, count, deleting, generation, int, labels, list, name,
    namespace, owner_key, owner_reference, pod_active, pod_available, pod_ready, stamp, strings, text, until,
};
use crate::client::{ApiError, Client};

const KIND: (&str, &str) = ("apps/v1", "ReplicaSet");

/// Runs the controller.
pub(crate) async fn run(client: Client) {
    let triggers = vec![
        Trigger::own(REPLICA_SETS),
        Trigger {
            resource: PODS,
            keys: |pod| owner_key(pod, "ReplicaSet"),
        },
    ];
    let events = Recorder::new(client.clone(), "replicaset-controller");
    drive(client.clone(), REPLICA_SETS, triggers, move |key| {
        let (client, events) = (client.clone(), events.clone());
        async move { reconcile(&client, &events, key).await }.boxed()
    })
    .await;
}

async fn reconcile(client: &Client, events: &Recorder, key: Key) -> Outcome {
    let Some(set) = found(client.get(REPLICA_SETS, &key.namespace, &key.name).await)? else {
        return Ok(None);
    };
    let owner = Owner {
        api_version: KIND.0,
        kind: KIND.1,
        object: &set,
    };
    let mut pods = claim(client, owner, PODS).await?;
    pods.retain(pod_active);
    let desired = count(&set, "/spec/replicas", 1).max(0) as usize;
    let mut failure = None;
    if !deleting(&set) {
        let surplus = pods.len().saturating_sub(desired);
        for victim in ranked(&pods).into_iter().take(surplus) {
            found(client.delete(PODS, namespace(victim), name(victim), None).await)?;
            let message = format!("Deleted pod: {}", name(victim));
            events.normal(KIND, &set, "SuccessfulDelete", &message).await;
        }
        for _ in pods.len()..desired {
            let pod = pod(&set, KIND, template(&set));
            match client.create(PODS, &key.namespace, pod).await {
                Ok(pod) => {
                    let message = format!("Created pod: {}", name(&pod));
                    events.normal(KIND, &set, "SuccessfulCreate", &message).await;
                    pods.push(pod);
                }
                Err(error) => {
                    let message = format!("Error creating: {}", error.message);
                    events.warning(KIND, &set, "FailedCreate", &message).await;
                    failure = Some(error);
                    break;
                }
            }
        }
        if surplus > 0 {
            // The pods marked as deleted are no longer counted.
            pods = claim(client, owner, PODS).await?;
            pods.retain(pod_active);
        }
    }
    let again = report(client, &set, &pods, failure.as_ref()).await?;
    match failure {
        Some(error) => Err(error),
        None => Ok(again),
    }
}

async fn report(client: &Client, set: &Value, pods: &[Value], failure: Option<&ApiError>) -> Outcome {
    let now = now();
    let wanted = strings(set, "/spec/template/metadata/labels");
    let min_ready = int(set, "/spec/minReadySeconds").unwrap_or_default();
    let states: Vec<_> = pods
        .iter()
        .map(|pod| pod_available(pod, min_ready, now))
        .collect();
    let labelled = |pod: &&Value| {
        let found = labels(pod);
        wanted.iter().all(|(key, value)| found.get(key) == Some(value))
    };
    let mut status = json!({"replicas": pods.len(), "observedGeneration": generation(set)});
    let numbers = [
        ("fullyLabeledReplicas", pods.iter().filter(labelled).count()),
        ("readyReplicas", pods.iter().filter(|pod| pod_ready(pod)).count()),
        (
            "availableReplicas",
            states.iter().filter(|state| state.is_ok()).count(),
        ),
    ];
    for (key, number) in numbers {
        if number > 0 {
            status[key] = json!(number);
        }
    }
    if let Some(error) = failure {
        let since = condition(set, "ReplicaFailure")
            .map_or_else(|| stamp(now), |old| text(old, "/lastTransitionTime").to_owned());
        status["conditions"] = json!([{
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": error.message,
            "lastTransitionTime": since,
        }]);
    }
    if set.get("status") != Some(&status) {
        let mut written = set.clone();
        written["status"] = status;
        client.update(REPLICA_SETS, "status", written).await?;
    }
    let next = states.iter().filter_map(|state| state.err().flatten()).min();
    Ok(next.map(|at| until(at, now)))
}

fn template(set: &Value) -> &Value {
    set.pointer("/spec/template").unwrap_or(&Value::Null)
}

/// A pod made from a template, owned by `owner` and named after it.
pub(crate) fn pod(owner: &Value, (api_version, kind): (&str, &str), template: &Value) -> Value {
    let mut metadata = json!({
        "generateName": format!("{}-", name(owner)),
        "namespace": namespace(owner),
        "ownerReferences": [owner_reference(api_version, kind, owner)],
    });
    for key in ["labels", "annotations"] {
        if let Some(value) = template
            .pointer(&format!("/metadata/{key}"))
            .filter(|value| !value.is_null())
        {
            metadata[key] = value.clone();
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    })
}

/// Pods in the order a scale-down takes them: unassigned, then not running, then not ready, then cheap by
/// `controller.kubernetes.io/pod-deletion-cost`, then most recently ready, most restarted, youngest.
fn ranked(pods: &[Value]) -> Vec<&Value> {
    let phase = |pod: &Value| match text(pod, "/status/phase") {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = |pod: &Value| {
        annotation(pod, "controller.kubernetes.io/pod-deletion-cost")
            .and_then(|cost| cost.parse::<i32>().ok())
            .unwrap_or_default()
    };
    let restarts = |pod: &Value| {
        let counts = list(pod, "/status/containerStatuses").iter();
        counts
            .filter_map(|status| int(status, "/restartCount"))
            .max()
            .unwrap_or_default()
    };
    let ready_since = |pod: &Value| {
        condition(pod, "Ready")
            .map_or_else(String::new, |ready| text(ready, "/lastTransitionTime").to_owned())
    };
    let mut ranked: Vec<&Value> = pods.iter().collect();
    ranked.sort_by_cached_key(|pod| {
        (
            !text(pod, "/spec/nodeName").is_empty(),
            phase(pod),
            pod_ready(pod),
            cost(pod),
            std::cmp::Reverse(ready_since(pod)),
            std::cmp::Reverse(restarts(pod)),
            std::cmp::Reverse(text(pod, "/metadata/creationTimestamp").to_owned()),
        )
    });
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(
        title: &str,
        node: bool,
        ready: Option<&str>,
        restarts: i64,
        created: &str,
        cost: Option<&str>,
    ) -> Value {
        let mut pod = json!({
            "metadata": {"name": title, "creationTimestamp": created},
            "spec": {},
            "status": {"phase": "Running", "containerStatuses": [{"restartCount": restarts}]},
        });
        if node {
            pod["spec"]["nodeName"] = json!("node-1");
        }
        if let Some(since) = ready {
            pod["status"]["conditions"] =
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        }
        if let Some(cost) = cost {
            pod["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": cost});
        }
        pod
    }

    #[test]
    fn who_goes_first() {
        let (early, late) = ("2024-05-01T10:00:00Z", "2024-05-01T11:00:00Z");
        let pods = [
            sample("dear", true, Some(late), 0, early, Some("5")),
            sample("old", true, Some(early), 0, early, None),
            sample("restarted", true, Some(late), 3, early, None),
            sample("young", true, Some(late), 0, late, None),
            sample("steady", true, Some(late), 0, early, None),
            sample("unready", true, None, 0, early, None),
            sample("unassigned", false, None, 0, early, None),
        ];
        let order: Vec<&str> = ranked(&pods).into_iter().map(name).collect();
        assert_eq!(
            order,
            [
                "unassigned",
                "unready",
                "restarted",
                "young",
                "steady",
                "old",
                "dear"
            ]
        );
    }

    #[test]
    fn pods_from_templates() {
        let set = json!({"metadata": {"name": "web-1", "namespace": "test", "uid": "u"}});
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}});
        let pod = pod(&set, KIND, &template);
        assert_eq!(text(&pod, "/metadata/generateName"), "web-1-");
        assert_eq!(text(&pod, "/metadata/labels/app"), "web");
        assert_eq!(text(&pod, "/metadata/ownerReferences/0/uid"), "u");
        assert!(pod.pointer("/metadata/annotations").is_none());
    }
}
