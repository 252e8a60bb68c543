//! What a pass tells Flagger's series.

use serde_json::Value;

use crate::model::canary::{Canary, Source};
use crate::model::status::{Stage, Status};
use crate::rollout::plan::Plan;
use crate::rollout::question::{Answer, Answers, Question};
use crate::telemetry::{CanaryPass, EndedRun};

use super::Context;

/// After a pass that took so many seconds: phase, weights, and the run that ended with it.
pub(super) fn passed(
    before: &Status,
    plan: &Plan,
    heard: &Answers,
    canary: &Canary,
    wire: &Value,
    seconds: f64,
    cx: &Context,
) {
    let judged = heard
        .keys()
        .any(|question| matches!(question, Question::Check { .. }));
    for (question, answer) in heard {
        if let (Question::Check { check }, Answer::Value(value)) = (question, answer)
            && let Some(check) = canary.analysis.checks.get(*check)
        {
            // Flagger's series has seconds, its threshold milliseconds.
            let value = match check.source {
                Source::RequestDuration => value / 1000.0,
                Source::SuccessRate | Source::Query(_) | Source::Template { .. } => *value,
            };
            let id = &canary.id;
            cx.metrics
                .canary_measured(&id.namespace, &id.name, &canary.target.name, &check.name, value);
        }
    }
    cx.metrics.canary_passed(&CanaryPass {
        namespace: &canary.id.namespace,
        canary: &canary.id.name,
        target: &canary.target.name,
        status: value(plan.status.stage),
        weight: plan.status.canary_weight,
        judged_for: judged.then_some(seconds),
        ended: ended(before.stage, plan.status.stage).map(|promoted| EndedRun {
            promoted,
            strategy: strategy(wire),
            skipped: canary.analysis.skip,
        }),
    });
}

/// Flagger's `flagger_canary_status`.
fn value(stage: Stage) -> f64 {
    match stage {
        Stage::Progressing => 0.0,
        Stage::Failed => 2.0,
        Stage::New
        | Stage::Initializing
        | Stage::Initialized
        | Stage::Waiting
        | Stage::WaitingPromotion
        | Stage::Promoting
        | Stage::Finalising
        | Stage::Succeeded
        | Stage::Terminating
        | Stage::Terminated => 1.0,
    }
}

/// True when a run was promoted just now, false when it failed.
fn ended(before: Stage, now: Stage) -> Option<bool> {
    match now {
        Stage::Succeeded if before != Stage::Succeeded => Some(true),
        Stage::Failed if before != Stage::Failed => Some(false),
        Stage::Succeeded
        | Stage::Failed
        | Stage::New
        | Stage::Initializing
        | Stage::Initialized
        | Stage::Waiting
        | Stage::Progressing
        | Stage::WaitingPromotion
        | Stage::Promoting
        | Stage::Finalising
        | Stage::Terminating
        | Stage::Terminated => None,
    }
}

/// Flagger's label: from what is written, so that blue/green without iterations is `canary`.
fn strategy(wire: &Value) -> &'static str {
    let analysis = ["/spec/analysis", "/spec/canaryAnalysis"]
        .into_iter()
        .find_map(|place| wire.pointer(place).filter(|found| found.is_object()));
    let field = |name: &str| analysis.and_then(|analysis| analysis.get(name));
    let iterations = field("iterations").and_then(Value::as_i64).unwrap_or_default();
    let matches = field("match").and_then(Value::as_array);
    if iterations <= 0 {
        "canary"
    } else if matches.is_some_and(|matches| !matches.is_empty()) {
        "ab-testing"
    } else {
        "blue-green"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_strategy_is_what_the_manifest_says() {
        let table = [
            (json!({"analysis": {"iterations": 5}}), "blue-green"),
            (json!({"canaryAnalysis": {"iterations": 5}}), "blue-green"),
            (
                json!({"analysis": {"iterations": 5, "match": [{"headers": {}}]}}),
                "ab-testing",
            ),
            (json!({"analysis": {"iterations": 5, "match": []}}), "blue-green"),
            (json!({"analysis": {"match": [{"headers": {}}]}}), "canary"),
            (json!({"analysis": {"stepWeight": 5}}), "canary"),
            (json!({}), "canary"),
        ];
        for (spec, expected) in table {
            assert_eq!(strategy(&json!({"spec": spec})), expected, "{spec}");
        }
    }

    #[test]
    fn a_run_ends_once() {
        assert_eq!(ended(Stage::Finalising, Stage::Succeeded), Some(true));
        assert_eq!(ended(Stage::Succeeded, Stage::Succeeded), None);
        assert_eq!(ended(Stage::Progressing, Stage::Failed), Some(false));
        assert_eq!(
            ended(Stage::Initializing, Stage::Failed),
            Some(false),
            "a bootstrap counts, too"
        );
        assert_eq!(ended(Stage::Failed, Stage::Failed), None);
        assert_eq!(ended(Stage::Initializing, Stage::Initialized), None);
    }
}
