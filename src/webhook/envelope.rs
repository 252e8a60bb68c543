//! The envelope of a review: who asks what about which object. Decoded before anybody looks at the object, so that
//! every later mistake can be answered with the review's uid.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::answer::Refusal;

/// `admission.k8s.io/v1` AdmissionRequest: the fields we use.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    /// To be echoed.
    pub(super) uid: String,
    /// Kind of `object`.
    #[serde(default)]
    pub(super) kind: GroupVersionKind,
    /// Resource the call went to, after matching.
    #[serde(default)]
    pub(super) resource: GroupVersionResource,
    /// `status`, `scale`, or nothing.
    #[serde(default)]
    pub(super) sub_resource: Option<String>,
    /// Kind as the user's request named it; differs from `kind` when the API server converted the object for us.
    #[serde(default)]
    pub(super) request_kind: Option<GroupVersionKind>,
    /// Empty with `generateName` on CREATE.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// Namespace of the object.
    #[serde(default)]
    pub(super) namespace: Option<String>,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(default)]
    pub(super) operation: String,
    /// Nothing of this will be stored.
    #[serde(default)]
    pub(super) dry_run: Option<bool>,
    /// The object as it would be stored; absent on DELETE.
    #[serde(default)]
    pub(super) object: Option<Value>,
    /// The object as it is stored; absent on CREATE.
    #[serde(default)]
    pub(super) old_object: Option<Value>,
}

/// `metav1.GroupVersionKind`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct GroupVersionKind {
    /// API group.
    #[serde(default)]
    pub(super) group: String,
    /// Version.
    #[serde(default)]
    pub(super) version: String,
    /// Kind.
    #[serde(default)]
    pub(super) kind: String,
}

/// `metav1.GroupVersionResource`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct GroupVersionResource {
    /// API group.
    #[serde(default)]
    pub(super) group: String,
    /// Version.
    #[serde(default)]
    pub(super) version: String,
    /// Plural resource name.
    #[serde(default)]
    pub(super) resource: String,
}

impl Envelope {
    /// Decodes an AdmissionReview. `learnt` is told the uid as soon as it is known.
    pub(super) fn decode(bytes: &[u8], learnt: impl FnOnce(&str)) -> Result<Self, Refusal> {
        let mut review = of_kind(bytes, "admission.k8s.io/v1", "AdmissionReview")?;
        let request = review["request"].take();
        let uid = request["uid"].as_str().unwrap_or_default();
        if uid.is_empty() {
            let message = "request.uid: missing; expected the uid of the review, to be echoed";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
        }
        learnt(uid);
        serde_path_to_error::deserialize(request).map_err(|error| {
            let message = format!("request.{}: {}", error.path(), error.inner());
            Refusal::new(StatusCode::BAD_REQUEST, message)
        })
    }

    /// The version the author wrote the object in.
    pub(super) fn written_version(&self) -> &str {
        match &self.request_kind {
            Some(asked) if !asked.version.is_empty() => &asked.version,
            Some(_) | None => &self.kind.version,
        }
    }
}

/// Decodes a ConversionReview; what is in its request is `api::convert`'s business.
pub(super) fn conversion(bytes: &[u8]) -> Result<Value, Refusal> {
    let review = of_kind(bytes, "apiextensions.k8s.io/v1", "ConversionReview")?;
    if review["request"].is_object() {
        Ok(review)
    } else {
        let message = "request: missing; expected a ConversionRequest";
        Err(Refusal::new(StatusCode::BAD_REQUEST, message))
    }
}

fn of_kind(bytes: &[u8], version: &str, kind: &str) -> Result<Value, Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message);
    let review: Value = serde_json::from_slice(bytes)
        .map_err(|error| bad(format!("the body is not JSON: {error}; expected a {kind}")))?;
    let (found_version, found_kind) = (&review["apiVersion"], &review["kind"]);
    if found_version != version || found_kind != kind {
        return Err(bad(format!(
            "the body is apiVersion {found_version}, kind {found_kind}; expected {version} {kind}"
        )));
    }
    Ok(review)
}
