//! Which Canaries an object matters to, by name.
//!
//! Owns: the two-way table. Promises: finding the Canaries of an object costs the same with one Canary and with a
//! thousand. A pass enters what it is about to read before it reads it, so no change falls in between.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use crate::cluster::Kind;
use crate::model::canary::{Canary, Provider, ScalerKind, TargetKind};
use crate::workload::config::{self, ConfigKind};
use crate::workload::{mirror, primary_name, scaler, service};

/// Namespace and name of a Canary.
pub(crate) type Id = (String, String);

/// A watched object: plural resource name, namespace, name.
pub(crate) type Object = (&'static str, String, String);

/// The table.
#[derive(Default)]
pub(crate) struct Index(RwLock<Tables>);

#[derive(Default)]
struct Tables {
    canaries: HashMap<Object, HashSet<Id>>,
    objects: HashMap<Id, HashSet<Object>>,
}

impl Index {
    /// The Canary reads these objects too.
    pub(crate) fn add(&self, canary: &Id, objects: impl IntoIterator<Item = Object>) {
        let known = self.objects_of(canary);
        let fresh: Vec<Object> = objects
            .into_iter()
            .filter(|object| !known.contains(object))
            .collect();
        if fresh.is_empty() {
            return;
        }
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for object in fresh {
            tables
                .canaries
                .entry(object.clone())
                .or_default()
                .insert(canary.clone());
            tables.objects.entry(canary.clone()).or_default().insert(object);
        }
    }

    /// The Canary reads these objects and no others.
    pub(crate) fn set(&self, canary: &Id, objects: HashSet<Object>) {
        let known = self.objects_of(canary);
        if known == objects {
            return;
        }
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for object in known.difference(&objects) {
            tables.drop_entry(object, canary);
        }
        for object in objects.difference(&known) {
            tables
                .canaries
                .entry(object.clone())
                .or_default()
                .insert(canary.clone());
        }
        if objects.is_empty() {
            tables.objects.remove(canary);
        } else {
            tables.objects.insert(canary.clone(), objects);
        }
    }

    /// The Canary is gone.
    pub(crate) fn forget(&self, canary: &Id) {
        self.set(canary, HashSet::new());
    }

    /// The Canaries that read an object.
    pub(crate) fn interested(&self, plural: &'static str, namespace: &str, name: &str) -> Vec<Id> {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let object = (plural, namespace.to_owned(), name.to_owned());
        tables
            .canaries
            .get(&object)
            .map_or_else(Vec::new, |ids| ids.iter().cloned().collect())
    }

    /// Namespace and name of every object of a resource that some Canary reads.
    pub(crate) fn all(&self, plural: &'static str) -> Vec<(String, String)> {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_kind = tables.canaries.keys().filter(|(found, _, _)| *found == plural);
        of_kind
            .map(|(_, namespace, name)| (namespace.clone(), name.clone()))
            .collect()
    }

    fn objects_of(&self, canary: &Id) -> HashSet<Object> {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tables.objects.get(canary).cloned().unwrap_or_default()
    }
}

impl Tables {
    fn drop_entry(&mut self, object: &Object, canary: &Id) {
        if let Some(ids) = self.canaries.get_mut(object) {
            ids.remove(canary);
            if ids.is_empty() {
                self.canaries.remove(object);
            }
        }
    }
}

/// The resource a target kind is, if it is routed.
pub(crate) fn target_kind(kind: TargetKind) -> Option<Kind> {
    match kind {
        TargetKind::Deployment => Some(Kind::DEPLOYMENT),
        TargetKind::DaemonSet => Some(Kind::DAEMON_SET),
        TargetKind::Service => Some(Kind::SERVICE),
        TargetKind::Knative => None,
    }
}

/// The resource an autoscaler is.
pub(crate) fn scaler_kind(kind: ScalerKind) -> Kind {
    match kind {
        ScalerKind::HorizontalPodAutoscaler => Kind::HPA,
        ScalerKind::ScaledObject => Kind::SCALED_OBJECT,
    }
}

/// The resource a config is.
pub(crate) fn config_kind(kind: ConfigKind) -> Kind {
    match kind {
        ConfigKind::ConfigMap => Kind::CONFIG_MAP,
        ConfigKind::Secret => Kind::SECRET,
    }
}

/// What a Canary's manifest names: target, primary, Services, autoscalers.
pub(crate) fn named(canary: &Canary) -> HashSet<Object> {
    let mut objects = HashSet::new();
    let (Provider::Kubernetes, Some(kind)) = (&canary.provider, target_kind(canary.target.kind)) else {
        return objects;
    };
    let mut add = |kind: Kind, name: String| {
        objects.insert((kind.plural, canary.id.namespace.clone(), name));
    };
    add(kind, canary.target.name.clone());
    add(kind, primary_name(canary));
    if canary.target.kind == TargetKind::Service {
        add(Kind::SERVICE, mirror::canary_name(canary));
    } else {
        for role in [service::Role::Apex, service::Role::Primary, service::Role::Canary] {
            add(Kind::SERVICE, service::name(canary, role));
        }
    }
    if let Some(scaler) = &canary.autoscaler {
        let kind = scaler_kind(scaler.kind);
        add(kind, scaler.name.clone());
        add(kind, scaler::primary_name(scaler));
    }
    objects
}

/// What a Canary's pods read, and the copies of it.
pub(crate) fn configs(canary: &Canary, references: &[config::Reference]) -> HashSet<Object> {
    let mut objects = HashSet::new();
    for reference in references {
        let plural = config_kind(reference.kind).plural;
        for name in [
            reference.name.clone(),
            config::usual_name(&reference.name),
            config::own_name(&reference.name, canary),
        ] {
            objects.insert((plural, canary.id.namespace.clone(), name));
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> Id {
        ("ns".to_owned(), name.to_owned())
    }

    fn object(name: &str) -> Object {
        ("services", "ns".to_owned(), name.to_owned())
    }

    #[test]
    fn a_canary_is_found_by_what_it_reads_until_it_reads_something_else() {
        let index = Index::default();
        index.add(&id("a"), [object("x"), object("y")]);
        index.add(&id("b"), [object("x")]);
        let mut both = index.interested("services", "ns", "x");
        both.sort();
        assert_eq!(both, [id("a"), id("b")]);
        assert!(index.interested("deployments", "ns", "x").is_empty());
        index.set(&id("a"), [object("z")].into());
        assert_eq!(index.interested("services", "ns", "x"), [id("b")]);
        assert!(index.interested("services", "ns", "y").is_empty());
        assert_eq!(index.interested("services", "ns", "z"), [id("a")]);
        index.forget(&id("a"));
        index.forget(&id("b"));
        let tables = index.0.read().unwrap();
        assert!(
            tables.canaries.is_empty() && tables.objects.is_empty(),
            "nothing is left behind"
        );
    }

    proptest! {
        #[test]
        fn both_tables_always_agree(
            steps in proptest::collection::vec(("[abc]", proptest::collection::hash_set("[uvwxyz]", 0..4), any::<bool>()), 0..12),
        ) {
            let index = Index::default();
            let mut model: HashMap<String, HashSet<String>> = HashMap::new();
            for (canary, objects, adds) in steps {
                let named = objects.iter().map(|name| object(name));
                if adds {
                    index.add(&id(&canary), named);
                    model.entry(canary).or_default().extend(objects);
                } else {
                    index.set(&id(&canary), named.collect());
                    model.insert(canary, objects);
                }
            }
            for name in ["u", "v", "w", "x", "y", "z"] {
                let found: HashSet<Id> = index.interested("services", "ns", name).into_iter().collect();
                let expected: HashSet<Id> =
                    model.iter().filter(|(_, objects)| objects.contains(name)).map(|(canary, _)| id(canary)).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
