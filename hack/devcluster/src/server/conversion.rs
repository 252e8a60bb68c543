//! Objects between the versions of their type.
//!
//! Owns: conversion of custom resources (by apiVersion alone, or by webhook with every check kube-apiserver makes of
//! the answer) and of the built-in types that are served at two versions. Promises: metadata other than labels and
//! annotations never changes. Never: prunes or defaults.

use std::time::Duration;

use serde_json::{Value, json};

use super::Cluster;
use super::status::Failure;
use crate::kinds::{Kind, split_api_version};

/// kube-apiserver's client-wide limit; a CRD cannot set its own.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Cluster {
    /// `object` at `kind`'s version.
    pub(crate) async fn convert(&self, kind: &Kind, object: Value) -> Result<Value, Failure> {
        self.convert_to(kind, object, &kind.api_version()).await
    }

    /// `object` at `api_version`, which is one of the versions of `kind`'s type.
    pub(crate) async fn convert_to(
        &self,
        kind: &Kind,
        object: Value,
        api_version: &str,
    ) -> Result<Value, Failure> {
        let config = kind.custom.as_ref().and_then(|c| c.conversion_webhook());
        match (config, without_asking(kind, &object, api_version)?) {
            (_, Some(converted)) => Ok(converted),
            (None, None) => Ok(object),
            (Some(config), None) => {
                self.ask_converter(config, &object, api_version)
                    .await
                    .map_err(|detail| {
                        let text = |key: &str| object[key].as_str().unwrap_or_default();
                        let message = format!(
                            "conversion webhook for {}, Kind={} {detail}",
                            text("apiVersion"),
                            text("kind")
                        );
                        Failure::new(500, "InternalError", message)
                    })
            }
        }
    }

    /// The converted object; the error continues "conversion webhook for … ".
    async fn ask_converter(
        &self,
        config: &Value,
        object: &Value,
        api_version: &str,
    ) -> Result<Value, String> {
        let uid = uuid::Uuid::new_v4().to_string();
        let review = json!({
            "kind": "ConversionReview",
            "apiVersion": "apiextensions.k8s.io/v1",
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": [object]},
        });
        let answer = self
            .webhooks
            .call(&self.store, config, TIMEOUT, "kube-apiserver-conversion", &review)
            .await;
        let answer = answer.map_err(|e| format!("failed: {e}"))?;
        let mut converted = check_answer(&answer, &uid, 1)?;
        let mut converted = converted.remove(0);
        check_object(object, &mut converted, api_version)?;
        Ok(converted)
    }
}

/// The conversion when no webhook is needed for it; `None` when one must be asked.
pub(crate) fn without_asking(
    kind: &Kind,
    object: &Value,
    api_version: &str,
) -> Result<Option<Value>, Failure> {
    if object["apiVersion"] == api_version {
        return Ok(Some(object.clone()));
    }
    let Some(custom) = &kind.custom else {
        return Ok(Some(super::versions::convert(object.clone(), api_version)));
    };
    let known = |text: &str| {
        let (group, version) = split_api_version(text);
        group == custom.group() && !custom.version(version).is_null()
    };
    let from = object["apiVersion"].as_str().unwrap_or_default();
    if !known(from) {
        return Err(Failure::internal(format!(
            "request to convert CR from an invalid group/version: {from}"
        )));
    }
    if !known(api_version) {
        return Err(Failure::internal(format!(
            "request to convert CR to an invalid group/version: {api_version}"
        )));
    }
    // An object without content has nothing to convert.
    let empty = object
        .as_object()
        .is_some_and(|o| o.keys().all(|k| k == "apiVersion" || k == "kind"));
    if custom.conversion_webhook().is_some() && !empty {
        return Ok(None);
    }
    let mut object = object.clone();
    object["apiVersion"] = json!(api_version);
    Ok(Some(object))
}

/// The envelope of an answer; the converted objects in it.
fn check_answer(answer: &Value, uid: &str, count: usize) -> Result<Vec<Value>, String> {
    if answer["apiVersion"] != "apiextensions.k8s.io/v1" || answer["kind"] != "ConversionReview" {
        return Err(format!(
            "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {}, Kind={}",
            answer["apiVersion"].as_str().unwrap_or_default(),
            answer["kind"].as_str().unwrap_or_default(),
        ));
    }
    let response = &answer["response"];
    if response.is_null() {
        return Err("failed: no response provided".to_owned());
    }
    if response["uid"] != uid {
        return Err(format!(
            "failed: expected response.uid={uid:?}, got {:?}",
            response["uid"].as_str().unwrap_or_default()
        ));
    }
    if response["result"]["status"] != "Success" {
        return Err(match response["result"]["message"].as_str() {
            Some(message) if !message.is_empty() => format!("failed: {message}"),
            _ => "failed: no error message".to_owned(),
        });
    }
    let objects = response["convertedObjects"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if objects.len() != count {
        return Err(format!("returned {} objects, expected {count}", objects.len()));
    }
    Ok(objects)
}

/// One converted object against what was sent; restores the metadata a converter must not touch.
fn check_object(sent: &Value, converted: &mut Value, api_version: &str) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let invalid = |what: &str, old: &Value, new: &Value| {
        format!(
            "returned invalid object: must have the same {what}: {} != {}",
            text(old),
            text(new)
        )
    };
    if converted["apiVersion"] != api_version {
        return Err(format!(
            "returned invalid object at index 0: invalid groupVersion (received {}, expected {api_version})",
            text(&converted["apiVersion"])
        ));
    }
    if converted["kind"] != sent["kind"] {
        return Err(invalid("kind", &sent["kind"], &converted["kind"]));
    }
    for (key, what) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (old, new) = (&sent["metadata"][key], &converted["metadata"][key]);
        if text(old) != text(new) {
            return Err(invalid(what, old, new));
        }
    }
    let Some(after) = converted["metadata"].as_object() else {
        return Err(match &converted["metadata"] {
            Value::Null => "returned invalid metadata: missing metadata in converted object".to_owned(),
            _ => "returned invalid metadata: metadata of the converted object is no object".to_owned(),
        });
    };
    let before = sent["metadata"].as_object().cloned().unwrap_or_default();
    let mut metadata = before;
    for key in ["labels", "annotations"] {
        match after.get(key) {
            Some(Value::Object(map)) => {
                if let Some((name, _)) = map.iter().find(|(_, v)| !v.is_string()) {
                    return Err(format!(
                        "returned invalid metadata: metadata.{key}.{name} is not a string"
                    ));
                }
                metadata.insert(key.to_owned(), Value::Object(map.clone()));
            }
            Some(Value::Null) | None => {
                metadata.shift_remove(key);
            }
            Some(_) => {
                return Err(format!(
                    "returned invalid metadata: metadata.{key} is no map of strings"
                ));
            }
        }
    }
    if sent.get("metadata").is_some() {
        converted["metadata"] = Value::Object(metadata);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(response: &Value) -> Value {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response})
    }

    #[test]
    fn envelopes() {
        let good = answer(&json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{}]}));
        assert_eq!(check_answer(&good, "u", 1).unwrap().len(), 1);
        let rows = [
            (json!({}), "expected webhook response"),
            (
                answer(&json!({"uid": "v", "result": {"status": "Success"}})),
                "expected response.uid",
            ),
            (
                answer(&json!({"uid": "u", "result": {"status": "Failed", "message": "no way"}})),
                "no way",
            ),
            (
                answer(&json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": []})),
                "0 objects",
            ),
        ];
        for (value, expected) in rows {
            let error = check_answer(&value, "u", 1).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn converters_may_change_labels_and_annotations_only() {
        let sent = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "x", "uid": "1", "generation": 3}});
        let mut converted = json!({"apiVersion": "g/v2", "kind": "K", "spec": 1,
            "metadata": {"name": "x", "uid": "1", "generation": 9, "labels": {"a": "b"}}});
        check_object(&sent, &mut converted, "g/v2").unwrap();
        assert_eq!(
            converted["metadata"],
            json!({"name": "x", "uid": "1", "generation": 3, "labels": {"a": "b"}})
        );
        let rows = [
            (
                json!({"apiVersion": "g/v1", "kind": "K", "metadata": {}}),
                "invalid groupVersion",
            ),
            (
                json!({"apiVersion": "g/v2", "kind": "L", "metadata": {}}),
                "same kind",
            ),
            (
                json!({"apiVersion": "g/v2", "kind": "K"}),
                "must have the same name: x != ",
            ),
            (
                json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "y", "uid": "1"}}),
                "same name",
            ),
            (
                json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "x", "uid": "1", "labels": {"a": 1}}}),
                "not a string",
            ),
        ];
        for (mut converted, expected) in rows {
            let error = check_object(&sent, &mut converted, "g/v2").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
