//! `verdigris status`: where releases stand, live if wanted; with `--wait` for CI.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use crate::app;
use crate::console::status::{self, Format, Screen, Which};
use crate::console::verdict::Verdict;
use crate::console::{self, ConsoleError};
use crate::model::duration;

/// Which cluster, and where in it; the same flags as kubectl's.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Kubeconfig file; without it $KUBECONFIG, ~/.kube/config or the pod's service account
    #[arg(long)]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long)]
    pub(super) context: Option<String>,
    /// Namespace [default: that of the context]
    #[arg(short, long)]
    pub(super) namespace: Option<String>,
}

/// Flags of `verdigris status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// One Canary [default: all of the namespace]
    name: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Of every namespace
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "name"])]
    all_namespaces: bool,
    /// Live: drawn over on a terminal, else one line for each change
    #[arg(short, long, conflicts_with = "wait")]
    watch: bool,
    /// How it is printed
    #[arg(short, long, value_enum, default_value = "text", conflicts_with_all = ["watch", "wait"])]
    output: Output,
    /// Wait for the end of a release: exit status 0 promoted, 1 failed, 2 not over in time
    #[arg(long, requires = "name")]
    wait: bool,
    /// The target's metadata.generation that is waited for [default: the template the target has now]
    #[arg(long, value_name = "N", requires = "wait", value_parser = clap::value_parser!(i64).range(1..))]
    target_generation: Option<i64>,
    /// How long to wait
    #[arg(long, default_value = "15m", value_parser = patience, requires = "wait")]
    timeout: Duration,
}

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

/// A Go duration.
pub(super) fn patience(text: &str) -> Result<Duration, String> {
    duration::go_positive(text).ok_or_else(|| format!("{text:?} is not a duration; write 90s or 15m"))
}

/// Shows or waits.
pub fn run(args: &StatusArgs) -> ExitCode {
    let place = &args.place;
    let done = app::at_a_terminal(
        place.kubeconfig.as_deref(),
        place.context.as_deref(),
        async |client| {
            let namespace = console::namespace_of(&client, place.namespace.as_deref());
            let mut out = io::stdout();
            if let (true, Some(name)) = (args.wait, &args.name) {
                let name = console::bare(name);
                let ended = status::wait(
                    &client,
                    &namespace,
                    name,
                    args.target_generation,
                    args.timeout,
                    &mut out,
                )
                .await?;
                return Ok(ending(ended, args.timeout));
            }
            let which = Which {
                namespace: (!args.all_namespaces).then_some(namespace),
                name: args.name.as_deref().map(|name| console::bare(name).to_owned()),
            };
            if args.watch {
                let screen = if out.is_terminal() {
                    Screen::Terminal
                } else {
                    Screen::Lines
                };
                status::watch(&client, &which, screen, &mut out).await?;
            } else {
                let format = match args.output {
                    Output::Text => Format::Text,
                    Output::Json => Format::Json,
                    Output::Yaml => Format::Yaml,
                };
                status::show(&client, &which, format, &mut out).await?;
            }
            Ok(ExitCode::SUCCESS)
        },
    );
    ended(done)
}

/// What a wait came to: its last line and the exit status.
fn ending((verdict, line): (Option<Verdict>, String), timeout: Duration) -> ExitCode {
    match verdict {
        Some(Verdict::Promoted) => {
            eprintln!("verdigris: promoted");
            ExitCode::SUCCESS
        }
        Some(Verdict::Failed) => {
            eprintln!("verdigris: failed, rolled back; verdigris status shows why");
            ExitCode::FAILURE
        }
        Some(Verdict::Superseded) => {
            eprintln!("verdigris: not promoted, a newer revision took its place ({line})");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("verdigris: not over after {} s: {line}", timeout.as_secs());
            ExitCode::from(2)
        }
    }
}

/// What a command at a terminal came to. A reader that has gone is no failure.
pub(super) fn ended(done: Result<Result<ExitCode, ConsoleError>, app::Failure>) -> ExitCode {
    match done {
        Ok(Ok(code)) => code,
        Ok(Err(ConsoleError::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            eprintln!("verdigris: {error}");
            ExitCode::FAILURE
        }
        Err(app::Failure::Usage(message)) => super::usage(&message),
        Err(app::Failure::Died(message)) => {
            eprintln!("verdigris: {message}");
            ExitCode::FAILURE
        }
    }
}
