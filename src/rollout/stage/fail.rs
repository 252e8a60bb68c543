//! The run ends badly: production stays what it was, the canary goes to zero, somebody is told.

use crate::model::canary::Hook;
use crate::model::notice::{Notice, Reason, Severity};
use crate::model::revision::Revision;
use crate::model::split::Split;
use crate::model::status::Stage;

use super::progress::canary_not_ready;
use crate::rollout::change::{judged, promoted};
use crate::rollout::draft::Draft;
use crate::rollout::pass::{AGAIN, Pass};
use crate::rollout::plan::{Plan, Step};

/// Why a run is rolled back.
pub(in crate::rollout) enum Cause<'a> {
    /// As many failed checks as `analysis.threshold` allows.
    Threshold,
    /// A rollback hook said so.
    Manual(&'a Hook),
    /// The canary did not get ready in time, for this reason.
    Deadline(String),
    /// An operator ordered it.
    Ordered,
}

/// Rolls back: the primary has the traffic already, so the canary goes to zero.
pub(in crate::rollout) fn fail(pass: &Pass<'_>, mut draft: Draft<'_>, cause: &Cause<'_>) -> Plan {
    let id = &pass.canary.id;
    match cause {
        Cause::Threshold => {
            let failed = pass.seen.status.failed_checks;
            draft.blame("FailedChecks", too_many(pass, failed));
            draft.say(
                Notice::warning(
                    Reason::RollingBack,
                    format!("Rolling back {id} failed checks threshold reached {failed}"),
                )
                .alerting(
                    Severity::Error,
                    format!("Failed checks threshold reached {failed}"),
                ),
            );
        }
        Cause::Manual(hook) => {
            draft.blame(
                "ManualRollback",
                format!("Rollback hook {} asked for it", hook.name),
            );
            draft.say(Notice::warning(
                Reason::HookPassed,
                format!("Rollback check {} passed", hook.name),
            ));
            draft.say(
                Notice::warning(
                    Reason::RollingBack,
                    format!("Rolling back {id} manual webhook invoked"),
                )
                .alerting(Severity::Warning, "Rolling back manual webhook invoked"),
            );
        }
        Cause::Ordered => called_off(pass, &mut draft),
        Cause::Deadline(why) => {
            draft.blame("ProgressDeadline", format!("The canary did not get ready: {why}"));
            // Flagger is silent here.
            draft.say(
                canary_not_ready(pass, why)
                    .alerting(Severity::Error, format!("Progress deadline exceeded {why}")),
            );
        }
    }
    draft.say(
        Notice::warning(Reason::Failed, format!("Canary failed! Scaling down {id}")).in_phase(Stage::Failed),
    );
    draft.route(Split::NONE);
    draft.park();
    close(draft)
}

/// True when going from `judged` back to `last` changes anything: the template, or the content of configs that was
/// kept when it was promoted. What is not known of configs is nothing to go back to.
fn is_another(last: &Revision, judged: &Revision) -> bool {
    let configs = match (&last.configs, &judged.configs) {
        (Some(last), Some(judged)) => last != judged,
        (None, _) | (_, None) => false,
    };
    last.template != judged.template || configs
}

/// How many checks failed, and what the last of them had against the revision.
fn too_many(pass: &Pass<'_>, failed: u32) -> String {
    let checks = &pass.seen.status.checks;
    let last = checks.iter().rev().find_map(|check| check.message.as_deref());
    match last {
        Some(last) => format!("{failed} checks failed, the last with: {last}"),
        None => format!("{failed} checks failed"),
    }
}

/// The primary did not get ready with the judged revision, and goes back to the last promoted one. A router sends
/// everybody to the canary meanwhile, as Flagger does; provider kubernetes has no other place for the traffic. When no
/// promoted revision is known the canary keeps running, for somebody to switch to by hand.
pub(super) fn promotion(pass: &Pass<'_>, mut draft: Draft<'_>, why: &str) -> Plan {
    draft.say(
        Notice::warning(
            Reason::Failed,
            format!(
                "Promotion of {} failed, primary not ready: {why}",
                pass.target_name()
            ),
        )
        .in_phase(Stage::Failed)
        .alerting(
            Severity::Error,
            format!("Promotion failed, primary not ready: {why}"),
        ),
    );
    draft.blame("PromotionFailed", format!("The primary did not get ready: {why}"));
    draft.route(Split::ALL);
    match before(pass) {
        Some(last) => restore(pass, &mut draft, last),
        None => draft.say(
            Notice::warning(
                Reason::Failed,
                format!(
                    "{} cannot be restored, its last promoted revision is not recorded; {} keeps running",
                    pass.primary_name(),
                    pass.target_name()
                ),
            )
            .in_phase(Stage::Failed),
        ),
    }
    close(draft)
}

/// What the primary can go back to, if that changes anything.
pub(in crate::rollout) fn before(pass: &Pass<'_>) -> Option<Revision> {
    let judged = judged(&pass.seen.status);
    promoted(&pass.seen.status).filter(|last| judged.as_ref().is_none_or(|judged| is_another(last, judged)))
}

/// An operator calls a promotion off: the primary goes back to `last`.
pub(in crate::rollout) fn promotion_called_off(
    pass: &Pass<'_>,
    mut draft: Draft<'_>,
    last: Revision,
) -> Plan {
    called_off(pass, &mut draft);
    restore(pass, &mut draft, last);
    close(draft)
}

fn called_off(pass: &Pass<'_>, draft: &mut Draft<'_>) {
    draft.blame("Aborted", "An operator ordered it to be rolled back".to_owned());
    draft.say(
        Notice::warning(
            Reason::RollingBack,
            format!("Rolling back {} ordered by an operator", pass.canary.id),
        )
        .alerting(Severity::Warning, "Rolling back ordered by an operator"),
    );
}

fn restore(pass: &Pass<'_>, draft: &mut Draft<'_>, last: Revision) {
    draft.step(Step::Promote(last));
    draft.say(
        Notice::warning(
            Reason::RollingBack,
            format!("Restoring {} to the last promoted revision", pass.primary_name()),
        )
        .in_phase(Stage::Failed),
    );
    // With a router the canary has traffic until the primary is back.
    if pass.seen.routing.is_none() {
        draft.park();
    }
}

fn close(mut draft: Draft<'_>) -> Plan {
    draft.enter(Stage::Failed);
    draft.status.iterations = 0;
    draft.status.failed_checks = 0;
    draft.call_post_rollout(Stage::Failed);
    // The target may be something else already.
    draft.wake_in(AGAIN);
    draft.finish()
}
