//! A Deployment's status and conditions, decided from counts and a given `now`. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::{after, int, list, stamp, text, time};

pub(crate) const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
pub(crate) const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// What a Deployment's replica sets add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// `metadata.generation` this was computed from.
    pub(crate) generation: i64,
    /// `spec.replicas`.
    pub(crate) desired: i32,
    /// Pods the strategy lets be missing.
    pub(crate) unavailable: i32,
    /// Sum of `spec.replicas` of the replica sets.
    pub(crate) asked: i32,
    /// Sum of `status.replicas`.
    pub(crate) replicas: i32,
    /// `status.replicas` of the new one.
    pub(crate) updated: i32,
    /// Sum of `status.readyReplicas`.
    pub(crate) ready: i32,
    /// Sum of `status.availableReplicas`.
    pub(crate) available: i32,
}

impl Counts {
    fn complete(&self) -> bool {
        self.updated == self.desired && self.replicas == self.desired && self.available == self.desired
    }
}

/// A condition as a controller sets it; times are filled in by [`set`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) kind: &'static str,
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Condition {
    pub(crate) fn progressing(status: &'static str, reason: &'static str, message: String) -> Self {
        Self {
            kind: "Progressing",
            status,
            reason,
            message,
        }
    }
}

/// Puts a condition into a list. The same status and reason change nothing; the same status keeps
/// `lastTransitionTime`.
pub(crate) fn set(conditions: &mut Vec<Value>, condition: &Condition, now: Timestamp) {
    let old = conditions.iter().find(|old| text(old, "/type") == condition.kind);
    if old.is_some_and(|old| {
        text(old, "/status") == condition.status && text(old, "/reason") == condition.reason
    }) {
        return;
    }
    let since = old
        .filter(|old| text(old, "/status") == condition.status)
        .map_or_else(|| stamp(now), |old| text(old, "/lastTransitionTime").to_owned());
    put(conditions, condition, &since, now);
}

/// As [`set`], but the same reason renews `lastUpdateTime`: progress was seen.
fn renew(conditions: &mut Vec<Value>, condition: &Condition, now: Timestamp) {
    let since = conditions
        .iter()
        .find(|old| text(old, "/type") == condition.kind && text(old, "/status") == condition.status)
        .map_or_else(|| stamp(now), |old| text(old, "/lastTransitionTime").to_owned());
    put(conditions, condition, &since, now);
}

fn put(conditions: &mut Vec<Value>, condition: &Condition, since: &str, now: Timestamp) {
    conditions.retain(|old| text(old, "/type") != condition.kind);
    conditions.push(json!({
        "type": condition.kind,
        "status": condition.status,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": since,
        "reason": condition.reason,
        "message": condition.message,
    }));
}

/// Numbers and the `Available` condition.
pub(crate) fn status(old: &Value, counts: &Counts, now: Timestamp) -> Value {
    let mut conditions = list(old, "/conditions").to_vec();
    let available = counts.available >= counts.desired - counts.unavailable;
    let condition = if available {
        Condition {
            kind: "Available",
            status: "True",
            reason: "MinimumReplicasAvailable",
            message: "Deployment has minimum availability.".to_owned(),
        }
    } else {
        Condition {
            kind: "Available",
            status: "False",
            reason: "MinimumReplicasUnavailable",
            message: "Deployment does not have minimum availability.".to_owned(),
        }
    };
    set(&mut conditions, &condition, now);
    let mut status = json!({"observedGeneration": counts.generation});
    let numbers = [
        ("replicas", counts.replicas),
        ("updatedReplicas", counts.updated),
        ("readyReplicas", counts.ready),
        ("availableReplicas", counts.available),
        ("unavailableReplicas", (counts.asked - counts.available).max(0)),
    ];
    for (key, number) in numbers {
        if number != 0 {
            status[key] = json!(number);
        }
    }
    status["conditions"] = Value::Array(conditions);
    if let Some(collisions) = old.get("collisionCount") {
        status["collisionCount"] = collisions.clone();
    }
    status
}

/// The `Progressing` condition of a rollout under way, from the status before and after.
///
/// A rollout that once reached `NewReplicaSetAvailable` does not time out until a new replica set is made: being
/// scaled up from zero is not a rollout.
pub(crate) fn progress(
    name: &str,
    new: Option<&str>,
    deadline: Option<i64>,
    old: &Value,
    status: &mut Value,
    counts: &Counts,
    now: Timestamp,
) {
    let mut conditions = list(status, "/conditions").to_vec();
    let subject = new.map_or_else(
        || format!("Deployment \"{name}\""),
        |new| format!("ReplicaSet \"{new}\""),
    );
    let Some(deadline) = deadline else {
        conditions.retain(|condition| text(condition, "/type") != "Progressing");
        status["conditions"] = Value::Array(conditions);
        return;
    };
    let current = conditions
        .iter()
        .find(|condition| text(condition, "/type") == "Progressing");
    let reason = current.map(|current| text(current, "/reason").to_owned());
    let finished = counts.replicas == counts.updated && reason.as_deref() == Some(NEW_AVAILABLE);
    if !finished {
        if counts.complete() {
            let message = format!("{subject} has successfully progressed.");
            set(
                &mut conditions,
                &Condition::progressing("True", NEW_AVAILABLE, message),
                now,
            );
        } else if progressed(old, counts) {
            let message = format!("{subject} is progressing.");
            renew(
                &mut conditions,
                &Condition::progressing("True", "ReplicaSetUpdated", message),
                now,
            );
        } else if timed_out(current, deadline, now) {
            let message = format!("{subject} has timed out progressing.");
            set(
                &mut conditions,
                &Condition::progressing("False", TIMED_OUT, message),
                now,
            );
        }
    }
    status["conditions"] = Value::Array(conditions);
}

fn progressed(old: &Value, counts: &Counts) -> bool {
    let was = |key: &str| int(old, key).unwrap_or_default();
    let leftover = was("/replicas") - was("/updatedReplicas");
    i64::from(counts.updated) > was("/updatedReplicas")
        || i64::from(counts.replicas - counts.updated) < leftover
        || i64::from(counts.ready) > was("/readyReplicas")
        || i64::from(counts.available) > was("/availableReplicas")
}

fn timed_out(current: Option<&Value>, deadline: i64, now: Timestamp) -> bool {
    let Some(current) = current else { return false };
    match text(current, "/reason") {
        NEW_AVAILABLE => false,
        TIMED_OUT => true,
        _ => time(current, "/lastUpdateTime").is_some_and(|since| after(since, deadline) < now),
    }
}

/// When to look again: the moment the deadline of an unfinished rollout has certainly passed.
pub(crate) fn deadline_at(deadline: Option<i64>, status: &Value, counts: &Counts) -> Option<Timestamp> {
    let current = list(status, "/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == "Progressing")?;
    if counts.complete() || matches!(text(current, "/reason"), NEW_AVAILABLE | TIMED_OUT) {
        return None;
    }
    time(current, "/lastUpdateTime").map(|since| after(since, deadline.unwrap_or(600) + 1))
}

/// `Progressing` while paused, and when resumed.
pub(crate) fn paused(paused: bool, conditions: &mut Vec<Value>, now: Timestamp) -> bool {
    let current = conditions
        .iter()
        .find(|condition| text(condition, "/type") == "Progressing");
    let reason = current.map(|current| text(current, "/reason").to_owned());
    let was_paused = reason.as_deref() == Some("DeploymentPaused");
    if reason.as_deref() == Some(TIMED_OUT) || was_paused == paused {
        return false;
    }
    let (reason, message) = if paused {
        ("DeploymentPaused", "Deployment is paused")
    } else {
        ("DeploymentResumed", "Deployment is resumed")
    };
    set(
        conditions,
        &Condition::progressing("Unknown", reason, message.to_owned()),
        now,
    );
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        after("2024-05-01T10:00:00Z".parse().unwrap(), seconds)
    }

    /// `desired`, then replicas, updated, ready, available.
    fn counts(desired: i32, [replicas, updated, ready, available]: [i32; 4]) -> Counts {
        Counts {
            generation: 2,
            desired,
            unavailable: 0,
            asked: replicas,
            replicas,
            updated,
            ready,
            available,
        }
    }

    fn step(old: &Value, counts: &Counts, now: Timestamp) -> Value {
        let mut new = status(old, counts, now);
        progress("web", Some("web-1"), Some(10), old, &mut new, counts, now);
        new
    }

    fn says(status: &Value, kind: &str) -> String {
        let found = list(status, "/conditions")
            .iter()
            .find(|c| text(c, "/type") == kind);
        found.map_or_else(String::new, |c| {
            format!("{}/{}", text(c, "/status"), text(c, "/reason"))
        })
    }

    fn created(now: Timestamp) -> Value {
        let mut conditions = Vec::new();
        let message = "Created new replica set \"web-1\"".to_owned();
        set(
            &mut conditions,
            &Condition::progressing("True", "NewReplicaSetCreated", message),
            now,
        );
        json!({"conditions": conditions})
    }

    #[test]
    fn a_rollout_that_stands_still_times_out_once() {
        let table = [
            (0, [0, 0, 0, 0], "True/NewReplicaSetCreated"),
            (1, [2, 2, 0, 0], "True/ReplicaSetUpdated"),
            (11, [2, 2, 0, 0], "True/ReplicaSetUpdated"),
            (12, [2, 2, 0, 0], "False/ProgressDeadlineExceeded"),
            (60, [2, 2, 0, 0], "False/ProgressDeadlineExceeded"),
            (61, [2, 2, 1, 1], "True/ReplicaSetUpdated"),
            (62, [2, 2, 2, 2], "True/NewReplicaSetAvailable"),
        ];
        let mut current = created(at(0));
        for (now, numbers, expected) in table {
            current = step(&current, &counts(2, numbers), at(now));
            assert_eq!(says(&current, "Progressing"), expected, "at {now}");
        }
    }

    #[test]
    fn progress_renews_the_deadline() {
        let mut current = created(at(0));
        for (now, ready) in [(8, 1), (16, 2), (24, 3), (32, 4)] {
            current = step(&current, &counts(5, [5, 5, ready, ready]), at(now));
            assert_eq!(
                says(&current, "Progressing"),
                "True/ReplicaSetUpdated",
                "at {now}"
            );
        }
        assert_eq!(
            deadline_at(Some(10), &current, &counts(5, [5, 5, 4, 4])),
            Some(at(43))
        );
    }

    #[test]
    fn scaled_from_zero_never_times_out() {
        let mut current = step(&created(at(0)), &counts(0, [0, 0, 0, 0]), at(1));
        assert_eq!(says(&current, "Progressing"), "True/NewReplicaSetAvailable");
        for now in [2, 12, 32] {
            current = step(&current, &counts(2, [2, 2, 0, 0]), at(now));
            assert_eq!(
                says(&current, "Progressing"),
                "True/NewReplicaSetAvailable",
                "at {now}"
            );
            assert_eq!(says(&current, "Available"), "False/MinimumReplicasUnavailable");
            assert_eq!(deadline_at(Some(10), &current, &counts(2, [2, 2, 0, 0])), None);
        }
    }

    #[test]
    fn no_deadline_no_condition() {
        let mut new = status(&json!({}), &counts(1, [1, 1, 0, 0]), at(0));
        progress(
            "web",
            None,
            None,
            &json!({}),
            &mut new,
            &counts(1, [1, 1, 0, 0]),
            at(99),
        );
        assert_eq!(says(&new, "Progressing"), "");
    }

    #[test]
    fn times_of_conditions() {
        let mut conditions = Vec::new();
        let progressing = |status, reason| Condition::progressing(status, reason, String::new());
        set(&mut conditions, &progressing("True", "A"), at(0));
        set(&mut conditions, &progressing("True", "A"), at(1));
        assert_eq!(text(&conditions[0], "/lastUpdateTime"), stamp(at(0)));
        set(&mut conditions, &progressing("True", "B"), at(2));
        assert_eq!(text(&conditions[0], "/lastTransitionTime"), stamp(at(0)));
        assert_eq!(text(&conditions[0], "/lastUpdateTime"), stamp(at(2)));
        set(&mut conditions, &progressing("False", "C"), at(3));
        assert_eq!(text(&conditions[0], "/lastTransitionTime"), stamp(at(3)));
    }

    #[test]
    fn pausing_and_resuming() {
        let mut conditions = Vec::new();
        assert!(!paused(false, &mut conditions, at(0)));
        assert!(paused(true, &mut conditions, at(0)));
        assert!(!paused(true, &mut conditions, at(1)));
        assert!(paused(false, &mut conditions, at(2)));
        assert_eq!(text(&conditions[0], "/reason"), "DeploymentResumed");
    }

    #[test]
    fn numbers() {
        let found = status(&json!({}), &counts(3, [3, 1, 2, 2]), at(0));
        let expected = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2,
            "availableReplicas": 2, "unavailableReplicas": 1});
        for (key, number) in expected.as_object().unwrap() {
            assert_eq!(found.get(key), Some(number), "{key}");
        }
        assert_eq!(says(&found, "Available"), "False/MinimumReplicasUnavailable");
    }
}
