//! The kept objects of one kind, by namespace and name.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use tokio::sync::watch;

use super::Place;

type Objects = HashMap<String, BTreeMap<String, Kept>>;

/// An object, and a digest of it that tells whether a change changes anything.
#[derive(Clone)]
struct Kept {
    object: Arc<Value>,
    digest: u64,
}

/// The store. Reading costs the same however many other namespaces there are.
pub(super) struct Store {
    objects: RwLock<Objects>,
    warm: watch::Sender<bool>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            objects: RwLock::default(),
            warm: watch::Sender::new(false),
        }
    }
}

/// What a complete list changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) changed: Vec<Place>,
    pub(super) gone: Vec<Place>,
}

impl Store {
    /// These objects and no others; complete from now on.
    pub(super) fn replace(&self, objects: Vec<Value>) -> Difference {
        let mut fresh = Objects::new();
        for object in objects {
            let (namespace, name) = place(&object);
            fresh.entry(namespace).or_default().insert(name, Kept::of(object));
        }
        let mut difference = Difference::default();
        {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            let missing = |of: &Objects, namespace: &str, name: &str| {
                of.get(namespace)
                    .and_then(|all| all.get(name))
                    .map(|kept| kept.digest)
            };
            for (namespace, name, digest) in walk(&fresh) {
                if missing(&objects, namespace, name) != Some(digest) {
                    difference.changed.push((namespace.to_owned(), name.to_owned()));
                }
            }
            for (namespace, name, _) in walk(&objects) {
                if missing(&fresh, namespace, name).is_none() {
                    difference.gone.push((namespace.to_owned(), name.to_owned()));
                }
            }
            *objects = fresh;
        }
        self.warm.send_replace(true);
        difference
    }

    /// One more object, or another state of one; its place if anything kept differs.
    pub(super) fn put(&self, object: Value) -> Option<Place> {
        let place = place(&object);
        let kept = Kept::of(object);
        let digest = kept.digest;
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let all = objects.entry(place.0.clone()).or_default();
        let before = all.insert(place.1.clone(), kept);
        before
            .is_none_or(|before| before.digest != digest)
            .then_some(place)
    }

    /// One object less.
    pub(super) fn remove(&self, object: &Value) -> Place {
        let place = place(object);
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = objects.get_mut(&place.0) {
            all.remove(&place.1);
            if all.is_empty() {
                objects.remove(&place.0);
            }
        }
        place
    }

    pub(super) fn is_warm(&self) -> bool {
        *self.warm.borrow()
    }

    /// Returns once the store is complete.
    pub(super) async fn warm(&self) {
        // The sender lives as long as this does.
        let _ = self.warm.subscribe().wait_for(|warm| *warm).await;
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let kept = objects.get(namespace)?.get(name)?;
        Some(Arc::clone(&kept.object))
    }

    pub(super) fn within(&self, namespace: &str) -> Vec<Arc<Value>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let all = objects.get(namespace).into_iter().flat_map(BTreeMap::values);
        all.map(|kept| Arc::clone(&kept.object)).collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Value>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let all = objects.values().flat_map(BTreeMap::values);
        all.map(|kept| Arc::clone(&kept.object)).collect()
    }
}

impl Kept {
    fn of(object: Value) -> Self {
        let digest = digest(&object);
        Self {
            object: Arc::new(object),
            digest,
        }
    }
}

fn walk(objects: &Objects) -> impl Iterator<Item = (&str, &str, u64)> {
    objects.iter().flat_map(|(namespace, all)| {
        all.iter()
            .map(|(name, kept)| (namespace.as_str(), name.as_str(), kept.digest))
    })
}

fn place(object: &Value) -> Place {
    let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    (part("namespace"), part("name"))
}

/// A digest of what decisions rest on: all but the version of the object and who keeps its fields.
fn digest(object: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Some(members) = object.as_object() else {
        return 0;
    };
    for (key, value) in members {
        key.hash(&mut hasher);
        if key != "metadata" {
            value.to_string().hash(&mut hasher);
            continue;
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            if key != "resourceVersion" && key != "managedFields" {
                key.hash(&mut hasher);
                value.to_string().hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: &str, data: i64) -> Value {
        json!({
            "metadata": {"namespace": "ns", "name": name, "resourceVersion": version, "managedFields": [{"manager": version}]},
            "spec": {"n": data},
        })
    }

    fn names(places: Vec<Place>) -> Vec<String> {
        let mut names: Vec<String> = places.into_iter().map(|(_, name)| name).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_differs_is_news() {
        let store = Store::default();
        assert!(!store.is_warm());
        let first = store.replace(vec![object("a", "1", 1), object("b", "1", 1)]);
        assert!(store.is_warm());
        assert_eq!(
            (names(first.changed), names(first.gone)),
            (vec!["a".to_owned(), "b".to_owned()], vec![])
        );
        assert_eq!(store.put(object("a", "2", 1)), None);
        assert_eq!(store.get("ns", "a").unwrap()["metadata"]["resourceVersion"], "2");
        assert!(store.put(object("a", "3", 2)).is_some());
        store.remove(&object("a", "4", 2));
        assert!(store.get("ns", "a").is_none());
        assert!(store.put(object("a", "5", 2)).is_some());
        // `b` vanished while nobody watched.
        let again = store.replace(vec![object("a", "6", 3), object("c", "6", 3)]);
        assert_eq!(
            (names(again.changed), names(again.gone)),
            (vec!["a".to_owned(), "c".to_owned()], vec!["b".to_owned()])
        );
        let same = store.replace(vec![object("a", "7", 3), object("c", "7", 3)]);
        assert_eq!(same, Difference::default());
        store.remove(&object("a", "8", 3));
        store.remove(&object("c", "8", 3));
        assert!(store.objects.read().unwrap().is_empty(), "nothing is left behind");
    }
}
