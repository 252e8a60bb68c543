//! Whether an `openAPIV3Schema` is structural (KEP-1979), and its defaults valid.

use serde_json::{Map, Value, json};

use super::text;
use crate::schema::error::ErrorKind;
use crate::schema::{FieldError, rules, structural, validate};

/// Where in a structural schema a node stands.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

pub(super) fn check_schema(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut found = Vec::new();
    structural_node(schema, Level::Root, path, &mut found);
    found.sort_by_key(ToString::to_string);
    if found.is_empty() {
        check_defaults(schema, path, &mut found);
        for (place, why) in rules::broken(schema) {
            let place = format!("{path}{place}.x-kubernetes-validations");
            found.push(FieldError::new(
                ErrorKind::Invalid,
                &place,
                None,
                format!("compilation failed: {why}"),
            ));
        }
    }
    errors.append(&mut found);
}

fn forbidden(path: &str, detail: &str) -> FieldError {
    FieldError::new(ErrorKind::Forbidden, path, None, detail)
}

fn flag(node: &Value, name: &str) -> bool {
    node.get(name) == Some(&Value::Bool(true))
}

fn structural_node(node: &Value, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let kind = text(node, "type");
    let at = |name: &str| format!("{path}.{name}");
    for name in [
        "$ref",
        "definitions",
        "dependencies",
        "patternProperties",
        "additionalItems",
        "id",
    ] {
        if node.get(name).is_some_and(|v| !v.is_null()) {
            errors.push(forbidden(&at(name), &format!("{name} is not supported")));
        }
    }
    if flag(node, "uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(forbidden(&at("uniqueItems"), detail));
    }
    if !matches!(
        kind,
        "" | "array" | "boolean" | "integer" | "number" | "object" | "string"
    ) {
        let detail =
            "supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"";
        errors.push(FieldError::new(
            ErrorKind::NotSupported,
            &at("type"),
            Some(&json!(kind)),
            detail,
        ));
    }
    check_type(node, kind, level, path, errors);
    if kind == "array" && node.get("items").is_none_or(Value::is_null) {
        errors.push(FieldError::required(&at("items"), "must be specified"));
    }
    if let Some(items) = node.get("items") {
        if items.is_array() {
            errors.push(forbidden(
                &at("items"),
                "items must be a schema object and not an array",
            ));
        } else {
            structural_node(items, Level::Item, &at("items"), errors);
        }
    }
    let properties = node.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let place = format!("{path}.properties[{name}]");
        if level == Level::Root && name == "metadata" {
            let others = property["properties"].as_object().into_iter().flatten();
            if others
                .filter(|(n, _)| !matches!(n.as_str(), "name" | "generateName"))
                .count()
                > 0
            {
                let detail = "must not specify anything other than name and generateName, but metadata is \
                              implicitly specified";
                errors.push(forbidden(&place, detail));
            }
        }
        structural_node(property, Level::Field, &place, errors);
    }
    if let Some(additional) = node.get("additionalProperties").filter(|a| !a.is_null()) {
        if level == Level::Root {
            errors.push(forbidden(
                &at("additionalProperties"),
                "must not be used at the root",
            ));
        }
        if properties.is_some_and(|p| !p.is_empty()) {
            let detail = "additionalProperties and properties are mutual exclusive";
            errors.push(forbidden(&at("additionalProperties"), detail));
        }
        if additional.is_object() {
            structural_node(additional, Level::Field, &at("additionalProperties"), errors);
        }
    }
    check_lists(node, kind, path, errors);
    check_pattern(node, path, errors);
    for (index, rule) in node["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        if text(rule, "rule").trim().is_empty() {
            let place = format!("{path}.x-kubernetes-validations[{index}].rule");
            errors.push(FieldError::required(&place, "rule is not specified"));
        }
    }
    let int_or_string = flag(node, "x-kubernetes-int-or-string");
    for quantor in ["anyOf", "allOf", "oneOf"] {
        for (index, nested) in node[quantor].as_array().into_iter().flatten().enumerate() {
            let types_only = int_or_string && quantor != "oneOf";
            nested_node(
                nested,
                node,
                types_only,
                &format!("{path}.{quantor}[{index}]"),
                path,
                errors,
            );
        }
    }
    if let Some(not) = node.get("not") {
        nested_node(not, node, false, &at("not"), path, errors);
    }
}

fn check_type(node: &Value, kind: &str, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let at = |name: &str| format!("{path}.{name}");
    let embedded = flag(node, "x-kubernetes-embedded-resource");
    let preserve = flag(node, "x-kubernetes-preserve-unknown-fields");
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() {
            FieldError::required(&at("type"), detail)
        } else {
            FieldError::invalid(&at("type"), &json!(kind), detail)
        });
    } else if kind.is_empty() && !flag(node, "x-kubernetes-int-or-string") && !preserve {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(&at("type"), detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(
            &at("type"),
            &json!(kind),
            "must be object at the root",
        ));
    }
    if embedded && !preserve && node["properties"].as_object().is_none_or(Map::is_empty) {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(&at("properties"), detail));
    }
    if node.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let detail = "must be true or undefined";
        errors.push(FieldError::invalid(
            &at("x-kubernetes-preserve-unknown-fields"),
            &json!(false),
            detail,
        ));
    }
}

fn check_lists(node: &Value, kind: &str, path: &str, errors: &mut Vec<FieldError>) {
    let at = |name: &str| format!("{path}.{name}");
    let list_type = text(node, "x-kubernetes-list-type");
    let keys: Vec<&str> = node["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !list_type.is_empty() && kind != "array" {
        let detail = "must be array if x-kubernetes-list-type is specified";
        errors.push(FieldError::invalid(&at("type"), &json!(kind), detail));
    }
    if !matches!(list_type, "" | "atomic" | "set" | "map") {
        let detail = "supported values: \"atomic\", \"map\", \"set\"";
        let place = at("x-kubernetes-list-type");
        errors.push(FieldError::new(
            ErrorKind::NotSupported,
            &place,
            Some(&json!(list_type)),
            detail,
        ));
    }
    if !matches!(text(node, "x-kubernetes-map-type"), "" | "atomic" | "granular") {
        let place = at("x-kubernetes-map-type");
        let value = json!(text(node, "x-kubernetes-map-type"));
        let detail = "supported values: \"atomic\", \"granular\"";
        errors.push(FieldError::new(
            ErrorKind::NotSupported,
            &place,
            Some(&value),
            detail,
        ));
    }
    if list_type != "map" {
        if !keys.is_empty() {
            let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
            errors.push(FieldError::required(&at("x-kubernetes-list-type"), detail));
        }
        return;
    }
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&at("x-kubernetes-list-map-keys"), detail));
    }
    let items = node.get("items").unwrap_or(&Value::Null);
    if text(items, "type") != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(
            &at("items.type"),
            &json!(text(items, "type")),
            detail,
        ));
    }
    for key in keys {
        let property = items.get("properties").and_then(|p| p.get(key));
        let Some(property) = property else {
            let detail = "entries must all be names of item properties";
            let value = node["x-kubernetes-list-map-keys"].clone();
            errors.push(FieldError::invalid(
                &at("x-kubernetes-list-map-keys"),
                &value,
                detail,
            ));
            continue;
        };
        let required = items["required"]
            .as_array()
            .is_some_and(|r| r.iter().any(|name| name == key));
        if !required && property.get("default").is_none() {
            let place = format!("{path}.items.properties[{key}].default");
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a \
                          required property";
            errors.push(FieldError::required(&place, detail));
        }
    }
}

fn check_pattern(node: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let expected = text(node, "pattern");
    if let Err(why) = regex::Regex::new(expected) {
        let why = why.to_string();
        let last = why
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let detail = format!("must be a valid regular expression, but isn't: {last}");
        errors.push(FieldError::invalid(
            &format!("{path}.pattern"),
            &json!(expected),
            detail,
        ));
    }
}

/// A node under anyOf, allOf, oneOf or not: values only, and only of fields the structural part `twin` has.
fn nested_node(
    node: &Value,
    twin: &Value,
    types_allowed: bool,
    path: &str,
    twin_path: &str,
    errors: &mut Vec<FieldError>,
) {
    let at = |name: &str| format!("{path}.{name}");
    for (name, detail) in [
        ("type", "must be empty to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("default", "must be undefined to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("nullable", "must be false to be structural"),
        (
            "x-kubernetes-preserve-unknown-fields",
            "must be false to be structural",
        ),
        ("x-kubernetes-embedded-resource", "must be false to be structural"),
        ("x-kubernetes-int-or-string", "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
    ] {
        let set = node
            .get(name)
            .is_some_and(|v| !matches!(v, Value::Null | Value::Bool(false)));
        if set && !(types_allowed && name == "type") {
            errors.push(forbidden(&at(name), detail));
        }
    }
    check_pattern(node, path, errors);
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        let place = format!("{path}.properties[{name}]");
        let known = format!("{twin_path}.properties[{name}]");
        match twin.get("properties").and_then(|p| p.get(name)) {
            Some(twin) => nested_node(property, twin, false, &place, &known, errors),
            None => errors.push(FieldError::required(
                &known,
                format!("because it is defined in {place}"),
            )),
        }
    }
    if let Some(items) = node.get("items") {
        let known = format!("{twin_path}.items");
        match twin.get("items") {
            Some(twin) => nested_node(items, twin, false, &at("items"), &known, errors),
            None => errors.push(FieldError::required(
                &known,
                format!("because it is defined in {}", at("items")),
            )),
        }
    }
    for quantor in ["anyOf", "allOf", "oneOf"] {
        for (index, nested) in node[quantor].as_array().into_iter().flatten().enumerate() {
            nested_node(
                nested,
                twin,
                types_allowed,
                &format!("{path}.{quantor}[{index}]"),
                twin_path,
                errors,
            );
        }
    }
    if let Some(not) = node.get("not") {
        nested_node(not, twin, types_allowed, &at("not"), twin_path, errors);
    }
}

/// Defaults must themselves be pruned and valid.
fn check_defaults(node: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(value) = node.get("default").filter(|d| !d.is_null()) {
        let place = format!("{path}.default");
        let wrapper = json!({"type": "object", "properties": {"default": node}});
        let wrapped = json!({"default": value});
        if !structural::unknown_fields(&wrapper, &wrapped).is_empty() {
            errors.push(FieldError::invalid(&place, value, "must not have unknown fields"));
        }
        let mut filled = wrapped;
        structural::default(&wrapper, &mut filled);
        for mut error in validate::validate(&wrapper, &filled, None) {
            if error.field != "<nil>" {
                error.field = format!("{path}.{}", error.field);
            }
            errors.push(error);
        }
    }
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        check_defaults(property, &format!("{path}.properties[{name}]"), errors);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = node.get(name).filter(|b| b.is_object()) {
            check_defaults(below, &format!("{path}.{name}"), errors);
        }
    }
}
