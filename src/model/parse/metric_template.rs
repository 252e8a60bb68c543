//! MetricTemplate objects: each provider's needs, and its query.

use serde_json::Value;

use crate::model::rules;
use crate::model::template::Context;
use crate::model::violation::Report;

use super::fields::{Field, Findings};
use super::{Settings, object_name, query, url};

const KINDS: [&str; 11] = [
    "prometheus",
    "influxdb",
    "datadog",
    "externalmetrics",
    "stackdriver",
    "cloudwatch",
    "newrelic",
    "graphite",
    "dynatrace",
    "keptn",
    "splunk",
];

/// Judges a MetricTemplate.
pub(super) fn judge(object: &Value, settings: &Settings) -> Report {
    let mut findings = Findings {
        unknown_fields: settings.unknown_fields,
        provider_is_certain: true,
        ..Findings::default()
    };
    let root = Field::root(object);
    super::envelope(&root, &mut findings);
    let spec = root.get("spec");
    if !spec.is_set() {
        findings
            .add(&rules::REQUIRED, &spec.path, "missing")
            .expecting("expected an object");
        return findings.report;
    }
    if spec.object(&mut findings).is_some() {
        spec.only(&["provider", "query"], &mut findings);
        let kind = provider(&spec.get("provider"), settings, &mut findings);
        let query_field = spec.get("query");
        if let Some(text) = query_field.required("a query", &mut findings) {
            judge_query(&query_field, text, kind, &mut findings);
        }
    }
    findings.report
}

fn provider(field: &Field<'_>, settings: &Settings, findings: &mut Findings) -> Option<&'static str> {
    if !field.is_set() {
        findings
            .add(&rules::REQUIRED, &field.path, "missing")
            .expecting("expected an object with a type");
        return None;
    }
    field.object(findings)?;
    field.only(
        &[
            "type",
            "address",
            "headers",
            "secretRef",
            "region",
            "insecureSkipVerify",
        ],
        findings,
    );
    let kind_field = field.get("type");
    let kind = kind_field
        .required("a provider type", findings)
        .and_then(|_| kind_field.word(&KINDS, findings));
    let address_field = field.get("address");
    let address = address_field.text(findings).filter(|text| !text.is_empty());
    if address.is_some() {
        url::read(
            &address_field,
            &rules::ADDRESS_FORMAT,
            settings.refuse_loopback,
            findings,
        );
    }
    let secret = field.get("secretRef");
    secret.object(findings);
    secret.only(&["name"], findings);
    if secret.is_set() {
        let name_field = secret.get("name");
        let name = name_field
            .required("the Secret's name", findings)
            .unwrap_or_default();
        object_name(&name_field, name, findings);
    }
    let region_field = field.get("region");
    let region = region_field.text(findings).filter(|text| !text.is_empty());
    let skip_field = field.get("insecureSkipVerify");
    let skip = skip_field.flag(findings);
    let headers_field = field.get("headers");
    let headers = headers(&headers_field, findings);

    let kind = kind?;
    if address.is_none() && ["prometheus", "graphite", "influxdb", "dynatrace", "splunk"].contains(&kind) {
        findings.add(
            &rules::ADDRESS_ABSENT,
            &address_field.path,
            format!("missing for {kind}"),
        );
    }
    if kind == "cloudwatch" && region.is_none() {
        findings.add(
            &rules::REGION_ABSENT,
            &region_field.path,
            "missing for cloudwatch",
        );
    }
    if !secret.is_set() && ["datadog", "newrelic", "dynatrace", "splunk", "influxdb"].contains(&kind) {
        findings.add(&rules::SECRET_ABSENT, &secret.path, format!("missing for {kind}"));
    }
    for (used, applies, path) in [
        (!headers.is_empty(), kind == "prometheus", &headers_field.path),
        (
            skip,
            ["prometheus", "graphite", "externalmetrics"].contains(&kind),
            &skip_field.path,
        ),
        (region.is_some(), kind == "cloudwatch", &region_field.path),
    ] {
        if used && !applies {
            findings.add(&rules::OPTION_IGNORED, path, format!("set for {kind}"));
        }
    }
    if kind == "prometheus"
        && secret.is_set()
        && headers
            .iter()
            .any(|name| name.eq_ignore_ascii_case("authorization"))
    {
        findings.add(
            &rules::AUTHORIZATION_TWICE,
            &headers_field.path,
            "Authorization set together with secretRef",
        );
    }
    if kind == "externalmetrics" && address.is_some() {
        findings.add(&rules::TOKEN_LEAK, &address_field.path, "set for externalmetrics");
    }
    Some(kind)
}

/// Names of `headers`, a map of lists.
fn headers(field: &Field<'_>, findings: &mut Findings) -> Vec<String> {
    let Some(map) = field.object(findings) else {
        return Vec::new();
    };
    for key in map.keys() {
        field.get(key).texts(findings);
    }
    map.keys().cloned().collect()
}

fn judge_query(field: &Field<'_>, text: &str, kind: Option<&str>, findings: &mut Findings) {
    let Some(kind) = kind else { return };
    if text.trim().is_empty() {
        findings.add(&rules::QUERY_EMPTY, &field.path, "only white space");
        return;
    }
    if kind == "prometheus" {
        query::promql(field, text, &Context::stand_in(), findings);
    } else {
        query::template(field, text, findings);
    }
    let names_something = ["target", "name", "variables", "service", "ingress", "route"]
        .iter()
        .any(|word| {
            text.match_indices("{{")
                .any(|(at, _)| action(&text[at..]).contains(word))
        });
    if !names_something && kind != "keptn" && kind != "externalmetrics" {
        findings.add(&rules::NOT_ISOLATED, &field.path, "names nothing of the Canary");
    }
    let shape = |expected: &str, findings: &mut Findings| {
        findings
            .add(&rules::QUERY_SHAPE, &field.path, "not in the provider's form")
            .expecting(expected)
            .fixed_by("");
    };
    let plain = query::plain(text);
    match kind {
        "cloudwatch" if !serde_json::from_str::<Value>(&plain).is_ok_and(|value| value.is_array()) => {
            shape("CloudWatch takes a JSON list of metric data queries", findings);
        }
        "graphite" if !plain.contains("target=") => {
            shape("Graphite takes a URL query such as target=…&from=-5min", findings);
        }
        "keptn" => {
            let parts: Vec<_> = plain.trim().split('/').collect();
            let is_known = matches!(parts.first().copied(), Some("keptnmetric" | "analysis"));
            if parts.len() < 3 || !is_known || parts[1..3].iter().any(|part| part.is_empty()) {
                shape(
                    "Keptn takes keptnmetric/<namespace>/<name> or analysis/<namespace>/<name>/…",
                    findings,
                );
            }
        }
        "externalmetrics" if plain.split('?').next().unwrap_or_default().matches('/').count() > 1 => {
            shape(
                "external metrics take [namespace/]metric[?labelSelector=…]",
                findings,
            );
        }
        _ => {}
    }
}

/// The text of a template action, up to its end.
fn action(text: &str) -> &str {
    text.split("}}").next().unwrap_or_default()
}
