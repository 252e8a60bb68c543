//! DaemonSets on the one node: a pod where the template's `nodeSelector` matches it, none otherwise, replaced as the
//! update strategy says. What to do is a pure decision; each template is kept as a ControllerRevision.

use futures::FutureExt;
use serde_json::{Value, json};

use super::claim::{Owner, claim};
use super::drive::{Outcome, Trigger, drive, found, now};
use super::event::Recorder;
use super::object::{
    CONTROLLER_REVISIONS, DAEMON_SETS, Key, PODS, count, deleting, generation, hash, int, labels, name,
    namespace, owner_key, owner_reference, pod_active, pod_available, pod_finished, pod_ready, text, until,
};
use super::replicaset::pod;
use super::rollout::amount;
use crate::client::{ApiError, Client};
use crate::pods::kubelet::fits;

const KIND: (&str, &str) = ("apps/v1", "DaemonSet");
const HASH: &str = "controller-revision-hash";

/// Runs the controller.
pub(crate) async fn run(client: Client) {
    let triggers = vec![
        Trigger::own(DAEMON_SETS),
        Trigger {
            resource: PODS,
            keys: |pod| owner_key(pod, "DaemonSet"),
        },
    ];
    let events = Recorder::new(client.clone(), "daemonset-controller");
    drive(client.clone(), DAEMON_SETS, triggers, move |key| {
        let (client, events) = (client.clone(), events.clone());
        async move { reconcile(&client, &events, key).await }.boxed()
    })
    .await;
}

/// One pod of a DaemonSet, as the decision sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    /// Made from the current template.
    current: bool,
    available: bool,
    /// Marked as deleted.
    leaving: bool,
    /// Ended by itself.
    finished: bool,
}

/// `spec.updateStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Update {
    OnDelete,
    /// The old pod goes first.
    Replace,
    /// The new pod comes first (`maxSurge`).
    Surge,
}

fn update(set: &Value) -> Update {
    let bound = |key: &str| set.pointer(&format!("/spec/updateStrategy/rollingUpdate/{key}"));
    if text(set, "/spec/updateStrategy/type") == "OnDelete" {
        Update::OnDelete
    } else if bound("maxSurge").is_some_and(|surge| amount(Some(surge), 1, true) > 0) {
        Update::Surge
    } else {
        Update::Replace
    }
}

/// Which members to delete (by index), and whether to create one.
fn decide(wanted: bool, update: Update, members: &[Member]) -> (Vec<usize>, bool) {
    let all = || (0..).zip(members);
    let indices = |pick: &dyn Fn(&Member) -> bool| -> Vec<usize> {
        all()
            .filter(|(_, member)| !member.leaving && pick(member))
            .map(|(at, _)| at)
            .collect()
    };
    if !wanted {
        return (indices(&|_| true), false);
    }
    let finished = indices(&|member| member.finished);
    let live: Vec<&Member> = members.iter().filter(|member| !member.finished).collect();
    let current = live.iter().any(|member| member.current && !member.leaving);
    let old = live.iter().any(|member| !member.current && !member.leaving);
    let (mut delete, create) = match (update, current, old) {
        // One that is leaving holds the place until it is gone, unless new pods come first.
        (Update::OnDelete | Update::Replace, false, false) => (Vec::new(), live.is_empty()),
        (Update::Replace, _, true) => (indices(&|member| !member.current && !member.finished), false),
        (Update::OnDelete, _, true) | (_, true, false) => (Vec::new(), false),
        (Update::Surge, false, _) => {
            // An old pod that serves nobody need not be waited for.
            (
                indices(&|member| !member.current && !member.finished && !member.available),
                true,
            )
        }
        (Update::Surge, true, true) => {
            let takes_over = live
                .iter()
                .any(|member| member.current && !member.leaving && member.available);
            (
                indices(&|member| !member.current && !member.finished && (takes_over || !member.available)),
                false,
            )
        }
    };
    delete.extend(finished);
    (delete, create)
}

async fn reconcile(client: &Client, events: &Recorder, key: Key) -> Outcome {
    let Some(set) = found(client.get(DAEMON_SETS, &key.namespace, &key.name).await)? else {
        return Ok(None);
    };
    let owner = Owner {
        api_version: KIND.0,
        kind: KIND.1,
        object: &set,
    };
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let revision = hash(&template);
    let wanted = fits(template.get("spec").unwrap_or(&Value::Null));
    let mut pods = claim(client, owner, PODS).await?;
    if !deleting(&set) {
        keep_revision(client, &set, &template, &revision).await?;
        let (delete, create) = decide(wanted, update(&set), &members(&set, &pods, &revision));
        for at in &delete {
            found(client.delete(PODS, &key.namespace, name(&pods[*at]), None).await)?;
            let message = format!("Deleted pod: {}", name(&pods[*at]));
            events.normal(KIND, &set, "SuccessfulDelete", &message).await;
        }
        if create {
            let mut pod = pod(&set, KIND, &template);
            pod["metadata"]["labels"][HASH] = json!(revision);
            match client.create(PODS, &key.namespace, pod).await {
                Ok(pod) => {
                    let message = format!("Created pod: {}", name(&pod));
                    events.normal(KIND, &set, "SuccessfulCreate", &message).await;
                }
                Err(error) => {
                    let message = format!("Error creating: {}", error.message);
                    events.warning(KIND, &set, "FailedCreate", &message).await;
                    return Err(error);
                }
            }
        }
        if create || !delete.is_empty() {
            pods = claim(client, owner, PODS).await?;
        }
    }
    report(client, set, &pods, wanted, &revision).await
}

fn members(set: &Value, pods: &[Value], revision: &str) -> Vec<Member> {
    let min_ready = int(set, "/spec/minReadySeconds").unwrap_or_default();
    let now = now();
    let member = |pod: &Value| Member {
        current: labels(pod).get(HASH).is_some_and(|found| found == revision),
        available: pod_available(pod, min_ready, now).is_ok(),
        leaving: deleting(pod),
        finished: pod_finished(pod),
    };
    pods.iter().map(member).collect()
}

async fn report(client: &Client, mut set: Value, pods: &[Value], wanted: bool, revision: &str) -> Outcome {
    let now = now();
    let min_ready = int(&set, "/spec/minReadySeconds").unwrap_or_default();
    let active: Vec<&Value> = pods.iter().filter(|pod| pod_active(pod)).collect();
    let states: Vec<_> = active
        .iter()
        .map(|pod| pod_available(pod, min_ready, now))
        .collect();
    let any = |yes: bool| i32::from(yes);
    let desired = any(wanted);
    let available = any(wanted && states.iter().any(Result::is_ok));
    let updated = |pod: &&Value| labels(pod).get(HASH).is_some_and(|found| found == revision);
    let mut status = json!({
        "currentNumberScheduled": any(wanted && !active.is_empty()),
        "desiredNumberScheduled": desired,
        "numberMisscheduled": any(!wanted && !active.is_empty()),
        "numberReady": any(wanted && active.iter().any(|pod| pod_ready(pod))),
        "observedGeneration": generation(&set),
    });
    let numbers = [
        (
            "updatedNumberScheduled",
            any(wanted && active.iter().any(updated)),
        ),
        ("numberAvailable", available),
        ("numberUnavailable", desired - available),
    ];
    for (key, number) in numbers {
        if number > 0 {
            status[key] = json!(number);
        }
    }
    if set.get("status") != Some(&status) {
        set["status"] = status;
        client.update(DAEMON_SETS, "status", set).await?;
    }
    let next = states.iter().filter_map(|state| state.err().flatten()).min();
    Ok(next.map(|at| until(at, now)))
}

/// Keeps the template as a revision, and forgets the oldest beyond `spec.revisionHistoryLimit`.
async fn keep_revision(
    client: &Client,
    set: &Value,
    template: &Value,
    revision: &str,
) -> Result<(), ApiError> {
    let owned = |object: &Value| super::object::controlled_by(object, super::object::uid(set));
    let mut kept = client.list(CONTROLLER_REVISIONS, namespace(set), "").await?;
    kept.retain(owned);
    kept.sort_by_key(|object| int(object, "/revision"));
    let newest = kept
        .last()
        .and_then(|object| int(object, "/revision"))
        .unwrap_or_default();
    let title = format!("{}-{revision}", name(set));
    match kept.iter().find(|object| name(object) == title) {
        Some(object) if int(object, "/revision") == Some(newest) => {}
        Some(_) => {
            let patch = json!({"revision": newest + 1});
            client
                .merge(CONTROLLER_REVISIONS, "", namespace(set), &title, patch)
                .await?;
        }
        None => {
            let mut labels = labels(&json!({"metadata": template.get("metadata")}));
            labels.insert(HASH.into(), revision.into());
            let mut data = template.clone();
            data["$patch"] = json!("replace");
            let object = json!({
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": title,
                    "namespace": namespace(set),
                    "labels": labels,
                    "ownerReferences": [owner_reference(KIND.0, KIND.1, set)],
                },
                "data": {"spec": {"template": data}},
                "revision": newest + 1,
            });
            client
                .create(CONTROLLER_REVISIONS, namespace(set), object)
                .await?;
        }
    }
    let limit = count(set, "/spec/revisionHistoryLimit", 10).max(0) as usize;
    for object in kept
        .iter()
        .filter(|object| name(object) != title)
        .take(kept.len().saturating_sub(limit + 1))
    {
        found(
            client
                .delete(CONTROLLER_REVISIONS, namespace(set), name(object), None)
                .await,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        let member = |current, available| Member {
            current,
            available,
            leaving: false,
            finished: false,
        };
        let leaving = Member {
            leaving: true,
            ..member(false, true)
        };
        let finished = Member {
            finished: true,
            ..member(true, false)
        };
        let (new, old) = (member(true, true), member(false, true));
        let (starting, broken) = (member(true, false), member(false, false));
        let table = [
            (false, Update::Replace, vec![new, old], (vec![0, 1], false)),
            (true, Update::Replace, vec![], (vec![], true)),
            (true, Update::Replace, vec![new], (vec![], false)),
            (true, Update::Replace, vec![old], (vec![0], false)),
            (true, Update::Replace, vec![leaving], (vec![], false)),
            (true, Update::Replace, vec![finished], (vec![0], true)),
            (true, Update::OnDelete, vec![old], (vec![], false)),
            (true, Update::OnDelete, vec![], (vec![], true)),
            (true, Update::Surge, vec![old], (vec![], true)),
            (true, Update::Surge, vec![broken], (vec![0], true)),
            (true, Update::Surge, vec![old, starting], (vec![], false)),
            (true, Update::Surge, vec![old, new], (vec![0], false)),
            (true, Update::Surge, vec![leaving], (vec![], true)),
        ];
        for (wanted, update, members, expected) in table {
            assert_eq!(
                decide(wanted, update, &members),
                expected,
                "{wanted} {update:?} {members:?}"
            );
        }
    }

    #[test]
    fn strategies() {
        let set = |strategy: Value| json!({"spec": {"updateStrategy": strategy}});
        assert_eq!(update(&set(json!({"type": "OnDelete"}))), Update::OnDelete);
        assert_eq!(update(&set(json!({"type": "RollingUpdate"}))), Update::Replace);
        let surge =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}});
        assert_eq!(update(&set(surge)), Update::Surge);
    }
}
