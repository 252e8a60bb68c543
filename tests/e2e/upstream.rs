//! Flagger's own end-to-end suite for plain Kubernetes (`test/kubernetes`, K1 to K12), with assertions where its own
//! could not fail.

use serde_json::{Value, json};

use crate::scene::{Scene, condition, image, is_parked};
use crate::traffic::Traffic;

/// Hooks and metrics of the fixture's Canary: the load tester and Prometheus where pods serve, else the stub.
fn analysis(scene: &Scene, service: &str) -> Value {
    let (namespace, gate) = (&scene.namespace, scene.gate("confirm-rollout", "gate"));
    let mut metrics = json!([
        {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}},
        {"name": "request-duration", "interval": "30s", "thresholdRange": {"max": 500}},
    ]);
    let webhooks = if let Some(serving) = scene.stage.serving {
        let url = format!("http://{}/", serving.loadtester);
        let test = format!("curl -fsS http://{service}-canary.{namespace}/version | grep version");
        let load = format!("hey -z 1m -q 10 -c 2 http://{service}-canary.{namespace}/");
        json!([
            gate,
            {"name": "acceptance-test", "type": "pre-rollout", "timeout": "10s", "url": url, "metadata": {"type": "bash", "cmd": test}},
            {"name": "load-test", "timeout": "5s", "url": url, "metadata": {"type": "cmd", "cmd": load}},
        ])
    } else {
        metrics[0] =
            json!({"name": "errors", "interval": "1m", "thresholdRange": {"max": 5}, "query": "vector(2)"});
        metrics.as_array_mut().unwrap().truncate(1);
        json!([
            gate,
            scene.gate("pre-rollout", "acceptance-test"),
            scene.gate("rollout", "load-test")
        ])
    };
    json!({"interval": "1s", "threshold": 10, "iterations": 5, "metrics": metrics, "webhooks": webhooks})
}

/// Built-in checks ask Prometheus where there is one.
fn measured(scene: &Scene) -> Value {
    let prometheus = scene.stage.serving.and_then(|serving| serving.prometheus);
    json!(prometheus.map_or_else(|| scene.metrics(), |address| format!("http://{address}")))
}

/// K1 to K4: a Service that was there is adopted, and a release goes through without a lost request.
pub(crate) async fn deployment(scene: Scene) {
    // Without Prometheus every value is 100: a rate of 100 %, and a latency nobody could pass: leave that check out.
    scene.measure(100.0);
    let mut app = scene.workload("Deployment", "podinfo");
    app["spec"]["minReadySeconds"] = json!(1);
    scene.apply(&app).await.good();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo-svc"},
        "spec": {"selector": {"app": "podinfo"}, "ports": [{"name": "http", "port": 9898, "targetPort": "http"}]},
    });
    scene.apply(&service).await.good();
    let before = scene.get("svc/podinfo-svc").await;
    let mut analysis = analysis(&scene, "podinfo-svc");
    if scene
        .stage
        .serving
        .is_none_or(|serving| serving.prometheus.is_none())
    {
        analysis["metrics"]
            .as_array_mut()
            .unwrap()
            .retain(|metric| metric["name"] != "request-duration");
        scene.measure(if scene.stage.serving.is_some() { 100.0 } else { 1.0 });
    }
    // Written for Flagger 0.x, as the fixture of its first suites was.
    let mut canary = scene.canary(
        "podinfo",
        &json!({
            "metricsServer": measured(&scene),
            "service": {"name": "podinfo-svc", "port": 80, "targetPort": 9898, "portDiscovery": true},
        }),
    );
    canary["spec"].as_object_mut().unwrap().remove("analysis");
    for metric in analysis["metrics"].as_array_mut().unwrap() {
        let range = metric.as_object_mut().unwrap().remove("thresholdRange").unwrap();
        metric["threshold"] = range.as_object().unwrap().values().next().unwrap().clone();
    }
    canary["spec"]["canaryAnalysis"] = analysis;
    canary["apiVersion"] = json!("flagger.app/v1alpha3");
    let applied = scene.apply(&canary).await;
    assert!(applied.err.contains("deprecated"), "{}", applied.err);
    applied.good();

    // K1.
    let initialized = scene.phase("podinfo", "Initialized").await;
    assert_eq!(condition(&initialized, "Promoted").unwrap()["status"], "True");
    scene.until("deploy/podinfo", "parked", is_parked).await;
    // From here on: the Canary's port takes the place of the old one of its name.
    let traffic = scene.stage.serving.map(|serving| {
        Traffic::start(
            serving.gateway,
            format!("http://podinfo-svc.{}/", scene.namespace),
        )
    });
    // K2, and what upstream's grep of two words cannot see: who is selected, which ports there are, whose address it is.
    let adopted = scene.get("svc/podinfo-svc").await;
    let annotations = &adopted["metadata"]["annotations"];
    assert_eq!(annotations["kustomize.toolkit.fluxcd.io/reconcile"], "disabled");
    assert_eq!(annotations["helm.toolkit.fluxcd.io/driftDetection"], "disabled");
    assert_eq!(adopted["spec"]["selector"], json!({"app": "podinfo-primary"}));
    assert_eq!(adopted["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    let ports: Vec<i64> = adopted["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["port"].as_i64().unwrap())
        .collect();
    for port in [80, 9797, 9999] {
        assert!(ports.contains(&port), "{ports:?}");
    }
    // K3.
    let primary = scene.get("deploy/podinfo-primary").await;
    assert_eq!(
        primary["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "test-label-prefix"
    );
    assert_eq!(
        primary["metadata"]["annotations"]["app.kubernetes.io/instance"],
        "test-annotation-prefix"
    );
    assert_eq!(primary["status"]["readyReplicas"], 2);

    // K4.
    scene.close("gate");
    let generation = scene
        .image("deploy/podinfo", "ghcr.io/stefanprodan/podinfo:6.0.1")
        .await;
    scene.phase("podinfo", "Waiting").await;
    assert!(
        is_parked(&scene.get("deploy/podinfo").await),
        "nothing is started before the gate"
    );
    scene.open("gate");
    scene.phase("podinfo", "Progressing").await;
    let promoted = scene.ended("podinfo", generation, "Succeeded").await;
    assert_eq!(
        promoted["status"]["promotedTargetGeneration"],
        promoted["status"]["judgedTargetGeneration"]
    );
    let primary = scene.get("deploy/podinfo-primary").await;
    assert_eq!(image(&primary), "podinfo:6.0.1");
    assert_eq!(
        primary["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2",
        "one ReplicaSet a promotion"
    );
    scene.until("deploy/podinfo", "parked again", is_parked).await;
    let id = format!("podinfo.{}", scene.namespace);
    for words in [
        format!("New revision detected! Scaling up {id}"),
        format!("Starting canary analysis for {id}"),
        "Pre-rollout check acceptance-test passed".to_owned(),
        format!("Advance {id} canary iteration 5/5"),
        format!(
            "Copying {id} template spec to podinfo-primary.{}",
            scene.namespace
        ),
        format!("Promotion completed! Scaling down {id}"),
    ] {
        scene.says("podinfo", &words).await;
    }
    if let Some(traffic) = traffic {
        traffic.unharmed();
    }
}

/// K5 to K8: the same for a DaemonSet; its finalizer, and the target's pods after the Canary is deleted.
pub(crate) async fn daemon_set(scene: Scene) {
    scene.measure(100.0);
    scene
        .apply(&scene.workload("DaemonSet", "podinfo-ds"))
        .await
        .good();
    let mut checks = analysis(&scene, "podinfo-ds");
    if scene
        .stage
        .serving
        .is_none_or(|serving| serving.prometheus.is_none())
    {
        checks["metrics"]
            .as_array_mut()
            .unwrap()
            .retain(|metric| metric["name"] != "request-duration");
        scene.measure(if scene.stage.serving.is_some() { 100.0 } else { 1.0 });
    }
    let spec = json!({
        "metricsServer": measured(&scene),
        "targetRef": {"kind": "DaemonSet"},
        "service": {"port": 80, "targetPort": 9898, "portDiscovery": true},
        "analysis": checks,
    });
    let canary = scene.canary("podinfo-ds", &spec);
    scene.apply(&canary).await.good();
    // K5.
    scene.phase("podinfo-ds", "Initialized").await;
    let parked = scene.until("ds/podinfo-ds", "parked", is_parked).await;
    let primary = scene.get("ds/podinfo-ds-primary").await;
    assert!(
        !is_parked(&primary) && primary["status"]["numberReady"].as_i64() > Some(0),
        "{primary}"
    );

    // K6.
    let generation = scene
        .image("ds/podinfo-ds", "ghcr.io/stefanprodan/podinfo:6.0.1")
        .await;
    scene.phase("podinfo-ds", "Progressing").await;
    // K7, in mid-run as upstream does it.
    let mut reverting = canary.clone();
    reverting["spec"]["revertOnDeletion"] = json!(true);
    scene.apply(&reverting).await.good();
    scene.ended("podinfo-ds", generation, "Succeeded").await;
    assert_eq!(image(&scene.get("ds/podinfo-ds-primary").await), "podinfo:6.0.1");
    scene
        .until("canary/podinfo-ds", "guarded by its finalizer", |object| {
            object["metadata"]["finalizers"]
                .to_string()
                .contains("finalizer.flagger.app")
        })
        .await;

    // K8: upstream deletes another Canary and looks before anything has happened.
    scene.delete("canary/podinfo-ds").await;
    let back = scene
        .until("ds/podinfo-ds", "running again", |object| {
            !is_parked(object) && object["status"]["numberReady"].as_i64() > Some(0)
        })
        .await;
    assert_eq!(image(&back), "podinfo:6.0.1");
    assert!(parked["metadata"]["generation"].as_i64() < back["metadata"]["generation"].as_i64());
    // A Service the Canary made goes with it; one that was there stays (`objects::reverted_deletion`).
    scene
        .kubectl(&["wait", "--for=delete", "svc/podinfo-ds-canary", "--timeout=60s"])
        .await
        .good();
}

/// K9 to K12: a HorizontalPodAutoscaler, copied for the primary and kept equal to what was promoted.
pub(crate) async fn autoscaler(scene: Scene) {
    scene.apply(&scene.workload("Deployment", "podinfo")).await.good();
    let utilization = |percent: i64| json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}]);
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "podinfo"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "minReplicas": 2, "maxReplicas": 4, "metrics": utilization(99),
        },
    });
    scene.apply(&scaler).await.good();
    let reference = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo",
        "primaryScalerReplicas": {"minReplicas": 3, "maxReplicas": 5},
    });
    let canary = scene.canary(
        "podinfo",
        &json!({"autoscalerRef": reference, "service": {"name": "podinfo-svc"}}),
    );
    scene.apply(&canary).await.good();
    // K9, K10.
    scene.phase("podinfo", "Initialized").await;
    let copy = scene.get("hpa/podinfo-primary").await;
    assert_eq!(copy["spec"]["scaleTargetRef"]["name"], "podinfo-primary");
    assert_eq!(
        (&copy["spec"]["minReplicas"], &copy["spec"]["maxReplicas"]),
        (&json!(3), &json!(5))
    );
    // K11, K12: upstream reads the autoscaler it has just patched; the primary's is the one that matters.
    scene
        .patch("hpa/podinfo", &json!({"spec": {"metrics": utilization(50)}}))
        .await;
    let generation = scene
        .image("deploy/podinfo", "ghcr.io/stefanprodan/podinfo:6.0.1")
        .await;
    scene.ended("podinfo", generation, "Succeeded").await;
    assert_eq!(image(&scene.get("deploy/podinfo-primary").await), "podinfo:6.0.1");
    scene
        .until("hpa/podinfo-primary", "at 50 %", |object| {
            object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
                && object["spec"]["minReplicas"] == 3
        })
        .await;
}
