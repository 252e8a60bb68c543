//! Verdigris: safe progressive delivery on Kubernetes.
//!
//! One process, three jobs: an admission webhook, a conversion webhook and a rollout controller for Flagger's
//! `Canary`. This page is the map of the code; `tests/architecture.rs` enforces it.
//!
//! # The folders, each with one reason to change
//!
//! | folder | owns | may know |
//! |---|---|---|
//! | [`api`] | WIRE: what etcd may hold; conversion between versions | nothing of ours |
//! | [`manifest`] | TEXT: where in a YAML file something stands | nothing of ours |
//! | [`model`] | MEANING: the parsed Canary, its status, rules, PromQL | `api` |
//! | [`policy`] | RULES of an organisation, pure; CEL | `model` |
//! | [`rollout`] | DECISION: what happens next, pure | `model` |
//! | [`workload`], [`metric`], [`hook`], [`notify`] | RENDERING: objects, queries, payloads, pure | `model` |
//! | [`net`], [`telemetry`], [`pki`], [`lease`] | sockets, logs and series, certificates, leadership | nothing of ours |
//! | [`cluster`] | the API server | `lease` |
//! | [`lint`] | the verdict offline: places in files, forms of a report | `api`, `manifest`, `model`, `policy` |
//! | [`cache`] | SHELL of the watches: the objects everybody reads | `cluster` |
//! | [`webhook`] | SHELL of admission and conversion | `api`, `cache`, `model`, `policy`, `pki`, `net`, `telemetry` |
//! | [`controller`] | SHELL of the loop | decision, renderers, `cache`, `cluster`, `lease`, `net`, `policy`, `telemetry` |
//! | [`audit`] | SHELL of policies: those in force, and what they find in the cluster | `cluster`, `lease`, `model`, `policy`, `telemetry` |
//! | [`install`] | CRDs and webhook configurations in a cluster | `api`, `cluster`, `pki`, `webhook` |
//! | [`migrate`] | stored objects, brought to v1beta1 | `api`, `cluster`, `install` |
//! | [`console`] | what a person at a terminal asks and orders | `cluster`, `model`, `rollout`, `workload` |
//! | [`loadtester`] | the service that hooks call | `model` |
//! | [`app`] | composition root: start and stop order | everything |
//! | [`cli`] | what was typed, and what it means | everything |
//!
//! The one rule of direction: decisions are functions over values. What needs a client, a clock or a log is a
//! shell, and says so in its first line.
//!
//! # The path of a review
//!
//! socket ([`net::serve`]) → envelope ([`webhook`]) → v1beta1 JSON ([`api::convert`]) → every violation and warning
//! at once ([`model::parse`]), and what its neighbours say ([`model::surroundings`], from [`cache`]) → an answer in the
//! spelling of the version the user wrote.
//!
//! # The path of a Canary
//!
//! watch → observe → parse → interview with [`rollout::next`] (questions and answers) → steps → status → words
//! ([`controller`]). Steps are absolute, the status write carries the resourceVersion that was read, and words come
//! last: a crash anywhere re-runs the same plan.

pub mod api;
pub mod app;
pub mod audit;
pub mod cache;
pub mod cli;
pub mod cluster;
pub mod console;
pub mod controller;
pub mod hook;
pub mod install;
pub mod lease;
pub mod lint;
pub mod loadtester;
pub mod manifest;
pub mod metric;
pub mod migrate;
pub mod model;
pub mod net;
pub mod notify;
pub mod pki;
pub mod policy;
pub mod rollout;
pub mod telemetry;
pub mod webhook;
pub mod workload;
