//! Is there something new to judge?
//!
//! Owns: the comparison of what the target is now with what was judged and promoted last. Promises: an upgrade
//! from Flagger starts no run and swallows no release (decision 4); going back to what is promoted starts none
//! either, for templates (as Flagger) and for configs (which Flagger runs anyway).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::revision::{self, Revision};
use crate::model::status::{Stage, Status};

use super::observed::{Observed, Workload};

/// How the target relates to what the status knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is what was judged last.
    Same,
    /// It is what the primary runs already: remember that, judge nothing.
    Promoted,
    /// Another program judged it and it failed: remember it under our hash, judge nothing.
    KnownBad,
    /// It has not been judged.
    New,
}

/// Compares the target's `current` revision with the status.
pub(super) fn change(seen: &Observed, current: &Revision) -> Change {
    let status = &seen.status;
    if unknown(&status.last_applied) {
        return if seen.target_equals_primary {
            Change::Promoted
        } else if status.stage == Stage::Failed && !status.last_applied.is_empty() {
            Change::KnownBad
        } else {
            Change::New
        };
    }
    if current.template == status.last_applied && !configs_differ(status.tracked_configs.as_ref(), current) {
        Change::Same
    } else if is_promoted(seen, current) {
        Change::Promoted
    } else {
        Change::New
    }
}

/// True for a hash that names none of our revisions.
pub(super) fn unknown(hash: &str) -> bool {
    hash.is_empty() || revision::is_foreign(hash)
}

/// True when the primary was rendered from `revision`.
pub(super) fn runs(primary: &Workload, revision: &Revision) -> bool {
    primary
        .revision
        .as_ref()
        .is_some_and(|running| *running == revision.template || *running == revision.identity())
}

/// The revision under judgement or last judged; `None` when our hashes do not name it.
pub(super) fn judged(status: &Status) -> Option<Revision> {
    (!unknown(&status.last_applied)).then(|| Revision {
        template: status.last_applied.clone(),
        configs: status.tracked_configs.clone(),
    })
}

/// The revision promoted last; `None` when our hashes do not name it.
pub(super) fn promoted(status: &Status) -> Option<Revision> {
    (!unknown(&status.last_promoted)).then(|| Revision {
        template: status.last_promoted.clone(),
        configs: status.promoted_configs.clone(),
    })
}

/// What a primary that vanished is made from: what it was promoted to last, which in Finalising is not in
/// `lastPromotedSpec` yet.
pub(super) fn rebuilt_from(status: &Status) -> Option<Revision> {
    if status.stage == Stage::Finalising {
        judged(status)
    } else {
        promoted(status)
    }
}

fn is_promoted(seen: &Observed, current: &Revision) -> bool {
    if revision::is_foreign(&seen.status.last_promoted) {
        return seen.target_equals_primary;
    }
    let configs = !configs_differ(seen.status.promoted_configs.as_ref(), current);
    // A status that does not know (tracking was switched on since): the primary says what it was rendered from.
    let rendered = || {
        let running = seen
            .primary
            .workload()
            .and_then(|primary| primary.revision.as_ref());
        running.is_some_and(|running| *running == current.identity())
    };
    current.template == seen.status.last_promoted && (configs || rendered())
}

/// Tracking that is switched off tells nothing; tracking that is switched on without configs changes nothing.
fn configs_differ(tracked: Option<&BTreeMap<String, String>>, current: &Revision) -> bool {
    match (tracked, &current.configs) {
        (_, None) => false,
        (None, Some(configs)) => !configs.is_empty(),
        (Some(tracked), Some(configs)) => tracked != configs,
    }
}

/// What hooks are told to recognise a run by: 16 hex digits over `lastAppliedSpec` and `trackedConfigs`, the same
/// during one run and different in the next (Flagger's `checksum`, which is another function of the same fields).
pub fn checksum(status: &Status) -> String {
    let configs = status.tracked_configs.iter().flatten();
    let configs: serde_json::Map<String, Value> = configs
        .map(|(name, sum)| (name.clone(), Value::from(sum.clone())))
        .collect();
    let hash = revision::hash(&serde_json::json!([status.last_applied, configs]));
    let digits = hash.strip_prefix(revision::VERSION).unwrap_or(&hash);
    digits.chars().take(16).collect()
}
