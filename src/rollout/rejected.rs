//! What becomes of the status when the spec cannot be obeyed.

use jiff::Timestamp;

use crate::model::notice::Reason;
use crate::model::status::{Condition, Status};

/// The condition that says why nothing moves (Kubernetes convention: `Stalled` is True while it is so).
pub const STALLED: &str = "Stalled";

/// The status of a Canary whose spec is invalid, and whether that is news.
///
/// Phase and counters stay: an analysis that runs is neither advanced nor rolled back by a bad edit.
pub fn rejected(stored: &Status, generation: i64, message: &str, now: Timestamp) -> (Status, bool) {
    let mut status = stored.clone();
    let reason = Reason::InvalidSpec.as_str();
    let known = stored
        .conditions
        .iter()
        .find(|condition| condition.kind == STALLED);
    if known.is_some_and(|known| known.status == "True" && known.reason == reason && known.message == message)
    {
        return (status, false);
    }
    let last_transition = known
        .filter(|known| known.status == "True")
        .map_or(now, |known| known.last_transition);
    status.conditions.retain(|condition| condition.kind != STALLED);
    status.conditions.push(Condition {
        kind: STALLED.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition,
        last_update: now,
    });
    status.observed_generation = generation;
    (status, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_spec_is_told_once() {
        let now = Timestamp::UNIX_EPOCH;
        let (first, news) = rejected(&Status::default(), 1, "spec.x: bad", now);
        assert!(news);
        assert_eq!(first.conditions.len(), 1);
        assert_eq!(rejected(&first, 1, "spec.x: bad", now), (first.clone(), false));
        assert!(rejected(&first, 2, "spec.y: bad", now).1);
    }
}
