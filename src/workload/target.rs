//! What the kinds of target differ in: which part of them is released, and how they are parked.

use serde_json::{Map, Value, json};

use crate::model::canary::TargetKind;

/// Node selector that keeps the pods of a DaemonSet off every node (Flagger's).
pub const PARKED: &str = "flagger.app/scale-to-zero";

/// The part of a target that is judged and hashed: the pod template of a Deployment or DaemonSet (parked or not), the
/// spec of a core Service.
pub fn released(kind: TargetKind, target: &Value) -> Value {
    let part = |pointer: &str| target.pointer(pointer).cloned().unwrap_or(Value::Null);
    match kind {
        TargetKind::Deployment => part("/spec/template"),
        TargetKind::DaemonSet => {
            let mut template = part("/spec/template");
            unpark(&mut template);
            template
        }
        TargetKind::Service | TargetKind::Knative => part("/spec"),
    }
}

/// True when a DaemonSet is parked.
pub fn is_parked(daemon_set: &Value) -> bool {
    daemon_set
        .pointer("/spec/template/spec/nodeSelector")
        .and_then(|selector| selector.get(PARKED))
        .is_some()
}

/// Takes the parking selector out of a pod template.
pub fn unpark(template: &mut Value) {
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(selector) = spec.get_mut("nodeSelector").and_then(Value::as_object_mut) else {
        return;
    };
    if selector.remove(PARKED).is_some() && selector.is_empty() {
        spec.remove("nodeSelector");
    }
}

/// The merge patch that gives a target `replicas` pods, or parks it with 0; `None` when it needs none.
pub fn scale(kind: TargetKind, live: &Value, replicas: i64) -> Option<Value> {
    match kind {
        TargetKind::Deployment => {
            let now = live
                .pointer("/spec/replicas")
                .and_then(Value::as_i64)
                .unwrap_or(1);
            (now != replicas).then(|| json!({ "spec": { "replicas": replicas } }))
        }
        TargetKind::DaemonSet => {
            let park = replicas <= 0;
            let selector: Map<String, Value> =
                [(PARKED.to_owned(), if park { json!("true") } else { Value::Null })]
                    .into_iter()
                    .collect();
            (is_parked(live) != park)
                .then(|| json!({ "spec": { "template": { "spec": { "nodeSelector": selector } } } }))
        }
        TargetKind::Service | TargetKind::Knative => None,
    }
}

/// The update strategy of a DaemonSet that cannot be released: without `RollingUpdate` a new template waits for
/// somebody to delete pods.
pub fn unsuitable_strategy(kind: TargetKind, target: &Value) -> Option<&str> {
    match kind {
        TargetKind::DaemonSet => target
            .pointer("/spec/updateStrategy/type")
            .and_then(Value::as_str)
            .filter(|strategy| *strategy != "RollingUpdate"),
        TargetKind::Deployment | TargetKind::Service | TargetKind::Knative => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::revision::hash;
    use crate::workload::fixture::{daemon_set, deployment};

    #[test]
    fn a_daemon_set_is_parked_by_node_selector_which_is_no_revision() {
        let kind = TargetKind::DaemonSet;
        let mut object = daemon_set();
        let before = hash(&released(kind, &object));
        assert_eq!(scale(kind, &object, 1), None);
        assert_eq!(
            scale(kind, &object, 0),
            Some(json!({"spec": {"template": {"spec": {"nodeSelector": {PARKED: "true"}}}}}))
        );
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({PARKED: "true"});
        assert!(is_parked(&object));
        assert_eq!(hash(&released(kind, &object)), before);
        assert_eq!(scale(kind, &object, 0), None);
        assert_eq!(
            scale(kind, &object, 1),
            Some(json!({"spec": {"template": {"spec": {"nodeSelector": {PARKED: null}}}}}))
        );
        object["spec"]["template"]["spec"]["nodeSelector"]["disk"] = json!("ssd");
        assert_ne!(
            hash(&released(kind, &object)),
            before,
            "the user's own selector is"
        );
    }

    #[test]
    fn a_deployment_is_scaled_and_a_service_is_not() {
        let kind = TargetKind::Deployment;
        assert_eq!(scale(kind, &deployment(), 2), None);
        assert_eq!(
            scale(kind, &deployment(), 0),
            Some(json!({"spec": {"replicas": 0}}))
        );
        let mut unset = deployment();
        unset["spec"].as_object_mut().unwrap().remove("replicas");
        assert_eq!(scale(kind, &unset, 1), None, "the default is 1");
        assert_eq!(scale(TargetKind::Service, &json!({}), 0), None);
    }

    #[test]
    fn a_daemon_set_must_roll() {
        let mut object = daemon_set();
        assert_eq!(unsuitable_strategy(TargetKind::DaemonSet, &object), None);
        object["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        assert_eq!(
            unsuitable_strategy(TargetKind::DaemonSet, &object),
            Some("OnDelete")
        );
        assert_eq!(unsuitable_strategy(TargetKind::Deployment, &object), None);
    }
}
