//! Validation of custom resources against their schema, in the words of apiextensions-apiserver.
//!
//! Owns value validation, list uniqueness and ratcheting (a value that was stored before is not judged again).
//! Rules (`x-kubernetes-validations`) are in [`super::rules`].

mod format;
mod lists;

use std::collections::HashMap;

use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::{Map, Value, json};

use super::error::ErrorKind;
use super::{FieldError, rules};
use format::has_format;
use lists::lists;

/// Validates a pruned and defaulted custom resource against `openAPIV3Schema`; every mistake at once. `old` is the
/// stored object on update: what did not change is not judged again (ratcheting, KEP-4008).
pub fn validate(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut found = Findings::default();
    found.value(schema, object, old, "");
    lists(schema, object, old, "", &mut found.errors);
    if rules::has_rules(schema) {
        if found.errors.iter().any(|e| blocks_rules(e.kind)) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                          errors to complete validation";
            found.refuse(ErrorKind::Invalid, "", Some(&Value::Null), detail);
        } else {
            found.errors.extend(rules::evaluate(schema, object, old));
        }
    }
    found.errors
}

/// Mistakes after which rules cannot be evaluated: they may meet values of wrong types or sizes.
fn blocks_rules(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Required
        | ErrorKind::TooLong
        | ErrorKind::TooMany
        | ErrorKind::TypeInvalid
        | ErrorKind::NotSupported => true,
        ErrorKind::Duplicate | ErrorKind::Invalid | ErrorKind::Forbidden | ErrorKind::NotFound => false,
    }
}

/// A compiled pattern; `None` for one Rust cannot compile (Go's syntax differs in rare corners): then nothing is
/// refused.
pub(super) fn pattern(text: &str) -> Option<Regex> {
    static COMPILED: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    compiled
        .entry(text.to_owned())
        .or_insert_with(|| Regex::new(text).ok())
        .clone()
}

#[derive(Default)]
struct Findings {
    errors: Vec<FieldError>,
    /// How much of the schema was walked: of several failing alternatives the deepest one is told.
    visited: usize,
}

/// How kube-openapi names a value's type.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A field as errors name it; the object itself is `<nil>`.
fn field(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn text<'a>(schema: &'a Value, name: &str) -> Option<&'a str> {
    schema.get(name).and_then(Value::as_str).filter(|t| !t.is_empty())
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn limit(schema: &Value, name: &str) -> Option<usize> {
    schema.get(name)?.as_u64().and_then(|n| usize::try_from(n).ok())
}

fn alternatives<'a>(schema: &'a Value, name: &str) -> &'a [Value] {
    schema
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

impl Findings {
    fn refuse(&mut self, kind: ErrorKind, path: &str, value: Option<&Value>, detail: impl Into<String>) {
        self.errors
            .push(FieldError::new(kind, field(path), value, detail));
    }

    /// `spec.x in body should …`.
    fn should(&mut self, path: &str, value: &Value, what: &str) {
        let detail = format!("{path} in body should {what}");
        self.refuse(ErrorKind::Invalid, path, Some(value), detail);
    }

    fn value(&mut self, schema: &Value, value: &Value, old: Option<&Value>, path: &str) {
        if old == Some(value) {
            return;
        }
        self.visited += 1;
        if !self.of_type(schema, value, path) || value.is_null() {
            return;
        }
        self.quantors(schema, value, path);
        match value {
            Value::String(value) => self.string(schema, value, path),
            Value::Number(_) => self.number(schema, value, path),
            Value::Array(items) => self.list(schema, items, value, old, path),
            Value::Object(members) => self.object(schema, members, old, path),
            Value::Bool(_) | Value::Null => {}
        }
        self.one_of_enum(schema, value, path);
    }

    fn of_type(&mut self, schema: &Value, value: &Value, path: &str) -> bool {
        let actual = type_name(value);
        let wanted = if flag(schema, "x-kubernetes-int-or-string") {
            "integer,string"
        } else {
            text(schema, "type").unwrap_or_default()
        };
        let whole = value.as_f64().is_some_and(|n| n.fract() == 0.0);
        let fits = wanted.is_empty()
            || wanted.split(',').any(|w| w == actual)
            || (value.is_null() && flag(schema, "nullable"))
            || (wanted == "number" && actual == "integer")
            || (wanted.contains("integer") && actual == "number" && whole);
        if !fits {
            self.refuse(
                ErrorKind::TypeInvalid,
                path,
                Some(&json!(actual)),
                format!("{path} in body must be of type {wanted}: {actual:?}"),
            );
        }
        fits
    }

    fn string(&mut self, schema: &Value, value: &str, path: &str) {
        let shown = json!(value);
        let length = value.chars().count();
        if let Some(max) = limit(schema, "maxLength").filter(|max| length > *max) {
            let bytes = if max == 1 { "byte" } else { "bytes" };
            self.refuse(
                ErrorKind::TooLong,
                path,
                None,
                format!("may not be more than {max} {bytes}"),
            );
        }
        if let Some(min) = limit(schema, "minLength").filter(|min| length < *min) {
            self.should(path, &shown, &format!("be at least {min} chars long"));
        }
        if let Some(expected) = text(schema, "pattern")
            && pattern(expected).is_some_and(|p| !p.is_match(value))
        {
            self.should(path, &shown, &format!("match '{expected}'"));
        }
        if let Some(format) = text(schema, "format").filter(|f| !has_format(f, value)) {
            let detail = format!("{path} in body must be of type {format}: {value:?}");
            self.refuse(ErrorKind::TypeInvalid, path, Some(&shown), detail);
        }
    }

    fn number(&mut self, schema: &Value, value: &Value, path: &str) {
        let Some(number) = value.as_f64() else { return };
        let bound = |name: &str| schema.get(name).filter(|b| b.is_number());
        if let Some("int32") = text(schema, "format")
            && (number < f64::from(i32::MIN) || number > f64::from(i32::MAX))
        {
            let detail = format!("Checked value must be of type integer with format int32 in {path}");
            self.refuse(ErrorKind::Invalid, "", Some(&json!("")), detail);
        }
        if let Some(step) = bound("multipleOf")
            && step
                .as_f64()
                .is_some_and(|s| s > 0.0 && (number / s).fract() != 0.0)
        {
            self.should(path, value, &format!("be a multiple of {}", plain(step)));
        }
        if let Some(max) = bound("maximum") {
            let limit = max.as_f64().unwrap_or(f64::MAX);
            if flag(schema, "exclusiveMaximum") && number >= limit {
                self.should(path, value, &format!("be less than {}", plain(max)));
            } else if number > limit {
                self.should(path, value, &format!("be less than or equal to {}", plain(max)));
            }
        }
        if let Some(min) = bound("minimum") {
            let limit = min.as_f64().unwrap_or(f64::MIN);
            if flag(schema, "exclusiveMinimum") && number <= limit {
                self.should(path, value, &format!("be greater than {}", plain(min)));
            } else if number < limit {
                self.should(
                    path,
                    value,
                    &format!("be greater than or equal to {}", plain(min)),
                );
            }
        }
    }

    fn list(&mut self, schema: &Value, items: &[Value], value: &Value, old: Option<&Value>, path: &str) {
        if let Some(known) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                let before = old.and_then(|o| counterpart(schema, item, o));
                self.value(known, item, before, &format!("{path}[{index}]"));
            }
        }
        if let Some(min) = limit(schema, "minItems").filter(|min| items.len() < *min) {
            self.should(path, &json!(items.len()), &format!("have at least {min} items"));
        }
        if let Some(max) = limit(schema, "maxItems").filter(|max| items.len() > *max) {
            self.too_many(path, items.len(), max);
        }
        if flag(schema, "uniqueItems")
            && items
                .iter()
                .enumerate()
                .any(|(i, item)| items[..i].contains(item))
        {
            self.should(path, value, "not contain duplicates");
            if let Some(last) = self.errors.last_mut() {
                last.detail = format!("{path} in body shouldn't contain duplicates");
            }
        }
    }

    fn too_many(&mut self, path: &str, count: usize, max: usize) {
        let items = if max == 1 { "item" } else { "items" };
        self.refuse(
            ErrorKind::TooMany,
            path,
            Some(&json!(count)),
            format!("must have at most {max} {items}"),
        );
    }

    fn object(&mut self, schema: &Value, members: &Map<String, Value>, old: Option<&Value>, path: &str) {
        if let Some(min) = limit(schema, "minProperties").filter(|min| members.len() < *min) {
            self.should(
                path,
                &json!(members.len()),
                &format!("have at least {min} properties"),
            );
        }
        if let Some(max) = limit(schema, "maxProperties").filter(|max| members.len() > *max) {
            self.too_many(path, members.len(), max);
        }
        for (name, value) in members {
            let known = schema
                .get("properties")
                .and_then(|p| p.get(name))
                .or_else(|| schema.get("additionalProperties").filter(|a| a.is_object()));
            if let Some(known) = known {
                self.value(known, value, old.and_then(|o| o.get(name)), &child(path, name));
            } else if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
                let detail = format!("{path}.{name} in body is a forbidden property");
                self.refuse(ErrorKind::Invalid, path, Some(&json!("")), detail);
            }
        }
        for name in alternatives(schema, "required").iter().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                self.refuse(ErrorKind::Required, &child(path, name), None, "");
            }
        }
    }

    fn one_of_enum(&mut self, schema: &Value, value: &Value, path: &str) {
        let allowed = alternatives(schema, "enum");
        if allowed.is_empty() || allowed.iter().any(|a| equal(a, value)) {
            return;
        }
        let texts: Vec<String> = allowed
            .iter()
            .map(|a| format!("{:?}", a.as_str().map_or_else(|| a.to_string(), str::to_owned)))
            .collect();
        let detail = format!("supported values: {}", texts.join(", "));
        self.refuse(ErrorKind::NotSupported, path, Some(value), detail);
    }

    /// allOf, anyOf, oneOf and not. Their errors are about the whole object, as kube-openapi reports them.
    fn quantors(&mut self, schema: &Value, value: &Value, path: &str) {
        let attempt = |alternative: &Value| {
            let mut found = Self::default();
            found.value(alternative, value, None, path);
            found
        };
        let any: Vec<Self> = alternatives(schema, "anyOf").iter().map(attempt).collect();
        if !any.is_empty() && any.iter().all(|a| !a.errors.is_empty()) {
            self.whole(format!("{path:?} must validate at least one schema (anyOf)"));
            self.take_best(any);
        }
        let one: Vec<Self> = alternatives(schema, "oneOf").iter().map(attempt).collect();
        let valid = one.iter().filter(|a| a.errors.is_empty()).count();
        if !one.is_empty() && valid != 1 {
            let how = if valid == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {valid} valid alternatives")
            };
            self.whole(format!(
                "{path:?} must validate one and only one schema (oneOf). {how}"
            ));
            if valid == 0 {
                self.take_best(one);
            }
        }
        let all: Vec<Self> = alternatives(schema, "allOf").iter().map(attempt).collect();
        let valid = all.iter().filter(|a| a.errors.is_empty()).count();
        let count = all.len();
        for mut each in all {
            self.errors.append(&mut each.errors);
        }
        if valid != count {
            let none = if valid == 0 { ". None validated" } else { "" };
            self.whole(format!("{path:?} must validate all the schemas (allOf){none}"));
        }
        if let Some(not) = schema.get("not")
            && attempt(not).errors.is_empty()
        {
            self.whole(format!("{path:?} must not validate the schema (not)"));
        }
    }

    fn whole(&mut self, detail: String) {
        self.refuse(ErrorKind::Invalid, "", Some(&json!("")), detail);
    }

    /// Adds the errors of the alternative that got farthest.
    fn take_best(&mut self, attempts: Vec<Self>) {
        let mut best: Option<Self> = None;
        for attempt in attempts {
            if best.as_ref().is_none_or(|b| attempt.visited > b.visited) {
                best = Some(attempt);
            }
        }
        if let Some(mut best) = best {
            self.errors.append(&mut best.errors);
        }
    }
}

/// Equality of JSON values where `1` and `1.0` are one number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// A bound as Go prints it: without a fraction that is zero.
fn plain(number: &Value) -> String {
    match number.as_f64() {
        Some(n) if n.fract() == 0.0 && n.abs() < 1e15 => format!("{n:.0}"),
        _ => number.to_string(),
    }
}

/// The item of the old list an item continues: by its keys in a list of type map; items of other lists have none.
fn counterpart<'a>(schema: &Value, item: &Value, old: &'a Value) -> Option<&'a Value> {
    if text(schema, "x-kubernetes-list-type") != Some("map") {
        return None;
    }
    let keys = alternatives(schema, "x-kubernetes-list-map-keys");
    old.as_array()?.iter().find(|other| {
        keys.iter()
            .filter_map(Value::as_str)
            .all(|k| other.get(k) == item.get(k))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(spec: &Value, value: &Value) -> Vec<String> {
        let schema =
            json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": spec}}}});
        validate(&schema, &json!({"spec": {"x": value}}), None)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn one_value() {
        let rows: Vec<(Value, Value, &[&str])> = vec![
            (
                json!({"type": "integer"}),
                json!("string"),
                &[r#"spec.x: Invalid value: "string": spec.x in body must be of type integer: "string""#],
            ),
            (
                json!({"type": "integer"}),
                json!(1.5),
                &[r#"spec.x: Invalid value: "number": spec.x in body must be of type integer: "number""#],
            ),
            (json!({"type": "integer"}), json!(2.0), &[]),
            (json!({"type": "number"}), json!(2), &[]),
            (
                json!({"type": "string"}),
                json!(2),
                &[r#"spec.x: Invalid value: "integer": spec.x in body must be of type string: "integer""#],
            ),
            (
                json!({"type": "string"}),
                Value::Null,
                &[r#"spec.x: Invalid value: "null": spec.x in body must be of type string: "null""#],
            ),
            (json!({"type": "string", "nullable": true}), Value::Null, &[]),
            (
                json!({"type": "object"}),
                json!([]),
                &[r#"spec.x: Invalid value: "array": spec.x in body must be of type object: "array""#],
            ),
            (json!({"x-kubernetes-int-or-string": true}), json!("25%"), &[]),
            (json!({"x-kubernetes-int-or-string": true}), json!(3), &[]),
            (
                json!({"x-kubernetes-int-or-string": true}),
                json!(true),
                &[
                    r#"spec.x: Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean""#,
                ],
            ),
            (
                json!({"type": "string", "enum": ["a", "b"]}),
                json!("c"),
                &[r#"spec.x: Unsupported value: "c": supported values: "a", "b""#],
            ),
            (
                json!({"type": "string", "pattern": "^[0-9]+s$"}),
                json!("10m"),
                &[r#"spec.x: Invalid value: "10m": spec.x in body should match '^[0-9]+s$'"#],
            ),
            (
                json!({"type": "string", "minLength": 1}),
                json!(""),
                &[r#"spec.x: Invalid value: "": spec.x in body should be at least 1 chars long"#],
            ),
            (
                json!({"type": "string", "maxLength": 3}),
                json!("four"),
                &["spec.x: Too long: may not be more than 3 bytes"],
            ),
            (
                json!({"type": "integer", "minimum": 0}),
                json!(-1),
                &["spec.x: Invalid value: -1: spec.x in body should be greater than or equal to 0"],
            ),
            (
                json!({"type": "integer", "maximum": 100}),
                json!(101),
                &["spec.x: Invalid value: 101: spec.x in body should be less than or equal to 100"],
            ),
            (
                json!({"type": "number", "minimum": 0.5, "exclusiveMinimum": true}),
                json!(0.5),
                &["spec.x: Invalid value: 0.5: spec.x in body should be greater than 0.5"],
            ),
            (
                json!({"type": "number", "maximum": 1, "exclusiveMaximum": true}),
                json!(1),
                &["spec.x: Invalid value: 1: spec.x in body should be less than 1"],
            ),
            (
                json!({"type": "integer", "multipleOf": 5}),
                json!(7),
                &["spec.x: Invalid value: 7: spec.x in body should be a multiple of 5"],
            ),
            (
                json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
                json!([]),
                &["spec.x: Invalid value: 0: spec.x in body should have at least 1 items"],
            ),
            (
                json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
                json!(["a", "b"]),
                &["spec.x: Too many: 2: must have at most 1 item"],
            ),
            (
                json!({"type": "array", "items": {"type": "string"}}),
                json!(["a", 1]),
                &[
                    r#"spec.x[1]: Invalid value: "integer": spec.x[1] in body must be of type string: "integer""#,
                ],
            ),
            (
                json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
                json!({"a": "1", "b": "2"}),
                &["spec.x: Too many: 2: must have at most 1 item"],
            ),
            (
                json!({"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}}}),
                json!({"a": "1"}),
                &["spec.x.b: Required value"],
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "integer"}}),
                json!({"k": "v"}),
                &[r#"spec.x.k: Invalid value: "string": spec.x.k in body must be of type integer: "string""#],
            ),
            (
                json!({"type": "string", "format": "date-time"}),
                json!("2026-01-02T03:04:05Z"),
                &[],
            ),
            (
                json!({"type": "string", "format": "date-time"}),
                json!("yesterday"),
                &[
                    r#"spec.x: Invalid value: "yesterday": spec.x in body must be of type date-time: "yesterday""#,
                ],
            ),
            (
                json!({"type": "integer", "format": "int32"}),
                json!(3_000_000_000_i64),
                &[
                    r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.x"#,
                ],
            ),
            (
                json!({"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "a$"}]}),
                json!("aba"),
                &[
                    r#"<nil>: Invalid value: "": "spec.x" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
                ],
            ),
            (
                json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({}),
                &[
                    r#"<nil>: Invalid value: "": "spec.x" must validate one and only one schema (oneOf). Found none valid"#,
                    "spec.x.a: Required value",
                ],
            ),
            (
                json!({"type": "integer", "anyOf": [{"minimum": 5}, {"enum": [1]}]}),
                json!(3),
                &[
                    r#"<nil>: Invalid value: "": "spec.x" must validate at least one schema (anyOf)"#,
                    "spec.x: Invalid value: 3: spec.x in body should be greater than or equal to 5",
                ],
            ),
            (
                json!({"type": "integer", "allOf": [{"minimum": 5}, {"maximum": 10}]}),
                json!(3),
                &[
                    "spec.x: Invalid value: 3: spec.x in body should be greater than or equal to 5",
                    r#"<nil>: Invalid value: "": "spec.x" must validate all the schemas (allOf)"#,
                ],
            ),
            (
                json!({"type": "string", "not": {"enum": ["bad"]}}),
                json!("bad"),
                &[r#"<nil>: Invalid value: "": "spec.x" must not validate the schema (not)"#],
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
                json!(["a", "b", "a"]),
                &[r#"spec.x[2]: Duplicate value: "a""#],
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object"}}),
                json!([{"name": "a"}, {"name": "a"}]),
                &[r#"spec.x[1]: Duplicate value: {"name":"a"}"#],
            ),
        ];
        for (schema, value, expected) in rows {
            assert_eq!(refusals(&schema, &value), expected, "{schema} of {value}");
        }
    }

    #[test]
    fn the_whole_object() {
        let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object",
            "required": ["a"], "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}}});
        let texts = |object: &Value| -> Vec<String> {
            validate(&schema, object, None)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(texts(&json!({})), ["spec: Required value"]);
        assert_eq!(
            texts(&json!({"spec": {"b": 1}})),
            [
                r#"spec.b: Invalid value: "integer": spec.b in body must be of type string: "integer""#,
                "spec.a: Required value"
            ]
        );
    }

    #[test]
    fn what_was_stored_is_not_judged_again() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "integer", "maximum": 5}, "b": {"type": "string"},
            "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "n": {"type": "integer", "maximum": 5}}}}}}}});
        let old = json!({"spec": {"a": 9, "b": "x", "l": [{"k": "a", "n": 9}]}});
        let count = |new: &Value| validate(&schema, new, Some(&old)).len();
        assert_eq!(
            count(&json!({"spec": {"a": 9, "b": "y", "l": [{"k": "b", "n": 1}, {"k": "a", "n": 9}]}})),
            0
        );
        assert_eq!(count(&json!({"spec": {"a": 8, "b": "y"}})), 1);
        assert_eq!(count(&json!({"spec": {"a": 1, "l": [{"k": "a", "n": 8}]}})), 1);
        assert_eq!(validate(&schema, &old, None).len(), 2);
    }

    #[test]
    fn formats() {
        let rows = [
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv6", "::1", "1::2::3"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/64"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
            ("email", "a@b.c", "ab.c"),
            ("uri", "http://a/b", "a b"),
            ("duration", "1h30m", "soon"),
            ("date", "2026-02-28", "2026-02-30"),
            ("byte", "YQ==", "YQ="),
            ("mac", "00:11:22:33:44:55", "00:11"),
            ("hostname", "a.b-c", "a_b"),
        ];
        for (format, good, bad) in rows {
            assert!(has_format(format, good), "{format} {good}");
            assert!(!has_format(format, bad), "{format} {bad}");
        }
        assert!(has_format("no-such-format", "x"));
    }
}
