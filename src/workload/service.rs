//! The three Services of a Canary (flagger-behaviour §4.1).

use serde_json::{Map, Value, json};

use crate::model::canary::{Canary, Metadata, PortRef};

use super::{SelectorLabel, controller_owner, is_owned_by, owner_reference};

/// Tells Flux not to undo what the controller writes; Flagger sets both on every Service it writes.
const FLUX_HANDS_OFF: [(&str, &str); 2] = [
    ("kustomize.toolkit.fluxcd.io/reconcile", "disabled"),
    ("helm.toolkit.fluxcd.io/driftDetection", "disabled"),
];

/// Which of the three Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `<service.name>`: what clients use; selects the primary.
    Apex,
    /// `<service.name>-primary`.
    Primary,
    /// `<service.name>-canary`: selects the target.
    Canary,
}

/// The Service's name.
pub fn name(canary: &Canary, role: Role) -> String {
    match role {
        Role::Apex => canary.service.name.clone(),
        Role::Primary => format!("{}-primary", canary.service.name),
        Role::Canary => format!("{}-canary", canary.service.name),
    }
}

/// Why a live Service is not touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Service {service} is controlled by {kind} {owner}; expected no controller, or this Canary; set spec.service.name to another name or remove that owner"
)]
pub struct OwnedByOther {
    /// The Service.
    pub service: String,
    /// Kind of its controller.
    pub kind: String,
    /// Name of its controller.
    pub owner: String,
}

/// The Service as it should be, given how it is; `None` when nothing has to be written.
///
/// A Service of nobody is adopted: its selector and the ports of the Canary are set, everything else stays. Ports
/// of the Canary's Service replace a port of the same name or number; others stay.
pub fn reconcile(
    canary: &Canary,
    role: Role,
    label: &SelectorLabel,
    target: &Value,
    live: Option<&Value>,
) -> Result<Option<Value>, OwnedByOther> {
    let Some(live) = live else {
        return Ok(Some(render(canary, role, label, target)));
    };
    let owned = is_owned_by(live, canary);
    if !owned && let Some((kind, owner, _)) = controller_owner(live) {
        return Err(OwnedByOther {
            service: name(canary, role),
            kind: kind.to_owned(),
            owner: owner.to_owned(),
        });
    }
    let mut wanted = live.clone();
    wanted["spec"]["selector"] = selector(role, label);
    wanted["spec"]["ports"] = Value::Array(merged_ports(&ports(canary, target), live, owned));
    let mut changed = differs(&wanted, live, "/spec/selector") || differs(&wanted, live, "/spec/ports");
    if owned {
        let unmanaged = &canary.service.unmanaged;
        let labels = with_unmanaged(
            labels(canary, role, label),
            live.pointer("/metadata/labels"),
            &unmanaged.labels,
        );
        let annotations = with_unmanaged(
            annotations(canary, role),
            live.pointer("/metadata/annotations"),
            &unmanaged.annotations,
        );
        wanted["metadata"]["labels"] = Value::Object(labels);
        wanted["metadata"]["annotations"] = Value::Object(annotations);
        changed = changed
            || differs(&wanted, live, "/metadata/labels")
            || differs(&wanted, live, "/metadata/annotations");
    } else if changed {
        if !wanted["metadata"]["annotations"].is_object() {
            wanted["metadata"]["annotations"] = json!({});
        }
        for (key, value) in FLUX_HANDS_OFF {
            wanted["metadata"]["annotations"][key] = json!(value);
        }
    }
    Ok(changed.then_some(wanted))
}

/// The Service as created.
pub fn render(canary: &Canary, role: Role, label: &SelectorLabel, target: &Value) -> Value {
    let mut spec = json!({
        "type": "ClusterIP",
        "selector": selector(role, label),
        "ports": ports(canary, target),
    });
    if canary.service.headless {
        spec["clusterIP"] = json!("None");
    }
    if let Some(distribution) = &canary.service.traffic_distribution {
        spec["trafficDistribution"] = json!(distribution);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name(canary, role),
            "namespace": canary.id.namespace,
            "labels": labels(canary, role, label),
            "annotations": annotations(canary, role),
            "ownerReferences": [owner_reference(canary)],
        },
        "spec": spec,
    })
}

fn differs(wanted: &Value, live: &Value, pointer: &str) -> bool {
    let empty = Value::Object(Map::new());
    wanted.pointer(pointer).unwrap_or(&empty) != live.pointer(pointer).unwrap_or(&empty)
}

fn selector(role: Role, label: &SelectorLabel) -> Value {
    let value = match role {
        Role::Apex | Role::Primary => label.primary(),
        Role::Canary => label.value.clone(),
    };
    json!({ label.key.as_str(): value })
}

fn metadata(canary: &Canary, role: Role) -> &Metadata {
    match role {
        Role::Apex => &canary.service.apex,
        Role::Primary => &canary.service.primary,
        Role::Canary => &canary.service.canary,
    }
}

fn labels(canary: &Canary, role: Role, label: &SelectorLabel) -> Map<String, Value> {
    let mut labels: Map<String, Value> = metadata(canary, role)
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    labels.insert(label.key.clone(), json!(name(canary, role)));
    labels
}

fn annotations(canary: &Canary, role: Role) -> Map<String, Value> {
    let mut annotations: Map<String, Value> = metadata(canary, role)
        .annotations
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    for (key, value) in FLUX_HANDS_OFF {
        annotations.insert(key.to_owned(), json!(value));
    }
    annotations
}

fn with_unmanaged(
    mut wanted: Map<String, Value>,
    live: Option<&Value>,
    keys: &[String],
) -> Map<String, Value> {
    let Some(live) = live.and_then(Value::as_object) else {
        return wanted;
    };
    for key in keys {
        if let Some(value) = live.get(key) {
            wanted.insert(key.clone(), value.clone());
        }
    }
    wanted
}

/// The Canary's own ports: `service.port`, then the discovered container ports.
fn ports(canary: &Canary, target: &Value) -> Vec<Value> {
    let service = &canary.service;
    let target_port = match &service.target_port {
        Some(PortRef::Number(number)) => json!(number),
        Some(PortRef::Name(name)) => json!(name),
        None => json!(service.port),
    };
    let mut first = json!({
        "name": service.port_name,
        "protocol": "TCP",
        "port": service.port,
        "targetPort": target_port,
    });
    if let Some(protocol) = &service.app_protocol {
        first["appProtocol"] = json!(protocol);
    }
    let mut ports = vec![first];
    if service.port_discovery {
        ports.extend(discovered(canary, target));
    }
    ports
}

/// Container ports of the target other than the one the Service already points at. A name or a number/protocol
/// pair is used once; protocols are kept.
fn discovered(canary: &Canary, target: &Value) -> Vec<Value> {
    let service = &canary.service;
    let mut names = vec![service.port_name.clone()];
    let mut numbers = vec![(i64::from(service.port), "TCP".to_owned())];
    let mut found = Vec::new();
    let containers = target
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    for container in containers.into_iter().flatten() {
        let container_name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if matches!(container_name, "istio-proxy" | "envoy") {
            continue;
        }
        let list = container.get("ports").and_then(Value::as_array);
        for (index, port) in list.into_iter().flatten().enumerate() {
            let Some(number) = port.get("containerPort").and_then(Value::as_i64) else {
                continue;
            };
            let port_name = port.get("name").and_then(Value::as_str);
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            let is_target = match &service.target_port {
                Some(PortRef::Number(target)) => number == i64::from(*target),
                Some(PortRef::Name(target)) => port_name == Some(target.as_str()),
                None => number == i64::from(service.port),
            };
            let name = port_name.map_or_else(|| format!("tcp-{container_name}-{index}"), str::to_owned);
            let key = (number, protocol.to_owned());
            if is_target || names.contains(&name) || numbers.contains(&key) {
                continue;
            }
            names.push(name.clone());
            numbers.push(key);
            found.push(json!({ "name": name, "protocol": protocol, "port": number, "targetPort": number }));
        }
    }
    found
}

/// The live list with the Canary's ports in it. `owned`: ports that are not the Canary's go.
fn merged_ports(ours: &[Value], live: &Value, owned: bool) -> Vec<Value> {
    let none = Vec::new();
    let live_ports = live
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .unwrap_or(&none);
    let same = |a: &Value, b: &Value| {
        a.get("name") == b.get("name") || (a.get("port") == b.get("port") && protocol(a) == protocol(b))
    };
    let mut merged: Vec<Value> = Vec::new();
    for port in ours {
        let mut port = port.clone();
        if let Some(old) = live_ports.iter().find(|old| same(old, &port)) {
            for kept in ["nodePort", "appProtocol"] {
                if port.get(kept).is_none()
                    && let Some(value) = old.get(kept)
                {
                    port[kept] = value.clone();
                }
            }
        }
        merged.push(port);
    }
    if !owned {
        let others = live_ports
            .iter()
            .filter(|old| !ours.iter().any(|port| same(old, port)));
        merged.extend(others.cloned());
    }
    // The order of ports means nothing: keep the live order when the sets are equal, so that nothing is written.
    let equal = merged.len() == live_ports.len()
        && merged
            .iter()
            .all(|port| live_ports.iter().any(|old| canonical(old) == canonical(port)));
    if equal { live_ports.clone() } else { merged }
}

fn protocol(port: &Value) -> &str {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")
}

fn canonical(value: &Value) -> String {
    let mut text = String::new();
    crate::model::revision::canonical(value, &mut text);
    text
}
