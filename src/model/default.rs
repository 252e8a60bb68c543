//! The defaults, each named once: [`super::parse`] applies them, the mutating webhook writes a few of them down.

use std::num::NonZeroU32;
use std::time::Duration;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use serde_json::{Value, json};

/// `spec.progressDeadlineSeconds` when absent: 600 s.
pub const PROGRESS_DEADLINE: Duration = Duration::from_secs(600);
/// `analysis.interval` when absent: 60 s.
pub const INTERVAL: Duration = Duration::from_secs(60);
/// `analysis.threshold` when absent: the first failed check rolls back.
pub const THRESHOLD: NonZeroU32 = NonZeroU32::MIN;
/// `analysis.iterations` with provider kubernetes when the manifest has none.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
/// `analysis.primaryReadyThreshold` and `canaryReadyThreshold` when absent, percent.
pub const READY_THRESHOLD: u8 = 100;
/// `metrics[].interval` when absent, for every kind of metric (Flagger forgets it for templates, Q-13).
pub const METRIC_INTERVAL: &str = "1m";
/// `webhooks[].timeout` when absent.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// `service.portName` when absent.
pub const PORT_NAME: &str = "http";

/// The `add` operations that write defaults into a Canary as its author wrote it (either version).
///
/// Chosen so that nothing anybody wrote changes and no tool fights back: only constants (a default that follows
/// another field, such as the Service's name, would stay behind when that field changes), only members of objects
/// (lists of a custom resource are atomic: a client-side apply or a GitOps tool would see a changed list forever),
/// and only fields both versions have. Applying it twice adds nothing; [`super::parse`] reads the same before and
/// after.
pub fn patch(object: &Value) -> Vec<PatchOperation> {
    let mut operations = Vec::new();
    let mut add = |parent: &[&str], key: &str, value: Value| {
        let there = parent
            .iter()
            .try_fold(object, |value, step| value.get(*step))
            .and_then(Value::as_object);
        if there.is_some_and(|map| !map.contains_key(key)) {
            let path = PointerBuf::from_tokens(parent.iter().copied().chain([key]));
            operations.push(PatchOperation::Add(AddOperation { path, value }));
        }
    };
    add(
        &["spec"],
        "progressDeadlineSeconds",
        json!(PROGRESS_DEADLINE.as_secs()),
    );
    add(&["spec"], "skipAnalysis", json!(false));
    add(&["spec", "service"], "portName", json!(PORT_NAME));
    operations
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::parse::{self, Settings};

    fn defaulted(object: &Value) -> Value {
        let mut patched = object.clone();
        json_patch::patch(&mut patched, &patch(object)).unwrap();
        patched
    }

    #[test]
    fn adds_what_is_absent_and_nothing_else() {
        let before = json!({"apiVersion": "flagger.app/v1beta1", "spec": {"service": {"port": 80}, "analysis": {"metrics": [{"name": "a"}]}}});
        let after = defaulted(&before);
        assert_eq!(
            after["spec"],
            json!({"service": {"port": 80, "portName": "http"}, "analysis": {"metrics": [{"name": "a"}]},
                "progressDeadlineSeconds": 600, "skipAnalysis": false})
        );
        assert!(patch(&after).is_empty());
    }

    #[test]
    fn keeps_what_was_written_even_when_wrong() {
        let odd = json!({"spec": {"progressDeadlineSeconds": "soon", "skipAnalysis": null, "service": []}});
        assert!(patch(&odd).is_empty());
        for object in [json!(null), json!({}), json!({"spec": null}), json!({"spec": 1})] {
            assert!(patch(&object).is_empty(), "{object}");
        }
    }

    /// Canaries with any of these fields there, absent, or odd.
    fn canaries() -> impl Strategy<Value = Value> {
        let odd = prop_oneof![
            4 => Just(None),
            1 => Just(Some(Value::Null)),
            1 => Just(Some(json!({}))),
            1 => Just(Some(json!([]))),
            1 => any::<bool>().prop_map(|flag| Some(json!(flag))),
            1 => (-2i64..900).prop_map(|number| Some(json!(number))),
            1 => "[a-z]{0,5}".prop_map(|text| Some(json!(text))),
        ];
        (odd.clone(), odd.clone(), odd.clone(), odd.clone(), odd, any::<bool>()).prop_map(
            |(deadline, skip, port_name, suspend, service, old)| {
                let mut object = json!({
                    "apiVersion": if old { "flagger.app/v1alpha3" } else { "flagger.app/v1beta1" },
                    "metadata": {"name": "a", "namespace": "b"},
                    "spec": {
                        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
                        "service": {"port": 80},
                        "analysis": {"interval": "1m", "threshold": 1, "iterations": 2, "metrics": [{"name": "m", "query": "up", "threshold": 1}]},
                    },
                });
                let spec = &mut object["spec"];
                if let Some(service) = service {
                    spec["service"] = service;
                }
                for (key, value) in [("progressDeadlineSeconds", deadline), ("skipAnalysis", skip), ("suspend", suspend)] {
                    if let Some(value) = value {
                        spec[key] = value;
                    }
                }
                if let (Some(name), Some(service)) = (port_name, spec["service"].as_object_mut()) {
                    service.insert("portName".to_owned(), name);
                }
                object
            },
        )
    }

    proptest! {
        /// What is written down is what would have been read: nothing else changes, and once is enough.
        #[test]
        fn the_same_is_read_before_and_after(before in canaries()) {
            let after = defaulted(&before);
            prop_assert!(patch(&before).iter().all(|operation| matches!(operation, PatchOperation::Add(_))));
            prop_assert!(patch(&after).is_empty());
            let settings = Settings::default();
            prop_assert_eq!(parse::canary(&before, &settings), parse::canary(&after, &settings));
            // Taking the defaults out again gives what was there.
            let mut back = after;
            for operation in patch(&before) {
                if let PatchOperation::Add(add) = operation {
                    let path = add.path.to_string();
                    let (parent, key) = path.rsplit_once('/').unwrap();
                    back.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(key);
                }
            }
            prop_assert_eq!(back, before);
        }
    }
}
