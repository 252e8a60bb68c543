//! Autoscalers: KEDA's, and those that a Canary names no more.

use serde_json::{Value, json};

use crate::world::World;
use crate::{canary, deployment, is_parked};

const PAUSED: &str = "/metadata/annotations/autoscaling.keda.sh~1paused-replicas";

fn scaled_object(name: &str) -> Value {
    json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name}, "minReplicaCount": 2, "maxReplicaCount": 5,
            "triggers": [{"type": "prometheus", "metadata": {"query": format!("sum(rate(x{{app=\"{name}\"}}[1m]))")}}],
        },
    })
}

fn keda(name: &str) -> Value {
    json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": name})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keda_is_paused_while_the_target_is_parked_and_its_copy_scales_the_primary() {
    let mut world = World::new().await;
    world.define_keda().await;
    world.control();
    world.create(deployment("shop")).await;
    world.create(scaled_object("shop")).await;
    world
        .create(canary(
            "shop",
            &json!({"skipAnalysis": true, "autoscalerRef": keda("shop")}),
        ))
        .await;
    world.until_phase("shop", "Initialized").await;
    world.until("Deployment", "shop", is_parked).await;
    let paused = world.get("ScaledObject", "shop").await;
    assert_eq!(paused.pointer(PAUSED), Some(&json!("0")));
    let copy = world.get("ScaledObject", "shop-primary").await;
    assert_eq!(copy["spec"]["scaleTargetRef"]["name"], "shop-primary");
    assert_eq!(
        copy["spec"]["triggers"][0]["metadata"]["query"],
        "sum(rate(x{app=\"shop-primary\"}[1m]))"
    );
    assert_eq!(copy.pointer(PAUSED), None, "Q-17");

    world.stub.close("gate");
    let gate =
        json!({"name": "gate", "type": "confirm-promotion", "url": format!("{}/hook/gate", world.stub.url)});
    let analysis = json!({"interval": "100ms", "threshold": 2, "iterations": 1, "webhooks": [gate]});
    world
        .patch(
            "Canary",
            "shop",
            json!({"spec": {"skipAnalysis": false, "analysis": analysis}}),
        )
        .await;
    world.image("Deployment", "shop", "podinfo:2").await;
    world.until_phase("shop", "WaitingPromotion").await;
    let running = world.get("ScaledObject", "shop").await;
    assert_eq!(running.pointer(PAUSED), None);
    let target = world.get("Deployment", "shop").await;
    assert_eq!(target["spec"]["replicas"], 2, "its autoscaler's minimum");
    world.stub.open("gate");
    world.until_phase("shop", "Succeeded").await;
    let paused = world
        .until("ScaledObject", "shop", |object| object.pointer(PAUSED).is_some())
        .await;
    assert_eq!(paused.pointer(PAUSED), Some(&json!("0")));

    // An edit of the user's reaches the copy without a release.
    world
        .patch("ScaledObject", "shop", json!({"spec": {"maxReplicaCount": 9}}))
        .await;
    world
        .until("ScaledObject", "shop-primary", |object| {
            object["spec"]["maxReplicaCount"] == 9
        })
        .await;

    // Named no more: the copy goes, and what we left on the user's own is taken back.
    world
        .patch("Canary", "shop", json!({"spec": {"autoscalerRef": null}}))
        .await;
    world.until("ScaledObject", "shop-primary", Value::is_null).await;
    let theirs = world.get("ScaledObject", "shop").await;
    assert_eq!(theirs.pointer(PAUSED), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_of_another_kind_replaces_the_copy() {
    let mut world = World::new().await;
    world.define_keda().await;
    world.control();
    world.create(deployment("shop")).await;
    world
        .create(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "shop"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
                "minReplicas": 2, "maxReplicas": 4,
            },
        }))
        .await;
    let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "shop"});
    world
        .create(canary(
            "shop",
            &json!({"skipAnalysis": true, "autoscalerRef": hpa}),
        ))
        .await;
    world.until_phase("shop", "Initialized").await;
    world.get("HorizontalPodAutoscaler", "shop-primary").await;
    world.create(scaled_object("shop")).await;
    world
        .patch("Canary", "shop", json!({"spec": {"autoscalerRef": keda("shop")}}))
        .await;
    world
        .until("HorizontalPodAutoscaler", "shop-primary", Value::is_null)
        .await;
    world
        .until("ScaledObject", "shop-primary", |object| !object.is_null())
        .await;
    assert!(
        world.find("HorizontalPodAutoscaler", "shop").await.is_some(),
        "the user's own stays"
    );
}
