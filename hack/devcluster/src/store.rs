//! Objects in memory, with one revision counter and a log of changes for watches.
//!
//! Owns: what is stored, resource versions, the history that watches and paged lists read. Promises: a write is
//! visible to readers and in the log at once, revisions only grow, a snapshot of any revision still in the log can
//! be rebuilt. Never: looks inside an object (except to stamp `metadata.resourceVersion`), waits, or calls out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

/// Changes remembered per resource type; a watch older than that gets 410 Gone.
const HISTORY: usize = 8192;

/// What is stored together: API group and plural name, whatever the version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Table {
    pub(crate) group: String,
    pub(crate) plural: String,
}

/// An object and the revision of its last write.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) revision: u64,
    pub(crate) value: Arc<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One change: the state after it (before it, for a deletion, with the deletion's revision) and the state before.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) kind: EventKind,
    pub(crate) value: Arc<Value>,
    pub(crate) previous: Option<Stored>,
}

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// An object of that name exists.
    Exists,
    /// There is no such object.
    Missing,
    /// It was written since the caller read it.
    Changed,
}

/// The revision asked for is no longer (or not yet) in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// The oldest revision that can still be asked for.
    pub(crate) oldest: u64,
}

type Name = (String, String);

#[derive(Debug)]
struct Collection {
    objects: BTreeMap<Name, Stored>,
    log: VecDeque<Event>,
    /// Changes up to and including this revision were forgotten.
    compacted: u64,
    changed: watch::Sender<u64>,
}

impl Collection {
    fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            compacted: 0,
            changed: watch::Sender::new(0),
        }
    }

    fn record(&mut self, event: Event) {
        let revision = event.revision;
        self.log.push_back(event);
        while self.log.len() > HISTORY {
            if let Some(old) = self.log.pop_front() {
                self.compacted = old.revision;
            }
        }
        self.changed.send_replace(revision);
    }
}

#[derive(Debug)]
struct Inner {
    revision: u64,
    collections: HashMap<Table, Collection>,
}

impl Inner {
    fn collection(&mut self, table: &Table) -> &mut Collection {
        if !self.collections.contains_key(table) {
            self.collections.insert(table.clone(), Collection::new());
        }
        // Just inserted when it was not there.
        self.collections
            .entry(table.clone())
            .or_insert_with(Collection::new)
    }
}

/// The storage of one cluster.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                revision: 1,
                collections: HashMap::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every mutation below is complete before anything can panic, so a poisoned lock holds sound data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    pub(crate) fn get(&self, table: &Table, namespace: &str, name: &str) -> Option<Stored> {
        let inner = self.lock();
        inner
            .collections
            .get(table)?
            .objects
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// All objects of a namespace (`None`: of all), by namespace and name, and the revision they were read at.
    pub(crate) fn list(&self, table: &Table, namespace: Option<&str>) -> (Vec<Stored>, u64) {
        let inner = self.lock();
        let objects = inner.collections.get(table).map_or_else(Vec::new, |c| {
            c.objects
                .iter()
                .filter(|((ns, _), _)| namespace.is_none_or(|wanted| wanted == ns))
                .map(|(_, stored)| stored.clone())
                .collect()
        });
        (objects, inner.revision)
    }

    /// The objects as they were at `revision`.
    pub(crate) fn list_at(
        &self,
        table: &Table,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Vec<Stored>, Compacted> {
        let inner = self.lock();
        let Some(collection) = inner.collections.get(table) else {
            return Ok(Vec::new());
        };
        if revision < collection.compacted {
            return Err(Compacted {
                oldest: collection.compacted,
            });
        }
        let mut objects = collection.objects.clone();
        for event in collection.log.iter().rev().take_while(|e| e.revision > revision) {
            let name = name_of(&event.value);
            match &event.previous {
                Some(previous) => objects.insert(name, previous.clone()),
                None => objects.remove(&name),
            };
        }
        Ok(objects
            .into_iter()
            .filter(|((ns, _), _)| namespace.is_none_or(|wanted| wanted == ns))
            .map(|(_, stored)| stored)
            .collect())
    }

    pub(crate) fn create(&self, table: &Table, mut value: Value) -> Result<Arc<Value>, Refused> {
        let name = name_of(&value);
        let mut inner = self.lock();
        if inner.collection(table).objects.contains_key(&name) {
            return Err(Refused::Exists);
        }
        inner.revision += 1;
        let revision = inner.revision;
        stamp(&mut value, revision);
        let value = Arc::new(value);
        let collection = inner.collection(table);
        collection.objects.insert(
            name,
            Stored {
                revision,
                value: Arc::clone(&value),
            },
        );
        collection.record(Event {
            revision,
            kind: EventKind::Added,
            value: Arc::clone(&value),
            previous: None,
        });
        Ok(value)
    }

    /// Replaces the object if its revision is still `expected`.
    pub(crate) fn update(
        &self,
        table: &Table,
        expected: u64,
        mut value: Value,
    ) -> Result<Arc<Value>, Refused> {
        let name = name_of(&value);
        let mut inner = self.lock();
        let previous = inner
            .collection(table)
            .objects
            .get(&name)
            .cloned()
            .ok_or(Refused::Missing)?;
        if previous.revision != expected {
            return Err(Refused::Changed);
        }
        inner.revision += 1;
        let revision = inner.revision;
        stamp(&mut value, revision);
        let value = Arc::new(value);
        let collection = inner.collection(table);
        collection.objects.insert(
            name,
            Stored {
                revision,
                value: Arc::clone(&value),
            },
        );
        collection.record(Event {
            revision,
            kind: EventKind::Modified,
            value: Arc::clone(&value),
            previous: Some(previous),
        });
        Ok(value)
    }

    /// Removes the object if its revision is still `expected`; answers its last state.
    pub(crate) fn delete(
        &self,
        table: &Table,
        namespace: &str,
        name: &str,
        expected: u64,
    ) -> Result<Arc<Value>, Refused> {
        let name = (namespace.to_owned(), name.to_owned());
        let mut inner = self.lock();
        let previous = inner
            .collection(table)
            .objects
            .get(&name)
            .cloned()
            .ok_or(Refused::Missing)?;
        if previous.revision != expected {
            return Err(Refused::Changed);
        }
        inner.revision += 1;
        let revision = inner.revision;
        let mut value = Value::clone(&previous.value);
        stamp(&mut value, revision);
        let value = Arc::new(value);
        let collection = inner.collection(table);
        collection.objects.remove(&name);
        collection.record(Event {
            revision,
            kind: EventKind::Deleted,
            value: Arc::clone(&value),
            previous: Some(previous),
        });
        Ok(value)
    }

    /// The changes after `revision`, and the newest revision of the whole store at that moment.
    pub(crate) fn since(&self, table: &Table, revision: u64) -> Result<(Vec<Event>, u64), Compacted> {
        let inner = self.lock();
        let Some(collection) = inner.collections.get(table) else {
            return Ok((Vec::new(), inner.revision));
        };
        if revision < collection.compacted {
            return Err(Compacted {
                oldest: collection.compacted,
            });
        }
        let start = collection.log.partition_point(|e| e.revision <= revision);
        Ok((collection.log.range(start..).cloned().collect(), inner.revision))
    }

    /// Wakes whenever something of this type was written.
    pub(crate) fn changes(&self, table: &Table) -> watch::Receiver<u64> {
        self.lock().collection(table).changed.subscribe()
    }
}

fn name_of(value: &Value) -> Name {
    let text = |key: &str| value["metadata"][key].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn stamp(value: &mut Value, revision: u64) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table() -> Table {
        Table {
            group: String::new(),
            plural: "configmaps".to_owned(),
        }
    }

    fn object(name: &str, data: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "a"}, "data": data})
    }

    #[test]
    fn writes_are_ordered_and_stale_writes_refused() {
        let store = Store::new();
        let first = store.create(&table(), object("x", "1")).unwrap();
        assert_eq!(first["metadata"]["resourceVersion"], "2");
        assert_eq!(
            store.create(&table(), object("x", "1")).unwrap_err(),
            Refused::Exists
        );
        store.update(&table(), 2, object("x", "2")).unwrap();
        assert_eq!(
            store.update(&table(), 2, object("x", "3")).unwrap_err(),
            Refused::Changed
        );
        assert_eq!(store.delete(&table(), "a", "x", 2).unwrap_err(), Refused::Changed);
        assert_eq!(
            store.delete(&table(), "a", "x", 3).unwrap()["metadata"]["resourceVersion"],
            "4"
        );
        assert_eq!(
            store.update(&table(), 3, object("x", "3")).unwrap_err(),
            Refused::Missing
        );
        let (events, newest) = store.since(&table(), 2).unwrap();
        assert_eq!(
            events.iter().map(|e| e.kind).collect::<Vec<_>>(),
            [EventKind::Modified, EventKind::Deleted]
        );
        assert_eq!(newest, 4);
    }

    #[test]
    fn an_old_snapshot_is_rebuilt_from_the_log() {
        let store = Store::new();
        store.create(&table(), object("x", "1")).unwrap();
        store.create(&table(), object("y", "1")).unwrap();
        let (_, revision) = store.list(&table(), None);
        store.update(&table(), 2, object("x", "2")).unwrap();
        store.delete(&table(), "a", "y", 3).unwrap();
        store.create(&table(), object("z", "1")).unwrap();
        let names: Vec<_> = store
            .list_at(&table(), None, revision)
            .unwrap()
            .iter()
            .map(|s| (name_of(&s.value).1, s.value["data"].clone()))
            .collect();
        assert_eq!(
            names,
            [("x".to_owned(), json!("1")), ("y".to_owned(), json!("1"))]
        );
    }

    #[test]
    fn history_is_bounded() {
        let store = Store::new();
        store.create(&table(), object("x", "0")).unwrap();
        for n in 0..HISTORY {
            store
                .update(&table(), n as u64 + 2, object("x", &n.to_string()))
                .unwrap();
        }
        assert!(store.since(&table(), 1).is_err());
        assert!(store.list_at(&table(), None, 1).is_err());
        assert_eq!(store.since(&table(), 2).unwrap().0.len(), HISTORY);
    }
}
