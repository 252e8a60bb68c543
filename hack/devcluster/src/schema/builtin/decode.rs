//! Decoding of built-in objects as Go does it: unknown fields, wrong types, and what is dropped.

use serde_json::Value;

use super::schema;
use crate::schema::{KindRef, Schema};

/// What decoding an object as a built-in kind finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Unknown fields, `spec.foo`, in document order: for fieldValidation `Strict` (400, see
    /// [`crate::schema::error::strict_refusal`]) and `Warn` (`Warning: 299 - "unknown field …"`).
    pub unknown: Vec<String>,
    /// Values of a wrong JSON type, in the words of Go's decoder: always a refusal (400, see
    /// [`crate::schema::error::decode_refusal`]).
    pub mistyped: Vec<String>,
}

/// Finds unknown fields and wrong types of a built-in object. An unknown kind has neither.
pub fn decode(kind: &KindRef<'_>, object: &Value) -> Decoded {
    let mut found = Decoded::default();
    if let Some(schema) = schema(kind) {
        decode_at(schema, object, &Place::root(kind.kind), &mut found);
    }
    found
}

/// [`decode`], and a copy of the object without what Go's decoder would drop: unknown fields, and `null`s.
pub fn decoded(kind: &KindRef<'_>, object: &Value) -> (Value, Decoded) {
    let mut copy = object.clone();
    if let Some(schema) = schema(kind) {
        drop_at(schema, &mut copy);
    }
    (copy, decode(kind, object))
}

struct Place {
    path: String,
    /// The path as Go's decoder tells it: struct fields only, no map keys and no indices.
    go_path: String,
    /// Go's name of the struct that is being decoded.
    owner: String,
}

impl Place {
    fn root(kind: &str) -> Self {
        Self {
            path: String::new(),
            go_path: String::new(),
            owner: kind.to_owned(),
        }
    }

    fn field(&self, name: &str, schema: Schema<'_>) -> Self {
        let join = |path: &str| {
            if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            }
        };
        Self {
            path: join(&self.path),
            go_path: join(&self.go_path),
            owner: self.owner(schema),
        }
    }

    fn key(&self, name: &str, schema: Schema<'_>) -> Self {
        Self {
            path: format!("{}.{name}", self.path),
            go_path: self.go_path.clone(),
            owner: self.owner(schema),
        }
    }

    fn item(&self, index: usize, schema: Schema<'_>) -> Self {
        Self {
            path: format!("{}[{index}]", self.path),
            go_path: self.go_path.clone(),
            owner: self.owner(schema),
        }
    }

    fn owner(&self, schema: Schema<'_>) -> String {
        schema
            .text("$ref")
            .and_then(|r| r.rsplit('.').next())
            .unwrap_or(&self.owner)
            .to_owned()
    }
}

fn go_type(schema: Schema<'_>) -> String {
    let format = schema.text("format");
    match schema.text("type") {
        Some("integer") => format.unwrap_or("int64").to_owned(),
        Some("number") => "float64".to_owned(),
        Some("boolean") => "bool".to_owned(),
        Some("array") => format!("[]{}", go_name(schema.items())),
        Some("object") if schema.values().is_some() => {
            format!("map[string]{}", schema.values().map_or_else(String::new, go_type))
        }
        Some("object") => go_name(schema),
        _ => "string".to_owned(),
    }
}

/// `v1.Container` for `#/definitions/io.k8s.api.core.v1.Container`.
fn go_name(schema: Schema<'_>) -> String {
    schema.text("$ref").map_or_else(
        || go_type(schema),
        |path| {
            let mut parts = path.rsplit('.');
            let kind = parts.next().unwrap_or_default();
            format!("{}.{kind}", parts.next().unwrap_or_default())
        },
    )
}

fn decode_at(schema: Schema<'_>, value: &Value, place: &Place, found: &mut Decoded) {
    if schema.node().is_none() || schema.flag("x-kubernetes-preserve-unknown-fields") || value.is_null() {
        return;
    }
    let mut wrong = |what: &str| {
        found.mistyped.push(format!(
            "json: cannot unmarshal {what} into Go struct field {}.{} of type {}",
            place.owner,
            place.go_path,
            go_type(schema)
        ));
    };
    if schema.flag("x-kubernetes-int-or-string") {
        if !(value.is_string() || value.is_number()) {
            wrong(json_kind(value));
        }
        return;
    }
    let expected = schema.text("type").unwrap_or_default();
    match (expected, value) {
        ("object", Value::Object(members)) => {
            for (name, value) in members {
                if let Some(property) = schema.property(name) {
                    decode_at(property, value, &place.field(name, property), found);
                } else if let Some(values) = schema.values() {
                    decode_at(values, value, &place.key(name, values), found);
                } else if schema.properties().is_some() {
                    found.unknown.push(place.field(name, schema).path);
                }
            }
        }
        ("array", Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let schema = schema.items();
                decode_at(schema, item, &place.item(index, schema), found);
            }
        }
        ("integer", Value::Number(number)) => {
            let whole = number.as_f64().is_some_and(|n| n.fract() == 0.0);
            let fits = match schema.text("format") {
                Some("int32") => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                _ => number.is_i64() || number.is_u64() || whole,
            };
            if !fits {
                wrong(&format!("number {number}"));
            }
        }
        ("string", Value::String(_)) | ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => {}
        ("object" | "array" | "integer" | "string" | "number" | "boolean", _) => wrong(json_kind(value)),
        _ => {}
    }
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn drop_at(schema: Schema<'_>, value: &mut Value) {
    if schema.node().is_none() || schema.flag("x-kubernetes-preserve-unknown-fields") {
        return;
    }
    match value {
        Value::Object(members) => {
            let closed = schema.properties().is_some() && schema.values().is_none();
            members.retain(|name, value| !value.is_null() && (!closed || schema.property(name).is_some()));
            for (name, value) in members {
                drop_at(schema.member(name), value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_at(schema.items(), item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
