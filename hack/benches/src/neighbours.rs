//! A cluster to look around in, and the review of one more Canary.

use serde_json::{Value, json};
use verdigris::cache::{Caches, Kind};

use crate::objects;

/// Namespaces of the cluster.
pub(crate) const NAMES: usize = 20;
/// Applications in each.
const APPLICATIONS: usize = 20;

/// Warm caches: in each namespace a few applications, every one with a Canary, its primary and three Services.
pub(crate) fn around() -> Caches {
    let mut all = Vec::new();
    for namespace in (0..NAMES).map(|number| {
        if number == 0 {
            "test".to_owned()
        } else {
            format!("team-{number}")
        }
    }) {
        for name in (0..APPLICATIONS).map(|number| format!("app-{number}")) {
            all.push((Kind::CANARY, placed(objects::small(&name), &namespace)));
            for name in [name.clone(), format!("{name}-primary")] {
                all.push((Kind::DEPLOYMENT, placed(deployment(&name), &namespace)));
            }
            for service in [name.clone(), format!("{name}-primary"), format!("{name}-canary")] {
                let selected = service.replace("-canary", "");
                let object = json!({
                    "metadata": {"name": service},
                    "spec": {"selector": {"app": selected}, "ports": [{"name": "http", "port": 9898}]},
                });
                all.push((Kind::SERVICE, placed(object, &namespace)));
            }
        }
    }
    let subject = objects::name(0);
    all.push((Kind::DEPLOYMENT, placed(deployment(&subject), "test")));
    let scaler = json!({
        "metadata": {"name": subject},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": subject}, "minReplicas": 2, "maxReplicas": 4},
    });
    all.push((Kind::HPA, placed(scaler, "test")));
    Caches::holding(all)
}

fn placed(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = namespace.into();
    object
}

fn deployment(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app", "image": "podinfo:6.7.0", "readinessProbe": {"httpGet": {"port": "http", "path": "/readyz"}},
                    "ports": [{"name": "http", "containerPort": 9898}],
                }]},
            },
        },
    })
}

/// The CREATE of a Canary of 10 kB with five queries, as the API server asks.
pub(crate) fn review() -> Vec<u8> {
    let mut object = objects::canary_at_v1beta1();
    object["spec"]["analysis"]["metrics"]
        .as_array_mut()
        .unwrap()
        .truncate(5);
    let kind = json!({"group": "flagger.app", "version": "v1beta1", "kind": "Canary"});
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "6f1c2ab0-5d0e-4a3e-9a39-0d7a1c6a9c11",
            "kind": kind,
            "resource": {"group": "flagger.app", "version": "v1beta1", "resource": "canaries"},
            "requestKind": kind,
            "requestResource": {"group": "flagger.app", "version": "v1beta1", "resource": "canaries"},
            "name": object["metadata"]["name"],
            "namespace": "test",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:ci:deployer", "groups": ["system:serviceaccounts", "system:authenticated"]},
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-client-side-apply"},
        },
    })
    .to_string()
    .into_bytes()
}
