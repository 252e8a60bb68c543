#![allow(
    clippy::needless_pass_by_value,
    reason = "literals read best where they are used"
)]

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::model::violation::Report;

fn now() -> Timestamp {
    "2026-11-28T00:00:00Z".parse().unwrap()
}

fn policy(spec: Value) -> Value {
    json!({"apiVersion": "verdigris.dev/v1alpha1", "kind": "CanaryPolicy", "metadata": {"name": "production"}, "spec": spec})
}

fn enforcing(part: Value) -> Value {
    let mut spec = json!({"mode": "Enforce"});
    for (key, value) in part.as_object().unwrap() {
        spec[key] = value.clone();
    }
    policy(spec)
}

fn canary() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "shop", "namespace": "prod", "labels": {"team": "web"}},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "service": {"port": 8080},
            "analysis": {
                "interval": "10s", "threshold": 10, "iterations": 2,
                "metrics": [
                    {"name": "errors", "query": "up", "thresholdRange": {"max": 1}},
                    {"name": "latency", "templateRef": {"name": "latency", "namespace": "sre"}, "thresholdRange": {"max": 1}},
                ],
                "alerts": [{"name": "chat", "severity": "error", "providerRef": {"name": "slack", "namespace": "sre"}}],
                "webhooks": [
                    {"name": "smoke", "type": "pre-rollout", "url": "http://evil-gates.svc/", "disableTLS": true},
                    {"name": "load", "url": "https://10.0.0.7:8443/"},
                ],
            },
        },
    })
}

fn namespace() -> Value {
    json!({"metadata": {"name": "prod", "labels": {"tier": "production"}}})
}

fn verdict(policies: &[Value], object: &Value) -> Judgement {
    let (set, namespace) = (compile(policies).unwrap(), namespace());
    judge(
        &set,
        &Review::of(object, "prod", Some(&namespace), "kubernetes"),
        now(),
    )
}

/// `(code, path)` of what is refused, then of what is warned about.
fn found(report: &Report) -> (Vec<String>, Vec<String>) {
    let list = |found: &[crate::model::violation::Violation]| {
        found
            .iter()
            .map(|one| format!("{} {}", one.code, one.path))
            .collect()
    };
    (list(&report.violations), list(&report.warnings))
}

/// What a policy says, and the paths it refuses in the Canary above.
#[test]
fn structured_rules() {
    for (part, paths) in [
        (
            json!({"limits": {"interval": {"min": "30s"}}}),
            vec!["spec.analysis.interval"],
        ),
        (
            json!({"limits": {"interval": {"max": "5s"}}}),
            vec!["spec.analysis.interval"],
        ),
        (
            json!({"limits": {"interval": {"min": "10s", "max": "10s"}}}),
            vec![],
        ),
        (
            json!({"limits": {"iterations": {"min": 5}, "threshold": {"max": 5}}}),
            vec!["spec.analysis.iterations", "spec.analysis.threshold"],
        ),
        (
            json!({"limits": {"progressDeadlineSeconds": {"max": 300}}}),
            vec!["spec.progressDeadlineSeconds"],
        ),
        (
            json!({"limits": {"stepWeight": {"max": 5}, "maxWeight": {"max": 50}}}),
            vec![],
        ),
        (
            json!({"require": {"webhooks": [{"type": "confirm-promotion"}]}}),
            vec!["spec.analysis.webhooks"],
        ),
        (
            json!({"require": {"webhooks": [{"type": "pre-rollout", "name": "sm*e"}, {"type": "rollout"}]}}),
            vec![],
        ),
        (
            json!({"require": {"webhooks": [{"type": "pre-rollout", "name": "smoke-*"}]}}),
            vec!["spec.analysis.webhooks"],
        ),
        (
            json!({"require": {"metrics": [{"name": "errors"}, {"templateRef": "lat*"}]}}),
            vec![],
        ),
        (
            json!({"require": {"metrics": [{"name": "request-success-rate"}, {"name": "errors", "templateRef": "*"}]}}),
            vec!["spec.analysis.metrics", "spec.analysis.metrics"],
        ),
        (
            json!({"require": {"alerts": [{"severity": "error", "provider": "sl*"}]}}),
            vec![],
        ),
        (
            json!({"require": {"alerts": [{"severity": "warn"}]}}),
            vec!["spec.analysis.alerts"],
        ),
        (
            json!({"allowed": {"webhooks": {"hosts": ["*.gates.svc", "10.0.0.7"]}}}),
            vec!["spec.analysis.webhooks[0].url"],
        ),
        (
            json!({"allowed": {"webhooks": {"schemes": ["https"]}}}),
            vec!["spec.analysis.webhooks[0].url"],
        ),
        (
            json!({"allowed": {"webhooks": {"privateAddresses": false}}}),
            vec!["spec.analysis.webhooks[1].url"],
        ),
        (
            json!({"allowed": {"metricsServers": {"hosts": ["prometheus.monitoring"]}}}),
            vec![],
        ),
        (
            json!({"forbid": {"inlineQueries": true, "disableTLS": true}}),
            vec![
                "spec.analysis.metrics[0].query",
                "spec.analysis.webhooks[0].disableTLS",
            ],
        ),
        (
            json!({"forbid": {"crossNamespaceReferences": true}}),
            vec![
                "spec.analysis.metrics[1].templateRef.namespace",
                "spec.analysis.alerts[0].providerRef.namespace",
            ],
        ),
        (
            json!({"forbid": {"skipAnalysis": true, "v1alpha3": true}}),
            vec![],
        ),
    ] {
        let judgement = verdict(&[enforcing(part.clone())], &canary());
        let refused: Vec<String> = judgement
            .report
            .violations
            .iter()
            .map(|one| one.path.to_string())
            .collect();
        assert_eq!(refused, paths, "{part}");
        assert_eq!(judgement.hits.len(), paths.len(), "{part}");
        assert!(judgement.report.warnings.is_empty());
    }
}

#[test]
fn what_is_absent_is_judged_by_what_it_means() {
    let mut bare = canary();
    bare["spec"]["analysis"] = json!({});
    let limits = json!({"limits": {
        "interval": {"min": "2m"}, "iterations": {"max": 5}, "threshold": {"min": 2}, "maxWeight": {"max": 50},
    }});
    let judgement = verdict(&[enforcing(limits.clone())], &bare);
    let said: Vec<&str> = judgement
        .report
        .violations
        .iter()
        .map(|one| one.found.as_str())
        .collect();
    assert_eq!(
        said,
        [
            "absent, which means 1m",
            "absent, which means 10",
            "absent, which means 1"
        ]
    );
    bare["spec"]["analysis"] = json!({"interval": "2m", "threshold": 2, "stepWeight": 10});
    let judgement = verdict(&[enforcing(limits)], &bare);
    assert_eq!(
        found(&judgement.report).0,
        ["policy-limits spec.analysis.maxWeight"]
    );
    bare["spec"]["analysis"] = json!({"stepWeights": [5, 50, 60]});
    let judgement = verdict(
        &[enforcing(
            json!({"limits": {"stepWeight": {"max": 20}, "maxWeight": {"max": 50}}}),
        )],
        &bare,
    );
    assert_eq!(
        found(&judgement.report).0,
        [
            "policy-limits spec.analysis.stepWeights[1]",
            "policy-limits spec.analysis.stepWeights"
        ]
    );
    bare["spec"].as_object_mut().unwrap().remove("analysis");
    let judgement = verdict(&[enforcing(json!({"forbid": {"skipAnalysis": true}}))], &bare);
    assert_eq!(found(&judgement.report).0, ["policy-forbids spec.analysis"]);
}

#[test]
fn a_message_names_policy_rule_value_limit_fix_and_the_way_out() {
    let judgement = verdict(
        &[enforcing(json!({"limits": {"interval": {"min": "30s"}}}))],
        &canary(),
    );
    assert_eq!(
        judgement.report.violations[0].to_string(),
        "spec.analysis.interval: 10s; policy \"production\" (limits.interval) wants at least 30s; write 30s, or ask for \
         an entry in spec.exemptions of CanaryPolicy production"
    );
    let hosts = json!({"allowed": {"webhooks": {"hosts": ["*.gates.svc", "tester.test:8080"]}}});
    let judgement = verdict(&[enforcing(hosts)], &canary());
    assert_eq!(
        judgement.report.violations[0].sentence(),
        "host evil-gates.svc; policy \"production\" (allowed.webhooks) wants one of *.gates.svc, tester.test:8080; call \
         one of them, or ask for an entry in spec.exemptions of CanaryPolicy production"
    );
}

#[test]
fn modes_decide_what_becomes_of_a_breach() {
    let limits = json!({"interval": {"min": "30s"}});
    let mut all: Vec<Value> = Mode::ALL
        .map(|mode| policy(json!({"mode": mode.as_str(), "limits": limits})))
        .into();
    for (one, name) in all.iter_mut().zip(["c", "b", "a"]) {
        one["metadata"]["name"] = name.into();
    }
    let judgement = verdict(&all, &canary());
    assert_eq!(
        (judgement.report.violations.len(), judgement.report.warnings.len()),
        (1, 1)
    );
    let hits: Vec<(&str, Mode)> = judgement
        .hits
        .iter()
        .map(|hit| (hit.policy.as_str(), hit.mode))
        .collect();
    assert_eq!(
        hits,
        [("a", Mode::Audit), ("b", Mode::Warn), ("c", Mode::Enforce)]
    );
    assert_eq!(judgement.concerned, ["a", "b", "c"]);
}

#[test]
fn policies_concern_whom_they_select() {
    let limit = json!({"interval": {"min": "30s"}});
    let concerns = |matching: Value, known: bool| {
        let set = compile(&[policy(
            json!({"mode": "Warn", "match": matching, "limits": limit}),
        )])
        .unwrap();
        let (object, namespace) = (canary(), namespace());
        let judgement = judge(
            &set,
            &Review::of(&object, "prod", known.then_some(&namespace), "kubernetes"),
            now(),
        );
        let unchecked = judgement
            .report
            .warnings
            .iter()
            .any(|one| one.code.0 == "policy-unchecked");
        (!judgement.concerned.is_empty(), unchecked)
    };
    let labels = |key: &str, value: &str| json!({"namespaceSelector": {"matchLabels": {key: value}}});
    let expression = |operator: &str, values: Value| json!({"namespaceSelector": {"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]}});
    for (matching, known, expected) in [
        (json!({}), false, (true, false)),
        (labels("tier", "production"), true, (true, false)),
        (labels("tier", "test"), true, (false, false)),
        (labels("tier", "production"), false, (false, true)),
        (
            labels("kubernetes.io/metadata.name", "prod"),
            false,
            (true, false),
        ),
        (
            labels("kubernetes.io/metadata.name", "test"),
            false,
            (false, false),
        ),
        (expression("In", json!(["production", "x"])), true, (true, false)),
        (expression("NotIn", json!(["production"])), true, (false, false)),
        (expression("Exists", json!(null)), true, (true, false)),
        (expression("DoesNotExist", json!(null)), true, (false, false)),
        (
            json!({"objectSelector": {"matchLabels": {"team": "web"}}}),
            true,
            (true, false),
        ),
        (
            json!({"objectSelector": {"matchLabels": {"team": "api"}}}),
            true,
            (false, false),
        ),
        (json!({"providers": ["istio"]}), true, (false, false)),
        (json!({"providers": ["istio", "kubernetes"]}), true, (true, false)),
    ] {
        assert_eq!(concerns(matching.clone(), known), expected, "{matching} {known}");
    }
}

#[test]
fn rules_in_cel_see_object_old_object_namespace_and_request() {
    let rule =
        |expression: &str| json!({"rules": [{"name": "r", "expression": expression, "message": "no"}]});
    let (object, namespace) = (canary(), namespace());
    let request = json!({"userInfo": {"username": "eve"}, "operation": "UPDATE"});
    for (expression, at_admission, elsewhere) in [
        ("object.metadata.labels.team == 'web'", true, true),
        ("object.metadata.labels.team == 'api'", false, false),
        ("namespaceObject.metadata.labels.tier == 'production'", true, true),
        ("request.userInfo.username != 'eve'", false, true),
        (
            "oldObject == null || object.spec.analysis.threshold <= oldObject.spec.analysis.threshold",
            false,
            true,
        ),
    ] {
        let set = compile(&[enforcing(rule(expression))]).unwrap();
        let mut old = canary();
        old["spec"]["analysis"]["threshold"] = 1.into();
        let mut review = Review::of(&object, "prod", Some(&namespace), "kubernetes");
        assert_eq!(
            judge(&set, &review, now()).report.is_admissible(),
            elsewhere,
            "{expression}"
        );
        review.request = Some(&request);
        review.old = Some(&old);
        assert_eq!(
            judge(&set, &review, now()).report.is_admissible(),
            at_admission,
            "{expression}"
        );
    }
}

#[test]
fn a_message_expression_speaks_and_a_rule_that_fails_refuses() {
    let rules = json!({"rules": [
        {"name": "team", "expression": "object.metadata.labels.team == 'api'", "message": "wrong team",
         "messageExpression": "'team ' + object.metadata.labels.team + ' may not'", "fieldPath": ".metadata.labels.team"},
        {"name": "owner", "expression": "object.metadata.annotations.owner != ''", "message": "no owner"},
    ]});
    let judgement = verdict(&[enforcing(rules.clone())], &canary());
    let said: Vec<String> = judgement
        .report
        .violations
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(said.len(), 2);
    assert_eq!(
        said[0],
        "metadata.labels.team: team web may not; policy \"production\" (team) says so; ask for an entry in spec.exemptions of CanaryPolicy production"
    );
    assert!(
        said[1].starts_with(
            "spec: the rule could not be evaluated: there is no annotations here; where it may be absent"
        ),
        "{}",
        said[1]
    );
    assert!(
        said[1].ends_with("object.metadata.annotations.owner != ''\n^^^^^^^^^^^^^^^^^^^^^^^^^^^"),
        "{}",
        said[1]
    );
    let mut warned = enforcing(rules);
    warned["spec"]["mode"] = "Warn".into();
    let judgement = verdict(&[warned], &canary());
    assert_eq!(
        (judgement.report.violations.len(), judgement.report.warnings.len()),
        (0, 2)
    );
}

#[test]
fn exemptions_hold_until_their_end() {
    let exempt = |exemption: Value| {
        let judgement = verdict(
            &[enforcing(
                json!({"limits": {"interval": {"min": "30s"}, "threshold": {"max": 5}}, "exemptions": [exemption]}),
            )],
            &canary(),
        );
        let (refused, warned) = found(&judgement.report);
        (
            refused.len(),
            warned.len(),
            judgement.hits.iter().filter(|hit| hit.exempt).count(),
        )
    };
    let entry =
        |namespace: &str, until: &str| json!({"namespace": namespace, "until": until, "reason": "migration"});
    assert_eq!(
        exempt(entry("prod", "2026-11-28")),
        (0, 2, 2),
        "a date counts to its end"
    );
    assert_eq!(exempt(entry("p*", "2027-01-01T00:00:00Z")), (0, 2, 2));
    assert_eq!(exempt(entry("prod", "2026-11-27")), (2, 0, 0));
    assert_eq!(exempt(entry("test", "2027-01-01")), (2, 0, 0));
    let one = json!({"namespace": "*", "name": "sh*", "rules": ["limits.interval"], "until": "2027-01-01", "reason": "x"});
    assert_eq!(exempt(one), (1, 1, 1));
    let judgement = verdict(
        &[enforcing(
            json!({"limits": {"interval": {"min": "30s"}}, "exemptions": [entry("prod", "2026-11-27")]}),
        )],
        &canary(),
    );
    assert!(
        judgement.report.violations[0]
            .fix
            .starts_with("the exemption ended on 2026-11-27; write 30s, or ask")
    );
}

#[test]
fn templates_and_providers_keep_to_the_hosts() {
    let part = json!({"allowed": {"metricsServers": {"hosts": ["prometheus.monitoring"]}, "alerts": {"schemes": ["https"]}}, "forbid": {"disableTLS": true}});
    let template = json!({"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": {"name": "t"},
        "spec": {"provider": {"type": "prometheus", "address": "http://prom.evil:9090", "insecureSkipVerify": true}}});
    let judgement = verdict(&[enforcing(part.clone())], &template);
    assert_eq!(
        found(&judgement.report).0,
        [
            "policy-forbids spec.provider.insecureSkipVerify",
            "policy-allows spec.provider.address"
        ]
    );
    let provider = json!({"apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider", "metadata": {"name": "p"},
        "spec": {"type": "slack", "address": "http://hooks.example.com/x"}});
    let judgement = verdict(&[enforcing(part)], &provider);
    assert_eq!(found(&judgement.report).0, ["policy-allows spec.address"]);
}

#[test]
fn defaults_fill_in_what_is_absent_in_either_version() {
    let mut first = enforcing(json!({"defaults": {
        "progressDeadlineSeconds": 300,
        "analysis": {"interval": "1m", "threshold": 3, "stepWeight": 10, "webhooks": [{"name": "gate", "type": "confirm-promotion", "url": "http://gate.prod/"}]},
    }}));
    first["metadata"]["name"] = "a".into();
    let mut second = first.clone();
    second["metadata"]["name"] = "b".into();
    second["spec"]["defaults"] = json!({"progressDeadlineSeconds": 100, "service": {"portName": "web"}});
    let mut audit = second.clone();
    audit["metadata"]["name"] = "c".into();
    audit["spec"]["mode"] = "Audit".into();
    audit["spec"]["defaults"] = json!({"revertOnDeletion": true});
    let set = compile(&[second, first, audit]).unwrap();
    let namespace = namespace();
    for (version, analysis) in [("v1beta1", "analysis"), ("v1alpha3", "canaryAnalysis")] {
        let mut object = canary();
        object["apiVersion"] = format!("flagger.app/{version}").into();
        object["spec"].as_object_mut().unwrap().remove("analysis");
        object["spec"][analysis] = json!({"iterations": 5, "interval": null});
        let review = Review::of(&object, "prod", Some(&namespace), "kubernetes");
        let made = defaulted(&set, &review).into_owned();
        assert_eq!(
            made["spec"][analysis],
            json!({"iterations": 5, "interval": null, "threshold": 3,
                "webhooks": [{"name": "gate", "type": "confirm-promotion", "url": "http://gate.prod/"}]})
        );
        assert_eq!(
            made["spec"]["progressDeadlineSeconds"], 300,
            "the first by name wins"
        );
        assert_eq!(made["spec"]["service"], json!({"port": 8080, "portName": "web"}));
        assert!(
            made["spec"].get("revertOnDeletion").is_none(),
            "an audit changes nothing"
        );
        let again = Review {
            object: &made,
            ..review
        };
        assert!(defaults(&set, &again).is_empty(), "twice adds nothing");
    }
}

#[test]
fn where_calls_may_go() {
    let part = json!({"allowed": {"webhooks": {"hosts": ["*.gates.svc"], "privateAddresses": false}}});
    let object = canary();
    let permit = |policies: &[Value], destination| {
        let set = compile(policies).unwrap();
        Permit::of(
            &set,
            &Review::of(&object, "prod", None, "kubernetes"),
            destination,
            now(),
        )
    };
    let enforced = permit(&[enforcing(part.clone())], Destination::Webhook);
    let url = |text: &str| url::Url::parse(text).unwrap();
    assert!(!enforced.is_open());
    assert_eq!(enforced.refuses_url(&url("http://a.gates.svc/")), None);
    assert_eq!(
        enforced.refuses_url(&url("http://a.test/")).unwrap(),
        "host a.test: policy \"production\" (allowed.webhooks) wants one of *.gates.svc"
    );
    assert_eq!(
        enforced.refuses_address("10.1.1.1".parse().unwrap()).unwrap(),
        "private address 10.1.1.1: policy \"production\" (allowed.webhooks) wants a public address"
    );
    assert_eq!(enforced.refuses_address("8.8.8.8".parse().unwrap()), None);
    assert!(permit(&[enforcing(part.clone())], Destination::MetricsServer).is_open());
    let mut exempt = enforcing(part.clone());
    exempt["spec"]["exemptions"] = json!([{"namespace": "prod", "until": "2027-01-01", "reason": "x"}]);
    assert!(permit(&[exempt], Destination::Webhook).is_open());
    let mut warning = enforcing(part.clone());
    warning["spec"]["mode"] = "Warn".into();
    assert!(permit(&[warning], Destination::Webhook).is_open());
    let mut selecting = enforcing(part);
    selecting["spec"]["match"] = json!({"namespaceSelector": {"matchLabels": {"tier": "production"}}});
    assert!(
        !permit(&[selecting], Destination::Webhook).is_open(),
        "unknown labels: rather not"
    );
}

/// A policy's `spec`, and `code path` of what is refused and warned about.
#[test]
fn policies_are_judged_themselves() {
    let rule = |expression: &str| json!({"mode": "Enforce", "rules": [{"name": "r", "expression": expression, "message": "m"}]});
    let limits = json!({"interval": {"min": "30s"}});
    let empty: [&str; 0] = [];
    let rows: Vec<(Value, Vec<&str>, Vec<&str>)> = vec![
        (
            json!({"mode": "Enforce", "limits": limits}),
            empty.to_vec(),
            empty.to_vec(),
        ),
        (json!(null), vec!["required spec"], vec![]),
        (json!({"limits": limits}), vec!["required spec.mode"], vec![]),
        (
            json!({"mode": "enforce", "limits": limits}),
            vec!["unknown-value spec.mode"],
            vec![],
        ),
        (json!({"mode": "Warn"}), vec![], vec!["policy-empty spec"]),
        (
            json!({"mode": "Warn", "limit": limits}),
            vec![],
            vec!["unknown-field spec.limit", "policy-empty spec"],
        ),
        (
            json!({"mode": "Warn", "limits": {"interval": {"min": "30 s"}}}),
            vec!["duration-format spec.limits.interval.min"],
            vec![],
        ),
        (
            json!({"mode": "Warn", "limits": {"interval": {"min": "1m", "max": "30s"}}}),
            vec!["policy-bounds spec.limits.interval"],
            vec![],
        ),
        (
            json!({"mode": "Warn", "limits": {"iterations": {}}}),
            vec!["policy-bounds spec.limits.iterations"],
            vec![],
        ),
        (
            json!({"mode": "Warn", "limits": {"stepWeight": {"max": 200}, "threshold": {"min": "5"}}}),
            vec![
                "wrong-type spec.limits.threshold.min",
                "policy-bounds spec.limits.stepWeight.max",
            ],
            vec![],
        ),
        (
            json!({"mode": "Warn", "limits": limits, "match": {"providers": ["istoi"]}}),
            vec!["unknown-value spec.match.providers[0]"],
            vec![],
        ),
        (
            json!({"mode": "Enforce", "limits": limits, "match": {"objectSelector": {"matchLabels": {"a": "b"}}}}),
            vec![],
            vec!["policy-object-selector spec.match.objectSelector"],
        ),
        (
            json!({"mode": "Warn", "limits": limits, "match": {"namespaceSelector": {"matchExpressions": [{"key": "a b", "operator": "in"}, {"key": "a", "operator": "Exists", "values": ["b"]}]}}}),
            vec![
                "unknown-value spec.match.namespaceSelector.matchExpressions[0].operator",
                "policy-selector spec.match.namespaceSelector.matchExpressions[1].values",
            ],
            vec![],
        ),
        (
            json!({"mode": "Warn", "require": {"webhooks": [{"type": "confirm"}], "metrics": [{}], "alerts": [{"severity": "warning"}]}}),
            vec![
                "unknown-value spec.require.webhooks[0].type",
                "required spec.require.metrics[0]",
                "unknown-value spec.require.alerts[0].severity",
            ],
            vec![],
        ),
        (
            json!({"mode": "Warn", "allowed": {"webhooks": {"hosts": ["http://a", "ok.test"], "schemes": ["ftp"]}}}),
            vec![
                "policy-host spec.allowed.webhooks.hosts[0]",
                "unknown-value spec.allowed.webhooks.schemes[0]",
            ],
            vec![],
        ),
        (
            json!({"mode": "Warn", "forbid": {"skipAnalysis": "yes"}}),
            vec!["wrong-type spec.forbid.skipAnalysis"],
            vec![],
        ),
        (rule("object.metadata.name.startsWith('a')"), vec![], vec![]),
        (
            rule("object.metadata.name.startWith('a')"),
            vec!["policy-cel spec.rules[0].expression"],
            vec![],
        ),
        (
            rule("object.spec.analysis.treshold > 1"),
            vec!["policy-cel spec.rules[0].expression"],
            vec![],
        ),
        (
            rule("object.spec.analysis.threshold + 1"),
            vec!["policy-cel spec.rules[0].expression"],
            vec![],
        ),
        (
            rule("object.metadata.labels.squad == 'a'"),
            vec![],
            vec!["policy-cel-absent spec.rules[0].expression"],
        ),
        (
            rule("object.metadata.labels.team == 'a'"),
            vec![],
            vec!["policy-cel-absent spec.rules[0].expression"],
        ),
        (
            rule("has(object.metadata.labels) && has(object.metadata.labels.team)"),
            vec![],
            vec![],
        ),
        (
            rule("oldObject.spec == object.spec"),
            vec![],
            vec!["policy-cel-absent spec.rules[0].expression"],
        ),
        (
            json!({"mode": "Warn", "rules": [
                {"name": "a", "expression": "true", "message": "m"}, {"name": "a", "expression": "true", "message": "m"},
                {"name": "limits.interval", "expression": "true", "message": "m"}, {"expression": "true"},
                {"name": "e", "message": "m"}, {"name": "f", "expression": "true", "messageExpression": "1"},
            ]}),
            vec![
                "policy-rule-name spec.rules[1].name",
                "policy-rule-name spec.rules[2].name",
                "required spec.rules[3].name",
                "required spec.rules[3].message",
                "required spec.rules[4].expression",
            ],
            vec![],
        ),
        (
            json!({"mode": "Warn", "rules": [{"name": "f", "expression": "true", "messageExpression": "1"}]}),
            vec!["policy-cel spec.rules[0].messageExpression"],
            vec![],
        ),
        (
            json!({"mode": "Warn", "rules": (0..33).map(|n| json!({"name": format!("r{n}"), "expression": "true", "message": "m"})).collect::<Vec<_>>()}),
            vec!["policy-size spec.rules"],
            vec![],
        ),
        (
            json!({"mode": "Warn", "defaults": {"targetRef": {"name": "x"}, "analysis": {"interval": "30s"}}}),
            vec!["policy-defaults spec.defaults.targetRef"],
            vec![],
        ),
        (
            json!({"mode": "Warn", "defaults": {"analysis": {"interval": "30 seconds", "treshold": 3}, "progressDeadlineSeconds": 0}}),
            vec![
                "policy-defaults spec.defaults.progressDeadlineSeconds",
                "policy-defaults spec.defaults.analysis.interval",
                "policy-defaults spec.defaults.analysis.treshold",
            ],
            vec![],
        ),
        (
            json!({"mode": "Warn", "limits": limits, "exemptions": [{"namespace": "a"}, {"namespace": "a", "until": "soon", "reason": "r"}]}),
            vec![
                "policy-exemption spec.exemptions[0].until",
                "policy-exemption spec.exemptions[0].reason",
                "policy-exemption spec.exemptions[1].until",
            ],
            vec![],
        ),
        (
            json!({"mode": "Warn", "limits": limits, "exemptions": [{"namespace": "a", "until": "2026-01-01", "reason": "r", "rules": ["limits.intervall"]}]}),
            vec!["policy-exemption spec.exemptions[0].rules[0]"],
            vec![],
        ),
        (
            json!({"mode": "Warn", "limits": limits, "exemptions": [{"namespace": "a", "until": "2026-01-01", "reason": "r"}]}),
            vec![],
            vec!["policy-exemption-over spec.exemptions[0].until"],
        ),
    ];
    let mut told = std::collections::BTreeSet::new();
    for (spec, refused, warned) in rows {
        let report = validate(&policy(spec.clone()), now());
        let (violations, warnings) = found(&report);
        for one in violations.iter().chain(&warnings) {
            told.insert(one.split(' ').next().unwrap().to_owned());
        }
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list
        };
        let wanted = |list: Vec<&str>| sorted(list.into_iter().map(str::to_owned).collect());
        assert_eq!(sorted(violations), wanted(refused), "{spec} {report:?}");
        assert_eq!(sorted(warnings), wanted(warned), "{spec}");
    }
    for rule in crate::model::rules::ALL {
        let here = rule.scope == crate::model::rules::Scope::Policy;
        assert!(!here || told.contains(rule.code.0), "{} has no row", rule.code);
    }
}

/// Cause and caret, as the author of a policy reads them.
#[test]
fn a_slip_in_cel_is_shown_in_its_line() {
    let text = "has(object.spec.analysis) &&\n  object.spec.analysis.interval.startWith('3')";
    let report = validate(
        &policy(json!({"mode": "Audit", "rules": [{"name": "r", "expression": text, "message": "m"}]})),
        now(),
    );
    assert_eq!(
        report.violations[0].to_string(),
        "spec.rules[0].expression: there is no function startWith(); did you mean startsWith()?\n  \
         object.spec.analysis.interval.startWith('3')\n  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
    );
}

/// A policy that got into the cluster unreviewed refuses where it cannot be understood.
#[test]
fn what_cannot_be_read_of_an_enforced_policy_refuses() {
    let broken = enforcing(json!({
        "rules": [{"name": "r", "expression": "object.", "message": "m"}],
        "allowed": {"webhooks": {"hosts": ["http://nonsense"]}},
    }));
    assert!(compile(std::slice::from_ref(&broken)).is_err());
    let (set, object) = (Set::lenient(&[broken, json!(7), json!({"spec": []})]), canary());
    let judgement = judge(&set, &Review::of(&object, "prod", None, "kubernetes"), now());
    assert_eq!(
        found(&judgement.report).0,
        [
            "policy-allows spec.analysis.webhooks[0].url",
            "policy-allows spec.analysis.webhooks[1].url",
            "policy-rule-failed spec"
        ]
    );
}

#[test]
fn patterns() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abc", true),
        ("a*b*c", "a-b-c", true),
        ("a*b", "abc", false),
        ("abc", "abcd", false),
        ("a*a", "a", false),
        ("", "", true),
    ] {
        assert_eq!(exemption::fits(pattern, text), expected, "{pattern} {text}");
    }
}
