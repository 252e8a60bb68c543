//! Chats are told, each what it asked for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::world::World;
use crate::{analysis, canary, deployment};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chats_are_told_what_they_asked_for() {
    let world = World::start().await;
    let address = |name: &str| format!("{}/hook/{name}", world.stub.url);
    let provider = |name: &str, spec: serde_json::Value| json!({"apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider", "metadata": {"name": name}, "spec": spec});
    world
        .create(provider(
            "on-call",
            json!({"type": "slack", "channel": "ops", "address": address("slack")}),
        ))
        .await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "teams"},
            "data": {"address": STANDARD.encode(address("teams"))},
        }))
        .await;
    world
        .create(provider(
            "team",
            json!({"type": "msteams", "secretRef": {"name": "teams"}}),
        ))
        .await;
    let mut analysis = analysis(&world);
    analysis["alerts"] = json!([
        {"name": "a", "severity": "error", "providerRef": {"name": "on-call"}},
        {"name": "b", "providerRef": {"name": "team"}},
        {"name": "c", "severity": "error", "providerRef": {"name": "nobody"}},
    ]);
    world.create(deployment("podinfo")).await;
    world
        .create(canary("podinfo", &json!({"analysis": analysis})))
        .await;
    world.until_phase("podinfo", "Initialized").await;
    world.stub.measure(50.0);
    world.image("Deployment", "podinfo", "podinfo:2").await;
    world.until_phase("podinfo", "Failed").await;
    // Words come after the status: a release that goes through later tells that they have come.
    world.stub.measure(0.0);
    world.image("Deployment", "podinfo", "podinfo:3").await;
    world.until_phase("podinfo", "Succeeded").await;
    world.stub.until_called("teams", 5).await;

    let slack = world.stub.bodies("slack");
    assert_eq!(slack.len(), 1, "errors only: {slack:?}");
    assert_eq!(slack[0]["channel"], "ops");
    let attachment = &slack[0]["attachments"][0];
    assert_eq!(
        (&attachment["color"], &attachment["text"]),
        (&json!("danger"), &json!("Failed checks threshold reached 2"))
    );
    let teams: Vec<String> = world
        .stub
        .bodies("teams")
        .iter()
        .map(|body| body["sections"][0]["activityTitle"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        teams,
        [
            "New Deployment detected, initialization completed.",
            "New revision detected, progressing canary analysis.",
            "Failed checks threshold reached 2",
            "New revision detected, progressing canary analysis.",
            "Canary analysis completed successfully, promotion finished.",
        ],
        "Q-01: no severity is info"
    );
    let facts = &world.stub.bodies("teams")[0]["sections"][0]["facts"];
    assert_eq!(
        facts[0],
        json!({"name": "Target", "value": "Deployment/podinfo.test"})
    );
    let said = world.events("podinfo").await;
    assert!(
        said.keys()
            .any(|text| text.starts_with("alert provider nobody.test: it does not exist")),
        "{said:?}"
    );
}
