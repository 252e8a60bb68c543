//! What a long run tells, what it asks with, and what it leaves behind when the process stops.

use serde_json::json;

use crate::world::World;
use crate::{analysis, canary, deployment};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q48_no_event_of_a_long_run_is_lost() {
    let world = World::start().await;
    world.create(deployment("podinfo")).await;
    let analysis = json!({"interval": "50ms", "threshold": 2, "iterations": 40});
    world
        .create(canary("podinfo", &json!({"analysis": analysis})))
        .await;
    world.until_phase("podinfo", "Initialized").await;
    world.image("Deployment", "podinfo", "podinfo:2").await;
    world.until_phase("podinfo", "Succeeded").await;
    let said = world.events("podinfo").await;
    for iteration in 1..=40 {
        let text = format!("Advance podinfo.test canary iteration {iteration}/40");
        assert_eq!(said.get(&text), Some(&1), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q25_every_query_has_its_credentials_once() {
    let world = World::start().await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prometheus"}, "data": {"token": "dA=="},
        }))
        .await;
    world
        .create(json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": {"name": "errors"},
            "spec": {
                "provider": {"type": "prometheus", "address": world.stub.url, "secretRef": {"name": "prometheus"}},
                "query": "sum(errors)",
            },
        }))
        .await;
    let mut analysis = analysis(&world);
    analysis["metrics"] =
        json!([{"name": "errors", "thresholdRange": {"max": 5}, "templateRef": {"name": "errors"}}]);
    world.create(deployment("podinfo")).await;
    world
        .create(canary("podinfo", &json!({"analysis": analysis})))
        .await;
    world.until_phase("podinfo", "Initialized").await;
    world.image("Deployment", "podinfo", "podinfo:2").await;
    world.until_phase("podinfo", "Succeeded").await;
    let authorized = world.stub.authorized();
    assert!(authorized.len() >= 3, "{authorized:?}");
    assert!(authorized.iter().all(|count| *count == 1), "{authorized:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q50_a_pass_under_way_is_finished_before_the_process_stops() {
    let mut world = World::start().await;
    world.create(deployment("podinfo")).await;
    world
        .create(canary("podinfo", &json!({"analysis": analysis(&world)})))
        .await;
    world.until_phase("podinfo", "Initialized").await;
    world.stub.hold("load");
    world.image("Deployment", "podinfo", "podinfo:2").await;
    world.stub.until_called("load", 1).await;
    let before = world.get("Canary", "podinfo").await;
    assert_eq!(before["status"]["iterations"], 1);
    let ended = world.terminate();
    world.stub.release("load");
    ended.await.unwrap().unwrap();
    let after = world.get("Canary", "podinfo").await;
    assert!(
        after["status"]["iterations"].as_i64() >= Some(2),
        "what the hook said is not lost: {}",
        after["status"]
    );
}

/// One Canary waits for its hook; the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_hook_holds_up_its_own_canary_alone() {
    let world = World::start().await;
    for name in ["slow", "quick"] {
        world.create(deployment(name)).await;
        let hook = json!({"name": name, "type": "pre-rollout", "timeout": "60s", "url": format!("{}/hook/{name}", world.stub.url)});
        let analysis = json!({"interval": "50ms", "threshold": 2, "iterations": 1, "webhooks": [hook]});
        world.create(canary(name, &json!({"analysis": analysis}))).await;
        world.until_phase(name, "Initialized").await;
    }
    world.stub.hold("slow");
    world.image("Deployment", "slow", "podinfo:2").await;
    world.stub.until_called("slow", 1).await;
    world.image("Deployment", "quick", "podinfo:2").await;
    world.until_phase("quick", "Succeeded").await;
    assert_eq!(
        world.get("Canary", "slow").await["status"]["phase"],
        "Progressing"
    );
    world.stub.release("slow");
    world.until_phase("slow", "Succeeded").await;
}
