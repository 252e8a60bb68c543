//! What an API server sees of the webhooks while their certificate authority is replaced and while their replicas are.
//!
//! Two processes of the release build on the embedded cluster. The callers do as an API server does: kept-alive
//! HTTP/1.1, the name of the Service, the `caBundle` that stands in the targets, only replicas whose readiness probe
//! succeeds, and another try a second later for a 429 with `Retry-After`. Everything else that is no answer is a
//! failed call.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "measures with the clock, prints, and stops at the first surprise"
)]

mod admission;
mod line;
mod objects;
mod replica;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use devcluster::DevCluster;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinSet;
use verdigris::pki::store;

use line::Lines;
use replica::Replica;

const SYSTEM: &str = "verdigris-system";
/// Cold start to ready with an existing authority, at most.
const COLD: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, usual: u64| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(usual, |at| arguments[at + 1].parse().unwrap())
    };
    let (rate, settle) = (number("--rate", 200), number("--settle", 10));
    let verdigris = std::env::current_exe().unwrap().with_file_name("verdigris");
    let world = World::start(verdigris, settle).await;

    let mut replicas = vec![world.replica(), world.replica()];
    for replica in &replicas {
        replica.until_ready().await;
    }
    let load = Load::start(&world, rate);
    for replica in &replicas {
        load.lines.add(replica.address);
    }
    println!("| what | time | reviews | conversions | failed (0) | p50 | p99 | slowest |");
    println!("|---|---|---|---|---|---|---|---|");
    load.during("nothing happens", async {
        tokio::time::sleep(Duration::from_secs(10)).await;
    })
    .await;
    load.during("the authority is replaced", rotation(&world, &replicas))
        .await;
    let mut colds = Vec::new();
    load.during("both replicas are replaced", async {
        for _ in 0..2 {
            let began = Instant::now();
            let fresh = world.replica();
            fresh.until_ready().await;
            colds.push(began.elapsed());
            load.lines.add(fresh.address);
            let old = replicas.remove(0);
            // A pod that is being deleted leaves the endpoints; SIGTERM does not wait for that.
            old.terminate();
            load.lines.leave(old.address, &old).await;
            old.ended().await;
            replicas.push(fresh);
        }
    })
    .await;
    let failures = load.stop().await;

    // Nothing else runs now: one more start, as the target says.
    let began = Instant::now();
    let last = world.replica();
    last.until_ready().await;
    let cold = began.elapsed();
    println!(
        "\nCold start to ready with an existing authority: {cold:.0?} (< {COLD:.0?}); under load {colds:.0?}"
    );
    for replica in replicas.iter().chain([&last]) {
        replica.kill();
    }
    for (reason, count) in &failures {
        println!("failed {count} times: {reason}");
    }
    if failures.is_empty() && cold < COLD {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Asks for another authority and waits until every replica serves a certificate of it.
async fn rotation(world: &World, replicas: &[Replica]) {
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), SYSTEM);
    let signer = async || {
        let secret = secrets.get(store::NAME).await.unwrap();
        String::from_utf8(secret.data.unwrap()["tls.crt"].0.clone()).unwrap()
    };
    let before = signer().await;
    let asked = json!({"metadata": {"annotations": {store::ROTATE: "now"}}});
    secrets
        .patch(store::NAME, &PatchParams::default(), &Patch::Merge(asked))
        .await
        .unwrap();
    let after = loop {
        let now = signer().await;
        if now != before {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for replica in replicas {
        while line::open(replica.address, &after).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The cluster, and what replicas are started with.
struct World {
    _cluster: DevCluster,
    client: Client,
    folder: PathBuf,
    verdigris: PathBuf,
    settle: u64,
}

impl World {
    async fn start(verdigris: PathBuf, settle: u64) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cluster = DevCluster::start(devcluster::Config::default()).await.unwrap();
        let kubeconfig = Kubeconfig::from_yaml(cluster.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": SYSTEM}})).unwrap();
        Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let folder = std::env::temp_dir().join(format!("verdigris-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kubeconfig"), cluster.kubeconfig()).unwrap();
        Self {
            _cluster: cluster,
            client,
            folder,
            verdigris,
            settle,
        }
    }

    fn replica(&self) -> Replica {
        Replica::start(&self.verdigris, &self.folder, SYSTEM, self.settle)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Latencies and failures since the last look.
#[derive(Default)]
struct Tally {
    latencies: [Vec<Duration>; 2],
    failures: BTreeMap<String, usize>,
}

/// Callers at a steady rate, whatever becomes of their calls.
struct Load {
    lines: Arc<Lines>,
    tally: Arc<Mutex<Tally>>,
    all: Mutex<BTreeMap<String, usize>>,
    stop: Arc<AtomicBool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Load {
    fn start(world: &World, rate: u64) -> Self {
        let (lines, tally, stop) = (
            Arc::new(Lines::default()),
            Arc::<Mutex<Tally>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let mut tasks = JoinSet::new();
        let bodies = [
            Bytes::from(admission::review()),
            Bytes::from(objects::review(objects::Shape::Old, 1)),
        ];
        for (kind, body) in bodies.into_iter().enumerate() {
            let (lines, tally, stop) = (Arc::clone(&lines), Arc::clone(&tally), Arc::clone(&stop));
            tasks.spawn(async move {
                let mut calls = JoinSet::new();
                let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    if !lines.is_open() {
                        continue;
                    }
                    let (lines, tally, body) = (Arc::clone(&lines), Arc::clone(&tally), body.clone());
                    calls.spawn(async move {
                        let path = ["/validate?timeout=10s", "/convert?timeout=30s"][kind];
                        let began = Instant::now();
                        let called = lines.call(path, &body).await;
                        let mut tally = tally.lock().unwrap();
                        match called {
                            Ok(()) => tally.latencies[kind].push(began.elapsed()),
                            Err(reason) => *tally.failures.entry(reason).or_default() += 1,
                        }
                    });
                    while calls.try_join_next().is_some() {}
                }
                calls.join_all().await;
            });
        }
        // As an API server learns of a new bundle: a moment later.
        let (following, stopping, client) = (Arc::clone(&lines), Arc::clone(&stop), world.client.clone());
        tasks.spawn(async move {
            while !stopping.load(Ordering::Relaxed) {
                let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
                if let Ok(found) = definitions.get("canaries.flagger.app").await
                    && let Some(conversion) = found.spec.conversion
                    && let Some(bundle) = conversion
                        .webhook
                        .and_then(|webhook| webhook.client_config?.ca_bundle)
                {
                    following.trust(&String::from_utf8_lossy(&bundle.0));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        Self {
            lines,
            tally,
            all: Mutex::default(),
            stop,
            tasks: Mutex::new(tasks),
        }
    }

    /// Prints what callers saw while something was done.
    async fn during(&self, what: &str, done: impl Future<Output = ()>) {
        *self.tally.lock().unwrap() = Tally::default();
        let began = Instant::now();
        done.await;
        let took = began.elapsed();
        let Tally { latencies, failures } = std::mem::take(&mut *self.tally.lock().unwrap());
        let [reviews, conversions] = latencies.each_ref().map(Vec::len);
        let mut together: Vec<Duration> = latencies.into_iter().flatten().collect();
        together.sort_unstable();
        let at = |part: f64| together[((together.len() - 1) as f64 * part) as usize];
        println!(
            "| {what} | {took:.1?} | {reviews} | {conversions} | {} | {:.2?} | {:.2?} | {:.2?} |",
            failures.values().sum::<usize>(),
            at(0.5),
            at(0.99),
            at(1.0),
        );
        let mut all = self.all.lock().unwrap();
        for (reason, count) in failures {
            *all.entry(reason).or_default() += count;
        }
    }

    async fn stop(&self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        tasks.join_all().await;
        let mut all = std::mem::take(&mut *self.all.lock().unwrap());
        for (reason, count) in std::mem::take(&mut self.tally.lock().unwrap().failures) {
            *all.entry(reason).or_default() += count;
        }
        all
    }
}
