//! Deletion with `revertOnDeletion`: the target gets its replicas back, then the traffic, then the Canary goes.
//!
//! Nothing here may block a deletion for good: what cannot be restored is left, and said.

use jiff::Timestamp;

use crate::model::canary::{Canary, Provider};
use crate::model::notice::{Notice, Reason};
use crate::model::status::Stage;

use crate::rollout::draft::Draft;
use crate::rollout::observed::{Block, Observed, Seen};
use crate::rollout::pass::AGAIN;
use crate::rollout::plan::{Plan, Step};
use crate::rollout::readiness::{self, Patience, Readiness};

/// `metadata.deletionTimestamp` is set.
pub(in crate::rollout) fn terminate(canary: &Canary, seen: &Observed, now: Timestamp) -> Plan {
    let mut draft = Draft::new(canary, seen, now);
    let flagger = seen
        .blocked
        .as_ref()
        .is_some_and(|block| block.reason == Block::FLAGGER_ACTIVE);
    if !seen.has_finalizer || flagger {
        return draft.leave();
    }
    let ours = match canary.provider {
        Provider::Kubernetes => true,
        Provider::Other(_) => false,
    };
    // Nothing was taken, or there is nobody to give it back to.
    if !canary.revert_on_deletion || !ours || seen.status.stage == Stage::New || seen.target == Seen::Absent {
        return release(canary, draft);
    }
    if seen.status.stage != Stage::Terminating {
        draft.unpark();
        draft.enter(Stage::Terminating);
        draft.say(
            Notice::info(Reason::Terminating, format!("Terminating canary {}", canary.id))
                .in_phase(Stage::Terminating),
        );
        draft.wake_in(AGAIN);
        return draft.finish();
    }
    let (mark, _) = readiness::advance(seen.status.progress, &seen.target, now);
    let patience = Patience {
        mark: Some(mark),
        deadline: canary.progress_deadline,
        now,
    };
    match readiness::of(
        &seen.target,
        canary.target.kind,
        canary.analysis.canary_ready,
        &patience,
    ) {
        Readiness::Ready | Readiness::Absent => {
            restore(seen, &mut draft);
            release(canary, draft)
        }
        Readiness::Progressing(_) => {
            if seen.target.workload().is_some_and(|target| target.desired <= 0) {
                draft.unpark();
            }
            draft.status.progress = Some(mark);
            draft.wake_in(patience.left());
            draft.finish()
        }
        // The primary goes with the Canary: waiting longer helps nobody.
        Readiness::Stuck(why) => {
            restore(seen, &mut draft);
            draft.say(Notice::warning(
                Reason::Terminating,
                format!(
                    "Terminating canary {} although its target is not ready: {why}",
                    canary.id
                ),
            ));
            release(canary, draft)
        }
    }
}

/// A Service that is not ours to change, or a target without a label to select it by, is left as it is.
fn restore(seen: &Observed, draft: &mut Draft<'_>) {
    if seen.blocked.is_none() {
        draft.step(Step::Restore);
    }
}

fn release(canary: &Canary, mut draft: Draft<'_>) -> Plan {
    draft.step(Step::RemoveFinalizer);
    draft.say(Notice::info(
        Reason::Terminating,
        format!("Terminated canary {}", canary.id),
    ));
    draft.leave()
}
