//! Reading and writing API objects as JSON: metadata, owners, labels, times. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::Resource;

pub(crate) const PODS: Resource = Resource::new("", "v1", "pods");
pub(crate) const SERVICES: Resource = Resource::new("", "v1", "services");
pub(crate) const ENDPOINTS: Resource = Resource::new("", "v1", "endpoints");
pub(crate) const SLICES: Resource = Resource::new("discovery.k8s.io", "v1", "endpointslices");
pub(crate) const NAMESPACES: Resource = Resource::new("", "v1", "namespaces");
pub(crate) const NODES: Resource = Resource::new("", "v1", "nodes");
pub(crate) const EVENTS: Resource = Resource::new("", "v1", "events");
pub(crate) const CONFIG_MAPS: Resource = Resource::new("", "v1", "configmaps");
pub(crate) const SECRETS: Resource = Resource::new("", "v1", "secrets");
pub(crate) const SERVICE_ACCOUNTS: Resource = Resource::new("", "v1", "serviceaccounts");
pub(crate) const DEPLOYMENTS: Resource = Resource::new("apps", "v1", "deployments");
pub(crate) const REPLICA_SETS: Resource = Resource::new("apps", "v1", "replicasets");
pub(crate) const DAEMON_SETS: Resource = Resource::new("apps", "v1", "daemonsets");
pub(crate) const CONTROLLER_REVISIONS: Resource = Resource::new("apps", "v1", "controllerrevisions");
pub(crate) const AUTOSCALERS: Resource = Resource::new("autoscaling", "v2", "horizontalpodautoscalers");
pub(crate) const DEFINITIONS: Resource =
    Resource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");

/// The one node of the cluster.
pub(crate) const NODE: &str = "node-1";

/// Namespace and name of an object; cluster-scoped objects have namespace `""`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn of(object: &Value) -> Self {
        Self::new(namespace(object), name(object))
    }

    /// Every object of the kind in a namespace: used where a change may concern any of them.
    pub(crate) fn all(namespace: &str) -> Self {
        Self::new(namespace, "*")
    }

    pub(crate) fn is_all(&self) -> bool {
        self.name == "*"
    }
}

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(crate) fn int(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// A count (`replicas` and its kin), with its default.
pub(crate) fn count(object: &Value, pointer: &str, default: i32) -> i32 {
    int(object, pointer).map_or(default, |n| i32::try_from(n).unwrap_or(i32::MAX))
}

pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(crate) fn version(object: &Value) -> &str {
    text(object, "/metadata/resourceVersion")
}

pub(crate) fn generation(object: &Value) -> i64 {
    int(object, "/metadata/generation").unwrap_or_default()
}

pub(crate) fn deleting(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(Value::is_string)
}

pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// A map of strings at a pointer: labels, annotations, selectors.
pub(crate) fn strings(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

pub(crate) fn labels(object: &Value) -> BTreeMap<String, String> {
    strings(object, "/metadata/labels")
}

/// The owner reference with `controller: true`.
pub(crate) fn controller_of(object: &Value) -> Option<&Value> {
    list(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

pub(crate) fn controlled_by(object: &Value, owner_uid: &str) -> bool {
    controller_of(object).is_some_and(|owner| text(owner, "/uid") == owner_uid)
}

/// The owner reference a controller puts on what it creates.
pub(crate) fn owner_reference(api_version: &str, kind: &str, owner: &Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "name": name(owner),
        "uid": uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The key of the controller of a kind that a dependent names; without a controller, every object of the
/// namespace, since any of them may adopt it.
pub(crate) fn owner_key(object: &Value, kind: &str) -> Vec<Key> {
    match controller_of(object) {
        Some(owner) if text(owner, "/kind") == kind => {
            vec![Key::new(namespace(object), text(owner, "/name"))]
        }
        Some(_) => Vec::new(),
        None => vec![Key::all(namespace(object))],
    }
}

/// Whether labels satisfy a `LabelSelector` (`matchLabels` and `matchExpressions`). A missing selector matches
/// nothing, an empty one everything.
pub(crate) fn selects(selector: Option<&Value>, labels: &BTreeMap<String, String>) -> bool {
    let Some(selector) = selector else {
        return false;
    };
    let all = strings(selector, "/matchLabels")
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    all && list(selector, "/matchExpressions").iter().all(|expression| {
        let found = labels.get(text(expression, "/key"));
        let values: BTreeSet<&str> = list(expression, "/values")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        match text(expression, "/operator") {
            "In" => found.is_some_and(|value| values.contains(value.as_str())),
            "NotIn" => found.is_none_or(|value| !values.contains(value.as_str())),
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => false,
        }
    })
}

/// Whether a pod's conditions say `Ready`.
pub(crate) fn pod_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True")
}

/// Whether a pod has counted as available, ready for `min_ready` seconds, at `now`; otherwise the moment it will.
pub(crate) fn pod_available(pod: &Value, min_ready: i64, now: Timestamp) -> Result<(), Option<Timestamp>> {
    let Some(ready) = condition(pod, "Ready").filter(|ready| text(ready, "/status") == "True") else {
        return Err(None);
    };
    if min_ready == 0 {
        return Ok(());
    }
    let Some(since) = time(ready, "/lastTransitionTime") else {
        return Err(None);
    };
    let at = after(since, min_ready);
    if at <= now { Ok(()) } else { Err(Some(at)) }
}

/// A pod that counts for its controller: neither finished nor on its way out.
pub(crate) fn pod_active(pod: &Value) -> bool {
    !deleting(pod) && !pod_finished(pod)
}

pub(crate) fn pod_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == kind)
}

/// A time as Kubernetes writes it: RFC 3339, whole seconds, UTC.
pub(crate) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(crate) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

/// `at` plus whole seconds; the far future when that overflows.
pub(crate) fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(jiff::SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// How long from `now` until `at`; zero when it has passed.
pub(crate) fn until(at: Timestamp, now: Timestamp) -> std::time::Duration {
    at.duration_since(now).try_into().unwrap_or_default()
}

const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The name suffix Kubernetes makes of a hash: FNV-1a, 32 bits, spelt in letters that form no words.
pub(crate) fn hash(value: &Value) -> String {
    let mut sum: u32 = 0x811c_9dc5;
    fold(value, &mut |bytes| {
        for byte in bytes {
            sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    });
    sum.to_string()
        .bytes()
        .map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()]))
        .collect()
}

/// Feeds a value in an order that does not depend on how its maps were written; nulls are as absent.
fn fold(value: &Value, feed: &mut impl FnMut(&[u8])) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            feed(b"{");
            for (key, value) in sorted {
                feed(key.as_bytes());
                feed(b":");
                fold(value, feed);
                feed(b",");
            }
            feed(b"}");
        }
        Value::Array(items) => {
            feed(b"[");
            for item in items {
                fold(item, feed);
                feed(b",");
            }
            feed(b"]");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            feed(value.to_string().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        let labels: BTreeMap<_, _> = [("app", "web"), ("tier", "front")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let table = [
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "api"}}), false),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "web"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
                false,
            ),
        ];
        for (selector, expected) in table {
            assert_eq!(selects(Some(&selector), &labels), expected, "{selector}");
        }
        assert!(!selects(None, &labels));
    }

    #[test]
    fn hashes_ignore_order_and_nulls() {
        let a = json!({"spec": {"a": 1, "b": [1, 2]}, "none": null});
        let b = json!({"spec": {"b": [1, 2], "a": 1}});
        assert_eq!(hash(&a), hash(&b));
        assert_ne!(hash(&a), hash(&json!({"spec": {"b": [2, 1], "a": 1}})));
    }

    #[test]
    fn times_are_whole_seconds() {
        let at: Timestamp = "2024-05-01T10:00:00.75Z".parse().unwrap();
        assert_eq!(stamp(at), "2024-05-01T10:00:00Z");
        assert_eq!(until(after(at, 5), at), std::time::Duration::from_secs(5));
        assert_eq!(until(at, after(at, 5)), std::time::Duration::ZERO);
    }
}
