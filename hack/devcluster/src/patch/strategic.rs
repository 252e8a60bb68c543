//! Strategic merge patch, content type `application/strategic-merge-patch+json`; built-in kinds only (a custom
//! resource answers 415 UnsupportedMediaType).
//!
//! Owns the directives (`$patch`, `$retainKeys`, `$deleteFromPrimitiveList`, `$setElementOrder`) and the merge of
//! lists by the merge keys of the kind's Go types (`x-kubernetes-patch-merge-key`). Promises the order of items that
//! kube-apiserver gives.

use serde_json::{Map, Value};

use super::typed::go_value;
use super::{KindRef, PatchError};
use crate::schema::{Schema, builtin};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// Merges `patch` into a copy of `live`, lists by the merge keys of the kind's Go types.
///
/// Refuses with 400 for a patch or directive of a wrong form, 415 for a kind without Go types, 422 for lists of
/// lists, and kube-apiserver's 500 for items without their merge key.
pub fn apply(kind: &KindRef<'_>, live: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Some(schema) = builtin::schema(kind) else {
        return Err(PatchError {
            code: 415,
            reason: "UnsupportedMediaType",
            message: "the body of the request was in an unknown format - accepted media types include: \
                      application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
                .to_owned(),
            causes: Vec::new(),
        });
    };
    let (Value::Object(live), Value::Object(patch)) = (live, patch) else {
        return Err(PatchError::bad_request("invalid JSON document"));
    };
    merge_map(live.clone(), patch, schema).map(Value::Object)
}

fn failed(message: impl Into<String>) -> PatchError {
    PatchError {
        code: 500,
        reason: "",
        message: message.into(),
        causes: Vec::new(),
    }
}

fn bad_order() -> PatchError {
    PatchError::bad_request("invalid patch format of setElementOrder list")
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    failed(format!(
        "map: {} does not contain declared merge key: {key}",
        go_value(item)
    ))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn list_of(value: &Value) -> Result<&Vec<Value>, PatchError> {
    value.as_array().ok_or_else(|| {
        failed(format!(
            "expected a []interface {{}}, but received a {}",
            go_type(value)
        ))
    })
}

fn strategies(schema: Schema<'_>) -> impl Iterator<Item = &str> {
    schema
        .text("x-kubernetes-patch-strategy")
        .unwrap_or_default()
        .split(',')
}

/// Whether two values are of one Go type.
fn same_type(a: &Value, b: &Value) -> bool {
    go_type(a) == go_type(b)
}

fn merge_map(mut original: Object, patch: &Object, schema: Schema<'_>) -> Result<Object, PatchError> {
    if let Some(directive) = patch.get(PATCH) {
        return match directive.as_str() {
            Some("replace") => {
                let mut whole = patch.clone();
                whole.shift_remove(PATCH);
                Ok(whole)
            }
            Some("delete") => Ok(Object::new()),
            _ => Err(unknown_directive(directive, patch)),
        };
    }
    let mut patch = patch.clone();
    if let Some(retained) = patch.shift_remove(RETAIN_KEYS) {
        retain_keys(&mut original, &patch, &retained)?;
    }
    let orders: Vec<String> = patch
        .keys()
        .filter(|k| k.starts_with(SET_ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in orders {
        let Some(order) = patch.shift_remove(&directive) else {
            continue;
        };
        let name = directive.trim_start_matches(SET_ELEMENT_ORDER).to_owned();
        let change = patch.shift_remove(&name);
        if let Some(list) = ordered_list(
            original.get(&name),
            change.as_ref(),
            list_of(&order)?,
            schema.member(&name),
        )? {
            original.insert(name, Value::Array(list));
        }
    }
    for (key, change) in &patch {
        let (name, deletes_items) = match key.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
            Some(name) => (name, true),
            None => (key.as_str(), false),
        };
        if change.is_null() {
            original.shift_remove(name);
            continue;
        }
        let member = schema.member(name);
        let Some(before) = original.get(name).filter(|before| same_type(before, change)) else {
            if !deletes_items {
                match bare(change) {
                    Some(value) => original.insert(name.to_owned(), value),
                    None => original.shift_remove(name),
                };
            }
            continue;
        };
        let merged = match (before, change) {
            (Value::Object(before), Value::Object(change)) => {
                if strategies(member).any(|s| s == "replace") {
                    Value::Object(change.clone())
                } else {
                    Value::Object(merge_map(before.clone(), change, member)?)
                }
            }
            (Value::Array(before), Value::Array(change)) if deletes_items => Value::Array(
                before
                    .iter()
                    .filter(|item| !change.contains(item))
                    .cloned()
                    .collect(),
            ),
            (Value::Array(before), Value::Array(change)) => {
                Value::Array(merge_lists(before, change, member)?)
            }
            _ => change.clone(),
        };
        original.insert(name.to_owned(), merged);
    }
    Ok(original)
}

fn unknown_directive(directive: &Value, patch: &Object) -> PatchError {
    failed(format!(
        "unknown patch type: {} in map: {}",
        go_value(directive),
        go_value(&Value::Object(patch.clone()))
    ))
}

/// `$retainKeys`: members that are not named go; what the patch sets must be named.
fn retain_keys(original: &mut Object, patch: &Object, retained: &Value) -> Result<(), PatchError> {
    let wrong = || PatchError::bad_request("invalid patch format of retainKeys");
    let names: Vec<&str> = retained
        .as_array()
        .ok_or_else(wrong)?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let set_by_patch = patch.iter().filter(|(key, value)| {
        !value.is_null()
            && !key.starts_with(DELETE_FROM_PRIMITIVE_LIST)
            && !key.starts_with(SET_ELEMENT_ORDER)
    });
    if set_by_patch
        .map(|(key, _)| key.as_str())
        .any(|key| !names.contains(&key))
    {
        return Err(wrong());
    }
    original.retain(|name, _| names.contains(&name.as_str()));
    Ok(())
}

/// A value to add as it is: without items and members that carry directives, and without nulls. `None` when it
/// carries one itself.
fn bare(value: &Value) -> Option<Value> {
    match value {
        Value::Object(members) if members.contains_key(PATCH) => None,
        Value::Object(members) => Some(Value::Object(
            members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .filter_map(|(name, value)| Some((name.clone(), bare(value)?)))
                .collect(),
        )),
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(bare).collect())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.clone()),
    }
}

/// `$setElementOrder`: the merged list in the order it names; `None` when neither side has the list.
fn ordered_list(
    original: Option<&Value>,
    patch: Option<&Value>,
    order: &[Value],
    schema: Schema<'_>,
) -> Result<Option<Vec<Value>>, PatchError> {
    let key = schema.text("x-kubernetes-patch-merge-key");
    let before = original.map(list_of).transpose()?;
    let change = patch.map(list_of).transpose()?;
    if let Some(change) = change {
        check_order(change, order, key)?;
    }
    let merged = match (before, change) {
        (None, None) => return Ok(None),
        (Some(before), None) => before.clone(),
        (None, Some(change)) => change.iter().filter_map(bare).collect(),
        (Some(before), Some(change)) => merge_lists(before, change, schema)?,
    };
    arrange(&merged, order, before.map_or(&[], Vec::as_slice), key).map(Some)
}

/// The patch's own items must come in the order the directive gives.
fn check_order(change: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in change.iter().filter(|item| item.get(PATCH).is_none()) {
        let wanted = identity(item, key)?;
        loop {
            let Some(next) = rest.next() else {
                return Err(failed(format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    go_value(&Value::Array(change.to_vec())),
                    go_value(&Value::Array(order.to_vec()))
                )));
            };
            if identity(next, key)? == wanted {
                break;
            }
        }
    }
    Ok(())
}

/// What tells an item from others: itself, or the value of its merge key.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Result<&'v Value, PatchError> {
    match (key, item) {
        (None, _) => Ok(item),
        (Some(key), Value::Object(members)) => members.get(key).ok_or_else(|| no_merge_key(item, key)),
        (Some(_), _) => Err(bad_order()),
    }
}

fn merge_lists(original: &[Value], patch: &[Value], schema: Schema<'_>) -> Result<Vec<Value>, PatchError> {
    if !strategies(schema).any(|s| s == "merge") {
        return Ok(patch.to_vec());
    }
    let Some(sample) = original.iter().chain(patch).next() else {
        return Ok(Vec::new());
    };
    if sample.is_array() {
        return Err(PatchError::unprocessable("lists of lists are not supported"));
    }
    if original.iter().chain(patch).any(|item| !same_type(item, sample)) {
        let both = format!(
            "[{} {}]",
            go_value(&Value::Array(original.to_vec())),
            go_value(&Value::Array(patch.to_vec()))
        );
        return Err(failed(format!("list element types are not identical: {both}")));
    }
    let key = schema.text("x-kubernetes-patch-merge-key");
    if !sample.is_object() {
        let mut merged: Vec<Value> = Vec::new();
        for item in original.iter().chain(patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return arrange(&merged, patch, original, None);
    }
    let Some(key) = key else {
        return Err(failed("cannot merge lists without merge key"));
    };
    let (remaining, changes) = item_directives(original, patch, key)?;
    let mut merged = remaining.clone();
    for change in &changes {
        let wanted = identity(change, Some(key))?;
        let at = merged.iter().position(|item| item.get(key) == Some(wanted));
        match (at, change) {
            (Some(at), Value::Object(change)) => {
                if let Value::Object(before) = &merged[at] {
                    merged[at] = Value::Object(merge_map(before.clone(), change, schema.items())?);
                }
            }
            _ => merged.extend(bare(change)),
        }
    }
    arrange(&merged, &changes, &remaining, Some(key))
}

/// `$patch` directives of items: what is left of the original list, and the plain items of the patch.
fn item_directives(
    original: &[Value],
    patch: &[Value],
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut remaining = original.to_vec();
    let mut plain = Vec::new();
    let mut replace = false;
    for item in patch {
        let Some(directive) = item.get(PATCH) else {
            plain.push(item.clone());
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let gone = identity(item, Some(key))?;
                remaining.retain(|item| item.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(failed("merging lists cannot yet be specified in the patch")),
            _ => {
                return Err(unknown_directive(
                    directive,
                    item.as_object().unwrap_or(&Object::new()),
                ));
            }
        }
    }
    Ok(if replace {
        (plain, Vec::new())
    } else {
        (remaining, plain)
    })
}

/// Orders a merged list: items named by `order` in that order, the others in the order they had in `server`; an
/// other item comes before the first named one it stood before.
fn arrange(
    merged: &[Value],
    order: &[Value],
    server: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    let place = |list: &[Value], item: &Value| -> Result<Option<usize>, PatchError> {
        let wanted = identity(item, key)?;
        Ok(list.iter().position(|other| match key {
            Some(key) => other.get(key) == Some(wanted),
            None => other == wanted,
        }))
    };
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let at_server = place(server, item)?;
        match place(order, item)? {
            Some(at) => named.push((at, at_server, item)),
            None => others.push((at_server.unwrap_or(usize::MAX), at_server, item)),
        }
    }
    named.sort_by_key(|(at, _, _)| *at);
    others.sort_by_key(|(at, _, _)| *at);
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut all = Vec::with_capacity(merged.len());
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (Some((_, Some(a), _)), Some((_, Some(b), _))) => a < b,
            (Some(_), None) => true,
            (Some(_), Some(_)) | (None, _) => false,
        };
        let next = if other_first { others.next() } else { named.next() };
        let Some((_, _, item)) = next else { break };
        all.push(item.clone());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DEPLOYMENT: KindRef<'_> = KindRef::new("apps", "v1", "Deployment");
    const SERVICE: KindRef<'_> = KindRef::new("", "v1", "Service");

    fn pod(spec: &Value) -> Value {
        json!({"spec": {"template": {"spec": spec}}})
    }

    #[test]
    fn pod_specs() {
        let rows = [
            // Lists by merge key.
            (
                json!({"containers": [{"name": "a", "image": "1", "tty": true}]}),
                json!({"containers": [{"name": "a", "image": "2"}]}),
                json!({"containers": [{"name": "a", "image": "2", "tty": true}]}),
            ),
            // A new item comes first, as kube-apiserver puts it.
            (
                json!({"containers": [{"name": "a"}, {"name": "b"}]}),
                json!({"containers": [{"name": "c", "image": "1"}]}),
                json!({"containers": [{"name": "c", "image": "1"}, {"name": "a"}, {"name": "b"}]}),
            ),
            (
                json!({"containers": [{"name": "a"}, {"name": "b"}]}),
                json!({"containers": [{"name": "b", "$patch": "delete"}]}),
                json!({"containers": [{"name": "a"}]}),
            ),
            (
                json!({"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}),
                json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
                json!({"containers": [{"name": "c"}]}),
            ),
            (
                json!({"containers": [{"name": "a", "image": "1"}]}),
                json!({"containers": [{"name": "a", "image": null}]}),
                json!({"containers": [{"name": "a"}]}),
            ),
            // Two levels of keys.
            (
                json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}]}]}),
                json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}),
                json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]}),
            ),
            (
                json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "http"}]}]}),
                json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81}]}]}),
                json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}, {"containerPort": 81}]}]}),
            ),
            // Lists without a merge strategy are replaced.
            (
                json!({"tolerations": [{"key": "a"}]}),
                json!({"tolerations": [{"key": "b"}]}),
                json!({"tolerations": [{"key": "b"}]}),
            ),
            (
                json!({"containers": [{"name": "a", "command": ["x", "y"]}]}),
                json!({"containers": [{"name": "a", "command": ["z"]}]}),
                json!({"containers": [{"name": "a", "command": ["z"]}]}),
            ),
            // Maps.
            (
                json!({"nodeSelector": {"a": "1", "b": "1"}}),
                json!({"nodeSelector": {"a": null, "c": "1"}}),
                json!({"nodeSelector": {"b": "1", "c": "1"}}),
            ),
            (
                json!({"securityContext": {"runAsUser": 1}}),
                json!({"securityContext": {"$patch": "replace", "runAsGroup": 2}}),
                json!({"securityContext": {"runAsGroup": 2}}),
            ),
            (
                json!({"securityContext": {"runAsUser": 1}}),
                json!({"securityContext": {"$patch": "delete"}}),
                json!({"securityContext": {}}),
            ),
            // A volume changes its source: $retainKeys drops the old one.
            (
                json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
                json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}),
                json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}),
            ),
            // kubectl's element order.
            (
                json!({"containers": [{"name": "a"}, {"name": "b"}]}),
                json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
                json!({"containers": [{"name": "b"}, {"name": "a"}]}),
            ),
            (
                json!({"containers": [{"name": "a", "image": "1"}, {"name": "s"}, {"name": "b"}]}),
                json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
                    "containers": [{"name": "a", "image": "2"}, {"name": "c", "image": "1"}]}),
                json!({"containers": [{"name": "a", "image": "2"}, {"name": "s"}, {"name": "b"}, {"name": "c", "image": "1"}]}),
            ),
            (
                json!({"containers": [{"name": "a"}, {"name": "b"}]}),
                json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"$patch": "delete", "name": "a"}]}),
                json!({"containers": [{"name": "b"}]}),
            ),
            // What kubectl 1.32 sends for a new image and another volume source.
            (
                json!({"containers": [{"name": "a", "image": "i"}, {"name": "side", "image": "s"}],
                    "volumes": [{"name": "v", "emptyDir": {}}]}),
                json!({"$setElementOrder/containers": [{"name": "a"}], "$setElementOrder/volumes": [{"name": "v"}],
                    "containers": [{"image": "i2", "name": "a"}],
                    "volumes": [{"$retainKeys": ["configMap", "name"], "configMap": {"name": "c"}, "emptyDir": null,
                        "name": "v"}]}),
                json!({"containers": [{"name": "a", "image": "i2"}, {"name": "side", "image": "s"}],
                    "volumes": [{"name": "v", "configMap": {"name": "c"}}]}),
            ),
            // Directives in what is only added are dropped.
            (
                json!({}),
                json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "$patch": "delete"}]}),
                json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            ),
            (
                json!({}),
                json!({"securityContext": {"runAsUser": null, "runAsGroup": 1}}),
                json!({"securityContext": {"runAsGroup": 1}}),
            ),
            (
                json!({"hostAliases": [{"ip": "1", "hostnames": ["a"]}]}),
                json!({"hostAliases": [{"ip": "1", "hostnames": ["b"]}]}),
                json!({"hostAliases": [{"ip": "1", "hostnames": ["b"]}]}),
            ),
            (
                json!({"imagePullSecrets": [{"name": "a"}]}),
                json!({"imagePullSecrets": [{"name": "b"}]}),
                json!({"imagePullSecrets": [{"name": "b"}, {"name": "a"}]}),
            ),
            (
                json!({"containers": [{"name": "a", "volumeMounts": [{"mountPath": "/x", "name": "v"}]}]}),
                json!({"containers": [{"name": "a", "volumeMounts": [{"mountPath": "/x", "readOnly": true}]}]}),
                json!({"containers": [{"name": "a", "volumeMounts": [{"mountPath": "/x", "name": "v", "readOnly": true}]}]}),
            ),
            (
                json!({"initContainers": [{"name": "i"}]}),
                json!({"initContainers": null}),
                json!({}),
            ),
        ];
        for (live, patch, expected) in rows {
            let merged = apply(&DEPLOYMENT, &pod(&live), &pod(&patch)).unwrap();
            assert_eq!(merged, pod(&expected), "{live} <- {patch}");
        }
    }

    #[test]
    fn other_places() {
        let rows = [
            (
                DEPLOYMENT,
                json!({"metadata": {"finalizers": ["a", "b"]}}),
                json!({"metadata": {"finalizers": ["c"]}}),
                json!({"metadata": {"finalizers": ["c", "a", "b"]}}),
            ),
            (
                DEPLOYMENT,
                json!({"metadata": {"finalizers": ["a", "b"]}}),
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
                json!({"metadata": {"finalizers": ["b"]}}),
            ),
            (
                DEPLOYMENT,
                json!({"metadata": {"finalizers": ["a", "b"]}}),
                json!({"metadata": {"$setElementOrder/finalizers": ["c", "b"], "$deleteFromPrimitiveList/finalizers": ["a"],
                    "finalizers": ["c"]}}),
                json!({"metadata": {"finalizers": ["c", "b"]}}),
            ),
            (
                DEPLOYMENT,
                json!({"metadata": {"labels": {"a": "1"}}}),
                json!({"metadata": {"labels": {"b": "2"}}}),
                json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            ),
            (
                DEPLOYMENT,
                json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}}),
                json!({"metadata": {"ownerReferences": [{"uid": "1", "$patch": "delete"}]}}),
                json!({"metadata": {"ownerReferences": []}}),
            ),
            (
                DEPLOYMENT,
                json!({"status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}}),
                json!({"status": {"conditions": [{"type": "B", "status": "False"}]}}),
                json!({"status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "False"}]}}),
            ),
            (
                DEPLOYMENT,
                json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
                json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
                json!({"spec": {"strategy": {"type": "Recreate"}}}),
            ),
            (
                DEPLOYMENT,
                json!({"spec": {"replicas": 1}}),
                json!({"spec": {"replicas": 3, "paused": true}}),
                json!({"spec": {"replicas": 3, "paused": true}}),
            ),
            (
                SERVICE,
                json!({"spec": {"ports": [{"port": 80, "name": "http", "nodePort": 30000}]}}),
                json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}),
                json!({"spec": {"ports": [{"port": 80, "name": "http", "nodePort": 30000, "targetPort": 8080}]}}),
            ),
            (
                SERVICE,
                json!({"spec": {"selector": {"app": "a"}}}),
                json!({"spec": {"selector": {"app": "b"}}}),
                json!({"spec": {"selector": {"app": "b"}}}),
            ),
            (
                KindRef::new("", "v1", "ConfigMap"),
                json!({"data": {"a": "1"}}),
                json!({"data": {"a": null, "b": "2"}}),
                json!({"data": {"b": "2"}}),
            ),
        ];
        for (kind, live, patch, expected) in rows {
            assert_eq!(
                apply(&kind, &live, &patch).unwrap(),
                expected,
                "{live} <- {patch}"
            );
        }
    }

    #[test]
    fn refusals() {
        let live = pod(&json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {}}]}));
        let rows = [
            (
                pod(&json!({"containers": [{"image": "1"}]})),
                500,
                "map: map[image:1] does not contain declared merge key: name",
            ),
            (
                pod(&json!({"containers": [{"name": "a", "$patch": "explode"}]})),
                500,
                "unknown patch type: explode in map: map[$patch:explode name:a]",
            ),
            (
                pod(&json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {"path": "/"}}]})),
                400,
                "invalid patch format of retainKeys",
            ),
            (
                pod(&json!({"$setElementOrder/containers": "a"})),
                500,
                "expected a []interface {}, but received a string",
            ),
            (
                pod(
                    &json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "a"}, {"name": "b"}]}),
                ),
                500,
                "The order in patch list:\n[map[name:a] map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:b] map[name:a]]\n",
            ),
            (json!("x"), 400, "invalid JSON document"),
        ];
        for (patch, code, message) in rows {
            let refusal = apply(&DEPLOYMENT, &live, &patch).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.message.as_str()),
                (code, message),
                "{patch}"
            );
        }
        let canary = KindRef::new("flagger.app", "v1beta1", "Canary");
        assert_eq!(apply(&canary, &json!({}), &json!({})).unwrap_err().code, 415);
    }
}
