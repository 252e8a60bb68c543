//! The `verdigris` binary: flags → config → run → exit code. Nothing else.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    verdigris::cli::main(verdigris::cli::Cli::parse())
}
