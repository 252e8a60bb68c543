//! One watched kind: a cache of it, and word of what changed.
//!
//! Promises: word of a change is given once the cache shows it, also after a watch broke and everything was listed
//! anew; an event that changes nothing we keep wakes nobody.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::future::Future;
use std::hash::{Hash as _, Hasher as _};

use futures::TryStreamExt as _;
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};

use crate::cluster::{Kind, LAST_APPLIED};

use super::index::Id;

/// What happened to an object.
pub(super) enum News<'a> {
    /// It is new or different.
    Changed(&'a Id),
    /// It is gone; the last state, if a watch told it.
    Gone(&'a Id, Option<&'a DynamicObject>),
}

/// A cache, and the task that keeps it and tells `hear` the news. The task ends only with the watch, which is a
/// broken invariant.
pub(super) fn keep(
    kind: Kind,
    api: Api<DynamicObject>,
    hear: impl Fn(News<'_>) + Send + 'static,
) -> (
    Store<DynamicObject>,
    impl Future<Output = Result<(), String>> + Send + 'static,
) {
    let writer = reflector::store::Writer::new(kind.resource());
    let reader = writer.as_reader();
    let stream = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(move |object| trim(kind, object))
        .reflect(writer);
    let task = async move {
        let mut stream = std::pin::pin!(stream);
        let mut seen = Seen::default();
        loop {
            match stream.try_next().await {
                Ok(Some(event)) => seen.note(&event, &hear),
                Ok(None) => return Err(format!("the watch of {} ended", kind.plural)),
                Err(error) => tracing::warn!(kind = kind.kind, "watch failed, trying again: {error}"),
            }
        }
    };
    (reader, task)
}

/// Takes away what no decision reads.
fn trim(kind: Kind, object: &mut DynamicObject) {
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    if matches!(kind, Kind::HPA | Kind::SCALED_OBJECT)
        && let Some(data) = object.data.as_object_mut()
    {
        // Written every few seconds.
        data.remove("status");
    }
}

/// Digests of what was seen.
#[derive(Default)]
struct Seen {
    digests: HashMap<Id, u64>,
    listing: HashMap<Id, u64>,
}

impl Seen {
    /// Tells the news in an event. A list is news when it is complete: caches show it no earlier.
    fn note(&mut self, event: &Event<DynamicObject>, hear: &impl Fn(News<'_>)) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => {
                self.listing.insert(place(object), digest(object));
            }
            Event::InitDone => {
                let fresh = std::mem::take(&mut self.listing);
                let old = std::mem::replace(&mut self.digests, fresh);
                for (place, digest) in &self.digests {
                    if old.get(place) != Some(digest) {
                        hear(News::Changed(place));
                    }
                }
                for place in old.keys().filter(|place| !self.digests.contains_key(*place)) {
                    hear(News::Gone(place, None));
                }
            }
            Event::Apply(object) => {
                let (place, digest) = (place(object), digest(object));
                if self.digests.insert(place.clone(), digest) != Some(digest) {
                    hear(News::Changed(&place));
                }
            }
            Event::Delete(object) => {
                let place = place(object);
                self.digests.remove(&place);
                hear(News::Gone(&place, Some(object)));
            }
        }
    }
}

fn place(object: &DynamicObject) -> Id {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    (part(&object.metadata.namespace), part(&object.metadata.name))
}

/// A digest of an object but for its resourceVersion.
fn digest(object: &DynamicObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut metadata = object.metadata.clone();
    metadata.resource_version = None;
    let metadata = serde_json::to_string(&metadata).unwrap_or_default();
    metadata.hash(&mut hasher);
    object.data.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::json;

    use super::*;

    fn object(name: &str, version: &str, data: i64) -> DynamicObject {
        let value = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "ns", "name": name, "resourceVersion": version},
            "spec": {"n": data}, "status": {"n": version},
        });
        let mut object = serde_json::from_value(value).unwrap();
        trim(Kind::HPA, &mut object);
        object
    }

    #[test]
    fn news_is_told_once_it_can_be_read() {
        let mut seen = Seen::default();
        let table: [(Event<DynamicObject>, &[&str]); 12] = [
            (Event::Init, &[]),
            (Event::InitApply(object("a", "1", 1)), &[]),
            (Event::InitApply(object("b", "1", 1)), &[]),
            (Event::InitDone, &["+a", "+b"]),
            (Event::Apply(object("a", "2", 1)), &[]),
            (Event::Apply(object("a", "3", 2)), &["+a"]),
            (Event::Delete(object("a", "4", 2)), &["-a"]),
            (Event::Apply(object("a", "5", 2)), &["+a"]),
            (Event::Init, &[]),
            (Event::InitApply(object("a", "6", 3)), &[]),
            (Event::InitApply(object("c", "6", 3)), &[]),
            // `b` vanished while nobody watched.
            (Event::InitDone, &["+a", "+c", "-b"]),
        ];
        for (event, expected) in table {
            let told = RefCell::new(Vec::new());
            seen.note(&event, &|news| {
                told.borrow_mut().push(match news {
                    News::Changed((_, name)) => format!("+{name}"),
                    News::Gone((_, name), _) => format!("-{name}"),
                });
            });
            let mut told = told.into_inner();
            told.sort();
            assert_eq!(told, expected, "{event:?}");
        }
    }

    #[test]
    fn caches_keep_what_is_read() {
        let mut object = object("a", "1", 1);
        object.metadata.managed_fields = Some(Vec::new());
        let annotations = [(LAST_APPLIED, "{}"), ("kept", "x")];
        object.metadata.annotations = Some(
            annotations
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        trim(Kind::SERVICE, &mut object);
        assert!(object.metadata.managed_fields.is_none());
        assert_eq!(object.metadata.annotations.unwrap().len(), 1);
    }
}
