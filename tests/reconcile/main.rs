//! The controller against the embedded cluster: outcomes, not calls.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::match_wild_err_arm,
    clippy::print_stdout,
    clippy::needless_pass_by_value,
    reason = "a test that cannot go on has failed; builders take what they build from"
)]

mod alerts;
mod configs;
mod contest;
mod fair;
mod kill;
mod leaders;
mod policies;
mod scalers;
mod takeover;
mod terminal;
mod world;

use serde_json::{Value, json};
use world::{NAMESPACE, World, stalled};

/// A condition of a Canary, if it has it.
fn condition<'a>(canary: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = canary["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// A Deployment or DaemonSet.
fn workload(kind: &str, name: &str, pod: &Value) -> Value {
    let mut spec = json!({
        "containers": [{"name": "app", "image": "podinfo:1", "ports": [{"name": "http", "containerPort": 9898}]}],
    });
    for (key, value) in pod.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    });
    if kind == "Deployment" {
        object["spec"]["replicas"] = json!(2);
    }
    object
}

fn deployment(name: &str) -> Value {
    workload("Deployment", name, &json!({}))
}

/// A Canary that judges nothing, with members of its spec replaced.
fn canary(name: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "progressDeadlineSeconds": 60,
            "service": {"port": 9898},
            "analysis": {"interval": "100ms", "threshold": 2, "iterations": 2},
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

/// An analysis with a query, a conformance test and load.
fn analysis(world: &World) -> Value {
    let hook = |kind: &str, name: &str| json!({"name": name, "type": kind, "url": format!("{}/hook/{name}", world.stub.url)});
    json!({
        "interval": "200ms", "threshold": 2, "iterations": 2,
        "metrics": [{
            "name": "errors", "interval": "1m", "thresholdRange": {"max": 5},
            "query": "sum(rate(errors_total[1m]))",
        }],
        "webhooks": [hook("pre-rollout", "acceptance"), hook("rollout", "load")],
    })
}

fn image_of(object: &Value) -> &str {
    object
        .pointer("/spec/template/spec/containers/0/image")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn is_parked(target: &Value) -> bool {
    target["spec"]["replicas"] == 0 || target.to_string().contains("flagger.app/scale-to-zero")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_goes_through_and_a_bad_one_comes_back() {
    let world = World::start().await;
    world.create(deployment("podinfo")).await;
    world
        .create(canary("podinfo", &json!({"analysis": analysis(&world)})))
        .await;
    world.until_phase("podinfo", "Initialized").await;
    world.until("Deployment", "podinfo", is_parked).await;
    let primary = world.get("Deployment", "podinfo-primary").await;
    assert_eq!(primary["status"]["availableReplicas"], 2);
    for (service, selects) in [
        ("podinfo", "podinfo-primary"),
        ("podinfo-primary", "podinfo-primary"),
        ("podinfo-canary", "podinfo"),
    ] {
        let service = world.get("Service", service).await;
        assert_eq!(service["spec"]["selector"], json!({"app": selects}));
    }

    world.image("Deployment", "podinfo", "podinfo:2").await;
    let promoted = world.until_phase("podinfo", "Succeeded").await;
    let primary = world.get("Deployment", "podinfo-primary").await;
    assert_eq!(image_of(&primary), "podinfo:2");
    world.until("Deployment", "podinfo", is_parked).await;
    assert_eq!(
        (world.stub.called("acceptance"), world.stub.called("load")),
        (1, 3),
        "Q-44"
    );
    assert_eq!(
        promoted["status"]["lastAppliedSpec"],
        promoted["status"]["lastPromotedSpec"]
    );

    world.stub.measure(50.0);
    world.image("Deployment", "podinfo", "podinfo:3").await;
    world.until_phase("podinfo", "Failed").await;
    let primary = world.get("Deployment", "podinfo-primary").await;
    assert_eq!(image_of(&primary), "podinfo:2");
    world.until("Deployment", "podinfo", is_parked).await;
    let apex = world.get("Service", "podinfo").await;
    assert_eq!(apex["spec"]["selector"], json!({"app": "podinfo-primary"}));
    let said = world.events("podinfo").await;
    assert!(
        said.contains_key("Halt podinfo.test advancement errors 50.00 > 5"),
        "{said:?}"
    );

    // Its template comes back from what was promoted, not from the target.
    world.delete("Deployment", "podinfo-primary").await;
    let rebuilt = world
        .until("Deployment", "podinfo-primary", |object| {
            object["status"]["availableReplicas"] == 2
                && object["metadata"]["uid"] != primary["metadata"]["uid"]
        })
        .await;
    assert_eq!(image_of(&rebuilt), "podinfo:2", "Q-06");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_ends_as_it_would_have() {
    let mut world = World::start().await;
    world.create(deployment("podinfo")).await;
    let mut analysis = analysis(&world);
    analysis["iterations"] = json!(4);
    world
        .create(canary("podinfo", &json!({"analysis": analysis})))
        .await;
    world.until_phase("podinfo", "Initialized").await;
    world.image("Deployment", "podinfo", "podinfo:2").await;
    for iteration in [1, 3] {
        world
            .until("Canary", "podinfo", |object| {
                object["status"]["iterations"].as_i64() >= Some(iteration)
                    || object["status"]["phase"] == "Succeeded"
            })
            .await;
        world.kill().await;
        world.control();
    }
    world.until_phase("podinfo", "Succeeded").await;
    let primary = world.get("Deployment", "podinfo-primary").await;
    assert_eq!(image_of(&primary), "podinfo:2");
    assert_eq!(
        primary["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2",
        "one ReplicaSet a promotion"
    );
    // A hook may be asked again when the kill fell before the status was written.
    let load = world.stub.called("load");
    assert!((5..=7).contains(&load), "{load}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_gate_holds_a_release() {
    let world = World::start().await;
    world.stub.close("gate");
    world.create(deployment("podinfo")).await;
    let gate =
        json!({"name": "gate", "type": "confirm-rollout", "url": format!("{}/hook/gate", world.stub.url)});
    let analysis = json!({"interval": "100ms", "threshold": 2, "iterations": 1, "webhooks": [gate]});
    world
        .create(canary("podinfo", &json!({"analysis": analysis})))
        .await;
    world.until_phase("podinfo", "Initialized").await;
    world.image("Deployment", "podinfo", "podinfo:2").await;
    world.until_phase("podinfo", "Waiting").await;
    assert!(is_parked(&world.get("Deployment", "podinfo").await));
    world.stub.open("gate");
    world.until_phase("podinfo", "Succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs_are_judged_copied_and_promoted() {
    let world = World::start().await;
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"},
        "data": {"k": "1"}, "binaryData": {"b": "AAEC"},
    });
    world.create(config).await;
    world
        .create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "immutable": true, "data": {"p": "b25l"}}))
        .await;
    let volumes = json!({"volumes": [
        {"name": "a", "configMap": {"name": "app"}},
        {"name": "b", "secret": {"secretName": "key"}},
        {"name": "c", "configMap": {"name": "absent", "optional": true}},
    ]});
    world.create(workload("Deployment", "podinfo", &volumes)).await;
    world
        .create(canary("podinfo", &json!({"skipAnalysis": true})))
        .await;
    let initialized = world.until_phase("podinfo", "Initialized").await;
    let tracked = initialized["status"]["trackedConfigs"].as_object().unwrap();
    assert_eq!(
        tracked.keys().collect::<Vec<_>>(),
        ["configmap/app", "secret/key"]
    );
    let primary = world.get("Deployment", "podinfo-primary").await;
    let volumes = &primary["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[0]["configMap"]["name"], "app-primary");
    assert_eq!(volumes[1]["secret"]["secretName"], "key-primary");
    assert_eq!(volumes[2]["configMap"]["name"], "absent");
    let copy = world.get("ConfigMap", "app-primary").await;
    assert_eq!(
        (&copy["data"], &copy["binaryData"]),
        (&json!({"k": "1"}), &json!({"b": "AAEC"})),
        "Q-16"
    );
    assert!(
        world
            .get("Secret", "key-primary")
            .await
            .get("immutable")
            .is_none()
    );

    // A change of content alone is a revision, and reaches the copy with the promotion.
    world.patch("ConfigMap", "app", json!({"data": {"k": "2"}})).await;
    world.until_phase("podinfo", "Progressing").await;
    assert_eq!(world.get("ConfigMap", "app-primary").await["data"]["k"], "1");
    world.until_phase("podinfo", "Succeeded").await;
    assert_eq!(world.get("ConfigMap", "app-primary").await["data"]["k"], "2");
    let rolled = world.get("Deployment", "podinfo-primary").await;
    assert_ne!(
        rolled["spec"]["template"], primary["spec"]["template"],
        "its pods are new"
    );

    // One that is missing is told, and a Secret of another type is copied all the same, for those who let it be.
    world.grant("components/replace-secrets/rbac.yaml").await;
    world.delete("Secret", "key").await;
    let message = world.until_stalled("podinfo", "ConfigNotFound").await;
    assert!(message.contains("Secret key"), "{message}");
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "kubernetes.io/basic-auth",
            "data": {"username": "dQ==", "password": "cA=="},
        }))
        .await;
    world
        .until("Secret", "key-primary", |object| {
            object["type"] == "kubernetes.io/basic-auth"
        })
        .await;
    world.until_phase("podinfo", "Succeeded").await;

    // Opting out: the next promotion points the primary at the original.
    let annotation = json!({"metadata": {"annotations": {"flagger.app/config-tracking": "disabled"}}});
    world.patch("ConfigMap", "app", annotation).await;
    world
        .until("Deployment", "podinfo-primary", |object| {
            object["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] == "app"
        })
        .await;
    world
        .until("Canary", "podinfo", |object| {
            object["status"]["phase"] == "Succeeded"
                && object["status"]["trackedConfigs"]
                    .as_object()
                    .map(serde_json::Map::len)
                    == Some(1)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_canaries_have_copies_of_their_own_and_nobodys_object_is_taken() {
    let world = World::start().await;
    let config = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}});
    let reads = |name: &str| json!({"volumes": [{"name": "a", "configMap": {"name": name}}]});
    world.create(config("shared")).await;
    for name in ["one", "two"] {
        world.create(workload("Deployment", name, &reads("shared"))).await;
        world.create(canary(name, &json!({"skipAnalysis": true}))).await;
        world.until_phase(name, "Initialized").await;
    }
    for (primary, copy) in [
        ("one-primary", "shared-primary"),
        ("two-primary", "shared-two-primary"),
    ] {
        let primary = world.get("Deployment", primary).await;
        assert_eq!(
            primary["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"],
            copy
        );
    }

    world.create(config("mine")).await;
    let precious = world.create(config("mine-primary")).await;
    world
        .create(workload("Deployment", "three", &reads("mine")))
        .await;
    world
        .create(canary("three", &json!({"skipAnalysis": true})))
        .await;
    let message = world.until_stalled("three", "Blocked").await;
    assert!(message.contains("mine-primary"), "{message}");
    assert_eq!(world.get("ConfigMap", "mine-primary").await, precious);
    assert_eq!(world.events("three").await.get(&message), Some(&1), "told once");
    world.delete("ConfigMap", "mine-primary").await;
    let initialized = world.until_phase("three", "Initialized").await;
    assert_eq!(stalled(&initialized), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_set_is_released() {
    let world = World::start().await;
    world.create(workload("DaemonSet", "agent", &json!({}))).await;
    let target = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent"});
    let spec = json!({"targetRef": target, "skipAnalysis": true});
    world.create(canary("agent", &spec)).await;
    world.until_phase("agent", "Initialized").await;
    world.until("DaemonSet", "agent", is_parked).await;
    let primary = world.get("DaemonSet", "agent-primary").await;
    assert!(!is_parked(&primary), "Q-15");
    assert!(primary["status"]["numberAvailable"].as_i64() > Some(0));

    world.image("DaemonSet", "agent", "podinfo:2").await;
    world.until_phase("agent", "Succeeded").await;
    assert_eq!(
        image_of(&world.get("DaemonSet", "agent-primary").await),
        "podinfo:2"
    );
    world.until("DaemonSet", "agent", is_parked).await;

    world
        .patch(
            "DaemonSet",
            "agent",
            json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
        )
        .await;
    let message = world.until_stalled("agent", "UpdateStrategyNotSupported").await;
    assert!(message.contains("OnDelete"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_service_is_released_and_never_written() {
    let world = World::start().await;
    let service = world
        .create(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
            "spec": {"selector": {"app": "shop", "version": "1"}, "ports": [{"name": "http", "port": 80}]},
        }))
        .await;
    let target = json!({"apiVersion": "v1", "kind": "Service", "name": "shop"});
    let spec = json!({"targetRef": target, "skipAnalysis": true});
    world.create(canary("shop", &spec)).await;
    world.until_phase("shop", "Initialized").await;
    assert_eq!(world.get("Service", "shop").await, service);
    world
        .patch("Service", "shop", json!({"spec": {"selector": {"version": "2"}}}))
        .await;
    world.until_phase("shop", "Succeeded").await;
    for name in ["shop-canary", "shop-primary"] {
        let copy = world.get("Service", name).await;
        assert_eq!(copy["spec"]["selector"]["version"], "2");
        assert_ne!(copy["spec"]["clusterIP"], service["spec"]["clusterIP"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_is_copied_once_it_scales_the_target() {
    let world = World::start().await;
    world.create(deployment("api")).await;
    let reference = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "api",
        "primaryScalerReplicas": {"minReplicas": 3},
    });
    let spec = json!({"autoscalerRef": reference, "skipAnalysis": true, "revertOnDeletion": true});
    world.create(canary("api", &spec)).await;
    world.until_stalled("api", "AutoscalerNotFound").await;
    world
        .create(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "elsewhere"},
                "minReplicas": 2, "maxReplicas": 4,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
            },
        }))
        .await;
    world.until_stalled("api", "AutoscalerMismatch").await;
    let said = world.events("api").await;
    assert!(said.values().all(|count| *count == 1), "{said:?}");
    world
        .patch(
            "HorizontalPodAutoscaler",
            "api",
            json!({"spec": {"scaleTargetRef": {"name": "api"}}}),
        )
        .await;
    world.until_phase("api", "Initialized").await;
    let copy = world.get("HorizontalPodAutoscaler", "api-primary").await;
    assert_eq!(copy["spec"]["scaleTargetRef"]["name"], "api-primary");
    assert_eq!(
        (&copy["spec"]["minReplicas"], &copy["spec"]["maxReplicas"]),
        (&json!(3), &json!(4))
    );

    world
        .patch(
            "HorizontalPodAutoscaler",
            "api",
            json!({"spec": {"maxReplicas": 9}}),
        )
        .await;
    world
        .until("HorizontalPodAutoscaler", "api-primary", |object| {
            object["spec"]["maxReplicas"] == 9
        })
        .await;
    world.delete("HorizontalPodAutoscaler", "api-primary").await;
    world
        .until("HorizontalPodAutoscaler", "api-primary", |object| {
            !object.is_null()
        })
        .await;

    // Its absence holds up no deletion, and the target gets its pods back.
    world.delete("HorizontalPodAutoscaler", "api").await;
    world.until_stalled("api", "AutoscalerNotFound").await;
    world.delete("Canary", "api").await;
    world.until("Canary", "api", Value::is_null).await;
    let target = world.get("Deployment", "api").await;
    assert!(!is_parked(&target));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stable_canary_costs_nothing() {
    let world = World::start().await;
    world
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "quiet"}, "data": {"k": "v"}}))
        .await;
    let reads = json!({"volumes": [{"name": "a", "configMap": {"name": "quiet"}}]});
    world.create(workload("Deployment", "quiet", &reads)).await;
    world
        .create(canary("quiet", &json!({"skipAnalysis": true})))
        .await;
    world.create(deployment("busy")).await;
    world.create(canary("busy", &json!({"skipAnalysis": true}))).await;
    world.until_phase("quiet", "Initialized").await;
    world.until_phase("busy", "Initialized").await;
    world
        .until("Deployment", "quiet", |object| {
            is_parked(object) && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await;
    // A whole release of the other, so that everything about this one has been seen.
    world.image("Deployment", "busy", "podinfo:2").await;
    world.until_phase("busy", "Succeeded").await;

    let before = world.calls().len();
    // Its objects change in ways that mean nothing.
    for kind in ["Deployment", "Service"] {
        let annotation = json!({"metadata": {"annotations": {"example.com/seen": kind}}});
        world
            .patch(kind, if kind == "Service" { "busy" } else { "quiet" }, annotation)
            .await;
    }
    world
        .patch(
            "ConfigMap",
            "quiet-primary",
            json!({"metadata": {"labels": {"x": "y"}}}),
        )
        .await;
    world.image("Deployment", "busy", "podinfo:3").await;
    world
        .until("Deployment", "busy-primary", |object| {
            image_of(object) == "podinfo:3"
        })
        .await;
    world.until_phase("busy", "Succeeded").await;
    let calls = world.calls().split_off(before);
    let quiet: Vec<&String> = calls.iter().filter(|call| call.contains("quiet")).collect();
    assert!(quiet.is_empty(), "{quiet:#?}");
    assert!(
        calls.iter().any(|call| call.contains("busy")),
        "calls are counted: {calls:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_is_told_and_left_alone() {
    let world = World::start().await;
    // No target yet.
    world.create(canary("late", &json!({"skipAnalysis": true}))).await;
    world.until_stalled("late", "TargetNotFound").await;
    world.create(deployment("late")).await;
    let initialized = world.until_phase("late", "Initialized").await;
    assert_eq!(stalled(&initialized), None);

    // A second Canary for the same target waits for the first to go.
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "late"});
    let service = json!({"port": 9898, "name": "later"});
    let spec = json!({"targetRef": target, "service": service, "skipAnalysis": true});
    world.create(canary("zz-younger", &spec)).await;
    let message = world.until_stalled("zz-younger", "TargetTaken").await;
    assert!(message.contains("Canary late"), "{message}");
    world.delete("Canary", "late").await;
    world.until_phase("zz-younger", "Initialized").await;

    // Somebody's own primary and Service.
    world.create(deployment("own")).await;
    let mine = world.create(deployment("own-primary")).await;
    world.create(canary("own", &json!({"skipAnalysis": true}))).await;
    world.until_stalled("own", "ForeignPrimary").await;
    let now = world.get("Deployment", "own-primary").await;
    assert_eq!(
        (&now["spec"], &now["metadata"]["labels"]),
        (&mine["spec"], &mine["metadata"]["labels"])
    );
    let owner =
        json!([{"apiVersion": "example.com/v1", "kind": "App", "name": "x", "uid": "u", "controller": true}]);
    world.create(deployment("taken")).await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken", "ownerReferences": owner},
            "spec": {"selector": {"app": "taken"}, "ports": [{"port": 80}]},
        }))
        .await;
    world
        .create(canary("taken", &json!({"skipAnalysis": true})))
        .await;
    let message = world.until_stalled("taken", "ServiceOwned").await;
    assert!(message.contains("App x"), "{message}");
    assert!(world.find("Deployment", "taken-primary").await.is_none());
    assert_eq!(
        world.get("Service", "taken").await["spec"]["selector"],
        json!({"app": "taken"})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_nobody_is_adopted_kept_and_given_back() {
    let world = World::start().await;
    world.create(deployment("shop")).await;
    let applied = json!({"spec": {"selector": {"app": "shop", "tier": "web"}}}).to_string();
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "shop", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}},
            "spec": {"selector": {"app": "shop", "tier": "web"}, "ports": [{"port": 8443}]},
        }))
        .await;
    let spec = json!({"skipAnalysis": true, "revertOnDeletion": true});
    world.create(canary("shop", &spec)).await;
    world.until_phase("shop", "Initialized").await;
    let adopted = world.get("Service", "shop").await;
    assert_eq!(adopted["spec"]["selector"], json!({"app": "shop-primary"}));
    let ports: Vec<(&Value, &Value)> = adopted["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| (&port["name"], &port["port"]))
        .collect();
    assert_eq!(
        ports,
        [(&json!("http"), &json!(9898)), (&json!("tcp-8443"), &json!(8443))]
    );
    assert_eq!(
        adopted["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"], applied,
        "what caches leave out survives a write"
    );

    world
        .patch("Service", "shop", json!({"spec": {"selector": {"app": "shop"}}}))
        .await;
    world
        .until("Service", "shop", |object| {
            object["spec"]["selector"] == json!({"app": "shop-primary"})
        })
        .await;
    world.delete("Canary", "shop").await;
    world.until("Canary", "shop", Value::is_null).await;
    let back = world.get("Service", "shop").await;
    assert_eq!(back["spec"]["selector"], json!({"app": "shop", "tier": "web"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_server_refuses_is_told_once_and_mended_at_once() {
    let world = World::start().await;
    // Its primary's label value has 68 characters.
    let long = "a".repeat(60);
    let mut target = deployment("podinfo");
    target["spec"]["selector"]["matchLabels"]["app"] = json!(long);
    target["spec"]["template"]["metadata"]["labels"]["app"] = json!(long);
    world.create(target).await;
    world
        .create(canary("podinfo", &json!({"skipAnalysis": true})))
        .await;
    let message = world.until_stalled("podinfo", "ReconcileError").await;
    assert!(
        message.contains("podinfo-primary") && message.contains(&long),
        "{message}"
    );
    let said = world.events("podinfo").await;
    let refused: Vec<&i64> = said
        .iter()
        .filter(|(text, _)| text.contains(&long))
        .map(|(_, count)| count)
        .collect();
    assert_eq!(refused, [&1], "{said:?}");

    world.delete("Deployment", "podinfo").await;
    world.until_stalled("podinfo", "TargetNotFound").await;
    world.create(deployment("podinfo")).await;
    world.until_phase("podinfo", "Initialized").await;
}

/// What Flagger leaves behind: a promoted Canary, its primary, its copy of a config (without binaryData).
async fn left_by_flagger(world: &World, name: &str, target_image: &str) -> Value {
    let reads = json!({"volumes": [{"name": "a", "configMap": {"name": "app"}}]});
    let copies = json!({"volumes": [{"name": "a", "configMap": {"name": "app-primary"}}]});
    let mut target = workload("Deployment", name, &reads);
    target["spec"]["replicas"] = json!(0);
    target["spec"]["template"]["spec"]["containers"][0]["image"] = json!(target_image);
    world.create(target).await;
    let canary = world.create(canary(name, &json!({"skipAnalysis": true}))).await;
    let owner = json!([{
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": name, "uid": canary["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }]);
    let mut primary = workload("Deployment", &format!("{name}-primary"), &copies);
    primary["metadata"]["ownerReferences"] = owner.clone();
    primary["spec"]["template"]["metadata"]["annotations"] =
        json!({"flagger-id": "e4ed1a11-6b3c-4d40-9c3b-000000000000"});
    world.create(primary).await;
    if world.find("ConfigMap", "app").await.is_none() {
        let mut config = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"},
            "data": {"k": "1"}, "binaryData": {"b": "AAEC"},
        });
        world.create(config.clone()).await;
        config["metadata"] = json!({"name": "app-primary", "ownerReferences": owner});
        config.as_object_mut().unwrap().remove("binaryData");
        world.create(config).await;
    }
    let status = json!({"status": {
        "phase": "Succeeded", "failedChecks": 0, "canaryWeight": 0, "iterations": 0,
        "lastAppliedSpec": "7895f9d5b", "lastPromotedSpec": "7895f9d5b", "lastTransitionTime": "2026-01-02T03:04:05Z",
        "trackedConfigs": {"configmap/app": "0123456789abcdef"}, "conditions": [],
    }});
    world
        .api
        .merge_status(verdigris::cluster::Kind::CANARY, NAMESPACE, name, &status)
        .await
        .unwrap();
    world
        .until("Deployment", &format!("{name}-primary"), |object| {
            object["status"]["availableReplicas"] == 2
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_from_flagger_starts_no_run_and_swallows_no_release() {
    let mut world = World::new().await;
    let stable = left_by_flagger(&world, "stable", "podinfo:1").await;
    left_by_flagger(&world, "moved", "podinfo:2").await;
    world.control();
    world
        .until("Deployment", "moved-primary", |object| {
            image_of(object) == "podinfo:2"
        })
        .await;
    world.until_phase("moved", "Succeeded").await;
    let adopted = world
        .until("Canary", "stable", |object| {
            object["status"]["lastPromotedSpec"]
                .as_str()
                .is_some_and(|hash| hash.starts_with("v1:"))
        })
        .await;
    assert_eq!(adopted["status"]["phase"], "Succeeded");
    let now = world.get("Deployment", "stable-primary").await;
    assert_eq!(
        now["metadata"]["generation"], stable["metadata"]["generation"],
        "not rolled"
    );
    let said = world.events("stable").await;
    assert!(!said.keys().any(|text| text.contains("New revision")), "{said:?}");

    world.image("Deployment", "stable", "podinfo:5").await;
    world
        .until("Deployment", "stable-primary", |object| {
            image_of(object) == "podinfo:5"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_flagger_is_alive_nothing_is_done() {
    let mut world = World::new().await;
    let now = jiff::Timestamp::from_second(4_000_000_000).unwrap().to_string();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "flagger-leader-election", "namespace": "kube-system"},
        "spec": {"holderIdentity": "flagger-0", "leaseDurationSeconds": 15, "renewTime": now.replace('Z', ".000000Z")},
    });
    world
        .api
        .create(verdigris::cluster::Kind::LEASE, &lease)
        .await
        .unwrap();
    world.create(deployment("podinfo")).await;
    world
        .create(canary("podinfo", &json!({"skipAnalysis": true})))
        .await;
    world.control();
    let message = world.until_stalled("podinfo", "FlaggerActive").await;
    assert!(message.contains("flagger-0"), "{message}");
    assert!(world.find("Deployment", "podinfo-primary").await.is_none());
    let revisions = world
        .api
        .list(verdigris::cluster::Kind::CONTROLLER_REVISION, NAMESPACE, "")
        .await
        .unwrap();
    assert!(revisions.is_empty(), "{revisions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tracking_configs_are_left_alone() {
    let mut world = World::new().await;
    world.tracking = false;
    world.control();
    let reads = json!({"volumes": [{"name": "a", "configMap": {"name": "app"}}]});
    world
        .create(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"k": "v"}}),
        )
        .await;
    world.create(workload("Deployment", "podinfo", &reads)).await;
    world
        .create(canary("podinfo", &json!({"skipAnalysis": true})))
        .await;
    let initialized = world.until_phase("podinfo", "Initialized").await;
    assert!(initialized["status"].get("trackedConfigs").is_none());
    let primary = world.get("Deployment", "podinfo-primary").await;
    assert_eq!(
        primary["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"],
        "app"
    );
    assert!(world.find("ConfigMap", "app-primary").await.is_none());
}
