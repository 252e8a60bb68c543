//! What an API server does to an object of v1beta1 between two conversions, read from the CRD by an algorithm of its
//! own: prune, drop nulls, fill in defaults, print whole floats as integers.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use verdigris::api::crd;

/// The v1beta1 schema, as JSON.
pub(crate) static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let canary = serde_json::to_value(&crd::all(None)[0]).unwrap();
    let versions = canary["spec"]["versions"].as_array().unwrap().clone();
    let beta = versions
        .into_iter()
        .find(|version| version["name"] == "v1beta1")
        .unwrap();
    beta["schema"]["openAPIV3Schema"].clone()
});

/// A v1beta1 object as the API server keeps it.
pub(crate) fn prune(object: &Value) -> Value {
    let mut out = Map::new();
    for (key, value) in object.as_object().unwrap() {
        if ["apiVersion", "kind", "metadata"].contains(&key.as_str()) {
            out.insert(key.clone(), value.clone());
        } else if let Some(value) = kept(&SCHEMA["properties"][key], value) {
            out.insert(key.clone(), value);
        }
    }
    Value::Object(out)
}

/// The value of a member declared by `schema`; `None` when the member goes.
fn kept(schema: &Value, value: &Value) -> Option<Value> {
    if schema.is_null() || (value.is_null() && schema.get("default").is_none()) {
        return None;
    }
    Some(below(schema, value))
}

fn below(schema: &Value, value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter_map(|(key, value)| {
                let declared = schema["properties"]
                    .get(key)
                    .unwrap_or(&schema["additionalProperties"]);
                Some((key.clone(), kept(declared, value)?))
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| below(&schema["items"], item)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// An object after the API server has stored and read it: numbers as Go prints them, defaults filled in.
pub(crate) fn store(object: &Value) -> Value {
    let mut object = reprint(object);
    for part in ["spec", "status"] {
        if let Some(value) = object.get_mut(part) {
            fill(&SCHEMA["properties"][part], value);
        }
    }
    object
}

fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, property) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = property.get("default")
                    && map.get(key).is_none_or(Value::is_null)
                {
                    map.insert(key.clone(), default.clone());
                }
            }
            for (key, value) in map {
                fill(
                    schema["properties"]
                        .get(key)
                        .unwrap_or(&schema["additionalProperties"]),
                    value,
                );
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(&schema["items"], item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whole floats become integers, and keys are sorted.
pub(crate) fn reprint(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map
                .iter()
                .map(|(key, value)| (key.clone(), reprint(value)))
                .collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            members.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(reprint).collect(),
        Value::Number(number)
            if number.is_f64()
                && number
                    .as_f64()
                    .is_some_and(|float| float.fract() == 0.0 && float.abs() < 1e15) =>
        {
            json!(number.as_f64().unwrap() as i64)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
