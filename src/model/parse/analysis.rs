//! `spec.analysis`: pace, threshold and readiness; the strategy and the lists have modules of their own.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::model::canary::{Analysis, Check, Hook, HookKind, Strategy};
use crate::model::default;
use crate::model::duration;
use crate::model::rules;

use super::fields::{Field, Findings, show};
use super::{Context, alerts, hooks, metrics, strategy};

const FIELDS: [&str; 16] = [
    "interval",
    "threshold",
    "iterations",
    "maxWeight",
    "stepWeight",
    "stepWeights",
    "stepWeightPromotion",
    "mirror",
    "mirrorWeight",
    "primaryReadyThreshold",
    "canaryReadyThreshold",
    "match",
    "metrics",
    "webhooks",
    "alerts",
    "sessionAffinity",
];

/// Reads `spec.analysis` (or the `canaryAnalysis` of old, which v1beta1 does not have).
pub(super) fn read(spec: &Field<'_>, skip: bool, context: &Context<'_>, findings: &mut Findings) -> Analysis {
    let mut field = spec.get("analysis");
    let legacy = spec.get("canaryAnalysis");
    if !field.is_set() && legacy.is_set() {
        findings.add(&rules::LEGACY_ANALYSIS, &legacy.path, "not a field of v1beta1");
        field = legacy;
    }
    let absent = !field.is_set();
    if absent {
        findings.add(&rules::ANALYSIS_ABSENT, &field.path, "missing");
    }
    if absent || field.object(findings).is_none() {
        return Analysis {
            skip: true,
            interval: default::INTERVAL.max(context.settings.min_interval),
            threshold: default::THRESHOLD,
            strategy: Strategy::BlueGreen {
                iterations: default::ITERATIONS,
                mirror: false,
            },
            checks: Vec::new(),
            hooks: Vec::new(),
            alerts: Vec::new(),
            primary_ready: default::READY_THRESHOLD,
            canary_ready: default::READY_THRESHOLD,
        };
    }
    field.only(&FIELDS, findings);
    let interval = interval(&field.get("interval"), context.settings.min_interval, findings);
    let strategy = strategy::read(&field, context, findings);
    let threshold = threshold(&field.get("threshold"), steps(&strategy), findings);
    let run = interval.saturating_mul(steps(&strategy).saturating_add(1));
    let checks = metrics::read(&field.get("metrics"), run, context, findings);
    let hooks = hooks::read(&field.get("webhooks"), interval, context, findings);
    judge_together(&field, skip, &strategy, &checks, &hooks, findings);
    Analysis {
        skip,
        interval,
        threshold,
        checks,
        hooks,
        alerts: alerts::read(&field.get("alerts"), context, findings),
        primary_ready: percent(&field.get("primaryReadyThreshold"), findings),
        canary_ready: percent(&field.get("canaryReadyThreshold"), findings),
        strategy,
    }
}

/// How many times a run advances.
fn steps(strategy: &Strategy) -> u32 {
    match strategy {
        Strategy::BlueGreen { iterations, .. } | Strategy::AbTest { iterations } => iterations.get(),
        Strategy::Progressive { weights, .. } => u32::try_from(weights.len()).unwrap_or(u32::MAX),
    }
}

fn interval(field: &Field<'_>, minimum: Duration, findings: &mut Findings) -> Duration {
    if !field.is_set() {
        findings
            .add(&rules::INTERVAL_ABSENT, &field.path, "missing")
            .expecting("read as 60s");
        return default::INTERVAL.max(minimum);
    }
    let Some(interval) = go_duration(field, findings) else {
        return default::INTERVAL.max(minimum);
    };
    if interval < minimum {
        let found = format!("{} is below {}", text_of(field), seconds(minimum));
        findings
            .add(&rules::INTERVAL_SHORT, &field.path, found)
            .expecting(format!("it is raised to {}", seconds(minimum)))
            .fixed_by(format!("write {} or more", seconds(minimum)));
        return minimum;
    }
    if interval > Duration::from_secs(3600) {
        findings.add(&rules::INTERVAL_LONG, &field.path, text_of(field));
    }
    interval
}

/// A duration the controller obeys: Go's syntax, above zero.
pub(super) fn go_duration(field: &Field<'_>, findings: &mut Findings) -> Option<Duration> {
    let text = field.text(findings)?;
    match duration::go(text) {
        Ok(nanos) if nanos > 0 => Some(Duration::from_nanos(nanos.unsigned_abs())),
        Ok(_) => {
            findings.add(&rules::DURATION_SIGN, &field.path, show(&text.into()));
            None
        }
        Err(why) => {
            let fix = duration::guess(text).map(|meant| format!("write {meant}"));
            findings
                .add(
                    &rules::DURATION_FORMAT,
                    &field.path,
                    format!("{} is not a duration ({why})", show(&text.into())),
                )
                .expecting("expected a number and a unit, such as 30s, 5m or 1h")
                .fixed_by(fix.unwrap_or_default());
            None
        }
    }
}

fn text_of(field: &Field<'_>) -> String {
    field
        .value
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Seconds as a manifest writes them.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

fn threshold(field: &Field<'_>, steps: u32, findings: &mut Findings) -> NonZeroU32 {
    if !field.is_set() {
        findings
            .add(&rules::THRESHOLD_ABSENT, &field.path, "missing")
            .expecting("read as 1: the first failed check rolls back");
        return default::THRESHOLD;
    }
    let Some(number) = field.integer(findings) else {
        return default::THRESHOLD;
    };
    let threshold = u32::try_from(number.min(u32::MAX.into()))
        .ok()
        .and_then(NonZeroU32::new);
    let Some(threshold) = threshold else {
        findings.add(&rules::THRESHOLD_RANGE, &field.path, number.to_string());
        return default::THRESHOLD;
    };
    // N steps are checked N + 1 times.
    if threshold.get() > steps.saturating_add(1) {
        findings.add(
            &rules::THRESHOLD_HIGH,
            &field.path,
            format!("{threshold}, and a run has {} checks", steps.saturating_add(1)),
        );
    }
    threshold
}

fn percent(field: &Field<'_>, findings: &mut Findings) -> u8 {
    let Some(number) = field.integer(findings) else {
        return default::READY_THRESHOLD;
    };
    match u8::try_from(number).ok().filter(|percent| *percent <= 100) {
        Some(0) => {
            findings.add(&rules::READY_ZERO, &field.path, "0");
            0
        }
        Some(percent) => percent,
        None => {
            findings.add(&rules::READY_RANGE, &field.path, number.to_string());
            default::READY_THRESHOLD
        }
    }
}

/// What only shows when strategy, metrics and hooks are seen together.
fn judge_together(
    field: &Field<'_>,
    skip: bool,
    strategy: &Strategy,
    checks: &[Check],
    hooks: &[Hook],
    findings: &mut Findings,
) {
    // Entries that could not be read are entries all the same.
    let has_metrics = field
        .get("metrics")
        .value
        .and_then(|v| v.as_array())
        .is_some_and(|metrics| !metrics.is_empty());
    if !skip && checks.is_empty() && !has_metrics && !hooks.iter().any(|hook| hook.kind == HookKind::Rollout)
    {
        findings.add(
            &rules::UNVERIFIED,
            &field.path,
            "no metrics and no rollout webhook",
        );
    }
    let by_iterations = match strategy {
        Strategy::BlueGreen { .. } | Strategy::AbTest { .. } => field.get("iterations").is_set(),
        Strategy::Progressive { .. } => false,
    };
    for (index, hook) in hooks.iter().enumerate() {
        if by_iterations && hook.kind == HookKind::ConfirmTrafficIncrease {
            let path = field.get("webhooks").path.index(index).key("type");
            findings.add(
                &rules::GATE_UNUSED,
                &path,
                "confirm-traffic-increase with iterations",
            );
        }
    }
}
