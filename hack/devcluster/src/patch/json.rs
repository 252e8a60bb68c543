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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations() {
        let live = json!({"a": {"b": 1}, "list": [1, 2, 3]});
        let rows = [
            (
                json!([{"op": "add", "path": "/a/c", "value": 2}]),
                json!({"a": {"b": 1, "c": 2}, "list": [1, 2, 3]}),
            ),
            (
                json!([{"op": "add", "path": "/list/-", "value": 4}]),
                json!({"a": {"b": 1}, "list": [1, 2, 3, 4]}),
            ),
            (
                json!([{"op": "add", "path": "/list/0", "value": 0}]),
                json!({"a": {"b": 1}, "list": [0, 1, 2, 3]}),
            ),
            (
                json!([{"op": "remove", "path": "/list/1"}]),
                json!({"a": {"b": 1}, "list": [1, 3]}),
            ),
            (
                json!([{"op": "replace", "path": "/a", "value": null}]),
                json!({"a": null, "list": [1, 2, 3]}),
            ),
            (
                json!([{"op": "move", "from": "/a/b", "path": "/m~1n"}]),
                json!({"a": {}, "list": [1, 2, 3], "m/n": 1}),
            ),
            (
                json!([{"op": "copy", "from": "/a/b", "path": "/list/0"}]),
                json!({"a": {"b": 1}, "list": [1, 1, 2, 3]}),
            ),
            (
                json!([{"op": "test", "path": "/a/b", "value": 1}, {"op": "remove", "path": "/a/b"}]),
                json!({"a": {}, "list": [1, 2, 3]}),
            ),
        ];
        for (patch, expected) in rows {
            assert_eq!(apply(&live, &patch).unwrap(), expected, "{patch}");
        }
    }

    #[test]
    fn refusals() {
        let live = json!({"a": 1});
        let rows = [
            (json!({"a": 2}), 400, "BadRequest"),
            (json!([{"op": "grow", "path": "/a"}]), 400, "BadRequest"),
            (json!([{"op": "test", "path": "/a", "value": 2}]), 422, "Invalid"),
            (
                json!([{"op": "replace", "path": "/b", "value": 2}]),
                422,
                "Invalid",
            ),
            (json!([{"op": "remove", "path": "/b"}]), 422, "Invalid"),
            (
                json!([{"op": "add", "path": "/a", "value": 2}, {"op": "remove", "path": "/b"}]),
                422,
                "Invalid",
            ),
        ];
        for (patch, code, reason) in rows {
            let refusal = apply(&live, &patch).unwrap_err();
            assert_eq!((refusal.code, refusal.reason), (code, reason), "{patch}");
        }
        let refusal = apply(&live, &json!([{"op": "remove", "path": "/b"}])).unwrap_err();
        assert_eq!(
            refusal.message,
            "the server rejected our request due to an error in our request"
        );
    }
}
