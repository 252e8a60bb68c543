//! Services: the apex, those that lose their pods, the ports, the hosts of hooks.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::canary::{Canary, PortRef, TargetKind};
use crate::model::names;
use crate::model::parse::fields::Findings;
use crate::model::rules;
use crate::model::violation::FieldPath;

use super::keeper::{Keeper, Kept, keeper};
use super::{Surroundings, bereft, foreign_controller, is_ours, name_of, selector};

/// Judges the Services of the namespace.
pub(super) fn judge(canary: &Canary, surroundings: &Surroundings, findings: &mut Findings) {
    let Some(services) = &surroundings.services else {
        return;
    };
    hook_hosts(canary, services, findings);
    match canary.target.kind {
        TargetKind::Service | TargetKind::Knative => return,
        TargetKind::Deployment | TargetKind::DaemonSet => {}
    }
    let path = FieldPath::of("spec.service.name");
    let apex = canary.service.name.as_str();
    let derived = [names::primary(apex), names::canary(apex)];
    let target = surroundings.target.present();
    let key = target.and_then(|target| selector(target, surroundings));
    for service in services {
        let name = name_of(service);
        if derived.iter().any(|derived| derived == name) || name == apex {
            if let Some(gone) = bereft(service, canary, surroundings) {
                let found = format!("Service {name} belonged to Canary {gone}");
                findings.add(&rules::LEFTOVER, &path, found);
                continue;
            }
            if let Some(owner) = foreign_controller(service, canary) {
                findings.add(
                    &rules::APEX_FOREIGN,
                    &path,
                    format!("Service {name} is controlled by {owner}"),
                );
                continue;
            }
            if name != apex {
                continue;
            }
            judge_apex(canary, service, surroundings, findings);
        } else if let (Some((key, value)), Some(target)) = (key, target) {
            let labels = &target["spec"]["template"]["metadata"]["labels"];
            if service["spec"]["selector"][key] == value
                && selects(service, labels)
                && !is_ours(service, canary)
            {
                let found = format!("Service {name} selects {key}={value}");
                findings.add(&rules::SERVICE_STRANDED, &FieldPath::of("spec.targetRef"), found);
            }
        }
    }
}

fn judge_apex(canary: &Canary, service: &Value, surroundings: &Surroundings, findings: &mut Findings) {
    let path = FieldPath::of("spec.service.name");
    let name = name_of(service);
    if is_ours(service, canary) {
        return;
    }
    if service["spec"]["type"] == "ExternalName" {
        findings.add(
            &rules::APEX_TYPE,
            &path,
            format!("Service {name} is an ExternalName"),
        );
    }
    let headless = service["spec"]["clusterIP"] == "None";
    if canary.service.headless && !headless {
        findings
            .add(
                &rules::HEADLESS_PORT,
                &FieldPath::of("spec.service.headless"),
                format!("Service {name} exists with a clusterIP"),
            )
            .expecting("the cluster address of an existing Service never changes")
            .fixed_by("delete the Service first, or remove headless");
    }
    match keeper(service, Kept::Selector) {
        Some(Keeper::Tool(tool, fix)) => {
            let found = format!("{tool} reconciles Service {name}");
            findings.add(&rules::RECONCILED, &path, found).fixed_by(fix);
        }
        Some(Keeper::Manager(manager)) => {
            let found = format!("{manager} applies spec.selector of Service {name}");
            let fix = format!("leave spec.selector out of what {manager} applies");
            findings.add(&rules::RECONCILED, &path, found).fixed_by(fix);
        }
        None => {}
    }
    let primary = names::primary(&canary.target.name);
    let others: Vec<_> = surroundings
        .workloads
        .iter()
        .filter(|other| name_of(other) != canary.target.name && name_of(other) != primary)
        .filter(|other| selects(service, &other["spec"]["template"]["metadata"]["labels"]))
        .map(|other| name_of(other))
        .collect();
    if !others.is_empty() {
        findings.add(
            &rules::APEX_WIDE,
            &path,
            format!("Service {name} selects pods of {} too", others.join(", ")),
        );
    }
    let covered = |port: &Value| {
        let number = port["port"].as_u64();
        let discovered = canary.service.port_discovery
            && surroundings
                .target
                .present()
                .is_some_and(|target| ports(target).any(|p| p.number == number));
        number == Some(canary.service.port.into())
            || port["name"] == canary.service.port_name.as_str()
            || discovered
    };
    let lost: Vec<_> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|port| !covered(port))
        .map(|port| port["port"].to_string())
        .collect();
    if !lost.is_empty() {
        let found = format!("Service {name} has port {} besides", lost.join(", "));
        findings.add(&rules::PORTS_LOST, &FieldPath::of("spec.service"), found);
    }
}

/// Whether a Service's selector matches these pod labels; an empty selector matches nothing.
fn selects(service: &Value, labels: &Value) -> bool {
    let Some(selector) = service["spec"]["selector"].as_object() else {
        return false;
    };
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A port a container declares.
struct Declared<'a> {
    container: &'a str,
    name: &'a str,
    number: Option<u64>,
    protocol: &'a str,
}

fn ports(target: &Value) -> impl Iterator<Item = Declared<'_>> {
    target["spec"]["template"]["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|container| {
            container["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|port| Declared {
                    container: container["name"].as_str().unwrap_or_default(),
                    name: port["name"].as_str().unwrap_or_default(),
                    number: port["containerPort"].as_u64(),
                    protocol: port["protocol"].as_str().unwrap_or("TCP"),
                })
        })
}

/// Judges `targetPort` and discovered ports by what the containers declare.
pub(super) fn judge_ports(canary: &Canary, target: &Value, findings: &mut Findings) {
    match canary.target.kind {
        TargetKind::Service | TargetKind::Knative => return,
        TargetKind::Deployment | TargetKind::DaemonSet => {}
    }
    let service = &canary.service;
    let path = FieldPath::of("spec.service.targetPort");
    let declared: Vec<_> = ports(target).collect();
    let own = PortRef::Number(service.port);
    let wanted = service.target_port.as_ref().unwrap_or(&own);
    let meets = |port: &Declared<'_>| match wanted {
        PortRef::Number(number) => port.number == Some(u64::from(*number)),
        PortRef::Name(name) => port.name == name,
    };
    match wanted {
        PortRef::Name(name) if !declared.iter().any(meets) => {
            let names: Vec<_> = declared
                .iter()
                .map(|port| port.name)
                .filter(|name| !name.is_empty())
                .collect();
            let fix = names::nearest(name, names).map(|name| format!("did you mean {name}?"));
            let found = findings.add(
                &rules::PORT_UNKNOWN,
                &path,
                format!("{name:?} is no container port"),
            );
            if let Some(fix) = fix {
                found.fixed_by(fix);
            }
        }
        PortRef::Number(number) if !declared.is_empty() && !declared.iter().any(meets) => {
            findings.add(&rules::PORT_UNDECLARED, &path, number.to_string());
        }
        PortRef::Name(_) | PortRef::Number(_) => {}
    }
    if !service.port_discovery {
        return;
    }
    let path = FieldPath::of("spec.service.portDiscovery");
    let mut taken: BTreeMap<u64, &str> = BTreeMap::from([(service.port.into(), "service.port")]);
    for port in declared
        .iter()
        .filter(|port| !["istio-proxy", "envoy"].contains(&port.container) && !meets(port))
    {
        let Some(number) = port.number else { continue };
        let shown = if port.name.is_empty() {
            port.container
        } else {
            port.name
        };
        if let Some(other) = taken.insert(number, shown) {
            findings.add(
                &rules::PORT_CLASH,
                &path,
                format!("port {number} of {shown} is also {other}"),
            );
        } else if port.name == service.port_name {
            findings.add(
                &rules::PORT_CLASH,
                &path,
                format!("{shown} ({number}) has the name of service.port"),
            );
        }
        if port.name.is_empty() {
            findings.add(
                &rules::PORT_UNNAMED,
                &path,
                format!("port {number} of container {}", port.container),
            );
        }
        if port.protocol != "TCP" {
            findings.add(
                &rules::PORT_NOT_TCP,
                &path,
                format!("port {number} is {}", port.protocol),
            );
        }
    }
}

/// Hosts `service`, `service.namespace` and `service.namespace.svc…` of this namespace must be Services.
fn hook_hosts(canary: &Canary, services: &[Arc<Value>], findings: &mut Findings) {
    let own = [
        canary.service.name.clone(),
        names::primary(&canary.service.name),
        names::canary(&canary.service.name),
    ];
    for (index, hook) in canary.analysis.hooks.iter().enumerate() {
        let Some(url) = url::Url::parse(&hook.url).ok() else {
            continue;
        };
        let Some(url::Host::Domain(host)) = url.host() else {
            continue;
        };
        let host = host
            .trim_end_matches('.')
            .trim_end_matches(".cluster.local")
            .trim_end_matches(".svc");
        let name = match host.split_once('.') {
            None if host != "localhost" => host,
            Some((name, namespace)) if namespace == canary.id.namespace => name,
            _ => continue,
        };
        if !own.iter().any(|own| own == name) && !services.iter().any(|service| name_of(service) == name) {
            let path = FieldPath::of("spec.analysis.webhooks").index(index).key("url");
            findings.add(
                &rules::HOOK_SERVICE_ABSENT,
                &path,
                format!("Service {name}.{} does not exist", canary.id.namespace),
            );
        }
    }
}
