//! The three Services of a Canary (flagger-behaviour §4.1).

use serde_json::{Map, Value, json};

use crate::model::canary::{Canary, Metadata, PortRef};
use crate::model::names;

use super::{SelectorLabel, controller_owner, is_owned_by, owner_reference, same};

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
pub enum Untouchable {
    /// Another controller owns it.
    #[error(
        "Service {service} is controlled by {kind} {owner}; expected no controller, or this Canary; set spec.service.name to another name or remove that owner"
    )]
    Owned {
        /// The Service.
        service: String,
        /// Kind of its controller.
        kind: String,
        /// Name of its controller.
        owner: String,
    },
    /// A DNS alias has no selector to turn.
    #[error(
        "Service {service} is of type ExternalName; expected a Service that selects pods; set spec.service.name to another name or delete the Service"
    )]
    Alias {
        /// The Service.
        service: String,
    },
}

impl Untouchable {
    /// CamelCase reason of the condition it leads to.
    pub fn reason(&self) -> &'static str {
        match self {
            Untouchable::Owned { .. } => "ServiceOwned",
            Untouchable::Alias { .. } => "ServiceIsAlias",
        }
    }
}

/// The Service as it should be, given how it is; `None` when nothing has to be written.
///
/// A Service of nobody is adopted: its selector and the ports of the Canary are set, everything else stays. Ports
/// of the Canary replace a port of the same name or number; others stay. On a Service of ours ports and metadata
/// are the Canary's alone, but for `unmanagedMetadata`.
pub fn reconcile(
    canary: &Canary,
    role: Role,
    label: &SelectorLabel,
    target: &Value,
    live: Option<&Value>,
) -> Result<Option<Value>, Untouchable> {
    let Some(live) = live else {
        return Ok(Some(render(canary, role, label, target)));
    };
    let owned = is_owned_by(live, canary);
    if !owned && let Some((kind, owner, _)) = controller_owner(live) {
        return Err(Untouchable::Owned {
            service: name(canary, role),
            kind: kind.to_owned(),
            owner: owner.to_owned(),
        });
    }
    if live.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName") {
        return Err(Untouchable::Alias {
            service: name(canary, role),
        });
    }
    let mut wanted = live.clone();
    wanted["spec"]["selector"] = selector(role, label);
    wanted["spec"]["ports"] = Value::Array(merged_ports(&ports(canary, target), live, owned));
    let mut changed = differs(&wanted, live, "/spec/selector") || differs(&wanted, live, "/spec/ports");
    if owned {
        if let Some(distribution) = &canary.service.traffic_distribution {
            wanted["spec"]["trafficDistribution"] = json!(distribution);
            changed = changed || differs(&wanted, live, "/spec/trafficDistribution");
        }
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

/// What the apex selects once the Canary is gone: on a Service of nobody what `kubectl apply` wrote last, else the
/// target's pods.
pub fn restored(canary: &Canary, live: &Value, label: &SelectorLabel) -> Value {
    let applied = live
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get("kubectl.kubernetes.io/last-applied-configuration"))
        .and_then(Value::as_str)
        .filter(|_| !is_owned_by(live, canary))
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .and_then(|manifest| manifest.pointer("/spec/selector").cloned())
        .filter(|selector| selector.as_object().is_some_and(|map| !map.is_empty()));
    applied.unwrap_or_else(|| selector(Role::Canary, label))
}

fn differs(wanted: &Value, live: &Value, pointer: &str) -> bool {
    !same(wanted.pointer(pointer), live.pointer(pointer))
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
            let name = port_name.map_or_else(|| generated(container_name, index, number), str::to_owned);
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

/// Flagger's name for a port without one; that of a container with a very long name is no name of a port.
fn generated(container: &str, index: usize, number: i64) -> String {
    let name = format!("tcp-{container}-{index}");
    if name.len() <= names::LABEL_MAX {
        name
    } else {
        format!("tcp-{number}-{index}")
    }
}

/// The live list with the Canary's ports in it. `owned`: ports that are not the Canary's go.
fn merged_ports(ours: &[Value], live: &Value, owned: bool) -> Vec<Value> {
    let none = Vec::new();
    let live_ports = live
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .unwrap_or(&none);
    // A live port is succeeded by one port at most: first by name, then by number.
    let mut heirs: Vec<Option<usize>> = vec![None; live_ports.len()];
    for by_name in [true, false] {
        for (index, port) in ours.iter().enumerate() {
            if heirs.contains(&Some(index)) {
                continue;
            }
            let matches = |old: &Value| {
                if by_name {
                    old.get("name") == port.get("name")
                } else {
                    old.get("port") == port.get("port") && protocol(old) == protocol(port)
                }
            };
            let at = (0..live_ports.len()).find(|at| heirs[*at].is_none() && matches(&live_ports[*at]));
            if let Some(at) = at {
                heirs[at] = Some(index);
            }
        }
    }
    let mut merged: Vec<Value> = ours.to_vec();
    for (old, heir) in live_ports.iter().zip(&heirs) {
        let Some(port) = heir.and_then(|index| merged.get_mut(index)) else {
            continue;
        };
        // A node port is open for one protocol.
        let node_port = old
            .get("nodePort")
            .filter(|_| protocol(old) == protocol(port))
            .cloned();
        for (kept, value) in [
            ("nodePort", node_port),
            ("appProtocol", old.get("appProtocol").cloned()),
        ] {
            if port.get(kept).is_none()
                && let Some(value) = value
            {
                port[kept] = value;
            }
        }
    }
    if !owned {
        for (old, heir) in live_ports.iter().zip(&heirs) {
            let taken = |port: &Value| {
                old.get("port") == port.get("port") && protocol(old) == protocol(port)
                    || old.get("name") == port.get("name")
            };
            if heir.is_some() || merged.iter().any(taken) {
                continue;
            }
            let mut other = old.clone();
            // With more than one port each must have a name.
            if other.get("name").is_none() {
                let number = other.get("port").and_then(Value::as_i64).unwrap_or_default();
                other["name"] = json!(format!("{}-{number}", protocol(old).to_lowercase()));
            }
            merged.push(other);
        }
    }
    // The order of ports means nothing: keep the live order when the sets are equal, so that nothing is written.
    let equal = merged.len() == live_ports.len()
        && merged
            .iter()
            .all(|port| live_ports.iter().any(|old| same(Some(old), Some(port))));
    if equal { live_ports.clone() } else { merged }
}

fn protocol(port: &Value) -> &str {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::Options;
    use crate::workload::fixture::{canary, deployment};
    use crate::workload::selector_label;

    const ROLES: [Role; 3] = [Role::Apex, Role::Primary, Role::Canary];

    fn label() -> SelectorLabel {
        selector_label(&deployment(), &Options::default()).unwrap()
    }

    fn target(containers: Value) -> Value {
        let mut target = deployment();
        target["spec"]["template"]["spec"]["containers"] = containers;
        target
    }

    /// `name port/protocol->targetPort` of every port.
    fn shown(service: &Value) -> Vec<String> {
        let ports = service["spec"]["ports"].as_array().unwrap();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        ports
            .iter()
            .map(|port| {
                let node = port
                    .get("nodePort")
                    .map_or(String::new(), |node| format!(" @{node}"));
                let name = port.get("name").map_or("-".to_owned(), text);
                let (number, target) = (&port["port"], text(&port["targetPort"]));
                format!("{name} {number}/{}->{target}{node}", protocol(port))
            })
            .collect()
    }

    /// What an API server adds to a Service it is given.
    fn stored(mut service: Value) -> Value {
        let spec = &mut service["spec"];
        if spec.get("clusterIP").is_none() {
            spec["clusterIP"] = json!("10.96.0.7");
            spec["clusterIPs"] = json!(["10.96.0.7"]);
        }
        for (key, value) in [
            ("internalTrafficPolicy", json!("Cluster")),
            ("ipFamilies", json!(["IPv4"])),
            ("ipFamilyPolicy", json!("SingleStack")),
            ("sessionAffinity", json!("None")),
        ] {
            spec[key] = value;
        }
        service["metadata"]["uid"] = json!("uid-5");
        service["metadata"]["resourceVersion"] = json!("17");
        service["status"] = json!({"loadBalancer": {}});
        service
    }

    #[test]
    fn three_services_are_made_as_flagger_makes_them() {
        let mut canary = canary();
        canary
            .service
            .apex
            .labels
            .insert("tier".to_owned(), "web".to_owned());
        canary
            .service
            .apex
            .annotations
            .insert("a".to_owned(), "b".to_owned());
        let table = [
            (Role::Apex, "podinfo", "podinfo-primary"),
            (Role::Primary, "podinfo-primary", "podinfo-primary"),
            (Role::Canary, "podinfo-canary", "podinfo"),
        ];
        for (role, name, selects) in table {
            let service = render(&canary, role, &label(), &deployment());
            assert_eq!(service["metadata"]["name"], name);
            assert_eq!(service["metadata"]["labels"]["app"], name);
            assert_eq!(service["spec"]["selector"], json!({"app": selects}));
            assert_eq!(service["spec"]["type"], "ClusterIP");
            let own = usize::from(role == Role::Apex);
            assert_eq!(service["metadata"]["labels"].as_object().unwrap().len(), 1 + own);
            assert_eq!(
                service["metadata"]["annotations"].as_object().unwrap().len(),
                2 + own
            );
        }
    }

    #[test]
    fn headless_and_distribution_are_set_at_creation() {
        let mut canary = canary();
        canary.service.headless = true;
        canary.service.traffic_distribution = Some("PreferClose".to_owned());
        canary.service.app_protocol = Some("grpc".to_owned());
        let service = render(&canary, Role::Primary, &label(), &deployment());
        assert_eq!(service["spec"]["clusterIP"], "None");
        assert_eq!(service["spec"]["trafficDistribution"], "PreferClose");
        assert_eq!(service["spec"]["ports"][0]["appProtocol"], "grpc");
    }

    #[test]
    fn ports_are_discovered() {
        let containers = json!([
            {"name": "istio-proxy", "ports": [{"containerPort": 15090}]},
            {"name": "podinfo", "ports": [
                {"name": "http", "containerPort": 9898},
                {"name": "http-metrics", "containerPort": 8080},
                {"containerPort": 8888},
                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
            ]},
            {"name": "side", "ports": [
                {"name": "http-metrics", "containerPort": 8081},
                {"name": "again", "containerPort": 8080},
            ]},
        ]);
        let target = target(containers);
        let table: [(Option<PortRef>, &[&str]); 3] = [
            (
                Some(PortRef::Number(9898)),
                &[
                    "http 80/TCP->9898",
                    "http-metrics 8080/TCP->8080",
                    "tcp-podinfo-2 8888/TCP->8888",
                    "dns 53/UDP->53",
                    "dns-tcp 53/TCP->53",
                ],
            ),
            (
                Some(PortRef::Name("dns".to_owned())),
                &[
                    "http 80/TCP->dns",
                    "http-metrics 8080/TCP->8080",
                    "tcp-podinfo-2 8888/TCP->8888",
                    "dns-tcp 53/TCP->53",
                ],
            ),
            (
                None,
                &[
                    "http 80/TCP->80",
                    "http-metrics 8080/TCP->8080",
                    "tcp-podinfo-2 8888/TCP->8888",
                    "dns 53/UDP->53",
                    "dns-tcp 53/TCP->53",
                ],
            ),
        ];
        let mut canary = canary();
        canary.service.port_discovery = true;
        for (target_port, expected) in table {
            canary.service.target_port = target_port;
            assert_eq!(shown(&render(&canary, Role::Apex, &label(), &target)), expected);
        }
        canary.service.port_discovery = false;
        assert_eq!(shown(&render(&canary, Role::Apex, &label(), &target)).len(), 1);
    }

    /// flagger-behaviour §4.1, what an API server would refuse or Flagger never changes.
    #[test]
    fn a_service_of_ours_follows_the_canary_and_keeps_its_address() {
        let mut canary = canary();
        let mut live = stored(render(&canary, Role::Apex, &label(), &deployment()));
        live["spec"]["clusterIP"] = json!("10.0.0.7");
        live["spec"]["sessionAffinity"] = json!("ClientIP");
        assert_eq!(
            reconcile(&canary, Role::Apex, &label(), &deployment(), Some(&live)),
            Ok(None)
        );
        canary.service.traffic_distribution = Some("PreferSameZone".to_owned());
        canary.service.headless = true;
        let wanted = reconcile(&canary, Role::Apex, &label(), &deployment(), Some(&live))
            .unwrap()
            .unwrap();
        assert_eq!(wanted["spec"]["trafficDistribution"], "PreferSameZone");
        assert_eq!(
            (&wanted["spec"]["clusterIP"], &wanted["spec"]["sessionAffinity"]),
            (&json!("10.0.0.7"), &json!("ClientIP")),
            "an address never changes"
        );
        let mut adopted = live;
        adopted["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("ownerReferences");
        assert_eq!(
            reconcile(&canary, Role::Apex, &label(), &deployment(), Some(&adopted)),
            Ok(None),
            "what is adopted keeps it"
        );
    }

    #[test]
    fn ports_that_cannot_be_are_not_made() {
        let mut canary = canary();
        canary.service.port_discovery = true;
        let long = "c".repeat(63);
        let containers = json!([
            {"name": "istio-proxy", "ports": [{"containerPort": 15000}]},
            {"name": "envoy", "ports": [{"containerPort": 15001}]},
            {"name": long, "ports": [{"containerPort": 7000}, {"containerPort": 7001, "protocol": "UDP"}]},
        ]);
        let mut target = target(containers);
        target["spec"]["template"]["spec"]["initContainers"] =
            json!([{"name": "sidecar", "restartPolicy": "Always", "ports": [{"containerPort": 8000}]}]);
        let made = render(&canary, Role::Apex, &label(), &target);
        let found: Vec<String> = shown(&made).into_iter().skip(1).collect();
        assert_eq!(
            found,
            ["tcp-7000-0 7000/TCP->7000", "tcp-7001-1 7001/UDP->7001"],
            "proxies and init containers are not scanned"
        );
    }

    #[test]
    fn a_service_of_nobody_is_adopted_with_its_other_ports() {
        let mut canary = canary();
        canary.service.target_port = Some(PortRef::Number(9898));
        let live = |ports: Value| {
            let mut live = stored(json!({
                "metadata": {"name": "podinfo", "labels": {"mine": "x"}},
                "spec": {"type": "NodePort", "selector": {"app": "podinfo", "v": "1"}, "ports": ports},
            }));
            live["spec"]["externalTrafficPolicy"] = json!("Local");
            live
        };
        let table: [(Value, &[&str]); 6] = [
            // The same name with another number is replaced; so is the same number with another name.
            (
                json!([{"name": "http", "port": 8080, "targetPort": 8080, "nodePort": 30001}, {"name": "grpc", "port": 90, "targetPort": 9090, "nodePort": 30002}]),
                &["http 80/TCP->9898 @30001", "grpc 90/TCP->9090 @30002"],
            ),
            (
                json!([{"name": "web", "port": 80, "targetPort": "web", "nodePort": 30001}]),
                &["http 80/TCP->9898 @30001"],
            ),
            // The only port may have no name; beside another it must have one.
            (json!([{"port": 80, "targetPort": 1}]), &["http 80/TCP->9898"]),
            (
                json!([{"port": 8443, "targetPort": 8443, "protocol": "TCP"}]),
                &["http 80/TCP->9898", "tcp-8443 8443/TCP->8443"],
            ),
            // One of ours by name, another of the same number: never twice the same node port or number.
            (
                json!([{"name": "http", "port": 8080, "targetPort": 1, "nodePort": 30001}, {"name": "web", "port": 80, "targetPort": 2, "nodePort": 30002}]),
                &["http 80/TCP->9898 @30001"],
            ),
            (
                json!([{"name": "dns", "port": 80, "protocol": "UDP", "targetPort": 53, "nodePort": 30001}]),
                &["http 80/TCP->9898", "dns 80/UDP->53 @30001"],
            ),
        ];
        for (ports, expected) in table {
            let live = live(ports);
            let wanted = reconcile(&canary, Role::Apex, &label(), &deployment(), Some(&live))
                .unwrap()
                .unwrap();
            assert_eq!(shown(&wanted), expected, "{live}");
            assert_eq!(
                wanted["spec"]["selector"],
                json!({"app": "podinfo-primary"}),
                "as a whole"
            );
            assert_eq!(
                wanted["metadata"]["labels"],
                json!({"mine": "x"}),
                "not ours to manage"
            );
            assert_eq!(wanted["spec"]["externalTrafficPolicy"], "Local");
            for (key, value) in FLUX_HANDS_OFF {
                assert_eq!(wanted["metadata"]["annotations"][key], value);
            }
            assert_eq!(
                reconcile(&canary, Role::Apex, &label(), &deployment(), Some(&wanted)),
                Ok(None)
            );
        }
    }

    #[test]
    fn the_service_of_another_controller_and_an_alias_are_refused() {
        let mut live = stored(render(&canary(), Role::Apex, &label(), &deployment()));
        let owner = &mut live["metadata"]["ownerReferences"][0];
        owner["uid"] = json!("uid-other");
        owner["name"] = json!("backend");
        let refused =
            |live: &Value| reconcile(&canary(), Role::Apex, &label(), &deployment(), Some(live)).unwrap_err();
        assert_eq!(refused(&live).reason(), "ServiceOwned");
        let text = refused(&live).to_string();
        assert!(
            text.contains("Canary backend") && text.contains("spec.service.name"),
            "{text}"
        );
        live["metadata"]["ownerReferences"][0]["controller"] = json!(false);
        assert!(reconcile(&canary(), Role::Apex, &label(), &deployment(), Some(&live)).is_ok());
        let alias =
            json!({"metadata": {"name": "podinfo"}, "spec": {"type": "ExternalName", "externalName": "a.b"}});
        assert_eq!(refused(&alias).reason(), "ServiceIsAlias");
    }

    #[test]
    fn the_apex_goes_back_to_what_its_owner_applied() {
        let adopted = |applied: &str| {
            json!({
                "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}},
                "spec": {"selector": {"app": "podinfo-primary"}},
            })
        };
        let mut ours = adopted(r#"{"spec": {"selector": {"x": "y"}}}"#);
        ours["metadata"]["ownerReferences"] = json!([owner_reference(&canary())]);
        let table = [
            (
                adopted(r#"{"spec": {"selector": {"app": "podinfo", "tier": "web"}}}"#),
                json!({"app": "podinfo", "tier": "web"}),
            ),
            (
                adopted(r#"{"spec": {"selector": {}}}"#),
                json!({"app": "podinfo"}),
            ),
            (adopted("not JSON"), json!({"app": "podinfo"})),
            (json!({"metadata": {}}), json!({"app": "podinfo"})),
            (ours, json!({"app": "podinfo"})),
        ];
        for (live, expected) in table {
            assert_eq!(restored(&canary(), &live, &label()), expected, "{live}");
        }
    }

    #[test]
    fn metadata_of_our_own_service_is_ours_but_for_unmanaged_keys() {
        let mut canary = canary();
        canary.service.unmanaged.labels = vec!["keep".to_owned(), "absent".to_owned()];
        canary.service.unmanaged.annotations = vec!["note".to_owned()];
        let mut live = stored(render(&canary, Role::Apex, &label(), &deployment()));
        for key in ["keep", "drop"] {
            live["metadata"]["labels"][key] = json!("x");
        }
        for key in ["note", "other"] {
            live["metadata"]["annotations"][key] = json!("x");
        }
        live["spec"]["ports"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "extra", "port": 1}));
        let wanted = reconcile(&canary, Role::Apex, &label(), &deployment(), Some(&live))
            .unwrap()
            .unwrap();
        assert_eq!(
            wanted["metadata"]["labels"],
            json!({"app": "podinfo", "keep": "x"})
        );
        let annotations = wanted["metadata"]["annotations"].as_object().unwrap();
        assert!(annotations.len() == 3 && annotations.contains_key("note"));
        assert_eq!(
            shown(&wanted),
            ["http 80/TCP->80"],
            "a port that is not the Canary's goes"
        );
    }

    fn containers() -> impl Strategy<Value = Value> {
        let port = (
            1..5_i64,
            proptest::option::of("[ab]{1,2}"),
            prop_oneof![Just(None), Just(Some("TCP")), Just(Some("UDP"))],
        )
            .prop_map(|(number, name, protocol)| {
                json!({"containerPort": number, "name": name, "protocol": protocol})
            });
        let ports = proptest::collection::vec(port, 0..5);
        proptest::collection::vec(ports, 0..3).prop_map(|containers| {
            let container =
                |(index, ports): (usize, Vec<Value>)| json!({"name": format!("c{index}"), "ports": ports});
            Value::Array(containers.into_iter().enumerate().map(container).collect())
        })
    }

    fn live_ports() -> impl Strategy<Value = Vec<Value>> {
        let port = (1..5_i64, "[ab]{1,2}|http", prop_oneof![Just("TCP"), Just("UDP")]);
        proptest::collection::vec(port, 1..4).prop_map(|ports| {
            // A list an API server takes: names and numbers once each.
            let mut taken: Vec<Value> = Vec::new();
            for (index, (number, name, protocol)) in ports.into_iter().enumerate() {
                let fresh = taken.iter().all(|one| {
                    one["name"] != json!(name)
                        && (one["port"] != json!(number) || one["protocol"] != json!(protocol))
                });
                if fresh {
                    taken.push(json!({
                        "name": name, "port": number, "protocol": protocol,
                        "targetPort": number, "nodePort": 30_000 + index,
                    }));
                }
            }
            taken
        })
    }

    proptest! {
        /// Whatever is there, an API server takes the result, and writing it once is enough.
        #[test]
        fn ports_are_valid_and_settle(
            containers in containers(),
            ports in live_ports(),
            number in 1..5_u16,
            target_port in prop_oneof![
                Just(None), (1..5_u16).prop_map(|n| Some(PortRef::Number(n))), Just(Some(PortRef::Name("a".to_owned()))),
            ],
            owned: bool,
        ) {
            let mut canary = canary();
            canary.service.port = number;
            canary.service.target_port = target_port;
            canary.service.port_discovery = true;
            let target = target(containers);
            let mut adopted = stored(json!({"metadata": {"name": "podinfo"}, "spec": {"type": "NodePort", "ports": ports}}));
            if owned {
                adopted["metadata"]["ownerReferences"] = json!([owner_reference(&canary)]);
            }
            for role in ROLES {
                for live in [None, Some(&adopted)] {
                    let wanted = reconcile(&canary, role, &label(), &target, live).unwrap().unwrap();
                    let listed = wanted["spec"]["ports"].as_array().unwrap();
                    for (index, one) in listed.iter().enumerate() {
                        for other in &listed[..index] {
                            prop_assert_ne!(&one["name"], &other["name"]);
                            prop_assert!(one["port"] != other["port"] || protocol(one) != protocol(other));
                            prop_assert!(
                                one.get("nodePort").is_none_or(|node| Some(node) != other.get("nodePort")),
                                "{:?}", listed
                            );
                        }
                    }
                    // Anywhere: an adopted Service that needs nothing keeps the order of its ports.
                    prop_assert!(
                        listed.iter().any(|one| one["port"] == json!(number) && protocol(one) == "TCP"),
                        "the Canary's own port is there: {:?}", listed
                    );
                    prop_assert_eq!(reconcile(&canary, role, &label(), &target, Some(&stored(wanted))), Ok(None));
                }
            }
        }
    }
}
