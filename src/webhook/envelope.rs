//! The envelope of a review: who asks what about which object. Decoded before anybody looks at the object, so that
//! every later mistake can be answered with the review's uid.

use std::fmt;

use http::StatusCode;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::answer::Refusal;
use super::judge::Verdict;

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
    /// Who asks.
    #[serde(default)]
    user_info: Option<UserInfo>,
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

/// `authentication.k8s.io/v1` UserInfo: the name is all we use.
#[derive(Debug, Clone, Default, Deserialize)]
struct UserInfo {
    #[serde(default)]
    username: String,
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

/// What an answer needs to know when nothing else could be read.
#[derive(Debug)]
pub(super) struct Opening {
    /// To be echoed.
    pub(super) uid: String,
    /// A deletion, which is never refused.
    is_deletion: bool,
}

impl Opening {
    /// The verdict when the request cannot be judged.
    pub(super) fn failed(&self, code: StatusCode, message: &str) -> Verdict {
        if self.is_deletion {
            Verdict::unjudged()
        } else {
            Verdict::failed(code, message)
        }
    }
}

impl Envelope {
    /// Decodes an AdmissionReview. `learnt` is told the opening as soon as it is known.
    pub(super) fn decode(bytes: &[u8], learnt: impl FnOnce(Opening)) -> Result<Self, Refusal> {
        let mut review = of_kind(bytes, "admission.k8s.io/v1", "AdmissionReview")?;
        let mut request = review["request"].take();
        let uid = request["uid"].as_str().unwrap_or_default();
        if uid.is_empty() {
            let message = "request.uid: missing; expected the uid of the review, to be echoed";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
        }
        learnt(Opening {
            uid: uid.to_owned(),
            is_deletion: request["operation"] == "DELETE",
        });
        // Both objects are JSON already and stay what they are: reading them once more would cost as much as judging.
        let mut taken = |key: &str| {
            let found = request.get_mut(key).map(Value::take);
            found.filter(|object| !object.is_null())
        };
        let (object, old_object) = (taken("object"), taken("oldObject"));
        let envelope: Self = serde_path_to_error::deserialize(request).map_err(|error| {
            let message = format!("request.{}: {}", error.path(), error.inner());
            Refusal::new(StatusCode::BAD_REQUEST, message)
        })?;
        Ok(Self {
            object,
            old_object,
            ..envelope
        })
    }

    /// Name of who asks, for the log.
    pub(super) fn user(&self) -> &str {
        self.user_info.as_ref().map_or("", |user| user.username.as_str())
    }

    /// The version the author wrote the object in.
    pub(super) fn written_version(&self) -> &str {
        match &self.request_kind {
            Some(asked) if !asked.version.is_empty() => &asked.version,
            Some(_) | None => &self.kind.version,
        }
    }
}

/// Reads the uid of a ConversionReview, and no further than needed: the API server's reviews say kind, apiVersion
/// and uid first, so the objects are not touched. What is in the request is `api::convert`'s business.
pub(super) fn conversion(bytes: &[u8]) -> Result<String, Refusal> {
    let mut opening = Conversion::default();
    let read = serde_json::Deserializer::from_slice(bytes).deserialize_map(&mut opening);
    let bad = |message: String| Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    match (read, opening) {
        (
            Ok(()) | Err(_),
            Conversion {
                api_version: Some(version),
                kind: Some(kind),
                uid: Some(uid),
            },
        ) if version == "apiextensions.k8s.io/v1" && kind == "ConversionReview" => Ok(uid),
        (Err(error), opening) if !opening.is_complete() => bad(format!(
            "the body is not JSON: {error}; expected a ConversionReview"
        )),
        (
            Ok(()) | Err(_),
            Conversion {
                api_version,
                kind,
                uid,
            },
        ) => {
            let said =
                |value: Option<String>| value.map_or_else(|| "null".to_owned(), |text| format!("{text:?}"));
            if api_version.as_deref() == Some("apiextensions.k8s.io/v1")
                && kind.as_deref() == Some("ConversionReview")
                && uid.is_none()
            {
                return bad(
                    "request.uid: missing; expected a ConversionRequest with a uid, to be echoed".to_owned(),
                );
            }
            bad(format!(
                "the body is apiVersion {}, kind {}; expected apiextensions.k8s.io/v1 ConversionReview",
                said(api_version),
                said(kind),
            ))
        }
    }
}

/// How a ConversionReview opens.
#[derive(Debug, Default)]
struct Conversion {
    api_version: Option<String>,
    kind: Option<String>,
    uid: Option<String>,
}

impl Conversion {
    fn is_complete(&self) -> bool {
        self.api_version.is_some() && self.kind.is_some() && self.uid.is_some()
    }
}

impl<'de> Visitor<'de> for &mut Conversion {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a ConversionReview")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "apiVersion" => self.api_version = map.next_value()?,
                "kind" => self.kind = map.next_value()?,
                "request" => map.next_value_seed(Question(self))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if self.is_complete() {
                return Err(serde::de::Error::custom("nothing more is wanted"));
            }
        }
        Ok(())
    }
}

/// The request of a review, up to its uid.
struct Question<'a>(&'a mut Conversion);

impl<'de> DeserializeSeed<'de> for Question<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Question<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a ConversionReview request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "uid" {
                self.0.uid = Some(map.next_value()?);
                if self.0.is_complete() {
                    return Err(serde::de::Error::custom("nothing more is wanted"));
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uid_of_a_conversion_is_read_before_its_objects() {
        let head = r#""apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview""#;
        let rows = [
            (
                format!(r#"{{{head},"request":{{"uid":"u","objects":[nonsense"#),
                Ok("u"),
            ),
            (
                format!(r#"{{"request":{{"objects":[{{}}],"uid":"u"}},{head}}}"#),
                Ok("u"),
            ),
            (
                format!(r#"{{{head},"request":{{"objects":[]}}}}"#),
                Err("request.uid: missing"),
            ),
            (format!(r"{{{head}}}"), Err("request.uid: missing")),
            (
                format!(r#"{{{head},"request":7}}"#),
                Err("not JSON: invalid type"),
            ),
            ("[]".to_owned(), Err("not JSON: invalid type")),
            ("{".to_owned(), Err("not JSON: EOF")),
            (
                r#"{"kind":"AdmissionReview","apiVersion":"v1","request":{"uid":"u"}}"#.to_owned(),
                Err("kind \"Adm"),
            ),
            (
                r#"{"request":{"uid":"u"}}"#.to_owned(),
                Err("apiVersion null, kind null"),
            ),
        ];
        for (body, expected) in rows {
            match (conversion(body.as_bytes()), expected) {
                (Ok(uid), Ok(expected)) => assert_eq!(uid, expected, "{body}"),
                (Err(refusal), Err(expected)) => {
                    assert!(refusal.to_string().contains(expected), "{body}: {refusal}");
                }
                (found, _) => panic!("{body}: {found:?}"),
            }
        }
    }
}
