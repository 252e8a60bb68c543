//! Reviews with something around: caches filled by hand, no cluster.

use serde_json::{Value, json};

use super::around::Around;
use super::envelope::Envelope;
use super::judge::{Hook, Verdict, judge};
use crate::cache::{Caches, Kind};
use crate::model::parse::Settings;

fn canary(name: &str, patch: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name, "namespace": "prod"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 8080},
            "analysis": {"interval": "30s", "threshold": 3, "iterations": 5, "metrics": [
                {"name": "errors", "interval": "1m", "thresholdRange": {"max": 1}, "query": "sum(rate(errors_total[1m]))"},
            ]},
        },
    });
    json_patch::merge(&mut object, patch);
    object
}

fn deployment(name: &str, patch: &Value) -> Value {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "prod"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
                {"name": "app", "readinessProbe": {}, "ports": [{"name": "http", "containerPort": 8080}]},
            ]}},
        },
    });
    json_patch::merge(&mut object, patch);
    object
}

fn named(namespace: &str, name: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}})
}

fn review(operation: &str, kind: &str, object: &Value, old: &Value) -> Envelope {
    let (resource, one) = match kind {
        "Canary" => ("canaries", object),
        "MetricTemplate" => ("metrictemplates", object),
        _ => ("alertproviders", object),
    };
    let version = one["apiVersion"]
        .as_str()
        .or(old["apiVersion"].as_str())
        .unwrap_or("flagger.app/v1beta1");
    let version = version.rsplit('/').next().unwrap();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "kind": {"group": "flagger.app", "version": version, "kind": kind},
            "resource": {"group": "flagger.app", "version": version, "resource": resource},
            "namespace": "prod",
            "operation": operation,
            "object": object,
            "oldObject": old,
        },
    });
    Envelope::decode(review.to_string().as_bytes(), |_| {}).unwrap()
}

/// Fields of the causes, and warnings.
fn judged(envelope: &Envelope, caches: Caches) -> (Vec<String>, Vec<String>) {
    let around = Around::new(caches, vec!["app".to_owned()]);
    let mut both: Vec<_> = [Hook::Mutate, Hook::Validate]
        .map(
            |hook| match judge(hook, envelope, &Settings::default(), Some(&around)) {
                Verdict::Allowed { warnings, .. } => (vec![], warnings),
                Verdict::Invalid { causes, warnings, .. } => (
                    causes
                        .into_iter()
                        .map(|cause| format!("{} {}", cause.code, cause.field))
                        .collect(),
                    warnings,
                ),
                Verdict::Failed { message, .. } => panic!("{message}"),
            },
        )
        .into();
    let second = both.pop().unwrap();
    assert_eq!(both, std::slice::from_ref(&second), "both hooks say the same");
    second
}

fn created(object: &Value, caches: Caches) -> (Vec<String>, Vec<String>) {
    judged(&review("CREATE", "Canary", object, &Value::Null), caches)
}

const NOTHING: [&str; 0] = [];

#[test]
fn what_is_in_the_way_is_refused_by_field() {
    let owned = |kind: &str, name: &str| json!({"metadata": {"ownerReferences": [{"kind": kind, "name": name, "controller": true}]}});
    let service = |name: &str, owner: &Value| {
        let mut object = named("prod", name);
        json_patch::merge(&mut object, owner);
        (Kind::SERVICE, object)
    };
    let web = |patch: Value| (Kind::CANARY, canary("web", &patch));
    let target = |name: &str| json!({"spec": {"targetRef": {"name": name}}});
    let shop = (Kind::DEPLOYMENT, deployment("shop", &json!({})));
    let table = [
        ("nothing", vec![shop.clone()], NOTHING.to_vec()),
        ("another Canary", vec![shop.clone(), web(json!({}))], vec![]),
        (
            "its target",
            vec![shop.clone(), web(target("shop"))],
            vec!["target-taken spec.targetRef"],
        ),
        (
            "the same target in another namespace",
            vec![
                shop.clone(),
                web(json!({"metadata": {"namespace": "test"}, "spec": {"targetRef": {"name": "shop"}}})),
            ],
            vec![],
        ),
        (
            "its target, of a Canary on its way out",
            vec![
                shop.clone(),
                web(
                    json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"targetRef": {"name": "shop"}}}),
                ),
            ],
            vec![],
        ),
        (
            "its Service",
            vec![shop.clone(), web(json!({"spec": {"service": {"name": "shop"}}}))],
            vec!["service-taken spec.service.name"],
        ),
        (
            "a Service of another controller",
            vec![shop.clone(), service("shop-canary", &owned("Cluster", "db"))],
            vec!["service-foreign spec.service.name"],
        ),
        (
            "a Service of its own",
            vec![shop.clone(), service("shop-canary", &owned("Canary", "shop"))],
            vec![],
        ),
        (
            "a primary of somebody else",
            vec![
                shop.clone(),
                (Kind::DEPLOYMENT, deployment("shop-primary", &json!({}))),
            ],
            vec!["primary-foreign spec.targetRef.name"],
        ),
        (
            "a primary of another Canary",
            vec![
                shop.clone(),
                web(json!({})),
                (
                    Kind::DEPLOYMENT,
                    deployment("shop-primary", &owned("Canary", "web")),
                ),
            ],
            vec!["primary-foreign spec.targetRef.name"],
        ),
        (
            "a primary whose Canary is gone",
            vec![
                shop.clone(),
                (
                    Kind::DEPLOYMENT,
                    deployment("shop-primary", &owned("Canary", "old")),
                ),
            ],
            vec![],
        ),
        (
            "a primary of its own",
            vec![
                shop,
                (
                    Kind::DEPLOYMENT,
                    deployment("shop-primary", &owned("Canary", "shop")),
                ),
            ],
            vec![],
        ),
    ];
    for (name, objects, expected) in table {
        let (refused, _) = created(&canary("shop", &json!({})), Caches::holding(objects));
        assert_eq!(refused, expected, "{name}");
    }
    let nested = canary("web-primary", &json!({}));
    let around = [
        (
            Kind::DEPLOYMENT,
            deployment("web-primary", &owned("Canary", "web")),
        ),
        web(json!({})),
    ];
    let (refused, _) = created(&nested, Caches::holding(around));
    assert_eq!(refused[0], "target-is-primary spec.targetRef.name", "{refused:?}");
}

#[test]
fn mistakes_of_the_manifest_and_its_neighbours_come_in_one_answer() {
    let around = [
        (Kind::DEPLOYMENT, deployment("shop", &json!({}))),
        (
            Kind::CANARY,
            canary("web", &json!({"spec": {"targetRef": {"name": "shop"}}})),
        ),
    ];
    let caches = Caches::holding(around);
    let broken = canary("shop", &json!({"spec": {"analysis": {"interval": "2 seconds"}}}));
    let (refused, _) = created(&broken, caches.clone());
    assert_eq!(
        refused,
        [
            "duration-format spec.analysis.interval",
            "target-taken spec.targetRef"
        ]
    );
    // A target that cannot be read says nothing about its neighbours.
    let unreadable = canary("shop", &json!({"spec": {"targetRef": {"name": null}}}));
    assert_eq!(created(&unreadable, caches).0, ["required spec.targetRef.name"]);
}

#[test]
fn what_is_absent_warns() {
    let object = canary(
        "shop",
        &json!({"spec": {
            "autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "shop"},
            "analysis": {
                "metrics": [{"name": "m", "interval": "1m", "thresholdRange": {"max": 1}, "templateRef": {"name": "t"}}],
                "alerts": [{"name": "a", "severity": "info", "providerRef": {"name": "p", "namespace": "chat"}}],
            },
        }}),
    );
    let (refused, warnings) = created(&object, Caches::holding([]));
    assert_eq!(refused, NOTHING);
    for told in [
        "spec.targetRef.name: Deployment shop does not exist",
        "HorizontalPodAutoscaler shop does not exist",
        "MetricTemplate t.prod does not exist",
        "AlertProvider p.chat does not exist",
    ] {
        assert!(
            warnings.iter().any(|warning| warning.contains(told)),
            "{told}: {warnings:#?}"
        );
    }
    assert!(
        !warnings.iter().any(|warning| warning.contains("not looked at")),
        "{warnings:#?}"
    );
}

#[test]
fn cold_caches_say_what_was_not_checked_and_refuse_nothing() {
    let (refused, warnings) = created(&canary("shop", &json!({})), Caches::new(None));
    assert_eq!(refused, NOTHING);
    let told = "spec: not looked at: other Canaries, target, Services, autoscalers; ";
    assert!(warnings.last().unwrap().starts_with(told), "{warnings:#?}");
    // The rules of the manifest itself answer all the same.
    let broken = canary("shop", &json!({"spec": {"analysis": {"interval": "soon"}}}));
    assert_eq!(
        created(&broken, Caches::new(None)).0,
        ["duration-format spec.analysis.interval"]
    );
    // A process limited to one namespace knows nothing of others.
    let caches = Caches::new(Some("test".to_owned()));
    assert!(
        created(&canary("shop", &json!({})), caches)
            .1
            .last()
            .unwrap()
            .starts_with(told)
    );
}

#[test]
fn an_old_author_reads_his_own_words_about_neighbours() {
    let mut object = canary("shop", &json!({"apiVersion": "flagger.app/v1alpha3"}));
    let mut analysis = object["spec"]
        .as_object_mut()
        .unwrap()
        .remove("analysis")
        .unwrap();
    analysis["alerts"] = json!([{"name": "a", "severity": "info", "providerRef": {"name": "p"}}]);
    object["spec"]["canaryAnalysis"] = analysis;
    let taken = (
        Kind::CANARY,
        canary("web", &json!({"spec": {"targetRef": {"name": "shop"}}})),
    );
    let (refused, warnings) = created(&object, Caches::holding([taken]));
    assert_eq!(refused, ["target-taken spec.targetRef"]);
    assert!(
        warnings
            .iter()
            .any(|warning| warning.starts_with("spec.canaryAnalysis.alerts[0].providerRef: ")),
        "{warnings:#?}"
    );
}

#[test]
fn an_update_answers_only_for_what_it_does() {
    let shop = (Kind::DEPLOYMENT, deployment("shop", &json!({})));
    let caches = || {
        Caches::holding([
            shop.clone(),
            (
                Kind::CANARY,
                canary("web", &json!({"spec": {"targetRef": {"name": "shop"}}})),
            ),
        ])
    };
    // The race was lost before: both exist, and either may still be edited.
    let contested = canary("shop", &json!({}));
    let edited = canary("shop", &json!({"spec": {"analysis": {"threshold": 4}}}));
    let (refused, warnings) = judged(&review("UPDATE", "Canary", &edited, &contested), caches());
    assert_eq!(refused, NOTHING);
    assert!(
        warnings[0].starts_with("spec.targetRef: Canary web controls Deployment shop too"),
        "{warnings:#?}"
    );
    // Moving onto a taken target is new.
    let free = canary("shop", &json!({"spec": {"targetRef": {"name": "free"}}}));
    let (refused, _) = judged(&review("UPDATE", "Canary", &contested, &free), caches());
    assert_eq!(refused, ["target-taken spec.targetRef"]);
    // A target that changes once a run has begun strands the old one.
    let begun = canary(
        "shop",
        &json!({"spec": {"targetRef": {"name": "free"}}, "status": {"phase": "Succeeded"}}),
    );
    let moved = canary("shop", &json!({"status": {"phase": "Succeeded"}}));
    let (refused, _) = judged(
        &review("UPDATE", "Canary", &moved, &begun),
        Caches::holding([shop.clone()]),
    );
    assert_eq!(refused, ["target-changed spec.targetRef"]);
    // Metadata, status, finalizers and the way out are nobody's business.
    for metadata in [
        json!({"labels": {"a": "b"}}),
        json!({"finalizers": null}),
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ] {
        let touched = canary(
            "shop",
            &json!({"metadata": metadata, "status": {"phase": "Failed"}}),
        );
        let (refused, warnings) = judged(&review("UPDATE", "Canary", &touched, &contested), caches());
        assert_eq!((refused.len(), warnings.len()), (0, 0), "{metadata}");
    }
}

#[test]
fn a_deletion_is_told_what_goes_down_and_never_refused() {
    let old = |patch: &Value| {
        let mut object = canary("shop", &json!({"status": {"phase": "Succeeded"}}));
        json_patch::merge(&mut object, patch);
        object
    };
    let parked = || {
        Caches::holding([(
            Kind::DEPLOYMENT,
            deployment("shop", &json!({"spec": {"replicas": 0}})),
        )])
    };
    let serving = || Caches::holding([(Kind::DEPLOYMENT, deployment("shop", &json!({})))]);
    let gone = |old: &Value, caches| judged(&review("DELETE", "Canary", &Value::Null, old), caches);

    let (_, warnings) = gone(&old(&json!({})), parked());
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("spec.revertOnDeletion: the target runs no pods; ")
            && warnings[0].contains("goes down"),
        "{warnings:#?}"
    );
    assert!(
        gone(&old(&json!({"spec": {"revertOnDeletion": true}})), parked())
            .1
            .is_empty()
    );
    assert!(gone(&old(&json!({})), serving()).1.is_empty());
    assert!(
        gone(&old(&json!({"status": null})), parked()).1.is_empty(),
        "it never began"
    );
    let broken = old(&json!({"spec": {"analysis": {"interval": "soon"}, "targetRef": 7}}));
    for odd in [broken, json!({}), json!(null), json!([1])] {
        let _ = gone(&odd, parked());
    }
    let mut wrong = review("DELETE", "Canary", &Value::Null, &old(&json!({})));
    wrong.resource.resource = "pods".to_owned();
    assert!(judged(&wrong, parked()).1.is_empty());
}

#[test]
fn templates_and_providers_in_use_are_told() {
    let refers = json!({"spec": {"analysis": {
        "metrics": [{"name": "m", "interval": "1m", "thresholdRange": {"max": 1}, "templateRef": {"name": "t", "namespace": "prod"}}],
        "alerts": [{"name": "a", "severity": "info", "providerRef": {"name": "p"}}],
    }}});
    let user = (Kind::CANARY, canary("shop", &refers));
    let template = |name: &str, query: &str| {
        let mut object = named("prod", name);
        object["apiVersion"] = "flagger.app/v1beta1".into();
        object["spec"] =
            json!({"provider": {"type": "prometheus", "address": "http://p:9090"}, "query": query});
        object
    };
    let told = |operation: &str, kind: &str, object: &Value, old: &Value| {
        let (refused, warnings) = judged(
            &review(operation, kind, object, old),
            Caches::holding([user.clone()]),
        );
        assert_eq!(refused, NOTHING);
        warnings
    };
    let warnings = told("DELETE", "MetricTemplate", &Value::Null, &template("t", "up"));
    assert!(
        warnings[0].starts_with("metadata.name: Canary shop.prod refers to it; "),
        "{warnings:?}"
    );
    assert!(told("DELETE", "MetricTemplate", &Value::Null, &template("u", "up")).is_empty());
    let warnings = told("DELETE", "AlertProvider", &Value::Null, &named("prod", "p"));
    assert!(
        warnings[0].contains("Canary shop.prod refers to it"),
        "{warnings:?}"
    );
    let wanting = template("t", r#"up{route="{{ variables.route }}"}"#);
    let warnings = told("UPDATE", "MetricTemplate", &wanting, &template("t", "up"));
    assert!(
        warnings[0].starts_with("spec.query: in shop.prod: MetricTemplate t.prod uses variables.route; "),
        "{warnings:?}"
    );
    let warnings = told("UPDATE", "MetricTemplate", &template("t", "up"), &wanting);
    assert!(
        !warnings.iter().any(|warning| warning.contains("shop.prod")),
        "{warnings:?}"
    );
}

#[test]
fn a_tool_that_keeps_the_target_or_the_service_is_named_with_its_remedy() {
    let kapp = json!({"metadata": {"labels": {"kapp.k14s.io/app": "1"}}});
    let mut apex = named("prod", "shop");
    json_patch::merge(
        &mut apex,
        &json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "spec": {"selector": {"app": "shop"}}}),
    );
    let around = [
        (Kind::DEPLOYMENT, deployment("shop", &kapp)),
        (Kind::SERVICE, apex),
    ];
    let (refused, warnings) = created(&canary("shop", &json!({})), Caches::holding(around));
    assert_eq!(refused, NOTHING);
    for (path, told) in [
        (
            "spec.targetRef: kapp reconciles the target",
            "path [spec, replicas], type copy, sources [existing, new]",
        ),
        (
            "spec.service.name: Argo CD reconciles Service shop",
            "add /spec/selector to the Application's ignoreDifferences",
        ),
    ] {
        assert!(
            warnings.iter().any(|warning| warning.starts_with(path)
                && warning.contains(told)
                && warning.chars().count() <= 256),
            "{path}: {warnings:#?}"
        );
    }
}
