//! The judged revision is copied to the primary, and waited for.

use crate::model::notice::{Notice, Reason};
use crate::model::status::Stage;

use super::stand::{self, New};
use super::{fail, initialize};
use crate::rollout::change::{judged, runs};
use crate::rollout::draft::Draft;
use crate::rollout::observed::Seen;
use crate::rollout::pass::{AGAIN, Pass, Wait};
use crate::rollout::plan::{Plan, Step};

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

fn wait(pass: &Pass<'_>, mut draft: Draft<'_>) -> Plan {
    match pass.wait_for_primary() {
        Wait::Over => {
            draft.scale_primary();
            draft.enter(Stage::Finalising);
            draft.wake_in(AGAIN);
            draft.finish()
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
