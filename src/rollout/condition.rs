//! The conditions a decision writes: `Promoted` as Flagger does, `Stalled` of ours.
//!
//! Conditions are output, never memory: no decision reads them, except to see whether it would write the same.

use jiff::Timestamp;

use crate::model::canary::TargetKind;
use crate::model::status::{Condition, Stage, Status};

/// Flagger's only condition; CI waits for it (`kubectl wait --for=condition=promoted`).
pub(super) const PROMOTED: &str = "Promoted";
/// Ours: the controller cannot act until somebody changes something.
pub const STALLED: &str = "Stalled";

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

/// Writes `Stalled` = True. Returns false when it already said the same.
pub(super) fn stall(status: &mut Status, reason: &str, message: &str, now: Timestamp) -> bool {
    let old = status
        .conditions
        .iter()
        .position(|condition| condition.kind == STALLED);
    let same = old.is_some_and(|at| {
        let old = &status.conditions[at];
        old.status == "True" && old.reason == reason && old.message == message
    });
    if same {
        return false;
    }
    let old = old.map(|at| status.conditions.remove(at));
    status
        .conditions
        .push(renewed(old, STALLED, "True", reason, message.to_owned(), now));
    true
}

/// Takes `Stalled` away: the controller acts again.
pub(super) fn unstall(status: &mut Status) {
    status.conditions.retain(|condition| condition.kind != STALLED);
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
        unstall(&mut status);
        assert!(status.conditions.is_empty());
    }
}
