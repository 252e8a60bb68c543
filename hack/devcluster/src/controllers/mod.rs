//! The controllers of kube-controller-manager that progressive delivery leans on, run on [`crate::client`].
//!
//! Owns: Deployments, ReplicaSets, DaemonSets, HorizontalPodAutoscalers, Endpoints and EndpointSlices, garbage
//! collection, the end of namespaces, default service accounts. Promises: level-triggered and restart-safe: every
//! decision reads the API, never a memory of its own. Never: runs pods (that is [`crate::pods`]).

use tokio::task::JoinSet;

use crate::client::Client;

mod autoscaler;
mod census;
mod claim;
mod collect;
mod conditions;
mod daemonset;
mod deployment;
pub(crate) mod drive;
mod endpoints;
pub(crate) mod event;
#[cfg(test)]
pub(crate) mod fake;
mod namespace;
pub(crate) mod object;
mod replicaset;
mod rollout;
#[cfg(test)]
pub(crate) mod scenarios;

/// Starts every controller; they end when the set is dropped.
pub fn run(client: &Client) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(deployment::run(client.clone()));
    tasks.spawn(replicaset::run(client.clone()));
    tasks.spawn(daemonset::run(client.clone()));
    tasks.spawn(autoscaler::run(client.clone()));
    tasks.spawn(endpoints::run(client.clone()));
    tasks.spawn(namespace::furnish(client.clone()));
    tasks.spawn(namespace::run(
        client.clone(),
        census::Census::new(client.clone()),
    ));
    tasks.spawn(collect::run(client.clone(), census::Census::new(client.clone())));
    tasks
}
