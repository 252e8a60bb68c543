//! Refusals, as the Status object clients print.
//!
//! Owns: codes, reasons and wording of every error answer. Promises: the text kubectl shows is the text a
//! kube-apiserver would send. Never: decides that something is wrong.

use serde_json::{Value, json};

use crate::client::ApiError;
use crate::kinds::Kind;
use crate::schema::{FieldError, Refusal};

/// A refused call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: Option<Box<Value>>,
}

impl Failure {
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            details: None,
        }
    }

    /// With `status.details`.
    pub(crate) fn detailed(self, details: Value) -> Self {
        Self {
            details: Some(Box::new(details)),
            ..self
        }
    }

    fn named(code: u16, reason: &str, message: String, kind: &Kind, name: &str) -> Self {
        let mut details = json!({});
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        details["kind"] = json!(kind.plural);
        Self::new(code, reason, message).detailed(details)
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::named(
            404,
            "NotFound",
            format!("{} {name:?} not found", kind.group_resource()),
            kind,
            name,
        )
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::named(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", kind.group_resource()),
            kind,
            name,
        )
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, detail: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {detail}",
            kind.group_resource()
        );
        Self::named(409, "Conflict", message, kind, name)
    }

    /// The conflict of a write that read an older state.
    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        let detail =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, detail)
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, detail: &str) -> Self {
        let object = if name.is_empty() {
            format!("{} is forbidden: {detail}", kind.group_resource())
        } else {
            format!("{} {name:?} is forbidden: {detail}", kind.group_resource())
        };
        Self::named(403, "Forbidden", object, kind, name)
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        Self::refused(kind, name, Refusal::invalid(&kind.reference(), name, errors))
    }

    /// A refusal by the rules of patches and schemas.
    pub(crate) fn refused(kind: &Kind, name: &str, refusal: Refusal) -> Self {
        let shown = if refusal.code == 422 {
            &kind.kind
        } else {
            &kind.plural
        };
        let details = match refusal.code {
            400 | 500 => None,
            _ => refusal
                .status(&kind.group, shown, name)
                .get("details")
                .cloned()
                .map(Box::new),
        };
        Self {
            code: refusal.code,
            reason: refusal.reason.to_owned(),
            message: refusal.message,
            details,
        }
    }

    /// An update without the resourceVersion, of a type that insists on it.
    pub(crate) fn unlocked(kind: &Kind, name: &str) -> Self {
        let resource = Kind {
            kind: kind.plural.clone(),
            ..kind.clone()
        };
        let error = FieldError::invalid(
            "metadata.resourceVersion",
            &json!(0),
            "must be specified for an update",
        );
        Self::invalid(&resource, name, &[error])
    }

    /// A patch whose result cannot be decoded.
    pub(crate) fn patch(patch: &str, why: &str) -> Self {
        let message = format!("Invalid value: {patch:?}: {why}");
        let causes = json!([{"reason": "FieldValueInvalid", "message": message, "field": "patch"}]);
        Self::new(422, "Invalid", format!(" \"\" is invalid: patch: {message}"))
            .detailed(json!({"causes": causes}))
    }

    /// Mistakes in query parameters, as `CreateOptions.meta.k8s.io`.
    pub(crate) fn invalid_options(options: &str, field: &str, reason: &str, message: &str) -> Self {
        let causes = json!([{"reason": reason, "message": message, "field": field}]);
        Self::new(
            422,
            "Invalid",
            format!("{options}.meta.k8s.io \"\" is invalid: {field}: {message}"),
        )
        .detailed(json!({"group": "meta.k8s.io", "kind": options, "causes": causes}))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        let message = message.to_string();
        let details = json!({"causes": [{"message": message}]});
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
        .detailed(details)
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .detailed(json!({}))
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).detailed(json!({}))
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = Value::clone(details);
        }
        status["code"] = json!(self.code);
        status
    }
}

/// A value as Go's `%v` prints it: `map[a:1 b:[x y]]`.
pub(crate) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let sorted: std::collections::BTreeMap<_, _> = members.iter().collect();
            let members: Vec<String> = sorted
                .iter()
                .map(|(k, v)| format!("{k}:{}", go_text(v)))
                .collect();
            format!("map[{}]", members.join(" "))
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code,
            reason: failure.reason,
            message: failure.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;

    #[test]
    fn wording() {
        let registry = Registry::new();
        let deployment = registry.find("apps", "v1", "deployments").unwrap();
        let pod = registry.find("", "v1", "pods").unwrap();
        let causes = [
            FieldError::required("spec.a", ""),
            FieldError::invalid("spec.b", &json!(-1), "must be greater than 0"),
        ];
        let rows = [
            (
                Failure::not_found(&deployment, "x"),
                "deployments.apps \"x\" not found",
            ),
            (Failure::already_exists(&pod, "x"), "pods \"x\" already exists"),
            (
                Failure::invalid(&deployment, "x", &causes[..1]),
                "Deployment.apps \"x\" is invalid: spec.a: Required value",
            ),
            (
                Failure::invalid(&pod, "x", &causes),
                "Pod \"x\" is invalid: [spec.a: Required value, spec.b: Invalid value: -1: must be greater than 0]",
            ),
            (Failure::forbidden(&pod, "x", "no"), "pods \"x\" is forbidden: no"),
        ];
        for (failure, expected) in rows {
            assert_eq!(failure.message, expected);
        }
    }
}
