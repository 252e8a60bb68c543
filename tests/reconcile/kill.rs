//! `kill -9` of the real process at random moments: every rollout ends as it would have, nothing is done twice, and
//! clients are answered all the while.
//!
//! A slice of it in every test run; `hack/e2e/kill` runs the whole. `KILL_ROLLOUTS` and `KILL_SEED` say how much and which.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: kills and asks by the clock, beside what it watches"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use devcluster::client::{Change, Resource};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use verdigris::console::verdict::Target;
use verdigris::model::canary::TargetKind;

use super::world::{NAMESPACE, World};

const ITERATIONS: i64 = 3;
const THRESHOLD: i64 = 2;
/// Canaries at once, at most.
const CROWD: usize = 40;

/// What becomes of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    BadMetric,
    BadHook,
    NeverReady,
}

impl Fate {
    fn phase(self) -> &'static str {
        match self {
            Fate::Good => "Succeeded",
            Fate::BadMetric | Fate::BadHook | Fate::NeverReady => "Failed",
        }
    }
}

/// SplitMix64: the same seed, the same moments.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// The real process, and what is needed to start it again.
struct Process {
    arguments: Vec<String>,
    log: PathBuf,
    /// What was logged by those before it, bytes.
    before: usize,
    child: Option<Child>,
}

impl Process {
    fn start(&mut self) {
        self.before = std::fs::read_to_string(&self.log).unwrap_or_default().len();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_verdigris"))
            .args(&self.arguments)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// SIGKILL, and what it had come to say before: it must not have ended by itself.
    async fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        if let Some(ended) = child.try_wait().unwrap() {
            panic!("the process ended by itself ({ended}):\n{}", self.last_words());
        }
        child.kill().await.unwrap();
    }

    /// Its caches are warm.
    async fn until_it_works(&self) {
        let began = Instant::now();
        let works = || {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            text.get(self.before..)
                .is_some_and(|life| life.contains("caches are warm"))
        };
        while !works() {
            assert!(
                began.elapsed() < Duration::from_secs(90),
                "it never works:\n{}",
                self.last_words()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// Everything the cluster saw, whoever was alive.
#[derive(Default)]
struct Seen {
    /// Every state of every Canary.
    canaries: HashMap<String, Vec<Value>>,
    /// What an apex selected after it had selected its primary, if that was something else.
    strays: Vec<String>,
    /// Primaries that lost their last available pod.
    outages: Vec<String>,
    turned: BTreeSet<String>,
    serving: BTreeSet<String>,
}

impl Seen {
    fn note(&mut self, plural: &str, object: Value) {
        if object["metadata"]["namespace"] != NAMESPACE {
            return;
        }
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        match plural {
            "canaries" => self.canaries.entry(name).or_default().push(object),
            "services" if !name.ends_with("-primary") && !name.ends_with("-canary") => {
                let selected = object["spec"]["selector"]["app"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if selected == format!("{name}-primary") {
                    self.turned.insert(name);
                } else if self.turned.contains(&name) {
                    self.strays.push(format!("{name} selected {selected}"));
                }
            }
            "deployments" if name.ends_with("-primary") => {
                let available = object["status"]["availableReplicas"].as_i64().unwrap_or_default();
                if available > 0 {
                    self.serving.insert(name);
                } else if self.serving.contains(&name) {
                    self.outages.push(name);
                }
            }
            _ => {}
        }
    }
}

fn canary(world: &World, name: &str) -> Value {
    let hook =
        |kind: &str| json!({"name": kind, "type": kind, "url": format!("{}/hook/{kind}", world.stub.url)});
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "progressDeadlineSeconds": 4,
            "service": {"port": 9898},
            "analysis": {
                "interval": "300ms", "threshold": THRESHOLD, "iterations": ITERATIONS,
                "metrics": [{
                    "name": "errors", "interval": "1m", "thresholdRange": {"max": 5},
                    "query": format!("sum(rate(errors_total{{app=\"{name}\"}}[1m]))"),
                }],
                "webhooks": [hook("pre-rollout"), hook("rollout")],
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_at_random_moments_does_nothing_twice() {
    let (rollouts, seed) = (number("KILL_ROLLOUTS", 10), number("KILL_SEED", 7));
    let mut dice = Dice(seed);
    let world = World::new().await;
    let crowd = CROWD.min(usize::try_from(rollouts).unwrap());
    let rounds = usize::try_from(rollouts).unwrap().div_ceil(crowd);
    let names: Vec<String> = (0..crowd).map(|number| format!("app-{number}")).collect();
    let folder = std::env::temp_dir().join(format!("verdigris-kill-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(&kubeconfig, world.kubeconfig()).unwrap();
    // The same address for every process: it is the name it leads under.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut process = Process {
        arguments: [
            "run",
            "--kubeconfig",
            &kubeconfig.display().to_string(),
            "--listen",
            &free.to_string(),
            "--webhook-url",
            &format!("https://{free}"),
            "--metrics-server",
            &world.stub.url,
            "--min-analysis-interval",
            "50ms",
        ]
        .map(str::to_owned)
        .to_vec(),
        log: folder.join("verdigris.log"),
        before: 0,
        child: None,
    };

    let seen: Arc<Mutex<Seen>> = Arc::default();
    for (group, version, plural) in [
        ("flagger.app", "v1beta1", "canaries"),
        ("", "v1", "services"),
        ("apps", "v1", "deployments"),
    ] {
        let (seen, mut changes) = (
            Arc::clone(&seen),
            world
                .cluster
                .client()
                .watch(Resource::new(group, version, plural)),
        );
        tokio::spawn(async move {
            while let Some(change) = changes.next().await {
                if let Change::Applied(object) = change {
                    seen.lock().unwrap().note(plural, object);
                }
            }
        });
    }
    for name in &names {
        let mut deployment = super::deployment(name);
        deployment["spec"]["replicas"] = json!(1);
        world.create(deployment).await;
        world.create(canary(&world, name)).await;
    }
    process.start();
    let mut kills = 0;
    let began = Instant::now();
    kills += kill_until_over(&world, &names, |_, _| "Initialized", &mut process, &mut dice).await;

    // Clients of every application, from here on.
    let lost: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let traffic = {
        let (lost, names, cluster) = (Arc::clone(&lost), names.clone(), Arc::clone(&world.cluster));
        let mut dice = Dice(seed);
        tokio::spawn(async move {
            loop {
                let name = &names[usize::try_from(dice.roll(names.len() as u64)).unwrap()];
                if let Err(error) = cluster
                    .pods()
                    .unwrap()
                    .dial(&format!("{name}.{NAMESPACE}"), 9898)
                    .await
                {
                    *lost
                        .lock()
                        .unwrap()
                        .entry(format!("{name}: {error}"))
                        .or_default() += 1;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    let mut fates: HashMap<String, Vec<Fate>> = HashMap::new();
    for round in 0..rounds {
        let mut hashes = HashMap::new();
        for name in &names {
            let fate = match dice.roll(6) {
                0 => Fate::BadMetric,
                1 => Fate::BadHook,
                2 => Fate::NeverReady,
                _ => Fate::Good,
            };
            fates.entry(name.clone()).or_default().push(fate);
            world
                .stub
                .judge(name, fate == Fate::BadMetric, fate == Fate::BadHook);
            let suffix = if fate == Fate::NeverReady {
                "-never-ready"
            } else {
                ""
            };
            world
                .image("Deployment", name, &format!("podinfo:{}{suffix}", round + 2))
                .await;
            let target = world.get("Deployment", name).await;
            hashes.insert(name.clone(), Target::of(TargetKind::Deployment, &target).hash);
        }
        let expected = |name: &str, status: &Value| {
            let judged = status["lastAppliedSpec"] == hashes[name].as_str();
            if judged {
                fates[name].last().unwrap().phase()
            } else {
                "judged"
            }
        };
        kills += kill_until_over(&world, &names, expected, &mut process, &mut dice).await;
    }
    traffic.abort();

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let mut wrong = Vec::new();
    wrong.extend(
        seen.strays
            .iter()
            .map(|stray| format!("production was turned away: {stray}")),
    );
    wrong.extend(
        seen.outages
            .iter()
            .map(|name| format!("{name} had no available pod")),
    );
    wrong.extend(
        lost.lock()
            .unwrap()
            .iter()
            .map(|(what, times)| format!("{times} clients lost: {what}")),
    );
    for name in &names {
        wrong.extend(judge(&world, name, &fates[name], &seen.canaries[name], kills).await);
    }
    println!(
        "{} rollouts, {kills} kills (seed {seed}) in {} s",
        rounds * crowd,
        began.elapsed().as_secs()
    );
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), process.last_words());
    assert!(kills >= 3, "{kills} kills");
    process.kill().await;
    let _ = std::fs::remove_dir_all(folder);
}

/// Kills and starts the process until every Canary is in the phase it should come to; how often it was killed.
async fn kill_until_over(
    world: &World,
    names: &[String],
    expected: impl Fn(&str, &Value) -> &'static str,
    process: &mut Process,
    dice: &mut Dice,
) -> u64 {
    let (mut kills, began) = (0, Instant::now());
    let over = async |name: &String| {
        let object = world.get("Canary", name).await;
        object["status"]["phase"] == expected(name, &object["status"])
    };
    loop {
        // One life in four ends in its first moments, the others some time after it began to work.
        if dice.roll(4) == 0 {
            tokio::time::sleep(Duration::from_millis(dice.roll(1_500))).await;
        } else {
            process.until_it_works().await;
            tokio::time::sleep(Duration::from_millis(dice.roll(2_500))).await;
        }
        let mut open = Vec::new();
        for name in names {
            if !over(name).await {
                open.push(name);
            }
        }
        if open.is_empty() {
            return kills;
        }
        assert!(
            began.elapsed() < Duration::from_secs(420),
            "not over after {kills} kills: {open:?}, {}\n{}",
            world.get("Canary", open[0]).await["status"],
            process.last_words()
        );
        // So that a slow machine gets there too, lives grow longer after a while.
        if kills < 25 || dice.roll(8) == 0 {
            process.kill().await;
            process.start();
            kills += 1;
        }
    }
}

/// What became of one Canary: its end, its promotions, its counters, its hooks.
async fn judge(world: &World, name: &str, fates: &[Fate], states: &[Value], kills: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut complain = |what: String| wrong.push(format!("{name} ({fates:?}): {what}"));
    let promotions = fates.iter().filter(|fate| **fate == Fate::Good).count();

    // One ReplicaSet of the primary for the bootstrap, and one for each promotion.
    let sets = Resource::new("apps", "v1", "replicasets");
    let sets = world.cluster.client().list(sets, NAMESPACE, "").await.unwrap();
    let primary = format!("{name}-primary");
    let owned = sets
        .iter()
        .filter(|set| set["metadata"]["ownerReferences"][0]["name"] == primary)
        .count();
    if owned != promotions + 1 {
        complain(format!(
            "{owned} ReplicaSets of the primary, expected {}",
            promotions + 1
        ));
    }
    let last = fates
        .iter()
        .rposition(|fate| *fate == Fate::Good)
        .map_or(1, |round| round + 2);
    let primary = world.get("Deployment", &primary).await;
    if super::image_of(&primary) != format!("podinfo:{last}") {
        complain(format!(
            "the primary runs {}, expected podinfo:{last}",
            super::image_of(&primary)
        ));
    }
    let target = world.get("Deployment", name).await;
    if target["spec"]["replicas"] != 0 {
        complain(format!("the target has {} replicas", target["spec"]["replicas"]));
    }

    // Counters move by one or start over, and nothing is promoted before all iterations.
    let count = |status: &Value, key: &str| status[key].as_i64().unwrap_or_default();
    for pair in states.windows(2) {
        let (old, new) = (&pair[0]["status"], &pair[1]["status"]);
        for key in ["iterations", "failedChecks"] {
            let (before, after) = (count(old, key), count(new, key));
            if after != 0 && after != before && after != before + 1 {
                complain(format!("{key} went from {before} to {after}"));
            }
        }
        if new["phase"] == "Promoting"
            && old["phase"] != "Promoting"
            && count(old, "iterations") != ITERATIONS + 1
        {
            complain(format!("promoted after {} iterations", count(old, "iterations")));
        }
    }
    let successes = states
        .windows(2)
        .filter(|pair| {
            pair[0]["status"]["phase"] == "Finalising" && pair[1]["status"]["phase"] == "Succeeded"
        })
        .count();
    if successes != promotions {
        complain(format!("{successes} promotions ended, expected {promotions}"));
    }

    // A hook is asked again with the same checksum or not at all; a kill explains one more call.
    for (hook, calls_of) in [
        ("pre-rollout", asked_before as fn(Fate) -> u64),
        ("rollout", asked_during),
    ] {
        let calls = world.stub.calls_for(hook, name);
        let mut by_run: Vec<(String, u64)> = Vec::new();
        for body in &calls {
            let checksum = body["checksum"].as_str().unwrap().to_owned();
            match by_run.last_mut() {
                Some((last, times)) if *last == checksum => *times += 1,
                _ => by_run.push((checksum, 1)),
            }
        }
        let expected: Vec<u64> = fates
            .iter()
            .map(|fate| calls_of(*fate))
            .filter(|times| *times > 0)
            .collect();
        if by_run.len() != expected.len() {
            complain(format!(
                "{hook} was asked in {} runs, expected {}",
                by_run.len(),
                expected.len()
            ));
        }
        for ((checksum, times), expected) in by_run.iter().zip(expected) {
            if !(expected..=expected + kills).contains(times) {
                complain(format!(
                    "{hook} was asked {times} times with {checksum}, expected {expected} and {kills} kills"
                ));
            }
        }
    }
    wrong
}

fn asked_before(fate: Fate) -> u64 {
    match fate {
        Fate::Good | Fate::BadMetric => 1,
        Fate::BadHook => THRESHOLD.unsigned_abs(),
        Fate::NeverReady => 0,
    }
}

/// For N iterations N+1 times.
fn asked_during(fate: Fate) -> u64 {
    match fate {
        Fate::Good => ITERATIONS.unsigned_abs() + 1,
        Fate::BadMetric => THRESHOLD.unsigned_abs(),
        Fate::BadHook | Fate::NeverReady => 0,
    }
}
