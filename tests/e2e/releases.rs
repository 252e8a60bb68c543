//! Ways a run goes: rolled back, restarted, held, skipped, and Flagger's rules of when a revision is judged again
//! (L1 to L4, which upstream plays on an ingress controller only).

use serde_json::json;

use crate::scene::{Scene, condition, image, is_parked};

/// L1 to L4.
pub(crate) async fn retries(scene: Scene) {
    scene.begin(&json!({})).await;
    let primary = scene.get("deploy/podinfo-primary").await;
    let replica_set = |object: &serde_json::Value| {
        object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone()
    };
    // L1: a version that answers with errors.
    scene.measure(50.0);
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    let failed = scene.ended("podinfo", generation, "Failed").await;
    assert_eq!(condition(&failed, "Promoted").unwrap()["status"], "False");
    scene.until("deploy/podinfo", "parked", is_parked).await;
    let id = format!("podinfo.{}", scene.namespace);
    scene
        .says("podinfo", &format!("Halt {id} advancement errors 50.00 > 5"))
        .await;
    scene
        .says(
            "podinfo",
            &format!("Rolling back {id} failed checks threshold reached 2"),
        )
        .await;
    scene
        .says("podinfo", &format!("Canary failed! Scaling down {id}"))
        .await;
    // L2: the primary's image again starts nothing, and the primary is not rolled.
    scene
        .image("deploy/podinfo", "ghcr.io/stefanprodan/podinfo:6.0.0")
        .await;
    let applied = failed["status"]["lastAppliedSpec"].clone();
    let still = scene
        .until("canary/podinfo", "aware of the old revision", |object| {
            object["status"]["lastAppliedSpec"] != applied
        })
        .await;
    assert_eq!(still["status"]["phase"], "Failed");
    assert!(is_parked(&scene.get("deploy/podinfo").await));
    let now = scene.get("deploy/podinfo-primary").await;
    assert_eq!(
        (&now["spec"]["template"], replica_set(&now)),
        (&primary["spec"]["template"], replica_set(&primary))
    );
    // L3: the failed image again is judged again.
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.ended("podinfo", generation, "Failed").await;
    // L4: the cause is gone, and an annotation of the pods makes a new revision.
    scene.measure(1.0);
    let annotation = json!({"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}});
    scene.patch("deploy/podinfo", &annotation).await;
    scene.phase("podinfo", "Succeeded").await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.1.0");
}

/// A version that never becomes ready is taken back at its deadline; production does not notice.
pub(crate) async fn bad_image(scene: Scene) {
    scene.begin(&json!({"progressDeadlineSeconds": 5})).await;
    let generation = scene.image("deploy/podinfo", "podinfo:never-ready").await;
    scene.ended("podinfo", generation, "Failed").await;
    scene.says("podinfo", "not ready").await;
    scene.says("podinfo", "exceeded its progress deadline").await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.0.0");
    scene.until("deploy/podinfo", "parked", is_parked).await;
    assert!(
        scene.calls("acceptance").is_empty(),
        "an unready version is not tested"
    );
}

/// A newer revision in mid-run starts the run over, conformance tests included; only the newer one is promoted.
pub(crate) async fn newer_revision(scene: Scene) {
    scene.begin(&json!({"analysis": {"iterations": 3}})).await;
    scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene
        .until("canary/podinfo", "under analysis", |object| {
            object["status"]["iterations"].as_i64() > Some(0)
        })
        .await;
    let generation = scene.image("deploy/podinfo", "podinfo:6.2.0").await;
    scene.ended("podinfo", generation, "Succeeded").await;
    let id = format!("podinfo.{}", scene.namespace);
    scene
        .says(
            "podinfo",
            &format!("New revision detected! Restarting analysis for {id}"),
        )
        .await;
    let primary = scene.get("deploy/podinfo-primary").await;
    assert_eq!(image(&primary), "podinfo:6.2.0");
    assert_eq!(
        primary["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    assert_eq!(scene.calls("acceptance").len(), 2);
}

/// A closed confirm-rollout gate starts nothing; a rollback hook is asked meanwhile.
pub(crate) async fn rollout_gate(scene: Scene) {
    scene.close("gate");
    let hooks = json!([scene.gate("confirm-rollout", "gate")]);
    scene.begin(&json!({"analysis": {"webhooks": hooks}})).await;
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    let waiting = scene.phase("podinfo", "Waiting").await;
    assert_eq!(condition(&waiting, "Promoted").unwrap()["status"], "Unknown");
    let id = format!("podinfo.{}", scene.namespace);
    scene
        .says(
            "podinfo",
            &format!("Halt {id} advancement waiting for approval gate"),
        )
        .await;
    assert!(is_parked(&scene.get("deploy/podinfo").await));
    scene.open("gate");
    scene.ended("podinfo", generation, "Succeeded").await;
    scene.says("podinfo", "Confirm-rollout check gate passed").await;
}

/// A closed confirm-promotion gate holds a run that has passed; checks go on, and can still roll back.
pub(crate) async fn promotion_gate(scene: Scene) {
    scene.close("gate");
    let hooks = json!([
        scene.gate("confirm-promotion", "gate"),
        scene.gate("rollout", "load")
    ]);
    scene.begin(&json!({"analysis": {"webhooks": hooks}})).await;
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.phase("podinfo", "WaitingPromotion").await;
    let asked = scene.calls("load").len();
    scene
        .until("canary/podinfo", "checked again", |_| {
            scene.calls("load").len() > asked + 1
        })
        .await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.0.0");
    scene.open("gate");
    scene.ended("podinfo", generation, "Succeeded").await;
    scene.says("podinfo", "Confirm-promotion check gate passed").await;

    scene.close("gate");
    let generation = scene.image("deploy/podinfo", "podinfo:6.2.0").await;
    scene.phase("podinfo", "WaitingPromotion").await;
    scene.measure(50.0);
    scene.ended("podinfo", generation, "Failed").await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.1.0");
}

/// A rollback hook that says so ends the run.
pub(crate) async fn rollback_hook(scene: Scene) {
    scene.close("rollback");
    let hooks = json!([scene.gate("rollback", "rollback")]);
    scene
        .begin(&json!({"analysis": {"iterations": 50, "webhooks": hooks}}))
        .await;
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene
        .until("canary/podinfo", "under analysis", |object| {
            object["status"]["iterations"].as_i64() > Some(0)
        })
        .await;
    scene.open("rollback");
    scene.ended("podinfo", generation, "Failed").await;
    let id = format!("podinfo.{}", scene.namespace);
    scene.says("podinfo", "Rollback check rollback passed").await;
    scene
        .says("podinfo", &format!("Rolling back {id} manual webhook invoked"))
        .await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.0.0");
    scene.until("deploy/podinfo", "parked", is_parked).await;
}

/// A suspended Canary does nothing, and goes on where it is.
pub(crate) async fn suspended(scene: Scene) {
    scene.begin(&json!({})).await;
    scene
        .patch("canary/podinfo", &json!({"spec": {"suspend": true}}))
        .await;
    scene
        .says("podinfo", "skipping canary run as object is suspended")
        .await;
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    // Another Canary, released meanwhile, shows that time has passed.
    scene.apply(&scene.workload("Deployment", "other")).await.good();
    scene.apply(&scene.canary("other", &json!({}))).await.good();
    scene.phase("other", "Initialized").await;
    let other = scene.image("deploy/other", "podinfo:6.1.0").await;
    scene.ended("other", other, "Succeeded").await;
    assert_eq!(
        scene.get("canary/podinfo").await["status"]["phase"],
        "Initialized"
    );
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.0.0");
    scene
        .patch("canary/podinfo", &json!({"spec": {"suspend": false}}))
        .await;
    scene.ended("podinfo", generation, "Succeeded").await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.1.0");
}

/// Without analysis a ready version is promoted, an unready one is not, and no hook of the analysis is called.
pub(crate) async fn skipped_analysis(scene: Scene) {
    scene.measure(50.0);
    scene
        .begin(&json!({"skipAnalysis": true, "progressDeadlineSeconds": 5}))
        .await;
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.ended("podinfo", generation, "Succeeded").await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.1.0");
    assert!(scene.calls("acceptance").is_empty() && scene.calls("load").is_empty());
    scene.says("podinfo", "Canary analysis was skipped").await;
    let generation = scene.image("deploy/podinfo", "podinfo:never-ready").await;
    scene.ended("podinfo", generation, "Failed").await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.1.0");
}

/// A metric server that does not answer, or has no sample, fails checks; it promotes nothing.
pub(crate) async fn metrics_outage(scene: Scene) {
    scene.begin(&json!({})).await;
    scene.stage.stub.fail(&scene.namespace, true);
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.ended("podinfo", generation, "Failed").await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.0.0");
    scene.stage.stub.fail(&scene.namespace, false);
    scene.stage.stub.measure(&scene.namespace, None);
    let generation = scene.image("deploy/podinfo", "podinfo:6.2.0").await;
    scene.ended("podinfo", generation, "Failed").await;
    scene.says("podinfo", "no values found for metric").await;
    assert!(
        scene
            .stage
            .stub
            .queries(&scene.namespace)
            .iter()
            .any(|query| query.contains("http_requests_total")),
        "the query is sent as it was written"
    );
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.0.0");
}

/// What hooks are told, and how often: the payload's fields are an interface.
pub(crate) async fn payloads(scene: Scene) {
    let mut hooks: Vec<_> = [
        ("confirm-rollout", "may-start"),
        ("pre-rollout", "acceptance"),
        ("rollout", "load"),
        ("confirm-promotion", "may-promote"),
        ("post-rollout", "after"),
        ("event", "told"),
    ]
    .map(|(kind, name)| scene.gate(kind, name))
    .into();
    hooks[1]["metadata"] = json!({"type": "bash", "cmd": "true"});
    scene.begin(&json!({"analysis": {"webhooks": hooks}})).await;
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.ended("podinfo", generation, "Succeeded").await;
    scene.says("podinfo", "Promotion completed!").await;
    let counts =
        ["may-start", "acceptance", "load", "may-promote", "after"].map(|name| scene.calls(name).len());
    assert_eq!(
        counts,
        [1, 1, 3, 2, 1],
        "for N iterations hooks run N+1 times (Q-44)"
    );
    let told = &scene.calls("acceptance")[0];
    assert_eq!(
        (&told["name"], &told["namespace"], &told["phase"]),
        (&json!("podinfo"), &json!(scene.namespace), &json!("Progressing"))
    );
    assert_eq!(told["metadata"], json!({"type": "bash", "cmd": "true"}));
    assert!(!told["checksum"].as_str().unwrap().is_empty());
    assert_eq!(scene.calls("after")[0]["phase"], "Succeeded");
    scene
        .until("canary/podinfo", "told of to the event hook", |_| {
            let told = scene.calls("told");
            let said = |words: &str| {
                told.iter().any(|call| {
                    call["metadata"]["eventMessage"]
                        .as_str()
                        .is_some_and(|text| text.contains(words))
                })
            };
            said("New revision detected!") && said("Promotion completed!")
        })
        .await;
}
