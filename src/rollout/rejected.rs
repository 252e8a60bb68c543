//! What becomes of the status when the spec cannot be obeyed.

use jiff::Timestamp;

use crate::model::notice::Reason;
use crate::model::status::Status;

use super::condition;

/// The status of a Canary whose spec is invalid, and whether that is news.
///
/// Phase and counters stay: an analysis that runs is neither advanced nor rolled back by a bad edit.
pub fn rejected(stored: &Status, generation: i64, message: &str, now: Timestamp) -> (Status, bool) {
    stalled(stored, generation, Reason::InvalidSpec, message, now)
}

/// The status of a Canary whose plan could not be carried out, and whether that is news. Phase and counters stay.
pub fn stalled(
    stored: &Status,
    generation: i64,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> (Status, bool) {
    let mut status = stored.clone();
    let news = condition::stall(&mut status, reason.as_str(), message, now);
    if news {
        condition::ready(&mut status, now);
        status.observed_generation = generation;
    }
    (status, news)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_spec_is_told_once() {
        let now = Timestamp::UNIX_EPOCH;
        let (first, news) = rejected(&Status::default(), 1, "spec.x: bad", now);
        assert!(news);
        let kinds: Vec<&str> = first.conditions.iter().map(|one| one.kind.as_str()).collect();
        assert_eq!(
            kinds,
            [condition::INVALID_SPEC, condition::STALLED, condition::READY]
        );
        assert_eq!(rejected(&first, 1, "spec.x: bad", now), (first.clone(), false));
        assert!(rejected(&first, 2, "spec.y: bad", now).1);
    }
}
