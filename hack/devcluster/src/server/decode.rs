//! From a request's body to an object of the type the path names.
//!
//! Owns: apiVersion and kind checks, unknown and mistyped fields, pruning, defaulting; and reading stored objects
//! back. Promises: what passes here has the shape of its type. Never: judges values.

use serde_json::{Map, Value};

use super::Cluster;
use super::call::{Call, FieldValidation};
use super::defaults;
use super::status::Failure;
use crate::kinds::{Kind, split_api_version};
use crate::schema::error::{decode_refusal, strict_refusal};
use crate::schema::{FieldError, builtin, structural};
use crate::store::Stored;

impl Cluster {
    /// A stored object at the version of `kind`, as clients see it.
    pub(crate) async fn read(&self, kind: &Kind, stored: &Stored) -> Result<Value, Failure> {
        self.read_value(kind, &stored.value).await
    }

    pub(crate) async fn read_value(&self, kind: &Kind, stored: &Value) -> Result<Value, Failure> {
        let mut object = stored.clone();
        if let Some(custom) = &kind.custom {
            // The schema in force may be younger than the object.
            let (_, version) = split_api_version(stored["apiVersion"].as_str().unwrap_or_default());
            if let Some(schema) = custom.schema(version) {
                structural::prune(schema, &mut object);
                structural::default(schema, &mut object);
            }
        }
        let at_home = object["apiVersion"] == kind.api_version().as_str();
        let mut object = self.convert(kind, object).await?;
        if !at_home && let Some(schema) = kind.custom.as_ref().and_then(|c| c.schema(&kind.version)) {
            structural::prune(schema, &mut object);
        }
        Ok(object)
    }

    /// An object at the version it is stored at.
    pub(crate) async fn to_storage(&self, kind: &Kind, object: Value) -> Result<Value, Failure> {
        let mut object = self.convert_to(kind, object, &kind.storage).await?;
        if kind.storage != kind.api_version()
            && let Some(custom) = &kind.custom
            && let Some(schema) = custom.schema(custom.storage_version())
        {
            structural::prune(schema, &mut object);
        }
        Ok(object)
    }
}

/// Checks that `object` is of the call's type, then prunes and defaults it.
pub(crate) fn decode(call: &Call, object: Value) -> Result<Value, Failure> {
    decode_as(call, object, None)
}

/// [`decode`] for the result of a patch, which is shown in refusals of unknown fields.
pub(crate) fn decode_as(call: &Call, mut object: Value, patch: Option<&str>) -> Result<Value, Failure> {
    let kind = &call.kind;
    check_type(kind, &mut object)?;
    let unknown = shape(kind, &mut object, patch)?;
    if !unknown.is_empty() {
        match call.validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => {
                for field in &unknown {
                    call.warn(&format!("unknown field {field:?}"));
                }
            }
            FieldValidation::Strict => {
                return Err(match patch {
                    None => Failure::refused(kind, &call.name, strict_refusal(&kind.reference(), &unknown)),
                    Some(patch) => Failure::patch(patch, &strict_words(&unknown)),
                });
            }
        }
    }
    Ok(object)
}

/// Prunes and defaults; answers the unknown fields. Wrong types are the patch's mistake when there is one.
pub(crate) fn shape(kind: &Kind, object: &mut Value, patch: Option<&str>) -> Result<Vec<String>, Failure> {
    if let Some(custom) = &kind.custom {
        let mut unknown = Vec::new();
        if let Some(schema) = custom.schema(&kind.version) {
            unknown = structural::prune(schema, object);
            structural::default(schema, object);
        }
        return Ok(unknown);
    }
    let (pruned, decoded) = builtin::decoded(&kind.reference(), object);
    if let Some(first) = decoded.mistyped.first() {
        return Err(match patch {
            None => Failure::refused(kind, "", decode_refusal(&kind.reference(), &decoded.mistyped)),
            Some(patch) => Failure::patch(patch, first),
        });
    }
    *object = pruned;
    super::protobuf::drop_empty(&kind.group, &kind.version, &kind.kind, object);
    defaults::apply(kind, object);
    Ok(decoded.unknown)
}

fn strict_words(unknown: &[String]) -> String {
    let fields: Vec<String> = unknown.iter().map(|f| format!("unknown field {f:?}")).collect();
    format!("strict decoding error: {}", fields.join(", "))
}

/// Refuses what is of another type. A built-in object that names no type is of the path's.
fn check_type(kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    let api_version = kind.api_version();
    let text = object.to_string();
    let Some(members) = object.as_object_mut() else {
        return Err(Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: \
             json: cannot unmarshal into an object",
            kind.kind
        )));
    };
    let empty = |v: Option<&Value>| v.and_then(Value::as_str).is_none_or(str::is_empty);
    if kind.custom.is_none() {
        if empty(members.get("apiVersion")) {
            members.insert("apiVersion".to_owned(), Value::from(api_version.as_str()));
        }
        if empty(members.get("kind")) {
            members.insert("kind".to_owned(), Value::from(kind.kind.as_str()));
        }
    }
    let text_of = |key: &str| members.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, name) = (text_of("apiVersion"), text_of("kind"));
    if name.is_empty() {
        return Err(Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{text}'",
            kind.kind
        )));
    }
    if version != api_version {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({api_version})"
        )));
    }
    if name != kind.kind && kind.custom.is_some() {
        let other = Kind {
            kind: name.to_owned(),
            ..kind.clone()
        };
        let error = FieldError::invalid("kind", &members["kind"], format!("must be {}", kind.kind));
        let object = members
            .get("metadata")
            .and_then(|m| m["name"].as_str())
            .unwrap_or_default();
        return Err(Failure::invalid(&other, object, &[error]));
    }
    if name != kind.kind {
        let group = if kind.group.is_empty() {
            "core"
        } else {
            &kind.group
        };
        return Err(Failure::bad_request(format!(
            "{name} in version {:?} cannot be handled as a {}: converting ({}.{name}) to ({group}.{1}): unknown \
             conversion",
            split_api_version(version).1,
            kind.kind,
            kind.version,
        )));
    }
    match members.get("metadata") {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => Err(Failure::bad_request(format!(
            "{0} in version {1:?} cannot be handled as a {0}: json: cannot unmarshal into Go struct field {0}.metadata of \
             type v1.ObjectMeta",
            kind.kind, kind.version
        ))),
    }
}

/// `metadata` of an object, created when absent.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    object_mut(&mut object["metadata"])
}

/// The value as an object, replaced by an empty one when it is anything else.
pub(crate) fn object_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(members) => members,
        _ => unreachable!("set to an object above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_must_fit_the_path() {
        let registry = crate::kinds::Registry::new();
        let kind = registry.find("apps", "v1", "deployments").unwrap();
        let mut unnamed = json!({});
        assert!(check_type(&kind, &mut unnamed).is_ok());
        assert_eq!(unnamed, json!({"apiVersion": "apps/v1", "kind": "Deployment"}));
        let rows = [
            (json!([]), "unrecognized"),
            (
                json!({"apiVersion": "apps/v1", "kind": "ReplicaSet"}),
                "cannot be handled as a Deployment",
            ),
            (
                json!({"apiVersion": "apps/v1beta1", "kind": "Deployment"}),
                "does not match the expected",
            ),
            (
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": 1}),
                "ObjectMeta",
            ),
        ];
        for (mut object, expected) in rows {
            let failure = check_type(&kind, &mut object).unwrap_err();
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
    }
}
