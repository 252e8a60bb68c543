//! The process itself: killed at any moment, and taken out of the cluster. Played alone, after everything else.

use std::sync::Arc;

use serde_json::json;

use crate::scene::{Scene, image, is_parked};
use crate::stage::Stage;

/// `kill -9` in each phase of a release; the next process ends it as the last would have.
pub(crate) async fn killed(stage: &Arc<Stage>) {
    let scene = Scene::set(stage, "killed").await;
    scene.close("gate");
    let hooks = json!([
        scene.gate("confirm-rollout", "gate"),
        scene.gate("rollout", "load"),
        scene.gate("confirm-promotion", "promote"),
    ]);
    scene.apply(&scene.workload("Deployment", "podinfo")).await.good();
    let canary = scene.canary(
        "podinfo",
        &json!({"analysis": {"iterations": 3, "webhooks": hooks}}),
    );
    scene.apply(&canary).await.good();
    // While the primary is made.
    scene
        .until("deploy/podinfo-primary", "there", |object| {
            object["kind"] == "Deployment"
        })
        .await;
    restart(stage).await;
    scene.phase("podinfo", "Initialized").await;
    scene.until("deploy/podinfo", "parked", is_parked).await;
    // At a closed gate.
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.phase("podinfo", "Waiting").await;
    restart(stage).await;
    scene.close("promote");
    scene.open("gate");
    // Under analysis.
    scene
        .until("canary/podinfo", "under analysis", |object| {
            object["status"]["iterations"].as_i64() > Some(0)
        })
        .await;
    restart(stage).await;
    // Held before promotion.
    scene.phase("podinfo", "WaitingPromotion").await;
    stage.kill().await;
    scene.open("promote");
    stage.install().await;
    // As soon as anything of the promotion shows.
    scene
        .until("deploy/podinfo-primary", "rolling", |object| {
            image(object) == "podinfo:6.1.0"
        })
        .await;
    restart(stage).await;
    scene.ended("podinfo", generation, "Succeeded").await;
    let primary = scene.get("deploy/podinfo-primary").await;
    assert_eq!(
        primary["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2",
        "promoted once"
    );
    scene.until("deploy/podinfo", "parked", is_parked).await;
    let apex = scene.get("svc/podinfo").await;
    assert_eq!(apex["spec"]["selector"], json!({"app": "podinfo-primary"}));
    scene.clear().await;
}

async fn restart(stage: &Stage) {
    stage.kill().await;
    stage.install().await;
}

/// A clean exit takes the webhooks along: Canaries stay readable, writable and deletable without us.
pub(crate) async fn uninstalled(stage: &Arc<Stage>) {
    let scene = Scene::set(stage, "uninstalled").await;
    scene.begin(&json!({})).await;
    assert_eq!(stage.terminate().await, Some(0));
    for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
        let left = stage.kubectl(&["get", kind, "-o", "name"], "").await.good();
        assert!(!left.contains("verdigris"), "{left}");
    }
    let old = scene.kubectl(&["get", "canaries.v1alpha3.flagger.app"]).await;
    assert!(
        !old.ok,
        "v1alpha3 is not served without its converter: {}",
        old.out
    );
    let canary = scene.get("canary/podinfo").await;
    assert_eq!(canary["spec"]["analysis"]["iterations"], 2);
    scene
        .patch("canary/podinfo", &json!({"spec": {"suspend": true}}))
        .await;
    scene.delete("canary/podinfo").await;
    scene
        .kubectl(&["wait", "--for=delete", "deploy/podinfo-primary", "--timeout=60s"])
        .await
        .good();
    // After a crash the command does the same; after a clean exit it finds nothing to do.
    let again = stage.verdigris(&["uninstall"]).await;
    assert!(again.ok, "{}", again.err);
    scene.clear().await;
}
