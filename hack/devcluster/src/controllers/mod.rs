//! The controllers of kube-controller-manager that progressive delivery leans on, run on [`crate::client`].
//!
//! Owns: Deployments, ReplicaSets, DaemonSets, HorizontalPodAutoscalers, Endpoints and EndpointSlices, garbage
//! collection, the end of namespaces, default service accounts. Promises: level-triggered and restart-safe: every
//! decision reads the API, never a memory of its own. Never: runs pods (that is [`crate::pods`]).

use tokio::task::JoinSet;

use crate::client::Client;

mod claim;
mod conditions;
mod deployment;
pub(crate) mod drive;
mod endpoints;
pub(crate) mod event;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod object;
mod replicaset;
mod rollout;

/// Starts every controller; they end when the set is dropped.
pub fn run(client: &Client) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(deployment::run(client.clone()));
    tasks.spawn(replicaset::run(client.clone()));
    tasks.spawn(endpoints::run(client.clone()));
    tasks
}
