//! The playground: the whole story of a blue/green release on an embedded cluster, told step by step.
//!
//! Starts the embedded Kubernetes API, Prometheus, the load tester and `verdigris run`, then plays what a newcomer
//! would do by hand. Exit status 0: the story held; 1: it did not; 2: it could not start.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that tells a story by the clock, with clients of its own"
)]

mod hands;
mod process;
mod steps;
mod traffic;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Plays a blue/green release from `kubectl apply` to promotion and rollback.
#[derive(Debug, Parser)]
struct Args {
    /// The verdigris binary.
    #[arg(long)]
    verdigris: PathBuf,
    /// Leave everything running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Seconds between checks (the default).
    #[arg(long, conflicts_with = "slow")]
    fast: bool,
    /// Flagger's pace: ten seconds between checks.
    #[arg(long)]
    slow: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("playground: no runtime: {error}");
            return ExitCode::from(2);
        }
    };
    runtime.block_on(async {
        let (stage, mut troupe) = match process::Stage::set(&args.verdigris).await {
            Ok(set) => set,
            Err(error) => {
                eprintln!("playground: {error}");
                return ExitCode::from(2);
            }
        };
        let outcome = tokio::select! {
            outcome = steps::play(&stage, args.slow) => outcome,
            _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
            died = troupe.first_death() => Err(died),
        };
        let code = match &outcome {
            Ok(()) => {
                println!("\nThe story held.");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("\nThe story did not hold: {error}");
                stage.show_logs();
                ExitCode::FAILURE
            }
        };
        stage.say_how_to_go_on(args.keep);
        if args.keep && outcome.is_ok() {
            let _ = tokio::signal::ctrl_c().await;
        }
        troupe.end().await;
        stage.clear().await;
        code
    })
}
