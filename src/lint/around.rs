//! What lies around a Canary, as far as the given files say.

use std::sync::Arc;

use super::collection::{Collection, Object, name_of};
use super::{Judged, Options};
use crate::model::canary::{Canary, ScalerKind, Source, TargetKind};
use crate::model::names;
use crate::model::rules::{self, Rule};
use crate::model::surroundings::{Neighbour, Seen, Surroundings};
use crate::model::violation::{Code, Report};

/// Gathers the surroundings of the Canary written at `near`.
pub(super) fn surroundings(
    canary: &Canary,
    near: &Object,
    collection: &Collection,
    judged: &[Judged],
    options: &Options,
) -> Surroundings {
    let namespace = canary.id.namespace.as_str();
    let values = |kind: &str| {
        collection
            .beside(near, kind, namespace)
            .map(|(_, object)| Arc::clone(&object.value))
            .collect::<Vec<_>>()
    };
    let seen = |kind: &str, namespace: &str, name: &str| match collection.nearest(near, kind, namespace, name)
    {
        Some(object) => Seen::Present(Arc::clone(&object.value)),
        None if is_missed(collection, near, kind, namespace, name) => Seen::Absent,
        None => Seen::Unknown,
    };
    let kind = workload(canary.target.kind);
    let canaries = collection
        .beside(near, "Canary", namespace)
        .filter_map(|(index, _)| match &judged[index] {
            Judged::Ours(parsed) => parsed.legible(),
            Judged::Other => None,
        })
        .map(|other| Neighbour {
            name: other.id.name.clone(),
            target: other.target.clone(),
            apex: other.service.name.clone(),
        })
        .collect();
    let mut workloads = values("Deployment");
    workloads.extend(values("DaemonSet"));
    let mut scalers = values("HorizontalPodAutoscaler");
    scalers.extend(values("ScaledObject"));
    if let Some(reference) = &canary.autoscaler
        && let Some(object) = collection.nearest(near, scaler(reference.kind), namespace, &reference.name)
        && !scalers.contains(&object.value)
    {
        scalers.push(Arc::clone(&object.value));
    }
    let templates = canary
        .analysis
        .checks
        .iter()
        .filter_map(|check| match &check.source {
            Source::Template { namespace, name, .. } => Some((namespace.clone(), name.clone())),
            Source::SuccessRate | Source::RequestDuration | Source::Query(_) => None,
        })
        .map(|(namespace, name)| {
            let template = seen("MetricTemplate", &namespace, &name);
            ((namespace, name), template)
        })
        .collect();
    let alert_providers = canary
        .analysis
        .alerts
        .iter()
        .map(|alert| {
            let (namespace, name) = (alert.provider_namespace.clone(), alert.provider.clone());
            let provider = seen("AlertProvider", &namespace, &name);
            ((namespace, name), provider)
        })
        .collect();
    let primary = names::primary(&canary.target.name);
    Surroundings {
        canaries: Some(canaries),
        target: seen(kind, namespace, &canary.target.name),
        // That files do not hold the primary says nothing: the controller makes it.
        primary: collection
            .nearest(near, kind, namespace, &primary)
            .map_or(Seen::Unknown, |object| Seen::Present(Arc::clone(&object.value))),
        workloads,
        services: Some(values("Service")),
        scalers: Some(scalers),
        templates,
        alert_providers,
        selector_labels: options.selector_labels.clone(),
    }
}

/// Takes out what only a whole cluster can tell, and says of the rest that it is about files.
pub(super) fn offline(mut report: Report, canary: &Canary, near: &Object, collection: &Collection) -> Report {
    let is = |code: Code, rule: &Rule| code == rule.code;
    let scaler_is_missed = canary.autoscaler.as_ref().is_some_and(|reference| {
        let kind = scaler(reference.kind);
        is_missed(collection, near, kind, &canary.id.namespace, &reference.name)
    });
    report.warnings.retain(|warning| {
        let code = warning.code;
        // Hooks often live elsewhere, and no set of files is a namespace.
        let beyond = is(code, &rules::HOOK_SERVICE_ABSENT) || is(code, &rules::NOT_CHECKED);
        !beyond && (!is(code, &rules::SCALER_ABSENT) || scaler_is_missed)
    });
    for warning in &mut report.warnings {
        if let Some(what) = warning.found.strip_suffix(" does not exist") {
            warning.found = format!("{what} is not among the given files, while others of its kind are");
        }
    }
    report
}

/// Whether an object that no file holds is likely misspelt: its directory holds others of its kind and namespace.
fn is_missed(collection: &Collection, near: &Object, kind: &str, namespace: &str, name: &str) -> bool {
    let mut known = false;
    let mut others = false;
    for (_, object) in collection.of_kind(kind, namespace) {
        known |= name_of(&object.value) == name;
        others |= object.directory == near.directory;
    }
    others && !known
}

fn workload(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Deployment => "Deployment",
        TargetKind::DaemonSet => "DaemonSet",
        TargetKind::Service | TargetKind::Knative => "Service",
    }
}

fn scaler(kind: ScalerKind) -> &'static str {
    match kind {
        ScalerKind::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        ScalerKind::ScaledObject => "ScaledObject",
    }
}
