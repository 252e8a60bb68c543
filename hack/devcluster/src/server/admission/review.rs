//! Rules and answers of admission webhooks, without the calls.
//!
//! Owns: what a rule matches, which answers count, how a denial reads. Promises: pure. Never: knows the cluster.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Operation;
use crate::kinds::Kind;
use crate::server::status::Failure;

/// `spec.rules[]` against a request for `kind` (and its subresource).
pub(super) fn rule_matches(rule: &Value, kind: &Kind, subresource: &str, operation: Operation) -> bool {
    let has = |key: &str, wanted: &str| {
        rule[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|v| v == "*" || v == wanted)
    };
    let scope = match rule["scope"].as_str() {
        Some("Namespaced") => kind.namespaced,
        Some("Cluster") => !kind.namespaced,
        _ => true,
    };
    let resource = rule["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|pattern| {
            let (wanted, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
            let plural = wanted == "*" || wanted == kind.plural;
            let subresource = match sub {
                // `*/*` and `pods/*` mean the plain resources too.
                "*" => true,
                sub => sub == subresource,
            };
            plural && subresource
        });
    scope
        && resource
        && has("operations", operation.name())
        && has("apiGroups", &kind.group)
        && has("apiVersions", &kind.version)
}

/// The `response` of an AdmissionReview, if the envelope is right.
pub(super) fn check_answer(mut answer: Value, uid: &str) -> Result<Value, String> {
    if answer["apiVersion"] != "admission.k8s.io/v1" || answer["kind"] != "AdmissionReview" {
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {}, Kind={}",
            answer["apiVersion"].as_str().unwrap_or_default(),
            answer["kind"].as_str().unwrap_or_default(),
        ));
    }
    let response = answer["response"].take();
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    if response["uid"] != uid {
        return Err(format!(
            "expected response.uid={uid:?}, got {:?}",
            response["uid"].as_str().unwrap_or_default()
        ));
    }
    let patch = !response["patch"].is_null();
    match response["patchType"].as_str() {
        Some("JSONPatch") if patch => {}
        Some(_) if !patch => {
            return Err("webhook returned response.patchType but not response.patch".to_owned());
        }
        Some(other) => {
            return Err(format!(
                "invalid response.patchType {other:?}, expected \"JSONPatch\""
            ));
        }
        None if patch => return Err("webhook returned response.patch but not response.patchType".to_owned()),
        None => {}
    }
    Ok(response)
}

/// The operations of an answer: base64 of JSON, or the bytes as an array of numbers; `None` when there are none.
pub(super) fn patch_of(response: &Value) -> Result<Option<Value>, String> {
    let bytes = match &response["patch"] {
        Value::Null => return Ok(None),
        Value::String(text) => STANDARD
            .decode(text)
            .map_err(|e| format!("patch is not base64: {e}"))?,
        Value::Array(numbers) => numbers
            .iter()
            .map(|n| {
                n.as_u64()
                    .and_then(|n| u8::try_from(n).ok())
                    .ok_or_else(|| "patch is no list of bytes".to_owned())
            })
            .collect::<Result<_, _>>()?,
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return Err("patch is neither text nor bytes".to_owned());
        }
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let operations: Value =
        serde_json::from_slice(&bytes).map_err(|e| format!("error decoding patch: {e}"))?;
    Ok(operations
        .as_array()
        .is_some_and(|o| !o.is_empty())
        .then_some(operations))
}

pub(super) fn call_failure(name: &str, detail: &str) -> Failure {
    Failure::internal(format!("failed calling webhook {name:?}: {detail}"))
}

/// A denial as the client sees it: the webhook's own Status with a prefix, code at least 400.
pub(super) fn denial(name: &str, status: &Value) -> Failure {
    let code = status["code"]
        .as_u64()
        .and_then(|c| u16::try_from(c).ok())
        .filter(|c| *c >= 400)
        .unwrap_or(400);
    let denied = format!("admission webhook {name:?} denied the request");
    let reason = status["reason"].as_str().unwrap_or_default();
    let message = match status["message"].as_str() {
        Some(message) if !message.is_empty() => format!("{denied}: {message}"),
        _ if !reason.is_empty() => format!("{denied}: {reason}"),
        _ => format!("{denied} without explanation"),
    };
    Failure {
        code,
        reason: reason.to_owned(),
        message,
        details: status
            .get("details")
            .filter(|d| !d.is_null())
            .cloned()
            .map(Box::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;
    use serde_json::json;

    #[test]
    fn rules() {
        let registry = Registry::new();
        let pods = registry.find("", "v1", "pods").unwrap();
        let nodes = registry.find("", "v1", "nodes").unwrap();
        let rule = |resources: &[&str], scope: &str| json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["*"], "resources": resources, "scope": scope});
        let rows = [
            (rule(&["pods"], "*"), &pods, "", true),
            (rule(&["pods"], "*"), &pods, "status", false),
            (rule(&["pods/status"], "*"), &pods, "status", true),
            (rule(&["*"], "*"), &pods, "", true),
            (rule(&["*"], "*"), &pods, "status", false),
            (rule(&["*/*"], "*"), &pods, "status", true),
            (rule(&["*/*"], "*"), &pods, "", true),
            (rule(&["*/scale"], "*"), &pods, "status", false),
            (rule(&["*"], "Cluster"), &pods, "", false),
            (rule(&["*"], "Cluster"), &nodes, "", true),
            (rule(&["nodes"], "Namespaced"), &nodes, "", false),
        ];
        for (rule, kind, subresource, expected) in rows {
            assert_eq!(
                rule_matches(&rule, kind, subresource, Operation::Create),
                expected,
                "{rule} {subresource}"
            );
            assert!(!rule_matches(&rule, kind, subresource, Operation::Delete));
        }
    }

    #[test]
    fn denials() {
        let rows = [
            (
                json!({"message": "no", "code": 422, "reason": "Invalid"}),
                422,
                "denied the request: no",
            ),
            (
                json!({"message": "no", "code": 200}),
                400,
                "denied the request: no",
            ),
            (
                json!({"reason": "Forbidden", "code": 403}),
                403,
                "denied the request: Forbidden",
            ),
            (json!(null), 400, "denied the request without explanation"),
        ];
        for (status, code, message) in rows {
            let failure = denial("a.b", &status);
            assert_eq!(
                (failure.code, failure.message),
                (code, format!("admission webhook \"a.b\" {message}"))
            );
        }
    }

    #[test]
    fn patches_as_text_or_bytes() {
        let operations = json!([{"op": "add", "path": "/a", "value": 1}]);
        let bytes = operations.to_string().into_bytes();
        let text = json!({"patch": STANDARD.encode(&bytes)});
        assert_eq!(patch_of(&text).unwrap(), Some(operations.clone()));
        assert_eq!(patch_of(&json!({"patch": bytes})).unwrap(), Some(operations));
        assert_eq!(patch_of(&json!({"patch": STANDARD.encode("[]")})).unwrap(), None);
        assert!(patch_of(&json!({"patch": "%"})).is_err());
    }

    #[test]
    fn envelopes() {
        let wrap = |response: Value| json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        assert!(check_answer(wrap(json!({"uid": "u", "allowed": true})), "u").is_ok());
        let rows = [
            (json!({}), "expected webhook response"),
            (wrap(json!(null)), "absent"),
            (wrap(json!({"uid": "v"})), "response.uid"),
            (
                wrap(json!({"uid": "u", "patch": "e30="})),
                "but not response.patchType",
            ),
            (
                wrap(json!({"uid": "u", "patchType": "JSONPatch"})),
                "but not response.patch",
            ),
        ];
        for (answer, expected) in rows {
            let error = check_answer(answer, "u").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
