//! How two values of one type differ.

use serde_json::{Map, Value};

use super::{ListKind, Shape, Type, index, items, members};
use crate::patch::fields::{FieldSet, PathElement};

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
