//! Several controllers on one cluster: one acts, and what it leaves behind the next one finishes.
#![allow(clippy::disallowed_methods, reason = "shell: elections run beside the test")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use verdigris::lease::{self, Election};

use crate::world::{NAMESPACE, PATIENCE, Replica, World};
use crate::{analysis, canary, deployment, image_of};

/// Short enough for a test to wait for, long enough for a busy machine to renew in.
const BRIEF: Duration = Duration::from_secs(4);
/// Nobody waits until this one runs out.
const LASTING: Duration = Duration::from_secs(60);

async fn leads(replica: &Replica) {
    timeout(PATIENCE, replica.leadership.gained())
        .await
        .expect("it never led");
}

/// A Canary that does four iterations, past its bootstrap.
async fn prepare(world: &World) {
    world.create(deployment("podinfo")).await;
    let mut analysis = analysis(world);
    analysis["iterations"] = json!(4);
    world
        .create(canary("podinfo", &json!({"analysis": analysis})))
        .await;
    world.until_phase("podinfo", "Initialized").await;
    world.image("Deployment", "podinfo", "podinfo:2").await;
}

/// Promoted once, no iteration skipped or counted twice.
async fn assert_done_once(world: &World) {
    world.until_phase("podinfo", "Succeeded").await;
    let primary = world.get("Deployment", "podinfo-primary").await;
    assert_eq!(image_of(&primary), "podinfo:2");
    assert_eq!(
        primary["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2",
        "one ReplicaSet a promotion"
    );
    // Five checks for four iterations; one may be asked again when the kill fell before the status was written.
    let load = world.stub.called("load");
    assert!((5..=6).contains(&load), "{load}");
    for (message, count) in world.events("podinfo").await {
        if message.contains("iteration") {
            assert_eq!(count, 1, "{message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_killed_in_a_run_is_followed_by_one_that_goes_on() {
    let world = World::new().await;
    let first = world.compete("first", BRIEF);
    leads(&first).await;
    let second = world.compete("second", BRIEF);
    prepare(&world).await;
    world
        .until("Canary", "podinfo", |object| {
            object["status"]["iterations"].as_i64() >= Some(1)
        })
        .await;
    assert!(!second.leadership.leads());
    first.kill().await;
    leads(&second).await;
    assert_done_once(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_killed_in_a_promotion_is_followed_by_one_that_finishes_it() {
    let world = World::new().await;
    let first = world.compete("first", BRIEF);
    leads(&first).await;
    let second = world.compete("second", BRIEF);
    prepare(&world).await;
    // The primary has the new template, and nobody has noted yet that it was promoted.
    world
        .until("Deployment", "podinfo-primary", |primary| {
            image_of(primary) == "podinfo:2"
        })
        .await;
    first.kill().await;
    leads(&second).await;
    assert_done_once(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_hands_over_without_waiting() {
    let world = World::new().await;
    let first = world.compete("first", LASTING);
    leads(&first).await;
    let second = world.compete("second", LASTING);
    world
        .until("Lease", lease::NAME, |lease| {
            lease["spec"]["holderIdentity"] == "first"
        })
        .await;
    first.stop().await;
    let handed_over = timeout(LASTING / 2, second.leadership.gained()).await;
    assert!(handed_over.is_ok(), "it waited for the Lease to run out");
    let taken = world.get("Lease", lease::NAME).await;
    assert_eq!(taken["spec"]["leaseTransitions"], 1);
    second.kill().await;
    // The same name again: the process that had it cannot run any more.
    let again = world.compete("second", LASTING);
    let went_on = timeout(LASTING / 2, again.leadership.gained()).await;
    assert!(went_on.is_ok(), "it waited for its own Lease to run out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_lost_to_whoever_writes_it_and_competed_for_again() {
    let world = World::new().await;
    let replica = world.compete("first", BRIEF);
    leads(&replica).await;
    // Its clock is a day ahead; it counts from when it was seen.
    let renewed = "2090-01-01T00:00:00.000000Z";
    let taken =
        json!({"spec": {"holderIdentity": "intruder", "renewTime": renewed, "leaseDurationSeconds": 3}});
    world.patch("Lease", lease::NAME, taken).await;
    timeout(PATIENCE, replica.leadership.lost()).await.unwrap();
    world.create(deployment("podinfo")).await;
    assert!(replica.is_alive(), "losing the Lease ends no process");
    leads(&replica).await;
    world.create(canary("podinfo", &json!({}))).await;
    world.until_phase("podinfo", "Initialized").await;
    let held: Value = world.get("Lease", lease::NAME).await;
    assert_eq!(held["spec"]["holderIdentity"], "first");
    world.delete("Lease", lease::NAME).await;
    world
        .until("Lease", lease::NAME, |lease| {
            lease["spec"]["holderIdentity"] == "first"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_a_cluster_nobody_is_waited_for_where_no_replica_can_be() {
    let world = World::new().await;
    let config = lease::Config {
        namespace: "absent".to_owned(),
        identity: "laptop".to_owned(),
        duration: BRIEF,
        alone_without_namespace: true,
    };
    let (election, leadership) = Election::new(world.api.client.clone(), config.clone());
    let running = tokio::spawn(election.run(tokio_util::sync::CancellationToken::new()));
    timeout(PATIENCE, leadership.gained()).await.unwrap();
    running.abort();

    let beside = lease::Config {
        namespace: NAMESPACE.to_owned(),
        ..config
    };
    let holder = world.compete("pod", LASTING);
    leads(&holder).await;
    let (election, leadership) = Election::new(world.api.client.clone(), beside);
    let running = tokio::spawn(election.run(tokio_util::sync::CancellationToken::new()));
    while leadership.leader().as_deref() != Some("pod") {
        tokio::task::yield_now().await;
    }
    assert!(!leadership.leads());
    running.abort();
}
