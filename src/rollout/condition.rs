//! The conditions a decision writes: `Promoted` as Flagger does; of ours `Ready`, and while they are true `Stalled`,
//! `InvalidSpec`, `Conflict` and `ConfigsPolled` (`Contested` is kept beside what it tells of).
//!
//! Conditions are output, never memory: no decision reads them, except to see whether it would write the same.

use jiff::Timestamp;

use crate::model::canary::TargetKind;
use crate::model::status::{Condition, Stage, Status};

/// Flagger's only condition; CI waits for it (`kubectl wait --for=condition=promoted`).
pub(super) const PROMOTED: &str = "Promoted";
/// Ours: the controller cannot act until somebody changes something.
pub const STALLED: &str = "Stalled";
/// Ours: True at rest with production on what was promoted last, False when that took a failure or nothing can be
/// done, Unknown in between (kstatus).
pub const READY: &str = "Ready";
/// Ours, beside `Stalled`: the spec cannot be obeyed.
pub const INVALID_SPEC: &str = "InvalidSpec";
/// Ours, beside `Stalled`: an object or target the Canary needs belongs to somebody else.
pub const CONFLICT: &str = "Conflict";

/// Ours: changes of ConfigMaps or Secrets are noticed late, because they may not be watched.
pub const POLLED: &str = "ConfigsPolled";

/// Reasons of `Stalled` that mean that something belongs to somebody else.
const CONFLICTS: [&str; 5] = [
    "TargetTaken",
    "ForeignPrimary",
    "ForeignAutoscaler",
    "ServiceOwned",
    "ServiceIsAlias",
];

/// Writes `Promoted` for a stage. As Flagger: same status and reason leave the old one as it is; `lastTransitionTime`
/// moves only with the status.
pub(super) fn promoted(status: &mut Status, stage: Stage, kind: TargetKind, now: Timestamp) {
    let kind = kind.as_str();
    let (word, message) = match stage {
        Stage::New | Stage::Initializing | Stage::Terminating | Stage::Terminated => (
            "Unknown",
            format!("New {kind} detected, starting initialization."),
        ),
        Stage::Initialized => ("True", format!("{kind} initialization completed.")),
        Stage::Waiting | Stage::WaitingPromotion => ("Unknown", "Waiting for approval.".to_owned()),
        Stage::Progressing => (
            "Unknown",
            "New revision detected, progressing canary analysis.".to_owned(),
        ),
        Stage::Promoting => (
            "Unknown",
            "Canary analysis completed, starting primary rolling update.".to_owned(),
        ),
        Stage::Finalising => (
            "Unknown",
            "Canary analysis completed, routing all traffic to primary.".to_owned(),
        ),
        Stage::Succeeded => (
            "True",
            "Canary analysis completed successfully, promotion finished.".to_owned(),
        ),
        Stage::Failed => ("False", format!("Canary analysis failed, {kind} scaled to zero.")),
    };
    let old = status
        .conditions
        .iter()
        .position(|condition| condition.kind == PROMOTED);
    let same = old.is_some_and(|at| {
        let old = &status.conditions[at];
        old.status == word && old.reason == stage.as_str()
    });
    if same {
        return;
    }
    // First in the list: a reader of Flagger's status looks at element 0.
    let old = old.map(|at| status.conditions.remove(at));
    status
        .conditions
        .insert(0, renewed(old, PROMOTED, word, stage.as_str(), message, now));
}

/// Writes `Stalled` = True, and the condition that says more about `reason`. Returns false when `Stalled` already
/// said the same.
pub(super) fn stall(status: &mut Status, reason: &str, message: &str, now: Timestamp) -> bool {
    let more = if reason == INVALID_SPEC {
        Some(INVALID_SPEC)
    } else if CONFLICTS.contains(&reason) {
        Some(CONFLICT)
    } else {
        None
    };
    for kind in [INVALID_SPEC, CONFLICT] {
        if more == Some(kind) {
            set(status, kind, "True", reason, message, now);
        } else {
            unset(status, kind);
        }
    }
    set(status, STALLED, "True", reason, message, now)
}

/// Takes `Stalled` away, and what says more about it: the controller acts again.
pub(super) fn unstall(status: &mut Status) {
    for kind in [STALLED, INVALID_SPEC, CONFLICT] {
        unset(status, kind);
    }
}

/// Writes `Ready` as everything else in the status has it.
pub(super) fn ready(status: &mut Status, now: Timestamp) {
    let stalled = status
        .conditions
        .iter()
        .find(|condition| condition.kind == STALLED && condition.status == "True");
    let (word, reason, message) = match (stalled, status.stage) {
        (Some(stalled), _) => ("False", stalled.reason.clone(), stalled.message.clone()),
        (None, Stage::New) => return,
        (None, stage) => {
            let (word, message) = of_stage(stage);
            let why = status.last_failure.as_ref().filter(|_| stage == Stage::Failed);
            let message = why.map_or_else(|| message.to_owned(), |failure| failure.message.clone());
            (word, stage.as_str().to_owned(), message)
        }
    };
    set(status, READY, word, &reason, &message, now);
}

/// Writes `ConfigsPolled` while `why` is given.
pub(super) fn polled(status: &mut Status, why: Option<&str>, now: Timestamp) {
    match why {
        Some(why) => drop(set(status, POLLED, "True", "Forbidden", why, now)),
        None => unset(status, POLLED),
    }
}

fn of_stage(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::New | Stage::Initializing => ("Unknown", "The primary is being made."),
        Stage::Initialized | Stage::Succeeded => ("True", "The primary serves what was promoted last."),
        Stage::Waiting | Stage::WaitingPromotion => ("Unknown", "A new revision waits for approval."),
        Stage::Progressing => ("Unknown", "A new revision is being judged."),
        Stage::Promoting | Stage::Finalising => ("Unknown", "A new revision is being promoted."),
        Stage::Failed => ("False", "The last release failed."),
        Stage::Terminating | Stage::Terminated => ("False", "The Canary is being deleted."),
    }
}

/// Writes a condition of ours. Returns false when it already said the same.
pub(super) fn set(
    status: &mut Status,
    kind: &str,
    word: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let old = status
        .conditions
        .iter_mut()
        .find(|condition| condition.kind == kind);
    let Some(old) = old else {
        let new = renewed(None, kind, word, reason, message.to_owned(), now);
        status.conditions.push(new);
        return true;
    };
    if old.status == word && old.reason == reason && old.message == message {
        return false;
    }
    *old = renewed(Some(old.clone()), kind, word, reason, message.to_owned(), now);
    true
}

/// Takes a condition away.
pub(super) fn unset(status: &mut Status, kind: &str) {
    status.conditions.retain(|condition| condition.kind != kind);
}

fn renewed(
    old: Option<Condition>,
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> Condition {
    let now = whole_second(now);
    Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition: old
            .filter(|old| old.status == status)
            .map_or(now, |old| old.last_transition),
        last_update: now,
    }
}

/// Kubernetes' `metav1.Time` has whole seconds.
pub(super) fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn promoted_moves_as_flaggers_does() {
        let mut status = Status::default();
        let kind = TargetKind::Deployment;
        promoted(&mut status, Stage::Initialized, kind, at(1));
        assert!(stall(&mut status, "TargetNotFound", "gone", at(1)));
        let first = status.clone();
        promoted(&mut status, Stage::Initialized, kind, at(2));
        assert_eq!(status, first, "same status and reason: untouched");

        promoted(&mut status, Stage::Succeeded, kind, at(3));
        let condition = &status.conditions[0];
        assert_eq!(
            (condition.kind.as_str(), condition.reason.as_str()),
            (PROMOTED, "Succeeded")
        );
        assert_eq!((condition.last_transition, condition.last_update), (at(1), at(3)));
        assert_eq!(
            condition.message,
            "Canary analysis completed successfully, promotion finished."
        );

        promoted(&mut status, Stage::Failed, kind, at(4));
        let condition = &status.conditions[0];
        assert_eq!(
            (condition.status.as_str(), condition.last_transition),
            ("False", at(4))
        );
        assert_eq!(
            condition.message,
            "Canary analysis failed, Deployment scaled to zero."
        );
        assert_eq!(status.conditions.len(), 2, "ours stays");
    }

    #[test]
    fn stalled_is_written_once_per_cause() {
        let mut status = Status::default();
        assert!(stall(&mut status, "TargetNotFound", "gone", at(1)));
        assert!(!stall(&mut status, "TargetNotFound", "gone", at(2)));
        assert!(stall(&mut status, "ServiceOwned", "taken", at(3)));
        assert_eq!(status.conditions[0].last_transition, at(1));
        let kinds = |status: &Status| -> Vec<String> {
            status.conditions.iter().map(|one| one.kind.clone()).collect()
        };
        assert_eq!(
            kinds(&status),
            [STALLED, CONFLICT],
            "an owned Service is a conflict"
        );
        assert!(stall(&mut status, INVALID_SPEC, "spec.x: bad", at(4)));
        assert_eq!(kinds(&status), [STALLED, INVALID_SPEC]);
        unstall(&mut status);
        assert!(status.conditions.is_empty());
    }

    #[test]
    fn ready_follows_stage_and_stall() {
        let mut status = Status::default();
        ready(&mut status, at(1));
        assert!(status.conditions.is_empty(), "nothing is known of a new one");
        let word = |status: &Status| {
            let ready = status.conditions.iter().find(|one| one.kind == READY).unwrap();
            (ready.status.clone(), ready.reason.clone(), ready.message.clone())
        };
        for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::New) {
            status.stage = stage;
            ready(&mut status, at(2));
            let expected = match stage {
                Stage::Initialized | Stage::Succeeded => "True",
                Stage::Failed | Stage::Terminating | Stage::Terminated => "False",
                Stage::New
                | Stage::Initializing
                | Stage::Waiting
                | Stage::Progressing
                | Stage::WaitingPromotion
                | Stage::Promoting
                | Stage::Finalising => "Unknown",
            };
            let (word, reason, _) = word(&status);
            assert_eq!((word.as_str(), reason.as_str()), (expected, stage.as_str()));
        }
        status.stage = Stage::Failed;
        status.last_failure = Some(crate::model::status::Failure {
            time: at(3),
            reason: "FailedChecks".to_owned(),
            message: "errors".to_owned(),
        });
        ready(&mut status, at(3));
        assert_eq!(word(&status).2, "errors", "a failure says why");
        status.stage = Stage::Succeeded;
        stall(&mut status, "TargetNotFound", "gone", at(4));
        ready(&mut status, at(4));
        assert_eq!(
            word(&status),
            ("False".to_owned(), "TargetNotFound".to_owned(), "gone".to_owned())
        );
    }
}
