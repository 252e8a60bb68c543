//! `analysis.metrics[]`: what is measured, and the bounds it must keep.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::canary::{Bounds, Check, Source, TargetKind};
use crate::model::default;
use crate::model::duration;
use crate::model::names::nearest;
use crate::model::rules;
use crate::model::template;
use crate::model::violation::FieldPath;

use super::fields::{Field, Findings, show};
use super::{Context, object_name, query};

/// The built-in measurements, and the names they had before Flagger 0.14.
const BUILT_IN: [(&str, Source); 6] = [
    ("request-success-rate", Source::SuccessRate),
    ("request-duration", Source::RequestDuration),
    ("istio_requests_total", Source::SuccessRate),
    ("envoy_cluster_upstream_rq", Source::SuccessRate),
    ("istio_request_duration_seconds_bucket", Source::RequestDuration),
    ("envoy_cluster_upstream_rq_time_bucket", Source::RequestDuration),
];

const FIELDS: [&str; 7] = [
    "name",
    "interval",
    "threshold",
    "thresholdRange",
    "query",
    "templateRef",
    "templateVariables",
];

/// Reads the metrics; one entry may yield a built-in, an inline and a template check. Built-in and inline checks come
/// first, templates second, each in manifest order, as Flagger asks them. `run` is how long a whole run takes.
pub(super) fn read(
    field: &Field<'_>,
    run: Duration,
    context: &Context<'_>,
    findings: &mut Findings,
) -> Vec<Check> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, item) in field.objects(findings).into_iter().enumerate() {
        if !item.is_set() {
            continue;
        }
        item.only(&FIELDS, findings);
        let name = item.get("name").required("a name", findings).unwrap_or_default();
        if let Some(before) = names.insert(name, index)
            && !name.is_empty()
        {
            let found = format!("{name:?} is also the name of metrics[{before}]");
            findings.add(&rules::METRIC_DUPLICATE, &item.path.key("name"), found);
        }
        entry(
            index,
            &item,
            name,
            run,
            context,
            findings,
            &mut first,
            &mut second,
        );
    }
    first.append(&mut second);
    first
}

#[expect(
    clippy::too_many_arguments,
    reason = "two outputs in two passes; a struct would only rename them"
)]
fn entry(
    index: usize,
    item: &Field<'_>,
    name: &str,
    run: Duration,
    context: &Context<'_>,
    findings: &mut Findings,
    first: &mut Vec<Check>,
    second: &mut Vec<Check>,
) {
    let query_field = item.get("query");
    let query_text = query_field.text(findings).filter(|query| !query.is_empty());
    let template = template_ref(&item.get("templateRef"), context, findings);
    let variables_field = item.get("templateVariables");
    let variables = variables_field.text_map(findings);

    let modern = BUILT_IN[..2].iter().find(|(known, _)| *known == name);
    let other_source = query_text.is_some() || item.get("templateRef").is_set();
    let legacy = BUILT_IN[2..]
        .iter()
        .find(|(known, _)| *known == name && !other_source);
    let built_in = modern.or(legacy).map(|(_, source)| source.clone());
    if legacy.is_some() {
        let modern = if built_in == Some(Source::SuccessRate) {
            BUILT_IN[0].0
        } else {
            BUILT_IN[1].0
        };
        findings
            .add(&rules::METRIC_LEGACY, &item.path.key("name"), format!("{name:?}"))
            .fixed_by(format!("rename it to {modern}"));
    }
    if modern.is_some() && other_source {
        let other = if query_text.is_some() {
            "query"
        } else {
            "templateRef"
        };
        findings.add(
            &rules::METRIC_TWICE,
            &item.path.key(other),
            format!("set for the built-in {name}"),
        );
    }
    if built_in.is_none() && !other_source && !name.is_empty() {
        let near = nearest(name, [BUILT_IN[0].0, BUILT_IN[1].0]);
        findings
            .add(
                &rules::METRIC_UNUSABLE,
                &item.path.key("name"),
                format!("{name:?} is not built in, and has no query"),
            )
            .expecting("expected request-success-rate, request-duration, query or templateRef")
            .fixed_by(near.map_or_else(
                || rules::METRIC_UNUSABLE.fix.to_owned(),
                |word| format!("did you mean {word}?"),
            ));
    }
    if built_in.is_some() && context.is_kubernetes() && context.target.kind == TargetKind::Service {
        findings.add(
            &rules::SERVICE_BUILT_IN,
            &item.path.key("name"),
            format!("{name} with a Service as target"),
        );
    }

    let pasted = built_in.is_some() || query_text.is_some_and(|query| query.contains("interval"));
    let interval = interval(&item.get("interval"), pasted, run, findings);
    let range = Range::read(item, findings);
    let check = |source: Source, bounds: Bounds| Check {
        metric: index,
        name: name.to_owned(),
        source,
        bounds,
        interval: interval.clone(),
    };
    if let Some(source) = built_in {
        let bounds = if source == Source::SuccessRate {
            range.success_rate(item, findings)
        } else {
            range.request_duration(item, findings)
        };
        first.push(check(source, bounds));
    }
    if !other_source {
        if !variables.is_empty() {
            let path = variables_field.path;
            findings
                .add(&rules::UNKNOWN_FIELD, &path, "used by queries and templates only")
                .fixed_by("remove it");
        }
        return;
    }
    let bounds = range.custom(item, modern.is_some(), findings);
    if let Some(text) = query_text {
        let values = template::Context {
            name: context.id.name.clone(),
            namespace: context.id.namespace.clone(),
            target: context.target.name.clone(),
            service: context.service_name.clone(),
            ingress: context.ingress.clone(),
            route: context.route.clone(),
            interval: if duration::is_promql_range(&interval) {
                interval.clone()
            } else {
                default::METRIC_INTERVAL.to_owned()
            },
            variables: variables.clone(),
            any_variable: false,
        };
        query::promql(&query_field, text, &values, findings);
        first.push(check(Source::Query(text.to_owned()), bounds));
    }
    if let Some((namespace, name)) = template {
        second.push(check(
            Source::Template {
                namespace,
                name,
                variables,
            },
            bounds,
        ));
    }
}

fn template_ref(
    field: &Field<'_>,
    context: &Context<'_>,
    findings: &mut Findings,
) -> Option<(String, String)> {
    field.object(findings)?;
    field.only(&["name", "namespace"], findings);
    let name_field = field.get("name");
    let name = name_field.required("the MetricTemplate's name", findings)?;
    object_name(&name_field, name, findings);
    let namespace = field
        .get("namespace")
        .text(findings)
        .filter(|namespace| !namespace.is_empty());
    Some((
        namespace.unwrap_or(&context.id.namespace).to_owned(),
        name.to_owned(),
    ))
}

/// The metric's interval, as written. Where it is pasted into a query it must be a Prometheus range; elsewhere either
/// grammar will do, because the template's provider reads it.
fn interval(field: &Field<'_>, pasted: bool, run: Duration, findings: &mut Findings) -> String {
    let Some(text) = field.text(findings).filter(|text| !text.is_empty()) else {
        return default::METRIC_INTERVAL.to_owned();
    };
    let readable = duration::prometheus(text)
        .or_else(|| duration::go_positive(text))
        .filter(|d| !d.is_zero());
    if readable.is_none() || (pasted && !duration::is_promql_range(text)) {
        let fix = duration::guess(text).map(|meant| format!("write {meant}"));
        let found = format!("{} is not a Prometheus duration above zero", show(&text.into()));
        findings
            .add(&rules::METRIC_INTERVAL, &field.path, found)
            .expecting("expected whole numbers with units, such as 30s, 1m or 1h30m")
            .fixed_by(fix.unwrap_or_default());
    } else if let Some(interval) = readable {
        if interval < Duration::from_secs(10) {
            findings.add(
                &rules::METRIC_INTERVAL_ODD,
                &field.path,
                format!("{text} rarely spans two scrapes"),
            );
        } else if interval > run {
            let run = super::analysis::seconds(run);
            findings.add(
                &rules::METRIC_INTERVAL_ODD,
                &field.path,
                format!("{text} is longer than the whole run ({run})"),
            );
        }
    }
    text.to_owned()
}

/// The bounds as written.
struct Range {
    /// `thresholdRange`, which decides alone when it is there.
    range: Option<Bounds>,
    /// `threshold`, deprecated.
    threshold: Option<f64>,
    /// Something of it could not be read and was reported.
    broken: bool,
    path: FieldPath,
}

impl Range {
    fn read(item: &Field<'_>, findings: &mut Findings) -> Self {
        let (field, threshold_field) = (item.get("thresholdRange"), item.get("threshold"));
        let before = findings.report.violations.len();
        let threshold = threshold_field.number(findings);
        let range = field.object(findings).map(|_| {
            field.only(&["min", "max"], findings);
            Bounds {
                min: field.get("min").number(findings),
                max: field.get("max").number(findings),
            }
        });
        let broken = findings.report.violations.len() > before;
        if let Some(Bounds { min, max }) = range {
            match (min, max) {
                (None, None) if !broken => {
                    findings.add(&rules::RANGE_EMPTY, &field.path, "neither min nor max");
                }
                (Some(min), Some(max)) if min > max => {
                    findings.add(
                        &rules::RANGE_INVERTED,
                        &field.path,
                        format!("min {min} is above max {max}"),
                    );
                }
                _ => {}
            }
            if threshold.is_some() {
                findings.add(
                    &rules::THRESHOLD_IGNORED,
                    &threshold_field.path,
                    "set together with thresholdRange",
                );
            }
        }
        Self {
            range,
            threshold,
            broken,
            path: field.path,
        }
    }

    fn absent(&self) -> bool {
        self.range.is_none() && self.threshold.is_none() && !self.broken
    }

    /// Percent; the old `threshold` is the minimum.
    fn success_rate(&self, item: &Field<'_>, findings: &mut Findings) -> Bounds {
        if self.absent() {
            findings
                .add(&rules::BOUND_ABSENT, &self.path, "missing")
                .expecting("without a minimum the check always passes");
        }
        let bounds = self.range.unwrap_or(Bounds {
            min: self.threshold,
            max: None,
        });
        let path = if self.range.is_some() {
            self.path.key("min")
        } else {
            item.path.key("threshold")
        };
        match bounds.min {
            Some(min) if min > 100.0 || min < 0.0 => {
                findings.add(&rules::RATE_BOUND, &path, format!("{min} percent"));
            }
            Some(min) if min > 0.0 && min <= 1.0 => {
                let found = format!("{min} looks like a fraction");
                findings
                    .add(&rules::RATE_BOUND, &path, found)
                    .fixed_by(format!("write {}", rounded(min * 100.0)));
            }
            Some(0.0) => {
                findings.add(&rules::RATE_ZERO, &path, "0");
            }
            None if bounds.max.is_some() => {
                findings
                    .add(&rules::RATE_BOUND, &self.path, "only max is set")
                    .fixed_by("write min");
            }
            Some(_) | None => {}
        }
        bounds
    }

    /// Milliseconds, cut to whole ones; the old `threshold` is the maximum.
    fn request_duration(&self, item: &Field<'_>, findings: &mut Findings) -> Bounds {
        if self.absent() {
            findings
                .add(&rules::BOUND_ABSENT, &self.path, "missing")
                .expecting("without a maximum every latency fails");
        }
        let bounds = self.range.unwrap_or(Bounds {
            min: None,
            max: self.threshold,
        });
        let path = if self.range.is_some() {
            self.path.key("max")
        } else {
            item.path.key("threshold")
        };
        match bounds.max {
            Some(max) if max < 1.0 => {
                let fix = if max > 0.0 {
                    format!("write {} for {max} s", rounded(max * 1000.0))
                } else {
                    String::new()
                };
                let found = format!("{max} milliseconds");
                let found = findings.add(&rules::LATENCY_BOUND, &path, found);
                if !fix.is_empty() {
                    found.fixed_by(fix);
                }
            }
            Some(max) if max.fract() != 0.0 => {
                findings.add(&rules::LATENCY_FRACTION, &path, format!("{max}"));
            }
            Some(_) | None => {}
        }
        Bounds {
            min: bounds.min.map(f64::trunc),
            max: bounds.max.map(f64::trunc),
        }
    }

    /// Whatever the query answers in; the old `threshold` is the maximum, and 0 when it is absent.
    fn custom(&self, item: &Field<'_>, bounded_as_built_in: bool, findings: &mut Findings) -> Bounds {
        if self.absent() && !bounded_as_built_in {
            findings.add(&rules::BOUND_ZERO, &item.path.key("thresholdRange"), "missing");
        }
        self.range.unwrap_or(Bounds {
            min: None,
            max: Some(self.threshold.unwrap_or(0.0)),
        })
    }
}

/// A number without the dust of binary fractions.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
