//! CanaryPolicy JSON → [`Policy`], collecting everything that is wrong. Total: what cannot be read is left out of the
//! policy, and a rule that does not compile stays in it as one that cannot be kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::duration;
use crate::model::names::{is_label_value, is_qualified, nearest};
use crate::model::parse::fields::{Field, Findings};
use crate::model::rules;
use crate::model::violation::{FieldPath, Report};

use super::cel::{Expression, Slip};
use super::defaults::IDENTITY;
use super::exemption::{self, Exemption};
use super::hosts::{Hosts, Pattern};
use super::limits::{
    Bounds, Forbidden, Limits, Required, RequiredAlert, RequiredHook, RequiredMetric, SEVERITIES,
};
use super::selector::{Operator, Requirement, Selector};
use super::{Allowed, Matching, Mode, Policy, Rule};

/// Most rules in CEL.
const MAX_RULES: usize = 32;
/// Most entries of any other list.
const MAX_ENTRIES: usize = 256;

const SPEC: [&str; 9] = [
    "mode",
    "match",
    "limits",
    "require",
    "allowed",
    "forbid",
    "rules",
    "defaults",
    "exemptions",
];
const HOOKS: [&str; 8] = [
    "confirm-rollout",
    "pre-rollout",
    "rollout",
    "confirm-traffic-increase",
    "confirm-promotion",
    "post-rollout",
    "rollback",
    "event",
];
const PROVIDERS: [&str; 19] = [
    "apisix",
    "appmesh",
    "appmesh:v1beta2",
    "contour",
    "gatewayapi:v1",
    "gatewayapi:v1beta1",
    "gloo",
    "istio",
    "knative",
    "kubernetes",
    "kuma",
    "linkerd",
    "nginx",
    "osm",
    "skipper",
    "smi:v1alpha1",
    "smi:v1alpha2",
    "smi:v1alpha3",
    "traefik",
];

/// Reads a policy.
pub(super) fn policy(object: &Value) -> (Policy, Report) {
    let mut findings = Findings {
        unknown_fields: true,
        ..Findings::default()
    };
    let root = Field::root(object);
    let spec = root.get("spec");
    if spec.is_set() {
        spec.object(&mut findings);
        spec.only(&SPEC, &mut findings);
    } else {
        findings
            .add(&rules::REQUIRED, &spec.path, "missing")
            .expecting("expected an object")
            .fixed_by("add spec");
    }
    let mode = mode(&spec, &mut findings);
    let matching = matching(&spec.get("match"), mode, &mut findings);
    let policy = Policy {
        name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        generation: object["metadata"]["generation"].as_i64().unwrap_or_default(),
        mode,
        matching,
        limits: limits(&spec.get("limits"), &mut findings),
        required: required(&spec.get("require"), &mut findings),
        allowed: allowed(&spec.get("allowed"), &mut findings),
        forbidden: forbidden(&spec.get("forbid"), &mut findings),
        rules: rules_in_cel(&spec.get("rules"), &mut findings),
        defaults: defaults(&spec.get("defaults"), &mut findings),
        exemptions: exemptions(&spec.get("exemptions"), &mut findings),
    };
    exempted_rules(&policy, &spec.get("exemptions"), &mut findings);
    let decides = !policy.limits.is_empty()
        || !policy.required.is_empty()
        || !policy.forbidden.is_empty()
        || !policy.rules.is_empty()
        || !policy.defaults.is_empty()
        || policy.allowed.webhooks.is_some()
        || policy.allowed.metrics_servers.is_some()
        || policy.allowed.alerts.is_some();
    if !decides && findings.report.is_admissible() {
        findings.add(&rules::POLICY_EMPTY, &spec.path, "no limits, rules or defaults");
    }
    (policy, findings.report)
}

fn mode(spec: &Field<'_>, findings: &mut Findings) -> Mode {
    let field = spec.get("mode");
    if !field.is_set() && spec.is_set() {
        findings
            .add(&rules::REQUIRED, &field.path, "missing")
            .expecting("expected Enforce, Warn or Audit")
            .fixed_by("begin with Audit, and read status.violations");
    }
    let words = Mode::ALL.map(Mode::as_str);
    let word = field.word(&words, findings);
    // A policy whose mode cannot be read enforces nothing, and its status says why.
    Mode::ALL
        .into_iter()
        .find(|mode| Some(mode.as_str()) == word)
        .unwrap_or(Mode::Audit)
}

fn matching(field: &Field<'_>, mode: Mode, findings: &mut Findings) -> Matching {
    field.object(findings);
    field.only(&["namespaceSelector", "objectSelector", "providers"], findings);
    let objects_field = field.get("objectSelector");
    let objects = selector(&objects_field, findings);
    if mode == Mode::Enforce && !objects.is_empty() {
        findings.add(
            &rules::POLICY_OBJECT_SELECTOR,
            &objects_field.path,
            "set, with mode Enforce",
        );
    }
    let providers = field.get("providers").items(findings);
    Matching {
        namespaces: selector(&field.get("namespaceSelector"), findings),
        objects,
        providers: providers
            .iter()
            .filter_map(|one| one.word(&PROVIDERS, findings).map(str::to_owned))
            .collect(),
    }
}

fn selector(field: &Field<'_>, findings: &mut Findings) -> Selector {
    field.object(findings);
    field.only(&["matchLabels", "matchExpressions"], findings);
    let mut all = Vec::new();
    let labels_field = field.get("matchLabels");
    for (key, value) in labels_field.text_map(findings) {
        let path = labels_field.path.key(&key);
        requirement(key, Operator::In, vec![value], &path, &path, findings, &mut all);
    }
    for item in field.get("matchExpressions").objects(findings) {
        if !item.is_set() {
            continue;
        }
        item.only(&["key", "operator", "values"], findings);
        let key_field = item.get("key");
        let key = key_field
            .required("a label key", findings)
            .unwrap_or_default()
            .to_owned();
        let operator_field = item.get("operator");
        operator_field.required("In, NotIn, Exists or DoesNotExist", findings);
        let operator = match operator_field.word(
            &["In", "NotIn", "Exists", "DoesNotExist"],
            &mut Findings::default(),
        ) {
            Some("In") => Operator::In,
            Some("NotIn") => Operator::NotIn,
            Some("Exists") => Operator::Exists,
            Some(_) => Operator::DoesNotExist,
            None => {
                operator_field.word(&["In", "NotIn", "Exists", "DoesNotExist"], findings);
                continue;
            }
        };
        let values_field = item.get("values");
        let values: Vec<String> = values_field
            .texts(findings)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let listed = matches!(operator, Operator::In | Operator::NotIn);
        if listed == values.is_empty() {
            let found = if listed { "missing" } else { "set" };
            findings
                .add(&rules::POLICY_SELECTOR, &values_field.path, found)
                .expecting("expected values with In and NotIn, and none with Exists and DoesNotExist")
                .fixed_by("");
        }
        requirement(
            key,
            operator,
            values,
            &key_field.path,
            &values_field.path,
            findings,
            &mut all,
        );
    }
    Selector(all)
}

fn requirement(
    key: String,
    operator: Operator,
    values: Vec<String>,
    key_path: &FieldPath,
    values_path: &FieldPath,
    findings: &mut Findings,
    all: &mut Vec<Requirement>,
) {
    if !key.is_empty() && !is_qualified(&key) {
        findings.add(
            &rules::POLICY_SELECTOR,
            key_path,
            format!("{key:?} is no label key"),
        );
    }
    for value in values.iter().filter(|value| !is_label_value(value)) {
        findings.add(
            &rules::POLICY_SELECTOR,
            values_path,
            format!("{value:?} is no label value"),
        );
    }
    all.push(Requirement {
        key,
        operator,
        values,
    });
}

fn limits(field: &Field<'_>, findings: &mut Findings) -> Limits {
    field.object(findings);
    field.only(
        &[
            "interval",
            "iterations",
            "threshold",
            "stepWeight",
            "maxWeight",
            "progressDeadlineSeconds",
        ],
        findings,
    );
    let largest = i64::from(i32::MAX);
    Limits {
        interval: bounds(&field.get("interval"), findings, interval),
        iterations: bounds(&field.get("iterations"), findings, whole(1, largest)),
        threshold: bounds(&field.get("threshold"), findings, whole(1, largest)),
        step_weight: bounds(&field.get("stepWeight"), findings, whole(1, 100)),
        max_weight: bounds(&field.get("maxWeight"), findings, whole(1, 100)),
        progress_deadline: bounds(&field.get("progressDeadlineSeconds"), findings, whole(1, largest)),
    }
}

fn bounds<T: PartialOrd + Copy>(
    field: &Field<'_>,
    findings: &mut Findings,
    read: impl Fn(&Field<'_>, &mut Findings) -> Option<T>,
) -> Bounds<T> {
    if !field.is_set() {
        return Bounds::default();
    }
    let before = findings.report.violations.len();
    field.object(findings);
    field.only(&["min", "max"], findings);
    let bounds = Bounds {
        min: read(&field.get("min"), findings),
        max: read(&field.get("max"), findings),
    };
    let clean = findings.report.violations.len() == before;
    if bounds.is_empty() && clean {
        findings
            .add(&rules::POLICY_BOUNDS, &field.path, "neither min nor max")
            .expecting("expected one of them, or both")
            .fixed_by("");
    }
    if bounds.min.zip(bounds.max).is_some_and(|(min, max)| min > max) {
        findings.add(&rules::POLICY_BOUNDS, &field.path, "min is above max");
    }
    bounds
}

fn interval(field: &Field<'_>, findings: &mut Findings) -> Option<Duration> {
    let text = field.text(findings)?;
    let read = duration::go_positive(text);
    if read.is_none() {
        let fix = duration::guess(text).map(|meant| format!("write {meant}"));
        findings
            .add(
                &rules::DURATION_FORMAT,
                &field.path,
                format!("{text:?} is not a duration above zero"),
            )
            .expecting("expected a Go duration such as 30s or 1m")
            .fixed_by(fix.unwrap_or_default());
    }
    read
}

fn whole(least: i64, most: i64) -> impl Fn(&Field<'_>, &mut Findings) -> Option<i64> {
    move |field, findings| {
        let value = field.integer(findings)?;
        if (least..=most).contains(&value) {
            return Some(value);
        }
        findings
            .add(&rules::POLICY_BOUNDS, &field.path, value.to_string())
            .expecting(format!("expected {least} to {most}"))
            .fixed_by("");
        None
    }
}

fn required(field: &Field<'_>, findings: &mut Findings) -> Required {
    field.object(findings);
    field.only(&["webhooks", "metrics", "alerts"], findings);
    let pattern = |item: &Field<'_>, key: &str, findings: &mut Findings| {
        item.get(key)
            .text(findings)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let entries = |key: &str, findings: &mut Findings| {
        let list = field.get(key);
        let items = list.objects(findings);
        many(&list, items.len(), MAX_ENTRIES, findings);
        items
            .into_iter()
            .filter(Field::is_set)
            .take(MAX_ENTRIES)
            .collect::<Vec<_>>()
    };
    let mut all = Required::default();
    for item in entries("webhooks", findings) {
        item.only(&["type", "name"], findings);
        let kind = item.get("type");
        kind.required("a type of webhook", findings);
        if kind.value.is_some_and(|value| value != "")
            && let Some(word) = kind.word(&HOOKS, findings)
        {
            all.webhooks.push(RequiredHook {
                kind: word.to_owned(),
                name: pattern(&item, "name", findings),
            });
        }
    }
    for item in entries("metrics", findings) {
        item.only(&["name", "templateRef"], findings);
        let metric = RequiredMetric {
            name: pattern(&item, "name", findings),
            template: pattern(&item, "templateRef", findings),
        };
        if metric.name.is_none() && metric.template.is_none() {
            findings
                .add(&rules::REQUIRED, &item.path, "neither name nor templateRef")
                .expecting("expected one of them, or both")
                .fixed_by("add name");
        } else {
            all.metrics.push(metric);
        }
    }
    for item in entries("alerts", findings) {
        item.only(&["severity", "provider"], findings);
        let severity = item.get("severity");
        severity.required("info, warn or error", findings);
        if severity.value.is_some_and(|value| value != "")
            && let Some(word) = severity.word(&SEVERITIES, findings)
        {
            all.alerts.push(RequiredAlert {
                severity: word,
                provider: pattern(&item, "provider", findings),
            });
        }
    }
    all
}

fn allowed(field: &Field<'_>, findings: &mut Findings) -> Allowed {
    field.object(findings);
    field.only(&["webhooks", "metricsServers", "alerts"], findings);
    Allowed {
        webhooks: hosts(&field.get("webhooks"), findings),
        metrics_servers: hosts(&field.get("metricsServers"), findings),
        alerts: hosts(&field.get("alerts"), findings),
    }
}

fn hosts(field: &Field<'_>, findings: &mut Findings) -> Option<Arc<Hosts>> {
    if !field.is_set() {
        return None;
    }
    field.object(findings)?;
    field.only(&["hosts", "schemes", "privateAddresses"], findings);
    let list = field.get("hosts");
    let items = list.items(findings);
    many(&list, items.len(), MAX_ENTRIES, findings);
    let mut patterns = Vec::new();
    for item in items.iter().take(MAX_ENTRIES) {
        let Some(text) = item.text(findings) else { continue };
        match Pattern::read(text) {
            Some(pattern) => patterns.push(pattern),
            None => {
                findings.add(&rules::POLICY_HOST, &item.path, format!("{text:?} is no host"));
            }
        }
    }
    let schemes = field.get("schemes").items(findings);
    let private = field.get("privateAddresses");
    let known = Hosts {
        // A list of which nothing could be read allows nothing, rather than everything.
        patterns: if patterns.is_empty() && !items.is_empty() {
            Pattern::read("invalid.invalid").into_iter().collect()
        } else {
            patterns
        },
        schemes: schemes
            .iter()
            .filter_map(|one| one.word(&["https", "http"], findings).map(str::to_owned))
            .collect(),
        private: !private.is_set() || private.flag(findings),
    };
    if known.patterns.is_empty()
        && known.schemes.is_empty()
        && known.private
        && findings.report.is_admissible()
    {
        findings.add(&rules::POLICY_EMPTY, &field.path, "neither hosts nor schemes");
    }
    Some(Arc::new(known))
}

fn forbidden(field: &Field<'_>, findings: &mut Findings) -> Forbidden {
    field.object(findings);
    field.only(
        &[
            "skipAnalysis",
            "inlineQueries",
            "crossNamespaceReferences",
            "disableTLS",
            "v1alpha3",
        ],
        findings,
    );
    let mut flag = |key: &str| field.get(key).flag(findings);
    Forbidden {
        skip_analysis: flag("skipAnalysis"),
        inline_queries: flag("inlineQueries"),
        cross_namespace: flag("crossNamespaceReferences"),
        disable_tls: flag("disableTLS"),
        v1alpha3: flag("v1alpha3"),
    }
}

/// The structured rules, as exemptions name them.
const STRUCTURED: [&str; 17] = [
    "limits.interval",
    "limits.iterations",
    "limits.threshold",
    "limits.stepWeight",
    "limits.maxWeight",
    "limits.progressDeadlineSeconds",
    "require.webhooks",
    "require.metrics",
    "require.alerts",
    "allowed.webhooks",
    "allowed.metricsServers",
    "allowed.alerts",
    "forbid.skipAnalysis",
    "forbid.inlineQueries",
    "forbid.crossNamespaceReferences",
    "forbid.disableTLS",
    "forbid.v1alpha3",
];

fn rules_in_cel(field: &Field<'_>, findings: &mut Findings) -> Vec<Rule> {
    let items = field.objects(findings);
    many(field, items.len(), MAX_RULES, findings);
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for item in items.into_iter().filter(Field::is_set).take(MAX_RULES) {
        item.only(
            &["name", "expression", "message", "messageExpression", "fieldPath"],
            findings,
        );
        let name_field = item.get("name");
        let name = name_field.required("a name", findings).unwrap_or_default();
        if !name.is_empty() && (!is_qualified(name) || name.contains('/')) {
            findings
                .add(
                    &rules::POLICY_RULE_NAME,
                    &name_field.path,
                    format!("{name:?} is no name"),
                )
                .expecting("expected letters, digits, dashes and dots")
                .fixed_by("");
        } else if !name.is_empty() && (STRUCTURED.contains(&name) || !names.insert(name)) {
            let found = format!("{name:?} is the name of another rule");
            findings.add(&rules::POLICY_RULE_NAME, &name_field.path, found);
        }
        let expression_field = item.get("expression");
        let condition = expression_field
            .required("an expression in CEL", findings)
            .and_then(|text| compiled(text, &expression_field.path, findings));
        let message_field = item.get("messageExpression");
        let message_expression = message_field
            .text(findings)
            .filter(|text| !text.is_empty())
            .and_then(|text| compiled(text, &message_field.path, findings));
        let message = item.get("message").text(findings).unwrap_or_default();
        if message.is_empty() && message_expression.is_none() && expression_field.is_set() {
            findings
                .add(&rules::REQUIRED, &item.path.key("message"), "missing")
                .expecting("expected what to do, for people whose Canary is refused")
                .fixed_by("add message or messageExpression");
        }
        let written = item.get("fieldPath").text(findings).unwrap_or_default();
        all.push(Rule {
            name: name.to_owned(),
            condition,
            message: if message.is_empty() {
                format!("rule {name} is not kept")
            } else {
                message.to_owned()
            },
            message_expression,
            field: if written.is_empty() {
                "spec".to_owned()
            } else {
                written.to_owned()
            },
        });
    }
    all
}

fn compiled(text: &str, path: &FieldPath, findings: &mut Findings) -> Option<Expression> {
    match Expression::compile(text) {
        Ok(expression) => Some(expression),
        Err(slip) => {
            let snippet = crate::model::promql::snippet(text, slip.at);
            refuse(&slip, snippet, path, findings);
            None
        }
    }
}

/// Tells of a slip in CEL, with its line and a caret.
pub(super) fn refuse(slip: &Slip, snippet: String, path: &FieldPath, findings: &mut Findings) {
    let told = findings.add(&rules::POLICY_CEL, path, slip.found.clone());
    told.expecting(slip.expected.clone()).fixed_by(slip.fix.clone());
    told.snippet = Some(snippet);
}

fn defaults(field: &Field<'_>, findings: &mut Findings) -> Map<String, Value> {
    let mut map = field.object(findings).cloned().unwrap_or_default();
    for key in IDENTITY {
        if map.remove(key).is_some() {
            findings
                .add(&rules::POLICY_DEFAULTS, &field.path.key(key), "set")
                .expecting("expected how Canaries are released, not what they are")
                .fixed_by("remove it");
        }
    }
    // A null says nothing, here as elsewhere.
    map.retain(|_, value| !value.is_null());
    map
}

fn exemptions(field: &Field<'_>, findings: &mut Findings) -> Vec<Exemption> {
    let items = field.objects(findings);
    many(field, items.len(), MAX_ENTRIES, findings);
    let mut all = Vec::new();
    for item in items.into_iter().filter(Field::is_set).take(MAX_ENTRIES) {
        item.only(&["namespace", "name", "rules", "until", "reason"], findings);
        let missing = |key: &str, what: &str, findings: &mut Findings| {
            let one = item.get(key);
            let text = one
                .text(findings)
                .filter(|text| !text.trim().is_empty())
                .map(str::to_owned);
            if text.is_none() {
                findings
                    .add(&rules::POLICY_EXEMPTION, &one.path, "missing")
                    .expecting(format!("expected {what}"));
            }
            text
        };
        let namespace = missing("namespace", "a namespace, or a pattern with *", findings);
        let written = missing("until", "a date such as 2027-01-31, or a moment", findings);
        let reason = missing("reason", "why", findings);
        let until = written.as_deref().and_then(exemption::end);
        if let (Some(text), None) = (&written, until) {
            findings
                .add(
                    &rules::POLICY_EXEMPTION,
                    &item.path.key("until"),
                    format!("{text:?} is no date"),
                )
                .expecting("expected a date such as 2027-01-31 or a moment such as 2027-01-31T12:00:00Z")
                .fixed_by("");
        }
        let names = item.get("rules").texts(findings);
        if let (Some(namespace), Some(written), Some(reason), Some(until)) =
            (namespace, written, reason, until)
        {
            all.push(Exemption {
                namespace,
                name: item.get("name").text(findings).unwrap_or("*").to_owned(),
                rules: names.into_iter().map(str::to_owned).collect(),
                until,
                written,
                reason,
            });
        }
    }
    all
}

/// An exemption from a rule nobody has.
fn exempted_rules(policy: &Policy, field: &Field<'_>, findings: &mut Findings) {
    let own = policy.rules.iter().map(|rule| rule.name.as_str());
    let known: Vec<&str> = own.chain(STRUCTURED).collect();
    for item in field.objects(&mut Findings::default()) {
        for name in item.get("rules").items(&mut Findings::default()) {
            let Some(text) = name
                .value
                .and_then(Value::as_str)
                .filter(|text| !known.contains(text))
            else {
                continue;
            };
            let fix = nearest(text, known.iter().copied());
            findings
                .add(
                    &rules::POLICY_EXEMPTION,
                    &name.path,
                    format!("there is no rule {text:?}"),
                )
                .expecting("expected the name of one of spec.rules, or one such as limits.interval")
                .fixed_by(fix.map_or(String::new(), |near| format!("did you mean {near}?")));
        }
    }
}

fn many(field: &Field<'_>, count: usize, most: usize, findings: &mut Findings) {
    if count > most {
        findings
            .add(&rules::POLICY_SIZE, &field.path, format!("{count} entries"))
            .expecting(format!("expected at most {most}"));
    }
}
