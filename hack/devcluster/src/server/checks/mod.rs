//! Validation of built-in types, where clients rely on it.
//!
//! Owns: the rules and their wording. Promises: pure; every mistake is reported at once. Never: as complete as
//! kube-apiserver.

mod pods;
mod webhooks;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kinds::{Kind, NameRule};
use crate::schema::error::ErrorKind;
use crate::schema::{FieldError, crd};
use crate::server::meta::name_problems;
pub(crate) use pods::qos_class;

/// Mistakes of a built-in object.
pub(crate) fn check(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => pods::pod(new, old, &mut errors),
        ("", "services") => service(new, old, &mut errors),
        ("", "configmaps") => {
            data_keys(new, &["data", "binaryData"], &mut errors);
            immutable_data(new, old, &mut errors);
        }
        ("", "secrets") => {
            data_keys(new, &["data"], &mut errors);
            immutable_data(new, old, &mut errors);
            if let Some(old) = old
                && old["type"] != new["type"]
            {
                errors.push(FieldError::invalid("type", &new["type"], "field is immutable"));
            }
        }
        ("apps", "deployments" | "replicasets" | "daemonsets" | "statefulsets") => {
            pods::workload(kind, new, old, &mut errors);
        }
        ("autoscaling", "horizontalpodautoscalers") => autoscaler(new, &mut errors),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            errors.extend(crd::check(new));
            if let Some(old) = old {
                crate::server::crd::check_update(old, new, &mut errors);
            }
        }
        ("admissionregistration.k8s.io", _) => webhooks::webhooks(new, &mut errors),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            if let Some(old) = old
                && old["roleRef"] != new["roleRef"]
            {
                errors.push(FieldError::invalid(
                    "roleRef",
                    &new["roleRef"],
                    "cannot change roleRef",
                ));
            }
        }
        ("policy", "poddisruptionbudgets") => {
            let spec = &new["spec"];
            if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
                errors.push(FieldError::invalid(
                    "spec",
                    spec,
                    "minAvailable and maxUnavailable cannot be both set",
                ));
            }
        }
        _ => {}
    }
    errors
}

fn not_negative(object: &Value, base: &str, keys: &[&str], errors: &mut Vec<FieldError>) {
    for key in keys {
        if object[*key].as_i64().is_some_and(|n| n < 0) {
            let field = format!("{base}.{key}");
            errors.push(FieldError::invalid(
                &field,
                &object[*key],
                "must be greater than or equal to 0",
            ));
        }
    }
}

fn service(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    let ports = spec["ports"].as_array().cloned().unwrap_or_default();
    let headless = spec["clusterIP"] == "None";
    let kind = spec["type"].as_str().unwrap_or_default();
    if !matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName") {
        errors.push(not_supported(
            "spec.type",
            &spec["type"],
            &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        ));
    }
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let field = |key: &str| format!("spec.ports[{index}].{key}");
        match port["name"].as_str() {
            None | Some("") if ports.len() > 1 => errors.push(FieldError::required(&field("name"), "")),
            None | Some("") => {}
            Some(name) => {
                for problem in name_problems(name, NameRule::Label) {
                    errors.push(FieldError::invalid(&field("name"), &port["name"], problem));
                }
                if !names.insert(name.to_owned()) {
                    errors.push(duplicate(&field("name"), &port["name"]));
                }
            }
        }
        match port["port"].as_i64() {
            Some(1..=65535) => {}
            _ => errors.push(port_range(&field("port"), &port["port"])),
        }
        match &port["targetPort"] {
            Value::Number(n) if !n.as_i64().is_some_and(|n| (1..=65535).contains(&n)) => {
                errors.push(port_range(&field("targetPort"), &port["targetPort"]));
            }
            _ => {}
        }
        let protocol = &port["protocol"];
        if !matches!(protocol.as_str(), Some("TCP" | "UDP" | "SCTP")) {
            errors.push(not_supported(
                &field("protocol"),
                protocol,
                &["SCTP", "TCP", "UDP"],
            ));
        }
        if !numbers.insert((port["port"].to_string(), protocol.to_string())) {
            let shown = json!({"port": port["port"], "protocol": protocol});
            errors.push(duplicate(&format!("spec.ports[{index}]"), &shown));
        }
    }
    if let Some(old) = old
        && old["spec"]["type"] == "ClusterIP"
        && kind == "ClusterIP"
        && old["spec"]["clusterIP"].is_string()
        && old["spec"]["clusterIP"] != spec["clusterIP"]
    {
        errors.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            &json!([spec["clusterIP"]]),
            "may not change once set",
        ));
    }
}

fn data_keys(object: &Value, members: &[&str], errors: &mut Vec<FieldError>) {
    for member in members {
        for key in object[*member]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
        {
            let sound = !key.is_empty()
                && key.len() <= 253
                && key
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if !sound {
                errors.push(FieldError::invalid(
                    &format!("{member}[{key}]"),
                    &json!(key),
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                     'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ));
            }
        }
    }
}

fn immutable_data(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let Some(old) = old else { return };
    if old["immutable"] != true {
        return;
    }
    for member in ["immutable", "data", "binaryData"] {
        if old[member] != new[member] {
            errors.push(forbidden(member, "field is immutable when `immutable` is set"));
        }
    }
}

fn autoscaler(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    let min = spec["minReplicas"].as_i64().unwrap_or(1);
    if min < 1 {
        errors.push(FieldError::invalid(
            "spec.minReplicas",
            &spec["minReplicas"],
            "must be greater than or equal to 1",
        ));
    }
    match spec["maxReplicas"].as_i64() {
        Some(max) if max >= 1 => {
            if max < min {
                errors.push(FieldError::invalid(
                    "spec.maxReplicas",
                    &spec["maxReplicas"],
                    "must be greater than or equal to `minReplicas`",
                ));
            }
        }
        _ => {
            let shown = json!(spec["maxReplicas"].as_i64().unwrap_or(0));
            errors.push(FieldError::invalid(
                "spec.maxReplicas",
                &shown,
                "must be greater than 0",
            ));
        }
    }
    for key in ["kind", "name"] {
        if spec["scaleTargetRef"][key]
            .as_str()
            .unwrap_or_default()
            .is_empty()
        {
            errors.push(FieldError::required(&format!("spec.scaleTargetRef.{key}"), ""));
        }
    }
}

fn forbidden(field: &str, detail: &str) -> FieldError {
    FieldError::new(ErrorKind::Forbidden, field, None, detail)
}

fn duplicate(field: &str, value: &Value) -> FieldError {
    FieldError::new(ErrorKind::Duplicate, field, Some(value), "")
}

fn not_supported(field: &str, value: &Value, allowed: &[&str]) -> FieldError {
    let allowed: Vec<String> = allowed.iter().map(|v| format!("{v:?}")).collect();
    let shown = if value.is_null() { json!("") } else { value.clone() };
    FieldError::new(
        ErrorKind::NotSupported,
        field,
        Some(&shown),
        format!("supported values: {}", allowed.join(", ")),
    )
}

fn port_range(field: &str, value: &Value) -> FieldError {
    let shown = if value.is_null() { json!(0) } else { value.clone() };
    FieldError::invalid(field, &shown, "must be between 1 and 65535, inclusive")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;

    fn texts(group: &str, version: &str, plural: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
        let kind = Registry::new().find(group, version, plural).unwrap();
        check(&kind, new, old).iter().map(ToString::to_string).collect()
    }

    fn deployment(app: &str, label: &str) -> Value {
        json!({"spec": {"selector": {"matchLabels": {"app": app}}, "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": {"app": label}},
                "spec": {"containers": [{"name": "a", "image": "b"}], "restartPolicy": "Always"}}}})
    }

    #[test]
    fn deployments() {
        let good = deployment("x", "x");
        assert_eq!(
            texts("apps", "v1", "deployments", &good, None),
            Vec::<String>::new()
        );
        assert_eq!(
            texts("apps", "v1", "deployments", &deployment("x", "y"), None),
            [
                "spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` does not match template `labels`"
            ]
        );
        assert_eq!(
            texts("apps", "v1", "deployments", &deployment("y", "y"), Some(&good)),
            ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"y\"}}: field is immutable"]
        );
        let empty = texts(
            "apps",
            "v1",
            "deployments",
            &json!({"spec": {"strategy": {"type": "Recreate"}}}),
            None,
        );
        assert_eq!(
            empty,
            [
                "spec.selector: Required value",
                "spec.template.spec.containers: Required value"
            ]
        );
    }

    #[test]
    fn services() {
        let service = json!({"spec": {"type": "ClusterIP", "ports": [
            {"name": "a", "port": 80, "protocol": "TCP"}, {"name": "a", "port": 80, "protocol": "TCP"}, {"port": 0, "protocol": "TCP"}]}});
        assert_eq!(
            texts("", "v1", "services", &service, None),
            [
                "spec.ports[1].name: Duplicate value: \"a\"",
                "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
                "spec.ports[2].name: Required value",
                "spec.ports[2].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ]
        );
    }

    #[test]
    fn webhook_configurations() {
        let group = "admissionregistration.k8s.io";
        let object =
            json!({"webhooks": [{"name": "a", "clientConfig": {"url": "http://x"}, "timeoutSeconds": 31}]});
        let errors = texts(group, "v1", "validatingwebhookconfigurations", &object, None);
        assert_eq!(errors.len(), 5, "{errors:?}");
    }

    #[test]
    fn quality_of_service() {
        let spec = |resources: Value| json!({"containers": [{"resources": resources}]});
        let full = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(super::qos_class(&spec(json!({}))), "BestEffort");
        assert_eq!(
            super::qos_class(&spec(json!({"limits": full, "requests": full}))),
            "Guaranteed"
        );
        assert_eq!(super::qos_class(&spec(json!({"requests": full}))), "Burstable");
    }
}
