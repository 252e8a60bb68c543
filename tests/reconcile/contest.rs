//! Objects that another program keeps re-applying.

use serde_json::{Value, json};

use crate::world::World;
use crate::{canary, condition, deployment, is_parked};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kapp_re_applies_is_put_right_and_said() {
    let world = World::start().await;
    let labels = json!({"kapp.k14s.io/app": "1700000000", "app": "shop"});
    let mut target = deployment("shop");
    target["metadata"]["labels"] = labels.clone();
    world.create(target).await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "labels": labels},
            "spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 9898}]},
        }))
        .await;
    world.create(canary("shop", &json!({"skipAnalysis": true}))).await;
    let initialized = world.until_phase("shop", "Initialized").await;
    assert_eq!(
        condition(&initialized, "Contested"),
        None,
        "taking over is no contest"
    );
    world.until("Deployment", "shop", is_parked).await;

    world
        .patch_as(
            "kapp",
            "Service",
            "shop",
            json!({"spec": {"selector": {"app": "shop"}}}),
        )
        .await;
    world
        .until("Service", "shop", |object| {
            object["spec"]["selector"] == json!({"app": "shop-primary"})
        })
        .await;
    let told = world
        .until("Canary", "shop", |object| {
            condition(object, "Contested").is_some()
        })
        .await;
    let contested = condition(&told, "Contested").unwrap();
    assert_eq!(contested["reason"], "Kapp");
    let message = contested["message"].as_str().unwrap();
    for part in [
        "Service shop.test: spec.selector is app=shop, set by kapp",
        "expected app=shop-primary",
        "rebaseRule: path [spec, selector]",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(told["status"]["contest"]["corrections"], 1);

    // Its replicas, too: after the pause.
    world
        .patch_as("kapp", "Deployment", "shop", json!({"spec": {"replicas": 2}}))
        .await;
    world.until("Deployment", "shop", is_parked).await;
    world
        .until("Canary", "shop", |object| {
            object["status"]["contest"]["corrections"] == 2
        })
        .await;
    let said = world.events("shop").await;
    let contested: Vec<&String> = said.keys().filter(|text| text.contains("meanwhile")).collect();
    assert_eq!(contested.len(), 2, "{said:?}");
    assert!(
        contested
            .iter()
            .any(|text| text.contains("meanwhile clients reach nobody")),
        "{contested:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_scales_a_parked_target_is_left_alone_and_said() {
    let world = World::start().await;
    world.create(deployment("shop")).await;
    world.create(canary("shop", &json!({"skipAnalysis": true}))).await;
    world.until_phase("shop", "Initialized").await;
    world.until("Deployment", "shop", is_parked).await;
    world.scale_as("kubectl", "shop", 1).await;
    let told = world
        .until("Canary", "shop", |object| {
            condition(object, "Contested").is_some()
        })
        .await;
    let message = condition(&told, "Contested").unwrap()["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("set by kubectl"), "{message}");
    let target: Value = world.get("Deployment", "shop").await;
    assert_eq!(target["spec"]["replicas"], 1);
}
