//! `matchConditions`: CEL expressions that decide whether a webhook is called.
//!
//! Owns: their variables and verdict. Promises: pure; one false condition settles it, whatever the others do (KEP-3716).
//! Never: compares costs. `authorizer` is not there.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::{Value, json};

/// Whether all conditions hold; the error names the first that could not be evaluated, when none is false.
pub(super) fn hold(conditions: &Value, request: &Value) -> Result<bool, String> {
    let mut trouble = None;
    for condition in conditions.as_array().into_iter().flatten() {
        match holds(condition["expression"].as_str().unwrap_or_default(), request) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                trouble.get_or_insert(error);
            }
        }
    }
    trouble.map_or(Ok(true), Err)
}

fn holds(expression: &str, request: &Value) -> Result<bool, String> {
    let mut source = expression.to_owned();
    let mut context = Context::default();
    context.register_all();
    context.add_variable_from_value("request", cel(request));
    for name in ["object", "oldObject"] {
        let mut value = cel(&request[name]);
        if matches!(value, Cel::Null) {
            // This evaluator lets `null.field` be null, where Kubernetes' errs: an empty map errs too, and what asks
            // for null is answered here.
            value = cel(&json!({}));
            source = ask_null(&source, name);
        }
        context.add_variable_from_value(name, value);
    }
    let program = Program::compile(&source).map_err(|e| format!("compilation failed: {e}"))?;
    match program.execute(&context) {
        Ok(Cel::Bool(verdict)) => Ok(verdict),
        Ok(_) => Err(format!("expression '{expression}' must evaluate to bool")),
        Err(error) => Err(format!("expression '{expression}' resulted in error: {error}")),
    }
}

/// The expression with `name == null` answered: it is.
fn ask_null(expression: &str, name: &str) -> String {
    [("==", "true"), ("!=", "false")]
        .into_iter()
        .fold(
            expression.to_owned(),
            |text, (operator, verdict)| match regex::Regex::new(&format!(r"\b{name}\s*{operator}\s*null\b")) {
                Ok(pattern) => pattern.replace_all(&text, verdict).into_owned(),
                Err(_) => text,
            },
        )
}

/// JSON as CEL sees it: whole numbers are ints.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Cel::Int(whole),
            None => Cel::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(cel).collect())),
        Value::Object(members) => {
            let map: HashMap<Key, Cel> = members
                .iter()
                .map(|(key, value)| (Key::String(Arc::new(key.clone())), cel(value)))
                .collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let request = json!({"operation": "UPDATE", "userInfo": {"username": "a", "groups": ["g"]}, "oldObject": null,
            "object": {"metadata": {"name": "x", "labels": {"l": "m"}}, "spec": {"replicas": 3}}});
        let rows = [
            (json!(null), Ok(true)),
            (json!(["object.metadata.name == 'x'"]), Ok(true)),
            (
                json!([
                    "object.spec.replicas > 2",
                    "request.operation in ['CREATE', 'UPDATE']"
                ]),
                Ok(true),
            ),
            (json!(["!('g' in request.userInfo.groups)"]), Ok(false)),
            (json!(["has(object.metadata.annotations)"]), Ok(false)),
            (
                json!(["oldObject == null || oldObject.metadata.name == 'x'"]),
                Ok(true),
            ),
            (json!(["oldObject != null"]), Ok(false)),
            (json!(["oldObject.metadata.name == 'x'", "false"]), Ok(false)),
            (json!(["oldObject.metadata.name == 'x'"]), Err(())),
            (json!(["object.spec.replicas"]), Err(())),
            (json!(["object.("]), Err(())),
        ];
        for (expressions, expected) in rows {
            let conditions: Vec<Value> = expressions
                .as_array()
                .into_iter()
                .flatten()
                .map(|e| json!({"name": "c", "expression": e}))
                .collect();
            assert_eq!(
                hold(&json!(conditions), &request).map_err(|_| ()),
                expected,
                "{expressions}"
            );
        }
    }
}
