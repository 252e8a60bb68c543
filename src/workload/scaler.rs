//! The primary's autoscaler, made from the target's (flagger-behaviour §3.6, §3.7).

use serde_json::{Map, Value, json};

use crate::model::canary::{Autoscaler, Canary, ScalerKind};

use super::{is_owned_by, owner_reference};

/// KEDA's annotation that holds a workload at a number of replicas.
pub const PAUSED: &str = "autoscaling.keda.sh/paused-replicas";

/// Name of the primary's autoscaler.
pub fn primary_name(scaler: &Autoscaler) -> String {
    format!("{}-primary", scaler.name)
}

/// Why an autoscaler is not touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScalerError {
    /// It scales something else.
    #[error(
        "spec.autoscalerRef: {kind} {name} scales {found}; expected {expected}; correct its spec.scaleTargetRef or the reference"
    )]
    OtherTarget {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What it scales.
        found: String,
        /// The target.
        expected: String,
    },
    /// The primary's scaler belongs to somebody else.
    #[error(
        "{kind} {name} exists and is not controlled by this Canary; expected none, or ours; rename or delete it"
    )]
    Foreign {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}

/// The Kubernetes kind.
pub fn kind(scaler: &Autoscaler) -> &'static str {
    match scaler.kind {
        ScalerKind::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        ScalerKind::ScaledObject => "ScaledObject",
    }
}

/// The primary's autoscaler as it should be, given the user's and what is there; `None` when nothing has to be
/// written.
pub fn primary(
    scaler: &Autoscaler,
    source: &Value,
    live: Option<&Value>,
    canary: &Canary,
) -> Result<Option<Value>, ScalerError> {
    let scaled = source
        .pointer("/spec/scaleTargetRef/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if scaled != canary.target.name {
        return Err(ScalerError::OtherTarget {
            kind: kind(scaler),
            name: scaler.name.clone(),
            found: scaled.to_owned(),
            expected: canary.target.name.clone(),
        });
    }
    if live.is_some_and(|live| !is_owned_by(live, canary)) {
        return Err(ScalerError::Foreign {
            kind: kind(scaler),
            name: primary_name(scaler),
        });
    }
    let mut spec = source.get("spec").cloned().unwrap_or_else(|| json!({}));
    spec["scaleTargetRef"]["name"] = json!(format!("{}-primary", canary.target.name));
    match scaler.kind {
        ScalerKind::HorizontalPodAutoscaler => bounds(&mut spec, scaler, "minReplicas", "maxReplicas"),
        ScalerKind::ScaledObject => {
            bounds(&mut spec, scaler, "minReplicaCount", "maxReplicaCount");
            if let Some(name) = spec.pointer_mut("/advanced/horizontalPodAutoscalerConfig/name")
                && let Some(text) = name.as_str().filter(|text| !text.is_empty())
            {
                *name = json!(format!("{text}-primary"));
            }
            triggers(&mut spec, scaler, &canary.target.name);
        }
    }
    let mut wanted = live.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": source.get("apiVersion"),
            "kind": kind(scaler),
            "metadata": {
                "name": primary_name(scaler),
                "namespace": canary.id.namespace,
                "labels": kept(source.pointer("/metadata/labels")),
                "annotations": kept(source.pointer("/metadata/annotations")),
                "ownerReferences": [owner_reference(canary)],
            },
        })
    });
    if let Some(map) = wanted.as_object_mut() {
        map.remove("status");
    }
    wanted["spec"] = spec;
    let changed = live.is_none_or(|live| live.get("spec") != wanted.get("spec"));
    Ok(changed.then_some(wanted))
}

/// The merge patch that pauses (or resumes) the user's autoscaler; `None` when it needs none. An HPA idles by itself
/// while its target has no replicas.
pub fn pause(scaler: &Autoscaler, source: &Value, paused: bool) -> Option<Value> {
    match scaler.kind {
        ScalerKind::HorizontalPodAutoscaler => None,
        ScalerKind::ScaledObject => {
            let now = source
                .pointer("/metadata/annotations")
                .and_then(|annotations| annotations.get(PAUSED));
            let wanted = if paused { json!("0") } else { Value::Null };
            let same = now.unwrap_or(&Value::Null) == &wanted;
            (!same).then(|| json!({ "metadata": { "annotations": { PAUSED: wanted } } }))
        }
    }
}

/// The least replicas the autoscaler keeps, when that is more than one.
pub fn minimum(scaler: &Autoscaler, source: &Value) -> Option<i64> {
    let field = match scaler.kind {
        ScalerKind::HorizontalPodAutoscaler => "/spec/minReplicas",
        ScalerKind::ScaledObject => "/spec/minReplicaCount",
    };
    source
        .pointer(field)
        .and_then(Value::as_i64)
        .filter(|minimum| *minimum > 1)
}

fn bounds(spec: &mut Value, scaler: &Autoscaler, minimum: &str, maximum: &str) {
    if let Some(count) = scaler.primary_min {
        spec[minimum] = json!(count);
    }
    if let Some(count) = scaler.primary_max {
        spec[maximum] = json!(count);
    }
}

/// KEDA triggers ask about the primary: the query given for a trigger's name, else its own with the names of the
/// target and its canary Service turned into the primary's.
fn triggers(spec: &mut Value, scaler: &Autoscaler, target: &str) {
    let Some(triggers) = spec.get_mut("triggers").and_then(Value::as_array_mut) else {
        return;
    };
    let primary = format!("{target}-primary");
    for trigger in triggers {
        let given = trigger
            .get("name")
            .and_then(Value::as_str)
            .and_then(|name| scaler.primary_queries.get(name));
        let Some(query) = trigger.pointer_mut("/metadata/query") else {
            continue;
        };
        if let Some(given) = given {
            *query = json!(given);
        } else if scaler.primary_queries.is_empty()
            && let Some(text) = query.as_str()
        {
            let renamed = text.replace(&format!("{target}-canary"), &primary);
            let renamed: Vec<String> = renamed
                .split(&primary)
                .map(|part| part.replace(target, &primary))
                .collect();
            *query = json!(renamed.join(&primary));
        }
    }
}

/// Labels and annotations that describe the workload: not those of Flux, of `kubectl apply`, or a pause.
fn kept(source: Option<&Value>) -> Map<String, Value> {
    let Some(entries) = source.and_then(Value::as_object) else {
        return Map::new();
    };
    entries
        .iter()
        .filter(|(key, _)| {
            !key.contains("toolkit.fluxcd.io")
                && !key.starts_with("kubectl.kubernetes.io/")
                && !key.starts_with("autoscaling.keda.sh/paused")
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
