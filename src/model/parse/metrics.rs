//! `analysis.metrics[]`: what is measured, and the bounds it must keep.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::canary::{Bounds, Check, Source, TargetKind};
use crate::model::default;
use crate::model::duration;
use crate::model::names::nearest;
use crate::model::rules;
use crate::model::template;

use super::bounds::Written;
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
    if built_in.is_some() && context.is_kubernetes() && context.target.kind == TargetKind::DaemonSet {
        findings.add(
            &rules::DAEMON_SET_BUILT_IN,
            &item.path.key("name"),
            format!("{name} with a DaemonSet as target"),
        );
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
    let written = Written::read(item, findings);
    let check = |source: Source, bounds: Bounds| Check {
        metric: index,
        name: name.to_owned(),
        source,
        bounds,
        interval: interval.clone(),
    };
    if let Some(source) = built_in {
        let bounds = if source == Source::SuccessRate {
            written.success_rate(item, findings)
        } else {
            written.request_duration(item, findings)
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
    let bounds = written.custom(item, modern.is_some(), findings);
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
