//! Garbage collection: dependents go when their last owner is gone; an owner deleted in the foreground waits for
//! them; one deleted with `orphan` lets them be. Works on every served resource, custom ones too.
//!
//! What to do with an object is decided by pure functions from what is known of its owners and dependents; that its
//! owner is gone is never believed without asking the API.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use super::census::{Census, Seen, served};
use super::drive::found;
use super::object::{deleting, list, name, namespace, text, uid, version};
use crate::client::{ApiError, Client, Resource};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
const RETRY: Duration = Duration::from_millis(200);

/// What is remembered of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    resource: Resource,
    namespace: String,
    name: String,
    owners: Vec<OwnerRef>,
    deleting: bool,
    finalizers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnerRef {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    blocks: bool,
}

impl Node {
    fn of(resource: Resource, object: &Value) -> Self {
        let owner = |owner: &Value| OwnerRef {
            api_version: text(owner, "/apiVersion").to_owned(),
            kind: text(owner, "/kind").to_owned(),
            name: text(owner, "/name").to_owned(),
            uid: text(owner, "/uid").to_owned(),
            blocks: owner.get("blockOwnerDeletion").and_then(Value::as_bool) == Some(true),
        };
        Self {
            resource,
            namespace: namespace(object).to_owned(),
            name: name(object).to_owned(),
            owners: list(object, "/metadata/ownerReferences")
                .iter()
                .map(owner)
                .collect(),
            deleting: deleting(object),
            finalizers: list(object, "/metadata/finalizers")
                .iter()
                .filter_map(|finalizer| Some(finalizer.as_str()?.to_owned()))
                .collect(),
        }
    }

    fn waits(&self, finalizer: &str) -> bool {
        self.deleting && self.finalizers.iter().any(|found| found == finalizer)
    }
}

/// How an owner that is referred to stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Exists.
    Solid,
    /// Exists, and waits in foreground deletion for its dependents to go.
    Waiting,
    /// Does not exist (any more).
    Gone,
}

/// What to do with a dependent.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    /// Keep it, without the owners that are gone or going (indices of `ownerReferences`).
    Disown(Vec<usize>),
    Delete {
        foreground: bool,
    },
}

/// The rule for a dependent, from the standing of each of its owners.
fn fate(standings: &[Standing], has_dependents: bool) -> Fate {
    if standings.is_empty() {
        return Fate::Keep;
    }
    let not_solid: Vec<usize> = (0..)
        .zip(standings)
        .filter(|(_, standing)| **standing != Standing::Solid)
        .map(|(at, _)| at)
        .collect();
    if not_solid.is_empty() {
        Fate::Keep
    } else if not_solid.len() < standings.len() {
        Fate::Disown(not_solid)
    } else {
        Fate::Delete {
            foreground: has_dependents && standings.contains(&Standing::Waiting),
        }
    }
}

/// The graph of owners and dependents, kept from watches.
#[derive(Debug, Default)]
struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Takes in a change; answers whom to look at again.
    fn take(&mut self, seen: &Seen) -> Vec<String> {
        let id = uid(&seen.object).to_owned();
        let mut again: BTreeSet<String> = BTreeSet::new();
        let old = self.nodes.remove(&id);
        for owner in old.iter().flat_map(|old| &old.owners) {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(&id);
            }
            // An owner in foreground deletion may have waited for this one.
            again.insert(owner.uid.clone());
        }
        if seen.deleted {
            again.extend(self.dependents.get(&id).into_iter().flatten().cloned());
            if self.dependents.get(&id).is_some_and(BTreeSet::is_empty) {
                self.dependents.remove(&id);
            }
        } else {
            let node = Node::of(seen.resource, &seen.object);
            for owner in &node.owners {
                self.dependents
                    .entry(owner.uid.clone())
                    .or_default()
                    .insert(id.clone());
            }
            if node.waits(FOREGROUND) {
                again.extend(self.dependents.get(&id).into_iter().flatten().cloned());
            }
            self.nodes.insert(id.clone(), node);
            again.insert(id);
        }
        again.into_iter().collect()
    }

    fn dependents_of(&self, id: &str) -> impl Iterator<Item = (&String, &Node)> {
        let all = self.dependents.get(id).into_iter().flatten();
        all.filter_map(|dependent| Some((dependent, self.nodes.get(dependent)?)))
    }

    fn blocked(&self, id: &str) -> bool {
        self.dependents_of(id)
            .any(|(_, node)| node.owners.iter().any(|owner| owner.uid == id && owner.blocks))
    }
}

/// Runs the collector on a census of everything.
pub(crate) async fn run(client: Client, mut census: Census) {
    let mut graph = Graph::default();
    let mut due: BTreeSet<String> = BTreeSet::new();
    loop {
        // Take in all that is known before acting on any of it.
        let next = if due.is_empty() {
            census.next().await
        } else {
            census.ready()
        };
        if let Some(seen) = next {
            due.extend(graph.take(&seen));
            continue;
        }
        due.extend(census.expired());
        let Some(id) = due.pop_first() else { continue };
        if let Err(error) = attend(&client, &graph, &id).await {
            tracing::debug!(%error, "collection failed");
            census.later(RETRY, id);
        }
    }
}

async fn attend(client: &Client, graph: &Graph, id: &str) -> Result<(), ApiError> {
    let Some(node) = graph.nodes.get(id) else {
        return Ok(());
    };
    if node.waits(ORPHAN) {
        for (_, dependent) in graph.dependents_of(id) {
            disown(client, dependent, |owner| text(owner, "/uid") == id).await?;
        }
        return release(client, node, ORPHAN).await;
    }
    if node.waits(FOREGROUND) {
        return if graph.blocked(id) {
            Ok(())
        } else {
            release(client, node, FOREGROUND).await
        };
    }
    if node.deleting || node.owners.is_empty() {
        return Ok(());
    }
    let mut standings = Vec::new();
    for owner in &node.owners {
        standings.push(standing(client, graph, node, owner).await?);
    }
    let has_dependents = graph.dependents_of(id).next().is_some();
    match fate(&standings, has_dependents) {
        Fate::Keep => Ok(()),
        Fate::Disown(at) => {
            let gone: BTreeSet<&str> = at.iter().map(|at| node.owners[*at].uid.as_str()).collect();
            disown(client, node, |owner| gone.contains(text(owner, "/uid"))).await
        }
        Fate::Delete { foreground } => {
            let Some(object) = current(client, node, id).await? else {
                return Ok(());
            };
            if foreground && !node.finalizers.iter().any(|finalizer| finalizer == FOREGROUND) {
                let mut finalizers = list(&object, "/metadata/finalizers").to_vec();
                finalizers.push(json!(FOREGROUND));
                let patch =
                    json!({"metadata": {"resourceVersion": version(&object), "finalizers": finalizers}});
                client
                    .merge(node.resource, "", &node.namespace, &node.name, patch)
                    .await?;
            }
            found(
                client
                    .delete(node.resource, &node.namespace, &node.name, None)
                    .await,
            )?;
            Ok(())
        }
    }
}

/// The object of a node, unless another has taken its name.
async fn current(client: &Client, node: &Node, id: &str) -> Result<Option<Value>, ApiError> {
    let object = found(client.get(node.resource, &node.namespace, &node.name).await)?;
    Ok(object.filter(|object| uid(object) == id))
}

async fn standing(
    client: &Client,
    graph: &Graph,
    node: &Node,
    owner: &OwnerRef,
) -> Result<Standing, ApiError> {
    if let Some(known) = graph.nodes.get(&owner.uid) {
        // A namespaced owner owns within its namespace only.
        if !known.namespace.is_empty() && known.namespace != node.namespace {
            return Ok(Standing::Gone);
        }
        return Ok(if known.waits(FOREGROUND) {
            Standing::Waiting
        } else {
            Standing::Solid
        });
    }
    let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    // A kind that is not served may come back: its objects are not known to be gone.
    let served = served(client).remove(&(group.to_owned(), owner.kind.clone()));
    let Some((resource, namespaced)) = served else {
        return Ok(Standing::Solid);
    };
    let space = if namespaced { node.namespace.as_str() } else { "" };
    let object = found(client.get(resource, space, &owner.name).await)?;
    let same = object.is_some_and(|object| uid(&object) == owner.uid);
    Ok(if same { Standing::Solid } else { Standing::Gone })
}

async fn disown(client: &Client, node: &Node, leaves: impl Fn(&Value) -> bool) -> Result<(), ApiError> {
    let Some(object) = found(client.get(node.resource, &node.namespace, &node.name).await)? else {
        return Ok(());
    };
    let owners = list(&object, "/metadata/ownerReferences");
    let kept: Vec<&Value> = owners.iter().filter(|owner| !leaves(owner)).collect();
    if kept.len() == owners.len() {
        return Ok(());
    }
    let patch = json!({"metadata": {"resourceVersion": version(&object), "ownerReferences": kept}});
    found(
        client
            .merge(node.resource, "", &node.namespace, &node.name, patch)
            .await,
    )?;
    Ok(())
}

async fn release(client: &Client, node: &Node, finalizer: &str) -> Result<(), ApiError> {
    let Some(object) = found(client.get(node.resource, &node.namespace, &node.name).await)? else {
        return Ok(());
    };
    let finalizers = list(&object, "/metadata/finalizers");
    let kept: Vec<&Value> = finalizers
        .iter()
        .filter(|found| found.as_str() != Some(finalizer))
        .collect();
    if kept.len() == finalizers.len() {
        return Ok(());
    }
    let patch = json!({"metadata": {"resourceVersion": version(&object), "finalizers": kept}});
    found(
        client
            .merge(node.resource, "", &node.namespace, &node.name, patch)
            .await,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::object::{DEPLOYMENTS, PODS, REPLICA_SETS};
    use super::*;

    #[test]
    fn fates() {
        use Standing::{Gone, Solid, Waiting};
        let table = [
            (vec![], false, Fate::Keep),
            (vec![Solid], false, Fate::Keep),
            (vec![Gone], false, Fate::Delete { foreground: false }),
            (vec![Gone], true, Fate::Delete { foreground: false }),
            (vec![Waiting], false, Fate::Delete { foreground: false }),
            (vec![Waiting], true, Fate::Delete { foreground: true }),
            (vec![Solid, Gone], false, Fate::Disown(vec![1])),
            (vec![Waiting, Solid], true, Fate::Disown(vec![0])),
            (vec![Gone, Waiting], true, Fate::Delete { foreground: true }),
        ];
        for (standings, dependents, expected) in table {
            assert_eq!(
                fate(&standings, dependents),
                expected,
                "{standings:?} {dependents}"
            );
        }
    }

    fn seen(resource: Resource, id: &str, owner: Option<&str>, deleted: bool) -> Seen {
        let owners: Vec<Value> = owner
            .iter()
            .map(|owner| json!({"uid": owner, "kind": "K", "name": owner, "apiVersion": "v1", "blockOwnerDeletion": true}))
            .collect();
        Seen {
            resource,
            object: json!({"metadata": {"uid": id, "name": id, "namespace": "test", "ownerReferences": owners}}),
            deleted,
        }
    }

    #[test]
    fn whom_a_change_concerns() {
        let mut graph = Graph::default();
        // Dependents may be seen before their owners.
        assert_eq!(graph.take(&seen(PODS, "pod", Some("set"), false)), ["pod"]);
        assert_eq!(
            graph.take(&seen(REPLICA_SETS, "set", Some("web"), false)),
            ["set"]
        );
        assert_eq!(graph.take(&seen(DEPLOYMENTS, "web", None, false)), ["web"]);
        assert!(graph.blocked("set"));
        assert_eq!(graph.take(&seen(DEPLOYMENTS, "web", None, true)), ["set"]);
        assert_eq!(
            graph.take(&seen(REPLICA_SETS, "set", Some("web"), true)),
            ["pod", "web"]
        );
        assert_eq!(graph.take(&seen(PODS, "pod", Some("set"), true)), ["set"]);
        assert!(!graph.blocked("set"));
        assert!(graph.nodes.is_empty());
    }

    #[test]
    fn a_waiting_owner_calls_its_dependents() {
        let mut graph = Graph::default();
        graph.take(&seen(REPLICA_SETS, "set", Some("web"), false));
        let mut owner = seen(DEPLOYMENTS, "web", None, false);
        owner.object["metadata"]["finalizers"] = json!([FOREGROUND]);
        assert_eq!(graph.take(&owner), ["web"]);
        owner.object["metadata"]["deletionTimestamp"] = json!("2024-05-01T10:00:00Z");
        assert_eq!(graph.take(&owner), ["set", "web"]);
    }
}
