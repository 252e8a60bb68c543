//! What goes back, exactly as the API server wants it.
//!
//! kubectl prints nothing but `details.causes` of a 422 `Invalid`, so everything a person must read is in them. A
//! warning with a control character vanishes in the API server, and from 4096 bytes on all are cut to 256 runes:
//! so they are one line, short, and bounded here.

use std::fmt;

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::judge::{Cause, Verdict};

/// Longest warning, in characters.
const WARNING: usize = 256;
/// Bytes of all warnings of an answer; beyond 4096 the API server starts cutting.
const WARNINGS: usize = 3840;
/// Mistakes told at once. Nobody reads more, and a list of thousands of items, each wrong, would make an answer larger
/// than the object.
const CAUSES: usize = 100;

/// A request without a review to answer: a `metav1.Status`, which the API server shows to the user.
#[derive(Debug)]
pub(super) struct Refusal {
    code: StatusCode,
    message: String,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({
            "apiVersion": "v1",
            "kind": "Status",
            "status": "Failure",
            "reason": reason(self.code),
            "message": self.message,
            "code": self.code.as_u16(),
        });
        json_value(self.code, &body)
    }
}

/// 429: the API server's client tries again, up to ten times within its deadline, because of `Retry-After`.
pub(super) fn shed() -> Response {
    let refusal = Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too many reviews at once; retry in a second",
    );
    let mut response = refusal.into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A body that is JSON already.
pub(super) fn json(code: StatusCode, body: Vec<u8>) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn json_value(code: StatusCode, body: &Value) -> Response {
    json(code, body.to_string().into_bytes())
}

/// `metav1.StatusReason` of a code.
fn reason(code: StatusCode) -> &'static str {
    match code {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "Timeout",
        StatusCode::PAYLOAD_TOO_LARGE => "RequestEntityTooLarge",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "UnsupportedMediaType",
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        _ => "InternalError",
    }
}

/// The AdmissionReview that answers the review `uid`.
pub(super) fn admission(uid: &str, verdict: Verdict) -> Response {
    let mut response = json!({ "uid": uid, "allowed": verdict.is_allowed() });
    let warnings = match verdict {
        Verdict::Allowed { patch, warnings } => {
            if let Some(patch) = patch {
                response["patchType"] = "JSONPatch".into();
                response["patch"] = STANDARD.encode(patch).into();
            }
            warnings
        }
        Verdict::Invalid {
            group,
            kind,
            name,
            causes,
            warnings,
        } => {
            response["status"] = invalid(&group, &kind, &name, &causes);
            warnings
        }
        Verdict::Failed { code, message, .. } => {
            response["status"] = json!({
                "status": "Failure",
                "reason": reason(code),
                "message": message,
                "code": code.as_u16(),
            });
            Vec::new()
        }
    };
    let warnings = bounded(warnings);
    if !warnings.is_empty() {
        response["warnings"] = warnings.into();
    }
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": response,
    });
    json_value(StatusCode::OK, &review)
}

/// 422 `Invalid`, one cause per violation; the message joins them all for clients that show only that.
fn invalid(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Value {
    let told = &causes[..causes.len().min(CAUSES)];
    let mut listed: Vec<Value> = told
        .iter()
        .map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field }))
        .collect();
    let mut joined: Vec<String> = told
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    if told.len() < causes.len() {
        let more = format!(
            "and {} more mistakes; `verdigris lint` prints all of them",
            causes.len() - told.len()
        );
        listed.push(json!({ "reason": "FieldValueInvalid", "message": more, "field": "spec" }));
        joined.push(more);
    }
    json!({
        "status": "Failure",
        "reason": "Invalid",
        "message": format!("{kind} {name:?} is invalid: {}", joined.join("\n")),
        "code": 422,
        "details": { "group": group, "kind": kind, "name": name, "causes": listed },
    })
}

/// A ConversionReview that failed as a whole, serialised: 200, since there is an answer.
pub(super) fn conversion_failed(uid: &str, message: &str) -> Response {
    json_value(StatusCode::OK, &conversion_failure(uid, message))
}

/// A ConversionReview that failed as a whole.
pub(super) fn conversion_failure(uid: &str, message: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "response": {
            "uid": uid,
            "convertedObjects": [],
            "result": { "status": "Failure", "message": message },
        },
    })
}

/// Warnings on one line each, short, without doubles, and not too many.
fn bounded(warnings: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(warnings.len());
    let (mut bytes, mut dropped) = (0, 0_usize);
    for warning in warnings {
        let line = one_line(&warning);
        if out.contains(&line) {
            continue;
        }
        if bytes + line.len() > WARNINGS {
            dropped += 1;
            continue;
        }
        bytes += line.len();
        out.push(line);
    }
    if dropped > 0 {
        out.push(format!("and {dropped} more; `verdigris lint` prints all of them"));
    }
    out
}

/// Control characters and runs of white space become one space; the rest is cut at [`WARNING`] characters.
fn one_line(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let clean = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if clean.chars().count() <= WARNING {
        return clean;
    }
    let mut cut: String = clean.chars().take(WARNING - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_lines_the_api_server_keeps() {
        let warnings = vec![
            "two\nlines\tand\u{7} a bell".to_owned(),
            "two lines and a bell".to_owned(),
            "x".repeat(1000),
        ];
        let out = bounded(warnings);
        assert_eq!(out[0], "two lines and a bell");
        assert_eq!(out.len(), 2);
        assert_eq!(out[1].chars().count(), WARNING);
    }

    #[test]
    fn an_answer_is_not_larger_than_the_mistakes_a_person_reads() {
        let cause = |number: usize| Cause {
            reason: "FieldValueInvalid",
            message: "x".to_owned(),
            field: format!("spec.a[{number}]"),
            code: crate::model::violation::Code("x"),
        };
        for (count, listed) in [(1, 1), (CAUSES, CAUSES), (CAUSES + 7, CAUSES + 1)] {
            let causes: Vec<Cause> = (0..count).map(cause).collect();
            let status = invalid("g", "K", "n", &causes);
            let told = status["details"]["causes"].as_array().unwrap();
            assert_eq!(told.len(), listed);
            if count > CAUSES {
                let last = told.last().unwrap()["message"].as_str().unwrap();
                assert!(last.starts_with("and 7 more mistakes"), "{last}");
            }
        }
    }

    #[test]
    fn warnings_stay_below_the_limit_of_all() {
        let many: Vec<String> = (0..100).map(|n| format!("{n} {}", "ä".repeat(200))).collect();
        let out = bounded(many);
        assert!(out.iter().map(String::len).sum::<usize>() < 4096);
        assert!(out.last().unwrap().starts_with("and "));
    }
}
