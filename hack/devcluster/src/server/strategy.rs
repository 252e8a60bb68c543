//! What is particular to a type when it is written: fields that are dropped, kept apart, allocated, checked.
//!
//! Owns: status isolation, generation, the allocations and checks of built-in types, and the schema checks of
//! custom ones. Promises: [`check`] reports every mistake at once. Never: stores.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Cluster;
use super::call::Call;
use super::checks;
use super::decode::{metadata, object_mut};
use super::status::Failure;
use crate::kinds::Kind;
use crate::schema::{FieldError, validate};

/// Members that a main write sets but only the status subresource may.
fn has_status(kind: &Kind) -> bool {
    kind.has("status")
}

/// Drops what a client may not set on creation.
pub(crate) fn drop_on_create(kind: &Kind, object: &mut Value) {
    if has_status(kind)
        && !kind.is("", "namespaces")
        && let Some(members) = object.as_object_mut()
    {
        members.shift_remove("status");
    }
}

/// Keeps a write to what it may change: the main resource to everything but status, a subresource to its part.
pub(crate) fn isolate(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) {
    match subresource {
        "status" => {
            let mut kept = old.clone();
            if kind.custom.is_none() {
                // Controllers of built-in types change annotations with the status; labels stay.
                let metadata = new["metadata"].take();
                for key in ["annotations", "finalizers"] {
                    match metadata.get(key).filter(|v| !v.is_null()) {
                        Some(value) => kept["metadata"][key] = value.clone(),
                        None => drop(object_mut(&mut kept["metadata"]).shift_remove(key)),
                    }
                }
                new["metadata"] = metadata;
            }
            if let Some(members) = kept.as_object_mut() {
                match new.get_mut("status").map(Value::take) {
                    Some(status) if !status.is_null() => members.insert("status".to_owned(), status),
                    _ => members.shift_remove("status"),
                };
            }
            if let Some(fields) = new["metadata"].get("managedFields") {
                metadata(&mut kept).insert("managedFields".to_owned(), fields.clone());
            }
            *new = kept;
        }
        "finalize" => {
            let finalizers = new["spec"]["finalizers"].take();
            let mut kept = old.clone();
            object_mut(&mut kept["spec"]).insert(
                "finalizers".to_owned(),
                if finalizers.is_null() {
                    json!([])
                } else {
                    finalizers
                },
            );
            *new = kept;
        }
        _ if has_status(kind) => {
            if let Some(members) = new.as_object_mut() {
                match old.get("status") {
                    Some(status) => members.insert("status".to_owned(), status.clone()),
                    None => members.shift_remove("status"),
                };
            }
            if kind.is("", "namespaces") {
                new["spec"] = old["spec"].clone();
            }
        }
        _ => {}
    }
}

/// Whether anything but metadata (and status, where it is apart) differs. Annotations of a Deployment count: its
/// controller copies them to the replica sets.
pub(crate) fn desired_changed(kind: &Kind, old: &Value, new: &Value) -> bool {
    let desired = |object: &Value| {
        let mut desired = object.clone();
        if let Some(members) = desired.as_object_mut() {
            members.shift_remove("metadata");
            members.shift_remove("apiVersion");
            if has_status(kind) {
                members.shift_remove("status");
            }
        }
        desired
    };
    let annotations = |object: &Value| object["metadata"]["annotations"].clone();
    desired(old) != desired(new) || (kind.is("apps", "deployments") && annotations(old) != annotations(new))
}

/// Whether finalizers hold the object back.
pub(crate) fn holds(kind: &Kind, object: &Value) -> bool {
    let some = |value: &Value| value.as_array().is_some_and(|a| !a.is_empty());
    some(&object["metadata"]["finalizers"])
        || (kind.is("", "namespaces") && some(&object["spec"]["finalizers"]))
}

/// Whether a marked object has nothing left to wait for.
pub(crate) fn finished(kind: &Kind, object: &Value) -> bool {
    let meta = &object["metadata"];
    !meta["deletionTimestamp"].is_null()
        && !holds(kind, object)
        && (!kind.graceful || meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0)
}

/// Shows in the status that the object is going away.
pub(crate) fn mark_terminating(kind: &Kind, object: &mut Value) {
    if kind.is("", "namespaces") {
        object["status"]["phase"] = json!("Terminating");
    }
    if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
        super::crd::mark_terminating(object);
    }
}

/// Objects nobody may delete.
pub(crate) fn check_delete(kind: &Kind, name: &str) -> Result<(), Failure> {
    if kind.is("", "namespaces") && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(Failure::forbidden(
            kind,
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// Sets what the server chooses for a new object.
pub(crate) fn prepare_create(cluster: &Cluster, call: &Call, object: &mut Value) {
    let kind = &call.kind;
    if kind.custom.is_some() {
        return;
    }
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "namespaces") => {
            let name = object["metadata"]["name"].clone();
            object_mut(&mut object["metadata"]["labels"])
                .insert("kubernetes.io/metadata.name".to_owned(), name);
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        ("", "pods") => {
            object["status"] = json!({"phase": "Pending", "qosClass": checks::qos_class(&object["spec"])});
            if object["spec"]["serviceAccountName"].is_null() {
                object["spec"]["serviceAccountName"] = json!("default");
                object["spec"]["serviceAccount"] = json!("default");
            }
        }
        ("", "services") => {
            object["status"] = json!({"loadBalancer": {}});
            allocate_addresses(cluster, object);
        }
        ("", "persistentvolumeclaims") => object["status"] = json!({"phase": "Pending"}),
        ("apps", "deployments" | "replicasets" | "daemonsets" | "statefulsets")
        | ("policy", "poddisruptionbudgets")
        | ("autoscaling", "horizontalpodautoscalers")
            if object["status"].is_null() =>
        {
            object["status"] = super::defaults::empty_status(&kind.plural);
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => super::crd::prepare_create(object),
        _ => {}
    }
}

/// Sets what the server chooses when an object changes.
pub(crate) fn prepare_update(cluster: &Cluster, call: &Call, old: &Value, new: &mut Value) {
    let kind = &call.kind;
    if kind.is("", "services") {
        for key in ["clusterIP", "clusterIPs"] {
            if new["spec"][key].is_null()
                && new["spec"]["type"] != "ExternalName"
                && !old["spec"][key].is_null()
            {
                new["spec"][key] = old["spec"][key].clone();
            }
        }
        keep_node_ports(old, new);
        allocate_addresses(cluster, new);
    }
    if kind.is("", "namespaces") {
        let name = new["metadata"]["name"].clone();
        object_mut(&mut new["metadata"]["labels"]).insert("kubernetes.io/metadata.name".to_owned(), name);
    }
    if kind.is("apiextensions.k8s.io", "customresourcedefinitions") && call.subresource.is_empty() {
        super::crd::prepare_update(new);
    }
}

/// Every mistake of a new (`old` is `None`) or changed object.
pub(crate) fn check(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    match &kind.custom {
        Some(custom) => {
            let schema = custom.schema(&kind.version);
            schema
                .map(|schema| validate::validate(schema, new, old))
                .unwrap_or_default()
        }
        None => checks::check(kind, new, old),
    }
}

/// Node ports a client left out stay what they were.
fn keep_node_ports(old: &Value, new: &mut Value) {
    let before = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let exposed = matches!(new["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer"));
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        if !exposed {
            object_mut(port).shift_remove("nodePort");
        } else if port["nodePort"].is_null()
            && let Some(found) = before
                .iter()
                .find(|p| p["port"] == port["port"] && !p["nodePort"].is_null())
        {
            port["nodePort"] = found["nodePort"].clone();
        }
    }
}

/// Gives a Service the cluster IP and node ports it still lacks.
fn allocate_addresses(cluster: &Cluster, service: &mut Value) {
    let spec = &mut service["spec"];
    if spec["type"] == "ExternalName" {
        let spec = object_mut(spec);
        for key in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            spec.shift_remove(key);
        }
        return;
    }
    let table = crate::store::Table {
        group: String::new(),
        plural: "services".to_owned(),
    };
    let (services, _) = cluster.store.list(&table, None);
    let free =
        |taken: BTreeSet<u64>, range: std::ops::Range<u64>| range.into_iter().find(|n| !taken.contains(n));
    if spec["clusterIP"].as_str().unwrap_or_default().is_empty() {
        let prefix = cluster.service_prefix();
        let taken = services
            .iter()
            .filter_map(|s| {
                s.value["spec"]["clusterIP"]
                    .as_str()?
                    .strip_prefix(prefix)?
                    .split_once('.')
            })
            .filter_map(|(third, fourth)| {
                Some(third.parse::<u64>().ok()? * 256 + fourth.parse::<u64>().ok()?)
            })
            .collect();
        if let Some(number) = free(taken, 10..65_000) {
            spec["clusterIP"] = json!(format!("{prefix}{}.{}", number / 256, number % 256));
        }
    }
    spec["clusterIPs"] = json!([spec["clusterIP"]]);
    if matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        let mut taken: BTreeSet<u64> = services
            .iter()
            .flat_map(|s| s.value["spec"]["ports"].as_array().cloned().unwrap_or_default())
            .filter_map(|p| p["nodePort"].as_u64())
            .collect();
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            if port["nodePort"].as_u64().unwrap_or(0) == 0
                && let Some(number) = free(taken.clone(), 30_000..32_768)
            {
                port["nodePort"] = json!(number);
                taken.insert(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;

    #[test]
    fn status_and_the_rest_are_written_apart() {
        let kind = Registry::new().find("apps", "v1", "deployments").unwrap();
        let old = json!({"metadata": {"name": "x"}, "spec": 1, "status": 1});
        let changed = json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": 2, "status": 2});
        let mut main = changed.clone();
        isolate(&kind, "", &old, &mut main);
        assert_eq!(
            main,
            json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": 2, "status": 1})
        );
        let mut status = changed;
        isolate(&kind, "status", &old, &mut status);
        assert_eq!(status, json!({"metadata": {"name": "x"}, "spec": 1, "status": 2}));
        assert!(desired_changed(&kind, &old, &main));
        assert!(!desired_changed(&kind, &old, &status));
    }

    #[test]
    fn namespaces_wait_for_their_own_finalizers() {
        let kind = Registry::new().find("", "v1", "namespaces").unwrap();
        let going = json!({"metadata": {"deletionTimestamp": "t"}, "spec": {"finalizers": ["kubernetes"]}});
        assert!(holds(&kind, &going) && !finished(&kind, &going));
        let mut gone = going.clone();
        isolate(&kind, "finalize", &going, &mut gone);
        assert!(!finished(&kind, &gone));
        let mut wanted = going.clone();
        wanted["spec"]["finalizers"] = json!([]);
        isolate(&kind, "finalize", &going, &mut wanted);
        assert!(finished(&kind, &wanted));
    }
}
