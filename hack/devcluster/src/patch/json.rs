//! JSON patch (RFC 6902), content type `application/json-patch+json`.

use serde_json::Value;

use super::PatchError;

/// Applies a list of operations to a copy of `live`; all of them or none.
///
/// Refuses with 400 when `patch` is not a list of operations, and with kube-apiserver's 422 when an operation (also
/// a `test`) fails; the reason of the failure is in the one cause, kube-apiserver itself drops it.
pub fn apply(live: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|e| PatchError::bad_request(format!("error decoding patch: {e}")))?;
    let mut object = live.clone();
    json_patch::patch(&mut object, &operations).map_err(|e| PatchError::unprocessable(&e.to_string()))?;
    Ok(object)
}
