//! Uniqueness in lists of type set and map.

use serde_json::Value;

use super::{alternatives, child, counterpart, text};
use crate::schema::FieldError;
use crate::schema::error::ErrorKind;

/// Uniqueness in lists of type set and map.
pub(super) fn lists(
    schema: &Value,
    value: &Value,
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if old == Some(value) {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let known = schema.get("properties").and_then(|p| p.get(name));
                if let Some(known) = known {
                    lists(
                        known,
                        value,
                        old.and_then(|o| o.get(name)),
                        &child(path, name),
                        errors,
                    );
                } else if let Some(known) = schema.get("additionalProperties").filter(|a| a.is_object()) {
                    lists(
                        known,
                        value,
                        old.and_then(|o| o.get(name)),
                        &format!("{path}[{name}]"),
                        errors,
                    );
                }
            }
        }
        Value::Array(items) => {
            let list_type = text(schema, "x-kubernetes-list-type");
            let keys = alternatives(schema, "x-kubernetes-list-map-keys");
            if list_type == Some("map")
                && let Some((index, item)) = items
                    .iter()
                    .enumerate()
                    .find(|(_, i)| !i.is_object() && !i.is_null())
            {
                let detail = "must be an object for an array of list-type map";
                errors.push(FieldError::invalid(&format!("{path}[{index}]"), item, detail));
                return;
            }
            let identities: Vec<Value> = match list_type {
                Some("set") => items.clone(),
                Some("map") => items.iter().map(|item| key_of(item, keys)).collect(),
                _ => Vec::new(),
            };
            for (index, identity) in identities.iter().enumerate() {
                if identities[..index].iter().filter(|i| *i == identity).count() == 1 {
                    let place = format!("{path}[{index}]");
                    errors.push(FieldError::new(ErrorKind::Duplicate, &place, Some(identity), ""));
                }
            }
            if let Some(known) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    let before = old.and_then(|o| counterpart(schema, item, o));
                    lists(known, item, before, &format!("{path}[{index}]"), errors);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn key_of(item: &Value, keys: &[Value]) -> Value {
    let found = keys
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|k| Some((k.to_owned(), item.get(k)?.clone())));
    Value::Object(found.collect())
}
