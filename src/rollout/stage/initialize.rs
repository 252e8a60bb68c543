//! Bootstrap: the primary is made from the target, gets ready, takes the traffic; only then the target is parked.
//!
//! Each arrow is a pass of its own, because the next step is safe only once the last has taken effect. Until the
//! apex selects the primary the target is production, so the primary follows it.

use crate::model::notice::{Notice, Reason, Severity};
use crate::model::revision::Revision;
use crate::model::status::Stage;

use crate::rollout::change::runs;
use crate::rollout::draft::Draft;
use crate::rollout::observed::{Seen, Workload};
use crate::rollout::pass::{AGAIN, Decision, Pass, Wait};
use crate::rollout::plan::{Plan, Step};
use crate::rollout::question::{Answer, Question};

/// Stage New: say whether the metric servers answer (they never block), make the Services and the primary.
pub(in crate::rollout) fn begin(pass: &Pass<'_>) -> Decision {
    let mut draft = pass.draft();
    if !pass.canary.analysis.skip {
        draft.say(metric_providers(pass)?);
    }
    draft.step(Step::EnsureServices);
    draft.step(Step::Record(pass.current.clone()));
    draft.step(Step::EnsurePrimary(pass.current.clone()));
    draft.enter(Stage::Initializing);
    draft.wake_in(AGAIN);
    Ok(draft.finish())
}

fn metric_providers(pass: &Pass<'_>) -> Result<Notice, Vec<crate::rollout::question::Question>> {
    let online = || {
        Notice::info(
            Reason::MetricProviders,
            "all the metrics providers are available!",
        )
    };
    if pass.canary.analysis.checks.is_empty() {
        return Ok(online());
    }
    match pass.heard.get(&Question::MetricsOnline) {
        None => Err(vec![Question::MetricsOnline]),
        Some(Answer::Passed | Answer::Value(_)) => Ok(online()),
        Some(Answer::Refused(why) | Answer::NoValues(why) | Answer::Error(why)) => Ok(Notice::warning(
            Reason::MetricProviders,
            format!("Error checking metric providers: {why}"),
        )),
    }
}

/// Stage Initializing, and a Canary found Terminating that is not being deleted.
pub(in crate::rollout) fn initialize(pass: &Pass<'_>) -> Plan {
    let mut draft = pass.draft();
    if pass.seen.status.stage != Stage::Initializing {
        draft.enter(Stage::Initializing);
    }
    bootstrap(pass, draft)
}

/// A failed bootstrap goes on when the primary recovers, and starts over when the target changes.
pub(in crate::rollout) fn retry(pass: &Pass<'_>) -> Plan {
    let mut draft = pass.draft();
    let status = &pass.seen.status;
    let tried =
        status.last_applied == pass.current.template && status.tracked_configs == pass.current.configs;
    if !tried {
        draft.enter(Stage::Initializing);
        return bootstrap(pass, draft);
    }
    match (&pass.seen.primary, pass.wait_for_primary()) {
        (Seen::Present(_), Wait::Over) => bootstrap(pass, draft),
        (Seen::Present(_), Wait::Longer { .. } | Wait::InVain(_)) => draft.finish(),
        (Seen::Absent, _) => {
            draft.enter(Stage::Initializing);
            bootstrap(pass, draft)
        }
    }
}

fn bootstrap(pass: &Pass<'_>, mut draft: Draft<'_>) -> Plan {
    let Seen::Present(primary) = &pass.seen.primary else {
        draft.step(Step::EnsureServices);
        draft.step(Step::Record(pass.current.clone()));
        draft.step(Step::EnsurePrimary(pass.current.clone()));
        draft.wake_in(AGAIN);
        return draft.finish();
    };
    let serving = pass.seen.services_ready;
    let current =
        runs(primary, pass.current) || (primary.revision.is_none() && pass.seen.target_equals_primary);
    if !serving {
        draft.step(Step::EnsureServices);
    }
    if !serving && !current {
        draft.promote(pass.current.clone());
        draft.status.progress = None;
        draft.wake_in(AGAIN);
        return draft.finish();
    }
    match pass.wait_for_primary() {
        Wait::Longer {
            mark,
            news,
            why,
            left,
        } => {
            draft.status.progress = Some(mark);
            if news {
                draft.say(not_ready(pass, &why));
            }
            draft.wake_in(left);
        }
        Wait::InVain(why) => failed(pass, &mut draft, &why),
        Wait::Over if serving => {
            let runs = if current {
                pass.current.clone()
            } else {
                adopted(primary)
            };
            complete(pass, &mut draft, &runs);
        }
        Wait::Over => {
            draft.status.progress = None;
            draft.scale_primary();
            draft.step(Step::EnsureApex);
            draft.wake_in(AGAIN);
        }
    }
    draft.finish()
}

/// What a primary that serves already says it runs; nothing when it does not say (then the target is judged).
fn adopted(primary: &Workload) -> Revision {
    let running = primary.revision.as_deref().unwrap_or_default();
    Revision {
        template: running
            .split_once('-')
            .map_or(running, |(template, _)| template)
            .to_owned(),
        configs: None,
    }
}

/// The primary is ready and has the traffic.
fn complete(pass: &Pass<'_>, draft: &mut Draft<'_>, runs: &Revision) {
    draft.scale_primary();
    draft.park();
    draft.adopt(runs);
    draft.enter(Stage::Initialized);
    let status = &mut draft.status;
    status.last_promoted.clone_from(&runs.template);
    status.promoted_configs.clone_from(&runs.configs);
    status.promoted_generation = status.judged_generation;
    status.failed_checks = 0;
    status.iterations = 0;
    let alert = format!(
        "New {} detected, initialization completed.",
        pass.canary.target.kind.as_str()
    );
    draft.say(
        Notice::info(
            Reason::Initialized,
            format!("Initialization done! {}", pass.canary.id),
        )
        .in_phase(Stage::Initialized)
        .alerting(Severity::Info, alert)
        .with_facts(),
    );
    // The target may have moved on meanwhile.
    if *runs != *pass.current {
        draft.wake_in(AGAIN);
    }
}

/// The primary did not get ready. The target keeps its replicas and its traffic, and somebody is told.
fn failed(pass: &Pass<'_>, draft: &mut Draft<'_>, why: &str) {
    if pass.seen.status.stage == Stage::Failed {
        return;
    }
    draft.adopt(pass.current);
    draft.blame(
        "InitializationFailed",
        format!("The primary did not get ready: {why}"),
    );
    draft.enter(Stage::Failed);
    draft.say(not_ready(pass, why).alerting(
        Severity::Error,
        format!("Initialization failed, primary not ready: {why}"),
    ));
    draft.say(
        Notice::warning(
            Reason::Failed,
            format!(
                "Initialization failed! {} keeps its replicas and its traffic",
                pass.target_name()
            ),
        )
        .in_phase(Stage::Failed),
    );
    draft.call_post_rollout(Stage::Failed);
}

/// The primary is not ready, and why.
pub(super) fn not_ready(pass: &Pass<'_>, why: &str) -> Notice {
    Notice::warning(
        Reason::NotReady,
        format!("{} not ready: {why}", pass.primary_name()),
    )
}
