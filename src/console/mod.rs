//! What a person at a terminal asks and orders: `verdigris status`, `promote`, `abort`, `retry`, `pause`, `resume`.
//!
//! Owns: reading Canaries and their events, writing an order, waiting for the answer or for the end of a release.
//! Promises: nothing but the order annotation is ever written; what is shown comes from the object, never from a log.
//! Never: decides whether an order makes sense. The machine does, with the object in its hands ([`crate::rollout`]).
#![expect(clippy::disallowed_types, reason = "shell: reads and writes through a client")]

pub mod order;
pub mod status;
pub mod verdict;
pub mod view;

use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::cluster::{ClusterError, Kind, to_value};
use crate::model::names;

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// RBAC says no.
    #[error(
        "{what}: you may not {verb} canaries in namespace {namespace}; expected the verb {verb} on canaries.flagger.app; \
         ask who runs the cluster for it"
    )]
    Forbidden {
        /// The object.
        what: String,
        /// The verb that is missing.
        verb: &'static str,
        /// Where.
        namespace: String,
    },
    /// The API server.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// What was read is not what its type says.
    #[error("{0}")]
    Unreadable(String),
    /// What is shown cannot be written.
    #[error("{0}")]
    Output(#[from] std::io::Error),
}

/// Namespace of the kubeconfig's context, unless another is named.
pub fn namespace_of(client: &Client, named: Option<&str>) -> String {
    named.unwrap_or_else(|| client.default_namespace()).to_owned()
}

/// `canary/podinfo`, as kubectl prints it, is `podinfo`.
pub fn bare(name: &str) -> &str {
    let kinds = [
        "canary/",
        "canaries/",
        "canary.flagger.app/",
        "canaries.flagger.app/",
    ];
    kinds
        .iter()
        .find_map(|kind| name.strip_prefix(kind))
        .unwrap_or(name)
}

fn canaries(client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
    Kind::CANARY.api_in(client, namespace)
}

/// One Canary; who is not there is told with who might have been meant.
async fn canary(client: &Client, namespace: &str, name: &str) -> Result<Value, ConsoleError> {
    let what = format!("canary {name}.{namespace}");
    match canaries(client, Some(namespace)).get_opt(name).await {
        Ok(Some(found)) => Ok(to_value(&what, &found)?),
        Ok(None) => Err(unknown(client, namespace, name).await),
        Err(error) => Err(refused(what, "get", namespace, error)),
    }
}

async fn unknown(client: &Client, namespace: &str, name: &str) -> ConsoleError {
    let there = match list(client, Some(namespace)).await {
        Ok(there) => there,
        Err(error) => return error,
    };
    let names: Vec<&str> = there
        .iter()
        .filter_map(|canary| canary.pointer("/metadata/name").and_then(Value::as_str))
        .collect();
    let fix = match names::nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None if names.is_empty() => "there is none in this namespace; name another with -n".to_owned(),
        None => format!("verdigris status -n {namespace} lists them"),
    };
    ConsoleError::NotFound(format!("canary {name}.{namespace} was not found; {fix}"))
}

/// Every Canary of a namespace, or of all, by namespace and name.
async fn list(client: &Client, namespace: Option<&str>) -> Result<Vec<Value>, ConsoleError> {
    let what = "canaries";
    let found = match canaries(client, namespace).list(&ListParams::default()).await {
        Ok(found) => found,
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            return Err(ConsoleError::NotFound(
                "this cluster does not know Canaries; install the definitions with: verdigris crds | kubectl apply -f -"
                    .to_owned(),
            ));
        }
        Err(error) => return Err(refused(what.to_owned(), "list", namespace.unwrap_or("*"), error)),
    };
    let mut all = Vec::new();
    for object in &found.items {
        all.push(to_value(what, object)?);
    }
    all.sort_by_key(place);
    Ok(all)
}

fn refused(what: String, verb: &'static str, namespace: &str, error: kube::Error) -> ConsoleError {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => ConsoleError::Forbidden {
            what,
            verb,
            namespace: namespace.to_owned(),
        },
        error => ClusterError::of(what, error).into(),
    }
}

fn place(object: &Value) -> (String, String) {
    let part = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    (part("/metadata/namespace"), part("/metadata/name"))
}
