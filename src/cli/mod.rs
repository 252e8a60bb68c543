//! What was typed, and what it means: one file per subcommand.

mod alerts;
pub mod convert;
pub mod crds;
pub mod lint;
pub mod loadtester;
pub mod migrate;
pub mod rules;
pub mod run;
pub mod uninstall;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::model::duration;
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
    /// Take the webhooks out of the cluster; Canaries and CRDs stay
    Uninstall(uninstall::UninstallArgs),
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
