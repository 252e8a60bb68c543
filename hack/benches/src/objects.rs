//! Canaries of about 10 kB, as an API server sends them.
#![allow(dead_code, reason = "each measurement uses some of it")]

use serde_json::{Value, json};

/// What the objects of a review look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// v1alpha3, wanted at v1beta1; the core rules suffice.
    Old,
    /// v1beta1, wanted at v1alpha3; the core rules suffice.
    New,
    /// v1alpha3 with a key that has to be kept aside.
    Stashed,
}

impl Shape {
    pub(crate) const ALL: [Shape; 3] = [Shape::Old, Shape::New, Shape::Stashed];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Shape::Old => "old",
            Shape::New => "new",
            Shape::Stashed => "stashed",
        }
    }

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Shape::Old => "v1alpha3 → v1beta1",
            Shape::New => "v1beta1 → v1alpha3",
            Shape::Stashed => "v1alpha3 → v1beta1, each with a stash",
        }
    }

    fn versions(self) -> (&'static str, &'static str) {
        match self {
            Shape::Old | Shape::Stashed => ("flagger.app/v1alpha3", "flagger.app/v1beta1"),
            Shape::New => ("flagger.app/v1beta1", "flagger.app/v1alpha3"),
        }
    }
}

/// A ConversionReview of `count` objects, printed as Go prints it.
pub(crate) fn review(shape: Shape, count: usize) -> Vec<u8> {
    let (_, to) = shape.versions();
    let mut body = format!(
        "{{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"request\":{{\"uid\":\
         \"6f1c2ab0-5d0e-4a3e-9a39-0d7a1c6a9c11\",\"desiredAPIVersion\":\"{to}\",\"objects\":["
    )
    .into_bytes();
    for number in 0..count {
        if number > 0 {
            body.push(b',');
        }
        body.extend_from_slice(canary(shape, number).to_string().as_bytes());
    }
    body.extend_from_slice(b"]}}");
    body.shrink_to_fit();
    body
}

/// The name of the object of this number.
pub(crate) fn name(number: usize) -> String {
    format!("service-{number:05}")
}

/// One of them at v1beta1.
pub(crate) fn canary_at_v1beta1() -> Value {
    canary(Shape::New, 0)
}

/// A Canary that says the least.
pub(crate) fn small(name: &str) -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 9898},
            "analysis": {"interval": "1m", "threshold": 5, "iterations": 10},
        },
    })
}

fn canary(shape: Shape, number: usize) -> Value {
    let is_new = shape == Shape::New;
    let (from, _) = shape.versions();
    let name = name(number);
    let bound = |max: f64| {
        if is_new {
            ("thresholdRange", json!({"max": max}))
        } else {
            ("threshold", json!(max))
        }
    };
    let metrics: Vec<Value> = (0..6)
        .map(|index| {
            let (key, value) = bound(f64::from(index) + 0.5);
            json!({
                "name": format!("check {index} of {name}"),
                "interval": "1m",
                key: value,
                "query": format!(
                    "100 - sum(\n  rate(\n    http_request_duration_seconds_count{{\n      \
                     kubernetes_namespace=\"team-{index}\",\n      kubernetes_pod_name=~\"{name}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\",\n      \
                     status!~\"5.*\"\n    }}[1m]\n  )\n)\n/\nsum(\n  rate(\n    http_request_duration_seconds_count{{\n      \
                     kubernetes_namespace=\"team-{index}\",\n      kubernetes_pod_name=~\"{name}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\"\n    \
                     }}[1m]\n  )\n) * 100\n"
                ),
            })
        })
        .collect();
    let webhooks: Vec<Value> = ["pre-rollout", "rollout", "confirm-promotion", "post-rollout"]
        .iter()
        .map(|kind| {
            json!({
                "name": format!("{kind} of {name}"), "type": kind, "url": "http://flagger-loadtester.test/", "timeout": "15s",
                "metadata": {"type": "cmd", "cmd": format!("hey -z 1m -q 10 -c 2 http://{name}-canary.test:9898/"), "logCmdOutput": "true"},
            })
        })
        .collect();
    let mut spec = json!({
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": name},
        "progressDeadlineSeconds": 60,
        "service": {
            "port": 9898, "targetPort": "http", "portDiscovery": true, "timeout": "15s",
            "gateways": ["public-gateway.istio-system.svc.cluster.local", "mesh"],
            "hosts": [format!("{name}.example.com"), format!("{name}.internal.example.com")],
            "trafficPolicy": {"tls": {"mode": "DISABLE"}, "connectionPool": {"http": {"http1MaxPendingRequests": 100}}},
            "headers": {"request": {"add": {"x-envoy-upstream-rq-timeout-ms": "15000"}}},
            "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "gateway-error,connect-failure"},
        },
    });
    let analysis = json!({
        "interval": "1m", "threshold": 5, "iterations": 10, "metrics": metrics, "webhooks": webhooks,
        "match": [{"headers": {"cookie": {"regex": "^(.*?;)?(canary=always)(;.*)?$"}}}],
    });
    let key = if is_new { "analysis" } else { "canaryAnalysis" };
    spec[key] = analysis;
    if shape == Shape::Stashed {
        spec["service"]["appendHeaders"] = json!({"x-envoy-max-retries": "10"});
    }
    let applied =
        json!({"apiVersion": from, "kind": "Canary", "metadata": {"name": name}, "spec": spec.clone()})
            .to_string();
    json!({
        "apiVersion": from,
        "kind": "Canary",
        "metadata": {
            "name": name, "namespace": "test", "uid": format!("6f1c2ab0-5d0e-4a3e-9a39-{number:012}"),
            "resourceVersion": number.to_string(), "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied},
            "managedFields": [{
                "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": from,
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}},
                    "f:spec": {".": {}, "f:progressDeadlineSeconds": {}, "f:service": {".": {}, "f:port": {}, "f:gateways": {}},
                        "f:targetRef": {".": {}, "f:apiVersion": {}, "f:kind": {}, "f:name": {}}}},
            }],
        },
        "spec": spec,
        "status": {
            "phase": "Succeeded", "failedChecks": 0, "canaryWeight": 0, "iterations": 0,
            "lastAppliedSpec": "7654321098", "lastPromotedSpec": "7654321098", "lastTransitionTime": "2026-01-01T00:10:00Z",
            "trackedConfigs": {},
            "conditions": [{"type": "Promoted", "status": "True", "reason": "Succeeded",
                "lastUpdateTime": "2026-01-01T00:10:00Z", "lastTransitionTime": "2026-01-01T00:10:00Z",
                "message": "Canary analysis completed successfully, promotion finished."}],
        },
    })
}
