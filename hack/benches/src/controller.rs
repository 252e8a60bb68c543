//! What the controller costs: a thousand idle Canaries, new revisions, many rollouts at once, a restart.
//!
//! The embedded API server runs here, with somebody who reports every Deployment as ready at once; `verdigris run` is a
//! process of its own (release build), and it alone is measured: its memory and processor time as the kernel counts
//! them, its requests as the API server sees them.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "measures with the clock, prints, and stops at the first surprise"
)]

mod board;
mod process;
mod requests;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use board::Board;
use devcluster::DevCluster;
use devcluster::client::{Client, Resource};
use process::Process;
use requests::Requests;
use serde_json::{Value, json};

const NAMESPACE: &str = "bench";
const INTERVAL: Duration = Duration::from_secs(10);
const ITERATIONS: u32 = 3;
const DEPLOYMENTS: Resource = Resource::new("apps", "v1", "deployments");
const CANARIES: Resource = Resource::new("flagger.app", "v1beta1", "canaries");

/// Resident memory with a thousand idle Canaries, MiB.
const MEMORY: f64 = 60.0;
/// Processor time of idle Canaries, per cent of one core.
const PROCESSOR: f64 = 1.0;
/// From a new revision to the canary being scaled up.
const SEEN: Duration = Duration::from_secs(1);
/// Rollouts over (iterations + 1) × interval.
const STRETCH: f64 = 1.05;
/// From the start of a process to its last first look.
const WARM: Duration = Duration::from_secs(10);
/// Requests in any second of a restart (Flagger's client is limited to 100).
const BURST: usize = 100;

/// One line of the table.
struct Row {
    what: String,
    measured: String,
    limit: String,
    good: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, usual: usize| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(usual, |at| arguments[at + 1].parse().unwrap())
    };
    let (canaries, running, rollouts) = (
        number("--canaries", 1000),
        number("--running", 100),
        number("--rollouts", 200),
    );
    let window = Duration::from_secs(number("--window", 60) as u64);
    assert!(
        running * 2 + rollouts <= canaries,
        "too few Canaries for what is to run"
    );
    let requests = Requests::count();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let rows = runtime.block_on(bench(canaries, running, rollouts, window, &requests));
    println!("\n| {canaries} Canaries | measured | limit | |\n|---|---|---|---|");
    for row in &rows {
        let word = if row.good { "ok" } else { "EXCEEDED" };
        println!("| {} | {} | {} | {word} |", row.what, row.measured, row.limit);
    }
    if rows.iter().all(|row| row.good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn bench(
    canaries: usize,
    running: usize,
    rollouts: usize,
    window: Duration,
    requests: &Requests,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let config = devcluster::Config {
        controllers: false,
        ..devcluster::Config::default()
    };
    let cluster = DevCluster::start(config).await.unwrap();
    let client = cluster.client();
    let answers = answers().await;
    let names = found(&client, canaries, running, &answers).await;
    let board = Board::watch(&client);
    let mut process = Process::new(cluster.kubeconfig(), &answers);

    println!("bootstrapping {canaries} Canaries …");
    let began = Instant::now();
    process.start();
    board
        .until(|board| names.iter().all(|name| board.phase(name) == "Initialized"))
        .await;
    println!(
        "… {} s, {} MiB at the peak",
        began.elapsed().as_secs(),
        process.peak_mib()
    );

    // A process that has done nothing else: the usual state of one.
    tokio::time::sleep(Duration::from_secs(3)).await;
    process.stop().await;
    requests.forget();
    let began = Instant::now();
    process.start();
    let warm = process.until_reconciled(canaries).await - began;
    rows.push(Row {
        what: "restart: every Canary looked at".to_owned(),
        measured: format!("{:.1} s", warm.as_secs_f64()),
        limit: format!("< {} s", WARM.as_secs()),
        good: warm < WARM,
    });
    let burst = requests.busiest_second();
    rows.push(Row {
        what: "restart: requests in the busiest second".to_owned(),
        measured: format!("{burst} ({} in all)", requests.others().len()),
        limit: format!("≤ {BURST}"),
        good: burst <= BURST,
    });

    tokio::time::sleep(Duration::from_secs(5)).await;
    requests.forget();
    let (cpu, began) = (process.cpu(), Instant::now());
    tokio::time::sleep(window).await;
    let share = process.cpu().saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    let others = requests.others();
    rows.push(Row {
        what: format!(
            "idle for {} s: requests beyond watches and the lease",
            window.as_secs()
        ),
        measured: format!("{} {}", others.len(), requests::most_frequent(&others)),
        limit: "0".to_owned(),
        good: others.is_empty(),
    });
    rows.push(Row {
        what: "idle: processor".to_owned(),
        measured: format!("{share:.2} % of a core"),
        limit: format!("< {PROCESSOR} %"),
        good: share < PROCESSOR,
    });
    let memory = process.resident_mib();
    rows.push(Row {
        what: "idle: resident memory".to_owned(),
        measured: format!("{memory:.1} MiB (peak {:.1})", process.peak_mib()),
        limit: format!("< {MEMORY} MiB"),
        good: memory < MEMORY,
    });

    println!("{running} long rollouts begin …");
    let (long, short) = names.split_at(running);
    for name in long {
        release(&client, name, 2).await;
    }
    board
        .until(|board| long.iter().all(|name| board.phase(name) == "Progressing"))
        .await;
    let mut delays = Vec::new();
    for name in &short[..running] {
        let began = Instant::now();
        release(&client, name, 2).await;
        board
            .until(|board| board.scaled_up(name).is_some_and(|at| at > began))
            .await;
        delays.push(board.scaled_up(name).unwrap() - began);
    }
    delays.sort_unstable();
    let p99 = delays[delays.len() * 99 / 100];
    rows.push(Row {
        what: format!(
            "new revision → scaled up, {running} running: p99 of {}",
            delays.len()
        ),
        measured: format!(
            "{} ms (median {} ms)",
            p99.as_millis(),
            delays[delays.len() / 2].as_millis()
        ),
        limit: format!("< {} ms", SEEN.as_millis()),
        good: p99 < SEEN,
    });

    println!("{rollouts} rollouts at once …");
    let crowd = &short[running..running + rollouts];
    let mut began = Vec::new();
    for name in crowd {
        began.push(Instant::now());
        release(&client, name, 2).await;
    }
    board
        .until(|board| crowd.iter().all(|name| board.phase(name) == "Succeeded"))
        .await;
    let mut took: Vec<Duration> = crowd
        .iter()
        .zip(&began)
        .map(|(name, began)| board.since(name).unwrap() - *began)
        .collect();
    took.sort_unstable();
    let (expected, last) = (INTERVAL * (ITERATIONS + 1), took[took.len() - 1]);
    rows.push(Row {
        what: format!(
            "{rollouts} rollouts at once, (iterations + 1) × interval = {} s: the slowest",
            expected.as_secs()
        ),
        measured: format!(
            "{:.2} s (median {:.2} s)",
            last.as_secs_f64(),
            took[took.len() / 2].as_secs_f64()
        ),
        limit: format!("≤ {:.1} s", expected.as_secs_f64() * STRETCH),
        good: last <= expected.mul_f64(STRETCH),
    });
    let errors = process.failed_passes().await;
    rows.push(Row {
        what: "passes that ended in an error".to_owned(),
        measured: errors.to_string(),
        limit: "0".to_owned(),
        good: errors == 0,
    });
    process.stop().await;
    cluster.stop().await;
    rows
}

/// Everything there is before the process starts: definitions, Deployments, Canaries. Their names, the long ones first.
async fn found(client: &Client, canaries: usize, running: usize, answers: &str) -> Vec<String> {
    let definitions = Resource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    for crd in verdigris::api::crd::all(None) {
        let crd = serde_json::to_value(&crd).unwrap();
        client.create(definitions, "", crd).await.unwrap();
    }
    let namespaces = Resource::new("", "v1", "namespaces");
    for namespace in [NAMESPACE, "verdigris-system"] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        client.create(namespaces, "", object).await.unwrap();
    }
    let mut names = Vec::new();
    for number in 0..canaries {
        let (name, iterations) = if number < running {
            (format!("long-{number}"), 1000)
        } else {
            (format!("app-{number}"), ITERATIONS)
        };
        client
            .create(DEPLOYMENTS, NAMESPACE, deployment(&name))
            .await
            .unwrap();
        client
            .create(CANARIES, NAMESPACE, canary(&name, iterations, answers))
            .await
            .unwrap();
        names.push(name);
    }
    names
}

/// A Deployment as a team would write it.
fn deployment(name: &str) -> Value {
    let variables: Vec<Value> = (0..12)
        .map(|number| json!({"name": format!("SETTING_{number}"), "value": format!("value-{number}-of-{name}")}))
        .collect();
    let probe =
        json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5, "timeoutSeconds": 2});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "labels": {"app": name, "team": "bench"},
            "annotations": {"example.com/owner": "bench", "example.com/source": format!("https://example.com/{name}.git")},
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": {"prometheus.io/scrape": "true"}},
                "spec": {"containers": [{
                    "name": "app", "image": "registry.example.com/app:1", "env": variables,
                    "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
                    "readinessProbe": probe, "livenessProbe": probe,
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                }]},
            },
        },
    })
}

fn canary(name: &str, iterations: u32, answers: &str) -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "progressDeadlineSeconds": 120,
            "service": {"port": 80, "targetPort": "http"},
            "analysis": {
                "interval": "10s", "threshold": 2, "iterations": iterations,
                "metrics": [{
                    "name": "errors", "interval": "1m", "thresholdRange": {"max": 5},
                    "query": format!("sum(rate(http_requests_total{{app=\"{name}\",status=~\"5..\"}}[1m]))"),
                }],
                "webhooks": [
                    {"name": "acceptance", "type": "pre-rollout", "url": format!("{answers}/hook")},
                    {"name": "load", "type": "rollout", "url": format!("{answers}/hook")},
                ],
            },
        },
    })
}

async fn release(client: &Client, name: &str, version: u32) {
    let object = client.get(DEPLOYMENTS, NAMESPACE, name).await.unwrap();
    let mut containers = object["spec"]["template"]["spec"]["containers"].clone();
    containers[0]["image"] = json!(format!("registry.example.com/app:{version}"));
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    client
        .merge(DEPLOYMENTS, "", NAMESPACE, name, patch)
        .await
        .unwrap();
}

/// Hooks that approve and a metric server that is content; where they listen.
async fn answers() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let value = json!({"status": "success", "data": {
        "resultType": "vector", "result": [{"metric": {}, "value": [1.0, "0"]}],
    }});
    let router = axum::Router::new()
        .route("/hook", axum::routing::post(|| async {}))
        .route(
            "/api/v1/query",
            axum::routing::get(move || async move { axum::Json(value) }),
        );
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
