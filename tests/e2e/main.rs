//! Whole releases through a whole API server, with the real `kubectl` and the real binary: every scenario of Flagger's
//! own suite for plain Kubernetes, those it lacks, and conversion.
//!
//! One test plays all scenarios side by side, each in a namespace of its own; `E2E=word` plays those whose name has the
//! word. Where it plays: [`stage`]. Skipped, with a message, where no kubectl of 1.28 or newer is on PATH.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "shell: plays side by side, with a client of its own"
)]

mod conversion;
mod kubectl;
mod objects;
mod process;
mod releases;
mod scene;
mod stage;
mod stub;
mod traffic;
mod upstream;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use scene::Scene;
use stage::Stage;

/// Scenarios at once; kubectl is what costs.
const AT_ONCE: usize = 8;

type Play = fn(Scene) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! scenarios {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$({
            fn play(scene: Scene) -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin($module::$name(scene))
            }
            (stringify!($name), play as Play)
        }),*]
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenarios_of_a_release() {
    let wanted = std::env::var("E2E").unwrap_or_default();
    let Some(stage) = Stage::set().await else { return };
    let stage = Arc::new(stage);
    // The longest first.
    let all = scenarios![
        upstream::deployment,
        upstream::daemon_set,
        releases::bad_image,
        releases::retries,
        objects::configs,
        objects::hands,
        releases::skipped_analysis,
        releases::promotion_gate,
        upstream::autoscaler,
        objects::rivals,
        releases::suspended,
        releases::metrics_outage,
        releases::newer_revision,
        releases::rollout_gate,
        releases::rollback_hook,
        releases::payloads,
        objects::reverted_deletion,
        objects::plain_deletion,
        objects::lost_primary,
        objects::namespaces,
    ];
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut playing = JoinSet::new();
    for (name, play) in all.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let (stage, places) = (Arc::clone(&stage), Arc::clone(&places));
        playing.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let scene = Scene::set(&stage, name).await;
            let namespace = scene.namespace.clone();
            let played = tokio::spawn(play(scene)).await;
            let arguments = ["delete", "namespace", &namespace, "--wait=false"];
            stage.kubectl(&arguments, "").await.good();
            played.err().map(|error| format!("{name}: {error}"))
        });
    }
    let mut failures: Vec<String> = playing.join_all().await.into_iter().flatten().collect();
    if "killed".contains(&wanted) {
        let on = Arc::clone(&stage);
        let played = tokio::spawn(async move { process::killed(&on).await }).await;
        failures.extend(played.err().map(|error| format!("killed: {error}")));
    }
    if "uninstalled".contains(&wanted) && failures.is_empty() {
        process::uninstalled(&stage).await;
    }
    assert!(failures.is_empty(), "{failures:#?}\n{}", stage.story());
    let Some(stage) = Arc::into_inner(stage) else {
        panic!("a scenario outlived the test");
    };
    stage.clear().await;
}
