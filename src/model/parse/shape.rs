//! What the CRD's schema refuses and nothing else here reads: fields of meshes and routes, types, bounds, words.
//!
//! The schema is the net beneath `/mutate`, but it speaks after it and alone: with this its mistakes are told together
//! with all others and in the same words. I walk the very schema that is installed. What I find stops admission, not
//! obedience: a stored object may hold an odd field of a provider that is not in use.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

use super::fields::{Field, Findings, one_of, show};
use crate::api::crd;
use crate::model::names::nearest;
use crate::model::rules::{self, Rule};
use crate::model::violation::FieldPath;

/// Spec of a Canary.
pub(super) static CANARY: LazyLock<Node> = LazyLock::new(Node::of_canary);

/// What a schema says of one place.
#[derive(Debug, Default)]
pub(super) struct Node {
    kind: Type,
    words: Vec<String>,
    least: Option<i64>,
    most: Option<i64>,
    pattern: Option<Regex>,
    /// Characters, elements or members, at most.
    longest: Option<usize>,
    /// Characters or members, at least.
    shortest: usize,
    required: Vec<String>,
    /// Names of which one at most may be given.
    exclusive: Vec<String>,
    properties: Vec<(String, Node)>,
    values: Option<Box<Node>>,
    items: Option<Box<Node>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Type {
    #[default]
    Any,
    Text,
    Whole,
    Number,
    Flag,
    List,
    Object,
    WholeOrText,
}

impl Node {
    fn of_canary() -> Self {
        let spec = crd::v1beta1_schema()
            .and_then(|schema| schema.properties)
            .and_then(|mut properties| properties.remove("spec"));
        Node {
            // What spec itself requires has rules that say more.
            required: Vec::new(),
            ..spec.map_or_else(Node::default, Node::new)
        }
    }

    fn new(schema: JSONSchemaProps) -> Self {
        let whole = |number: Option<f64>| number.map(|number| number as i64);
        let length = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok());
        let narrow = schema.format.as_deref() == Some("int32");
        let kind = match schema.type_.as_deref() {
            Some("string") => Type::Text,
            Some("integer") => Type::Whole,
            Some("number") => Type::Number,
            Some("boolean") => Type::Flag,
            Some("array") => Type::List,
            Some("object") => Type::Object,
            _ if schema.x_kubernetes_int_or_string == Some(true) => Type::WholeOrText,
            _ => Type::Any,
        };
        Node {
            kind,
            words: schema
                .enum_
                .into_iter()
                .flatten()
                .filter_map(|word| word.0.as_str().map(str::to_owned))
                .collect(),
            least: whole(schema.minimum).or(narrow.then_some(i64::from(i32::MIN))),
            most: whole(schema.maximum).or(narrow.then_some(i64::from(i32::MAX))),
            pattern: schema.pattern.and_then(|pattern| Regex::new(&pattern).ok()),
            longest: length(schema.max_length.or(schema.max_items).or(schema.max_properties)),
            shortest: length(schema.min_length.or(schema.min_properties)).unwrap_or_default(),
            required: schema.required.unwrap_or_default(),
            exclusive: schema.not.and_then(|not| not.required).unwrap_or_default(),
            properties: schema
                .properties
                .into_iter()
                .flatten()
                .map(|(key, schema)| (key, Node::new(schema)))
                .collect(),
            values: match schema.additional_properties {
                Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(Box::new(Node::new(*schema))),
                Some(JSONSchemaPropsOrBool::Bool(_)) | None => None,
            },
            items: match schema.items {
                Some(JSONSchemaPropsOrArray::Schema(schema)) => Some(Box::new(Node::new(*schema))),
                Some(JSONSchemaPropsOrArray::Schemas(_)) | None => None,
            },
        }
    }

    /// The type in words.
    fn expected(&self) -> &'static str {
        match self.kind {
            Type::Any => "",
            Type::Text => "expected a string",
            Type::Whole => "expected a whole number",
            Type::Number => "expected a number",
            Type::Flag => "expected true or false",
            Type::List => "expected a list",
            Type::Object => "expected an object",
            Type::WholeOrText => "expected a whole number or a string",
        }
    }
}

/// Reports what the schema refuses at a place and below, where nothing was refused before.
pub(super) fn judge(node: &Node, field: &Field<'_>, findings: &mut Findings) {
    let told = findings.report.violations.len();
    let mut shape = Shape { findings, told };
    shape.value(node, field);
}

/// What is being found; the first `told` violations are those of the rules that know more.
struct Shape<'a> {
    findings: &'a mut Findings,
    told: usize,
}

impl Shape<'_> {
    fn value(&mut self, node: &Node, field: &Field<'_>) {
        let Some(value) = field.value else { return };
        match (node.kind, value) {
            (Type::Any, _) | (Type::Flag, Value::Bool(_)) => {}
            (Type::Text | Type::WholeOrText, Value::String(text)) => self.text(node, field, text),
            (Type::Whole | Type::WholeOrText | Type::Number, Value::Number(number)) => {
                let float = number.as_f64().unwrap_or_default();
                if node.kind != Type::Number && float.fract() != 0.0 {
                    self.refuse(&rules::NOT_AN_INTEGER, &field.path, number.to_string(), "");
                } else {
                    self.bounds(node, field, float);
                }
            }
            (Type::List, Value::Array(items)) => {
                self.length(node, field, items.len(), "elements");
                if let Some(child) = &node.items {
                    for (index, item) in items.iter().enumerate() {
                        let item = Field {
                            value: Some(item),
                            path: field.path.index(index),
                        };
                        self.value(child, &item);
                    }
                }
            }
            (Type::Object, Value::Object(map)) => {
                let given = |name: &&String| map.get(*name).is_some_and(|value| !value.is_null());
                for name in node.required.iter().filter(|name| !given(name)) {
                    self.refuse(&rules::REQUIRED, &field.path.key(name), "missing".to_owned(), "");
                }
                self.choice(
                    node,
                    field,
                    map.iter()
                        .filter(|(_, value)| !value.is_null())
                        .map(|(key, _)| key),
                );
                for key in map.keys() {
                    let declared = node.properties.iter().find(|(name, _)| name == key);
                    if let Some(child) = declared.map(|(_, child)| child).or(node.values.as_deref()) {
                        self.value(child, &field.get(key));
                    }
                }
            }
            (_, other) => self.refuse(&rules::WRONG_TYPE, &field.path, show(other), node.expected()),
        }
    }

    fn text(&mut self, node: &Node, field: &Field<'_>, text: &str) {
        if node.kind == Type::WholeOrText {
            return;
        }
        if !node.words.is_empty() && !node.words.iter().any(|word| word == text) {
            let words: Vec<&str> = node
                .words
                .iter()
                .map(String::as_str)
                .filter(|word| !word.is_empty())
                .collect();
            let expected = format!("expected {}", one_of(&words));
            let found = format!("{text:?} is not known here");
            let fix = nearest(text, words).map_or(String::new(), |word| format!("did you mean {word}?"));
            if self.is_new(&field.path) {
                self.findings
                    .add(&rules::UNKNOWN_VALUE, &field.path, found)
                    .expecting(expected)
                    .fixed_by(fix);
            }
            return;
        }
        let characters = text.chars().count();
        if characters == 0 && node.shortest > 0 {
            self.refuse(&rules::REQUIRED, &field.path, "empty".to_owned(), "");
        } else if node
            .pattern
            .as_ref()
            .is_some_and(|pattern| !pattern.is_match(text))
        {
            let found = show(&Value::String(text.to_owned()));
            self.refuse(&rules::FIELD_FORMAT, &field.path, found, "");
        } else {
            self.length(node, field, characters, "characters");
        }
    }

    fn bounds(&mut self, node: &Node, field: &Field<'_>, number: f64) {
        let below = node.least.is_some_and(|least| number < least as f64);
        let above = node.most.is_some_and(|most| number > most as f64);
        if !below && !above {
            return;
        }
        let expected = match (node.least, node.most) {
            (Some(least), Some(most)) => format!("expected {least} to {most}"),
            (Some(least), None) => format!("expected {least} or more"),
            (None, Some(most)) => format!("expected at most {most}"),
            (None, None) => return,
        };
        self.refuse(&rules::OUT_OF_RANGE, &field.path, number.to_string(), &expected);
    }

    fn length(&mut self, node: &Node, field: &Field<'_>, length: usize, what: &str) {
        if let Some(longest) = node.longest.filter(|longest| length > *longest) {
            let expected = format!("expected at most {longest}");
            self.refuse(
                &rules::TOO_LONG,
                &field.path,
                format!("{length} {what}"),
                &expected,
            );
        }
    }

    /// Members of which one at most (or exactly one) may be given.
    fn choice<'k>(&mut self, node: &Node, field: &Field<'_>, given: impl Iterator<Item = &'k String>) {
        let given: Vec<&str> = given.map(String::as_str).collect();
        let words: Vec<&str> = if node.exclusive.is_empty() {
            node.properties.iter().map(|(name, _)| name.as_str()).collect()
        } else {
            node.exclusive.iter().map(String::as_str).collect()
        };
        let given: Vec<&str> = given.into_iter().filter(|name| words.contains(name)).collect();
        let most = if node.exclusive.is_empty() {
            node.longest
        } else {
            Some(node.exclusive.len() - 1)
        };
        let expected = format!("expected one of {}", words.join(", "));
        if most.is_some_and(|most| given.len() > most) {
            let found = format!("{} stand side by side", given.join(" and "));
            self.refuse(&rules::ONE_OF, &field.path, found, &expected);
        } else if given.len() < node.shortest {
            self.refuse(&rules::ONE_OF, &field.path, "empty".to_owned(), &expected);
        }
    }

    /// True when no rule that knows more has refused this place, one inside it, or the one around it.
    fn is_new(&self, path: &FieldPath) -> bool {
        let told = self.findings.report.violations.iter().take(self.told);
        !told.into_iter().any(|violation| {
            let (one, other) = (violation.path.segments(), path.segments());
            let common = one.len().min(other.len());
            common > 1 && one[..common] == other[..common]
        })
    }

    fn refuse(&mut self, rule: &Rule, path: &FieldPath, found: String, expected: &str) {
        if !self.is_new(path) {
            return;
        }
        let violation = self.findings.add(rule, path, found);
        if !expected.is_empty() {
            violation.expecting(expected);
        }
        if *rule == rules::WRONG_TYPE {
            violation.fixed_by("");
        }
    }
}
