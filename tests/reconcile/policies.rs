//! Policies as the controller keeps them: no run of a Canary that breaks one, no call where none may go, defaults even
//! where admission wrote none down.

use std::sync::Arc;

use serde_json::{Value, json};
use verdigris::policy::{Current, Set};

use super::world::World;
use super::{analysis, canary, deployment, image_of, is_parked};

fn enforce(world: &World, spec: Value) {
    let mut spec = spec;
    spec["mode"] = json!("Enforce");
    let policy = json!({"metadata": {"name": "careful"}, "spec": spec});
    put(world, &[policy]);
}

fn put(world: &World, policies: &[Value]) {
    world.policies.replace(Current {
        set: Some(Arc::new(Set::lenient(policies))),
        namespaces: Some(Arc::default()),
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_run_starts_of_a_canary_that_is_older_than_the_policy_it_breaks() {
    let world = World::start().await;
    world.create(deployment("podinfo")).await;
    world
        .create(canary("podinfo", &json!({"analysis": analysis(&world)})))
        .await;
    world.until_phase("podinfo", "Initialized").await;

    enforce(&world, json!({"limits": {"iterations": {"min": 3}}}));
    world.image("Deployment", "podinfo", "podinfo:2").await;
    let message = world.until_stalled("podinfo", "PolicyViolation").await;
    assert!(
        message
            .contains("spec.analysis.iterations: 2; policy \"careful\" (limits.iterations) wants at least 3"),
        "{message}"
    );
    let stalled = world.get("Canary", "podinfo").await;
    assert_eq!(stalled["status"]["phase"], "Initialized");
    let said = stalled["status"]["conditions"].as_array().unwrap();
    assert!(
        said.iter()
            .any(|one| one["type"] == "PolicyViolation" && one["status"] == "True"),
        "{said:?}"
    );
    assert!(
        is_parked(&world.get("Deployment", "podinfo").await),
        "nothing was scaled up"
    );
    assert_eq!(world.stub.called("acceptance"), 0);
    let told = world.events("podinfo").await;
    let violations: Vec<&i64> = told
        .iter()
        .filter(|(text, _)| text.contains("limits.iterations"))
        .map(|(_, count)| count)
        .collect();
    assert_eq!(violations, [&1], "told once: {told:?}");

    // An edit mends it: the run starts by itself.
    world
        .patch(
            "Canary",
            "podinfo",
            json!({"spec": {"analysis": {"iterations": 3}}}),
        )
        .await;
    let done = world.until_phase("podinfo", "Succeeded").await;
    let said = done["status"]["conditions"].as_array().unwrap();
    assert!(
        !said.iter().any(|one| one["type"] == "PolicyViolation"),
        "{said:?}"
    );
    assert_eq!(
        image_of(&world.get("Deployment", "podinfo-primary").await),
        "podinfo:2"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_is_not_called_where_none_may_go_and_defaults_hold_without_admission() {
    let world = World::start().await;
    // The policy writes what the author left out; exempt from the rule about hosts at the start of a run, the Canary is
    // held to it at each call.
    put(
        &world,
        &[
            json!({"metadata": {"name": "a"}, "spec": {"mode": "Warn", "defaults": {"analysis": {
                "interval": "100ms", "threshold": 1, "iterations": 1,
                "webhooks": [{"name": "acceptance", "type": "pre-rollout", "url": format!("{}/hook/acceptance", world.stub.url)}],
            }}}}),
        ],
    );
    world.create(deployment("podinfo")).await;
    let mut bare = canary("podinfo", &json!({}));
    bare["spec"]["analysis"] = json!({"interval": "100ms", "threshold": 1, "iterations": 1});
    world.create(bare).await;
    world.until_phase("podinfo", "Initialized").await;
    world.image("Deployment", "podinfo", "podinfo:2").await;
    world.until_phase("podinfo", "Succeeded").await;
    assert!(world.stub.called("acceptance") > 0, "the default hook was called");

    // localhost resolves to an address that no policy lists by name: refused once it is resolved.
    let asked = world.stub.called("acceptance");
    let url = world.stub.url.replace("127.0.0.1", "localhost");
    put(
        &world,
        &[
            json!({"metadata": {"name": "a"}, "spec": {"mode": "Enforce", "allowed": {"webhooks": {"hosts": ["localhost"], "privateAddresses": false}}}}),
        ],
    );
    world
        .patch(
            "Canary",
            "podinfo",
            json!({"spec": {"analysis": {"webhooks": [{"name": "acceptance", "type": "pre-rollout", "url": format!("{url}/hook/acceptance")}]}}}),
        )
        .await;
    world.image("Deployment", "podinfo", "podinfo:3").await;
    world.until_phase("podinfo", "Failed").await;
    assert_eq!(world.stub.called("acceptance"), asked, "nothing was dialled");
    let told = world.events("podinfo").await;
    assert!(
        told.keys()
            .any(|text| text.contains("policy \"a\" (allowed.webhooks) wants a public address")),
        "{told:?}"
    );
}
