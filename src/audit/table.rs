//! What a watch has told so far, and whether something that matters changed.

use std::collections::HashMap;
use std::sync::Arc;

use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use serde_json::{Map, Value, json};

/// Objects by name, as far as they matter.
pub(super) struct Table {
    keep: fn(&DynamicObject) -> Value,
    objects: HashMap<String, Arc<Value>>,
    listing: HashMap<String, Arc<Value>>,
    complete: bool,
}

impl Table {
    /// Name, generation and spec: a status write changes nothing.
    pub(super) fn of_policies() -> Self {
        Self::of(|object| {
            json!({
                "metadata": {"name": object.metadata.name, "generation": object.metadata.generation},
                "spec": object.data.get("spec"),
            })
        })
    }

    /// Name, labels and annotations.
    pub(super) fn of_namespaces() -> Self {
        Self::of(|object| {
            let mut metadata = Map::new();
            metadata.insert("name".to_owned(), json!(object.metadata.name));
            metadata.insert(
                "labels".to_owned(),
                json!(object.metadata.labels.clone().unwrap_or_default()),
            );
            let mut annotations = object.metadata.annotations.clone().unwrap_or_default();
            annotations.remove(crate::cluster::LAST_APPLIED);
            metadata.insert("annotations".to_owned(), json!(annotations));
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })
        })
    }

    fn of(keep: fn(&DynamicObject) -> Value) -> Self {
        Self {
            keep,
            objects: HashMap::new(),
            listing: HashMap::new(),
            complete: false,
        }
    }

    /// True once everything has been listed.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.objects.values()
    }

    pub(super) fn by_name(&self) -> HashMap<String, Arc<Value>> {
        self.objects.clone()
    }

    /// The kind is not served: there are none.
    pub(super) fn nothing(&mut self) -> bool {
        let news = !self.complete || !self.objects.is_empty();
        self.objects.clear();
        self.complete = true;
        news
    }

    /// Takes an event in; true when something changed that is kept, or when everything is listed for the first time.
    pub(super) fn note(&mut self, event: Event<DynamicObject>) -> bool {
        let name = |object: &DynamicObject| object.metadata.name.clone().unwrap_or_default();
        match event {
            Event::Init => {
                self.listing.clear();
                false
            }
            Event::InitApply(object) => {
                self.listing.insert(name(&object), Arc::new((self.keep)(&object)));
                false
            }
            Event::InitDone => {
                let fresh = std::mem::take(&mut self.listing);
                let news = !self.complete || fresh != self.objects;
                self.objects = fresh;
                self.complete = true;
                news
            }
            Event::Apply(object) => {
                let kept = Arc::new((self.keep)(&object));
                let before = self.objects.insert(name(&object), Arc::clone(&kept));
                before.is_none_or(|before| before != kept)
            }
            Event::Delete(object) => self.objects.remove(&name(&object)).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, interval: &str, status: i64) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "verdigris.dev/v1alpha1", "kind": "CanaryPolicy", "metadata": {"name": name, "resourceVersion": status.to_string()},
            "spec": {"limits": {"interval": {"min": interval}}}, "status": {"violations": status},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_matters_is_news() {
        let mut table = Table::of_policies();
        assert!(!table.note(Event::Init) && !table.note(Event::InitApply(policy("a", "1m", 1))));
        assert!(!table.is_complete());
        assert!(table.note(Event::InitDone) && table.is_complete());
        assert!(
            !table.note(Event::Apply(policy("a", "1m", 2))),
            "a status is no news"
        );
        assert!(table.note(Event::Apply(policy("a", "2m", 3))));
        assert!(table.note(Event::Apply(policy("b", "2m", 4))));
        table.note(Event::Init);
        table.note(Event::InitApply(policy("a", "2m", 5)));
        assert!(table.note(Event::InitDone), "b is gone");
        assert!(table.note(Event::Delete(policy("a", "2m", 6))));
        assert!(!table.note(Event::Delete(policy("a", "2m", 6))));
        assert!(!table.nothing(), "there were none already");
    }

    #[test]
    fn a_kind_nobody_serves_is_complete() {
        let mut table = Table::of_policies();
        assert!(table.nothing() && table.is_complete() && !table.nothing());
    }
}
