//! HorizontalPodAutoscalers without metrics: the bounds are enforced, and the conditions say that nothing else is.

use futures::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::census::served;
use super::drive::{Outcome, Trigger, drive, found, now};
use super::event::Recorder;
use super::object::{AUTOSCALERS, DEPLOYMENTS, Key, count, generation, list, namespace, stamp, text};
use crate::client::Client;

const KIND: (&str, &str) = ("autoscaling/v2", "HorizontalPodAutoscaler");

/// Runs the controller.
pub(crate) async fn run(client: Client) {
    let triggers = vec![
        Trigger::own(AUTOSCALERS),
        Trigger {
            resource: DEPLOYMENTS,
            keys: |target| vec![Key::all(namespace(target))],
        },
    ];
    let events = Recorder::new(client.clone(), "horizontal-pod-autoscaler");
    drive(client.clone(), AUTOSCALERS, triggers, move |key| {
        let (client, events) = (client.clone(), events.clone());
        async move { reconcile(&client, &events, key).await }.boxed()
    })
    .await;
}

/// `(type, status, reason, message)`.
type Said = (&'static str, &'static str, &'static str, &'static str);

/// What an autoscaler does about a target of a given size.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    desired: i32,
    /// Why the size changes, as the event words it.
    reason: Option<&'static str>,
    conditions: Vec<Said>,
}

const GOT: Said = (
    "AbleToScale",
    "True",
    "SucceededGetScale",
    "the HPA controller was able to get the target's current scale",
);
const DID: Said = (
    "AbleToScale",
    "True",
    "SucceededRescale",
    "the HPA controller was able to update the target scale",
);
const OFF: Said = (
    "ScalingActive",
    "False",
    "ScalingDisabled",
    "scaling is disabled since the replica count of the target is zero",
);
const BLIND: Said = (
    "ScalingActive",
    "False",
    "FailedGetResourceMetric",
    "the HPA was unable to compute the replica count: no metrics are served in this cluster",
);

/// The bounds, as Kubernetes applies them: a target at zero is left alone unless zero is the minimum.
fn decide(current: i32, min: i32, max: i32) -> Verdict {
    let still = |conditions| Verdict {
        desired: current,
        reason: None,
        conditions,
    };
    if current == 0 && min != 0 {
        return Verdict {
            desired: 0,
            ..still(vec![GOT, OFF])
        };
    }
    let (desired, reason) = if current > max {
        (max, "Current number of replicas above Spec.MaxReplicas")
    } else if current < min {
        (min, "Current number of replicas below Spec.MinReplicas")
    } else {
        return still(vec![GOT, BLIND]);
    };
    Verdict {
        desired,
        reason: Some(reason),
        conditions: vec![DID],
    }
}

async fn reconcile(client: &Client, events: &Recorder, key: Key) -> Outcome {
    let Some(scaler) = found(client.get(AUTOSCALERS, &key.namespace, &key.name).await)? else {
        return Ok(None);
    };
    let title = text(&scaler, "/spec/scaleTargetRef/name");
    let group = text(&scaler, "/spec/scaleTargetRef/apiVersion")
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    let kind = text(&scaler, "/spec/scaleTargetRef/kind");
    let resource = served(client).remove(&(group.to_owned(), kind.to_owned()));
    let target = match resource {
        Some((resource, _)) => {
            found(client.get(resource, &key.namespace, title).await)?.map(|target| (resource, target))
        }
        None => None,
    };
    let time = now();
    let Some((resource, target)) = target else {
        let lost = (
            "AbleToScale",
            "False",
            "FailedGetScale",
            "the HPA controller was unable to get the target's current scale",
        );
        let status = status(&scaler, (0, 0), false, &[lost], time);
        if write(client, scaler.clone(), status).await? {
            let message = format!("{kind}.{group} \"{title}\" not found");
            events.warning(KIND, &scaler, "FailedGetScale", &message).await;
        }
        return Ok(None);
    };
    let current = count(&target, "/spec/replicas", 1);
    let verdict = decide(
        current,
        count(&scaler, "/spec/minReplicas", 1),
        count(&scaler, "/spec/maxReplicas", 1),
    );
    if let Some(reason) = verdict.reason {
        let patch = json!({"spec": {"replicas": verdict.desired}});
        client
            .merge(resource, "scale", &key.namespace, title, patch)
            .await?;
        let message = format!("New size: {}; reason: {reason}", verdict.desired);
        events.normal(KIND, &scaler, "SuccessfulRescale", &message).await;
    }
    let sizes = (count(&target, "/status/replicas", 0), verdict.desired);
    let status = status(
        &scaler,
        sizes,
        verdict.reason.is_some(),
        &verdict.conditions,
        time,
    );
    write(client, scaler, status).await?;
    Ok(None)
}

/// The status to write; conditions not mentioned stay as they are.
fn status(
    scaler: &Value,
    (current, desired): (i32, i32),
    scaled: bool,
    said: &[Said],
    time: Timestamp,
) -> Value {
    let mut conditions = list(scaler, "/status/conditions").to_vec();
    for (kind, status, reason, message) in said {
        let at = conditions.iter().position(|old| text(old, "/type") == *kind);
        let since = at
            .map(|at| &conditions[at])
            .filter(|old| text(old, "/status") == *status)
            .map_or_else(|| stamp(time), |old| text(old, "/lastTransitionTime").to_owned());
        let condition = json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason,
            "message": message});
        match at {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    let mut status = json!({
        "observedGeneration": generation(scaler),
        "currentReplicas": current,
        "desiredReplicas": desired,
        "currentMetrics": null,
        "conditions": conditions,
    });
    if scaled {
        status["lastScaleTime"] = json!(stamp(time));
    } else if let Some(last) = scaler.pointer("/status/lastScaleTime") {
        status["lastScaleTime"] = last.clone();
    }
    status
}

async fn write(client: &Client, mut scaler: Value, status: Value) -> Result<bool, crate::client::ApiError> {
    if scaler.get("status") == Some(&status) {
        return Ok(false);
    }
    scaler["status"] = status;
    client.update(AUTOSCALERS, "status", scaler).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        // (current, min, max) -> (desired, rescaled, reason of the last condition)
        let table = [
            ((0, 2, 4), (0, false, "ScalingDisabled")),
            ((0, 0, 4), (0, false, "FailedGetResourceMetric")),
            ((1, 2, 4), (2, true, "SucceededRescale")),
            ((2, 2, 4), (2, false, "FailedGetResourceMetric")),
            ((4, 2, 4), (4, false, "FailedGetResourceMetric")),
            ((5, 2, 4), (4, true, "SucceededRescale")),
        ];
        for ((current, min, max), (desired, rescaled, reason)) in table {
            let verdict = decide(current, min, max);
            let found = (
                verdict.desired,
                verdict.reason.is_some(),
                verdict.conditions.last().unwrap().2,
            );
            assert_eq!(found, (desired, rescaled, reason), "{current} in {min}..{max}");
        }
    }

    #[test]
    fn conditions_keep_their_times() {
        let early: Timestamp = "2024-05-01T10:00:00Z".parse().unwrap();
        let late: Timestamp = "2024-05-01T11:00:00Z".parse().unwrap();
        let first = status(&json!({}), (0, 0), false, &[GOT, OFF], early);
        let second = status(&json!({"status": first}), (0, 2), true, &[DID], late);
        let conditions = list(&second, "/conditions");
        assert_eq!(conditions.len(), 2);
        assert!(
            conditions
                .iter()
                .all(|one| text(one, "/lastTransitionTime") == stamp(early))
        );
        assert_eq!(text(&second, "/lastScaleTime"), stamp(late));
    }
}
