//! One row per rule of the field table: a v1alpha3 object, what it is in v1beta1, and whether a stash is needed; and
//! the same from v1beta1.

use serde_json::{Value, json};

use crate::{ALPHA, BETA, bare, stash_of, to_alpha, to_beta};

/// An object of `version` with `parts` beside its type and metadata.
fn canary(version: &str, parts: &Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": "Canary", "metadata": {"name": "podinfo", "namespace": "test"}});
    for (key, value) in parts.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

/// A rule, the object before and after, and whether the way back needs a stash.
type Row = (&'static str, Value, Value, bool);

#[track_caller]
fn holds(rows: Vec<Row>, from: &str, over: fn(&Value) -> Value, to: &str, back: fn(&Value) -> Value) {
    for (rule, before, after, needs_stash) in rows {
        let object = canary(from, &before);
        let converted = over(&object);
        assert_eq!(bare(&converted), canary(to, &after), "{rule}");
        assert_eq!(stash_of(&converted).is_some(), needs_stash, "{rule}: {converted}");
        assert_eq!(back(&converted), object, "{rule}: back");
    }
}

/// Rows where the spec is the same in both versions.
#[expect(
    clippy::needless_pass_by_value,
    reason = "rows read better without ampersands"
)]
fn same(rule: &'static str, spec: Value) -> Row {
    (rule, json!({"spec": spec}), json!({"spec": spec}), false)
}

/// Rows about one metric.
#[expect(
    clippy::needless_pass_by_value,
    reason = "rows read better without ampersands"
)]
fn metric(rule: &'static str, before: Value, after: Value, stash: bool, keys: (&str, &str)) -> Row {
    (
        rule,
        json!({"spec": {keys.0: {"metrics": [before]}}}),
        json!({"spec": {keys.1: {"metrics": [after]}}}),
        stash,
    )
}

const UP: (&str, &str) = ("canaryAnalysis", "analysis");
const DOWN: (&str, &str) = ("analysis", "canaryAnalysis");

#[test]
fn from_v1alpha3() {
    let renamed = |rule, analysis: Value| -> Row {
        (
            rule,
            json!({"spec": {"canaryAnalysis": analysis}}),
            json!({"spec": {"analysis": analysis}}),
            false,
        )
    };
    let gone = |rule, before: Value, after: Value| -> Row { (rule, before, after, true) };
    let rows = vec![
        same(
            "spec.provider: names are not mapped",
            json!({"provider": "smi:linkerd"}),
        ),
        same(
            "spec.metricsServer, progressDeadlineSeconds, skipAnalysis",
            json!({"metricsServer": "http://a", "progressDeadlineSeconds": 60, "skipAnalysis": false}),
        ),
        same(
            "targetRef, ingressRef: apiVersions are not rewritten",
            json!({
                "targetRef": {"apiVersion": "extensions/v1beta1", "kind": "Deployment", "name": "a"},
                "autoscalerRef": {"apiVersion": "autoscaling/v2beta1", "kind": "HorizontalPodAutoscaler", "name": "a"},
                "ingressRef": {"apiVersion": "extensions/v1beta1", "kind": "Ingress", "name": "a"}
            }),
        ),
        same("autoscalerRef as a string", json!({"autoscalerRef": "podinfo"})),
        same(
            "service fields",
            json!({"service": {
                "name": "a", "port": 9898, "portName": "http", "portDiscovery": false, "timeout": "5s", "gateways": ["g"], "hosts": ["h"],
                "rewrite": {"uri": "/", "authority": "a"}, "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx"},
                "headers": {"request": {"add": {"x": "y"}, "set": {"x": "y"}, "remove": ["z"]}, "response": {"add": {"x": "y"}}},
                "corsPolicy": {"allowOrigin": ["*"], "allowMethods": ["GET"], "allowHeaders": ["x"], "exposeHeaders": ["x"], "maxAge": "1h", "allowCredentials": false},
                "meshName": "global", "backends": ["b"]
            }}),
        ),
        same("targetPort as a number", json!({"service": {"targetPort": 80}})),
        same("targetPort as a string", json!({"service": {"targetPort": "80"}})),
        same(
            "trafficPolicy.connectionPool.tcp is declared",
            json!({"service": {"trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 1, "connectTimeout": "1s"}}}}}),
        ),
        same(
            "trafficPolicy.portLevelSettings is declared",
            json!({"service": {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 80, "name": "a"}, "tls": {"mode": "DISABLE"}, "connectionPool": {"tcp": {"maxConnections": 1}}}]}}}),
        ),
        same(
            "service.match suffix is declared",
            json!({"service": {"match": [{
                "uri": {"suffix": "a"}, "scheme": {"suffix": "a"}, "method": {"suffix": "a"}, "authority": {"suffix": "a"}, "headers": {"x": {"suffix": "a"}}
            }]}}),
        ),
        gone(
            "service.<unknown>",
            json!({"spec": {"service": {"port": 1, "appendHeaders": {"x": "y"}}}}),
            json!({"spec": {"service": {"port": 1}}}),
        ),
        renamed(
            "canaryAnalysis is renamed; zero stays zero, absent stays absent",
            json!({
                "interval": "1m", "threshold": 0, "maxWeight": 50, "stepWeight": 0, "iterations": 10, "mirror": false
            }),
        ),
        renamed(
            "match[].headers, sourceLabels",
            json!({"match": [{"headers": {"cookie": {"regex": "^(.*?;)?\u{8}(canary=always)(;.*)?$"}}, "sourceLabels": {"app": "a"}}]}),
        ),
        renamed(
            "match[].uri, scheme, method, authority, port, gateways are declared",
            json!({"match": [{
                "uri": {"prefix": "/"}, "scheme": {"exact": "http"}, "method": {"exact": "GET"}, "authority": {"exact": "a"}, "port": 80, "gateways": ["g"]
            }]}),
        ),
        metric(
            "request-success-rate: a minimum",
            json!({"name": "request-success-rate", "threshold": 99, "interval": "1m"}),
            json!({"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"}),
            false,
            UP,
        ),
        metric(
            "request-duration: a maximum",
            json!({"name": "request-duration", "threshold": 500}),
            json!({"name": "request-duration", "thresholdRange": {"max": 500}}),
            false,
            UP,
        ),
        metric(
            "inline query: a maximum, the query as it is",
            json!({"name": "latency", "threshold": 0.5, "query": "a <\n\tb\n"}),
            json!({"name": "latency", "thresholdRange": {"max": 0.5}, "query": "a <\n\tb\n"}),
            false,
            UP,
        ),
        metric(
            "the name misleads, the query decides",
            json!({"name": "http-request-success-rate", "threshold": 99, "query": "100 - x"}),
            json!({"name": "http-request-success-rate", "thresholdRange": {"max": 99}, "query": "100 - x"}),
            false,
            UP,
        ),
        metric(
            "request-duration with a query: still a maximum",
            json!({"name": "request-duration", "threshold": 1, "query": "x"}),
            json!({"name": "request-duration", "thresholdRange": {"max": 1}, "query": "x"}),
            false,
            UP,
        ),
        metric(
            "request-success-rate with a query: no single bound",
            json!({"name": "request-success-rate", "threshold": 99, "query": "x"}),
            json!({"name": "request-success-rate", "threshold": 99, "query": "x"}),
            false,
            UP,
        ),
        metric(
            "legacy name: no bound",
            json!({"name": "istio_requests_total", "threshold": 99}),
            json!({"name": "istio_requests_total", "threshold": 99}),
            false,
            UP,
        ),
        metric(
            "threshold 0 is a bound",
            json!({"name": "request-duration", "threshold": 0}),
            json!({"name": "request-duration", "thresholdRange": {"max": 0}}),
            false,
            UP,
        ),
        metric(
            "threshold 99.0 stays a float",
            json!({"name": "request-success-rate", "threshold": 99.0}),
            json!({"name": "request-success-rate", "thresholdRange": {"min": 99.0}}),
            false,
            UP,
        ),
        metric(
            "threshold absent stays absent",
            json!({"name": "request-success-rate"}),
            json!({"name": "request-success-rate"}),
            false,
            UP,
        ),
        metric(
            "threshold as a string",
            json!({"name": "request-success-rate", "threshold": "99"}),
            json!({"name": "request-success-rate", "threshold": "99"}),
            false,
            UP,
        ),
        metric(
            "threshold as a boolean",
            json!({"name": "request-success-rate", "threshold": true}),
            json!({"name": "request-success-rate", "threshold": true}),
            false,
            UP,
        ),
        metric(
            "threshold null: dropped by the schema",
            json!({"name": "request-success-rate", "threshold": null}),
            json!({"name": "request-success-rate"}),
            true,
            UP,
        ),
        metric(
            "both threshold and thresholdRange",
            json!({"name": "request-duration", "threshold": 1, "thresholdRange": {"max": 2}}),
            json!({"name": "request-duration", "threshold": 1, "thresholdRange": {"max": 2}}),
            false,
            UP,
        ),
        metric(
            "only thresholdRange, the canonical side",
            json!({"name": "request-duration", "thresholdRange": {"max": 2}}),
            json!({"name": "request-duration", "thresholdRange": {"max": 2}}),
            true,
            UP,
        ),
        metric(
            "unknown field of a metric",
            json!({"name": "a", "extra": 1}),
            json!({"name": "a"}),
            true,
            UP,
        ),
        renamed(
            "webhooks: absent type stays absent, empty stays empty",
            json!({"webhooks": [
                {"name": "a", "url": "http://a"}, {"type": "", "name": "b", "url": "http://b", "timeout": "", "metadata": {"cmd": "x"}}
            ]}),
        ),
        gone(
            "analysis beside canaryAnalysis: analysis wins",
            json!({"spec": {"canaryAnalysis": {"threshold": 1}, "analysis": {"threshold": 2}}}),
            json!({"spec": {"analysis": {"threshold": 2}}}),
        ),
        gone(
            "analysis alone: taken verbatim",
            json!({"spec": {"analysis": {"metrics": [{"name": "request-success-rate", "threshold": 99}]}}}),
            json!({"spec": {"analysis": {"metrics": [{"name": "request-success-rate", "threshold": 99}]}}}),
        ),
        gone(
            "analysis null counts as absent",
            json!({"spec": {"analysis": null, "canaryAnalysis": {"threshold": 2}}}),
            json!({"spec": {"analysis": {"threshold": 2}}}),
        ),
        gone(
            "both null",
            json!({"spec": {"analysis": null, "canaryAnalysis": null}}),
            json!({"spec": {}}),
        ),
        gone(
            "spec.<unknown>",
            json!({"spec": {"old": {"deep": [1, {"er": null}]}}}),
            json!({"spec": {}}),
        ),
        gone("top-level <unknown>", json!({"old": [1]}), json!({})),
        (
            "status: hashes and phases are copied",
            json!({"status": {
                "phase": "Progressing", "failedChecks": 0, "canaryWeight": 5, "iterations": 0, "trackedConfigs": {"configmap/a": "1"},
                "lastAppliedSpec": "17346021309183223312", "lastPromotedSpec": "1", "lastTransitionTime": "2020-01-01T00:00:00Z",
                "conditions": [{"type": "Promoted", "status": "Unknown", "reason": "Progressing", "message": "m",
                    "lastUpdateTime": "2020-01-01T00:00:00Z", "lastTransitionTime": "2020-01-01T00:00:00Z"}]
            }}),
            json!({"status": {
                "phase": "Progressing", "failedChecks": 0, "canaryWeight": 5, "iterations": 0, "trackedConfigs": {"configmap/a": "1"},
                "lastAppliedSpec": "17346021309183223312", "lastPromotedSpec": "1", "lastTransitionTime": "2020-01-01T00:00:00Z",
                "conditions": [{"type": "Promoted", "status": "Unknown", "reason": "Progressing", "message": "m",
                    "lastUpdateTime": "2020-01-01T00:00:00Z", "lastTransitionTime": "2020-01-01T00:00:00Z"}]
            }}),
            false,
        ),
        gone(
            "status.lastTransitionTime null",
            json!({"status": {"lastTransitionTime": null}}),
            json!({"status": {}}),
        ),
        gone(
            "status.state of v1alpha1",
            json!({"status": {"state": "running", "canaryRevision": "1"}}),
            json!({"status": {}}),
        ),
        (
            "a list where metrics expects objects",
            json!({"spec": {"canaryAnalysis": {"metrics": [1, "a", null]}}}),
            json!({"spec": {"analysis": {"metrics": [1, "a", null]}}}),
            false,
        ),
        (
            "an analysis of the wrong type",
            json!({"spec": {"canaryAnalysis": "none"}}),
            json!({"spec": {"analysis": "none"}}),
            false,
        ),
        (
            "a spec of the wrong type",
            json!({"spec": "none"}),
            json!({"spec": "none"}),
            false,
        ),
        gone("a null spec", json!({"spec": null}), json!({})),
        ("no spec", json!({}), json!({}), false),
    ];
    holds(rows, ALPHA, to_beta, BETA, to_alpha);
}

#[test]
fn from_v1beta1() {
    let passes = |rule, spec: Value| same(rule, spec);
    let renamed = |rule, analysis: Value| -> Row {
        (
            rule,
            json!({"spec": {"analysis": analysis}}),
            json!({"spec": {"canaryAnalysis": analysis}}),
            false,
        )
    };
    let rows = vec![
        passes(
            "routeRef, upstreamRef, suspend, revertOnDeletion",
            json!({
                "routeRef": {"apiVersion": "a", "kind": "ApisixRoute", "name": "a"}, "upstreamRef": {"apiVersion": "a", "kind": "Upstream", "name": "a", "namespace": "b"},
                "suspend": true, "revertOnDeletion": false
            }),
        ),
        passes(
            "autoscalerRef.primaryScaler*",
            json!({"autoscalerRef": {"primaryScalerQueries": {"a": "b"}, "primaryScalerReplicas": {"minReplicas": 1}}}),
        ),
        passes(
            "service fields of v1beta1",
            json!({"service": {
                "appProtocol": "http", "trafficDistribution": "PreferClose", "headless": true, "backendTimeout": "1s", "delegation": true,
                "gatewayRefs": [{"name": "a", "group": "gateway.networking.k8s.io", "kind": "Gateway"}],
                "mirror": [{"backendRef": {"name": "a", "group": "", "kind": "Service", "port": 80}}],
                "apex": {"labels": {"a": "b"}}, "primary": {"annotations": {"a": "b"}}, "canary": {}, "unmanagedMetadata": {"labels": ["a"], "annotations": ["b"]},
                "rewrite": {"type": "ReplacePrefixMatch"}, "corsPolicy": {"allowOrigins": [{"exact": "a"}]},
                "match": [{"queryParams": {"q": {"exact": "1"}}, "withoutHeaders": {"h": {"exact": "1"}}, "ignoreUriCase": true, "sourceNamespace": "n", "name": "m"}]
            }}),
        ),
        renamed(
            "analysis fields of v1beta1",
            json!({
                "mirrorWeight": 10, "stepWeights": [1, 2], "stepWeightPromotion": 5, "primaryReadyThreshold": 90, "canaryReadyThreshold": 90,
                "alerts": [{"name": "a", "severity": "info", "providerRef": {"name": "a"}}], "sessionAffinity": {"cookieName": "a", "maxAge": 1}
            }),
        ),
        renamed(
            "webhooks: muteAlert, retries, disableTLS, confirm-traffic-increase",
            json!({"webhooks": [
                {"name": "a", "url": "http://a", "type": "confirm-traffic-increase", "muteAlert": false, "retries": 3, "disableTLS": true}
            ]}),
        ),
        metric(
            "canonical range becomes a threshold",
            json!({"name": "request-success-rate", "thresholdRange": {"min": 99}}),
            json!({"name": "request-success-rate", "threshold": 99}),
            false,
            DOWN,
        ),
        metric(
            "deprecated threshold of a built-in",
            json!({"name": "request-success-rate", "threshold": 99}),
            json!({"name": "request-success-rate", "threshold": 99}),
            true,
            DOWN,
        ),
        metric(
            "deprecated threshold of an inline query",
            json!({"name": "a", "threshold": 99, "query": "x"}),
            json!({"name": "a", "threshold": 99, "query": "x"}),
            true,
            DOWN,
        ),
        metric(
            "empty range: the check is off",
            json!({"name": "request-duration", "thresholdRange": {}}),
            json!({"name": "request-duration", "thresholdRange": {}}),
            false,
            DOWN,
        ),
        metric(
            "two-sided range",
            json!({"name": "request-duration", "thresholdRange": {"min": 1, "max": 2}}),
            json!({"name": "request-duration", "thresholdRange": {"min": 1, "max": 2}}),
            false,
            DOWN,
        ),
        metric(
            "the other side of the range",
            json!({"name": "request-duration", "thresholdRange": {"min": 1}}),
            json!({"name": "request-duration", "thresholdRange": {"min": 1}}),
            false,
            DOWN,
        ),
        metric(
            "templateRef, templateVariables",
            json!({"name": "a", "templateRef": {"name": "t", "namespace": "n"}, "templateVariables": {"a": "b"}, "thresholdRange": {"max": 1}}),
            json!({"name": "a", "templateRef": {"name": "t", "namespace": "n"}, "templateVariables": {"a": "b"}, "thresholdRange": {"max": 1}}),
            false,
            DOWN,
        ),
        (
            "status fields and phases of v1beta1",
            json!({"status": {"phase": "WaitingPromotion", "sessionAffinityCookie": "a=b", "previousSessionAffinityCookie": "a=c", "primarySessionAffinityCookie": "p=q",
                "lastCheckTime": "2026-01-01T00:00:00.000001Z", "progress": {"since": "2026-01-01T00:00:00Z", "updated": 1, "available": 1}, "observedGeneration": 3}}),
            json!({"status": {"phase": "WaitingPromotion", "sessionAffinityCookie": "a=b", "previousSessionAffinityCookie": "a=c", "primarySessionAffinityCookie": "p=q",
                "lastCheckTime": "2026-01-01T00:00:00.000001Z", "progress": {"since": "2026-01-01T00:00:00Z", "updated": 1, "available": 1}, "observedGeneration": 3}}),
            false,
        ),
        (
            "no analysis",
            json!({"spec": {"suspend": true}}),
            json!({"spec": {"suspend": true}}),
            false,
        ),
    ];
    holds(rows, BETA, to_alpha, ALPHA, to_beta);
}

#[test]
fn metadata_is_kept_and_always_there() {
    let object = json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {
        "name": "a", "uid": "1", "managedFields": [{"apiVersion": ALPHA}], "ownerReferences": [], "finalizers": ["x"], "generation": 3,
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"apiVersion\":\"flagger.app/v1alpha3\",\"spec\":{\"canaryAnalysis\":{}}}\n"}
    }});
    assert_eq!(to_beta(&object)["metadata"], object["metadata"]);
    for partial in [
        json!({"apiVersion": ALPHA, "kind": "Canary"}),
        json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {}}),
    ] {
        assert_eq!(
            to_beta(&partial),
            json!({"apiVersion": BETA, "kind": "Canary", "metadata": {}})
        );
    }
}

#[test]
fn keys_keep_their_order() {
    let text = r#"{"kind":"Canary","spec":{"skipAnalysis":true,"canaryAnalysis":{"threshold":1,"interval":"1m"},"provider":"a"},"apiVersion":"flagger.app/v1alpha3","metadata":{"name":"z","labels":{}}}"#;
    let object: Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        to_beta(&object).to_string(),
        text.replace("canaryAnalysis", "analysis")
            .replace("v1alpha3", "v1beta1")
    );
}

#[test]
fn older_versions_differ_in_the_label_only() {
    for version in ["flagger.app/v1alpha1", "flagger.app/v1alpha2"] {
        let parts = json!({"spec": {"canaryAnalysis": {"threshold": 1}}, "status": {"state": "running"}});
        let object = canary(version, &parts);
        assert_eq!(to_alpha(&object), canary(ALPHA, &parts));
        let over = to_beta(&object);
        assert_eq!(over["spec"], json!({"analysis": {"threshold": 1}}));
        assert_eq!(verdigris::api::convert::convert(over, version).unwrap(), object);
    }
}

#[test]
fn templates_and_providers_change_their_label_only() {
    for kind in ["MetricTemplate", "AlertProvider"] {
        let object = json!({"apiVersion": "flagger.app/v1alpha1", "kind": kind, "metadata": {}, "spec": {"any": null}});
        let mut expected = object.clone();
        expected["apiVersion"] = json!(BETA);
        assert_eq!(to_beta(&object), expected);
        assert_eq!(to_beta(&expected), expected);
    }
}

#[test]
fn a_refusal_names_the_object_and_says_what_is_expected() {
    use verdigris::api::convert::convert;
    let named = |mut object: Value| {
        object["metadata"] = json!({"name": "podinfo", "namespace": "test"});
        object
    };
    let table = [
        (
            json!([]),
            BETA,
            "object: found a list where an object is expected; send a Kubernetes object",
        ),
        (
            named(json!({"kind": "Canary", "apiVersion": "flagger.app/v2"})),
            BETA,
            "Canary test/podinfo: apiVersion: found \"flagger.app/v2\"; expected a version of the group flagger.app; correct the manifest",
        ),
        (
            named(json!({"kind": "Canary", "apiVersion": 1})),
            BETA,
            "Canary test/podinfo: apiVersion: found a number; expected a version of the group flagger.app; correct the manifest",
        ),
        (
            named(json!({"kind": "Pod", "apiVersion": "v1"})),
            BETA,
            "Pod test/podinfo: kind: found \"Pod\"; expected Canary, MetricTemplate or AlertProvider; correct the manifest",
        ),
        (
            named(json!({"kind": "Canary", "apiVersion": ALPHA})),
            "flagger.app/v2",
            "Canary test/podinfo: flagger.app/v2 does not exist for this kind; expected flagger.app/v1beta1 or flagger.app/v1alpha3; ask for one of these",
        ),
        (
            json!({"kind": "AlertProvider", "apiVersion": BETA}),
            ALPHA,
            "AlertProvider without a name: flagger.app/v1alpha3 does not exist for this kind; expected flagger.app/v1beta1; ask for one of these",
        ),
    ];
    for (object, to, expected) in table {
        assert_eq!(convert(object, to).unwrap_err().to_string(), expected);
    }
}
