//! An object as it is kept: decoded whatever it holds, and trimmed.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ApiResource;
use kube::core::{DynamicResourceScope, Resource};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value, json};

use crate::cluster::{Kind, LAST_APPLIED};

/// Any object. Decoding fails on nothing that is JSON: a member of an unexpected type is somebody else's problem, not
/// that of everybody else in the list.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// What the watch itself needs.
    metadata: ObjectMeta,
    /// All of it.
    pub(super) value: Value,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Shallow(DEPTH).deserialize(deserializer)?;
        let text = |key: &str| value["metadata"][key].as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, value })
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Levels of nesting that are kept. `serde_json` gives up on a whole document at 128, and a list adds a few: one
/// object of an open schema, nested deeply on purpose, would end every list it is in.
const DEPTH: usize = 100;

/// JSON to this depth; `null` stands for what lies deeper.
#[derive(Clone, Copy)]
struct Shallow(usize);

impl<'de> DeserializeSeed<'de> for Shallow {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0 == 0 {
            // Skipped without recursion.
            return IgnoredAny::deserialize(deserializer).map(|_| Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shallow {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = list.next_element_seed(Shallow(self.0 - 1))? {
            all.push(value);
        }
        all.shrink_to_fit();
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            all.insert(key, map.next_value_seed(Shallow(self.0 - 1))?);
        }
        Ok(all.into())
    }
}

/// Notes of tools that repeat the whole object.
const NOTES: [&str; 4] = [
    LAST_APPLIED,
    "kapp.k14s.io/original",
    "kapp.k14s.io/original-diff-md5",
    "kapp.k14s.io/original-diff-full",
];

/// The object without what neither a rule nor the controller reads. Of `managedFields` stays who keeps
/// `spec.replicas` and `spec.selector`.
pub(super) fn trimmed(kind: Kind, mut object: Value) -> Value {
    let Some(members) = object.as_object_mut() else {
        return object;
    };
    // Items of a list do not say what they are.
    if !members.contains_key("kind") {
        members.insert("kind".to_owned(), kind.kind.into());
        let version = if kind.group.is_empty() {
            kind.version.to_owned()
        } else {
            format!("{}/{}", kind.group, kind.version)
        };
        members.insert("apiVersion".to_owned(), version.into());
    }
    match kind {
        // Written every few seconds, or read by nobody.
        Kind::HPA | Kind::SCALED_OBJECT | Kind::SERVICE | Kind::METRIC_TEMPLATE | Kind::ALERT_PROVIDER => {
            members.shift_remove("status");
        }
        Kind::NAMESPACE => {
            members.shift_remove("spec");
            members.shift_remove("status");
        }
        _ => {}
    }
    if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            for note in NOTES {
                annotations.shift_remove(note);
            }
        }
        let fields = metadata.shift_remove("managedFields");
        if matches!(kind, Kind::DEPLOYMENT | Kind::DAEMON_SET | Kind::SERVICE)
            && let Some(Value::Array(entries)) = fields
        {
            let kept: Vec<Value> = entries.iter().filter_map(ownership).collect();
            metadata.insert("managedFields".to_owned(), kept.into());
        }
    }
    object
}

/// What is kept of an entry of `managedFields`: its manager, and which of the two fields it has. An entry of
/// server-side apply without either stays too: it says that its source leaves them out.
fn ownership(entry: &Value) -> Option<Value> {
    let fields: Map<String, Value> = ["f:replicas", "f:selector"]
        .into_iter()
        .filter(|field| entry["fieldsV1"]["f:spec"].get(field).is_some())
        .map(|field| (field.to_owned(), json!({})))
        .collect();
    if fields.is_empty() && entry["operation"] != "Apply" {
        return None;
    }
    let mut kept = json!({
        "manager": entry["manager"],
        "operation": entry["operation"],
        "fieldsV1": {"f:spec": fields},
    });
    if let Some(subresource) = entry.get("subresource") {
        kept["subresource"] = subresource.clone();
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_object_ends_its_list() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let list = format!(
            r#"[{{"metadata": {{"name": "a"}}, "spec": {deep}}},
                {{"metadata": {{"name": 7, "labels": 3, "creationTimestamp": false}}, "spec": "none"}},
                "odd", {{"metadata": {{"name": "b", "namespace": "ns", "resourceVersion": "3"}}, "spec": {{"x": [1.5, null, "y"]}}}}]"#
        );
        let all: Vec<Object> = serde_json::from_str(&list).unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].metadata.name.as_deref(), Some("a"));
        assert_eq!(all[1].metadata.name, None);
        assert_eq!(all[3].metadata.resource_version.as_deref(), Some("3"));
        assert_eq!(all[3].value["spec"], json!({"x": [1.5, null, "y"]}));
    }

    #[test]
    fn what_is_kept_is_what_is_read() {
        let object = json!({
            "metadata": {
                "name": "a", "labels": {"app": "a"},
                "annotations": {LAST_APPLIED: "{}", "kapp.k14s.io/original": "{}", "kept": "x"},
                "managedFields": [
                    {"manager": "kapp", "operation": "Update", "time": "t",
                        "fieldsV1": {"f:metadata": {"f:labels": {}}, "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}}}},
                    {"manager": "kubelet", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
                    {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}},
                ],
            },
            "spec": {"replicas": 1}, "status": {"readyReplicas": 1},
        });
        let kept = trimmed(Kind::DEPLOYMENT, object.clone());
        assert_eq!(
            kept,
            json!({
                "metadata": {
                    "name": "a", "labels": {"app": "a"}, "annotations": {"kept": "x"},
                    "managedFields": [
                        {"manager": "kapp", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                        {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
                    ],
                },
                "spec": {"replicas": 1}, "status": {"readyReplicas": 1},
                "kind": "Deployment", "apiVersion": "apps/v1",
            })
        );
        let template = trimmed(Kind::METRIC_TEMPLATE, object.clone());
        assert!(template.get("status").is_none() && template["metadata"].get("managedFields").is_none());
        let namespace = trimmed(Kind::NAMESPACE, object);
        assert!(namespace.get("spec").is_none() && namespace["apiVersion"] == "v1");
    }
}
