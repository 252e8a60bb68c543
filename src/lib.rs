//! Verdigris: safe progressive delivery on Kubernetes.
//!
//! One process, three jobs: an admission webhook, a conversion webhook and a rollout controller for Flagger's
//! `Canary`. This page is the map of the code; `tests/architecture.rs` enforces it.

pub mod api;
pub mod app;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod hook;
pub mod install;
pub mod loadtester;
pub mod metric;
pub mod model;
pub mod net;
pub mod pki;
pub mod rollout;
pub mod telemetry;
pub mod webhook;
pub mod workload;
