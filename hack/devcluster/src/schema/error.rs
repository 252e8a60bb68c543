//! Field errors and refusals in Kubernetes' words.

use std::fmt;

use serde_json::{Value, json};

use super::KindRef;

/// One cause in a Status' details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldManagerConflict`, …
    pub reason: String,
    /// What kubectl prints.
    pub message: String,
    /// Field path.
    pub field: String,
}

/// A refused request: code, reason, message and causes of the Status object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// HTTP status code.
    pub code: u16,
    /// `status.reason`.
    pub reason: &'static str,
    /// `status.message`.
    pub message: String,
    /// `status.details.causes`.
    pub causes: Vec<Cause>,
}

impl Refusal {
    /// 400 BadRequest.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            code: 400,
            reason: "BadRequest",
            message: message.into(),
            causes: Vec::new(),
        }
    }

    /// 500 InternalError.
    pub fn internal(message: &str) -> Self {
        Self {
            code: 500,
            reason: "InternalError",
            message: format!("Internal error occurred: {message}"),
            causes: Vec::new(),
        }
    }

    /// 422 for a patch that cannot be applied; kube-apiserver says no more than this message, so `why` goes to a
    /// cause.
    pub fn unprocessable(why: &str) -> Self {
        Self {
            code: 422,
            reason: "Invalid",
            message: "the server rejected our request due to an error in our request".to_owned(),
            causes: vec![Cause {
                reason: "UnexpectedServerResponse".to_owned(),
                message: why.to_owned(),
                field: String::new(),
            }],
        }
    }

    /// 422 Invalid for an object: `Canary.flagger.app "x" is invalid: [a, b]`.
    pub fn invalid(kind: &KindRef<'_>, name: &str, errors: &[FieldError]) -> Self {
        let subject = if kind.group.is_empty() {
            kind.kind.to_owned()
        } else {
            format!("{}.{}", kind.kind, kind.group)
        };
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let all = if texts.len() == 1 {
            texts.concat()
        } else {
            format!("[{}]", texts.join(", "))
        };
        Self {
            code: 422,
            reason: "Invalid",
            message: format!("{subject} {name:?} is invalid: {all}"),
            causes: errors
                .iter()
                .map(|e| Cause {
                    reason: e.kind.reason().to_owned(),
                    message: e.body(),
                    field: e.field.clone(),
                })
                .collect(),
        }
    }

    /// The Status object; `details` gets `name`, `group` and `kind` (the plural resource, or the kind for 422) when
    /// given.
    pub fn status(&self, group: &str, kind: &str, name: &str) -> Value {
        let mut details = serde_json::Map::new();
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details.insert(key.to_owned(), json!(value));
            }
        }
        if !self.causes.is_empty() {
            let causes: Vec<Value> = self
                .causes
                .iter()
                .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
                .collect();
            details.insert("causes".to_owned(), json!(causes));
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason,
        });
        if !details.is_empty() {
            status["details"] = Value::Object(details);
        }
        status["code"] = json!(self.code);
        status
    }
}

/// The kinds of apimachinery's `field.ErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// `Required value`.
    Required,
    /// `Duplicate value`.
    Duplicate,
    /// `Invalid value`.
    Invalid,
    /// `Unsupported value`.
    NotSupported,
    /// `Forbidden`.
    Forbidden,
    /// `Too long`.
    TooLong,
    /// `Too many`.
    TooMany,
    /// `Invalid value` whose type is wrong.
    TypeInvalid,
    /// `Not found`.
    NotFound,
}

impl ErrorKind {
    /// The cause's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// One mistake in an object; its `Display` is `field: Words: value: detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Path of the field, `spec.metrics[0].name`; `<nil>` for the object itself.
    pub field: String,
    /// The refused value as Kubernetes prints it (strings quoted, objects as JSON); `None` for kinds without one.
    pub value: Option<String>,
    /// Explanation, may be empty.
    pub detail: String,
}

impl FieldError {
    /// An error about a value.
    pub fn new(kind: ErrorKind, field: &str, value: Option<&Value>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            field: field.to_owned(),
            value: value.map(Value::to_string),
            detail: detail.into(),
        }
    }

    /// A required value that is missing.
    pub fn required(field: &str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Required, field, None, detail)
    }

    /// An invalid value.
    pub fn invalid(field: &str, value: &Value, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, field, Some(value), detail)
    }

    /// The message without its path (a cause's message).
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// 400 for unknown fields under fieldValidation `Strict`: `Deployment in version "v1" cannot be handled as a
/// Deployment: strict decoding error: unknown field "spec.foo"`. A custom resource's refusal has only the part from
/// `strict decoding error`, see [`strict_custom_refusal`].
pub fn strict_refusal(kind: &KindRef<'_>, unknown: &[String]) -> Refusal {
    let mut refusal = strict_custom_refusal(unknown);
    refusal.message = handled(kind, &refusal.message);
    refusal
}

/// 400 for unknown fields of a custom resource: `strict decoding error: unknown field "spec.foo"`.
pub fn strict_custom_refusal(unknown: &[String]) -> Refusal {
    let fields: Vec<String> = unknown.iter().map(|f| format!("unknown field {f:?}")).collect();
    Refusal::bad_request(format!("strict decoding error: {}", fields.join(", ")))
}

/// 400 for values of a wrong type ([`super::builtin::Decoded::mistyped`]): `Deployment in version "v1" cannot be
/// handled as a Deployment: json: cannot unmarshal …`. Kubernetes stops at the first one.
pub fn decode_refusal(kind: &KindRef<'_>, mistyped: &[String]) -> Refusal {
    Refusal::bad_request(handled(kind, mistyped.first().map_or("", String::as_str)))
}

fn handled(kind: &KindRef<'_>, why: &str) -> String {
    format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {why}",
        kind = kind.kind,
        version = kind.version
    )
}
