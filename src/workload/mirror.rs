//! A core Service as target: its `-canary` and `-primary` copies (flagger-behaviour §3.4).
//!
//! Nothing routes to them on provider kubernetes: the target itself stays what clients use, and is never written.

use serde_json::{Map, Value, json};

use crate::model::canary::Canary;
use crate::model::revision::Revision;

use super::service::Untouchable;
use super::{
    Options, REVISION_ANNOTATION, controller_owner, filtered, is_owned_by, owner_reference, patch,
    primary_name,
};

/// Fields an API server gives to each Service itself.
const ALLOCATED: [&str; 5] = [
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "healthCheckNodePort",
];

/// `<target>-canary`.
pub fn canary_name(canary: &Canary) -> String {
    format!("{}-canary", canary.target.name)
}

/// The `-canary` copy as it should be: the target as it is now. `None` when nothing has to be written.
pub fn follow(canary: &Canary, target: &Value, live: Option<&Value>) -> Result<Option<Value>, Untouchable> {
    let metadata = |field: &str| -> Map<String, Value> {
        let entries = target
            .pointer(&format!("/metadata/{field}"))
            .and_then(Value::as_object);
        entries
            .into_iter()
            .flatten()
            .filter(|(key, _)| !key.starts_with("kubectl.kubernetes.io/"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    if let Some(live) = live
        && !is_owned_by(live, canary)
    {
        let (kind, owner, _) = controller_owner(live).unwrap_or(("nobody", "", ""));
        return Err(Untouchable::Owned {
            service: canary_name(canary),
            kind: kind.to_owned(),
            owner: owner.to_owned(),
        });
    }
    let source = target.get("spec").cloned().unwrap_or_else(|| json!({}));
    let wanted = object(
        canary,
        &canary_name(canary),
        &source,
        live,
        metadata("labels"),
        metadata("annotations"),
    );
    let written = live.is_none_or(|live| patch::merge(live, &wanted).is_some());
    Ok(written.then_some(wanted))
}

/// The `-primary` copy rendered from a recorded target.
pub fn primary(
    source: &Value,
    live: Option<&Value>,
    revision: &Revision,
    canary: &Canary,
    options: &Options,
) -> Value {
    let labels = filtered(source.pointer("/metadata/labels"), options);
    let mut annotations = filtered(source.pointer("/metadata/annotations"), options);
    annotations.insert(REVISION_ANNOTATION.to_owned(), Value::String(revision.identity()));
    let spec = source.get("spec").cloned().unwrap_or_else(|| json!({}));
    object(canary, &primary_name(canary), &spec, live, labels, annotations)
}

fn object(
    canary: &Canary,
    name: &str,
    source: &Value,
    live: Option<&Value>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
) -> Value {
    let mut object = live.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": name,
                "namespace": canary.id.namespace,
                "ownerReferences": [owner_reference(canary)],
            },
        })
    });
    for (field, entries) in [("labels", labels), ("annotations", annotations)] {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            if entries.is_empty() {
                metadata.remove(field);
            } else {
                metadata.insert(field.to_owned(), Value::Object(entries));
            }
        }
    }
    object["spec"] = spec(canary, source, live.and_then(|live| live.get("spec")));
    object
}

/// The source's spec with what an API server allocated to it replaced by what it allocated to the copy.
fn spec(canary: &Canary, source: &Value, live: Option<&Value>) -> Value {
    let mut spec = source.clone();
    let word = |field: &str| source.get(field).and_then(Value::as_str).unwrap_or_default();
    let (service_type, headless) = (word("type"), word("clusterIP") == "None");
    let node_ports = matches!(service_type, "NodePort" | "LoadBalancer");
    if let Some(map) = spec.as_object_mut() {
        for field in ALLOCATED {
            map.remove(field);
        }
        if headless {
            map.insert("clusterIP".to_owned(), json!("None"));
        }
        if let Some(distribution) = &canary.service.traffic_distribution {
            map.insert("trafficDistribution".to_owned(), json!(distribution));
        }
        let kept = live.filter(|_| service_type != "ExternalName").into_iter();
        for (field, value) in kept.filter_map(Value::as_object).flatten() {
            let checked = service_type == "LoadBalancer" && word("externalTrafficPolicy") == "Local";
            if ALLOCATED.contains(&field.as_str()) && (field != "healthCheckNodePort" || checked) {
                map.insert(field.clone(), value.clone());
            }
        }
    }
    let none = Vec::new();
    let live_ports = live
        .and_then(|live| live.get("ports"))
        .and_then(Value::as_array)
        .unwrap_or(&none);
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let key = |port: &Value| ["name", "port", "protocol"].map(|field| port.get(field).cloned());
        let node_port = live_ports
            .iter()
            .find(|old| key(old) == key(port))
            .and_then(|old| old.get("nodePort"))
            .filter(|_| node_ports);
        if let Some(map) = port.as_object_mut() {
            map.remove("nodePort");
            if let Some(node_port) = node_port {
                map.insert("nodePort".to_owned(), node_port.clone());
            }
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::canary::TargetKind;
    use crate::workload::fixture::canary;
    use crate::workload::{record, same};

    fn service_canary() -> Canary {
        let mut canary = canary();
        canary.target.kind = TargetKind::Service;
        canary
    }

    fn target() -> Value {
        json!({
            "metadata": {
                "name": "podinfo",
                "labels": {"app": "podinfo"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"},
            },
            "spec": {
                "type": "NodePort",
                "clusterIP": "10.96.0.1",
                "clusterIPs": ["10.96.0.1"],
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "selector": {"app": "podinfo", "version": "1"},
                "sessionAffinity": "None",
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http", "nodePort": 30001}],
            },
        })
    }

    fn stored(mut object: Value, ip: &str) -> Value {
        object["metadata"]["resourceVersion"] = json!("4");
        object["spec"]["clusterIP"] = json!(ip);
        object["spec"]["clusterIPs"] = json!([ip]);
        object["spec"]["ipFamilies"] = json!(["IPv4"]);
        object["spec"]["ipFamilyPolicy"] = json!("SingleStack");
        object["spec"]["ports"][0]["nodePort"] = json!(30009);
        object["status"] = json!({"loadBalancer": {}});
        object
    }

    #[test]
    fn the_canary_follows_the_target_with_addresses_of_its_own() {
        let canary = service_canary();
        let made = follow(&canary, &target(), None).unwrap().unwrap();
        assert_eq!(made["metadata"]["name"], "podinfo-canary");
        assert_eq!(made["metadata"]["annotations"], json!({"a": "b"}));
        assert!(
            made["spec"].get("clusterIP").is_none() && made["spec"]["ports"][0].get("nodePort").is_none()
        );
        let live = stored(made, "10.96.0.2");
        assert_eq!(follow(&canary, &target(), Some(&live)), Ok(None));
        let mut moved = target();
        moved["spec"]["selector"]["version"] = json!("2");
        let wanted = follow(&canary, &moved, Some(&live)).unwrap().unwrap();
        assert_eq!(wanted["spec"]["selector"]["version"], "2");
        assert_eq!(wanted["spec"]["clusterIP"], "10.96.0.2");
        assert_eq!(wanted["spec"]["ports"][0]["nodePort"], 30009);
        let mut foreign = live.clone();
        foreign["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("ownerReferences");
        assert!(follow(&canary, &target(), Some(&foreign)).is_err());
    }

    #[test]
    fn the_primary_is_the_recorded_spec_and_settles() {
        let canary = service_canary();
        let revision = Revision {
            template: "v1:1".to_owned(),
            configs: None,
        };
        let source = record::source(TargetKind::Service, &target());
        let options = Options::default();
        let made = primary(&source, None, &revision, &canary, &options);
        assert_eq!(made["metadata"]["name"], "podinfo-primary");
        assert_eq!(
            made["metadata"]["annotations"],
            json!({REVISION_ANNOTATION: "v1:1"})
        );
        let live = stored(made, "10.96.0.3");
        let again = primary(&source, Some(&live), &revision, &canary, &options);
        assert!(same(Some(&live), Some(&again)), "{again}");
    }

    #[test]
    fn headless_stays_headless_and_a_plain_type_has_no_node_ports() {
        let canary = service_canary();
        let mut headless = target();
        headless["spec"]["clusterIP"] = json!("None");
        let made = follow(&canary, &headless, None).unwrap().unwrap();
        assert_eq!(made["spec"]["clusterIP"], "None");

        let live = stored(follow(&canary, &target(), None).unwrap().unwrap(), "10.96.0.2");
        let mut plain = target();
        plain["spec"]["type"] = json!("ClusterIP");
        let wanted = follow(&canary, &plain, Some(&live)).unwrap().unwrap();
        assert!(wanted["spec"]["ports"][0].get("nodePort").is_none());
        assert_eq!(wanted["spec"]["clusterIP"], "10.96.0.2");
    }
}
