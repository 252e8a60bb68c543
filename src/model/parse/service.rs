//! `spec.service`: name, ports, metadata and the parts other providers route by.

use serde_json::Value;

use crate::model::canary::{Metadata, PortRef, Provider, Service, Target, Unmanaged};
use crate::model::default;
use crate::model::duration;
use crate::model::names::{self, LABEL_MAX};
use crate::model::rules;

use super::brings_its_own_services;
use super::fields::{Field, Findings, show};

const FIELDS: [&str; 27] = [
    "name",
    "port",
    "portName",
    "targetPort",
    "appProtocol",
    "trafficDistribution",
    "portDiscovery",
    "headless",
    "timeout",
    "backendTimeout",
    "gateways",
    "gatewayRefs",
    "hosts",
    "delegation",
    "trafficPolicy",
    "match",
    "rewrite",
    "retries",
    "headers",
    "corsPolicy",
    "mirror",
    "meshName",
    "backends",
    "apex",
    "primary",
    "canary",
    "unmanagedMetadata",
];

/// A mirror to a Service names its port (a rule of the schema, for every provider).
fn mirrors(field: &Field<'_>, findings: &mut Findings) {
    for mirror in field.get("mirror").objects(findings) {
        let backend = mirror.get("backendRef");
        let text = |key: &str| backend.get(key).value.and_then(Value::as_str);
        let is_service =
            text("group").is_none_or(str::is_empty) && text("kind").is_none_or(|kind| kind == "Service");
        if backend.value.is_some_and(Value::is_object) && is_service && !backend.get("port").is_set() {
            findings
                .add(&rules::REQUIRED, &backend.path.key("port"), "missing")
                .expecting("expected the port of the Service");
        }
    }
}

/// Reads `spec.service`; placeholders stand in for what is wrong.
pub(super) fn read(
    field: &Field<'_>,
    target: &Target,
    provider: &Provider,
    findings: &mut Findings,
) -> Service {
    let own = brings_its_own_services(target.kind);
    if !field.is_set() && !own {
        findings
            .add(&rules::SERVICE_ABSENT, &field.path, "missing")
            .expecting("expected an object with a port");
    }
    field.object(findings);
    field.only(&FIELDS, findings);
    let name_field = field.get("name");
    let written = name_field.text(findings).filter(|name| !name.is_empty());
    let name = written.unwrap_or(&target.name).to_owned();
    if !own && !name.is_empty() {
        judge_name(
            if written.is_some() { &name_field } else { field },
            &name,
            written.is_some(),
            findings,
        );
    }
    let port_field = field.get("port");
    if field.is_set() && !port_field.is_set() && !own {
        findings.add(&rules::PORT_RANGE, &port_field.path, "missing");
    }
    let number = port_field.integer(findings);
    let port = number
        .and_then(|number| port_number(&port_field, number, findings))
        .unwrap_or(80);
    let port_name_field = field.get("portName");
    let port_name = port_name_field
        .text(findings)
        .filter(|name| !name.is_empty())
        .unwrap_or(default::PORT_NAME);
    if !names::is_label(port_name) {
        findings.add(&rules::PORT_NAME, &port_name_field.path, format!("{port_name:?}"));
    } else if port_name.len() > 15 {
        findings.add(
            &rules::PORT_NAME_LONG,
            &port_name_field.path,
            format!("{} characters", port_name.len()),
        );
    }
    let target_port = target_port(&field.get("targetPort"), findings);
    let headless = field.get("headless").flag(findings);
    if headless
        && target_port
            .as_ref()
            .is_some_and(|target| *target != PortRef::Number(port))
    {
        findings.add(
            &rules::HEADLESS_PORT,
            &field.get("headless").path,
            "port and targetPort differ",
        );
    }
    let app_protocol = app_protocol(&field.get("appProtocol"), findings);
    let distribution = field.get("trafficDistribution");
    let traffic_distribution = distribution
        .value
        .and_then(|_| distribution.word(&["PreferClose", "PreferSameZone", "PreferSameNode"], findings))
        .map(str::to_owned);
    let unmanaged_field = field.get("unmanagedMetadata");
    unmanaged_field.object(findings);
    unmanaged_field.only(&["labels", "annotations"], findings);
    let keys = |key: &str, findings: &mut Findings| {
        unmanaged_field
            .get(key)
            .texts(findings)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let unmanaged = Unmanaged {
        labels: keys("labels", findings),
        annotations: keys("annotations", findings),
    };
    mirrors(field, findings);
    routes(field, provider, findings);
    Service {
        port,
        port_name: port_name.to_owned(),
        target_port,
        app_protocol,
        traffic_distribution,
        port_discovery: field.get("portDiscovery").flag(findings),
        headless,
        apex: metadata(&field.get("apex"), &unmanaged, findings),
        primary: metadata(&field.get("primary"), &unmanaged, findings),
        canary: metadata(&field.get("canary"), &unmanaged, findings),
        unmanaged,
        name,
    }
}

fn judge_name(field: &Field<'_>, name: &str, written: bool, findings: &mut Findings) {
    let whose = if written { "" } else { " (from targetRef.name)" };
    if !name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        || name.starts_with('-')
        || name.ends_with('-')
    {
        let fix = if written {
            "write"
        } else {
            "set service.name, with"
        };
        findings
            .add(
                &rules::SERVICE_NAME,
                &field.path,
                format!("{name:?}{whose} is no Service name"),
            )
            .fixed_by(format!("{fix} lower-case letters, digits and dashes"));
    } else if name.starts_with(|c: char| c.is_ascii_digit()) {
        findings.add(
            &rules::SERVICE_NAME_DIGIT,
            &field.path,
            format!("{name:?}{whose}"),
        );
    }
    let longest = names::primary(name);
    if longest.len() > LABEL_MAX {
        let found = format!("{longest}{whose} has {} characters", longest.len());
        findings.add(&rules::NAME_LENGTH, &field.path, found);
    }
}

fn port_number(field: &Field<'_>, number: i64, findings: &mut Findings) -> Option<u16> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    if port.is_none() {
        findings.add(&rules::PORT_RANGE, &field.path, number.to_string());
    }
    port
}

/// `targetPort`: absent, `0`, `""` and `"0"` all mean the number of `port`.
fn target_port(field: &Field<'_>, findings: &mut Findings) -> Option<PortRef> {
    match field.value? {
        Value::Number(_) => match field.integer(findings)? {
            0 => None,
            number => port_number(field, number, findings).map(PortRef::Number),
        },
        Value::String(text) if text.is_empty() || text == "0" => {
            findings.add(&rules::TARGET_PORT_EMPTY, &field.path, format!("{text:?}"));
            None
        }
        Value::String(text) if names::is_port_name(text) => Some(PortRef::Name(text.clone())),
        Value::String(text) => {
            let fix = match text.parse::<u16>() {
                Ok(number) if number > 0 => format!("write {number} without quotes"),
                Ok(_) | Err(_) => rules::TARGET_PORT_NAME.fix.to_owned(),
            };
            findings
                .add(
                    &rules::TARGET_PORT_NAME,
                    &field.path,
                    format!("{text:?} is no port name"),
                )
                .fixed_by(fix);
            None
        }
        other => {
            findings
                .add(&rules::WRONG_TYPE, &field.path, show(other))
                .expecting("expected a port number or name");
            None
        }
    }
}

fn app_protocol(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    const COMMON: [&str; 14] = [
        "http", "https", "http2", "grpc", "grpc-web", "tcp", "tls", "udp", "mongo", "mysql", "redis", "h2c",
        "ws", "wss",
    ];
    let text = field.text(findings).filter(|text| !text.is_empty())?;
    if !text.contains('/') && !COMMON.contains(&text.to_lowercase().as_str()) {
        let near = names::nearest(text, COMMON).map(|word| format!("did you mean {word}?"));
        findings
            .add(&rules::APP_PROTOCOL, &field.path, format!("{text:?}"))
            .fixed_by(near.unwrap_or_else(|| rules::APP_PROTOCOL.fix.to_owned()));
    }
    Some(text.to_owned())
}

fn metadata(field: &Field<'_>, unmanaged: &Unmanaged, findings: &mut Findings) -> Metadata {
    field.object(findings);
    field.only(&["labels", "annotations"], findings);
    let (labels_field, annotations_field) = (field.get("labels"), field.get("annotations"));
    let read = Metadata {
        labels: labels_field.text_map(findings),
        annotations: annotations_field.text_map(findings),
    };
    for (field, map, unmanaged) in [
        (&labels_field, &read.labels, &unmanaged.labels),
        (&annotations_field, &read.annotations, &unmanaged.annotations),
    ] {
        for (key, value) in map {
            let path = field.path.key(key);
            let is_label = std::ptr::eq(field, &raw const labels_field);
            // The API server compares annotation keys without regard to case.
            if !names::is_qualified(if is_label { key.clone() } else { key.to_lowercase() }.as_str()) {
                findings.add(
                    &rules::METADATA_SYNTAX,
                    &path,
                    format!("the key {key:?} is malformed"),
                );
            } else if is_label && !names::is_label_value(value) {
                findings.add(
                    &rules::METADATA_SYNTAX,
                    &path,
                    format!("the value {value:?} is malformed"),
                );
            }
            if unmanaged.contains(key) {
                findings.add(
                    &rules::METADATA_UNMANAGED,
                    &path,
                    "declared in unmanagedMetadata too",
                );
            }
        }
    }
    read
}

/// What meshes and ingresses route by. Provider kubernetes ignores all of it, which is said once elsewhere.
fn routes(field: &Field<'_>, provider: &Provider, findings: &mut Findings) {
    let name = match provider {
        Provider::Kubernetes => return,
        Provider::Other(name) => name.as_str(),
    };
    let filled = |key: &str| {
        field
            .get(key)
            .value
            .and_then(Value::as_array)
            .is_some_and(|items| !items.is_empty())
    };
    if field.get("delegation").flag(findings) && (filled("hosts") || filled("gateways")) {
        findings.add(
            &rules::DELEGATION,
            &field.get("delegation").path,
            "set together with hosts or gateways",
        );
    }
    let gateways = field.get("gateways").texts(findings);
    if name == "istio" && !gateways.is_empty() && !gateways.contains(&"mesh") {
        findings.add(&rules::GATEWAY_MESH, &field.get("gateways").path, "without mesh");
    }
    let rewrite = field.get("rewrite").get("type");
    if let Some(kind) = rewrite
        .text(findings)
        .filter(|kind| !["", "ReplacePrefixMatch", "ReplaceFullPath"].contains(kind))
    {
        let near = names::nearest(kind, ["ReplacePrefixMatch", "ReplaceFullPath"]);
        findings
            .add(&rules::REWRITE_TYPE, &rewrite.path, format!("{kind:?}"))
            .fixed_by(near.map_or_else(
                || rules::REWRITE_TYPE.fix.to_owned(),
                |word| format!("did you mean {word}?"),
            ));
    }
    for duration in [
        field.get("timeout"),
        field.get("backendTimeout"),
        field.get("retries").get("perTryTimeout"),
        field.get("corsPolicy").get("maxAge"),
    ] {
        let Some(text) = duration.text(findings).filter(|text| !text.is_empty()) else {
            continue;
        };
        if duration::go(text).is_ok_and(|nanos| nanos >= 0) {
            continue;
        }
        let fix = duration::guess(text).map(|meant| format!("write {meant}"));
        findings
            .add(
                &rules::ROUTE_DURATION,
                &duration.path,
                format!("{text:?} is not a duration"),
            )
            .fixed_by(fix.unwrap_or_else(|| rules::ROUTE_DURATION.fix.to_owned()));
    }
    for mirror in field.get("mirror").objects(&mut Findings::default()) {
        if mirror.is_set() && !mirror.get("backendRef").is_set() {
            findings.add(&rules::MIRROR_BACKEND, &mirror.path.key("backendRef"), "missing");
        }
    }
}
