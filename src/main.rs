//! The `verdigris` binary: flags → config → run → exit code. Nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    verdigris::cli::main(verdigris::cli::parse())
}
