//! What a Canary refers to by name: metric templates, with the variables they want, and alert providers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::canary::{Canary, Check, Source};
use crate::model::parse::fields::Findings;
use crate::model::promql::{self, Problem, Severity};
use crate::model::rules;
use crate::model::template::Context;
use crate::model::violation::{Code, FieldPath, Violation};

use super::{Seen, Surroundings};

/// Judges templates and alert providers.
pub(super) fn judge(canary: &Canary, surroundings: &Surroundings, findings: &mut Findings) {
    let metrics = FieldPath::of("spec.analysis.metrics");
    for check in &canary.analysis.checks {
        let Source::Template {
            namespace,
            name,
            variables,
        } = &check.source
        else {
            continue;
        };
        let path = metrics.index(check.metric);
        let title = format!("MetricTemplate {name}.{namespace}");
        match surroundings.templates.get(&(namespace.clone(), name.clone())) {
            None | Some(Seen::Unknown) => {}
            Some(Seen::Absent) => {
                findings.add(
                    &rules::TEMPLATE_ABSENT,
                    &path.key("templateRef"),
                    format!("{title} does not exist"),
                );
            }
            Some(Seen::Present(template)) => {
                let Some(query) = template["spec"]["query"].as_str() else {
                    continue;
                };
                if judge_variables(&title, query, variables, &path, findings) {
                    judge_query(canary, check, &title, template, &path, findings);
                }
            }
        }
    }
    for (index, alert) in canary.analysis.alerts.iter().enumerate() {
        let key = (alert.provider_namespace.clone(), alert.provider.clone());
        if surroundings.alert_providers.get(&key) == Some(&Seen::Absent) {
            let path = FieldPath::of("spec.analysis.alerts")
                .index(index)
                .key("providerRef");
            let found = format!(
                "AlertProvider {}.{} does not exist",
                alert.provider, alert.provider_namespace
            );
            findings.add(&rules::ALERT_PROVIDER_ABSENT, &path, found);
        }
    }
}

/// Compares the variables a template names with those the metric gives; true when none is missing.
fn judge_variables(
    title: &str,
    query: &str,
    given: &BTreeMap<String, String>,
    metric: &FieldPath,
    findings: &mut Findings,
) -> bool {
    let path = metric.key("templateVariables");
    let wanted = variables_of(query);
    let missing: Vec<_> = wanted
        .iter()
        .filter(|variable| !given.contains_key(**variable))
        .collect();
    for (position, variable) in missing.iter().enumerate() {
        if !missing[..position].contains(variable) {
            findings.add(
                &rules::TEMPLATE_VARIABLE,
                &path.key(variable),
                format!("{title} uses variables.{variable}"),
            );
        }
    }
    // A template that hands the whole map to a function (`index variables "a-b"`) may use any of them.
    let opaque = query.matches("variables").count() > wanted.len();
    for variable in given
        .keys()
        .filter(|key| !opaque && !wanted.contains(&key.as_str()))
    {
        findings.add(
            &rules::TEMPLATE_VARIABLE_UNUSED,
            &path.key(variable),
            format!("{title} does not use it"),
        );
    }
    missing.is_empty()
}

/// Keys `k` of each `variables.k` in a template.
fn variables_of(query: &str) -> Vec<&str> {
    query
        .match_indices("variables.")
        .map(|(at, word)| &query[at + word.len()..])
        .map(|rest| {
            &rest[..rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())]
        })
        .filter(|key| !key.is_empty())
        .collect()
}

/// Judges a Prometheus template with this metric's values: what breaks only with them is refused, what the template
/// breaks by itself warns, since it can be mended later.
fn judge_query(
    canary: &Canary,
    check: &Check,
    title: &str,
    template: &Value,
    metric: &FieldPath,
    findings: &mut Findings,
) {
    let (Source::Template { variables, .. }, Some(query), "prometheus") = (
        &check.source,
        template["spec"]["query"].as_str(),
        template["spec"]["provider"]["type"].as_str().unwrap_or_default(),
    ) else {
        return;
    };
    let context = Context {
        name: canary.id.name.clone(),
        namespace: canary.id.namespace.clone(),
        target: canary.target.name.clone(),
        service: canary.service.name.clone(),
        ingress: canary.target.name.clone(),
        route: canary.target.name.clone(),
        interval: check.interval.clone(),
        variables: variables.clone(),
        any_variable: false,
    };
    let error = |problem: &Problem| problem.severity == Severity::Error;
    let Some(problem) = promql::judge(query, &context).into_iter().find(error) else {
        return;
    };
    let by_itself = promql::judge(query, &Context::stand_in()).iter().any(error);
    let path = if by_itself || variables.is_empty() {
        "templateRef"
    } else {
        "templateVariables"
    };
    let violation = Violation {
        path: metric.key(path),
        code: Code(problem.code),
        found: format!(
            "{title}, line {}, column {}: {}",
            problem.line, problem.column, problem.found
        ),
        expected: problem.expected,
        fix: problem.fix,
        place: None,
        snippet: (!problem.snippet.is_empty()).then_some(problem.snippet),
    };
    if by_itself {
        findings.report.warnings.push(violation);
    } else {
        findings.report.violations.push(violation);
    }
}
