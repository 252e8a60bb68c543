//! Every object of every served kind, as changes: what garbage collection and the end of namespaces live on.
//!
//! A kind that comes to be served later (a new CustomResourceDefinition) is watched from then on.

#![expect(clippy::disallowed_methods, reason = "shell: the waits of retries")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use serde_json::Value;

use super::object::DEFINITIONS;
use crate::client::{Change, Client, Resource};

/// An object that was seen, or seen to go.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) resource: Resource,
    pub(crate) object: Value,
    pub(crate) deleted: bool,
}

/// The stream of everything, with room for reminders.
pub(crate) struct Census {
    client: Client,
    watched: BTreeSet<(&'static str, &'static str)>,
    streams: SelectAll<BoxStream<'static, Seen>>,
    reminders: FuturesUnordered<BoxFuture<'static, String>>,
    expired: Vec<String>,
}

impl Census {
    pub(crate) fn new(client: Client) -> Self {
        let mut census = Self {
            client,
            watched: BTreeSet::new(),
            streams: SelectAll::new(),
            reminders: FuturesUnordered::new(),
            expired: Vec::new(),
        };
        census.widen();
        census
    }

    /// Watches kinds that are served and not watched yet.
    fn widen(&mut self) {
        for (resource, _) in served(&self.client).into_values() {
            if self.watched.insert((resource.group, resource.plural)) {
                let changes = self.client.watch(resource).map(move |change| match change {
                    Change::Applied(object) => Seen {
                        resource,
                        object,
                        deleted: false,
                    },
                    Change::Deleted(object) => Seen {
                        resource,
                        object,
                        deleted: true,
                    },
                });
                self.streams.push(changes.boxed());
            }
        }
    }

    fn note(&mut self, seen: &Seen) {
        if seen.resource == DEFINITIONS {
            self.widen();
        }
    }

    /// The next change; `None` once when a reminder expired first.
    pub(crate) async fn next(&mut self) -> Option<Seen> {
        let seen = tokio::select! {
            biased;
            Some(seen) = self.streams.next() => seen,
            Some(id) = self.reminders.next() => {
                self.expired.push(id);
                return None;
            }
            else => std::future::pending().await,
        };
        self.note(&seen);
        Some(seen)
    }

    /// A change that waits already.
    pub(crate) fn ready(&mut self) -> Option<Seen> {
        let seen = self.streams.next().now_or_never().flatten()?;
        self.note(&seen);
        Some(seen)
    }

    /// Asks to be reminded of an object.
    pub(crate) fn later(&mut self, after: Duration, id: String) {
        self.reminders.push(
            async move {
                tokio::time::sleep(after).await;
                id
            }
            .boxed(),
        );
    }

    /// Objects whose time has come.
    pub(crate) fn expired(&mut self) -> Vec<String> {
        while let Some(Some(id)) = self.reminders.next().now_or_never() {
            self.expired.push(id);
        }
        std::mem::take(&mut self.expired)
    }
}

/// Served resources by group and kind, and whether they are namespaced; of several versions the one Kubernetes
/// prefers (stable before beta before alpha, then the higher number).
pub(crate) fn served(client: &Client) -> BTreeMap<(String, String), (Resource, bool)> {
    let mut found: BTreeMap<(String, String), (Resource, bool)> = BTreeMap::new();
    for (group, version, plural, kind, namespaced) in client.resources() {
        // Events own nothing and are owned by nobody.
        if plural.contains('/') || kind == "Event" {
            continue;
        }
        let resource = Resource::new(intern(&group), intern(&version), intern(&plural));
        let kept = found.entry((group, kind)).or_insert((resource, namespaced));
        if priority(kept.0.version) < priority(resource.version) {
            *kept = (resource, namespaced);
        }
    }
    found
}

/// Orders versions: `v2`, `v1`, `v1beta2`, `v1alpha3`, then names that are no versions.
fn priority(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, stage) = rest.split_at(end);
    let Ok(major) = major.parse() else {
        return (0, 0, 0);
    };
    let minor = |digits: &str| digits.parse().unwrap_or_default();
    match (stage, stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
        ("", ..) => (3, major, 0),
        (_, Some(digits), _) => (2, major, minor(digits)),
        (_, _, Some(digits)) => (1, major, minor(digits)),
        _ => (0, 0, 0),
    }
}

/// A text that lives as long as the process; there are as many as there are names of resources.
fn intern(text: &str) -> &'static str {
    static TEXTS: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = texts.get(text) {
        return known;
    }
    let leaked: &'static str = Box::leak(text.to_owned().into_boxed_str());
    texts.insert(leaked);
    leaked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_order() {
        let sorted = [
            "v10", "v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v2alpha1", "v1alpha3", "other",
        ];
        for pair in sorted.windows(2) {
            assert!(priority(pair[0]) > priority(pair[1]), "{pair:?}");
        }
    }
}
