//! What was typed, and what it means: one file per subcommand.

mod alerts;
pub mod convert;
pub mod crds;
pub mod lint;
pub mod loadtester;
pub mod migrate;
pub mod order;
pub mod rules;
pub mod run;
pub mod status;
pub mod uninstall;

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::model::duration;
use crate::model::order::Verb;
use crate::model::promql::{self, Severity};
use crate::model::template::Context;

/// Safe progressive delivery on Kubernetes: admission, conversion and rollout of Flagger's Canary.
#[derive(Debug, Parser)]
#[command(name = "verdigris", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the webhooks and run the controller
    Run(Box<run::RunArgs>),
    /// Serve the load tester: hooks that run commands, generate load and hold gates
    Loadtester(loadtester::LoadtesterArgs),
    /// Convert manifests between flagger.app/v1alpha3 and v1beta1
    Convert(convert::ConvertArgs),
    /// Print the CustomResourceDefinitions
    Crds(crds::CrdsArgs),
    /// Rewrite stored objects at v1beta1, so that older versions can go
    Migrate(migrate::MigrateArgs),
    /// Judge manifests as admission would, without a cluster
    Lint(lint::LintArgs),
    /// Print the admission rules
    Rules(rules::RulesArgs),
    /// Show where releases stand, live if wanted, or wait for the end of one
    Status(status::StatusArgs),
    /// Promote the running revision now, without further checks or gates
    Promote(order::OrderArgs),
    /// Roll the running revision back now
    Abort(order::OrderArgs),
    /// Judge the failed revision again
    Retry(order::OrderArgs),
    /// Hold a release as it is, without ending it
    Pause(order::OrderArgs),
    /// Go on after a pause
    Resume(order::OrderArgs),
    /// Take the webhooks out of the cluster; Canaries and CRDs stay
    Uninstall(uninstall::UninstallArgs),
}

/// Reads the command line. As the kubectl plugin (a file `kubectl-canary` on `PATH`) it calls itself `kubectl canary`.
pub fn parse() -> Cli {
    let mut command = Cli::command();
    if is_plugin(std::env::args_os().next().as_deref()) {
        command = command.bin_name("kubectl canary");
    }
    let matches = command.get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn is_plugin(program: Option<&OsStr>) -> bool {
    let stem = program.and_then(|program| Path::new(program).file_stem());
    stem.is_some_and(|stem| stem == "kubectl-canary" || stem == "kubectl_canary")
}

/// Runs a subcommand. Exit status: 0 done, 1 it failed, 2 it was asked wrongly.
pub fn main(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Run(args) => run::run(*args),
        Command::Loadtester(args) => loadtester::run(&args),
        Command::Convert(args) => {
            let (mut stdin, mut stdout, mut stderr) =
                (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
            ExitCode::from(convert::run(
                &args,
                &query_slip,
                &mut stdin,
                &mut stdout,
                &mut stderr,
            ))
        }
        Command::Crds(args) => printed(crds::run(&args, &mut io::stdout().lock())),
        Command::Migrate(args) => migrate::run(&args),
        Command::Lint(args) => {
            let colours = io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let (mut stdin, mut stdout, mut stderr) =
                (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
            ExitCode::from(lint::run(&args, colours, &mut stdin, &mut stdout, &mut stderr))
        }
        Command::Rules(args) => printed(rules::run(&args)),
        Command::Status(args) => status::run(&args),
        Command::Promote(args) => order::run(Verb::Promote, &args),
        Command::Abort(args) => order::run(Verb::Abort, &args),
        Command::Retry(args) => order::run(Verb::Retry, &args),
        Command::Pause(args) => order::run(Verb::Pause, &args),
        Command::Resume(args) => order::run(Verb::Resume, &args),
        Command::Uninstall(args) => uninstall::run(&args),
    }
}

/// The first thing wrong with an inline query, in one line.
fn query_slip(query: &str) -> Option<String> {
    let problem = promql::judge(query, &Context::stand_in())
        .into_iter()
        .find(|one| one.severity == Severity::Error)?;
    Some(format!(
        "line {}, column {}: {}; {}",
        problem.line, problem.column, problem.found, problem.fix
    ))
}

/// Reads a duration above zero.
fn interval(text: &str) -> Result<Duration, String> {
    duration::go_positive(text).ok_or_else(|| format!("{text:?} is not a duration; write 10s or 1m"))
}

/// A broken pipe downstream is no failure of ours.
fn printed(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("verdigris: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says one line on standard error and gives exit status 2: the command was asked wrongly.
pub(crate) fn usage(message: &str) -> ExitCode {
    eprintln!("verdigris: {message}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn kubectl_finds_the_plugin_by_its_name() {
        for (program, plugin) in [
            ("/usr/local/bin/kubectl-canary", true),
            ("kubectl-canary.exe", true),
            ("verdigris", false),
            ("", false),
        ] {
            assert_eq!(is_plugin(Some(OsStr::new(program))), plugin, "{program}");
        }
        assert!(!is_plugin(None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |line: &str| Cli::try_parse_from(line.split(' ')).is_err();
        for line in [
            "verdigris status --wait",
            "verdigris status a --target-generation 3",
            "verdigris status a --wait --target-generation 0",
            "verdigris status a --wait --timeout soon",
            "verdigris status a -A",
            "verdigris status -n x -A",
            "verdigris status a --wait -o json",
            "verdigris promote",
            "verdigris promote a --no-wait --timeout 1s",
        ] {
            assert!(refused(line), "{line}");
        }
        for line in [
            "verdigris status a --wait",
            "verdigris status -A --watch",
            "verdigris abort a -n b",
        ] {
            assert!(!refused(line), "{line}");
        }
    }
}
