//! The pod template of a primary (flagger-behaviour §3.1, §3.2).

use serde_json::{Map, Value, json};

use crate::model::canary::TargetKind;
use crate::model::revision::{self, Revision};

use super::{FLAGGER_ID, Options, Rendering, config, target};

/// The primary's pod template: the target's, with the selector label, the flagger-id, affinities and references to
/// tracked configs rewritten.
pub fn render(spec: &Value, revision: &Revision, rendering: &Rendering<'_>) -> Value {
    let mut template = spec.get("template").cloned().unwrap_or_else(|| json!({}));
    if !template.is_object() {
        template = json!({});
    }
    let target = &rendering.canary.target;
    let metadata = &mut template["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    let mut labels = without_flux(metadata.get("labels"));
    labels.insert(
        rendering.label.key.clone(),
        Value::String(rendering.label.primary()),
    );
    let mut annotations = without_flux(metadata.get("annotations"));
    annotations.insert(FLAGGER_ID.to_owned(), Value::String(flagger_id(revision)));
    metadata["labels"] = Value::Object(labels);
    metadata["annotations"] = Value::Object(annotations);
    match target.kind {
        TargetKind::Deployment => rewrite_affinity(&mut template, &target.name, rendering.options),
        TargetKind::DaemonSet => target::unpark(&mut template),
        TargetKind::Service | TargetKind::Knative => {}
    }
    config::rewrite(&mut template, rendering.copies);
    template
}

/// Compares the target's template with what the primary runs, our rewrites (and Flagger's) undone. `Some` when they
/// are the same, with the copies of configs the primary reads, whose content is for the caller to compare.
pub fn runs_the_same(
    target: &Value,
    primary: &Value,
    rendering: &Rendering<'_>,
) -> Option<Vec<config::Copied>> {
    let spec = target.get("spec").cloned().unwrap_or(Value::Null);
    let none = config::Copies::new();
    let rewrites = Rendering {
        copies: &none,
        ..*rendering
    };
    let mut rendered = render(&spec, &Revision::default(), &rewrites);
    let mut running = primary.pointer("/spec/template").cloned().unwrap_or(Value::Null);
    let copied = config::undo(&mut running, &rendered, rendering.canary);
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
    (revision::hash(&rendered) == revision::hash(&running)).then_some(copied)
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
    let hash = revision::hash(&Value::String(text));
    let hex = hash.strip_prefix(revision::VERSION).unwrap_or(&hash);
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
