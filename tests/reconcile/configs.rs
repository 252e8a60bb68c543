//! What was promoted is kept until what replaces it has proven itself.

use serde_json::{Value, json};
use verdigris::cluster::Kind;

use crate::world::{NAMESPACE, World};
use crate::{canary, image_of, workload};

async fn kept(world: &World, kind: Kind) -> Vec<Value> {
    let all = world
        .api
        .list(kind, NAMESPACE, "verdigris.dev/canary")
        .await
        .unwrap();
    all.into_iter()
        .filter(|object| {
            object
                .pointer("/metadata/annotations/verdigris.dev~1kept-of")
                .is_some()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_promotion_takes_back_template_and_configs() {
    let world = World::start().await;
    world
        .create(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"k": "1"}}),
        )
        .await;
    world
        .create(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": {"p": "b25l"}}),
        )
        .await;
    let volumes = json!({"volumes": [
        {"name": "a", "configMap": {"name": "app"}}, {"name": "b", "secret": {"secretName": "key"}},
    ]});
    world.create(workload("Deployment", "podinfo", &volumes)).await;
    // A canary that counts as ready although no pod of it is: the primary finds out.
    let analysis = json!({"interval": "100ms", "threshold": 1, "iterations": 1, "canaryReadyThreshold": 0});
    let spec = json!({"skipAnalysis": true, "analysis": analysis});
    world.create(canary("podinfo", &spec)).await;
    world.until_phase("podinfo", "Initialized").await;

    world
        .patch(
            "Canary",
            "podinfo",
            json!({"spec": {"suspend": true, "progressDeadlineSeconds": 2}}),
        )
        .await;
    world.patch("ConfigMap", "app", json!({"data": {"k": "2"}})).await;
    world.patch("Secret", "key", json!({"data": {"p": "dHdv"}})).await;
    world.image("Deployment", "podinfo", "podinfo:never-ready").await;
    world
        .patch("Canary", "podinfo", json!({"spec": {"suspend": false}}))
        .await;
    let failed = world.until_phase("podinfo", "Failed").await;
    assert_eq!(failed["status"]["lastFailure"]["reason"], "PromotionFailed");
    world
        .until("Deployment", "podinfo-primary", |object| {
            image_of(object) == "podinfo:1" && object["status"]["availableReplicas"] == 2
        })
        .await;
    assert_eq!(world.get("ConfigMap", "app-primary").await["data"]["k"], "1");
    assert_eq!(world.get("Secret", "key-primary").await["data"]["p"], "b25l");

    let patient = json!({"spec": {"progressDeadlineSeconds": 60}});
    world.patch("Canary", "podinfo", patient).await;

    // What replaces it proves itself: nothing of the old is kept any longer.
    world.image("Deployment", "podinfo", "podinfo:3").await;
    world.until_phase("podinfo", "Succeeded").await;
    assert_eq!(world.get("ConfigMap", "app-primary").await["data"]["k"], "2");
    assert_eq!(world.get("Secret", "key-primary").await["data"]["p"], "dHdv");
    for kind in [Kind::CONFIG_MAP, Kind::SECRET] {
        let kept = kept(&world, kind).await;
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept[0].get("data"), None);
    }
}
