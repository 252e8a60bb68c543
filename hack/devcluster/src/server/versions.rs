//! The built-in types that are served at two versions: HorizontalPodAutoscalers and Events.
//!
//! Owns: their conversions. Promises: pure, nothing is lost on the way to the stored form and back. Never: sees
//! custom resources.

use serde_json::{Map, Value, json};

/// Rewrites a built-in object for another apiVersion of its type.
pub(crate) fn convert(object: Value, api_version: &str) -> Value {
    let from = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let mut object = match (from.as_str(), api_version) {
        ("autoscaling/v1", "autoscaling/v2") => hpa_to_v2(object),
        ("autoscaling/v2", "autoscaling/v1") => hpa_to_v1(object),
        ("events.k8s.io/v1", "v1") => rename(object, &EVENT_FIELDS, false),
        ("v1", "events.k8s.io/v1") => rename(object, &EVENT_FIELDS, true),
        _ => object,
    };
    object["apiVersion"] = json!(api_version);
    object
}

/// Core name and events.k8s.io name of the fields that differ.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn rename(object: Value, fields: &[(&str, &str)], forward: bool) -> Value {
    let Value::Object(members) = object else {
        return object;
    };
    let renamed = members
        .into_iter()
        .map(|(key, value)| {
            let new = fields.iter().find_map(|&(core, new)| match forward {
                true if key == core => Some(new),
                false if key == new => Some(core),
                _ => None,
            });
            (new.map_or(key, str::to_owned), value)
        })
        .collect::<Map<_, _>>();
    Value::Object(renamed)
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";

fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["type"] == "Utilization"
}

/// v1 shows the CPU utilisation target as a field and everything else as annotations.
fn hpa_to_v1(mut hpa: Value) -> Value {
    let mut annotations = Map::new();
    if let Some(spec) = hpa.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(Value::Array(metrics)) = spec.shift_remove("metrics") {
            let (cpu, others): (Vec<_>, Vec<_>) = metrics.into_iter().partition(is_cpu_utilization);
            if let Some(metric) = cpu.first() {
                spec.insert(
                    "targetCPUUtilizationPercentage".to_owned(),
                    metric["resource"]["target"]["averageUtilization"].clone(),
                );
            }
            if !others.is_empty() {
                annotations.insert(METRICS.to_owned(), json!(Value::Array(others).to_string()));
            }
        }
        if let Some(behavior) = spec.shift_remove("behavior") {
            annotations.insert(BEHAVIOR.to_owned(), json!(behavior.to_string()));
        }
    }
    if let Some(status) = hpa.get_mut("status").and_then(Value::as_object_mut) {
        for (key, annotation) in [("conditions", CONDITIONS), ("currentMetrics", CURRENT)] {
            if let Some(value) = status.shift_remove(key).filter(|v| !v.is_null()) {
                annotations.insert(annotation.to_owned(), json!(value.to_string()));
            }
        }
    }
    if !annotations.is_empty() {
        let all = &mut hpa["metadata"]["annotations"];
        if !all.is_object() {
            *all = json!({});
        }
        for (key, value) in annotations {
            all[key] = value;
        }
    }
    hpa
}

fn hpa_to_v2(mut hpa: Value) -> Value {
    let mut take = |key: &str| -> Option<Value> {
        let annotations = hpa.pointer_mut("/metadata/annotations")?;
        let text = annotations.as_object_mut()?.shift_remove(key)?;
        serde_json::from_str(text.as_str()?).ok()
    };
    let (others, behavior, conditions, current) =
        (take(METRICS), take(BEHAVIOR), take(CONDITIONS), take(CURRENT));
    if hpa["metadata"]["annotations"]
        .as_object()
        .is_some_and(Map::is_empty)
        && let Some(metadata) = hpa["metadata"].as_object_mut()
    {
        metadata.shift_remove("annotations");
    }
    let mut metrics = Vec::new();
    if let Some(spec) = hpa.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(percent) = spec.shift_remove("targetCPUUtilizationPercentage") {
            metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent}}}));
        }
        if let Some(Value::Array(others)) = others {
            metrics.extend(others);
        }
        if !metrics.is_empty() {
            spec.insert("metrics".to_owned(), Value::Array(metrics));
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    if hpa["status"].is_object() {
        if let Some(status) = hpa.get_mut("status").and_then(Value::as_object_mut) {
            status.shift_remove("currentCPUUtilizationPercentage");
        }
        if let Some(conditions) = conditions {
            hpa["status"]["conditions"] = conditions;
        }
        if let Some(current) = current {
            hpa["status"]["currentMetrics"] = current;
        }
    }
    hpa
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hpa_round_trips() {
        let v2 = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "x"}, "spec": {"maxReplicas": 3,
            "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}}});
        let v1 = convert(v2.clone(), "autoscaling/v1");
        assert_eq!(v1["spec"]["targetCPUUtilizationPercentage"], 70);
        assert_eq!(v1["spec"].get("metrics"), None);
        assert_eq!(convert(v1, "autoscaling/v2"), v2);
    }

    #[test]
    fn events_round_trip() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "x"}, "message": "m",
            "count": 2, "type": "Normal"});
        let new = convert(core.clone(), "events.k8s.io/v1");
        assert_eq!(new["regarding"]["name"], "x");
        assert_eq!(new["note"], "m");
        assert_eq!(convert(new, "v1"), core);
    }
}
