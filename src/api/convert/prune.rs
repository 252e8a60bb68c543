//! What the API server does to an object of a version: undeclared keys and nulls that mean nothing go away.
//!
//! The API server prunes what it stores, but not what it compares for managed fields: there an undeclared field is
//! an error. So the converter prunes its own answer, by the very schema of the CRD, with the API server's algorithm
//! (apiextensions-apiserver `schema/pruning` and `schema/defaulting`).

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value};

use super::Shape;
use crate::api::crd;

/// The schema of v1beta1, reduced to what pruning and defaulting ask.
static BETA: LazyLock<Node> = LazyLock::new(|| crd::v1beta1_schema().map_or_else(Node::default, Node::new));

/// What is declared at one place of a schema.
#[derive(Debug, Default)]
struct Node {
    /// Declared keys, sorted.
    properties: Vec<(String, Node)>,
    /// What every other key holds.
    values: Option<Box<Node>>,
    /// What every element holds.
    items: Option<Box<Node>>,
    /// Undeclared keys stay.
    preserves: bool,
    /// The value the API server fills in.
    default: Option<Value>,
}

impl Node {
    fn new(schema: JSONSchemaProps) -> Self {
        Node {
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
            preserves: schema.x_kubernetes_preserve_unknown_fields == Some(true),
            default: schema.default.map(|default| default.0),
        }
    }

    /// What is declared under `key`.
    fn at(&self, key: &str) -> Option<&Node> {
        match self
            .properties
            .binary_search_by(|(name, _)| name.as_str().cmp(key))
        {
            Ok(place) => self.properties.get(place).map(|(_, node)| node),
            Err(_) => self.values.as_deref(),
        }
    }

    /// True when `value` stays under a key that is declared so.
    fn keeps(&self, value: &Value) -> bool {
        !value.is_null() || self.default.is_some()
    }
}

/// The schema of a shape; v1alpha3's is open.
fn root(shape: Shape) -> Option<&'static Node> {
    match shape {
        Shape::Alpha => None,
        Shape::Beta => Some(&BETA),
    }
}

/// Keys of the object itself that no schema governs.
fn is_type_meta(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}

/// Prunes an object to the schema of `shape`.
pub(super) fn prune(object: &mut Map<String, Value>, shape: Shape) {
    let Some(root) = root(shape) else { return };
    object.retain(|key, value| is_type_meta(key) || keep(root, key, value));
}

/// Prunes `value` under `key`; false when the key itself goes.
fn keep(parent: &Node, key: &str, value: &mut Value) -> bool {
    match parent.at(key) {
        Some(node) if node.keeps(value) => {
            prune_value(value, Some(node));
            true
        }
        Some(_) => false,
        None => parent.preserves,
    }
}

/// Prunes below `value`. Without a node nothing below is declared.
fn prune_value(value: &mut Value, node: Option<&Node>) {
    match value {
        Value::Object(map) => match node {
            Some(node) => map.retain(|key, value| keep(node, key, value)),
            None => map.clear(),
        },
        Value::Array(items) => {
            let node = node.and_then(|node| node.items.as_deref());
            for item in items {
                prune_value(item, node);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// True when an object of `source`'s shape, once renamed, would lose nothing to [`prune`].
///
/// Asks the object as it is, before the rename: `canaryAnalysis` is judged as `analysis`.
pub(super) fn is_clean(object: &Map<String, Value>, source: Shape) -> bool {
    let Some(root) = root(source.other()) else {
        return true;
    };
    object.iter().all(|(key, value)| {
        if is_type_meta(key) {
            return true;
        }
        match (root.at(key), value) {
            (Some(node), Value::Object(spec)) if key == "spec" => spec.iter().all(|(key, value)| {
                let key = if key == "canaryAnalysis" { "analysis" } else { key };
                node.at(key).is_some_and(|node| is_clean_value(value, node))
            }),
            (Some(node), value) => is_clean_value(value, node),
            (None, _) => root.preserves,
        }
    })
}

fn is_clean_value(value: &Value, node: &Node) -> bool {
    match value {
        Value::Null => node.keeps(value),
        Value::Object(map) => map.iter().all(|(key, value)| match node.at(key) {
            Some(node) => is_clean_value(value, node),
            None => node.preserves,
        }),
        Value::Array(items) => match node.items.as_deref() {
            // A null element is not a null member: it stays.
            Some(node) => items
                .iter()
                .all(|item| item.is_null() || is_clean_value(item, node)),
            None => items.iter().all(is_scalar),
        },
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

/// Fills in the schema's defaults below `path`, as the API server does when it reads a stored object.
pub(super) fn fill_defaults(value: &mut Value, path: &[super::stash::Step], shape: Shape) {
    let mut node = root(shape);
    for step in path {
        node = node.and_then(|node| match step {
            super::stash::Step::Key(key) => node.at(key),
            super::stash::Step::Index(_) => node.items.as_deref(),
        });
    }
    if let Some(node) = node {
        default_value(value, node);
    }
}

fn default_value(value: &mut Value, node: &Node) {
    match value {
        Value::Object(map) => {
            for (key, property) in &node.properties {
                if let Some(default) = &property.default
                    && map.get(key).is_none_or(Value::is_null)
                {
                    map.insert(key.clone(), default.clone());
                }
            }
            for (key, value) in map {
                if let Some(node) = node.at(key) {
                    default_value(value, node);
                }
            }
        }
        Value::Array(items) => {
            if let Some(node) = node.items.as_deref() {
                for item in items {
                    default_value(item, node);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pruned(mut object: Value) -> Value {
        prune(object.as_object_mut().unwrap(), Shape::Beta);
        object
    }

    #[test]
    fn undeclared_keys_and_nulls_go_and_the_rest_stays() {
        let table = [
            ("top level", json!({"extra": 1}), json!({})),
            (
                "spec",
                json!({"spec": {"extra": 1, "suspend": true}}),
                json!({"spec": {"suspend": true}}),
            ),
            (
                "null member",
                json!({"spec": {"provider": null}}),
                json!({"spec": {}}),
            ),
            (
                "null element",
                json!({"spec": {"service": {"hosts": [null]}}}),
                json!({"spec": {"service": {"hosts": [null]}}}),
            ),
            (
                "null with a default",
                json!({"spec": {"analysis": {"sessionAffinity": {"maxAge": null}}}}),
                json!({"spec": {"analysis": {"sessionAffinity": {"maxAge": null}}}}),
            ),
            (
                "map value",
                json!({"status": {"trackedConfigs": {"a": "b", "c": null}}}),
                json!({"status": {"trackedConfigs": {"a": "b"}}}),
            ),
            (
                "object for a scalar",
                json!({"spec": {"provider": {"a": 1}}}),
                json!({"spec": {"provider": {}}}),
            ),
            (
                "object for a list",
                json!({"spec": {"analysis": {"metrics": {"a": 1}}}}),
                json!({"spec": {"analysis": {"metrics": {}}}}),
            ),
            (
                "list for an object",
                json!({"spec": {"analysis": [{"a": 1}, 2]}}),
                json!({"spec": {"analysis": [{}, 2]}}),
            ),
            (
                "scalar for an object",
                json!({"spec": {"analysis": "none"}}),
                json!({"spec": {"analysis": "none"}}),
            ),
            (
                "metadata",
                json!({"metadata": {"any": null}}),
                json!({"metadata": {"any": null}}),
            ),
        ];
        for (name, object, expected) in table {
            assert_eq!(pruned(object), expected, "{name}");
        }
    }

    #[test]
    fn clean_means_that_pruning_changes_nothing() {
        let objects = [
            json!({"spec": {"analysis": {"metrics": [{"name": "a", "extra": 1}]}}}),
            json!({"spec": {"analysis": {"metrics": [{"name": "a", "query": null}]}}}),
            json!({"spec": {"analysis": [[{"a": 1}]]}}),
            json!({"spec": {"analysis": [[1]]}}),
            json!({"spec": {"service": {"hosts": [null, {}]}}}),
            json!({"spec": {"service": {"hosts": [null]}}}),
            json!({"spec": null}),
            json!({"spec": [1, {"a": 2}]}),
        ];
        for object in objects {
            let unchanged = pruned(object.clone()) == object;
            let clean = is_clean(object.as_object().unwrap(), Shape::Alpha);
            // Doubt is allowed (the long way is exact), false certainty is not.
            assert!(unchanged || !clean, "{object}");
        }
    }
}
