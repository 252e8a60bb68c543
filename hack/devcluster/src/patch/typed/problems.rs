//! What is wrong with a configuration that is to be applied.

use serde_json::Value;

use super::{ListKind, Type};
use crate::patch::fields::{PathElement, path_text};

/// Mistakes of a configuration that is to be applied: undeclared fields, wrong types, items without or with repeated
/// keys; `.spec.foo: field not declared in schema`.
pub fn problems(ty: Type<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    problems_at(ty, value, &mut Vec::new(), &mut found);
    found
}

fn problems_at(ty: Type<'_>, value: &Value, path: &mut Vec<PathElement>, found: &mut Vec<String>) {
    let report = |path: &[PathElement], text: &str| format!("{}: {text}", path_text(path));
    let Type::Known(schema) = ty else {
        if matches!(ty, Type::Undeclared) {
            found.push(report(path, "field not declared in schema"));
        }
        return;
    };
    if value.is_null() {
        return;
    }
    let expected = schema.text("type").unwrap_or("any scalar");
    match (expected, value) {
        ("object", Value::Object(members)) => {
            for (name, value) in members {
                path.push(PathElement::field(name));
                problems_at(ty.member(name), value, path, found);
                path.pop();
            }
        }
        ("array", Value::Array(items)) => {
            let kind = ty.list_kind();
            let mut seen = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let element = match &kind {
                    ListKind::Atomic => PathElement::Index(index),
                    ListKind::Set | ListKind::Keyed(_) => match ty.item_element(&kind, item) {
                        Ok(element) => element,
                        Err(why) => {
                            found.push(report(path, &format!("element {index}: {why}")));
                            return;
                        }
                    },
                };
                if seen.contains(&element) {
                    found.push(report(path, &format!("duplicate entries for key {element}")));
                }
                seen.push(element.clone());
                path.push(element);
                problems_at(ty.item(), item, path, found);
                path.pop();
            }
        }
        ("object", _) => found.push(report(
            path,
            &format!("expected map, got &{{{}}}", go_value(value)),
        )),
        ("array", _) => found.push(report(
            path,
            &format!("expected list, got &{{{}}}", go_value(value)),
        )),
        ("string", Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))
            if !schema.flag("x-kubernetes-int-or-string") =>
        {
            let text = format!("expected string, got &value.valueUnstructured{{Value:{value}}}");
            found.push(report(path, &text));
        }
        ("integer" | "number", Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_))
            if !schema.flag("x-kubernetes-int-or-string") =>
        {
            let got = match value {
                Value::Bool(_) => "bool",
                Value::Array(_) => "[]interface {}",
                Value::Object(_) => "map[string]interface {}",
                Value::String(_) | Value::Number(_) | Value::Null => "string",
            };
            found.push(report(
                path,
                &format!("expected numeric (int or float), got {got}"),
            ));
        }
        ("boolean", Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            found.push(report(
                path,
                &format!("expected boolean, got &{{{}}}", go_value(value)),
            ));
        }
        ("any scalar", Value::Array(_) | Value::Object(_)) => {
            found.push(report(
                path,
                &format!("expected any scalar, got &{{{}}}", go_value(value)),
            ));
        }
        _ => {}
    }
}

/// Go's `%v` of a JSON value.
pub(in crate::patch) fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let mut texts: Vec<String> = members
                .iter()
                .map(|(k, v)| format!("{k}:{}", go_value(v)))
                .collect();
            texts.sort();
            format!("map[{}]", texts.join(" "))
        }
    }
}
