//! SHELL of the watches: what the cluster holds, as one set of watches tells it to the whole process.
//!
//! Owns: which kinds are watched, how much of an object is kept, when a cache may be believed. Promises: a kind is
//! watched once, whoever reads it; a read neither waits nor calls anybody; no object stalls a watch, whatever it
//! holds; word of a change is given once the cache shows it. Never decides, never writes. Secrets, ConfigMaps, quotas
//! and disruption budgets are not kept.
#![expect(clippy::disallowed_types, reason = "shell: watches through a client")]

use std::sync::{Arc, PoisonError, RwLock};

use kube::Client;
use kube::runtime::watcher;
use serde_json::Value;
use tokio::task::JoinSet;

mod object;
mod store;
mod watch;

pub use crate::cluster::Kind;

use store::Store;

/// Namespace and name; the namespace of a cluster-scoped object is empty.
pub type Place = (String, String);

/// What happened to an object.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// It is new or different.
    Changed(&'a Place),
    /// It is gone; the last state, if a watch told it.
    Gone(&'a Place, Option<&'a Value>),
}

/// How a kind is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// In the namespace the process is limited to, or in all.
    Namespaced,
    /// The same, and only while the API server serves it.
    IfServed,
    /// The namespaces themselves.
    Namespaces,
}

const KEPT: [(Kind, Reach); 9] = [
    (Kind::CANARY, Reach::Namespaced),
    (Kind::METRIC_TEMPLATE, Reach::Namespaced),
    (Kind::ALERT_PROVIDER, Reach::Namespaced),
    (Kind::DEPLOYMENT, Reach::Namespaced),
    (Kind::DAEMON_SET, Reach::Namespaced),
    (Kind::SERVICE, Reach::Namespaced),
    (Kind::HPA, Reach::Namespaced),
    (Kind::SCALED_OBJECT, Reach::IfServed),
    (Kind::NAMESPACE, Reach::Namespaces),
];

/// The kept objects of all watched kinds, trimmed. Cheap to clone; reads may lag by milliseconds.
#[derive(Clone)]
pub struct Caches(Arc<Inner>);

struct Inner {
    namespace: Option<String>,
    stores: Vec<(Kind, Store)>,
    ear: Ear,
}

type Hear = dyn Fn(Kind, News<'_>) + Send + Sync;

/// Who is told the news.
#[derive(Default)]
struct Ear(RwLock<Option<Arc<Hear>>>);

impl Ear {
    fn set(&self, hear: Option<Arc<Hear>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hear;
    }

    fn tell(&self, kind: Kind, news: News<'_>) {
        let hear = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hear) = hear {
            hear(kind, news);
        }
    }
}

/// News are told for as long as this lives.
#[must_use]
pub struct Listening(Caches);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.0.ear.set(None);
    }
}

impl Caches {
    /// Cold caches of one namespace, or of all with `None`. [`Caches::keep`] fills them.
    pub fn new(namespace: Option<String>) -> Self {
        let stores = KEPT.iter().map(|(kind, _)| (*kind, Store::default())).collect();
        Self(Arc::new(Inner {
            namespace,
            stores,
            ear: Ear::default(),
        }))
    }

    /// Warm caches that hold these objects and nothing else: a cluster that is known without a watch.
    pub fn holding(objects: impl IntoIterator<Item = (Kind, Value)>) -> Self {
        let caches = Self::new(None);
        let mut lists: Vec<(Kind, Vec<Value>)> = KEPT.iter().map(|(kind, _)| (*kind, Vec::new())).collect();
        for (kind, object) in objects {
            if let Some((_, list)) = lists.iter_mut().find(|(one, _)| *one == kind) {
                list.push(object::trimmed(kind, object));
            }
        }
        for (kind, list) in lists {
            if let Some(store) = caches.store(kind) {
                store.replace(list);
            }
        }
        caches
    }

    /// Keeps the caches filled. Ends only with a watch, which is a broken invariant, and says so.
    pub async fn keep(self, client: Client) -> Result<(), String> {
        let mut tasks = JoinSet::new();
        for (kind, reach) in KEPT {
            let within = self.0.namespace.clone();
            let (api, config) = match (reach, &within) {
                (Reach::Namespaced | Reach::IfServed, _) => {
                    let resource = kind.resource();
                    let api = match &within {
                        Some(namespace) => kube::Api::namespaced_with(client.clone(), namespace, &resource),
                        None => kube::Api::all_with(client.clone(), &resource),
                    };
                    (api, watcher::Config::default())
                }
                (Reach::Namespaces, within) => {
                    let config = watcher::Config::default();
                    let config = match within {
                        Some(namespace) => config.fields(&format!("metadata.name={namespace}")),
                        None => config,
                    };
                    (kube::Api::all_with(client.clone(), &kind.resource()), config)
                }
            };
            let (caches, client) = (self.clone(), client.clone());
            tasks.spawn(async move {
                match reach {
                    Reach::Namespaced | Reach::Namespaces => watch::follow(&caches, kind, api, config).await,
                    Reach::IfServed => watch::follow_if_served(&caches, &client, kind, api, config).await,
                }
            });
        }
        match tasks.join_next().await {
            Some(Ok(ended)) => Err(ended),
            Some(Err(died)) => Err(format!("a watch died: {died}")),
            None => Err("nothing is watched".to_owned()),
        }
    }

    /// The kinds that are kept.
    pub fn kinds() -> impl Iterator<Item = Kind> {
        KEPT.into_iter().map(|(kind, _)| kind)
    }

    /// Waits until each of these kinds is completely known.
    pub async fn warm(&self, kinds: &[Kind]) {
        for store in kinds.iter().filter_map(|kind| self.store(*kind)) {
            store.warm().await;
        }
    }

    /// Tells `hear` the news from now on; one listener at a time.
    pub fn listen(&self, hear: impl Fn(Kind, News<'_>) + Send + Sync + 'static) -> Listening {
        self.0.ear.set(Some(Arc::new(hear)));
        Listening(self.clone())
    }

    /// True when objects of this kind are kept.
    pub fn keeps(&self, kind: Kind) -> bool {
        self.store(kind).is_some()
    }

    /// True when absence means something: the kind was listed, and the namespace is among those watched.
    pub fn knows(&self, kind: Kind, namespace: &str) -> bool {
        let watched = self.0.namespace.as_deref().is_none_or(|own| own == namespace);
        watched && self.store(kind).is_some_and(Store::is_warm)
    }

    /// One object.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.store(kind)?.get(namespace, name)
    }

    /// The objects of one namespace, by name.
    pub fn within(&self, kind: Kind, namespace: &str) -> Vec<Arc<Value>> {
        self.store(kind)
            .map_or_else(Vec::new, |store| store.within(namespace))
    }

    /// Every object of a kind.
    pub fn all(&self, kind: Kind) -> Vec<Arc<Value>> {
        self.store(kind).map_or_else(Vec::new, Store::all)
    }

    fn store(&self, kind: Kind) -> Option<&Store> {
        let found = self.0.stores.iter().find(|(one, _)| *one == kind);
        found.map(|(_, store)| store)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(namespace: &str, name: &str) -> Value {
        json!({"metadata": {"namespace": namespace, "name": name}})
    }

    #[test]
    fn a_cold_cache_knows_nothing_and_a_warm_one_knows_what_is_absent() {
        let cold = Caches::new(None);
        assert!(!cold.knows(Kind::SERVICE, "a"));
        let warm = Caches::holding([(Kind::SERVICE, named("a", "x")), (Kind::SECRET, named("a", "s"))]);
        assert!(warm.knows(Kind::SERVICE, "a") && warm.knows(Kind::CANARY, "b"));
        assert!(warm.get(Kind::SERVICE, "a", "x").is_some());
        assert!(warm.get(Kind::SERVICE, "b", "x").is_none());
        assert_eq!(warm.within(Kind::SERVICE, "a").len(), 1);
        assert!(warm.within(Kind::SERVICE, "b").is_empty());
        assert!(!warm.keeps(Kind::SECRET) && !warm.knows(Kind::SECRET, "a"));
        assert!(warm.all(Kind::SECRET).is_empty());
    }

    #[test]
    fn outside_the_watched_namespace_nothing_is_known() {
        let caches = Caches::new(Some("a".to_owned()));
        caches
            .store(Kind::SERVICE)
            .unwrap()
            .replace(vec![named("a", "x")]);
        assert!(caches.knows(Kind::SERVICE, "a"));
        assert!(!caches.knows(Kind::SERVICE, "b"));
    }
}
