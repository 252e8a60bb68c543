//! Structural schemas: pruning, defaulting and unknown fields.

use serde_json::Value;

/// Removes what the schema does not name from a custom resource (root `apiVersion`, `kind` and `metadata` stay) and
/// returns the removed paths (`spec.foo`, `spec.list[1].bar`) in document order. The paths are the unknown fields of
/// fieldValidation `Strict`/`Warn`.
pub fn prune(schema: &Value, object: &mut Value) -> Vec<String> {
    let _ = (schema, object);
    Vec::new()
}

/// Fills in defaults of a custom resource; a `null` where the schema has a default and is not nullable counts as
/// absent.
pub fn default(schema: &Value, object: &mut Value) {
    let _ = (schema, object);
}
