//! One row for each rule: a manifest that breaks it alone, and one next to it that does not.
#![expect(
    clippy::needless_pass_by_value,
    reason = "json! literals are passed as they are written"
)]

use super::*;

/// Code, path, what to change to break the rule, what to change next to it without breaking it.
pub(super) struct Row(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) Value,
    pub(super) Value,
);

/// Merges patches (RFC 7396) into one. A null removes, so it has to survive.
fn both(mut first: Value, second: &Value) -> Value {
    match (&mut first, second) {
        (Value::Object(merged), Value::Object(patch)) => {
            for (key, value) in patch {
                let member = merged.remove(key).unwrap_or(Value::Null);
                merged.insert(key.clone(), both(member, value));
            }
            first
        }
        _ => second.clone(),
    }
}

fn spec(patch: Value) -> Value {
    json!({"spec": patch})
}

fn analysis(patch: Value) -> Value {
    json!({"spec": {"analysis": patch}})
}

fn service(patch: Value) -> Value {
    json!({"spec": {"service": patch}})
}

fn metric(metric: Value) -> Value {
    analysis(json!({"metrics": [metric]}))
}

fn hook(patch: Value) -> Value {
    let base = json!({"name": "h", "url": "http://gate.test/check", "timeout": "5s"});
    let mut hook = both(base, &patch);
    hook.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    analysis(json!({"webhooks": [hook]}))
}

/// A hook on the load tester's root.
fn task(kind: &str, metadata: Value) -> Value {
    hook(json!({"type": kind, "url": "http://flagger-loadtester.test/", "metadata": metadata}))
}

fn with(provider: &str, patch: &Value) -> Value {
    both(spec(json!({"provider": provider})), patch)
}

/// Weighted analysis with Istio.
fn istio(patch: Value) -> Value {
    let base = json!({"spec": {"provider": "istio", "analysis": {"iterations": null, "stepWeight": 10, "maxWeight": 50}}});
    both(base, &analysis(patch))
}

/// A/B with this provider.
fn ab(provider: &str, matches: Value) -> Value {
    with(provider, &analysis(json!({"match": matches})))
}

fn scaler(patch: Value) -> Value {
    let base = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"});
    spec(json!({"autoscalerRef": both(base, &patch)}))
}

pub(super) fn canary() -> Vec<Row> {
    let long = "a".repeat(60);
    let header = |operator: &str| json!([{"headers": {"x": {operator: "y"}}}]);
    let rate = |range: Value| metric(json!({"name": "request-success-rate", "thresholdRange": range}));
    let latency = |range: Value| metric(json!({"name": "request-duration", "thresholdRange": range}));
    let custom = |more: Value| metric(both(json!({"name": "m", "query": "up"}), &more));
    let nothing = || json!({});
    vec![
        // Shape.
        Row(
            "wrong-type",
            "spec.skipAnalysis",
            spec(json!({"skipAnalysis": "no"})),
            spec(json!({"skipAnalysis": false})),
        ),
        Row(
            "wrong-type",
            "spec.analysis.metrics",
            analysis(json!({"metrics": {"a": 1}})),
            nothing(),
        ),
        Row(
            "wrong-type",
            "spec.analysis.webhooks[0]",
            analysis(json!({"webhooks": ["x"]})),
            nothing(),
        ),
        Row(
            "required",
            "spec.targetRef",
            spec(json!({"targetRef": null, "service": {"name": "a"}})),
            nothing(),
        ),
        Row(
            "required",
            "spec.analysis.webhooks[0].url",
            hook(json!({"url": null})),
            hook(json!({})),
        ),
        Row(
            "required",
            "spec.analysis.metrics[0].name",
            metric(json!({"query": "up", "threshold": 1})),
            custom(json!({"threshold": 1})),
        ),
        Row(
            "unknown-value",
            "spec.provider",
            spec(json!({"provider": "kuberentes"})),
            spec(json!({"provider": "kubernetes"})),
        ),
        Row(
            "unknown-value",
            "spec.analysis.webhooks[0].type",
            hook(json!({"type": "pre-roll-out"})),
            hook(json!({"type": "pre-rollout"})),
        ),
        Row(
            "not-an-integer",
            "spec.service.port",
            service(json!({"port": 80.5})),
            service(json!({"port": 80.0})),
        ),
        Row(
            "not-an-integer",
            "spec.analysis.iterations",
            analysis(json!({"iterations": 2.5})),
            nothing(),
        ),
        Row(
            "negative-number",
            "spec.analysis.webhooks[0].retries",
            hook(json!({"retries": -1})),
            hook(json!({"retries": 1})),
        ),
        Row(
            "legacy-analysis",
            "spec.canaryAnalysis",
            spec(
                json!({"analysis": null, "canaryAnalysis": {"interval": "1m", "threshold": 1, "iterations": 1, "metrics": [{"name": "m", "query": "up", "threshold": 1}]}}),
            ),
            nothing(),
        ),
        // Time.
        Row(
            "duration-format",
            "spec.analysis.interval",
            analysis(json!({"interval": "2 seconds"})),
            analysis(json!({"interval": "1m30s"})),
        ),
        Row(
            "duration-format",
            "spec.analysis.interval",
            analysis(json!({"interval": ""})),
            analysis(json!({"interval": "1h"})),
        ),
        Row(
            "duration-format",
            "spec.analysis.webhooks[0].timeout",
            hook(json!({"timeout": "10min"})),
            hook(json!({"timeout": "10s"})),
        ),
        Row(
            "duration-not-positive",
            "spec.analysis.interval",
            analysis(json!({"interval": "-1m"})),
            nothing(),
        ),
        Row(
            "duration-not-positive",
            "spec.analysis.webhooks[0].timeout",
            hook(json!({"timeout": "0s"})),
            hook(json!({"timeout": ""})),
        ),
        Row(
            "interval-below-minimum",
            "spec.analysis.interval",
            analysis(json!({"interval": "9s"})),
            analysis(json!({"interval": "10s"})),
        ),
        Row(
            "interval-long",
            "spec.analysis.interval",
            analysis(json!({"interval": "61m"})),
            analysis(json!({"interval": "60m"})),
        ),
        Row(
            "interval-absent",
            "spec.analysis.interval",
            analysis(json!({"interval": null})),
            nothing(),
        ),
        Row(
            "progress-deadline",
            "spec.progressDeadlineSeconds",
            spec(json!({"progressDeadlineSeconds": 0})),
            spec(json!({"progressDeadlineSeconds": 1})),
        ),
        Row(
            "metric-interval-format",
            "spec.analysis.metrics[0].interval",
            metric(
                json!({"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1.5m"}),
            ),
            metric(json!({"name": "m", "templateRef": {"name": "t"}, "threshold": 1, "interval": "1.5m"})),
        ),
        Row(
            "metric-interval-format",
            "spec.analysis.metrics[0].interval",
            metric(json!({"name": "m", "templateRef": {"name": "t"}, "threshold": 1, "interval": "1mfoo"})),
            nothing(),
        ),
        Row(
            "metric-interval-format",
            "spec.analysis.metrics[0].interval",
            metric(json!({"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "0s"})),
            nothing(),
        ),
        Row(
            "metric-interval-unusual",
            "spec.analysis.metrics[0].interval",
            custom(json!({"threshold": 1, "interval": "5s"})),
            custom(json!({"threshold": 1, "interval": "30s"})),
        ),
        Row(
            "metric-interval-unusual",
            "spec.analysis.metrics[0].interval",
            custom(json!({"threshold": 1, "interval": "1d"})),
            nothing(),
        ),
        Row(
            "hook-timeouts-exceed-interval",
            "spec.analysis.webhooks",
            hook(json!({"timeout": "31s"})),
            hook(json!({"timeout": "31s", "type": "pre-rollout"})),
        ),
        Row(
            "hook-timeouts-exceed-interval",
            "spec.analysis.webhooks",
            hook(json!({"timeout": "10s", "retries": 2})),
            nothing(),
        ),
        // Strategy.
        Row(
            "threshold-not-positive",
            "spec.analysis.threshold",
            analysis(json!({"threshold": -7})),
            analysis(json!({"threshold": 1})),
        ),
        Row(
            "threshold-absent",
            "spec.analysis.threshold",
            analysis(json!({"threshold": null})),
            nothing(),
        ),
        Row(
            "threshold-above-checks",
            "spec.analysis.threshold",
            analysis(json!({"threshold": 12})),
            analysis(json!({"threshold": 11})),
        ),
        Row(
            "iterations-not-positive",
            "spec.analysis.iterations",
            analysis(json!({"iterations": 0})),
            analysis(json!({"iterations": 1})),
        ),
        Row(
            "strategy-absent",
            "spec.analysis",
            with("istio", &analysis(json!({"iterations": null, "threshold": 1}))),
            istio(json!({})),
        ),
        Row(
            "strategy-twice",
            "spec.analysis.iterations",
            istio(json!({"iterations": 5})),
            with("istio", &analysis(json!({"stepWeight": 0}))),
        ),
        Row(
            "step-weight-not-positive",
            "spec.analysis.stepWeight",
            istio(json!({"stepWeight": 0, "maxWeight": null, "threshold": 1})),
            istio(json!({"stepWeight": 5})),
        ),
        Row(
            "step-weight-above-maximum",
            "spec.analysis.stepWeight",
            istio(json!({"stepWeight": 60, "threshold": 1})),
            istio(json!({"stepWeight": 50})),
        ),
        Row(
            "max-weight-range",
            "spec.analysis.maxWeight",
            istio(json!({"maxWeight": 110})),
            istio(json!({"maxWeight": 100})),
        ),
        Row(
            "max-weight-overshot",
            "spec.analysis.maxWeight",
            istio(json!({"stepWeight": 20})),
            istio(json!({"stepWeight": 25})),
        ),
        Row(
            "max-weight-ignored",
            "spec.analysis.maxWeight",
            istio(json!({"stepWeight": null, "stepWeights": [1, 2, 3]})),
            istio(json!({"stepWeight": null, "maxWeight": null, "stepWeights": [1, 2, 3]})),
        ),
        Row(
            "step-weights",
            "spec.analysis.stepWeights",
            istio(json!({"stepWeight": null, "maxWeight": null, "stepWeights": [], "threshold": 1})),
            nothing(),
        ),
        Row(
            "step-weights",
            "spec.analysis.stepWeights[1]",
            istio(json!({"stepWeight": null, "maxWeight": null, "stepWeights": [5, 5, 10]})),
            nothing(),
        ),
        Row(
            "step-weights",
            "spec.analysis.stepWeights[0]",
            istio(json!({"stepWeight": null, "maxWeight": null, "stepWeights": [0, 5, 10]})),
            nothing(),
        ),
        Row(
            "step-weight-promotion-range",
            "spec.analysis.stepWeightPromotion",
            istio(json!({"stepWeightPromotion": 101})),
            istio(json!({"stepWeightPromotion": 100})),
        ),
        Row(
            "step-weight-promotion-ignored",
            "spec.analysis.stepWeightPromotion",
            analysis(json!({"stepWeightPromotion": 50})),
            istio(json!({"stepWeightPromotion": 50})),
        ),
        Row(
            "match-without-iterations",
            "spec.analysis.match",
            istio(json!({"match": [{"headers": {"x": {"exact": "y"}}}]})),
            ab("istio", header("exact")),
        ),
        Row(
            "match-unsupported",
            "spec.analysis.match",
            ab("linkerd", header("exact")),
            ab("istio", header("exact")),
        ),
        Row(
            "match-unsupported",
            "spec.analysis.match",
            ab("kubernetes", header("exact")),
            nothing(),
        ),
        Row(
            "match-operator-unsupported",
            "spec.analysis.match[0].headers.x.suffix",
            ab("istio", header("suffix")),
            ab("istio", header("prefix")),
        ),
        Row(
            "match-operator-unsupported",
            "spec.analysis.match[0].headers.x.regex",
            ab("contour", header("regex")),
            ab("contour", header("prefix")),
        ),
        Row(
            "match-operator-unsupported",
            "spec.analysis.match[0].headers",
            with(
                "nginx",
                &both(
                    spec(
                        json!({"ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "i"}}),
                    ),
                    &analysis(json!({"match": [{"headers": {"x": {"exact": "y"}, "z": {"exact": "y"}}}]})),
                ),
            ),
            nothing(),
        ),
        Row(
            "match-key",
            "spec.analysis.match[0].uri",
            ab("istio", json!([{"uri": {"prefix": "/"}}])),
            ab("istio", json!([{"sourceLabels": {"a": "b"}}])),
        ),
        Row(
            "match-key",
            "spec.analysis.match[0].headers.x",
            ab(
                "istio",
                json!([{"headers": {"x": {"exact": "a", "prefix": "b"}}}]),
            ),
            nothing(),
        ),
        Row(
            "weights-unsupported",
            "spec.analysis.stepWeight",
            with(
                "kubernetes",
                &analysis(json!({"iterations": null, "stepWeight": 5})),
            ),
            with("kubernetes", &nothing()),
        ),
        Row(
            "mirror-unsupported",
            "spec.analysis.mirror",
            with("kubernetes", &analysis(json!({"mirror": true}))),
            with("istio", &analysis(json!({"mirror": true}))),
        ),
        Row(
            "mirror-unsupported",
            "spec.analysis.mirrorWeight",
            with("linkerd", &analysis(json!({"mirrorWeight": 10}))),
            with("istio", &analysis(json!({"mirror": true, "mirrorWeight": 10}))),
        ),
        Row(
            "mirror-weight-range",
            "spec.analysis.mirrorWeight",
            with("istio", &analysis(json!({"mirrorWeight": 101}))),
            nothing(),
        ),
        Row(
            "mirror-tcp",
            "spec.analysis.mirror",
            both(
                with("istio", &analysis(json!({"mirror": true}))),
                &service(json!({"appProtocol": "TCP"})),
            ),
            nothing(),
        ),
        Row(
            "session-affinity-unsupported",
            "spec.analysis.sessionAffinity",
            with(
                "linkerd",
                &analysis(json!({"sessionAffinity": {"cookieName": "a"}})),
            ),
            istio(json!({"sessionAffinity": {"cookieName": "a"}})),
        ),
        Row(
            "cookie-name",
            "spec.analysis.sessionAffinity.cookieName",
            istio(json!({"sessionAffinity": {"cookieName": "a=b"}})),
            nothing(),
        ),
        Row(
            "cookie-name",
            "spec.analysis.sessionAffinity.primaryCookieName",
            istio(json!({"sessionAffinity": {"cookieName": "a", "primaryCookieName": "a"}})),
            istio(json!({"sessionAffinity": {"cookieName": "a", "primaryCookieName": "b"}})),
        ),
        Row(
            "ready-threshold-range",
            "spec.analysis.canaryReadyThreshold",
            analysis(json!({"canaryReadyThreshold": 101})),
            analysis(json!({"canaryReadyThreshold": 100})),
        ),
        Row(
            "ready-threshold-range",
            "spec.analysis.primaryReadyThreshold",
            analysis(json!({"primaryReadyThreshold": -1})),
            nothing(),
        ),
        Row(
            "ready-threshold-zero",
            "spec.analysis.primaryReadyThreshold",
            analysis(json!({"primaryReadyThreshold": 0})),
            analysis(json!({"primaryReadyThreshold": 1})),
        ),
        Row(
            "traffic-gate-unused",
            "spec.analysis.webhooks[0].type",
            hook(json!({"type": "confirm-traffic-increase"})),
            hook(json!({"type": "confirm-promotion"})),
        ),
        Row(
            "nothing-is-checked",
            "spec.analysis",
            analysis(json!({"metrics": [], "webhooks": null})),
            both(
                spec(json!({"skipAnalysis": true})),
                &analysis(json!({"metrics": [], "webhooks": null})),
            ),
        ),
        Row(
            "analysis-absent",
            "spec.analysis",
            spec(json!({"analysis": null})),
            nothing(),
        ),
        // What the schema alone knows.
        Row(
            "out-of-range",
            "spec.service.gatewayRefs[0].port",
            with(
                "gatewayapi:v1",
                &service(json!({"gatewayRefs": [{"name": "g", "port": 70000}]})),
            ),
            with(
                "gatewayapi:v1",
                &service(json!({"gatewayRefs": [{"name": "g", "port": 443}]})),
            ),
        ),
        Row(
            "field-format",
            "spec.service.gatewayRefs[0].namespace",
            with(
                "gatewayapi:v1",
                &service(json!({"gatewayRefs": [{"name": "g", "namespace": "Not A Name"}]})),
            ),
            with(
                "gatewayapi:v1",
                &service(json!({"gatewayRefs": [{"name": "g", "namespace": "gateways"}]})),
            ),
        ),
        Row(
            "too-long",
            "spec.service.gatewayRefs",
            with(
                "gatewayapi:v1",
                &service(json!({"gatewayRefs": vec![json!({"name": "g"}); 33]})),
            ),
            with(
                "gatewayapi:v1",
                &service(json!({"gatewayRefs": vec![json!({"name": "g"}); 32]})),
            ),
        ),
        Row(
            "one-of",
            "spec.service.match[0].uri",
            with(
                "istio",
                &service(json!({"match": [{"uri": {"exact": "/a", "prefix": "/b"}}]})),
            ),
            with("istio", &service(json!({"match": [{"uri": {"prefix": "/b"}}]}))),
        ),
        Row(
            "suspended-at-creation",
            "spec.suspend",
            spec(json!({"suspend": true})),
            both(
                spec(json!({"suspend": true})),
                &json!({"status": {"phase": "Initialized"}}),
            ),
        ),
        // Provider.
        Row(
            "provider-needs",
            "spec.ingressRef",
            with("nginx", &nothing()),
            nothing(),
        ),
        Row(
            "provider-needs",
            "spec.service.gatewayRefs",
            with("gatewayapi:v1", &nothing()),
            with("gatewayapi:v1", &service(json!({"gatewayRefs": [{"name": "g"}]}))),
        ),
        Row(
            "provider-needs",
            "spec.service.meshName",
            with("appmesh", &nothing()),
            with("appmesh:v1beta2", &nothing()),
        ),
        Row(
            "provider-needs",
            "spec.upstreamRef.namespace",
            with(
                "gloo",
                &spec(
                    json!({"upstreamRef": {"apiVersion": "gloo.solo.io/v1", "kind": "Upstream", "name": "u"}}),
                ),
            ),
            with("gloo", &nothing()),
        ),
        Row(
            "reference-unused",
            "spec.routeRef",
            spec(
                json!({"routeRef": {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "r"}}),
            ),
            nothing(),
        ),
        Row(
            "service-fields-ignored",
            "spec.service",
            service(json!({"hosts": ["a.b"], "retries": {"attempts": 1}})),
            with("istio", &service(json!({"hosts": ["a.b"]}))),
        ),
        // Target.
        Row(
            "target-api-version",
            "spec.targetRef.apiVersion",
            spec(json!({"targetRef": {"apiVersion": "extensions/v1beta1"}})),
            nothing(),
        ),
        Row(
            "target-knative-typo",
            "spec.targetRef.apiVersion",
            both(
                spec(json!({"targetRef": {"apiVersion": "serving.knative.dev/v1beta1", "kind": "Service"}})),
                &analysis(json!({"metrics": [{"name": "m", "query": "up", "threshold": 1}]})),
            ),
            with(
                "knative",
                &spec(json!({"targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service"}})),
            ),
        ),
        Row(
            "target-provider-mismatch",
            "spec.targetRef",
            with("knative", &nothing()),
            nothing(),
        ),
        Row(
            "target-provider-mismatch",
            "spec.targetRef",
            spec(json!({"targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service"}})),
            nothing(),
        ),
        Row(
            "object-name",
            "spec.targetRef.name",
            spec(json!({"targetRef": {"name": "a_b"}, "service": {"name": "a"}})),
            spec(json!({"targetRef": {"name": "a.b"}, "service": {"name": "a"}})),
        ),
        Row(
            "name-too-long",
            "spec.service.name",
            service(json!({"name": long})),
            service(json!({"name": "a".repeat(55)})),
        ),
        Row(
            "target-name-long",
            "spec.targetRef.name",
            spec(json!({"targetRef": {"name": long}, "service": {"name": "a"}})),
            nothing(),
        ),
        Row(
            "service-name",
            "spec.service.name",
            service(json!({"name": "My.App"})),
            service(json!({"name": "my-app"})),
        ),
        Row(
            "service-name",
            "spec.service",
            spec(json!({"targetRef": {"name": "my.app"}})),
            nothing(),
        ),
        Row(
            "service-name-digit",
            "spec.service.name",
            service(json!({"name": "9to5"})),
            nothing(),
        ),
        // Service.
        Row(
            "service-absent",
            "spec.service",
            spec(json!({"service": null})),
            nothing(),
        ),
        Row(
            "port-range",
            "spec.service.port",
            service(json!({"port": 0})),
            service(json!({"port": 65535})),
        ),
        Row(
            "port-range",
            "spec.service.port",
            service(json!({"port": null, "name": "x"})),
            nothing(),
        ),
        Row(
            "port-range",
            "spec.service.targetPort",
            service(json!({"targetPort": 70000})),
            service(json!({"targetPort": 0})),
        ),
        Row(
            "target-port-empty",
            "spec.service.targetPort",
            service(json!({"targetPort": ""})),
            nothing(),
        ),
        Row(
            "target-port-name",
            "spec.service.targetPort",
            service(json!({"targetPort": "9898"})),
            service(json!({"targetPort": "http"})),
        ),
        Row(
            "port-name",
            "spec.service.portName",
            service(json!({"portName": "HTTP"})),
            service(json!({"portName": "grpc-web"})),
        ),
        Row(
            "port-name-long",
            "spec.service.portName",
            service(json!({"portName": "a-name-of-twenty-two-x"})),
            nothing(),
        ),
        Row(
            "headless-port",
            "spec.service.headless",
            service(json!({"headless": true, "targetPort": 80})),
            service(json!({"headless": true, "targetPort": 9898})),
        ),
        Row(
            "app-protocol",
            "spec.service.appProtocol",
            service(json!({"appProtocol": "htttp"})),
            service(json!({"appProtocol": "kubernetes.io/h2c"})),
        ),
        Row(
            "unknown-value",
            "spec.service.trafficDistribution",
            service(json!({"trafficDistribution": "preferclose"})),
            service(json!({"trafficDistribution": "PreferClose"})),
        ),
        Row(
            "metadata-syntax",
            "spec.service.apex.labels.a b",
            service(json!({"apex": {"labels": {"a b": "c"}}})),
            service(json!({"apex": {"labels": {"a/b": "c"}}})),
        ),
        Row(
            "metadata-syntax",
            "spec.service.canary.labels.a",
            service(json!({"canary": {"labels": {"a": "b c"}}})),
            service(json!({"canary": {"annotations": {"A": "b c"}}})),
        ),
        Row(
            "metadata-unmanaged",
            "spec.service.primary.annotations.a",
            service(
                json!({"primary": {"annotations": {"a": "b"}}, "unmanagedMetadata": {"annotations": ["a"]}}),
            ),
            nothing(),
        ),
        Row(
            "delegation",
            "spec.service.delegation",
            with("istio", &service(json!({"delegation": true, "hosts": ["a"]}))),
            with("istio", &service(json!({"delegation": true}))),
        ),
        Row(
            "gateway-mesh",
            "spec.service.gateways",
            with("istio", &service(json!({"gateways": ["a/b"]}))),
            with("istio", &service(json!({"gateways": ["a/b", "mesh"]}))),
        ),
        Row(
            "rewrite-type",
            "spec.service.rewrite.type",
            with(
                "istio",
                &service(json!({"rewrite": {"type": "replaceprefixmatch"}})),
            ),
            with(
                "istio",
                &service(json!({"rewrite": {"type": "ReplacePrefixMatch"}})),
            ),
        ),
        Row(
            "route-duration",
            "spec.service.retries.perTryTimeout",
            with("istio", &service(json!({"retries": {"perTryTimeout": "5"}}))),
            with("istio", &service(json!({"retries": {"perTryTimeout": "5s"}}))),
        ),
        Row(
            "mirror-backend",
            "spec.service.mirror[0].backendRef",
            with(
                "gatewayapi:v1",
                &service(json!({"gatewayRefs": [{"name": "g"}], "mirror": [{}]})),
            ),
            nothing(),
        ),
        // Autoscaler.
        Row(
            "autoscaler-api-version",
            "spec.autoscalerRef.apiVersion",
            scaler(json!({"apiVersion": "autoscaling/v2beta1"})),
            scaler(json!({})),
        ),
        Row(
            "autoscaler-target-kind",
            "spec.autoscalerRef",
            both(
                scaler(json!({})),
                &both(
                    spec(json!({"targetRef": {"kind": "DaemonSet"}})),
                    &custom(json!({"threshold": 1})),
                ),
            ),
            nothing(),
        ),
        Row(
            "autoscaler-replicas",
            "spec.autoscalerRef.primaryScalerReplicas",
            scaler(json!({"primaryScalerReplicas": {"minReplicas": 3, "maxReplicas": 2}})),
            scaler(json!({"primaryScalerReplicas": {"minReplicas": 2, "maxReplicas": 2}})),
        ),
        Row(
            "autoscaler-queries-ignored",
            "spec.autoscalerRef.primaryScalerQueries",
            scaler(json!({"primaryScalerQueries": {"a": "b"}})),
            scaler(
                json!({"kind": "ScaledObject", "apiVersion": "keda.sh/v1alpha1", "primaryScalerQueries": {"a": "b"}}),
            ),
        ),
        // Metrics.
        Row(
            "metric-unusable",
            "spec.analysis.metrics[0].name",
            metric(json!({"name": "request-succes-rate", "thresholdRange": {"min": 99}})),
            rate(json!({"min": 99})),
        ),
        Row(
            "metric-legacy-name",
            "spec.analysis.metrics[0].name",
            metric(json!({"name": "istio_requests_total", "threshold": 99})),
            custom(json!({"name": "istio_requests_total", "threshold": 99})),
        ),
        Row(
            "metric-measured-twice",
            "spec.analysis.metrics[0].query",
            metric(json!({"name": "request-success-rate", "query": "up", "thresholdRange": {"min": 99}})),
            nothing(),
        ),
        Row(
            "bound-absent",
            "spec.analysis.metrics[0].thresholdRange",
            metric(json!({"name": "request-duration"})),
            nothing(),
        ),
        Row(
            "bound-absent-means-zero",
            "spec.analysis.metrics[0].thresholdRange",
            custom(json!({})),
            custom(json!({"threshold": 0})),
        ),
        Row(
            "range-empty",
            "spec.analysis.metrics[0].thresholdRange",
            custom(json!({"thresholdRange": {}})),
            nothing(),
        ),
        Row(
            "range-inverted",
            "spec.analysis.metrics[0].thresholdRange",
            custom(json!({"thresholdRange": {"min": 2, "max": 1}})),
            custom(json!({"thresholdRange": {"min": 1, "max": 1}})),
        ),
        Row(
            "metric-threshold-ignored",
            "spec.analysis.metrics[0].threshold",
            custom(json!({"threshold": 3, "thresholdRange": {"max": 1}})),
            nothing(),
        ),
        Row(
            "success-rate-bound",
            "spec.analysis.metrics[0].thresholdRange.min",
            rate(json!({"min": 0.99})),
            rate(json!({"min": 99.9})),
        ),
        Row(
            "success-rate-bound",
            "spec.analysis.metrics[0].thresholdRange.min",
            rate(json!({"min": 101})),
            nothing(),
        ),
        Row(
            "success-rate-bound",
            "spec.analysis.metrics[0].thresholdRange",
            rate(json!({"max": 99})),
            nothing(),
        ),
        Row(
            "success-rate-bound",
            "spec.analysis.metrics[0].threshold",
            metric(json!({"name": "request-success-rate", "threshold": 0.99})),
            nothing(),
        ),
        Row(
            "success-rate-zero",
            "spec.analysis.metrics[0].thresholdRange.min",
            rate(json!({"min": 0})),
            nothing(),
        ),
        Row(
            "request-duration-bound",
            "spec.analysis.metrics[0].thresholdRange.max",
            latency(json!({"max": 0.5})),
            latency(json!({"max": 500})),
        ),
        Row(
            "request-duration-fraction",
            "spec.analysis.metrics[0].thresholdRange.max",
            latency(json!({"max": 1.5})),
            nothing(),
        ),
        Row(
            "metric-name-twice",
            "spec.analysis.metrics[1].name",
            analysis(
                json!({"metrics": [{"name": "a", "query": "up", "threshold": 1}, {"name": "a", "query": "up", "threshold": 1}]}),
            ),
            nothing(),
        ),
        Row(
            "metrics-server-url",
            "spec.metricsServer",
            spec(json!({"metricsServer": "prometheus:9090"})),
            spec(json!({"metricsServer": "http://prometheus:9090"})),
        ),
        Row(
            "built-in-for-daemon-set",
            "spec.analysis.metrics[0].name",
            both(
                spec(json!({"targetRef": {"kind": "DaemonSet"}})),
                &rate(json!({"min": 99})),
            ),
            rate(json!({"min": 99})),
        ),
        Row(
            "built-in-for-service",
            "spec.analysis.metrics[0].name",
            both(
                spec(json!({"targetRef": {"apiVersion": "v1", "kind": "Service"}})),
                &rate(json!({"min": 99})),
            ),
            rate(json!({"min": 99})),
        ),
        Row(
            "query-empty",
            "spec.analysis.metrics[0].query",
            custom(json!({"query": "  \n ", "threshold": 1})),
            custom(json!({"threshold": 1})),
        ),
        // Hooks.
        Row(
            "url-format",
            "spec.analysis.webhooks[0].url",
            hook(json!({"url": "not a url"})),
            hook(json!({"url": "https://a.b:8443/c"})),
        ),
        Row(
            "url-credentials",
            "spec.analysis.webhooks[0].url",
            hook(json!({"url": "http://u:p@a.b/"})),
            nothing(),
        ),
        Row(
            "url-forbidden-host",
            "spec.analysis.webhooks[0].url",
            hook(json!({"url": "http://169.254.169.254/latest"})),
            hook(json!({"url": "http://10.0.0.1/"})),
        ),
        Row(
            "hook-name-twice",
            "spec.analysis.webhooks[1].name",
            analysis(
                json!({"webhooks": [{"name": "a", "url": "http://b/c"}, {"name": "a", "url": "http://b/c", "type": "pre-rollout"}]}),
            ),
            nothing(),
        ),
        Row(
            "load-tester-task",
            "spec.analysis.webhooks[0].metadata",
            task("rollout", json!(null)),
            task("rollout", json!({"cmd": "true"})),
        ),
        Row(
            "load-tester-task",
            "spec.analysis.webhooks[0].metadata.type",
            task("rollout", json!({"type": "bsh", "cmd": "true"})),
            task("rollout", json!({"type": "bash", "cmd": "true"})),
        ),
        Row(
            "load-tester-task",
            "spec.analysis.webhooks[0].metadata.cmd",
            task("pre-rollout", json!({"type": "bash"})),
            nothing(),
        ),
        Row(
            "hook-misuse",
            "spec.analysis.webhooks[0].url",
            task("confirm-promotion", json!({"cmd": "true"})),
            task("confirm-promotion", json!({"type": "bash", "cmd": "true"})),
        ),
        Row(
            "hook-misuse",
            "spec.analysis.webhooks[0].url",
            hook(json!({"url": "http://t/gate/check"})),
            hook(json!({"url": "http://t/gate/check", "type": "confirm-rollout"})),
        ),
        Row(
            "rollback-always",
            "spec.analysis.webhooks[0].url",
            hook(json!({"type": "rollback", "url": "http://t/gate/approve"})),
            hook(json!({"type": "rollback", "url": "http://t/rollback/check"})),
        ),
        Row(
            "retries-high",
            "spec.analysis.webhooks[0].retries",
            both(
                hook(json!({"timeout": "1s", "retries": 6})),
                &analysis(json!({"interval": "10m"})),
            ),
            hook(json!({"retries": 2, "timeout": "1s"})),
        ),
        Row(
            "hook-metadata-reserved",
            "spec.analysis.webhooks[0].metadata.eventType",
            hook(json!({"type": "event", "metadata": {"eventType": "x"}})),
            hook(json!({"type": "rollout", "metadata": {"eventType": "x"}})),
        ),
        Row(
            "mute-alert-unused",
            "spec.analysis.webhooks[0].muteAlert",
            hook(json!({"muteAlert": true})),
            hook(json!({"muteAlert": true, "type": "confirm-rollout"})),
        ),
        Row(
            "task-longer-than-timeout",
            "spec.analysis.webhooks[0].timeout",
            task("rollout", json!({"type": "bash", "cmd": "hey -z 1m http://a"})),
            task("rollout", json!({"type": "cmd", "cmd": "hey -z 1m http://a"})),
        ),
        // Alerts.
        Row(
            "unknown-value",
            "spec.analysis.alerts[0].severity",
            analysis(json!({"alerts": [{"name": "a", "severity": "warning", "providerRef": {"name": "p"}}]})),
            analysis(json!({"alerts": [{"name": "a", "providerRef": {"name": "p"}}]})),
        ),
        Row(
            "required",
            "spec.analysis.alerts[0].providerRef.name",
            analysis(json!({"alerts": [{"name": "a"}]})),
            nothing(),
        ),
    ]
}

/// Rows for inline queries.
pub(super) fn query() -> Vec<Row> {
    let query = |text: &str| metric(json!({"name": "m", "threshold": 1, "query": text}));
    [
        (
            "promql-syntax",
            "sum(rate(a{b=\"c\" d=\"e\"}[1m]))".to_owned(),
            "sum(rate(a{b=\"c\", d=\"e\"}[1m]))",
        ),
        ("promql-type", "up[1m]".to_owned(), "max_over_time(up[1m])"),
        (
            "promql-function",
            "rat(up[1m])".to_owned(),
            "rate(up[{{ interval }}])",
        ),
        ("promql-regex", "up{a=~\"(\"}".to_owned(), "up{a=~\"(b)\"}"),
        ("promql-limit", format!("up{}", "+up".repeat(300)), "up+up"),
        ("promql-experimental", "limitk(1, up)".to_owned(), "topk(1, up)"),
        (
            "promql-quantile",
            "histogram_quantile(99, up)".to_owned(),
            "histogram_quantile(0.99, up)",
        ),
        (
            "template-syntax",
            "up{a=\"{{ target\"}".to_owned(),
            "up{a=\"{{ target }}\"}",
        ),
        (
            "template-function",
            "up{a=\"{{ traget }}\"}".to_owned(),
            "up{a=\"{{- namespace -}}\"}",
        ),
        (
            "template-variable",
            "up{a=\"{{ variables.b }}\"}".to_owned(),
            "up",
        ),
        (
            "template-unsupported",
            "up{a=\"{{ html target }}\"}".to_owned(),
            "up",
        ),
        ("template-limit", format!("up{}", " + up".repeat(3000)), "up"),
    ]
    .into_iter()
    .map(|(code, bad, near)| Row(code, "spec.analysis.metrics[0].query", query(&bad), query(near)))
    .collect()
}

/// Rows for MetricTemplates: the whole `spec`.
pub(super) fn metric_template() -> Vec<Row> {
    let prometheus = |more: Value| {
        both(
            json!({"provider": {"type": "prometheus", "address": "http://p:9090"}, "query": "up{app=\"{{ target }}\"}"}),
            &more,
        )
    };
    let of = |kind: &str, more: Value| {
        both(
            json!({"provider": {"type": kind}, "query": "x {{ target }}"}),
            &more,
        )
    };
    let secret = json!({"provider": {"secretRef": {"name": "s"}}});
    let good = || prometheus(json!({}));
    vec![
        Row(
            "required",
            "spec.query",
            json!({"provider": {"type": "prometheus", "address": "http://p"}}),
            good(),
        ),
        Row(
            "unknown-value",
            "spec.provider.type",
            of("promtheus", json!({})),
            good(),
        ),
        Row(
            "address-absent",
            "spec.provider.address",
            of("graphite", json!({"query": "target={{ target }}"})),
            good(),
        ),
        Row(
            "address-format",
            "spec.provider.address",
            prometheus(json!({"provider": {"address": "p:9090"}})),
            good(),
        ),
        Row(
            "region-absent",
            "spec.provider.region",
            of("cloudwatch", json!({"query": "[{{ target }}]"})),
            of(
                "cloudwatch",
                json!({"provider": {"region": "eu-west-1"}, "query": "[{{ target }}]"}),
            ),
        ),
        Row(
            "secret-absent",
            "spec.provider.secretRef",
            of("datadog", json!({})),
            of("datadog", secret.clone()),
        ),
        Row(
            "provider-option-ignored",
            "spec.provider.headers",
            of(
                "datadog",
                both(secret.clone(), &json!({"provider": {"headers": {"X": ["y"]}}})),
            ),
            prometheus(json!({"provider": {"headers": {"X": ["y"]}}})),
        ),
        Row(
            "authorization-twice",
            "spec.provider.headers",
            prometheus(both(
                secret.clone(),
                &json!({"provider": {"headers": {"Authorization": ["y"]}}}),
            )),
            prometheus(secret.clone()),
        ),
        Row(
            "own-token-leak",
            "spec.provider.address",
            of("externalmetrics", json!({"provider": {"address": "http://a"}})),
            of("externalmetrics", json!({})),
        ),
        Row(
            "query-shape",
            "spec.query",
            of("cloudwatch", json!({"provider": {"region": "r"}})),
            nothing_shape(),
        ),
        Row(
            "query-shape",
            "spec.query",
            of("keptn", json!({"query": "keptnmetric/a"})),
            of("keptn", json!({"query": "keptnmetric/a/b"})),
        ),
        Row(
            "query-shape",
            "spec.query",
            of("externalmetrics", json!({"query": "a/b/c"})),
            of("externalmetrics", json!({"query": "a/b?labelSelector=c/d"})),
        ),
        Row(
            "promql-unchecked",
            "spec.query",
            prometheus(json!({"query": "sum {{ variables.how }} (up)"})),
            good(),
        ),
        Row(
            "query-not-isolated",
            "spec.query",
            prometheus(json!({"query": "up"})),
            good(),
        ),
        Row(
            "query-empty",
            "spec.query",
            prometheus(json!({"query": " "})),
            good(),
        ),
    ]
}

fn nothing_shape() -> Value {
    json!({"provider": {"type": "cloudwatch", "region": "r"}, "query": "[{\"Id\": \"{{ target }}\"}]"})
}

/// Rows for AlertProviders: the whole `spec`.
pub(super) fn alert_provider() -> Vec<Row> {
    let slack = |more: Value| {
        both(
            json!({"type": "slack", "channel": "c", "address": "https://hooks.slack.com/x"}),
            &more,
        )
    };
    let good = || slack(json!({}));
    vec![
        Row(
            "unknown-value",
            "spec.type",
            slack(json!({"type": "slak"})),
            good(),
        ),
        Row(
            "alert-address",
            "spec.address",
            slack(json!({"address": "hooks.slack.com/x"})),
            good(),
        ),
        Row(
            "alert-destination",
            "spec.address",
            slack(json!({"secretRef": {"name": "s"}})),
            good(),
        ),
        Row(
            "alert-destination",
            "spec",
            json!({"type": "slack", "channel": "c"}),
            json!({"type": "slack", "secretRef": {"name": "s"}}),
        ),
        Row(
            "alert-channel",
            "spec.channel",
            json!({"type": "slack", "address": "https://slack.com/api/chat.postMessage"}),
            good(),
        ),
        Row(
            "alert-proxy",
            "spec.proxy",
            slack(json!({"proxy": "proxy"})),
            slack(json!({"proxy": "http://proxy:3128"})),
        ),
        Row(
            "required",
            "spec.secretRef.name",
            json!({"type": "slack", "secretRef": {}}),
            good(),
        ),
    ]
}
