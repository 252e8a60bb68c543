//! The JSON merge patch (RFC 7386) that turns one object into another.
//!
//! Owns: the difference. Promises: nothing is named that does not change, so whatever a cache left out of the live
//! object (`managedFields`, what `kubectl apply` noted) survives. Never: I/O.

use serde_json::{Map, Value};

/// The patch from `live` to `wanted`; `None` when they say the same. Null members count as absent, lists are
/// replaced whole.
pub fn merge(live: &Value, wanted: &Value) -> Option<Value> {
    let (Value::Object(live), Value::Object(wanted)) = (live, wanted) else {
        return (!super::same(Some(live), Some(wanted))).then(|| wanted.clone());
    };
    let mut patch = Map::new();
    for (key, old) in live {
        if !old.is_null() && wanted.get(key).is_none_or(Value::is_null) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    for (key, new) in wanted {
        if new.is_null() {
            continue;
        }
        match live.get(key) {
            None | Some(Value::Null) => {
                patch.insert(key.clone(), new.clone());
            }
            Some(old) => {
                if let Some(inner) = merge(old, new) {
                    patch.insert(key.clone(), inner);
                }
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::workload::fixture::json_value;
    use crate::workload::same;

    #[test]
    fn names_only_what_changes() {
        let live = json!({
            "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}},
            "spec": {"ports": [1, 2], "type": "ClusterIP", "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
        });
        let mut wanted = live.clone();
        assert_eq!(merge(&live, &wanted), None);
        wanted["metadata"]["labels"] = json!({"x": "1", "z": "3"});
        wanted["spec"]["ports"] = json!([2]);
        wanted["spec"]["strategy"] = json!({"type": "Recreate"});
        assert_eq!(
            merge(&live, &wanted),
            Some(json!({
                "metadata": {"labels": {"y": null, "z": "3"}},
                "spec": {"ports": [2], "strategy": {"type": "Recreate", "rollingUpdate": null}},
            }))
        );
    }

    proptest! {
        #[test]
        fn applied_it_gives_what_was_wanted(live in json_value(), wanted in json_value()) {
            let (live, wanted) = (json!({"o": live}), json!({"o": wanted}));
            let mut patched = live.clone();
            if let Some(patch) = merge(&live, &wanted) {
                apply(&mut patched, &patch);
            }
            prop_assert!(same(Some(&patched), Some(&wanted)), "{patched} is not {wanted}");
            prop_assert_eq!(merge(&patched, &wanted), None);
        }
    }

    /// RFC 7386, as the API server does it.
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let map = target.as_object_mut().unwrap();
        for (key, value) in patch {
            if value.is_null() {
                map.remove(key);
            } else {
                apply(map.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
