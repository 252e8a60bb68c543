//! The structured rules: bounds, what must be there, what must not.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::model::default;
use crate::model::duration;
use crate::model::rules;
use crate::model::violation::FieldPath;

use super::exemption::fits;
use super::judge::{Breach, Sitting};

/// Least and most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds<T> {
    pub(super) min: Option<T>,
    pub(super) max: Option<T>,
}

impl<T> Default for Bounds<T> {
    fn default() -> Self {
        Self { min: None, max: None }
    }
}

impl<T: PartialOrd + Copy> Bounds<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }

    /// What is wanted of `value`, if it is outside; and the nearest value inside.
    fn wants(&self, value: T) -> Option<(&'static str, T)> {
        match (self.min, self.max) {
            (Some(min), _) if value < min => Some(("at least", min)),
            (_, Some(max)) if value > max => Some(("at most", max)),
            _ => None,
        }
    }
}

/// `spec.limits`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) interval: Bounds<Duration>,
    pub(super) iterations: Bounds<i64>,
    pub(super) threshold: Bounds<i64>,
    pub(super) step_weight: Bounds<i64>,
    pub(super) max_weight: Bounds<i64>,
    pub(super) progress_deadline: Bounds<i64>,
}

/// `spec.require`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Required {
    pub(super) webhooks: Vec<RequiredHook>,
    pub(super) metrics: Vec<RequiredMetric>,
    pub(super) alerts: Vec<RequiredAlert>,
}

/// A hook of this type, with a name that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequiredHook {
    pub(super) kind: String,
    pub(super) name: Option<String>,
}

/// A metric of this name, or from this template; patterns with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequiredMetric {
    pub(super) name: Option<String>,
    pub(super) template: Option<String>,
}

/// An alert that tells of this severity, by a provider that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequiredAlert {
    pub(super) severity: &'static str,
    pub(super) provider: Option<String>,
}

/// `spec.forbid`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Forbidden {
    pub(super) skip_analysis: bool,
    pub(super) inline_queries: bool,
    pub(super) cross_namespace: bool,
    pub(super) disable_tls: bool,
    pub(super) v1alpha3: bool,
}

/// Severities of alerts, from the one that tells everything.
pub(super) const SEVERITIES: [&str; 3] = ["info", "warn", "error"];

impl Limits {
    pub(super) fn is_empty(&self) -> bool {
        self == &Limits::default()
    }

    /// Judges the numbers of a Canary: what is written, else what its absence means.
    pub(super) fn judge(&self, sitting: &mut Sitting<'_>) {
        let spec = &sitting.review.object["spec"];
        let analysis = &spec["analysis"];
        let at = FieldPath::of("spec.analysis");
        if analysis.is_object() {
            self.interval(sitting, analysis, &at);
            let weighted = !analysis["stepWeight"].is_null() || !analysis["stepWeights"].is_null();
            let iterations = (!weighted).then_some(i64::from(default::ITERATIONS.get()));
            number(
                sitting,
                "limits.iterations",
                self.iterations,
                &at.key("iterations"),
                &analysis["iterations"],
                iterations,
            );
            let threshold = Some(i64::from(default::THRESHOLD.get()));
            number(
                sitting,
                "limits.threshold",
                self.threshold,
                &at.key("threshold"),
                &analysis["threshold"],
                threshold,
            );
            self.weights(sitting, analysis, &at);
        }
        number(
            sitting,
            "limits.progressDeadlineSeconds",
            self.progress_deadline,
            &FieldPath::of("spec.progressDeadlineSeconds"),
            &spec["progressDeadlineSeconds"],
            i64::try_from(default::PROGRESS_DEADLINE.as_secs()).ok(),
        );
    }

    fn interval(&self, sitting: &mut Sitting<'_>, analysis: &Value, at: &FieldPath) {
        let written = analysis["interval"].as_str();
        let value = match written {
            Some(text) => duration::go_positive(text),
            None => analysis["interval"].is_null().then_some(default::INTERVAL),
        };
        // What is no duration is refused by the parser.
        let Some((bound, limit)) = value.and_then(|value| self.interval.wants(value)) else {
            return;
        };
        let found = written.map_or_else(|| "absent, which means 1m".to_owned(), str::to_owned);
        sitting.breach(&Breach {
            rule: "limits.interval",
            code: rules::POLICY_LIMITS,
            path: at.key("interval"),
            found,
            wants: format!("{bound} {}", show(limit)),
            fix: format!("write {}", show(limit)),
            snippet: None,
        });
    }

    fn weights(&self, sitting: &mut Sitting<'_>, analysis: &Value, at: &FieldPath) {
        number(
            sitting,
            "limits.stepWeight",
            self.step_weight,
            &at.key("stepWeight"),
            &analysis["stepWeight"],
            None,
        );
        let listed: Vec<i64> = analysis["stepWeights"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_i64)
            .collect();
        let mut before = 0;
        for (index, weight) in listed.iter().enumerate() {
            let step = weight.saturating_sub(before);
            before = *weight;
            if let Some((bound, limit)) = self.step_weight.wants(step) {
                sitting.breach(&Breach {
                    rule: "limits.stepWeight",
                    code: rules::POLICY_LIMITS,
                    path: at.key("stepWeights").index(index),
                    found: format!("a step of {step}"),
                    wants: format!("{bound} {limit}"),
                    fix: format!("make steps of {limit}"),
                    snippet: None,
                });
            }
        }
        if let Some(last) = listed.last()
            && let Some((bound, limit)) = self.max_weight.wants(*last)
        {
            sitting.breach(&Breach {
                rule: "limits.maxWeight",
                code: rules::POLICY_LIMITS,
                path: at.key("stepWeights"),
                found: format!("the last weight is {last}"),
                wants: format!("{bound} {limit}"),
                fix: format!("end at {limit}"),
                snippet: None,
            });
        }
        let absent = (!analysis["stepWeight"].is_null()).then_some(100);
        number(
            sitting,
            "limits.maxWeight",
            self.max_weight,
            &at.key("maxWeight"),
            &analysis["maxWeight"],
            absent,
        );
    }
}

/// A whole number within bounds; `absent` is what its absence means, if anything.
fn number(
    sitting: &mut Sitting<'_>,
    rule: &'static str,
    bounds: Bounds<i64>,
    path: &FieldPath,
    value: &Value,
    absent: Option<i64>,
) {
    let meant = if value.is_null() { absent } else { value.as_i64() };
    let Some((bound, limit)) = meant.and_then(|meant| bounds.wants(meant)) else {
        return;
    };
    let found = match (value.is_null(), meant) {
        (true, Some(meant)) => format!("absent, which means {meant}"),
        (_, meant) => meant.unwrap_or_default().to_string(),
    };
    sitting.breach(&Breach {
        rule,
        code: rules::POLICY_LIMITS,
        path: path.clone(),
        found,
        wants: format!("{bound} {limit}"),
        fix: format!("write {limit}"),
        snippet: None,
    });
}

impl Required {
    pub(super) fn is_empty(&self) -> bool {
        self == &Required::default()
    }

    /// Judges what a Canary must have.
    pub(super) fn judge(&self, sitting: &mut Sitting<'_>) {
        let analysis = &sitting.review.object["spec"]["analysis"];
        let at = FieldPath::of("spec.analysis");
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let wanted =
            |pattern: Option<&String>, found: &str| pattern.is_none_or(|pattern| fits(pattern, found));
        let called = |pattern: Option<&String>, what: &str| {
            pattern
                .map(|name| format!(" {what} {name:?}"))
                .unwrap_or_default()
        };
        for hook in &self.webhooks {
            let there = items(&analysis["webhooks"]).any(|one| {
                let kind = text(one, "type");
                let kind = if kind.is_empty() { "rollout" } else { &kind };
                kind == hook.kind && wanted(hook.name.as_ref(), &text(one, "name"))
            });
            if !there {
                let named = called(hook.name.as_ref(), "named");
                sitting.breach(&Breach {
                    rule: "require.webhooks",
                    code: rules::POLICY_REQUIRES,
                    path: at.key("webhooks"),
                    found: format!("no {} webhook{named}", hook.kind),
                    wants: "one".to_owned(),
                    fix: format!("add a webhook of type {}", hook.kind),
                    snippet: None,
                });
            }
        }
        for metric in &self.metrics {
            let there = items(&analysis["metrics"]).any(|one| {
                let template = one["templateRef"]["name"].as_str();
                wanted(metric.name.as_ref(), &text(one, "name"))
                    && metric
                        .template
                        .as_ref()
                        .is_none_or(|pattern| template.is_some_and(|name| fits(pattern, name)))
            });
            if !there {
                let (named, from) = (
                    called(metric.name.as_ref(), "named"),
                    called(metric.template.as_ref(), "with templateRef"),
                );
                sitting.breach(&Breach {
                    rule: "require.metrics",
                    code: rules::POLICY_REQUIRES,
                    path: at.key("metrics"),
                    found: format!("no metric{named}{from}"),
                    wants: "one".to_owned(),
                    fix: "add it".to_owned(),
                    snippet: None,
                });
            }
        }
        for alert in &self.alerts {
            let rank = |word: &str| SEVERITIES.iter().position(|known| *known == word);
            let there = items(&analysis["alerts"]).any(|one| {
                let severity = text(one, "severity");
                let severity = if severity.is_empty() { "info" } else { &severity };
                rank(severity) <= rank(alert.severity)
                    && wanted(
                        alert.provider.as_ref(),
                        one["providerRef"]["name"].as_str().unwrap_or_default(),
                    )
            });
            if !there {
                let by = called(alert.provider.as_ref(), "by provider");
                sitting.breach(&Breach {
                    rule: "require.alerts",
                    code: rules::POLICY_REQUIRES,
                    path: at.key("alerts"),
                    found: format!("no alert tells of severity {}{by}", alert.severity),
                    wants: "one".to_owned(),
                    fix: format!("add an alert with severity {} or lower", alert.severity),
                    snippet: None,
                });
            }
        }
    }
}

impl Forbidden {
    pub(super) fn is_empty(&self) -> bool {
        self == &Forbidden::default()
    }

    /// Judges what a Canary must not have.
    pub(super) fn judge(&self, sitting: &mut Sitting<'_>) {
        let spec = &sitting.review.object["spec"];
        let analysis = &spec["analysis"];
        let at = FieldPath::of("spec.analysis");
        if self.skip_analysis && spec["skipAnalysis"] == true {
            let path = FieldPath::of("spec.skipAnalysis");
            refuse(
                sitting,
                "forbid.skipAnalysis",
                path,
                ["true", "every version judged", "write false"],
            );
        }
        if self.skip_analysis && !analysis.is_object() {
            let words = ["absent", "every version judged", "add spec.analysis"];
            refuse(sitting, "forbid.skipAnalysis", at.clone(), words);
        }
        for (index, metric) in items(&analysis["metrics"]).enumerate() {
            let path = at.key("metrics").index(index);
            if self.inline_queries && metric["query"].as_str().is_some_and(|query| !query.is_empty()) {
                let words = ["an inline query", "a MetricTemplate", "use templateRef"];
                refuse(sitting, "forbid.inlineQueries", path.key("query"), words);
            }
            self.reference(sitting, &metric["templateRef"], &path.key("templateRef"));
        }
        for (index, alert) in items(&analysis["alerts"]).enumerate() {
            let path = at.key("alerts").index(index).key("providerRef");
            self.reference(sitting, &alert["providerRef"], &path);
        }
        self.reference(sitting, &spec["upstreamRef"], &FieldPath::of("spec.upstreamRef"));
        for (index, hook) in items(&analysis["webhooks"]).enumerate() {
            if self.disable_tls && hook["disableTLS"] == true {
                let path = at.key("webhooks").index(index).key("disableTLS");
                let words = [
                    "true",
                    "certificates verified",
                    "remove it, and trust the host's authority",
                ];
                refuse(sitting, "forbid.disableTLS", path, words);
            }
        }
    }

    /// Judges what a MetricTemplate must not have.
    pub(super) fn judge_template(&self, sitting: &mut Sitting<'_>) {
        if self.disable_tls && sitting.review.object["spec"]["provider"]["insecureSkipVerify"] == true {
            let path = FieldPath::of("spec.provider.insecureSkipVerify");
            let words = [
                "true",
                "certificates verified",
                "remove it, and trust the host's authority",
            ];
            refuse(sitting, "forbid.disableTLS", path, words);
        }
    }

    /// A reference that may not leave its namespace.
    fn reference(&self, sitting: &mut Sitting<'_>, reference: &Value, path: &FieldPath) {
        let own = sitting.review.namespace;
        let foreign = reference["namespace"]
            .as_str()
            .filter(|namespace| !namespace.is_empty() && *namespace != own);
        if let Some(foreign) = foreign.filter(|_| self.cross_namespace) {
            let found = format!("namespace {foreign}");
            let words = [
                found.as_str(),
                "references within the namespace",
                "copy it here, and refer to that",
            ];
            refuse(
                sitting,
                "forbid.crossNamespaceReferences",
                path.key("namespace"),
                words,
            );
        }
    }
}

/// `[found, wants, fix]`.
pub(super) fn refuse(
    sitting: &mut Sitting<'_>,
    rule: &'static str,
    path: FieldPath,
    [found, wants, fix]: [&str; 3],
) {
    sitting.breach(&Breach {
        rule,
        code: rules::POLICY_FORBIDS,
        path,
        found: found.to_owned(),
        wants: wants.to_owned(),
        fix: fix.to_owned(),
        snippet: None,
    });
}

/// The items of a list.
pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A duration as manifests say it.
pub(super) fn show(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if millis > 0 {
        return format!("{}ms", duration.as_millis());
    }
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    for (count, unit) in [(hours, "h"), (minutes, "m"), (rest, "s")] {
        if count > 0 {
            let _ = write!(text, "{count}{unit}");
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
