//! `verdigris loadtester`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use regex::Regex;

use crate::app;
use crate::model::duration;
use crate::telemetry::{self, LogFormat};

/// Flags of `verdigris loadtester`.
#[derive(Debug, clap::Args)]
pub struct LoadtesterArgs {
    /// Address to serve on
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Longest run of one command
    #[arg(long, default_value = "1h", value_parser = timeout)]
    timeout: Duration,
    /// Serve Canaries of matching namespaces only [default: any]
    #[arg(long)]
    namespace_regexp: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, default_value = "info")]
    log_level: String,
    /// How log lines look
    #[arg(long, value_enum, default_value = "text", alias = "zap-encoding")]
    log_format: LogFormat,
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration::go_positive(text).ok_or_else(|| format!("{text:?} is not a duration; write 30s or 1h"))
}

/// Serves until a signal.
pub fn run(args: &LoadtesterArgs) -> ExitCode {
    if let Err(message) = telemetry::start_logging(&args.log_level, args.log_format) {
        return super::usage(&message);
    }
    let namespaces = match args
        .namespace_regexp
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(Regex::new)
    {
        None => None,
        Some(Ok(pattern)) => Some(pattern),
        Some(Err(error)) => {
            return super::usage(&format!(
                "--namespace-regexp is not a regular expression: {error}"
            ));
        }
    };
    match app::loadtester(args.listen, args.timeout, namespaces) {
        Ok(()) => ExitCode::SUCCESS,
        Err(app::Failure::Usage(message)) => super::usage(&message),
        Err(app::Failure::Died(message)) => {
            eprintln!("verdigris: {message}");
            ExitCode::FAILURE
        }
    }
}
