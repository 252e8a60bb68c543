//! The load tester: a small service that Canary hooks call to run tests, generate load and hold gates.
//!
//! Owns: gates ([`gate`]), tasks ([`task`]), the built-in HTTP generator that understands `hey`'s flags ([`hey`]).
//! Promises: Flagger's load tester's paths and status codes, one run of a command at a time per Canary, no command
//! outlives `--timeout`. Never: touches the cluster itself.

pub mod gate;
pub mod hey;
pub mod runner;
pub mod server;
pub mod task;
