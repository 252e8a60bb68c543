//! Validation rules of custom resources (`x-kubernetes-validations`, KEP-2876), evaluated by kube-cel.
//!
//! Owns what a broken rule reads like, transition rules and their ratcheting, and what is asked of rules when a
//! definition is written. Costs are not counted: a rule that is too dear for a real API server passes here.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use kube_cel::{CompiledSchema, ErrorKind as Outcome, ValidationError, Validator, compile_schema};
use serde_json::Value;

use super::FieldError;
use super::error::ErrorKind;

/// Whether a schema has a rule anywhere.
pub fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            members
                .get("x-kubernetes-validations")
                .and_then(Value::as_array)
                .is_some_and(|r| !r.is_empty())
                || members.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Evaluates the rules of a schema; `old` is the stored object on update, for transition rules (`oldSelf`). A rule
/// without `oldSelf` is not judged again where nothing changed.
pub fn evaluate(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let compiled = compiled(schema);
    match Validator::new().validate_compiled(&compiled, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .iter()
            .filter_map(|error| field_error(schema, object, old, error))
            .collect(),
    }
}

/// Rules that do not compile, as `(path, why)`; the path is the node's, `.properties[spec].items`.
pub fn broken(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    broken_at(&compiled(schema), "", &mut found);
    found
}

fn broken_at(node: &CompiledSchema, path: &str, found: &mut Vec<(String, String)>) {
    found.extend(
        node.compilation_errors()
            .iter()
            .map(|error| (path.to_owned(), error.to_string())),
    );
    let mut names: Vec<&String> = node.properties.keys().collect();
    names.sort();
    for name in names {
        if let Some(below) = node.properties.get(name) {
            broken_at(below, &format!("{path}.properties[{name}]"), found);
        }
    }
    if let Some(items) = &node.items {
        broken_at(items, &format!("{path}.items"), found);
    }
    if let Some(values) = &node.additional_properties {
        broken_at(values, &format!("{path}.additionalProperties"), found);
    }
}

/// The compiled rules of a schema; kept, for compiling takes milliseconds and schemas are few.
fn compiled(schema: &Value) -> Arc<CompiledSchema> {
    static KEPT: LazyLock<Mutex<HashMap<u64, Arc<CompiledSchema>>>> = LazyLock::new(Mutex::default);
    let mut hasher = DefaultHasher::new();
    schema.hash(&mut hasher);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(
        kept.entry(hasher.finish())
            .or_insert_with(|| Arc::new(compile_schema(schema))),
    )
}

/// The error as kube-apiserver words it; `None` for one that ratcheting forgives.
fn field_error(
    schema: &Value,
    object: &Value,
    old: Option<&Value>,
    error: &ValidationError,
) -> Option<FieldError> {
    let steps = steps(&error.field_path);
    let home = home(schema, &steps, &error.rule);
    let uses_old = error.rule.contains("oldSelf");
    if !uses_old && old.is_some_and(|old| unchanged(object, old, home)) {
        return None;
    }
    let value = at(object, home).filter(|value| !value.is_object() && !value.is_array());
    let field = if error.field_path.is_empty() {
        "<nil>"
    } else {
        &error.field_path
    };
    let rule = error.rule.trim();
    let detail = match error.kind {
        Outcome::CompilationFailure | Outcome::InvalidRule | Outcome::SchemaTooDeep => {
            format!("rule compile error: {}", error.message)
        }
        Outcome::EvaluationError | Outcome::UnsupportedReference | Outcome::InvalidResult => {
            format!(
                "{} evaluating rule: {rule}",
                error.message.trim_start_matches("rule evaluation error: ")
            )
        }
        // A broken rule; the enum is open, and every other kind has its own message too.
        _ => error.message.clone(),
    };
    let kind = match error.reason.as_deref() {
        Some("FieldValueForbidden") => ErrorKind::Forbidden,
        Some("FieldValueRequired") => ErrorKind::Required,
        Some("FieldValueDuplicate") => ErrorKind::Duplicate,
        _ => ErrorKind::Invalid,
    };
    Some(match kind {
        ErrorKind::Forbidden | ErrorKind::Required => FieldError::new(kind, field, None, detail),
        ErrorKind::Duplicate => FieldError::new(kind, field, value, ""),
        _ => FieldError::new(kind, field, value, detail),
    })
}

/// `spec`, `list`, `[0]`, … of `spec.list[0]`.
fn steps(path: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in path.split('.').filter(|p| !p.is_empty()) {
        let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !name.is_empty() {
            found.push(name);
        }
        while let Some(end) = rest.find(']') {
            found.push(&rest[..=end]);
            rest = &rest[end + 1..];
        }
    }
    found
}

fn inner(step: &str) -> Option<&str> {
    step.strip_prefix('[')?.strip_suffix(']')
}

/// The part of a path that leads to the node the rule stands at (its `fieldPath` may point below).
fn home<'p>(schema: &Value, steps: &'p [&'p str], rule: &str) -> &'p [&'p str] {
    let has_rule = |depth: usize| {
        let node = steps[..depth]
            .iter()
            .try_fold(schema, |node, step| match inner(step) {
                Some(_) => node.get("items").or_else(|| node.get("additionalProperties")),
                None => node
                    .get("properties")
                    .and_then(|p| p.get(*step))
                    .or_else(|| node.get("additionalProperties")),
            });
        let rules = node
            .and_then(|n| n.get("x-kubernetes-validations"))
            .and_then(Value::as_array);
        rules.is_some_and(|rules| rules.iter().any(|r| r["rule"] == rule))
    };
    (0..=steps.len())
        .rev()
        .find(|depth| has_rule(*depth))
        .map_or(steps, |depth| &steps[..depth])
}

fn at<'v>(object: &'v Value, steps: &[&str]) -> Option<&'v Value> {
    steps.iter().try_fold(object, |value, step| match inner(step) {
        Some(index) => index
            .parse::<usize>()
            .map_or_else(|_| value.get(index), |index| value.get(index)),
        None => value.get(*step),
    })
}

/// Whether the place is as it was; a list counts as a whole, for its items may have moved.
fn unchanged(object: &Value, old: &Value, steps: &[&str]) -> bool {
    let list = steps
        .iter()
        .position(|step| step.starts_with('['))
        .unwrap_or(steps.len());
    let (new, old) = (at(object, &steps[..list]), at(old, &steps[..list]));
    new.is_some() && new == old
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(rules: &Value) -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules, "properties": {
            "a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= 0"}]},
            "b": {"type": "integer"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.x > 0", "messageExpression": "'x is ' + string(self.x)"}]}},
        }}}})
    }

    fn texts(rules: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
        evaluate(&schema(rules), object, old)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn rules() {
        let rows: Vec<(Value, Value, &[&str])> = vec![
            (
                json!([{"rule": "self.a < self.b", "message": "a must be less than b"}]),
                json!({"a": 3, "b": 2}),
                &["spec: Invalid value: a must be less than b"],
            ),
            (
                json!([{"rule": "self.a < self.b"}]),
                json!({"a": 3, "b": 2}),
                &["spec: Invalid value: failed rule: self.a < self.b"],
            ),
            (
                json!([{"rule": "self.a < self.b", "message": "m", "fieldPath": ".a", "reason": "FieldValueForbidden"}]),
                json!({"a": 3, "b": 2}),
                &["spec.a: Forbidden: m"],
            ),
            (json!([{"rule": "self.a < self.b"}]), json!({"a": 1, "b": 2}), &[]),
            (
                json!([{"rule": "has(self.a) != has(self.b)", "message": "one of them"}]),
                json!({"a": 1, "b": 2}),
                &["spec: Invalid value: one of them"],
            ),
            (
                json!([]),
                json!({"a": -1}),
                &["spec.a: Invalid value: -1: failed rule: self >= 0"],
            ),
            (
                json!([]),
                json!({"list": [{"x": 1}, {"x": 0}]}),
                &["spec.list[1]: Invalid value: x is 0"],
            ),
        ];
        for (rules, spec, expected) in rows {
            assert_eq!(
                texts(&rules, &json!({"spec": spec}), None),
                expected,
                "{rules} {spec}"
            );
        }
    }

    #[test]
    fn transitions() {
        let rules = json!([{"rule": "self.a == oldSelf.a", "message": "a is immutable"}]);
        let old = json!({"spec": {"a": 1}});
        assert_eq!(
            texts(&rules, &json!({"spec": {"a": 1}}), Some(&old)),
            Vec::<String>::new()
        );
        assert_eq!(
            texts(&rules, &json!({"spec": {"a": 2}}), Some(&old)),
            ["spec: Invalid value: a is immutable"]
        );
        assert_eq!(
            texts(&rules, &json!({"spec": {"a": 2}}), None),
            Vec::<String>::new(),
            "nothing to compare with"
        );
    }

    #[test]
    fn what_did_not_change_is_not_judged_again() {
        let rules = json!([{"rule": "self.a < self.b", "message": "m"}]);
        let old = json!({"spec": {"a": 3, "b": 2}, "status": {"x": 1}});
        assert_eq!(
            texts(
                &rules,
                &json!({"spec": {"a": 3, "b": 2}, "status": {"x": 2}}),
                Some(&old)
            ),
            Vec::<String>::new()
        );
        assert_eq!(
            texts(&rules, &json!({"spec": {"a": 4, "b": 2}}), Some(&old)).len(),
            1
        );
    }

    #[test]
    fn broken_rules() {
        let broken = broken(&schema(&json!([{"rule": "self.a +"}])));
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].0, ".properties[spec]");
    }
}
