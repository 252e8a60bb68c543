use super::*;
use crate::model::change;
use crate::model::parse::{self, Settings};
use serde_json::json;

/// A Canary with this merged into its spec.
fn canary(patch: &Value) -> Canary {
    let mut object = json!({
        "metadata": {"name": "podinfo", "namespace": "test"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 9898},
            "analysis": {"interval": "1m", "threshold": 2, "iterations": 3, "metrics": [
                {"name": "m", "query": "up", "threshold": 1},
            ]},
        },
    });
    json_patch::merge(&mut object["spec"], patch);
    let parsed = parse::canary(&object, &Settings::default());
    parsed.canary.unwrap_or_else(|| panic!("{:#?}", parsed.report))
}

fn present(object: Value) -> Seen {
    Seen::Present(object.into())
}

fn merged(mut base: Value, patch: &Value) -> Value {
    json_patch::merge(&mut base, patch);
    base
}

fn deployment(patch: &Value) -> Value {
    let base = json!({
        "kind": "Deployment",
        "metadata": {"name": "podinfo"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "podinfo"}},
            "template": {
                "metadata": {"labels": {"app": "podinfo"}},
                "spec": {"containers": [{
                    "name": "app",
                    "readinessProbe": {"initialDelaySeconds": 5},
                    "ports": [{"name": "http", "containerPort": 9898}, {"name": "metrics", "containerPort": 9797}],
                }]},
            },
        },
    });
    merged(base, patch)
}

fn owner(kind: &str, name: &str) -> Value {
    json!({"ownerReferences": [{"kind": kind, "name": name, "controller": true}]})
}

/// Everything looked at, nothing in the way.
fn calm() -> Surroundings {
    Surroundings {
        target: present(deployment(&json!({}))),
        primary: Seen::Absent,
        canaries: Some(vec![]),
        services: Some(vec![]),
        scalers: Some(vec![]),
        ..Surroundings::default()
    }
}

fn target(patch: &Value) -> Surroundings {
    Surroundings {
        target: present(deployment(patch)),
        ..calm()
    }
}

/// The target with this as its pods' spec.
fn pod(patch: &Value) -> Surroundings {
    target(&json!({"spec": {"template": {"spec": patch}}}))
}

fn primary(patch: &Value) -> Surroundings {
    let base = merged(
        deployment(patch),
        &json!({"metadata": {"name": "podinfo-primary"}}),
    );
    Surroundings {
        primary: present(base),
        ..calm()
    }
}

fn service(patch: &Value) -> Surroundings {
    let base = json!({"metadata": {"name": "podinfo"}, "spec": {"selector": {"app": "podinfo"}, "ports": [{"name": "http", "port": 9898}]}});
    Surroundings {
        services: Some(vec![merged(base, patch).into()]),
        ..calm()
    }
}

fn hpa(patch: &Value) -> Value {
    let base = json!({
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "podinfo"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "podinfo"}, "minReplicas": 2, "maxReplicas": 4},
    });
    merged(base, patch)
}

fn scalers(list: &[Value]) -> Surroundings {
    Surroundings {
        scalers: Some(list.iter().cloned().map(Arc::new).collect()),
        ..calm()
    }
}

fn scaled_object(patch: &Value) -> Value {
    let base = json!({
        "kind": "ScaledObject",
        "metadata": {"name": "podinfo"},
        "spec": {"scaleTargetRef": {"name": "podinfo"}, "triggers": [{"name": "t", "metadata": {"query": "x{app=\"podinfo\"}"}}]},
    });
    merged(base, patch)
}

fn neighbour(name: &str, target: &str, apex: &str) -> Surroundings {
    let target = Target {
        kind: crate::model::canary::TargetKind::Deployment,
        name: target.to_owned(),
    };
    Surroundings {
        canaries: Some(vec![Neighbour {
            name: name.to_owned(),
            target,
            apex: apex.to_owned(),
        }]),
        ..calm()
    }
}

fn template(seen: Seen) -> Surroundings {
    Surroundings {
        templates: BTreeMap::from([(("test".to_owned(), "t".to_owned()), seen)]),
        ..calm()
    }
}

/// Code, path, spec, and what lies around.
type Row = (&'static str, &'static str, Value, Surroundings);

fn rows() -> Vec<Row> {
    let nothing = || json!({});
    let at = "spec.targetRef";
    let named = "spec.targetRef.name";
    let apex = "spec.service.name";
    let scaler = "spec.autoscalerRef";
    let with_hpa = || json!({"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}});
    let with_keda = |more: Value| {
        let base = json!({"autoscalerRef": {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "podinfo"}});
        merged(base, &json!({"autoscalerRef": more}))
    };
    let bounds = |replicas: Value| {
        merged(
            with_hpa(),
            &json!({"autoscalerRef": {"primaryScalerReplicas": replicas}}),
        )
    };
    let templated = |variables: Value| json!({"analysis": {"metrics": [{"name": "m", "threshold": 1, "templateRef": {"name": "t"}, "templateVariables": variables}]}});
    let query = present(json!({"spec": {"query": "x{a=\"{{ variables.route }}\"}"}}));
    let other = |labels: Value| json!({"kind": "Deployment", "metadata": {"name": "other"}, "spec": {"template": {"metadata": {"labels": labels}}}});
    let discovered = || json!({"service": {"portDiscovery": true}});
    let ports =
        |ports: Value| pod(&json!({"containers": [{"name": "app", "readinessProbe": {}, "ports": ports}]}));
    vec![
        (
            "target-absent",
            named,
            nothing(),
            Surroundings {
                target: Seen::Absent,
                ..calm()
            },
        ),
        (
            "target-taken",
            at,
            nothing(),
            neighbour("other", "podinfo", "podinfo"),
        ),
        (
            "target-is-primary",
            named,
            json!({"targetRef": {"name": "web-primary"}}),
            Surroundings {
                target: present(deployment(&json!({"metadata": {"name": "web-primary"}}))),
                ..neighbour("web", "web", "web-x")
            },
        ),
        (
            "service-taken",
            apex,
            nothing(),
            neighbour("other", "web", "podinfo"),
        ),
        (
            "service-taken",
            apex,
            json!({"service": {"name": "web-primary"}}),
            neighbour("other", "web", "web"),
        ),
        (
            "target-selector",
            named,
            nothing(),
            target(&json!({"spec": {"selector": {"matchLabels": {"app": null, "tier": "x"}}}})),
        ),
        (
            "target-selector-shared",
            named,
            nothing(),
            Surroundings {
                workloads: vec![other(json!({"app": "podinfo"})).into()],
                ..calm()
            },
        ),
        (
            "target-label-differs",
            named,
            nothing(),
            target(&json!({"spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"topologySpreadConstraints": [{"labelSelector": {"matchLabels": {"app": "web"}}}]}},
            }})),
        ),
        (
            "selector-label-overridden",
            "spec.service.apex.labels.app",
            json!({"service": {"apex": {"labels": {"app": "x"}}}}),
            calm(),
        ),
        ("primary-foreign", named, nothing(), primary(&nothing())),
        (
            "left-by-deleted-canary",
            named,
            nothing(),
            primary(&json!({"metadata": owner("Canary", "old")})),
        ),
        (
            "left-by-deleted-canary",
            apex,
            nothing(),
            service(&json!({"metadata": owner("Canary", "old")})),
        ),
        (
            "unfair-comparison",
            at,
            nothing(),
            primary(&json!({"metadata": owner("Canary", "podinfo"), "spec": {"replicas": 5}})),
        ),
        (
            "target-owned",
            at,
            nothing(),
            target(&json!({"metadata": owner("Rollout", "r")})),
        ),
        (
            "target-paused",
            at,
            nothing(),
            target(&json!({"spec": {"paused": true}})),
        ),
        (
            "target-recreate",
            at,
            nothing(),
            target(&json!({"spec": {"strategy": {"type": "Recreate"}}})),
        ),
        (
            "target-unavailable",
            at,
            nothing(),
            target(&json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "100%"}}}})),
        ),
        (
            "target-unavailable",
            at,
            nothing(),
            target(
                &json!({"spec": {"replicas": 1, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}}),
            ),
        ),
        (
            "target-at-zero",
            at,
            nothing(),
            target(&json!({"spec": {"replicas": 0}})),
        ),
        (
            "skip-analysis-at-creation",
            "spec.skipAnalysis",
            json!({"skipAnalysis": true}),
            calm(),
        ),
        (
            "target-on-delete",
            at,
            json!({"targetRef": {"kind": "DaemonSet"}}),
            target(&json!({"kind": "DaemonSet", "spec": {"updateStrategy": {"type": "OnDelete"}}})),
        ),
        (
            "target-without-nodes",
            at,
            json!({"targetRef": {"kind": "DaemonSet"}}),
            target(
                &json!({"kind": "DaemonSet", "spec": {"template": {"spec": {"nodeSelector": {"flagger.app/scale-to-zero": "true"}}}}}),
            ),
        ),
        (
            "replicas-managed",
            at,
            nothing(),
            target(
                &json!({"metadata": {"managedFields": [{"manager": "me", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}}),
            ),
        ),
        (
            "reconciled-elsewhere",
            at,
            nothing(),
            target(&json!({"metadata": {"labels": {"kapp.k14s.io/app": "1"}}})),
        ),
        (
            "reconciled-elsewhere",
            at,
            nothing(),
            target(
                &json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "a"}, "managedFields": [{"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}}),
            ),
        ),
        (
            "reconciled-elsewhere",
            apex,
            nothing(),
            service(&json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "a"}}})),
        ),
        (
            "no-readiness-probe",
            at,
            nothing(),
            pod(&json!({"containers": [{"name": "app", "ports": [{"containerPort": 9898}]}]})),
        ),
        (
            "not-side-by-side",
            at,
            nothing(),
            pod(&json!({"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]})),
        ),
        (
            "not-side-by-side",
            at,
            nothing(),
            ports(json!([{"containerPort": 9898, "hostPort": 80}])),
        ),
        (
            "deadline-below-probes",
            "spec.progressDeadlineSeconds",
            json!({"progressDeadlineSeconds": 5}),
            calm(),
        ),
        (
            "deadline-differs",
            "spec.progressDeadlineSeconds",
            nothing(),
            target(&json!({"spec": {"progressDeadlineSeconds": 60}})),
        ),
        (
            "service-foreign",
            apex,
            nothing(),
            service(&json!({"metadata": owner("Cluster", "db")})),
        ),
        (
            "service-type",
            apex,
            nothing(),
            service(&json!({"spec": {"type": "ExternalName"}})),
        ),
        (
            "service-selects-more",
            apex,
            nothing(),
            Surroundings {
                workloads: vec![other(json!({"tier": "web"})).into()],
                ..service(&json!({"spec": {"selector": {"app": null, "tier": "web"}}}))
            },
        ),
        (
            "service-stranded",
            at,
            nothing(),
            service(&json!({"metadata": {"name": "internal"}})),
        ),
        (
            "service-ports-outside",
            "spec.service",
            nothing(),
            service(
                &json!({"spec": {"ports": [{"name": "http", "port": 9898}, {"name": "admin", "port": 81}]}}),
            ),
        ),
        (
            "headless-port",
            "spec.service.headless",
            json!({"service": {"headless": true}}),
            service(&nothing()),
        ),
        (
            "target-port-unknown",
            "spec.service.targetPort",
            json!({"service": {"targetPort": "htp"}}),
            calm(),
        ),
        (
            "target-port-undeclared",
            "spec.service.targetPort",
            json!({"service": {"targetPort": 1234}}),
            calm(),
        ),
        (
            "discovered-port-clash",
            "spec.service.portDiscovery",
            json!({"service": {"port": 80, "targetPort": 9898, "portDiscovery": true}}),
            ports(json!([{"name": "a", "containerPort": 9898}, {"name": "b", "containerPort": 80}])),
        ),
        (
            "discovered-port-clash",
            "spec.service.portDiscovery",
            discovered(),
            ports(json!([{"name": "a", "containerPort": 9898}, {"name": "http", "containerPort": 81}])),
        ),
        (
            "discovered-port-unnamed",
            "spec.service.portDiscovery",
            discovered(),
            ports(json!([{"containerPort": 9898}, {"containerPort": 81}])),
        ),
        (
            "discovered-port-not-tcp",
            "spec.service.portDiscovery",
            discovered(),
            ports(json!([{"containerPort": 9898}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}])),
        ),
        (
            "hook-service-absent",
            "spec.analysis.webhooks[0].url",
            json!({"analysis": {"webhooks": [{"name": "a", "url": "http://gate.test.svc.cluster.local/x"}]}}),
            calm(),
        ),
        ("autoscaler-absent", "spec.autoscalerRef.name", with_hpa(), calm()),
        (
            "autoscaler-of-another",
            "spec.autoscalerRef.name",
            with_hpa(),
            scalers(&[hpa(&json!({"spec": {"scaleTargetRef": {"name": "web"}}}))]),
        ),
        (
            "autoscaler-not-referenced",
            scaler,
            nothing(),
            scalers(&[hpa(&nothing())]),
        ),
        (
            "autoscaler-of-primary",
            scaler,
            with_hpa(),
            scalers(&[
                hpa(&nothing()),
                hpa(
                    &json!({"metadata": {"name": "p"}, "spec": {"scaleTargetRef": {"name": "podinfo-primary"}}}),
                ),
            ]),
        ),
        (
            "autoscaler-minimum",
            "spec.autoscalerRef.primaryScalerReplicas.minReplicas",
            bounds(json!({"minReplicas": 5})),
            scalers(&[hpa(&nothing())]),
        ),
        (
            "autoscaler-idle",
            "spec.autoscalerRef.primaryScalerReplicas",
            bounds(json!({"maxReplicas": 5})),
            scalers(&[hpa(&json!({"spec": {"minReplicas": 0}}))]),
        ),
        (
            "autoscaler-query-name",
            "spec.autoscalerRef.primaryScalerQueries.x",
            with_keda(json!({"primaryScalerQueries": {"x": "y"}})),
            scalers(&[scaled_object(&nothing())]),
        ),
        (
            "autoscaler-same-query",
            scaler,
            with_keda(nothing()),
            scalers(&[scaled_object(
                &json!({"spec": {"triggers": [{"name": "t", "metadata": {"query": "up"}}]}}),
            )]),
        ),
        (
            "autoscaler-paused",
            "spec.autoscalerRef.name",
            with_keda(nothing()),
            scalers(&[scaled_object(
                &json!({"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}),
            )]),
        ),
        (
            "template-absent",
            "spec.analysis.metrics[0].templateRef",
            templated(nothing()),
            template(Seen::Absent),
        ),
        (
            "template-variable",
            "spec.analysis.metrics[0].templateVariables.route",
            templated(nothing()),
            template(query.clone()),
        ),
        (
            "template-variable-unused",
            "spec.analysis.metrics[0].templateVariables.b",
            templated(json!({"route": "x", "b": "y"})),
            template(query),
        ),
        (
            "alert-provider-absent",
            "spec.analysis.alerts[0].providerRef",
            json!({"analysis": {"alerts": [{"name": "a", "providerRef": {"name": "p"}}]}}),
            Surroundings {
                alert_providers: BTreeMap::from([(("test".to_owned(), "p".to_owned()), Seen::Absent)]),
                ..calm()
            },
        ),
        (
            "surroundings-unknown",
            "spec",
            nothing(),
            Surroundings {
                services: None,
                ..calm()
            },
        ),
    ]
}

#[test]
fn each_rule_alone() {
    let mut wrong = Vec::new();
    for (code, path, spec, surroundings) in rows() {
        let report = look_around(&canary(&spec), &surroundings);
        let rule = rules::find(code).unwrap_or_else(|| panic!("{code} is not in the table"));
        let list = |found: &[crate::model::violation::Violation]| {
            found
                .iter()
                .map(|found| (found.code.0, found.path.to_string()))
                .collect::<Vec<_>>()
        };
        let (refused, warned) = (list(&report.violations), list(&report.warnings));
        let (here, there) = if rule.severity == rules::Severity::Error {
            (&refused, &warned)
        } else {
            (&warned, &refused)
        };
        if *here != [(code, path.to_owned())] || !there.is_empty() {
            wrong.push(format!(
                "{code} at {path}: refused {refused:?}, warned {warned:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_template_is_judged_again_with_the_values_of_a_metric() {
    let judged = |query: &str, value: &str| {
        let spec = json!({"analysis": {"metrics": [{
            "name": "m", "threshold": 1, "templateRef": {"name": "t"}, "templateVariables": {"a": value},
        }]}});
        let seen = json!({"spec": {"provider": {"type": "prometheus"}, "query": query}});
        let report = look_around(&canary(&spec), &template(present(seen)));
        let list = |found: &[crate::model::violation::Violation]| {
            found
                .iter()
                .map(|found| (found.code.0, found.path.to_string()))
                .collect::<Vec<_>>()
        };
        (list(&report.violations), list(&report.warnings))
    };
    let metric = "spec.analysis.metrics[0]";
    assert_eq!(judged("rate(up[{{ variables.a }}])", "5m"), (vec![], vec![]));
    assert_eq!(
        judged("rate(up[{{ variables.a }}])", "5 minutes").0,
        [("promql-syntax", format!("{metric}.templateVariables"))]
    );
    assert_eq!(
        judged("rate(up[{{ variables.a }}]", "5m"),
        (vec![], vec![("promql-syntax", format!("{metric}.templateRef"))]),
        "the template's own fault"
    );
}

#[test]
fn nothing_in_the_way_says_nothing() {
    let with_hpa = json!({"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}});
    let ours = json!({"metadata": owner("Canary", "podinfo")});
    let ours_primary = merged(
        hpa(&ours),
        &json!({"metadata": {"name": "podinfo-primary"}, "spec": {"scaleTargetRef": {"name": "podinfo-primary"}}}),
    );
    for (spec, surroundings) in [
        (json!({}), calm()),
        (json!({}), neighbour("web", "web", "web")),
        (json!({}), neighbour("podinfo", "podinfo", "podinfo")),
        (json!({}), primary(&ours)),
        (json!({}), service(&json!({}))),
        (json!({}), service(&ours)),
        (json!({"service": {"portDiscovery": true}}), calm()),
        (json!({"service": {"targetPort": "http", "port": 80}}), calm()),
        (with_hpa.clone(), scalers(&[hpa(&json!({})), ours_primary])),
        (
            json!({}),
            target(
                &json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "a"}, "managedFields": [{"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]}}),
            ),
        ),
    ] {
        let report = look_around(&canary(&spec), &surroundings);
        assert_eq!(report, Report::default(), "{spec}");
    }
}

#[test]
fn every_rule_about_surroundings_and_changes_has_a_row() {
    let mut covered: Vec<_> = rows().iter().map(|row| row.0).collect();
    covered.extend(changes().iter().map(|row| row.0));
    covered.extend(["deleted-while-parked", "deletion-waits"]);
    // Their rows are in `users`.
    covered.extend([
        "template-in-use",
        "template-breaks-canary",
        "alert-provider-in-use",
    ]);
    for rule in rules::ALL {
        let here = matches!(rule.scope, rules::Scope::Surroundings | rules::Scope::Change);
        assert!(
            !here || covered.contains(&rule.code.0),
            "{} has no row",
            rule.code
        );
    }
}

/// Code, path, phase before, specs before and after.
fn changes() -> Vec<(&'static str, &'static str, &'static str, Value, Value)> {
    let weights = |list: Value| json!({"analysis": {"stepWeights": list}});
    let named =
        |name: &str| json!({"targetRef": {"kind": "Deployment", "name": name}, "service": {"name": "a"}});
    vec![
        (
            "target-changed",
            "spec.targetRef",
            "Succeeded",
            named("a"),
            named("b"),
        ),
        (
            "weights-changed-in-run",
            "spec.analysis.stepWeights",
            "Progressing",
            weights(json!([5, 20, 50])),
            weights(json!([5, 50])),
        ),
        (
            "service-changed-in-run",
            "spec.service",
            "Progressing",
            json!({"service": {"port": 1}}),
            json!({"service": {"port": 2}}),
        ),
        (
            "service-renamed",
            "spec.service.name",
            "Succeeded",
            json!({"service": {"name": "a"}}),
            json!({"service": {"name": "b"}}),
        ),
        (
            "service-fixed-at-creation",
            "spec.service.headless",
            "Succeeded",
            json!({"service": {"headless": false}}),
            json!({"service": {"headless": true}}),
        ),
        (
            "provider-changed",
            "spec.provider",
            "Initialized",
            json!({"provider": "istio"}),
            json!({"provider": "kubernetes"}),
        ),
        (
            "autoscaler-changed",
            "spec.autoscalerRef",
            "Succeeded",
            json!({"autoscalerRef": {"kind": "ScaledObject", "name": "a"}}),
            json!({}),
        ),
    ]
}

#[test]
fn each_change_alone() {
    for (code, path, phase, before, after) in changes() {
        let old = json!({"spec": before, "status": {"phase": phase, "canaryWeight": 20}});
        let new = json!({"spec": after, "status": {"phase": phase, "canaryWeight": 20}});
        let report = change::update(&old, &new);
        let found: Vec<_> = report
            .violations
            .iter()
            .chain(&report.warnings)
            .map(|v| (v.code.0, v.path.to_string()))
            .collect();
        assert_eq!(found, [(code, path.to_owned())]);
        let refuses = rules::find(code).unwrap().severity == rules::Severity::Error;
        assert_eq!(report.is_admissible(), !refuses, "{code}");
        assert_eq!(change::update(&old, &old), Report::default(), "{code}: unchanged");
        let unborn = json!({"spec": old["spec"]});
        assert_eq!(
            change::update(&unborn, &json!({"spec": new["spec"]})),
            Report::default(),
            "{code}: nothing exists yet"
        );
    }
}

#[test]
fn a_weight_that_stays_listed_may_change_the_rest() {
    let with = |list: Value| json!({"spec": {"analysis": {"stepWeights": list}}, "status": {"phase": "Progressing", "canaryWeight": 20}});
    assert_eq!(
        change::update(&with(json!([5, 20, 50])), &with(json!([20, 80]))),
        Report::default()
    );
}

#[test]
fn deletions_only_warn() {
    let canary = |spec: Value, phase: &str| json!({"spec": spec, "status": {"phase": phase}});
    let parked = || present(json!({"spec": {"replicas": 0}}));
    let parked_daemons = present(
        json!({"spec": {"template": {"spec": {"nodeSelector": {"flagger.app/scale-to-zero": "true"}}}}}),
    );
    let serving = present(json!({"spec": {"replicas": 2}}));
    let reverting = json!({"revertOnDeletion": true});
    for (object, target, expected) in [
        (
            canary(json!({}), "Succeeded"),
            parked(),
            Some("deleted-while-parked"),
        ),
        (
            canary(json!({}), "Succeeded"),
            parked_daemons,
            Some("deleted-while-parked"),
        ),
        (
            canary(json!({}), "Succeeded"),
            Seen::Unknown,
            Some("deleted-while-parked"),
        ),
        (
            canary(json!({}), "Succeeded"),
            Seen::Absent,
            Some("deleted-while-parked"),
        ),
        (canary(json!({}), "Succeeded"), serving, None),
        (canary(json!({}), ""), parked(), None),
        (canary(reverting, "Succeeded"), parked(), None),
        (
            canary(json!({"revertOnDeletion": true, "suspend": true}), "Succeeded"),
            parked(),
            Some("deletion-waits"),
        ),
    ] {
        let report = change::deletion(&object, &target);
        assert!(report.is_admissible());
        let codes: Vec<_> = report.warnings.iter().map(|warning| warning.code.0).collect();
        assert_eq!(
            codes,
            expected.into_iter().collect::<Vec<_>>(),
            "{object} {target:?}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn odd_objects_around_never_panic(row in 0usize..40, place in 0usize..400, number: i64) {
        let rows = rows();
        let (_, _, spec, around) = &rows[row % rows.len()];
        // One leaf of what was seen becomes a number, an object becomes nothing.
        let mut seen = around.clone();
        if let Seen::Present(value) = &mut seen.target {
            let mut flat = value.to_string();
            let marks: Vec<_> = flat.match_indices(':').map(|(at, _)| at).collect();
            let at = marks[place % marks.len()];
            let (head, tail) = flat.split_at(at + 1);
            if let Some(rest) = tail.strip_prefix('"').and_then(|tail| tail.split_once('"')).map(|(_, rest)| rest) {
                flat = format!("{head}{number}{rest}");
            }
            if let Ok(changed) = serde_json::from_str::<Value>(&flat) {
                *value = changed.into();
            }
        }
        let _ = look_around(&canary(spec), &seen);
        let _ = change::update(&serde_json::json!(number), seen.target.present().unwrap_or(&Value::Null));
    }
}
