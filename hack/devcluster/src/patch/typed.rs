//! Values walked along their types, as structured-merge-diff does: which fields a value sets, how two values
//! differ, what their merge is, and what is left when fields are taken away.
//!
//! Owns the reading of a [`Schema`] as SSA types: granular or atomic maps, atomic, set or associative lists, deduced
//! places. Never decides who owns what.

mod compare;
mod merge;
mod problems;

use serde_json::{Map, Value};

use super::fields::{FieldSet, PathElement, Scalar};
use crate::schema::Schema;
pub use compare::{Comparison, compare};
pub use merge::merge;
pub(super) use problems::go_value;
pub use problems::problems;

/// The type of a place.
#[derive(Debug, Clone, Copy)]
pub enum Type<'a> {
    /// From a schema.
    Known(Schema<'a>),
    /// Anything: objects are granular, lists atomic.
    Deduced,
    /// Anything, as one leaf.
    Atomic,
    /// No such field.
    Undeclared,
}

/// How a list's items are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ListKind<'a> {
    Atomic,
    Set,
    Keyed(Vec<&'a str>),
}

/// What a place with a certain value is.
enum Shape<'a> {
    Leaf,
    Map,
    List(ListKind<'a>),
}

impl<'a> Type<'a> {
    /// The type a schema describes.
    pub fn of(schema: Schema<'a>) -> Self {
        if schema.node().is_none() {
            return Self::Deduced;
        }
        let typed = schema.text("type").is_some() || schema.flag("x-kubernetes-int-or-string");
        match (typed, schema.flag("x-kubernetes-preserve-unknown-fields")) {
            (true, _) => Self::Known(schema),
            (false, true) => Self::Deduced,
            (false, false) => Self::Atomic,
        }
    }

    fn member(self, name: &str) -> Self {
        match self {
            Self::Deduced | Self::Atomic | Self::Undeclared => Self::Deduced,
            Self::Known(schema) => {
                if let Some(known) = schema.property(name).or_else(|| schema.values()) {
                    Self::of(known)
                } else if schema.flag("x-kubernetes-preserve-unknown-fields")
                    || schema.attribute("additionalProperties") == Some(&Value::Bool(true))
                {
                    Self::Deduced
                } else if schema.properties().is_none() {
                    Self::Atomic
                } else {
                    Self::Undeclared
                }
            }
        }
    }

    fn is_named(self, name: &str) -> bool {
        match self {
            Self::Known(schema) => schema.property(name).is_some(),
            Self::Deduced | Self::Atomic | Self::Undeclared => false,
        }
    }

    fn item(self) -> Self {
        match self {
            Self::Known(schema) => Self::of(schema.items()),
            Self::Deduced | Self::Atomic | Self::Undeclared => Self::Deduced,
        }
    }

    fn list_kind(self) -> ListKind<'a> {
        let Self::Known(schema) = self else {
            return ListKind::Atomic;
        };
        match schema.text("x-kubernetes-list-type") {
            Some("set") => ListKind::Set,
            Some("map") => {
                let keys = schema
                    .attribute("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array);
                let mut keys: Vec<&str> =
                    keys.map_or_else(Vec::new, |k| k.iter().filter_map(Value::as_str).collect());
                keys.sort_unstable();
                ListKind::Keyed(keys)
            }
            _ => ListKind::Atomic,
        }
    }

    fn shape(self, value: &Value) -> Shape<'a> {
        match self {
            Self::Atomic => Shape::Leaf,
            Self::Deduced | Self::Undeclared => {
                if value.is_object() {
                    Shape::Map
                } else {
                    Shape::Leaf
                }
            }
            Self::Known(schema) => match (schema.text("type"), value) {
                (Some("object"), Value::Object(_) | Value::Null) => {
                    if schema.text("x-kubernetes-map-type") == Some("atomic") {
                        Shape::Leaf
                    } else {
                        Shape::Map
                    }
                }
                (Some("array"), Value::Array(_) | Value::Null) => match self.list_kind() {
                    ListKind::Atomic => Shape::Leaf,
                    kind => Shape::List(kind),
                },
                _ => Shape::Leaf,
            },
        }
    }

    fn item_element(self, kind: &ListKind<'_>, item: &Value) -> Result<PathElement, String> {
        let ListKind::Keyed(keys) = kind else {
            return match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".to_owned())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".to_owned())
                }
                Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    Ok(PathElement::Value(Scalar(item.clone())))
                }
            };
        };
        let members = match item {
            Value::Object(members) => members,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err("associative list with keys may not have non-map elements".to_owned());
            }
        };
        let mut found = Vec::new();
        for key in keys {
            let default = match self.item() {
                Self::Known(schema) => schema.property(key).and_then(|p| p.attribute("default")),
                Self::Deduced | Self::Atomic | Self::Undeclared => None,
            };
            if let Some(value) = members.get(*key).or(default) {
                found.push(((*key).to_owned(), Scalar(value.clone())));
            }
        }
        if found.is_empty() {
            return Err(format!(
                "associative list with keys has an element that omits all key fields {keys:?} (and doesn't have \
                 default values for any key fields)"
            )
            .replace("\", \"", "\" \""));
        }
        Ok(PathElement::Key(found))
    }
}

fn members(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The fields a value sets: its leaves, and the items and map entries that hold them.
pub fn field_set(ty: Type<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(ty, value, &mut Vec::new(), &mut set);
    set
}

fn collect(ty: Type<'_>, value: &Value, path: &mut Vec<PathElement>, set: &mut FieldSet) {
    match ty.shape(value) {
        Shape::Leaf => set.insert(path),
        Shape::Map => {
            for (name, value) in members(Some(value)).into_iter().flatten() {
                path.push(PathElement::field(name));
                collect(ty.member(name), value, path, set);
                if value.is_null() || value.as_object().is_some_and(Map::is_empty) || !ty.is_named(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Shape::List(kind) => {
            let indexed = index(ty, &kind, items(Some(value)));
            for (element, found) in &indexed {
                path.push(element.clone());
                if let [item] = found.as_slice() {
                    collect(ty.item(), item, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
    }
}

/// Items by their element, in order of first appearance; items without a key are left out.
fn index<'v>(ty: Type<'_>, kind: &ListKind<'_>, items: &'v [Value]) -> Vec<(PathElement, Vec<&'v Value>)> {
    let mut indexed: Vec<(PathElement, Vec<&Value>)> = Vec::with_capacity(items.len());
    for item in items {
        let Ok(element) = ty.item_element(kind, item) else {
            continue;
        };
        match indexed.iter_mut().find(|(e, _)| *e == element) {
            Some((_, found)) => found.push(item),
            None => indexed.push((element, vec![item])),
        }
    }
    indexed
}

/// `value` without the fields in `set`; `None` when nothing is left of it.
pub fn remove(ty: Type<'_>, value: &Value, set: &FieldSet) -> Option<Value> {
    match (ty.shape(value), value) {
        (Shape::Map, Value::Object(before)) if !before.is_empty() => {
            let mut left = Map::new();
            for (name, value) in before {
                let element = PathElement::field(name);
                if set.has(&element) {
                    continue;
                }
                let value = match set.below(&element) {
                    Some(below) => remove(ty.member(name), value, below),
                    None => Some(value.clone()),
                };
                if let Some(value) = value {
                    left.insert(name.clone(), value);
                }
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        (Shape::List(kind), Value::Array(before)) if !before.is_empty() => {
            let mut left = Vec::new();
            for item in before {
                let Ok(element) = ty.item_element(&kind, item) else {
                    continue;
                };
                if set.has(&element) {
                    continue;
                }
                match set.below(&element) {
                    Some(below) => left.extend(remove(ty.item(), item, below)),
                    None => left.push(item.clone()),
                }
            }
            (!left.is_empty()).then_some(Value::Array(left))
        }
        (Shape::Leaf, Value::Object(_) | Value::Array(_)) => None,
        _ => Some(value.clone()),
    }
}

/// Adds the declared fields on the way to the members of a set: a set of `a.b` also owns `a` when it is a field of a
/// struct (not when it is a key of a map).
pub fn with_named_fields(ty: Type<'_>, set: &FieldSet) -> FieldSet {
    let mut named = set.clone();
    for (element, below) in set.branches() {
        let child = match element {
            PathElement::Field(name) => {
                if ty.is_named(name) {
                    named.insert(std::slice::from_ref(element));
                }
                ty.member(name)
            }
            PathElement::Key(_) | PathElement::Value(_) | PathElement::Index(_) => ty.item(),
        };
        named.set_below(element, with_named_fields(child, below));
    }
    named
}
