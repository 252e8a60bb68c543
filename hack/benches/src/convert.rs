//! What conversion costs: one large review in the process, single objects over TLS.
//!
//! Measures time against a plain `serde_json` parse and print of the same bytes, side by side; memory as the peak of
//! a process of its own; latency over kept-alive connections to the real listener.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "measures with the clock, prints, and stops at the first surprise"
)]

mod cpu;
mod objects;
mod wire;

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use verdigris::api::convert::review_bytes;
use verdigris::model::parse::Settings;
use verdigris::telemetry::Metrics;
use verdigris::webhook::State;

use objects::{Shape, review};
use wire::Call;

/// Our time over that of a plain parse and print, at most.
const RATIO: f64 = 2.0;
/// Peak memory over the size of the body, at most.
const MEMORY: f64 = 6.0;
/// 99 of 100 single objects are answered within this.
const P99: Duration = Duration::from_millis(2);
/// Times each side is measured; the best counts, as it is disturbed least.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, shape, count] = arguments.as_slice()
        && flag == "--peak"
    {
        let shape = Shape::ALL.into_iter().find(|one| one.word() == shape).unwrap();
        println!("{}", peak(shape, count.parse().unwrap()));
        return ExitCode::SUCCESS;
    }
    let number = |flag: &str, usual: usize| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(usual, |at| arguments[at + 1].parse().unwrap())
    };
    let (count, calls) = (number("--objects", 10_000), number("--calls", 20_000));
    let mut good = true;

    println!("A review of {count} objects, in the process, best of {ROUNDS}:\n");
    println!(
        "| objects | body | plain serde_json | ours | ratio (≤ {RATIO}) | peak memory / body (< {MEMORY}) |"
    );
    println!("|---|---|---|---|---|---|");
    for shape in Shape::ALL {
        let body = review(shape, count);
        let (mut plain, mut ours) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            plain = plain.min(timed(|| {
                let value: Value = serde_json::from_slice(&body).unwrap();
                serde_json::to_vec(&value).unwrap()
            }));
            ours = ours.min(timed(|| {
                let reviewed = review_bytes(&body);
                assert_eq!((reviewed.objects, reviewed.failure), (count as u64, None));
                reviewed.answer
            }));
        }
        let memory = peak_elsewhere(shape, count);
        let ratio = ours.as_secs_f64() / plain.as_secs_f64();
        good &= ratio <= RATIO && memory < MEMORY;
        println!(
            "| {} | {:.1} MB | {:.0} ms | {:.0} ms | **{ratio:.2}** | {memory:.1} |",
            shape.describe(),
            body.len() as f64 / 1e6,
            plain.as_secs_f64() * 1e3,
            ours.as_secs_f64() * 1e3,
        );
    }

    println!("\n{calls} single objects (10 kB) over kept-alive TLS to the real listener:\n");
    println!("| connections | calls/s | p50 | p90 | p99 (< {P99:?}) | p99.9 | worst |");
    println!("|---|---|---|---|---|---|---|");
    let call = Call {
        path: "/convert?timeout=30s",
        body: review(Shape::Old, 1).into(),
        expected: br#"{"status":"Success"}"#,
    };
    for connections in [1, 10] {
        let state = Arc::new(State::new(Settings::default(), Arc::new(Metrics::new())));
        let measured = wire::measure(state, &call, connections, calls);
        let at = |part: f64| measured.latencies[((measured.latencies.len() - 1) as f64 * part) as usize];
        good &= at(0.99) < P99;
        println!(
            "| {connections} | {:.0} | {:.2?} | {:.2?} | **{:.2?}** | {:.2?} | {:.2?} |",
            measured.latencies.len() as f64 / measured.took.as_secs_f64(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0),
        );
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    let result = work();
    let took = began.elapsed();
    drop(result);
    took
}

/// Peak memory over the size of the body, in a process that does nothing else.
fn peak_elsewhere(shape: Shape, count: usize) -> f64 {
    let itself = std::env::current_exe().unwrap();
    let output = Command::new(itself)
        .args(["--peak", shape.word(), &count.to_string()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Converts once; the peak of resident memory over the size of the body, both the body and the answer included.
fn peak(shape: Shape, count: usize) -> f64 {
    let body = review(shape, count);
    // Linux: forget the peak so far.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let reviewed = review_bytes(&body);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(reviewed.objects, count as u64);
    kilobytes * 1024.0 / body.len() as f64
}
