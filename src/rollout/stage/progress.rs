//! The run: wait for the canary, then one check per interval until it may be promoted or must be rolled back.

use std::time::Duration;

use crate::model::canary::{Hook, HookKind, Strategy, TargetKind};
use crate::model::notice::{Notice, Reason};
use crate::model::split::Split;
use crate::model::status::{Reply, Stage};

use super::fail::{self, Cause};
use super::promote;
use super::stand::{self, New};
use crate::rollout::analysis::{Verdict, judge, record, record_hook};
use crate::rollout::change::{Change, change};
use crate::rollout::draft::Draft;
use crate::rollout::observed::Seen;
use crate::rollout::pass::{AGAIN, Decision, Gates, Pass, Wait};
use crate::rollout::plan::Plan;
use crate::rollout::question::Question;
use crate::rollout::strategy::{Course, course};

/// Stages Progressing and WaitingPromotion.
pub(in crate::rollout) fn progress(pass: &Pass<'_>) -> Decision {
    let mut draft = pass.draft();
    draft.mend();
    match change(pass.seen, pass.current) {
        Change::Same => {}
        Change::New | Change::KnownBad => return Ok(stand::run(pass, draft, New::Restart)),
        // Set back to what is promoted: the run goes on with that (as Flagger), and can promote nothing else.
        Change::Promoted => stand::adopt_promoted(pass, &mut draft),
    }
    if pass.seen.primary == Seen::Absent {
        draft.wake_in(AGAIN);
        return Ok(draft.finish());
    }
    match pass.wait_for_target() {
        Wait::Longer {
            mark,
            news,
            why,
            left,
        } => {
            if let Some(order) = pass.promote {
                let text = format!("{} is promoted as soon as it is ready", pass.target_name());
                draft.answer(order, Reply::Accepted, text);
            }
            return Ok(unready(pass, draft, mark, news, &why, left));
        }
        Wait::InVain(why) => {
            if let Some(order) = pass.promote {
                let text = format!("{} did not get ready in time: {why}", pass.target_name());
                draft.answer(order, Reply::Refused, text);
            }
            return Ok(fail::fail(pass, draft, &Cause::Deadline(why)));
        }
        Wait::Over => draft.status.progress = None,
    }
    // What the status says is what was decided, also when the process died before it was done, or a router forgot it
    //
    if !pass.split().mirrored {
        draft.route(Split::to_canary(pass.seen.status.canary_weight));
    }
    if let Some(order) = pass.promote {
        let text = format!("{} is promoted without further analysis", pass.target_name());
        draft.answer(order, Reply::Honoured, text);
        return Ok(promote::begin(pass, draft));
    }
    if pass.canary.analysis.skip {
        return Ok(promote::begin(pass, draft));
    }
    if !is_first(pass)
        && let Some(left) = pass.not_due()
    {
        draft.wake_in(left);
        return Ok(draft.finish());
    }
    check(pass, draft)
}

fn unready(
    pass: &Pass<'_>,
    mut draft: Draft<'_>,
    mark: crate::model::status::ProgressMark,
    news: bool,
    why: &str,
    left: Duration,
) -> Plan {
    draft.status.progress = Some(mark);
    // Scaled down behind our back, or a step that was lost with the process that took it.
    if pass.scales() && pass.target.desired <= 0 {
        draft.unpark();
    }
    if news {
        draft.say(canary_not_ready(pass, why));
    }
    draft.wake_in(left);
    draft.finish()
}

/// The canary is not ready, and why.
pub(super) fn canary_not_ready(pass: &Pass<'_>, why: &str) -> Notice {
    let kind = match pass.canary.target.kind {
        TargetKind::Deployment => "deployment",
        TargetKind::DaemonSet => "daemonset",
        TargetKind::Service | TargetKind::Knative => "service",
    };
    Notice::warning(
        Reason::NotReady,
        format!("canary {kind} {} not ready: {why}", pass.target_name()),
    )
}

/// The first check of a run is not paced: it happens as soon as the canary is ready.
fn is_first(pass: &Pass<'_>) -> bool {
    let status = &pass.seen.status;
    is_untouched(pass) && status.failed_checks == 0 && status.checks.is_empty()
}

/// The canary has seen no traffic of this run. A run that waits for promotion has had it, whatever its counter says
///
fn is_untouched(pass: &Pass<'_>) -> bool {
    let status = &pass.seen.status;
    status.stage == Stage::Progressing
        && status.iterations == 0
        && status.canary_weight == 0
        && !pass.split().mirrored
}

/// A check is due.
fn check(pass: &Pass<'_>, mut draft: Draft<'_>) -> Decision {
    let (status, analysis) = (&pass.seen.status, &pass.canary.analysis);
    draft.wake_in(analysis.interval);
    if analysis.hooks_of(HookKind::Rollback).next().is_some() {
        draft.asked();
    }
    if let Some(hook) = rollback_called(pass, &mut draft)? {
        return Ok(fail::fail(pass, draft, &Cause::Manual(hook)));
    }
    if status.failed_checks >= analysis.threshold.get() {
        return Ok(fail::fail(pass, draft, &Cause::Threshold));
    }
    draft.asked();
    let halts = if is_untouched(pass) {
        draft.say(Notice::info(
            Reason::AnalysisStarted,
            format!("Starting canary analysis for {}", pass.target_name()),
        ));
        if status.failed_checks == 0 {
            explain_strategy(pass, &mut draft);
        }
        pre_rollout(pass, &mut draft)?
    } else {
        measure(pass, &mut draft)?
    };
    if !halts.is_empty() {
        for halt in halts {
            draft.say(halt);
        }
        draft.status.failed_checks = status.failed_checks.saturating_add(1);
        return Ok(draft.finish());
    }
    advance(pass, draft)
}

/// The name of the first rollback hook that says so. The others are said not to.
pub(super) fn rollback_called<'a>(
    pass: &Pass<'a>,
    draft: &mut Draft<'_>,
) -> Result<Option<&'a Hook>, Vec<Question>> {
    for (index, hook) in pass.canary.analysis.hooks_of(HookKind::Rollback) {
        match pass.answer(index, pass.seen.status.stage)? {
            Ok(()) => return Ok(Some(hook)),
            Err(_) => draft.say(Notice::info(
                Reason::HookFailed,
                format!("Rollback hook {} not signaling a rollback", hook.name),
            )),
        }
    }
    Ok(None)
}

fn explain_strategy(pass: &Pass<'_>, draft: &mut Draft<'_>) {
    let can = pass.can();
    let texts: &[&str] = match &pass.canary.analysis.strategy {
        Strategy::BlueGreen { .. } => &[],
        Strategy::AbTest { .. } if can.matches => &[],
        Strategy::Progressive { .. } if can.weights => &[],
        Strategy::AbTest { .. } => &["A/B testing is not supported when using the kubernetes provider"],
        Strategy::Progressive { .. } => &[
            "Progressive traffic is not supported when using the kubernetes provider",
            "Setting canaryAnalysis.iterations: 10",
        ],
    };
    for text in texts {
        draft.say(Notice::warning(Reason::AnalysisStarted, *text));
    }
}

fn pre_rollout(pass: &Pass<'_>, draft: &mut Draft<'_>) -> Result<Vec<Notice>, Vec<Question>> {
    let gates = pass.gates(HookKind::PreRollout, Stage::Progressing)?;
    remember(pass, draft, &gates);
    for hook in gates.passed {
        draft.say(Notice::info(
            Reason::HookPassed,
            format!("Pre-rollout check {} passed", hook.name),
        ));
    }
    Ok(gates
        .refused
        .into_iter()
        .map(|(hook, why)| halted(pass, "pre-rollout", hook, why))
        .collect())
}

/// Rollout hooks one after another, then every check at once. All that fail are told; together they are one failed
/// check.
fn measure(pass: &Pass<'_>, draft: &mut Draft<'_>) -> Result<Vec<Notice>, Vec<Question>> {
    let gates = pass.gates(HookKind::Rollout, Stage::Progressing)?;
    remember(pass, draft, &gates);
    if let Some((hook, why)) = gates.refused {
        return Ok(vec![halted(pass, "external", hook, why)]);
    }
    let checks = &pass.canary.analysis.checks;
    let question = |check: usize| Question::Check { check };
    let open: Vec<_> = (0..checks.len())
        .map(question)
        .filter(|question| !pass.heard.contains_key(question))
        .collect();
    if !open.is_empty() {
        return Err(open);
    }
    let mut halts = Vec::new();
    for (index, check) in checks.iter().enumerate() {
        let Some(answer) = pass.heard.get(&question(index)) else {
            continue;
        };
        let verdict = judge(pass.canary, check, answer);
        draft.record(record(check, answer, &verdict, pass.now));
        match verdict {
            Verdict::Halted(notice) => halts.push(notice),
            Verdict::Passed(_) => {}
        }
    }
    Ok(halts)
}

/// Hooks that count as checks are remembered as such.
fn remember(pass: &Pass<'_>, draft: &mut Draft<'_>, gates: &Gates<'_>) {
    for hook in &gates.passed {
        draft.record(record_hook(hook, None, pass.now));
    }
    if let Some((hook, why)) = gates.refused {
        draft.record(record_hook(hook, Some(why), pass.now));
    }
}

fn halted(pass: &Pass<'_>, what: &str, hook: &Hook, why: &str) -> Notice {
    Notice::warning(
        Reason::Halted,
        format!(
            "Halt {} advancement {what} check {} failed {why}",
            pass.canary.id, hook.name
        ),
    )
}

/// The check passed: the next iteration, the next weight, or the promotion.
fn advance(pass: &Pass<'_>, draft: Draft<'_>) -> Decision {
    match course(&pass.canary.analysis.strategy, pass.can()) {
        Course::Iterations { total, during, last } => iterate(pass, draft, total, during, last),
        Course::Weights { weights, mirror } => shift(pass, draft, weights, mirror),
    }
}

/// Up to N it counts an iteration; at N and (but for A/B tests) once more after it the promotion gate is asked, so that
/// checks run N+1 times (Q-44, kept).
fn iterate(
    pass: &Pass<'_>,
    mut draft: Draft<'_>,
    total: u32,
    during: Split,
    last: Option<Split>,
) -> Decision {
    let done = pass.seen.status.iterations;
    if done < total {
        draft.route(during);
        draft.status.iterations = done + 1;
        draft.say(Notice::info(
            Reason::Advanced,
            format!("Advance {} canary iteration {}/{total}", pass.canary.id, done + 1),
        ));
        return Ok(draft.finish());
    }
    if closed_before_promotion(pass, &mut draft)? {
        // One iteration back: checks go on while the gate is closed, and can still roll back.
        draft.status.iterations = total - 1;
        return Ok(draft.finish());
    }
    if let Some(last) = last.filter(|_| done == total) {
        if pass.seen.routing.is_some() {
            let text = if during.mirrored {
                "Stop traffic mirroring and route all traffic to canary"
            } else {
                "Routing all traffic to canary"
            };
            draft.say(Notice::info(Reason::TrafficShifted, text));
        }
        draft.route(last);
        draft.status.iterations = total.saturating_add(1);
        return Ok(draft.finish());
    }
    Ok(promote::begin(pass, draft))
}

/// The next weight, as the status has the last one: absolute, so that a weight is never skipped.
fn shift(pass: &Pass<'_>, mut draft: Draft<'_>, weights: &[u8], mirror: bool) -> Decision {
    let (status, mirrored) = (&pass.seen.status, pass.split().mirrored);
    if !mirrored && status.stage == Stage::Progressing && closed_before_traffic(pass, &mut draft)? {
        return Ok(draft.finish());
    }
    let next = if mirror && !mirrored && status.canary_weight == 0 {
        Some(Split::MIRRORED)
    } else {
        let next = weights.iter().find(|weight| **weight > status.canary_weight);
        next.map(|weight| Split::to_canary(*weight))
    };
    if let Some(split) = next {
        draft.route(split);
        draft.say(Notice::info(
            Reason::Advanced,
            format!("Advance {} canary weight {}", pass.canary.id, split.canary),
        ));
        return Ok(draft.finish());
    }
    if closed_before_promotion(pass, &mut draft)? {
        return Ok(draft.finish());
    }
    Ok(promote::begin(pass, draft))
}

/// Asks the gates before the promotion; true when one is closed, which is told once.
fn closed_before_promotion(pass: &Pass<'_>, draft: &mut Draft<'_>) -> Result<bool, Vec<Question>> {
    let gates = pass.gates(HookKind::ConfirmPromotion, Stage::Progressing)?;
    for hook in &gates.passed {
        draft.say(Notice::info(
            Reason::HookPassed,
            format!("Confirm-promotion check {} passed", hook.name),
        ));
    }
    let Some((hook, _)) = gates.refused else {
        return Ok(false);
    };
    if pass.seen.status.stage != Stage::WaitingPromotion {
        draft.enter(Stage::WaitingPromotion);
        draft.say(stand::closed(
            format!(
                "Halt {} advancement waiting for promotion approval {}",
                pass.canary.id, hook.name
            ),
            (!hook.mute_alert).then_some("Canary promotion is waiting for approval."),
        ));
    }
    Ok(true)
}

/// Asks the gates before a weight; true when one is closed. Told and alerted once, where Flagger alarms at every check
/// the history of checks knows whether it was closed the last time.
fn closed_before_traffic(pass: &Pass<'_>, draft: &mut Draft<'_>) -> Result<bool, Vec<Question>> {
    let gates = pass.gates(HookKind::ConfirmTrafficIncrease, Stage::Progressing)?;
    for hook in &gates.passed {
        draft.say(Notice::info(
            Reason::HookPassed,
            format!("Confirm-traffic-increase check {} passed", hook.name),
        ));
    }
    let Some((hook, why)) = gates.refused else {
        return Ok(false);
    };
    let record = record_hook(hook, Some(why), pass.now);
    let last = pass.seen.status.checks.last();
    if last.is_none_or(|last| (&last.kind, &last.name) != (&record.kind, &record.name)) {
        draft.say(stand::closed(
            format!(
                "Halt {} advancement waiting for traffic increase approval {}",
                pass.canary.id, hook.name
            ),
            (!hook.mute_alert).then_some("Canary traffic increase is waiting for approval."),
        ));
    }
    draft.record(record);
    Ok(true)
}
