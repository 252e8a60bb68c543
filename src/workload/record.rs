//! Recorded revisions: the target exactly as it was judged, kept in a ControllerRevision owned by the Canary, so
//! that promotion copies what was judged and a lost primary can be rebuilt from what was last promoted.

use serde_json::{Value, json};

use crate::model::canary::Canary;
use crate::model::revision::{self, Revision};

use super::{CANARY_LABEL, owner_reference};

/// Annotation that holds the full revision hash.
const HASH_ANNOTATION: &str = "verdigris.dev/revision";

/// The object name of a recorded revision: `<canary>-<10 hex digits>`, at most 63 characters.
pub fn name(canary: &Canary, revision: &Revision) -> String {
    let hex = revision
        .template
        .strip_prefix(revision::VERSION)
        .unwrap_or(&revision.template);
    let short: String = hex.chars().take(10).collect();
    let stem: String = canary.id.name.chars().take(63 - 11).collect();
    format!("{}-{short}", stem.trim_end_matches(['-', '.']))
}

/// The part of a target that a primary is rendered from: labels, annotations and spec.
pub fn source(target: &Value) -> Value {
    let mut spec = target.get("spec").cloned().unwrap_or_else(|| json!({}));
    if let Some(map) = spec.as_object_mut() {
        map.remove("paused");
        map.remove("selector");
    }
    let mut metadata = json!({});
    for field in ["labels", "annotations"] {
        if let Some(entries) = target
            .pointer(&format!("/metadata/{field}"))
            .and_then(Value::as_object)
        {
            let kept = entries
                .iter()
                .filter(|(key, _)| {
                    !key.starts_with("kubectl.kubernetes.io/")
                        && !key.starts_with("deployment.kubernetes.io/")
                })
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            metadata[field] = Value::Object(kept);
        }
    }
    json!({ "metadata": metadata, "spec": spec })
}

/// Renders the ControllerRevision (`apps/v1`) that records `target` as `revision`.
pub fn render(canary: &Canary, revision: &Revision, target: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name(canary, revision),
            "namespace": canary.id.namespace,
            "labels": { CANARY_LABEL: canary.id.uid },
            "annotations": { HASH_ANNOTATION: revision.template },
            "ownerReferences": [owner_reference(canary)],
        },
        "revision": target.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1),
        "data": source(target),
    })
}

/// The recorded target inside a ControllerRevision, if it records `revision`.
pub fn read(object: &Value, revision: &Revision) -> Option<Value> {
    let hash = object
        .get("metadata")?
        .get("annotations")?
        .get(HASH_ANNOTATION)?
        .as_str()?;
    (hash == revision.template)
        .then(|| object.get("data").cloned())
        .flatten()
}

/// The revision hash a ControllerRevision records.
pub fn hash_of(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(HASH_ANNOTATION)?
        .as_str()
}
