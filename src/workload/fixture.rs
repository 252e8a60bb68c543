//! What the tests of the renderers share.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model::canary::{
    Analysis, Canary, Identity, Metadata, Provider, Service, Strategy as Release, Target, TargetKind,
    Unmanaged,
};

/// Canary `podinfo` in namespace `test`, releasing the Deployment `podinfo` on port 80.
pub(crate) fn canary() -> Canary {
    Canary {
        id: Identity {
            namespace: "test".to_owned(),
            name: "podinfo".to_owned(),
            uid: "uid-1".to_owned(),
        },
        generation: 1,
        provider: Provider::Kubernetes,
        metrics_server: None,
        target: Target {
            kind: TargetKind::Deployment,
            name: "podinfo".to_owned(),
        },
        autoscaler: None,
        service: Service {
            name: "podinfo".to_owned(),
            port: 80,
            port_name: "http".to_owned(),
            target_port: None,
            app_protocol: None,
            traffic_distribution: None,
            port_discovery: false,
            headless: false,
            apex: Metadata::default(),
            primary: Metadata::default(),
            canary: Metadata::default(),
            unmanaged: Unmanaged::default(),
        },
        analysis: Analysis {
            skip: false,
            interval: Duration::from_secs(10),
            threshold: NonZeroU32::MIN,
            strategy: Release::BlueGreen {
                iterations: NonZeroU32::MIN,
                mirror: false,
            },
            checks: Vec::new(),
            hooks: Vec::new(),
            alerts: Vec::new(),
            primary_ready: 100,
            canary_ready: 100,
        },
        progress_deadline: Duration::from_secs(60),
        suspended: false,
        revert_on_deletion: false,
    }
}

/// The Deployment `podinfo` as an API server stores it.
pub(crate) fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "podinfo",
            "namespace": "test",
            "generation": 3,
            "labels": {"app": "podinfo", "team": "shop", "kustomize.toolkit.fluxcd.io/name": "apps"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "deployment.kubernetes.io/revision": "7",
                "app.example.com/owner": "me",
            },
        },
        "spec": {
            "replicas": 2,
            "paused": true,
            "minReadySeconds": 3,
            "progressDeadlineSeconds": 60,
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": {"app": "podinfo", "tier": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "creationTimestamp": null,
                    "labels": {"app": "podinfo", "tier": "web"},
                    "annotations": {"prometheus.io/scrape": "true", "flagger-id": "someone-else's"},
                },
                "spec": {
                    "containers": [{"name": "podinfod", "image": "podinfo:1"}],
                    "futureField": {"kept": true},
                },
            },
        },
    })
}

/// The DaemonSet `podinfo` as an API server stores it.
pub(crate) fn daemon_set() -> Value {
    let mut object = deployment();
    object["kind"] = json!("DaemonSet");
    let spec = object["spec"].as_object_mut().unwrap();
    for field in ["replicas", "paused", "strategy", "progressDeadlineSeconds"] {
        spec.shift_remove(field);
    }
    object["spec"]["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}});
    object
}

/// Any small JSON value.
pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
