//! The merge of an applied value into a live one.

use serde_json::Value;

use super::{ListKind, Shape, Type, items, members};
use crate::patch::fields::PathElement;

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
