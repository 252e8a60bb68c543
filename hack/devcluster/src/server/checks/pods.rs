//! Pods, and the workloads that make them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{duplicate, forbidden, not_negative, not_supported, port_range};
use crate::kinds::{Kind, NameRule};
use crate::schema::FieldError;
use crate::server::meta::name_problems;
use crate::server::selector::object_selector;

pub(super) fn workload(kind: &Kind, new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
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

pub(super) fn pod(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
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
