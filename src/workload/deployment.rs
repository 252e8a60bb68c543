//! `<target>-primary` for a Deployment (flagger-behaviour §3.1).

use serde_json::{Map, Value, json};

use crate::model::canary::Canary;
use crate::model::revision::Revision;

use super::{FLAGGER_ID, Options, REVISION_ANNOTATION, SelectorLabel, filtered, owner_reference};

/// Fields of a Deployment's spec that a promotion copies beside the template.
const COPIED: [&str; 4] = [
    "progressDeadlineSeconds",
    "minReadySeconds",
    "revisionHistoryLimit",
    "strategy",
];

/// Renders the primary from a recorded target.
///
/// `source` holds the target's `metadata.labels`, `metadata.annotations` and `spec` as they were judged;
/// `live` is the primary as it is, if it is. Replicas follow the source only without an autoscaler.
pub fn primary(
    source: &Value,
    live: Option<&Value>,
    revision: &Revision,
    label: &SelectorLabel,
    canary: &Canary,
    options: &Options,
) -> Value {
    let name = format!("{}-primary", canary.target.name);
    let mut object = live.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": name,
                "namespace": canary.id.namespace,
                "ownerReferences": [owner_reference(canary)],
            },
            "spec": { "selector": { "matchLabels": { label.key.as_str(): label.primary() } } },
        })
    });
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    let mut labels = filtered(source.pointer("/metadata/labels"), options);
    labels.insert(label.key.clone(), Value::String(label.primary()));
    let mut annotations = filtered(source.pointer("/metadata/annotations"), options);
    annotations.insert(REVISION_ANNOTATION.to_owned(), Value::String(revision.identity()));
    if let Some(kept) = live
        .and_then(|live| live.pointer("/metadata/annotations"))
        .and_then(Value::as_object)
    {
        // The Deployment controller keeps its rollout number here; dropping it would be undone at once.
        for (key, value) in kept
            .iter()
            .filter(|(key, _)| key.starts_with("deployment.kubernetes.io/"))
        {
            annotations.insert(key.clone(), value.clone());
        }
    }
    object["metadata"]["labels"] = Value::Object(labels);
    object["metadata"]["annotations"] = Value::Object(annotations);

    let spec = source.get("spec").cloned().unwrap_or_else(|| json!({}));
    for field in COPIED {
        match spec.get(field) {
            Some(value) => object["spec"][field] = value.clone(),
            None => {
                if let Some(map) = object["spec"].as_object_mut() {
                    map.remove(field);
                }
            }
        }
    }
    let wanted = spec.get("replicas").and_then(Value::as_i64).unwrap_or(1);
    if live.is_none() {
        object["spec"]["replicas"] = json!(wanted.max(1));
    } else if canary.autoscaler.is_none() && wanted > 0 {
        object["spec"]["replicas"] = json!(wanted);
    }
    object["spec"]["template"] = template(&spec, revision, label, &canary.target.name, options);
    object
}

/// The primary's pod template: the target's, with the selector label, the flagger-id and affinities rewritten.
pub fn template(
    spec: &Value,
    revision: &Revision,
    label: &SelectorLabel,
    target: &str,
    options: &Options,
) -> Value {
    let mut template = spec.get("template").cloned().unwrap_or_else(|| json!({}));
    if !template.is_object() {
        template = json!({});
    }
    let metadata = &mut template["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    let mut labels = without_flux(metadata.get("labels"));
    labels.insert(label.key.clone(), Value::String(label.primary()));
    let mut annotations = without_flux(metadata.get("annotations"));
    annotations.insert(FLAGGER_ID.to_owned(), Value::String(flagger_id(revision)));
    metadata["labels"] = Value::Object(labels);
    metadata["annotations"] = Value::Object(annotations);
    rewrite_affinity(&mut template, target, options);
    template
}

/// True when the target's template, rendered as a primary, is what the primary runs (flagger-id aside).
pub fn runs_the_same(
    target: &Value,
    primary: &Value,
    label: &SelectorLabel,
    canary: &Canary,
    options: &Options,
) -> bool {
    let spec = target.get("spec").cloned().unwrap_or(Value::Null);
    let mut rendered = template(&spec, &Revision::default(), label, &canary.target.name, options);
    let mut running = primary.pointer("/spec/template").cloned().unwrap_or(Value::Null);
    for side in [&mut rendered, &mut running] {
        if let Some(annotations) = side
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(FLAGGER_ID);
            if annotations.is_empty()
                && let Some(metadata) = side.get_mut("metadata").and_then(Value::as_object_mut)
            {
                metadata.remove("annotations");
            }
        }
    }
    crate::model::revision::hash(&rendered) == crate::model::revision::hash(&running)
}

/// A stable id in the shape of Flagger's uuid: the same revision never rolls the primary twice.
fn flagger_id(revision: &Revision) -> String {
    let mut text = revision.template.clone();
    if let Some(configs) = &revision.configs {
        for (name, sum) in configs {
            text.push_str(name);
            text.push_str(sum);
        }
    }
    let hash = crate::model::revision::hash(&Value::String(text));
    let hex = hash
        .strip_prefix(crate::model::revision::VERSION)
        .unwrap_or(&hash);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    )
}

fn without_flux(source: Option<&Value>) -> Map<String, Value> {
    let Some(entries) = source.and_then(Value::as_object) else {
        return Map::new();
    };
    entries
        .iter()
        .filter(|(key, _)| !key.contains("toolkit.fluxcd.io") && *key != FLAGGER_ID)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Points pod anti-affinity and topology spread at the primary's own pods (Flagger compares with the target's name).
fn rewrite_affinity(template: &mut Value, target: &str, options: &Options) {
    if let Some(constraints) = template
        .pointer_mut("/spec/topologySpreadConstraints")
        .and_then(Value::as_array_mut)
    {
        for constraint in constraints {
            if let Some(selector) = constraint.get_mut("labelSelector") {
                rewrite_selector(selector, target, options);
            }
        }
    }
    let anti = "/spec/affinity/podAntiAffinity";
    if let Some(terms) = template
        .pointer_mut(&format!("{anti}/requiredDuringSchedulingIgnoredDuringExecution"))
        .and_then(Value::as_array_mut)
    {
        for term in terms {
            if let Some(selector) = term.get_mut("labelSelector") {
                rewrite_selector(selector, target, options);
            }
        }
    }
    if let Some(terms) = template
        .pointer_mut(&format!("{anti}/preferredDuringSchedulingIgnoredDuringExecution"))
        .and_then(Value::as_array_mut)
    {
        for term in terms {
            if let Some(selector) = term.pointer_mut("/podAffinityTerm/labelSelector") {
                rewrite_selector(selector, target, options);
            }
        }
    }
}

fn rewrite_selector(selector: &mut Value, target: &str, options: &Options) {
    let primary = format!("{target}-primary");
    for key in &options.selector_labels {
        if let Some(value) = selector
            .get_mut("matchLabels")
            .and_then(|labels| labels.get_mut(key))
            && value.as_str() == Some(target)
        {
            *value = Value::String(primary.clone());
        }
    }
    let Some(expressions) = selector.get_mut("matchExpressions").and_then(Value::as_array_mut) else {
        return;
    };
    for expression in expressions {
        let matches = expression
            .get("key")
            .and_then(Value::as_str)
            .is_some_and(|key| options.selector_labels.iter().any(|candidate| candidate == key));
        if !matches {
            continue;
        }
        if let Some(value) = expression
            .get_mut("values")
            .and_then(Value::as_array_mut)
            .and_then(|values| values.iter_mut().find(|value| value.as_str() == Some(target)))
        {
            *value = Value::String(primary.clone());
        }
    }
}
