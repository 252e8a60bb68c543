//! Admission as people meet it: real `kubectl`, the real binary, the embedded API server.

use std::time::Duration;

use serde_json::json;

use super::{ALPHA, Said, Stage};

/// A Canary of a provider without a router: none of its objects is touched, so the test alone moves things.
fn canary(name: &str, target: &str, more: &str) -> String {
    format!(
        r"
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {{name: {name}, namespace: default}}
spec:
  provider: istio
  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: {target}}}
  service: {{port: 80{more}}}
  analysis: {{interval: 1m, threshold: 2, maxWeight: 50, stepWeight: 10, metrics: [{{name: m, interval: 1m, thresholdRange: {{max: 1}}, query: up}}]}}
"
    )
}

fn deployment(name: &str, labels: &str, replicas: u8) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: default, labels: {{app: {name}{labels}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: app, image: "podinfo:1", readinessProbe: {{httpGet: {{path: /, port: 80}}}}, ports: [{{name: http, containerPort: 80}}]}}]}}
"#
    )
}

impl Stage {
    /// Applies without storing until what is said is as wished: caches lag by milliseconds.
    async fn until(&self, manifest: &str, wish: impl Fn(&Said) -> bool) -> Said {
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        let mut last = None;
        for _ in 0..300 {
            let said = self
                .run(&["apply", "--dry-run=server", "-f", "-"], manifest)
                .await;
            if wish(&said) {
                return said;
            }
            last = Some(said);
            pause.tick().await;
        }
        let last = last.unwrap();
        panic!("never as wished: {}{}", last.out, last.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_are_seen_told_and_respected() {
    let Some(stage) = Stage::set().await else { return };
    // What is absent warns; nothing is stored by a dry run.
    let shop = canary("shop", "shop", "");
    let said = stage
        .until(&shop, |said| said.ok && !said.err.contains("not looked at"))
        .await;
    assert!(
        said.err
            .contains("Warning: spec.targetRef.name: Deployment shop does not exist"),
        "{}",
        said.err
    );
    assert!(!stage.run(&["get", "canary", "shop"], "").await.ok);

    // A tool that reconciles the target is named, with the remedy.
    stage
        .apply(&deployment("shop", ", kapp.k14s.io/app: \"1\"", 2))
        .await
        .good();
    let said = stage.until(&shop, |said| said.err.contains("kapp")).await;
    let line = said.err.lines().find(|line| line.contains("kapp")).unwrap();
    assert!(
        line.starts_with("Warning: spec.targetRef: kapp reconciles the target; ")
            && line.ends_with(
                "give kapp a rebaseRule: path [spec, replicas], type copy, sources [existing, new]"
            ),
        "{line}"
    );

    // Two Canaries on one target or Service.
    stage.apply(&shop).await.good();
    let rival = canary("rival", "shop", "");
    let said = stage.until(&rival, |said| !said.ok).await;
    assert!(
        said.err.contains("The Canary \"rival\" is invalid"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("spec.targetRef: ")
            && said.err.contains("Canary shop controls Deployment shop too"),
        "{}",
        said.err
    );
    assert!(!stage.apply(&rival).await.ok);
    let said = stage.apply(&canary("rival", "other", ", name: shop")).await;
    assert!(
        !said.ok && said.err.contains("Service shop belongs to Canary shop"),
        "{}",
        said.err
    );
    let said = stage.apply(&canary("nested", "shop-primary", "")).await;
    assert!(
        !said.ok && said.err.contains("shop-primary is the primary of Canary shop"),
        "{}",
        said.err
    );

    // Every mistake in one answer, a v1alpha3 author's in his words, the neighbours' with them.
    let old = r#"
apiVersion: flagger.app/v1alpha3
kind: Canary
metadata: {name: rival, namespace: default}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  service: {port: 80}
  canaryAnalysis:
    interval: 2 seconds
    thresold: 5
    iterations: 3
    metrics:
    - {name: errors, interval: 1m, threshold: 1, query: "sum(rate(errors_total{a=\"b\" c=\"d\"}[1m]))"}
    webhooks:
    - {name: gate, type: pre-rolout, url: "not a url"}
"#;
    let said = stage.apply(old).await;
    assert!(!said.ok);
    for told in [
        "spec.canaryAnalysis.interval",
        "spec.canaryAnalysis.metrics[0].query",
        "spec.canaryAnalysis.webhooks[0].url",
        "spec.canaryAnalysis.webhooks[0].type",
        "pre-rollout",
        "spec.targetRef",
        "Warning: spec.canaryAnalysis.thresold",
        "did you mean threshold",
    ] {
        assert!(said.err.contains(told), "{told}: {}", said.err);
    }
    assert!(
        said.err.lines().any(|line| line.trim_start().starts_with('^')),
        "{}",
        said.err
    );

    // Going: told, never refused.
    stage.apply(&deployment("shop", "", 0)).await.good();
    let phase = json!({"status": {"phase": "Succeeded"}}).to_string();
    stage
        .run(
            &[
                "patch",
                "canary",
                "shop",
                "--subresource=status",
                "--type=merge",
                "-p",
                &phase,
            ],
            "",
        )
        .await
        .good();
    let mut pause = tokio::time::interval(Duration::from_millis(100));
    loop {
        let said = stage
            .run(&["delete", "canary", "shop", "--dry-run=server"], "")
            .await;
        assert!(said.ok, "{}", said.err);
        if said.err.contains("the target runs no pods") {
            assert!(
                said.err.contains("Warning: spec.revertOnDeletion: ") && said.err.contains("goes down"),
                "{}",
                said.err
            );
            break;
        }
        pause.tick().await;
    }
    stage.run(&["delete", "canary", "shop"], "").await.good();
    stage.until(&rival, |said| said.ok).await;
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_fight_nobody() {
    let Some(stage) = Stage::set().await else { return };
    let manifest = canary("shop", "shop", "");
    // Applied server-side twice by a GitOps tool: the second changes nothing.
    stage.apply_server_side(&manifest).await.good();
    let first = stage.get("canary", "shop").await;
    assert_eq!(
        first["spec"]["progressDeadlineSeconds"], 600,
        "what runs is what is shown"
    );
    stage.apply_server_side(&manifest).await.good();
    let second = stage.get("canary", "shop").await;
    assert_eq!(first["metadata"]["generation"], second["metadata"]["generation"]);
    assert_eq!(first["spec"], second["spec"]);
    for mode in [
        &["diff", "-f", "-"][..],
        &["diff", "--server-side", "--field-manager", "gitops", "-f", "-"],
    ] {
        let said = stage.run(mode, &manifest).await;
        assert!(
            said.ok && said.out.is_empty(),
            "{mode:?}: {}{}",
            said.out,
            said.err
        );
    }
    // Client-side, at the version of old, the same.
    let old = super::OLD.replace("appendHeaders: {x-from: canary}", "timeout: 5s");
    stage.apply(&old).await.good();
    let first = stage.get(ALPHA, "podinfo").await;
    let said = stage.run(&["diff", "-f", "-"], &old).await;
    assert!(said.ok && said.out.is_empty(), "{}{}", said.out, said.err);
    let again = stage.apply(&old).await.good();
    assert!(again.contains("unchanged"), "{again}");
    let second = stage.get(ALPHA, "podinfo").await;
    assert_eq!(first["metadata"]["generation"], second["metadata"]["generation"]);
    stage.clear().await;
}
