//! A cursor over JSON that remembers its path, and the sink it reports to.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::names::nearest;
use crate::model::rules::{self, Rule, Severity};
use crate::model::violation::{FieldPath, Report, Violation};

/// Where everything that is found goes.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What was found so far.
    pub(crate) report: Report,
    /// The manifest names its provider, so what depends on it is certain.
    pub(crate) provider_is_certain: bool,
    /// Unknown fields are worth a word.
    pub(crate) unknown_fields: bool,
}

impl Findings {
    /// Reports a rule broken at `path`. Empty `expected` says the rule's reason, empty `fix` its usual fix.
    pub(crate) fn add(&mut self, rule: &Rule, path: &FieldPath, found: impl Into<String>) -> &mut Violation {
        let refused = match rule.severity {
            Severity::Error => true,
            Severity::Warning => false,
            Severity::ErrorForProvider => self.provider_is_certain,
        };
        let list = if refused {
            &mut self.report.violations
        } else {
            &mut self.report.warnings
        };
        list.push(Violation {
            path: path.clone(),
            code: rule.code,
            found: found.into(),
            expected: rule.reason.to_owned(),
            fix: rule.fix.to_owned(),
            place: None,
            snippet: None,
        });
        let last = list.len() - 1;
        &mut list[last]
    }
}

impl Violation {
    /// Says what is expected here, in place of the rule's reason.
    pub(crate) fn expecting(&mut self, expected: impl Into<String>) -> &mut Self {
        self.expected = expected.into();
        self
    }

    /// Says how to fix it here, in place of the rule's usual fix.
    pub(crate) fn fixed_by(&mut self, fix: impl Into<String>) -> &mut Self {
        self.fix = fix.into();
        self
    }
}

/// A place in the manifest; `null` counts as absent, as it does to the API server.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    /// What is there.
    pub(crate) value: Option<&'a Value>,
    /// Where it is.
    pub(crate) path: FieldPath,
}

impl<'a> Field<'a> {
    /// The whole object.
    pub(crate) fn root(value: &'a Value) -> Self {
        Self {
            value: Some(value),
            path: FieldPath::default(),
        }
    }

    /// A member; absent when this is no object.
    pub(crate) fn get(&self, key: &str) -> Field<'a> {
        Field {
            value: self
                .value
                .and_then(|value| value.get(key))
                .filter(|value| !value.is_null()),
            path: self.path.key(key),
        }
    }

    /// Whether anything is there.
    pub(crate) fn is_set(&self) -> bool {
        self.value.is_some()
    }

    fn wrong<T>(&self, found: &Value, expected: &str, findings: &mut Findings) -> Option<T> {
        findings
            .add(&rules::WRONG_TYPE, &self.path, show(found))
            .expecting(format!("expected {expected}"))
            .fixed_by("");
        None
    }

    /// A string.
    pub(crate) fn text(&self, findings: &mut Findings) -> Option<&'a str> {
        match self.value? {
            Value::String(text) => Some(text),
            other => {
                let fix = match other {
                    Value::Number(_) | Value::Bool(_) => format!("put it in quotes: \"{other}\""),
                    _ => String::new(),
                };
                findings
                    .add(&rules::WRONG_TYPE, &self.path, show(other))
                    .expecting("expected a string")
                    .fixed_by(fix);
                None
            }
        }
    }

    /// A string that must be there and not empty.
    pub(crate) fn required(&self, what: &str, findings: &mut Findings) -> Option<&'a str> {
        match self.value {
            None => findings.add(&rules::REQUIRED, &self.path, "missing"),
            Some(Value::String(text)) if text.is_empty() => {
                findings.add(&rules::REQUIRED, &self.path, "empty")
            }
            Some(_) => return self.text(findings),
        }
        .expecting(format!("expected {what}"))
        .fixed_by("add it");
        None
    }

    /// A boolean; absent is false.
    pub(crate) fn flag(&self, findings: &mut Findings) -> bool {
        match self.value {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => self.wrong(other, "true or false", findings).unwrap_or(false),
        }
    }

    /// A number.
    pub(crate) fn number(&self, findings: &mut Findings) -> Option<f64> {
        match self.value? {
            Value::Number(number) => number.as_f64(),
            other => self.wrong(other, "a number", findings),
        }
    }

    /// A whole number (`5.0` is one).
    pub(crate) fn integer(&self, findings: &mut Findings) -> Option<i64> {
        let number = match self.value? {
            Value::Number(number) => number,
            other => return self.wrong(other, "a whole number", findings),
        };
        if let Some(integer) = number.as_i64() {
            return Some(integer);
        }
        let whole = number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 9e15);
        if whole.is_none() {
            findings.add(&rules::NOT_AN_INTEGER, &self.path, number.to_string());
        }
        whole.map(|float| float as i64)
    }

    /// An object's members.
    pub(crate) fn object(&self, findings: &mut Findings) -> Option<&'a Map<String, Value>> {
        match self.value? {
            Value::Object(map) => Some(map),
            other => self.wrong(other, "an object", findings),
        }
    }

    /// A list's items; an item that is no object is reported when it is read.
    pub(crate) fn items(&self, findings: &mut Findings) -> Vec<Field<'a>> {
        match self.value {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, value)| Field {
                    value: Some(value),
                    path: self.path.index(index),
                })
                .collect(),
            Some(other) => self.wrong(other, "a list", findings).unwrap_or_default(),
        }
    }

    /// A list's items that are objects; others are reported.
    pub(crate) fn objects(&self, findings: &mut Findings) -> Vec<Field<'a>> {
        let mut items = self.items(findings);
        for item in &mut items {
            if let Some(value) = item.value.filter(|value| !value.is_object()) {
                item.wrong::<()>(value, "an object", findings);
                item.value = None;
            }
        }
        items
    }

    /// A list of strings.
    pub(crate) fn texts(&self, findings: &mut Findings) -> Vec<&'a str> {
        let items = self.items(findings);
        items.iter().filter_map(|item| item.text(findings)).collect()
    }

    /// A map of strings.
    pub(crate) fn text_map(&self, findings: &mut Findings) -> BTreeMap<String, String> {
        let Some(map) = self.object(findings) else {
            return BTreeMap::new();
        };
        map.keys()
            .filter_map(|key| Some((key.clone(), self.get(key).text(findings)?.to_owned())))
            .collect()
    }

    /// One word of a list, with a guess when it is none.
    pub(crate) fn word(&self, words: &[&'static str], findings: &mut Findings) -> Option<&'static str> {
        let text = self.text(findings)?;
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Some(word);
        }
        let fix = nearest(text, words.iter().copied())
            .map_or(String::new(), |word| format!("did you mean {word}?"));
        let listed: Vec<_> = words.iter().filter(|word| !word.is_empty()).copied().collect();
        findings
            .add(
                &rules::UNKNOWN_VALUE,
                &self.path,
                format!("{text:?} is not known here"),
            )
            .expecting(format!("expected {}", one_of(&listed)))
            .fixed_by(fix);
        None
    }

    /// Reports members that no version of the API declares, when that was asked for.
    pub(crate) fn only(&self, known: &[&str], findings: &mut Findings) {
        let (true, Some(Value::Object(map))) = (findings.unknown_fields, self.value) else {
            return;
        };
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let fix = nearest(key, known.iter().copied())
                .map_or("remove it".to_owned(), |k| format!("did you mean {k}?"));
            findings
                .add(&rules::UNKNOWN_FIELD, &self.path.key(key), "unknown field")
                .fixed_by(fix);
        }
    }
}

/// A value as a sentence shows it: short, and quoted when it is text.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.chars().count() > 80 => {
            format!("{:?}…", text.chars().take(80).collect::<String>())
        }
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// `a`, `a or b`, `one of a, b, c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [first, second] => format!("{first} or {second}"),
        _ => format!("one of {}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wrong_type_is_one_violation_and_hides_nothing() {
        let object = json!({"a": {"b": "x", "c": 1.5, "d": [1, "y", null], "e": null}});
        let (root, mut findings) = (Field::root(&object), Findings::default());
        let a = root.get("a");
        assert_eq!(a.get("b").integer(&mut findings), None);
        assert_eq!(a.get("c").integer(&mut findings), None);
        assert_eq!(a.get("d").texts(&mut findings), ["y"]);
        assert!(!a.get("e").is_set() && !root.get("z").get("y").is_set());
        let paths: Vec<_> = findings
            .report
            .violations
            .iter()
            .map(|v| v.path.to_string())
            .collect();
        assert_eq!(paths, ["a.b", "a.c", "a.d[0]", "a.d[2]"]);
    }

    #[test]
    fn words_are_guessed() {
        let object = json!({"kind": "Deploiment", "colour": 1});
        let (root, mut findings) = (
            Field::root(&object),
            Findings {
                unknown_fields: true,
                ..Findings::default()
            },
        );
        assert_eq!(
            root.get("kind").word(&["Deployment", "DaemonSet"], &mut findings),
            None
        );
        root.only(&["kind", "color"], &mut findings);
        assert_eq!(
            findings.report.violations[0].to_string(),
            "kind: \"Deploiment\" is not known here; expected Deployment or DaemonSet; did you mean Deployment?"
        );
        assert_eq!(findings.report.warnings[0].fix, "did you mean color?");
    }
}
