//! Pods: their specs, containers and volumes.

use serde_json::{Map, Value, json};

use super::{items, member, set};
use crate::server::decode::object_mut;
use crate::server::quantity;

/// Defaults of a pod's spec, of Pods and of templates.
pub(super) fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set(spec, "securityContext", json!({}));
    if let Some(name) = spec["serviceAccountName"]
        .as_str()
        .filter(|n| !n.is_empty())
        .map(str::to_owned)
    {
        set(spec, "serviceAccount", json!(name));
    } else if spec["serviceAccount"].is_string() {
        spec["serviceAccountName"] = spec["serviceAccount"].clone();
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        if !spec[list].is_array() {
            if spec[list].is_null() {
                object_mut(spec).shift_remove(list);
            }
            continue;
        }
        for one in items(&mut spec[list]) {
            container(one);
        }
    }
    for one in items(&mut spec["volumes"]) {
        volume(one);
    }
    for key in ["volumes", "serviceAccountName", "serviceAccount"] {
        if spec[key].is_null() {
            object_mut(spec).shift_remove(key);
        }
    }
}

fn container(one: &mut Value) {
    set(one, "resources", json!({}));
    set(one, "terminationMessagePath", json!("/dev/termination-log"));
    set(one, "terminationMessagePolicy", json!("File"));
    if one["imagePullPolicy"].is_null() {
        let image = one["image"].as_str().unwrap_or_default();
        one["imagePullPolicy"] = json!(if pulls_always(image) {
            "Always"
        } else {
            "IfNotPresent"
        });
    }
    if let Some(ports) = member_array(one, "ports") {
        for port in ports {
            set(port, "protocol", json!("TCP"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = member(one, probe) {
            set(probe, "timeoutSeconds", json!(1));
            set(probe, "periodSeconds", json!(10));
            set(probe, "successThreshold", json!(1));
            set(probe, "failureThreshold", json!(3));
            if let Some(get) = member(probe, "httpGet") {
                set(get, "path", json!("/"));
                set(get, "scheme", json!("HTTP"));
            }
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(get) = member(one, "lifecycle")
            .and_then(|l| member(l, hook))
            .and_then(|h| member(h, "httpGet"))
        {
            set(get, "path", json!("/"));
            set(get, "scheme", json!("HTTP"));
        }
    }
    for variable in member_array(one, "env").into_iter().flatten() {
        if let Some(field) = member(variable, "valueFrom").and_then(|v| member(v, "fieldRef")) {
            set(field, "apiVersion", json!("v1"));
        }
    }
    resources(&mut one["resources"]);
}

/// Quantities are stored in their canonical form.
fn resources(resources: &mut Value) {
    for list in ["limits", "requests"] {
        for (_, value) in resources[list].as_object_mut().into_iter().flatten() {
            if let Some(canonical) = quantity::canonical(value) {
                *value = json!(canonical);
            }
        }
    }
    let members: &mut Map<String, Value> = object_mut(resources);
    members.retain(|_, v| !v.is_null());
}

/// What a pod's container does not request it requests up to its limit; templates stay as they are written.
pub(super) fn requests_from_limits(resources: &mut Value) {
    let limits = resources["limits"].as_object().cloned().unwrap_or_default();
    for (name, value) in limits {
        object_mut(&mut resources["requests"])
            .entry(name)
            .or_insert(value);
    }
}

fn member_array<'a>(object: &'a mut Value, key: &str) -> Option<impl Iterator<Item = &'a mut Value>> {
    let list = object.get_mut(key)?.as_array_mut()?;
    Some(list.iter_mut().filter(|v| v.is_object()))
}

/// `:latest` and untagged images are always pulled.
fn pulls_always(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn volume(one: &mut Value) {
    for (source, key) in [
        ("secret", "defaultMode"),
        ("configMap", "defaultMode"),
        ("downwardAPI", "defaultMode"),
        ("projected", "defaultMode"),
    ] {
        if let Some(source) = member(one, source) {
            set(source, key, json!(420));
        }
    }
    if let Some(path) = member(one, "hostPath") {
        set(path, "type", json!(""));
    }
    for source in member(one, "projected")
        .and_then(|p| member_array(p, "sources"))
        .into_iter()
        .flatten()
    {
        if let Some(token) = member(source, "serviceAccountToken") {
            set(token, "expirationSeconds", json!(3600));
        }
    }
    if let Some(directory) = member(one, "emptyDir")
        && let Some(limit) = directory.get_mut("sizeLimit")
        && let Some(canonical) = quantity::canonical(limit)
    {
        *limit = json!(canonical);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_and_requests() {
        let mut limited = json!({"limits": {"cpu": "0.5"}, "requests": {"memory": "1024Mi"}});
        resources(&mut limited);
        requests_from_limits(&mut limited);
        assert_eq!(
            limited,
            json!({"limits": {"cpu": "500m"}, "requests": {"memory": "1Gi", "cpu": "500m"}})
        );
    }

    #[test]
    fn images() {
        let rows = [
            ("a", true),
            ("a:latest", true),
            ("a:1", false),
            ("r:5000/a", true),
            ("a@sha256:1", false),
        ];
        for (image, expected) in rows {
            assert_eq!(pulls_always(image), expected, "{image}");
        }
    }
}
