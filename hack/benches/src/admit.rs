//! What an admission review costs: in the process, over TLS, and in memory.
//!
//! One review is a Canary of 10 kB with five queries and four hooks, among neighbours. Time is measured by the clock and
//! as processor time of the side that answers: the first is what a user waits, the second does not depend on what else
//! the machine does.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "measures with the clock, prints, and stops at the first surprise"
)]

mod cpu;
mod neighbours;
mod objects;
mod wire;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use verdigris::model::parse::Settings;
use verdigris::telemetry::Metrics;
use verdigris::webhook::{self, State};

use neighbours::{NAMES, around, review};
use wire::Call;

/// Half of all reviews in the process are answered within this.
const P50: Duration = Duration::from_micros(300);
/// 99 of 100 reviews in the process are answered within this.
const P99: Duration = Duration::from_millis(2);
/// 99 of 100 reviews over TLS are answered within this.
const P99_TLS: Duration = Duration::from_millis(5);
/// Reviews a second and core over TLS, at least.
const RATE: f64 = 5_000.0;
/// Growth of resident memory from a tenth of the reviews to their end, MiB, at most.
const GROWTH: f64 = 4.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, usual: usize| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(usual, |at| arguments[at + 1].parse().unwrap())
    };
    let (calls, reviews) = (number("--calls", 20_000), number("--reviews", 1_000_000));
    let state = Arc::new(
        State::new(Settings::default(), Arc::new(Metrics::new()))
            .looking_around(around(), vec!["app".to_owned()]),
    );
    let body = Bytes::from(review());
    println!(
        "One review: {:.1} kB, {NAMES} namespaces around it.\n",
        body.len() as f64 / 1e3
    );
    let mut good = true;

    println!("{calls} reviews in the process, one after the other:\n");
    println!("| webhook | p50 (< {P50:?}) | p99 (< {P99:?}) | p99.9 | worst | processor time each |");
    println!("|---|---|---|---|---|---|");
    for path in ["/validate", "/mutate"] {
        let (latencies, busy) = in_process(&state, path, &body, calls);
        let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
        good &= at(0.5) < P50 && at(0.99) < P99;
        println!(
            "| {path} | **{:.1?}** | **{:.1?}** | {:.1?} | {:.1?} | {:.1?} |",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            busy / calls as u32
        );
    }

    println!("\n{calls} reviews over kept-alive TLS to the real listener:\n");
    println!(
        "| connections | reviews/s | per core (> {RATE}) | p50 | p90 | p99 (< {P99_TLS:?}) | p99.9 | worst |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for connections in [1, 4] {
        let call = Call {
            path: "/validate?timeout=10s",
            body: body.clone(),
            expected: br#""allowed":true"#,
        };
        let measured = wire::measure(Arc::clone(&state), &call, connections, calls);
        let at = |part: f64| measured.latencies[((measured.latencies.len() - 1) as f64 * part) as usize];
        let count = measured.latencies.len() as f64;
        let rate = count / measured.busy.as_secs_f64();
        good &= at(0.99) < P99_TLS && rate > RATE;
        println!(
            "| {connections} | {:.0} | **{rate:.0}** | {:.2?} | {:.2?} | **{:.2?}** | {:.2?} | {:.2?} |",
            count / measured.took.as_secs_f64(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0),
        );
    }

    println!("\n{reviews} reviews in the process, resident memory:\n");
    println!("| after a tenth | at the end | growth (< {GROWTH} MiB) |");
    println!("|---|---|---|");
    in_process(&state, "/validate", &body, reviews / 10);
    let early = resident();
    in_process(&state, "/validate", &body, reviews - reviews / 10);
    let late = resident();
    good &= late - early < GROWTH;
    println!(
        "| {early:.1} MiB | {late:.1} MiB | **{:+.1} MiB** |",
        late - early
    );

    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Reviews through the router without a socket: latencies in ascending order, and processor time of all threads.
fn in_process(state: &Arc<State>, path: &str, body: &Bytes, calls: usize) -> (Vec<Duration>, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let router = webhook::app(Arc::clone(state));
    let call = || async {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("content-length", body.len())
            .body(Body::from(body.clone()))
            .unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(
            answer.windows(14).any(|part| part == br#""allowed":true"#),
            "{answer:?}"
        );
    };
    runtime.block_on(async {
        for _ in 0..calls.min(200) {
            call().await;
        }
        let busy = cpu::all();
        let mut latencies = Vec::with_capacity(calls);
        for _ in 0..calls {
            let began = Instant::now();
            call().await;
            latencies.push(began.elapsed());
        }
        let busy = cpu::all().saturating_sub(busy);
        latencies.sort_unstable();
        (latencies, busy)
    })
}

/// Resident memory, MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes / 1024.0
}
