//! Recorded revisions: the target exactly as it was judged, kept in a ControllerRevision owned by the Canary, so
//! that promotion copies what was judged and a lost primary can be rebuilt from what was last promoted.

use serde_json::{Value, json};

use crate::model::canary::{Canary, TargetKind};
use crate::model::revision::{self, Revision};

use super::{CANARY_LABEL, owner_reference, target};

/// Annotation that holds the full revision hash.
const HASH_ANNOTATION: &str = "verdigris.dev/revision";

/// The object name of a recorded revision: `<canary>-<10 hex digits>`, at most 63 characters. The digits depend on
/// the Canary's uid too: a record of a Canary that was deleted and made anew is about to be collected.
pub fn name(canary: &Canary, revision: &Revision) -> String {
    let hash = revision::hash(&json!([canary.id.uid, revision.template]));
    let short: String = hash.chars().skip(revision::VERSION.len()).take(10).collect();
    let stem: String = canary.id.name.chars().take(63 - 11).collect();
    format!("{}-{short}", stem.trim_end_matches(['-', '.']))
}

/// The part of a target that a primary is rendered from: labels, annotations and spec, as they are when it is not
/// parked.
pub fn source(kind: TargetKind, object: &Value) -> Value {
    let mut spec = object.get("spec").cloned().unwrap_or_else(|| json!({}));
    match kind {
        TargetKind::Deployment | TargetKind::DaemonSet => {
            if let Some(map) = spec.as_object_mut() {
                map.remove("paused");
                map.remove("selector");
            }
            if kind == TargetKind::DaemonSet
                && let Some(template) = spec.get_mut("template")
            {
                target::unpark(template);
            }
        }
        TargetKind::Service | TargetKind::Knative => {}
    }
    let mut metadata = json!({});
    for field in ["labels", "annotations"] {
        if let Some(entries) = object
            .pointer(&format!("/metadata/{field}"))
            .and_then(Value::as_object)
        {
            let kept = entries
                .iter()
                .filter(|(key, _)| !key.starts_with("kubectl.kubernetes.io/") && !is_bookkeeping(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            metadata[field] = Value::Object(kept);
        }
    }
    json!({ "metadata": metadata, "spec": spec })
}

/// Annotations a workload's own controller writes on it.
pub(crate) fn is_bookkeeping(key: &str) -> bool {
    key.starts_with("deployment.kubernetes.io/")
        || key.starts_with("deprecated.daemonset.template.generation")
}

/// Replicas of a source; `None` when it is parked or has none.
pub fn replicas(source: &Value) -> Option<i64> {
    source
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .filter(|count| *count > 0)
}

/// Renders the ControllerRevision (`apps/v1`) that records `target` as `revision`. The replicas of a parked target are
/// those of the `primary`.
pub fn render(canary: &Canary, revision: &Revision, target: &Value, primary: Option<&Value>) -> Value {
    let mut data = source(canary.target.kind, target);
    if canary.target.kind == TargetKind::Deployment
        && replicas(&data).is_none()
        && let Some(count) = primary.and_then(replicas)
    {
        data["spec"]["replicas"] = json!(count);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name(canary, revision),
            "namespace": canary.id.namespace,
            "labels": { CANARY_LABEL: canary.id.uid },
            "annotations": { HASH_ANNOTATION: revision.template },
            "ownerReferences": [owner_reference(canary)],
        },
        "revision": target.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1),
        "data": data,
    })
}

/// The recorded target inside a ControllerRevision, if it records `revision`.
pub fn read(object: &Value, revision: &Revision) -> Option<Value> {
    (hash_of(object)? == revision.template)
        .then(|| object.get("data").cloned())
        .flatten()
}

/// The revision hash a ControllerRevision records.
pub fn hash_of(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(HASH_ANNOTATION)?
        .as_str()
}

/// The records beyond the newest `spare` of those no hash in `needed` names, to be deleted.
pub fn surplus(records: &[Value], needed: &[&str], spare: usize) -> Vec<String> {
    let mut old: Vec<(i64, &str)> = records
        .iter()
        .filter(|record| hash_of(record).is_none_or(|hash| !needed.contains(&hash)))
        .filter_map(|record| {
            let number = record.get("revision").and_then(Value::as_i64).unwrap_or_default();
            Some((number, record.pointer("/metadata/name")?.as_str()?))
        })
        .collect();
    old.sort_unstable();
    let surplus = old.len().saturating_sub(spare);
    old.into_iter()
        .take(surplus)
        .map(|(_, name)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::fixture::{canary, daemon_set, deployment};

    fn revision(template: &str) -> Revision {
        Revision {
            template: template.to_owned(),
            configs: None,
        }
    }

    #[test]
    fn a_record_gives_back_what_was_judged() {
        let kind = TargetKind::Deployment;
        let object = deployment();
        let recorded = render(&canary(), &revision("v1:a"), &object, None);
        assert_eq!(recorded["revision"], 3);
        assert_eq!(hash_of(&recorded), Some("v1:a"));
        assert_eq!(read(&recorded, &revision("v1:b")), None);
        let data = read(&recorded, &revision("v1:a")).unwrap();
        assert_eq!(data, source(kind, &object));
        assert_eq!(data["spec"]["template"], object["spec"]["template"]);
        assert!(data["spec"].get("paused").is_none() && data["spec"].get("selector").is_none());
        assert_eq!(
            data["metadata"]["annotations"],
            json!({"app.example.com/owner": "me"})
        );
    }

    #[test]
    fn a_parked_target_is_recorded_with_the_replicas_of_production() {
        let mut parked = deployment();
        parked["spec"]["replicas"] = json!(0);
        let mut primary = deployment();
        primary["spec"]["replicas"] = json!(7);
        let recorded = |target: &Value, primary: Option<&Value>| {
            replicas(&render(&canary(), &revision("v1:a"), target, primary)["data"])
        };
        assert_eq!(recorded(&parked, Some(&primary)), Some(7));
        assert_eq!(recorded(&parked, None), None);
        assert_eq!(recorded(&deployment(), Some(&primary)), Some(2));
    }

    #[test]
    fn a_parked_daemon_set_is_recorded_as_it_runs() {
        let mut object = daemon_set();
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({target::PARKED: "true"});
        object["metadata"]["annotations"]["deprecated.daemonset.template.generation"] = json!("3");
        assert_eq!(
            source(TargetKind::DaemonSet, &object),
            source(TargetKind::DaemonSet, &daemon_set())
        );
    }

    #[test]
    fn a_service_keeps_its_selector() {
        let object = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"selector": {"app": "x"}}});
        assert_eq!(
            source(TargetKind::Service, &object)["spec"],
            json!({"selector": {"app": "x"}})
        );
    }

    #[test]
    fn a_canary_made_anew_has_records_of_its_own() {
        let mut reborn = canary();
        reborn.id.uid = "uid-2".to_owned();
        assert_ne!(
            name(&canary(), &revision("v1:a")),
            name(&reborn, &revision("v1:a"))
        );
    }

    #[test]
    fn the_oldest_records_nobody_needs_go() {
        let record = |number: i64, hash: &str| {
            let mut object = render(&canary(), &revision(hash), &deployment(), None);
            object["revision"] = json!(number);
            object["metadata"]["name"] = json!(format!("r{number}"));
            object
        };
        let records = [
            record(5, "e"),
            record(1, "a"),
            record(4, "d"),
            record(2, "b"),
            record(3, "c"),
        ];
        assert_eq!(surplus(&records, &["a", "e"], 2), ["r2"]);
        assert_eq!(surplus(&records, &[], 1), ["r1", "r2", "r3", "r4"]);
        assert!(surplus(&records, &["a"], 4).is_empty());
    }

    proptest! {
        #[test]
        fn a_name_is_a_label(stem in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?([.][a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?){0,3}", template in "v1:[0-9a-f]{32}") {
            let mut canary = canary();
            canary.id.name = stem;
            let name = name(&canary, &revision(&template));
            prop_assert!(name.len() <= 63, "{}", name);
            prop_assert!(name.starts_with(|first: char| first.is_ascii_lowercase()));
            prop_assert!(name.ends_with(|last: char| last.is_ascii_alphanumeric()));
            prop_assert!(!name.contains(".-"), "no empty label before the digits: {}", name);
        }
    }
}
