//! Nothing runs: Initialized, Succeeded, Failed, or Waiting for approval. A new revision starts a run.

use crate::model::canary::{HookKind, TargetKind};
use crate::model::notice::{Notice, Reason, Severity};
use crate::model::revision;
use crate::model::split::Split;
use crate::model::status::{Reply, Stage};

use super::fail::{self, Cause};
use super::{initialize, progress};
use crate::rollout::change::{Change, change};
use crate::rollout::contest;
use crate::rollout::draft::Draft;
use crate::rollout::observed::Seen;
use crate::rollout::pass::{AGAIN, Decision, Pass, Wait};
use crate::rollout::plan::{Plan, Step};

/// Rests, adopts or starts.
pub(in crate::rollout) fn stand(pass: &Pass<'_>) -> Decision {
    let status = &pass.seen.status;
    if status.stage == Stage::Failed && status.last_promoted.is_empty() {
        return Ok(initialize::retry(pass));
    }
    let mut draft = pass.draft();
    draft.mend();
    if pass.seen.primary == Seen::Absent {
        return Ok(rebuild(pass, draft));
    }
    match change(pass.seen, pass.current) {
        Change::Same => Ok(rest(pass, draft)),
        Change::KnownBad => {
            draft.adopt(pass.current);
            Ok(rest(pass, draft))
        }
        Change::Promoted => {
            adopt_promoted(pass, &mut draft);
            Ok(rest(pass, draft))
        }
        Change::New => start(pass, draft),
    }
}

/// The target is what the primary runs. After a failure this is remembered, so that the failed template is judged
/// again when it comes back (Flagger gets there by rewriting the status at every tick, Q-03).
pub(super) fn adopt_promoted(pass: &Pass<'_>, draft: &mut Draft<'_>) {
    draft.adopt(pass.current);
    let promoted = &mut draft.status.last_promoted;
    if revision::is_foreign(promoted) || promoted.is_empty() {
        promoted.clone_from(&pass.current.template);
        draft.status.promoted_configs.clone_from(&pass.current.configs);
        draft.step(Step::Record(pass.current.clone()));
    }
}

/// Nothing to judge. A gate that is closed for a revision that is gone is not asked again: the Canary is back where
/// it was.
fn rest(pass: &Pass<'_>, mut draft: Draft<'_>) -> Plan {
    draft.scale_primary();
    if !pass.split().is_none() {
        route_back(pass, &mut draft);
    }
    contest::replicas(&mut draft);
    draft.status.progress = None;
    if pass.seen.status.stage == Stage::Waiting {
        let good = draft.status.last_applied == draft.status.last_promoted;
        draft.enter(if good { Stage::Initialized } else { Stage::Failed });
    }
    draft.finish()
}

/// Nothing runs, and the canary has traffic: it was sent there while the primary was restored, or before a process died.
fn route_back(pass: &Pass<'_>, draft: &mut Draft<'_>) {
    match pass.wait_for_primary() {
        Wait::Over => {
            draft.route(Split::NONE);
            draft.wake_in(AGAIN);
        }
        Wait::Longer { left, .. } => draft.wake_in(left),
        Wait::InVain(_) => {}
    }
}

/// The primary is gone; no run starts before it is back.
fn rebuild(pass: &Pass<'_>, mut draft: Draft<'_>) -> Plan {
    if let Wait::Longer { mark, news: true, .. } = pass.wait_for_primary() {
        draft.status.progress = Some(mark);
        draft.say(Notice::warning(
            Reason::NotReady,
            format!(
                "{} not found, rebuilding it from the last promoted revision",
                pass.primary_name()
            ),
        ));
    }
    draft.finish()
}

/// A revision nobody has judged: gates, then the run. A primary on its way to ready is waited for; one that does
/// not get there is no reason to hold back what may mend it.
fn start(pass: &Pass<'_>, mut draft: Draft<'_>) -> Decision {
    let stage = pass.seen.status.stage;
    if !pass.canary.analysis.skip && stage != Stage::Waiting {
        match pass.wait_for_primary() {
            Wait::Over | Wait::InVain(_) => {}
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
                return Ok(draft.finish());
            }
        }
    }
    if let Some(order) = pass.promote {
        let text = format!("{} is promoted as soon as it is ready", pass.target_name());
        draft.answer(order, Reply::Accepted, text);
        return Ok(run(pass, draft, New::Run));
    }
    let confirm = pass
        .canary
        .analysis
        .hooks_of(HookKind::ConfirmRollout)
        .next()
        .is_some();
    let rollback =
        stage == Stage::Waiting && pass.canary.analysis.hooks_of(HookKind::Rollback).next().is_some();
    if confirm || rollback {
        if let Some(left) = pass.not_due() {
            draft.wake_in(left);
            return Ok(draft.finish());
        }
        draft.asked();
    }
    if rollback && let Some(hook) = progress::rollback_called(pass, &mut draft)? {
        draft.adopt(pass.current);
        return Ok(fail::fail(pass, draft, &Cause::Manual(hook)));
    }
    let gates = pass.gates(HookKind::ConfirmRollout, stage)?;
    if let Some((hook, _)) = gates.refused {
        if stage != Stage::Waiting {
            draft.enter(Stage::Waiting);
            draft.say(closed(
                format!(
                    "Halt {} advancement waiting for approval {}",
                    pass.canary.id, hook.name
                ),
                (!hook.mute_alert).then_some("Canary is waiting for approval."),
            ));
        }
        draft.wake_in(pass.canary.analysis.interval);
        return Ok(draft.finish());
    }
    for hook in gates.passed {
        draft.say(Notice::info(
            Reason::HookPassed,
            format!("Confirm-rollout check {} passed", hook.name),
        ));
    }
    Ok(run(pass, draft, New::Run))
}

/// A canary that asks for fewer pods than its primary has is judged under another load: without an autoscaler it
/// stays at its size.
fn undersized(pass: &Pass<'_>) -> Option<Notice> {
    let primary = pass.seen.primary.workload()?;
    let (asked, running) = (pass.target.desired, primary.desired);
    let fixed = pass.canary.autoscaler.is_none() && pass.canary.target.kind == TargetKind::Deployment;
    (fixed && asked > 0 && asked < running).then(|| {
        Notice::warning(
            Reason::NewRevision,
            format!(
                "{} is judged with {asked} replicas beside {running} of {}; give it as many, or name an autoscaler in \
                 spec.autoscalerRef",
                pass.target_name(),
                pass.primary_name()
            ),
        )
    })
}

/// A gate is closed.
pub(super) fn closed(text: String, alert: Option<&str>) -> Notice {
    let notice = Notice::warning(Reason::WaitingForApproval, text);
    match alert {
        Some(alert) => notice.alerting(Severity::Warning, alert),
        None => notice,
    }
}

/// How a revision enters Progressing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum New {
    /// From rest.
    Run,
    /// In the middle of the run of another.
    Restart,
}

/// The current revision is judged from here on.
pub(super) fn run(pass: &Pass<'_>, mut draft: Draft<'_>, new: New) -> Plan {
    draft.step(Step::Record(pass.current.clone()));
    let target = pass.target_name();
    match new {
        New::Run => {
            draft.unpark();
            if let Some(notice) = undersized(pass) {
                draft.say(notice);
            }
            draft.say(
                Notice::info(
                    Reason::NewRevision,
                    format!("New revision detected! Scaling up {target}"),
                )
                .in_phase(Stage::Progressing)
                .alerting(
                    Severity::Info,
                    "New revision detected, progressing canary analysis.",
                )
                .with_facts(),
            );
        }
        New::Restart => {
            draft.say(
                Notice::info(
                    Reason::Restarted,
                    format!("New revision detected! Restarting analysis for {target}"),
                )
                .in_phase(Stage::Progressing),
            );
        }
    }
    draft.adopt(pass.current);
    draft.route(Split::NONE);
    draft.enter(Stage::Progressing);
    draft.status.iterations = 0;
    draft.status.failed_checks = 0;
    draft.status.checks.clear();
    draft.finish()
}
