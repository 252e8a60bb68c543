//! Fields of ours that somebody else sets.
//!
//! Owns: how often they are put right. Promises: at once the first time, then after growing pauses, so that no program
//! is fought over and over; and that it is said when it is found, in an event and in the condition `Contested`.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::notice::{Notice, Reason};
use crate::model::status::{Contest, Stage};

use super::draft::Draft;
use super::observed::{Changed, Interference};
use super::readiness::elapsed;
use super::{change, condition};

/// Ours: another program sets a field that is ours.
pub const CONTESTED: &str = "Contested";

/// Once nothing was found for so long, nothing is contested any more.
pub const CALM: Duration = Duration::from_secs(30 * 60);

/// Longest pause between two corrections.
const LONGEST: Duration = Duration::from_secs(300);

/// Corrections of the replicas of a parked target: what they cost is worth no longer quarrel.
const OF_REPLICAS: u32 = 3;

/// How long everything is left alone after so many corrections.
fn pause(corrections: u32) -> Duration {
    let Some(doublings) = corrections.checked_sub(1) else {
        return Duration::ZERO;
    };
    Duration::from_secs(5)
        .saturating_mul(2_u32.saturating_pow(doublings.min(16)))
        .min(LONGEST)
}

/// May the Services be put right now? Tells what was found, and keeps production up where it may not.
pub(super) fn services(draft: &mut Draft<'_>) -> bool {
    let Some(found) = &draft.seen().interference else {
        calm(draft);
        return true;
    };
    let Changed::Service { to_target } = found.changed else {
        return true;
    };
    let correct = found_changed(draft, found, true);
    let parked = draft
        .seen()
        .target
        .workload()
        .is_some_and(|target| target.desired <= 0);
    // Clients were sent to a target without pods: it gets them while it is what they had anyway.
    if !correct && to_target && parked && is_promoted(draft) && at_rest(draft) {
        draft.unpark();
    }
    correct
}

/// A target that has pods although nothing runs is parked, if it was us or a program that may be corrected.
pub(super) fn replicas(draft: &mut Draft<'_>) {
    let seen = draft.seen();
    if !at_rest(draft) || !seen.services_ready {
        return;
    }
    let parks = match &seen.interference {
        Some(found) if found.changed == Changed::Replicas => {
            let corrections = draft
                .status
                .contest
                .as_ref()
                .map_or(0, |contest| contest.corrections);
            found_changed(draft, found, found.reconciled && corrections < OF_REPLICAS)
        }
        Some(_) | None => seen.left_up && !is_last_resort(draft),
    };
    if parks {
        draft.park();
    }
}

/// After a promotion that failed and was not taken back, the target is what somebody may switch to.
fn is_last_resort(draft: &Draft<'_>) -> bool {
    let failure = draft.status.last_failure.as_ref();
    let restored = || {
        let primary = draft.seen().primary.workload();
        let promoted = change::promoted(&draft.status);
        primary
            .zip(promoted)
            .is_some_and(|(primary, promoted)| change::runs(primary, &promoted))
    };
    draft.status.stage == Stage::Failed
        && failure.is_some_and(|failure| failure.reason == "PromotionFailed")
        && !restored()
}

fn calm(draft: &mut Draft<'_>) {
    let Some(contest) = &draft.status.contest else {
        return;
    };
    let left = CALM.saturating_sub(elapsed(contest.last, draft.now()));
    if left.is_zero() {
        draft.status.contest = None;
        condition::unset(&mut draft.status, CONTESTED);
    } else {
        draft.wake_in(left);
    }
}

/// Notes what was found; true when it may be put right now. Within a pause nothing is written: the condition says it
/// already.
fn found_changed(draft: &mut Draft<'_>, found: &Interference, correctable: bool) -> bool {
    let now = draft.now();
    let old = draft.status.contest.clone();
    let corrections = old.as_ref().map_or(0, |contest| contest.corrections);
    let left = old.as_ref().map_or(Duration::ZERO, |contest| {
        pause(corrections).saturating_sub(elapsed(contest.last, now))
    });
    let correct = correctable && left.is_zero();
    if correctable && !correct {
        draft.wake_in(left);
    }
    if !correct && old.is_some() {
        return false;
    }
    draft.status.contest = Some(Contest {
        field: found.field.clone(),
        manager: found.manager.clone(),
        corrections: corrections.saturating_add(u32::from(correct)),
        since: old.map_or_else(|| micros(now), |contest| contest.since),
        last: micros(now),
    });
    let message = format!(
        "{} is {}, set by {}; expected {}; {}",
        found.field, found.found, found.manager, found.expected, found.cure
    );
    condition::set(&mut draft.status, CONTESTED, "True", found.reason, &message, now);
    let consequence = consequence(draft, found);
    draft.say(Notice::warning(
        Reason::Contested,
        format!("{message}; meanwhile {consequence}"),
    ));
    correct
}

/// What it means for production at this moment.
fn consequence(draft: &Draft<'_>, found: &Interference) -> &'static str {
    let parked = draft
        .seen()
        .target
        .workload()
        .is_none_or(|target| target.desired <= 0);
    match found.changed {
        Changed::Replicas => "a target that should be parked has pods, and whatever selects them reaches it",
        Changed::Service { to_target: false } => "clients reach what they reached before",
        Changed::Service { to_target: true } if parked => "clients reach nobody",
        Changed::Service { to_target: true } if is_promoted(draft) => {
            "clients reach the target, which runs what is promoted"
        }
        Changed::Service { to_target: true } => "clients reach the target, which runs what is not promoted",
    }
}

fn is_promoted(draft: &Draft<'_>) -> bool {
    let (seen, status) = (draft.seen(), &draft.status);
    seen.revision.as_ref().is_some_and(|current| {
        current.template == status.last_promoted
            && (current.configs.is_none() || current.configs == status.promoted_configs)
    })
}

fn at_rest(draft: &Draft<'_>) -> bool {
    matches!(
        draft.status.stage,
        Stage::Initialized | Stage::Succeeded | Stage::Failed
    )
}

fn micros(now: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_minutes() {
        let seconds: Vec<u64> = (0..10).map(|corrections| pause(corrections).as_secs()).collect();
        assert_eq!(seconds, [0, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(pause(u32::MAX), LONGEST);
    }
}
