//! What the caches hold of the surroundings of an object: gathered for the rules, never judged here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::cache::{Caches, Kind};
use crate::model::canary::{Canary, Source, TargetKind};
use crate::model::names;
use crate::model::surroundings::users::Referred;
use crate::model::surroundings::{Neighbour, Seen, Surroundings};

/// Where reviews look around.
pub(super) struct Around {
    caches: Caches,
    selector_labels: Vec<String>,
}

impl Around {
    pub(super) fn new(caches: Caches, selector_labels: Vec<String>) -> Self {
        Self {
            caches,
            selector_labels,
        }
    }

    /// What lies around a Canary.
    pub(super) fn of(&self, canary: &Canary) -> Surroundings {
        let namespace = canary.id.namespace.as_str();
        let known = |kind| self.caches.knows(kind, namespace);
        let all = |kind| self.caches.within(kind, namespace);
        let (target, primary) = (&canary.target.name, names::primary(&canary.target.name));
        let of_kind = |name: &str| match resource(canary.target.kind) {
            Some(kind) => self.look(kind, namespace, name),
            None => Seen::Unknown,
        };
        let mut templates = BTreeMap::new();
        for check in &canary.analysis.checks {
            if let Source::Template { namespace, name, .. } = &check.source {
                let seen = self.look(Kind::METRIC_TEMPLATE, namespace, name);
                templates.insert((namespace.clone(), name.clone()), seen);
            }
        }
        let mut alert_providers = BTreeMap::new();
        for alert in &canary.analysis.alerts {
            let (namespace, name) = (&alert.provider_namespace, &alert.provider);
            let seen = self.look(Kind::ALERT_PROVIDER, namespace, name);
            alert_providers.insert((namespace.clone(), name.clone()), seen);
        }
        let mut workloads = all(Kind::DEPLOYMENT);
        workloads.extend(all(Kind::DAEMON_SET));
        let mut scalers = all(Kind::HPA);
        scalers.extend(all(Kind::SCALED_OBJECT));
        let neighbours = || {
            let canaries = all(Kind::CANARY);
            canaries.iter().filter_map(|other| Neighbour::of(other)).collect()
        };
        Surroundings {
            canaries: known(Kind::CANARY).then(neighbours),
            target: of_kind(target),
            primary: of_kind(&primary),
            workloads,
            services: known(Kind::SERVICE).then(|| all(Kind::SERVICE)),
            scalers: (known(Kind::HPA) && known(Kind::SCALED_OBJECT)).then_some(scalers),
            templates,
            alert_providers,
            selector_labels: self.selector_labels.clone(),
        }
    }

    /// The workload a v1beta1 Canary object names.
    pub(super) fn target_of(&self, canary: &Value) -> Seen {
        let text = |pointer: &str| canary.pointer(pointer).and_then(Value::as_str);
        let kind = match text("/spec/targetRef/kind") {
            Some("Deployment") => Kind::DEPLOYMENT,
            Some("DaemonSet") => Kind::DAEMON_SET,
            Some("Service") => Kind::SERVICE,
            Some(_) | None => return Seen::Unknown,
        };
        let (Some(namespace), Some(name)) = (text("/metadata/namespace"), text("/spec/targetRef/name"))
        else {
            return Seen::Unknown;
        };
        self.look(kind, namespace, name)
    }

    /// The Canaries, of any namespace, that refer to this object.
    pub(super) fn users(&self, referred: Referred, object: &Value) -> Vec<Arc<Value>> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let mut users = self.caches.all(Kind::CANARY);
        users.retain(|canary| referred.is_used_by(canary, namespace, name));
        users
    }

    fn look(&self, kind: Kind, namespace: &str, name: &str) -> Seen {
        match self.caches.get(kind, namespace, name) {
            Some(object) => Seen::Present(object),
            None if self.caches.knows(kind, namespace) => Seen::Absent,
            None => Seen::Unknown,
        }
    }
}

/// The resource a target is, if it is watched.
fn resource(kind: TargetKind) -> Option<Kind> {
    match kind {
        TargetKind::Deployment => Some(Kind::DEPLOYMENT),
        TargetKind::DaemonSet => Some(Kind::DAEMON_SET),
        TargetKind::Service => Some(Kind::SERVICE),
        TargetKind::Knative => None,
    }
}
