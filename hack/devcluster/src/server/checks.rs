//! Validation of built-in types, where clients rely on it.
//!
//! Owns: the rules and their wording. Promises: pure; every mistake is reported at once. Never: as complete as
//! kube-apiserver.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::meta::name_problems;
use super::selector::object_selector;
use crate::kinds::{Kind, NameRule};
use crate::schema::error::ErrorKind;
use crate::schema::{FieldError, crd};

/// Mistakes of a built-in object.
pub(crate) fn check(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => pod(new, old, &mut errors),
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
            workload(kind, new, old, &mut errors)
        }
        ("autoscaling", "horizontalpodautoscalers") => autoscaler(new, &mut errors),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            errors.extend(crd::check(new));
            if let Some(old) = old {
                super::crd::check_update(old, new, &mut errors);
            }
        }
        ("admissionregistration.k8s.io", _) => webhooks(new, &mut errors),
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

fn workload(kind: &Kind, new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    not_negative(
        spec,
        "spec",
        &[
            "replicas",
            "minReadySeconds",
            "revisionHistoryLimit",
            "progressDeadlineSeconds",
        ],
        errors,
    );
    let selector = &spec["selector"];
    let empty = |key: &str| match &selector[key] {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    };
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else if empty("matchLabels") && empty("matchExpressions") {
        let detail = format!("empty selector is invalid for {}", kind.kind.to_lowercase());
        errors.push(FieldError::invalid("spec.selector", selector, detail));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if !selector.is_null() && !object_selector(selector).matches_labels(labels) {
        let shown = if labels.is_null() {
            json!({})
        } else {
            labels.clone()
        };
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            &shown,
            "`selector` does not match template `labels`",
        ));
    }
    if let Some(old) = old
        && old["spec"]["selector"] != *selector
    {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector,
            "field is immutable",
        ));
    }
    pod_spec(&spec["template"]["spec"], "spec.template.spec", errors);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if policy.is_string() && policy != "Always" {
        errors.push(not_supported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        ));
    }
    if kind.plural == "deployments" {
        let (ready, deadline) = (
            spec["minReadySeconds"].as_i64(),
            spec["progressDeadlineSeconds"].as_i64(),
        );
        if let Some(deadline) = deadline
            && deadline <= ready.unwrap_or(0)
        {
            errors.push(FieldError::invalid(
                "spec.progressDeadlineSeconds",
                &json!(deadline),
                "must be greater than minReadySeconds",
            ));
        }
        let strategy = &spec["strategy"];
        match strategy["type"].as_str() {
            Some("RollingUpdate") => {
                let zero = |key: &str| matches!(&strategy["rollingUpdate"][key], v if v == 0 || v == "0%");
                if zero("maxUnavailable") && zero("maxSurge") {
                    errors.push(FieldError::invalid(
                        "spec.strategy.rollingUpdate.maxUnavailable",
                        &strategy["rollingUpdate"]["maxUnavailable"],
                        "may not be 0 when `maxSurge` is 0",
                    ));
                }
            }
            Some("Recreate") => {
                if !strategy["rollingUpdate"].is_null() {
                    errors.push(forbidden(
                        "spec.strategy.rollingUpdate",
                        "may not be specified when strategy `type` is 'Recreate'",
                    ));
                }
            }
            _ => errors.push(not_supported(
                "spec.strategy.type",
                &strategy["type"],
                &["Recreate", "RollingUpdate"],
            )),
        }
    }
}

fn pod(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    pod_spec(&new["spec"], "spec", errors);
    let Some(old) = old else { return };
    let fixed = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        if let Some(members) = spec.as_object_mut() {
            for key in [
                "activeDeadlineSeconds",
                "tolerations",
                "terminationGracePeriodSeconds",
                "nodeName",
                "schedulingGates",
                "ephemeralContainers",
            ] {
                members.shift_remove(key);
            }
        }
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container["image"] = Value::Null;
            }
        }
        spec
    };
    if fixed(old) != fixed(new) {
        errors.push(forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

fn pod_spec(spec: &Value, base: &str, errors: &mut Vec<FieldError>) {
    let containers = spec["containers"].as_array().cloned().unwrap_or_default();
    if containers.is_empty() {
        errors.push(FieldError::required(&format!("{base}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let field = format!("{base}.containers[{index}]");
        match container["name"].as_str() {
            None | Some("") => errors.push(FieldError::required(&format!("{field}.name"), "")),
            Some(name) => {
                for problem in name_problems(name, NameRule::Label) {
                    errors.push(FieldError::invalid(
                        &format!("{field}.name"),
                        &container["name"],
                        problem,
                    ));
                }
                if !names.insert(name.to_owned()) {
                    errors.push(duplicate(&format!("{field}.name"), &container["name"]));
                }
            }
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(&format!("{field}.image"), ""));
        }
        for (at, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
            let field = format!("{field}.ports[{at}].containerPort");
            match port["containerPort"].as_i64() {
                None | Some(0) => errors.push(FieldError::required(&field, "")),
                Some(1..=65535) => {}
                Some(_) => errors.push(port_range(&field, &port["containerPort"])),
            }
        }
    }
}

/// `status.qosClass` of a new pod.
pub(crate) fn qos_class(spec: &Value) -> &'static str {
    let containers: Vec<&Value> = spec["containers"].as_array().into_iter().flatten().collect();
    let lists = |c: &Value| {
        (
            c["resources"]["limits"].clone(),
            c["resources"]["requests"].clone(),
        )
    };
    let none = containers.iter().all(|c| {
        let (limits, requests) = lists(c);
        [limits, requests]
            .iter()
            .all(|l| l.as_object().is_none_or(serde_json::Map::is_empty))
    });
    let all = containers.iter().all(|c| {
        let (limits, requests) = lists(c);
        ["cpu", "memory"]
            .iter()
            .all(|r| !limits[*r].is_null() && limits[*r] == requests[*r])
    });
    match (none, all) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
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

fn webhooks(new: &Value, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    for (index, entry) in new["webhooks"].as_array().into_iter().flatten().enumerate() {
        let field = |key: &str| format!("webhooks[{index}].{key}");
        let name = entry["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(&field("name"), ""));
        } else if name.split('.').count() < 3 || !name_problems(name, NameRule::Subdomain).is_empty() {
            errors.push(FieldError::invalid(
                &field("name"),
                &entry["name"],
                "should be a domain with at least three segments separated by dots",
            ));
        }
        if !names.insert(name.to_owned()) {
            errors.push(duplicate(&field("name"), &entry["name"]));
        }
        let effects = &entry["sideEffects"];
        if effects.is_null() {
            errors.push(FieldError::required(
                &field("sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        } else if !matches!(effects.as_str(), Some("None" | "NoneOnDryRun")) {
            errors.push(not_supported(
                &field("sideEffects"),
                effects,
                &["None", "NoneOnDryRun"],
            ));
        }
        let versions = entry["admissionReviewVersions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if versions.is_empty() {
            errors.push(FieldError::required(
                &field("admissionReviewVersions"),
                "must specify one of v1, v1beta1",
            ));
        } else if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
            errors.push(FieldError::invalid(
                &field("admissionReviewVersions"),
                &entry["admissionReviewVersions"],
                "must include at least one of v1, v1beta1",
            ));
        }
        if let Some(seconds) = entry["timeoutSeconds"].as_i64()
            && !(1..=30).contains(&seconds)
        {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(
                &field("timeoutSeconds"),
                &entry["timeoutSeconds"],
                detail,
            ));
        }
        client_config(&entry["clientConfig"], &field("clientConfig"), errors);
    }
}

fn client_config(config: &Value, base: &str, errors: &mut Vec<FieldError>) {
    match (config["url"].as_str(), config["service"].is_object()) {
        (Some(_), true) | (None, false) => {
            errors.push(FieldError::required(
                base,
                "exactly one of url or service is required",
            ));
        }
        (Some(url), false) => {
            if !url.starts_with("https://") {
                errors.push(FieldError::invalid(
                    &format!("{base}.url"),
                    &config["url"],
                    "'https' is the only allowed URL scheme; desired format: https://host[/path]",
                ));
            }
        }
        (None, true) => {
            for key in ["name", "namespace"] {
                if config["service"][key].as_str().unwrap_or_default().is_empty() {
                    errors.push(FieldError::required(
                        &format!("{base}.service.{key}"),
                        format!("service {key} is required"),
                    ));
                }
            }
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
        assert_eq!(qos_class(&spec(json!({}))), "BestEffort");
        assert_eq!(
            qos_class(&spec(json!({"limits": full, "requests": full}))),
            "Guaranteed"
        );
        assert_eq!(qos_class(&spec(json!({"requests": full}))), "Burstable");
    }
}
