//! What a Canary makes of the objects around it: adopted, copied, given back, left alone; and what people do to it.

use serde_json::{Value, json};

use crate::scene::{Scene, image, is_parked};

fn service(selector: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo"},
        "spec": {"selector": selector, "ports": [{"name": "web", "port": 8443, "targetPort": "http"}, {"name": "http", "port": 9898, "targetPort": "http"}]},
    })
}

/// With revertOnDeletion the target has its pods and its Service's traffic back before the Canary is gone.
pub(crate) async fn reverted_deletion(scene: Scene) {
    let selector = json!({"app": "podinfo"});
    scene.apply(&service(&selector)).await.good();
    scene.begin(&json!({"revertOnDeletion": true})).await;
    let adopted = scene.get("svc/podinfo").await;
    assert_eq!(adopted["spec"]["selector"], json!({"app": "podinfo-primary"}));
    assert!(
        adopted["spec"]["ports"].to_string().contains("8443"),
        "its other ports stay"
    );
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.ended("podinfo", generation, "Succeeded").await;
    scene.delete("canary/podinfo").await;
    let target = scene.get("deploy/podinfo").await;
    assert!(
        !is_parked(&target) && image(&target) == "podinfo:6.1.0",
        "{}",
        target["spec"]
    );
    let back = scene.get("svc/podinfo").await;
    assert_eq!(back["spec"]["selector"], selector);
    assert_eq!(back["metadata"]["uid"], adopted["metadata"]["uid"]);
    scene
        .kubectl(&["wait", "--for=delete", "deploy/podinfo-primary", "--timeout=60s"])
        .await
        .good();
}

/// Without it the deletion is quick, and takes along what the Canary made; the target stays as it is.
pub(crate) async fn plain_deletion(scene: Scene) {
    scene.begin(&json!({})).await;
    scene.delete("canary/podinfo").await;
    for made in [
        "deploy/podinfo-primary",
        "svc/podinfo-primary",
        "svc/podinfo-canary",
    ] {
        scene
            .kubectl(&["wait", "--for=delete", made, "--timeout=60s"])
            .await
            .good();
    }
    assert!(!scene.is_absent("deploy/podinfo").await);
    // The same Canary again begins anew.
    scene.apply(&scene.canary("podinfo", &json!({}))).await.good();
    scene.phase("podinfo", "Initialized").await;
    // A parked target says nothing of its size: the primary has one pod, as with Flagger.
    let primary = scene.get("deploy/podinfo-primary").await;
    assert_eq!(primary["status"]["readyReplicas"], 1);
}

/// A change of a ConfigMap or Secret is a revision, reaches the copies with the promotion, and can be opted out of.
pub(crate) async fn configs(scene: Scene) {
    let config = |kind: &str, name: &str, value: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": {"k": value}});
    let objects = [
        config("ConfigMap", "env", "one"),
        config("ConfigMap", "files", "one"),
        config("Secret", "key", "b25l"),
        config("ConfigMap", "free", "one"),
    ];
    for mut object in objects {
        if object["metadata"]["name"] == "free" {
            object["metadata"]["annotations"] = json!({"flagger.app/config-tracking": "disabled"});
        }
        scene.apply(&object).await.good();
    }
    let mut app = scene.workload("Deployment", "podinfo");
    let pod = &mut app["spec"]["template"]["spec"];
    pod["containers"][0]["envFrom"] =
        json!([{"configMapRef": {"name": "env"}}, {"configMapRef": {"name": "free"}}]);
    pod["volumes"] = json!([{"name": "all", "projected": {"sources": [
        {"configMap": {"name": "files"}}, {"secret": {"name": "key"}}, {"configMap": {"name": "not-there", "optional": true}},
    ]}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "all", "mountPath": "/all"}]);
    scene.apply(&app).await.good();
    scene.apply(&scene.canary("podinfo", &json!({}))).await.good();
    scene.phase("podinfo", "Initialized").await;
    let primary = scene.get("deploy/podinfo-primary").await;
    let pod = &primary["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["envFrom"][0]["configMapRef"]["name"],
        "env-primary"
    );
    assert_eq!(
        pod["containers"][0]["envFrom"][1]["configMapRef"]["name"], "free",
        "opted out"
    );
    let sources = &pod["volumes"][0]["projected"]["sources"];
    assert_eq!(sources[0]["configMap"]["name"], "files-primary");
    assert_eq!(sources[1]["secret"]["name"], "key-primary");
    assert_eq!(sources[2]["configMap"]["name"], "not-there");

    for (what, changed, copy) in [
        ("cm/env", json!({"data": {"k": "two"}}), "cm/env-primary"),
        ("secret/key", json!({"data": {"k": "dHdv"}}), "secret/key-primary"),
    ] {
        let before = scene.get("canary/podinfo").await["status"]["trackedConfigs"].clone();
        scene.patch(what, &changed).await;
        scene
            .until("canary/podinfo", "promoted with the change", |object| {
                object["status"]["phase"] == "Succeeded" && object["status"]["trackedConfigs"] != before
            })
            .await;
        assert_eq!(scene.get(copy).await["data"], changed["data"]);
    }
    // What is opted out of is no revision.
    let before = scene.get("canary/podinfo").await["status"]["lastTransitionTime"].clone();
    scene.patch("cm/free", &json!({"data": {"k": "two"}})).await;
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.ended("podinfo", generation, "Succeeded").await;
    let after = scene.get("canary/podinfo").await["status"].clone();
    assert!(after["lastTransitionTime"] != before && after["trackedConfigs"].get("configmap/free").is_none());
}

/// Two Canaries never share a target or a Service; the second is told so and takes nothing.
pub(crate) async fn rivals(scene: Scene) {
    scene.begin(&json!({})).await;
    let target = json!({"kind": "Deployment", "name": "podinfo"});
    let rival = scene.canary(
        "rival",
        &json!({"targetRef": target, "service": {"name": "rival"}}),
    );
    // Admission may know of the first already, and refuse.
    if scene.apply(&rival).await.ok {
        let message = scene.stalled("rival", "TargetTaken").await;
        assert!(message.contains("podinfo"), "{message}");
        assert!(scene.is_absent("svc/rival").await);
        scene.delete("canary/rival").await;
    }
    scene.apply(&scene.workload("Deployment", "second")).await.good();
    let clash = scene.canary("second", &json!({"service": {"name": "podinfo"}}));
    if scene.apply(&clash).await.ok {
        let message = scene.stalled("second", "ServiceOwned").await;
        assert!(message.contains("podinfo"), "{message}");
        assert!(!is_parked(&scene.get("deploy/second").await));
    }
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.ended("podinfo", generation, "Succeeded").await;
    let apex = scene.get("svc/podinfo").await;
    assert_eq!(apex["spec"]["selector"], json!({"app": "podinfo-primary"}));
}

/// A primary that somebody deletes comes back as it was promoted, whatever the target holds by then.
pub(crate) async fn lost_primary(scene: Scene) {
    scene.begin(&json!({})).await;
    scene.measure(50.0);
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.ended("podinfo", generation, "Failed").await;
    let before = scene.get("deploy/podinfo-primary").await;
    scene.delete("deploy/podinfo-primary").await;
    let back = scene
        .until("deploy/podinfo-primary", "there again", |object| {
            object["metadata"]["uid"] != before["metadata"]["uid"] && object["status"]["readyReplicas"] == 2
        })
        .await;
    assert_eq!(image(&back), "podinfo:6.0.0");
}

/// Every way people write a Canary with kubectl.
pub(crate) async fn hands(scene: Scene) {
    // A dry run judges and stores nothing.
    scene.apply(&scene.workload("Deployment", "podinfo")).await.good();
    let canary = scene.canary("podinfo", &json!({}));
    let mut broken = canary.clone();
    broken["spec"]["analysis"]["interval"] = json!("2 seconds");
    broken["spec"]["analysis"]["metrics"][0]["query"] = json!("sum(rate(a{b=\"c\" d=\"e\"}[1m]))");
    broken["spec"]["service"]["trafficPolicy"] = json!({"tls": {"mode": "SOMETIMES"}});
    let stage = &scene.stage;
    let refused = stage
        .kubectl(&["apply", "--dry-run=server", "-f", "-"], &broken.to_string())
        .await
        .refused();
    for words in [
        "spec.analysis.interval",
        "write 2s",
        "spec.analysis.metrics[0].query",
        "comma",
        "spec.service.trafficPolicy.tls.mode",
        "DISABLE",
    ] {
        assert!(refused.contains(words), "{words:?} in {refused}");
    }
    stage
        .kubectl(&["apply", "--dry-run=server", "-f", "-"], &canary.to_string())
        .await
        .good();
    assert!(scene.is_absent("canary/podinfo").await);

    // Server-side apply, explain, the columns, edit.
    scene.apply_server_side(&canary, "gitops").await.good();
    scene.phase("podinfo", "Initialized").await;
    let explained = scene
        .kubectl(&["explain", "canary.spec.analysis.metrics.thresholdRange"])
        .await
        .good();
    assert!(
        explained.contains("max") && explained.contains("FIELD"),
        "{explained}"
    );
    let table = scene.kubectl(&["get", "canary", "podinfo"]).await.good();
    assert!(
        table.contains("STATUS") && table.contains("Initialized"),
        "{table}"
    );
    let wide = scene
        .kubectl(&["get", "canaries.v1alpha3.flagger.app", "-o", "wide"])
        .await
        .good();
    assert!(wide.contains("INTERVAL") && wide.contains("500ms"), "{wide}");
    let edited = stage
        .command(&["-n", &scene.namespace, "edit", "canary", "podinfo"])
        .env(
            "KUBE_EDITOR",
            "sed -i -e 's/^    iterations: 2/    iterations: 3/'",
        )
        .output()
        .await
        .unwrap();
    assert!(
        edited.status.success(),
        "{}",
        String::from_utf8_lossy(&edited.stderr)
    );
    let generation = scene.image("deploy/podinfo", "podinfo:6.1.0").await;
    scene.ended("podinfo", generation, "Succeeded").await;
    let id = format!("podinfo.{}", scene.namespace);
    scene
        .says("podinfo", &format!("Advance {id} canary iteration 3/3"))
        .await;

    // Somebody who applies the same again changes nothing; who applies another value owns the conflict.
    let conflict = scene.apply_server_side(&canary, "somebody").await;
    assert!(
        !conflict.ok || scene.get("canary/podinfo").await["spec"]["analysis"]["iterations"] == 3,
        "{}",
        conflict.out
    );

    // A wait as README documents it.
    let generation = scene.image("deploy/podinfo", "podinfo:6.2.0").await;
    let condition = format!("--for=jsonpath={{.status.promotedTargetGeneration}}={generation}");
    scene
        .kubectl(&["wait", "canary/podinfo", &condition, "--timeout=120s"])
        .await
        .good();
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.2.0");
}

/// The same names in two namespaces are strangers.
pub(crate) async fn namespaces(scene: Scene) {
    let other = Scene::set(&scene.stage, "other").await;
    scene.begin(&json!({})).await;
    other.begin(&json!({})).await;
    scene.measure(50.0);
    let (bad, good) = (
        scene.image("deploy/podinfo", "podinfo:6.1.0").await,
        other.image("deploy/podinfo", "podinfo:6.1.0").await,
    );
    other.ended("podinfo", good, "Succeeded").await;
    scene.ended("podinfo", bad, "Failed").await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.0.0");
    assert_eq!(image(&other.get("deploy/podinfo-primary").await), "podinfo:6.1.0");
    other.clear().await;
}
