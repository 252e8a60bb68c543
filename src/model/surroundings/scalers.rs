//! Autoscalers of the target and of its primary.

use serde_json::Value;

use crate::model::canary::{Autoscaler, Canary, ScalerKind, TargetKind};
use crate::model::names;
use crate::model::parse::fields::Findings;
use crate::model::rules;
use crate::model::violation::FieldPath;

use super::{Surroundings, is_ours, name_of};

/// Judges the autoscalers of the namespace.
pub(super) fn judge(canary: &Canary, surroundings: &Surroundings, findings: &mut Findings) {
    let Some(scalers) = &surroundings.scalers else {
        return;
    };
    if canary.target.kind != TargetKind::Deployment {
        return;
    }
    let primary = names::primary(&canary.target.name);
    let path = FieldPath::of("spec.autoscalerRef");
    let Some(reference) = &canary.autoscaler else {
        for scaler in scalers
            .iter()
            .filter(|scaler| scales(scaler, &canary.target.name))
        {
            findings.add(
                &rules::SCALER_UNNAMED,
                &path,
                format!("{} {} scales the target", kind_of(scaler), name_of(scaler)),
            );
        }
        return;
    };
    let wanted = match reference.kind {
        ScalerKind::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        ScalerKind::ScaledObject => "ScaledObject",
    };
    match scalers
        .iter()
        .find(|scaler| kind_of(scaler) == wanted && name_of(scaler) == reference.name)
    {
        None => {
            findings.add(
                &rules::SCALER_ABSENT,
                &path.key("name"),
                format!("{wanted} {} does not exist", reference.name),
            );
        }
        Some(scaler) => referenced(canary, reference, scaler, findings),
    }
    for scaler in scalers.iter().filter(|scaler| !is_ours(scaler, canary)) {
        let derived = kind_of(scaler) == wanted && name_of(scaler) == names::primary(&reference.name);
        // An HPA that KEDA made for a ScaledObject of ours is ours too.
        let of_keda = scaler["metadata"]["ownerReferences"]
            .as_array()
            .is_some_and(|owners| owners.iter().any(|owner| owner["kind"] == "ScaledObject"));
        if !of_keda && (derived || scales(scaler, &primary)) {
            let found = format!("{} {} exists for {primary}", kind_of(scaler), name_of(scaler));
            findings.add(&rules::SCALER_TWICE, &path, found);
        }
    }
}

fn kind_of(scaler: &Value) -> &str {
    scaler["kind"].as_str().unwrap_or("HorizontalPodAutoscaler")
}

/// Whether the scaler scales the Deployment of this name (KEDA's kind defaults to Deployment).
fn scales(scaler: &Value, name: &str) -> bool {
    let target = &scaler["spec"]["scaleTargetRef"];
    target["name"] == name && target["kind"].as_str().is_none_or(|kind| kind == "Deployment")
}

fn referenced(canary: &Canary, reference: &Autoscaler, scaler: &Value, findings: &mut Findings) {
    let path = FieldPath::of("spec.autoscalerRef");
    let spec = &scaler["spec"];
    if !scales(scaler, &canary.target.name) {
        let other = spec["scaleTargetRef"]["name"].as_str().unwrap_or("nothing");
        findings.add(
            &rules::SCALER_OTHER,
            &path.key("name"),
            format!("{} scales {other}", reference.name),
        );
    }
    let (min, max) = match reference.kind {
        ScalerKind::HorizontalPodAutoscaler => (&spec["minReplicas"], &spec["maxReplicas"]),
        ScalerKind::ScaledObject => (&spec["minReplicaCount"], &spec["maxReplicaCount"]),
    };
    let replicas = path.key("primaryScalerReplicas");
    if let (Some(minimum), None, Some(max)) = (reference.primary_min, reference.primary_max, max.as_i64())
        && i64::from(minimum) > max
    {
        findings.add(
            &rules::SCALER_BOUND,
            &replicas.key("minReplicas"),
            format!("{minimum}, and {} ends at {max}", reference.name),
        );
    }
    let bounded = reference.primary_min.is_some() || reference.primary_max.is_some();
    if bounded && (*min == 0 || !spec["idleReplicaCount"].is_null()) {
        findings.add(
            &rules::SCALER_IDLE,
            &replicas,
            format!("{} may go to zero", reference.name),
        );
    }
    if reference.kind != ScalerKind::ScaledObject {
        return;
    }
    let triggers: Vec<&Value> = spec["triggers"].as_array().into_iter().flatten().collect();
    for name in reference.primary_queries.keys() {
        if !triggers.iter().any(|trigger| trigger["name"] == name.as_str()) {
            let path = path.key("primaryScalerQueries").key(name);
            findings.add(
                &rules::SCALER_QUERY_NAME,
                &path,
                format!("{} has no trigger of this name", reference.name),
            );
        }
    }
    for trigger in triggers {
        let named = trigger["name"]
            .as_str()
            .is_some_and(|name| reference.primary_queries.contains_key(name));
        if let Some(query) = trigger["metadata"]["query"].as_str()
            && !named
            && !query.contains(&canary.target.name)
        {
            let shown = trigger["name"]
                .as_str()
                .or(trigger["type"].as_str())
                .unwrap_or("a trigger");
            findings.add(
                &rules::SCALER_SAME_QUERY,
                &path,
                format!("the query of {shown} does not name {}", canary.target.name),
            );
        }
    }
    let annotations = scaler["metadata"]["annotations"].as_object();
    // While the target is parked the pause is ours.
    let paused = annotations.is_some_and(|all| {
        all.get("autoscaling.keda.sh/paused")
            .is_some_and(|value| value == "true")
            || all
                .get("autoscaling.keda.sh/paused-replicas")
                .is_some_and(|value| value != "0")
    });
    if paused {
        findings.add(
            &rules::SCALER_PAUSED,
            &path.key("name"),
            format!("{} is paused", reference.name),
        );
    }
}
