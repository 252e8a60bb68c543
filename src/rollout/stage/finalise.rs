//! The primary serves the new revision; the canary goes to zero.

use crate::model::notice::{Notice, Reason, Severity};
use crate::model::split::Split;
use crate::model::status::Stage;

use super::stand::{self, New};
use super::{fail, initialize};
use crate::rollout::change::judged;
use crate::rollout::draft::Draft;
use crate::rollout::observed::Seen;
use crate::rollout::pass::{AGAIN, Pass, Wait};
use crate::rollout::plan::{Plan, Step};

/// Stage Finalising. Not paced.
pub(in crate::rollout) fn finalise(pass: &Pass<'_>) -> Plan {
    let mut draft = pass.draft();
    draft.mend();
    // Routes first; the target is parked in a later pass, once they are in force.
    if !pass.seen.services_ready || pass.seen.primary == Seen::Absent {
        if pass.seen.interference.is_none() {
            draft.wake_in(AGAIN);
        }
        return draft.finish();
    }
    if !pass.split().is_none() {
        draft.route(Split::NONE);
        draft.wake_in(AGAIN);
        return draft.finish();
    }
    if judged(&pass.seen.status).is_none() {
        if !pass.seen.target_equals_primary {
            return stand::run(pass, draft, New::Restart);
        }
        stand::adopt_promoted(pass, &mut draft);
    }
    // Gone and rebuilt, or broken, since it was ready last.
    match pass.wait_for_primary() {
        Wait::Over => succeed(pass, draft),
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

fn succeed(pass: &Pass<'_>, mut draft: Draft<'_>) -> Plan {
    draft.park();
    if draft.status.promoted_configs != draft.status.tracked_configs {
        draft.step(Step::ForgetConfigs);
    }
    draft.enter(Stage::Succeeded);
    let status = &mut draft.status;
    status.iterations = 0;
    status.last_promoted.clone_from(&status.last_applied);
    status.promoted_configs.clone_from(&status.tracked_configs);
    status.promoted_generation = status.judged_generation;
    draft.call_post_rollout(Stage::Succeeded);
    let (text, alert) = if pass.canary.analysis.skip {
        (
            format!(
                "Promotion completed! Canary analysis was skipped for {}",
                pass.target_name()
            ),
            "Canary analysis was skipped, promotion finished.",
        )
    } else {
        (
            format!("Promotion completed! Scaling down {}", pass.target_name()),
            "Canary analysis completed successfully, promotion finished.",
        )
    };
    draft.say(
        Notice::info(Reason::Promoted, text)
            .in_phase(Stage::Succeeded)
            .alerting(Severity::Info, alert),
    );
    // The target may have moved on while the primary was rolled.
    draft.wake_in(AGAIN);
    draft.finish()
}
