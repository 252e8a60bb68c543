//! Values walked along their types, as structured-merge-diff does: which fields a value sets, how two values
//! differ, what their merge is, and what is left when fields are taken away.
//!
//! Owns the reading of a [`Schema`] as SSA types: granular or atomic maps, atomic, set or associative lists, deduced
//! places. Never decides who owns what.

use serde_json::{Map, Value};

use super::fields::{FieldSet, PathElement, Scalar};
use crate::schema::Schema;

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

/// Mistakes of a configuration that is to be applied: undeclared fields, wrong types, items without or with repeated
/// keys; `.spec.foo: field not declared in schema`.
pub fn problems(ty: Type<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    problems_at(ty, value, &mut Vec::new(), &mut found);
    found
}

fn problems_at(ty: Type<'_>, value: &Value, path: &mut Vec<PathElement>, found: &mut Vec<String>) {
    let report = |path: &[PathElement], text: &str| format!("{}: {text}", super::fields::path_text(path));
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
pub(super) fn go_value(value: &Value) -> String {
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

fn lookup<'m, 'v>(indexed: &'m [(PathElement, Vec<&'v Value>)], element: &PathElement) -> &'m [&'v Value] {
    indexed
        .iter()
        .find(|(e, _)| e == element)
        .map_or(&[], |(_, found)| found.as_slice())
}

/// How a value differs from an older one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Fields that were not there.
    pub added: FieldSet,
    /// Fields that are there no more.
    pub removed: FieldSet,
    /// Leaves with another value.
    pub modified: FieldSet,
}

impl Comparison {
    /// Without `ignored` fields and what is below them.
    #[must_use]
    pub fn without(&self, ignored: &FieldSet) -> Self {
        Self {
            added: self.added.recursive_difference(ignored),
            removed: self.removed.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
        }
    }
}

/// Compares two values of one type.
pub fn compare(ty: Type<'_>, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    compare_at(ty, Some(old), Some(new), &mut Vec::new(), &mut comparison);
    comparison
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => false,
    }
}

fn compare_at(
    ty: Type<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<PathElement>,
    into: &mut Comparison,
) {
    let Some(sample) = new.filter(|n| !n.is_null()).or(old).or(new) else {
        return;
    };
    let shape = match (old, new) {
        // Forms differ (or one is no map at all): one leaf.
        (Some(o), Some(n))
            if !o.is_null() && !n.is_null() && std::mem::discriminant(o) != std::mem::discriminant(n) =>
        {
            Shape::Leaf
        }
        _ if is_empty(old) && is_empty(new) => Shape::Leaf,
        _ => ty.shape(sample),
    };
    match shape {
        Shape::Leaf => {
            match (old, new) {
                (None, _) => into.added.insert(path),
                (_, None) => into.removed.insert(path),
                (Some(o), Some(n)) if o != n => into.modified.insert(path),
                (Some(_), Some(_)) => {}
            }
            return;
        }
        Shape::Map => {
            let (before, after) = (members(old), members(new));
            let mut names: Vec<&String> = before.into_iter().flat_map(Map::keys).collect();
            names.extend(
                after
                    .into_iter()
                    .flat_map(Map::keys)
                    .filter(|n| !before.is_some_and(|b| b.contains_key(*n))),
            );
            for name in names {
                path.push(PathElement::field(name));
                let old = before.and_then(|m| m.get(name));
                let new = after.and_then(|m| m.get(name));
                compare_at(ty.member(name), old, new, path, into);
                path.pop();
            }
        }
        Shape::List(kind) => compare_lists(ty, &kind, items(old), items(new), path, into),
    }
    if old.is_none() {
        into.added.insert(path);
    } else if new.is_none() {
        into.removed.insert(path);
    }
}

fn compare_lists(
    ty: Type<'_>,
    kind: &ListKind<'_>,
    old: &[Value],
    new: &[Value],
    path: &mut Vec<PathElement>,
    into: &mut Comparison,
) {
    let (before, after) = (index(ty, kind, old), index(ty, kind, new));
    let elements = before.iter().map(|(e, _)| e);
    let added = after
        .iter()
        .map(|(e, _)| e)
        .filter(|e| lookup(&before, e).is_empty());
    for element in elements.chain(added) {
        let (left, right) = (lookup(&before, element), lookup(&after, element));
        path.push(element.clone());
        match (left, right) {
            ([] | [_], [] | [_]) => {
                compare_at(
                    ty.item(),
                    left.first().copied(),
                    right.first().copied(),
                    path,
                    into,
                );
            }
            ([_, _, ..], [_, _, ..]) => {
                if left != right {
                    into.modified.insert(path);
                }
            }
            ([_, _, ..], _) => {
                if let [only] = right {
                    compare_at(ty.item(), None, Some(only), path, into);
                }
                into.removed.insert(path);
            }
            (_, [_, _, ..]) => {
                if let [only] = left {
                    compare_at(ty.item(), Some(only), None, path, into);
                }
                into.added.insert(path);
            }
        }
        path.pop();
    }
}

/// Merges an applied value into a live one: leaves of `applied` win, what it does not name stays.
pub fn merge(ty: Type<'_>, live: &Value, applied: &Value) -> Value {
    let same_form = std::mem::discriminant(live) == std::mem::discriminant(applied);
    let shape = if same_form || live.is_null() {
        ty.shape(applied)
    } else {
        Shape::Leaf
    };
    match (shape, applied) {
        (Shape::Map, Value::Object(changes)) => {
            let mut merged = members(Some(live)).cloned().unwrap_or_default();
            for (name, change) in changes {
                let value = match merged.get(name) {
                    Some(before) => merge(ty.member(name), before, change),
                    None => change.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Shape::List(kind), Value::Array(changes)) => {
            Value::Array(merge_lists(ty, &kind, items(Some(live)), changes))
        }
        _ => applied.clone(),
    }
}

/// Merges lists by element. Items of `applied` come in its order; the others keep their place among the neighbours
/// they had.
fn merge_lists(ty: Type<'_>, kind: &ListKind<'_>, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let left: Vec<(PathElement, &Value)> = live
        .iter()
        .filter_map(|item| Some((ty.item_element(kind, item).ok()?, item)))
        .collect();
    let right: Vec<(PathElement, &Value)> = applied
        .iter()
        .filter_map(|item| Some((ty.item_element(kind, item).ok()?, item)))
        .collect();
    let in_left = |e: &PathElement| left.iter().find(|(l, _)| l == e).map(|(_, item)| *item);
    let in_right = |e: &PathElement| right.iter().any(|(r, _)| r == e);
    let take = |element: &PathElement, item: &Value| match in_left(element) {
        Some(before) => merge(ty.item(), before, item),
        None => item.clone(),
    };
    let mut shared = right.iter().map(|(e, _)| e).filter(|e| in_left(e).is_some());
    let mut next_shared = shared.next();
    let mut merged: Vec<&PathElement> = Vec::new();
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some((mine, _)), Some((theirs, item))) = (left.get(l), right.get(r)) {
            if mine == theirs {
                out.push(take(theirs, item));
                merged.push(theirs);
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            if in_right(mine) && next_shared.is_some_and(|next| next != mine) {
                // Taken out of its order: it is placed by the applied list.
                l += 1;
                continue;
            }
        }
        if let Some((mine, item)) = left.get(l) {
            if !in_right(mine) {
                out.push((*item).clone());
                l += 1;
                continue;
            }
            if merged.contains(&mine) {
                l += 1;
            }
        }
        if let Some((theirs, item)) = right.get(r) {
            out.push(take(theirs, item));
            merged.push(theirs);
            r += 1;
            if next_shared == Some(theirs) {
                next_shared = shared.next();
            }
        }
    }
    out
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
