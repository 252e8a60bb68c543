//! Structural schemas: pruning, defaulting and unknown fields of custom resources.
//!
//! Owns what happens to a custom resource between decoding and validation. Never judges values.

use serde_json::{Map, Value};

use super::builtin;
use super::{Schema, builtin::META};

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

fn values(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|a| a.is_object())
}

/// Removes what the schema does not name from a custom resource (root `apiVersion`, `kind` and `metadata` stay;
/// unknown members of `metadata` go) and returns the removed paths (`spec.foo`, `spec.list[1].bar`) in document
/// order. The paths are the unknown fields of fieldValidation `Strict`/`Warn`.
pub fn prune(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    prune_at(schema, object, true, "", &mut removed);
    removed
}

/// Unknown fields of a custom resource, see [`prune`].
pub fn unknown_fields(schema: &Value, object: &Value) -> Vec<String> {
    prune(schema, &mut object.clone())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn prune_at(schema: &Value, value: &mut Value, resource: bool, path: &str, removed: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
            let resource = resource || flag(schema, "x-kubernetes-embedded-resource");
            let names: Vec<String> = members.keys().cloned().collect();
            for name in names {
                let below = join(path, &name);
                if resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    if let Some(metadata) = members.get_mut("metadata").filter(|_| name == "metadata") {
                        prune_metadata(metadata, &below, removed);
                    }
                    continue;
                }
                match property(schema, &name).or_else(|| values(schema)) {
                    Some(known) => {
                        if let Some(value) = members.get_mut(&name) {
                            prune_at(known, value, false, &below, removed);
                        }
                    }
                    None if preserve || schema.get("additionalProperties") == Some(&Value::Bool(true)) => {}
                    None => {
                        members.shift_remove(&name);
                        removed.push(below);
                    }
                }
            }
        }
        Value::Array(items) => {
            let Some(known) = schema.get("items") else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune_at(known, item, false, &format!("{path}[{index}]"), removed);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Unknown members of ObjectMeta go, at any depth.
fn prune_metadata(metadata: &mut Value, path: &str, removed: &mut Vec<String>) {
    fn walk(schema: Schema<'_>, value: &mut Value, path: &str, removed: &mut Vec<String>) {
        match value {
            Value::Object(members) if !schema.flag("x-kubernetes-preserve-unknown-fields") => {
                let closed = schema.properties().is_some();
                let names: Vec<String> = members.keys().cloned().collect();
                for name in names {
                    let below = join(path, &name);
                    if closed && schema.property(&name).is_none() {
                        members.shift_remove(&name);
                        removed.push(below);
                    } else if let Some(value) = members.get_mut(&name) {
                        walk(schema.member(&name), value, &below, removed);
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    walk(schema.items(), item, &format!("{path}[{index}]"), removed);
                }
            }
            Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    if let Some(schema) = builtin::definitions().get(&format!("{META}.ObjectMeta")) {
        walk(Schema::new(schema), metadata, path, removed);
    }
}

/// Fills in defaults of a custom resource. A `null` where the schema is not nullable counts as absent: it becomes
/// the default, or goes.
pub fn default(schema: &Value, object: &mut Value) {
    match object {
        Value::Object(members) => {
            default_members(schema, members);
            members.retain(|name, value| {
                let known = property(schema, name).or_else(|| values(schema));
                !value.is_null() || known.is_none_or(|k| flag(k, "nullable"))
            });
            for (name, value) in members {
                if let Some(known) = property(schema, name).or_else(|| values(schema)) {
                    default(known, value);
                }
            }
        }
        Value::Array(items) => {
            let Some(known) = schema.get("items") else { return };
            for item in items {
                if item.is_null()
                    && !flag(known, "nullable")
                    && let Some(value) = known.get("default")
                {
                    *item = value.clone();
                }
                default(known, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn default_members(schema: &Value, members: &mut Map<String, Value>) {
    for (name, known) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let Some(value) = known.get("default").filter(|d| !d.is_null()) else {
            continue;
        };
        let absent = members
            .get(name)
            .is_none_or(|v| v.is_null() && !flag(known, "nullable"));
        if absent {
            members.insert(name.clone(), value.clone());
        }
    }
    if let Some(known) = values(schema)
        && let Some(value) = known.get("default").filter(|_| !flag(known, "nullable"))
    {
        for member in members.values_mut().filter(|m| m.is_null()) {
            *member = value.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pruning() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "a": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "string"}}}},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"known": {"type": "object", "properties": {}}}},
                "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
                "free": {"x-kubernetes-preserve-unknown-fields": true},
                "port": {"x-kubernetes-int-or-string": true},
            }},
        }});
        let rows = [
            (
                json!({"apiVersion": "v", "kind": "K", "metadata": {"name": "n", "labels": {"a": "b"}}, "spec": {"a": "1"}}),
                vec![],
            ),
            (json!({"foo": 1, "spec": {"a": "1"}}), vec!["foo"]),
            (
                json!({"spec": {"foo": 1, "bar": {"x": 1}}}),
                vec!["spec.foo", "spec.bar"],
            ),
            (
                json!({"spec": {"list": [{"x": "1"}, {"x": "1", "y": 1}]}}),
                vec!["spec.list[1].y"],
            ),
            (
                json!({"spec": {"map": {"k": {"x": "1", "y": 1}}}}),
                vec!["spec.map.k.y"],
            ),
            (
                json!({"spec": {"any": {"q": {"r": 1}, "known": {"z": 1}}}}),
                vec!["spec.any.known.z"],
            ),
            (
                json!({"spec": {"pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "nope": 1}, "z": 1}}}),
                vec!["spec.pod.metadata.nope", "spec.pod.z"],
            ),
            (
                json!({"spec": {"free": {"a": [1, {"b": 2}]}, "port": "http"}}),
                vec![],
            ),
            (
                json!({"metadata": {"name": "n", "colour": "red"}}),
                vec!["metadata.colour"],
            ),
        ];
        for (object, expected) in rows {
            let mut pruned = object.clone();
            assert_eq!(prune(&schema, &mut pruned), expected, "{object}");
            assert_eq!(
                prune(&schema, &mut pruned),
                Vec::<String>::new(),
                "pruning twice changes nothing"
            );
        }
    }

    #[test]
    fn defaulting() {
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer", "default": 5},
            "s": {"type": "string"},
            "null": {"type": "string", "nullable": true, "default": "d"},
            "sub": {"type": "object", "properties": {"x": {"type": "integer", "default": 1}}},
            "filled": {"type": "object", "default": {}, "properties": {"x": {"type": "integer", "default": 1}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"y": {"type": "integer", "default": 2}}}},
            "map": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
        }});
        let filled = json!({"x": 1});
        let rows = [
            (json!({}), json!({"n": 5, "null": "d", "filled": filled})),
            (json!({"n": 1}), json!({"n": 1, "null": "d", "filled": filled})),
            (
                json!({"n": null, "s": null, "null": null}),
                json!({"n": 5, "null": null, "filled": filled}),
            ),
            (
                json!({"sub": {}}),
                json!({"sub": {"x": 1}, "n": 5, "null": "d", "filled": filled}),
            ),
            (
                json!({"filled": {"x": 9}, "list": [{}, {"y": 3}], "map": {"a": null}}),
                json!({"filled": {"x": 9}, "list": [{"y": 2}, {"y": 3}], "map": {"a": 7}, "n": 5, "null": "d"}),
            ),
        ];
        for (object, expected) in rows {
            let mut defaulted = object.clone();
            default(&schema, &mut defaulted);
            assert_eq!(defaulted, expected, "{object}");
        }
    }
}
