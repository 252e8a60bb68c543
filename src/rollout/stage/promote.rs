//! The judged revision is copied to the primary, and waited for.

use crate::model::notice::{Notice, Reason};
use crate::model::split::Split;
use crate::model::status::Stage;

use super::stand::{self, New};
use super::{fail, initialize};
use crate::rollout::change::{judged, runs};
use crate::rollout::draft::Draft;
use crate::rollout::observed::Seen;
use crate::rollout::pass::{AGAIN, Pass, Wait};
use crate::rollout::plan::{Plan, Step};
use crate::rollout::strategy::ramp;

/// The analysis is over (or was skipped). What is copied is what was judged; had the target moved on, the run
/// would have started over instead.
pub(super) fn begin(pass: &Pass<'_>, mut draft: Draft<'_>) -> Plan {
    draft.promote(pass.current.clone());
    draft.say(Notice::info(
        Reason::Promoting,
        format!(
            "Copying {} template spec to {}",
            pass.target_name(),
            pass.primary_name()
        ),
    ));
    draft.enter(Stage::Promoting);
    draft.wake_in(AGAIN);
    draft.finish()
}

/// Stage Promoting. Not paced. Changes of the target wait until the run is over.
pub(in crate::rollout) fn promote(pass: &Pass<'_>) -> Plan {
    let mut draft = pass.draft();
    draft.mend();
    let Some(judged) = judged(&pass.seen.status) else {
        // Flagger was here before us.
        if pass.seen.target_equals_primary {
            stand::adopt_promoted(pass, &mut draft);
            return wait(pass, draft);
        }
        return stand::run(pass, draft, New::Restart);
    };
    let Seen::Present(primary) = &pass.seen.primary else {
        draft.wake_in(AGAIN);
        return draft.finish();
    };
    let copied = runs(primary, &judged) || (primary.revision.is_none() && pass.seen.target_equals_primary);
    if !copied {
        draft.step(Step::Promote(judged));
        draft.wake_in(AGAIN);
    }
    if copied {
        return wait(pass, draft);
    }
    draft.finish()
}

/// The primary runs what was judged: traffic goes back to it, at once or in steps of `stepWeightPromotion`, which are
/// paced as checks are.
fn shift_back(pass: &Pass<'_>, mut draft: Draft<'_>) -> Plan {
    let weight = pass.seen.status.canary_weight.max(pass.split().canary);
    let step = ramp(&pass.canary.analysis.strategy);
    if let Some(step) = step.filter(|_| weight > 0) {
        if let Some(left) = pass.not_due() {
            draft.wake_in(left);
            return draft.finish();
        }
        draft.asked();
        let left = weight.saturating_sub(step);
        draft.route(Split::to_canary(left));
        draft.say(Notice::info(
            Reason::Advanced,
            format!("Advance {} primary weight {}", pass.canary.id, 100 - left),
        ));
        if left > 0 {
            draft.wake_in(pass.canary.analysis.interval);
            return draft.finish();
        }
    } else if pass.seen.routing.is_some() {
        draft.say(Notice::info(
            Reason::TrafficShifted,
            "Routing all traffic to primary",
        ));
        draft.route(Split::NONE);
    }
    draft.enter(Stage::Finalising);
    draft.wake_in(AGAIN);
    draft.finish()
}

fn wait(pass: &Pass<'_>, mut draft: Draft<'_>) -> Plan {
    match pass.wait_for_primary() {
        Wait::Over => {
            draft.scale_primary();
            shift_back(pass, draft)
        }
        Wait::Longer {
            mark,
            news,
            why,
            left,
        } => {
            draft.status.progress = Some(mark);
            if news {
                draft.say(initialize::not_ready(pass, &why));
            }
            draft.wake_in(left);
            draft.finish()
        }
        Wait::InVain(why) => fail::promotion(pass, draft, &why),
    }
}
