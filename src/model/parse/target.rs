//! `spec.targetRef` and `spec.autoscalerRef`.

use crate::model::canary::{Autoscaler, Provider, ScalerKind, Target, TargetKind};
use crate::model::names::{self, LABEL_MAX};
use crate::model::rules;

use super::fields::{Field, Findings};
use super::{brings_its_own_services, object_name};

const KNATIVE: &str = "serving.knative.dev/v1";

/// Reads `spec.targetRef`; a placeholder stands in for what is wrong.
pub(super) fn read(field: &Field<'_>, provider: &Provider, findings: &mut Findings) -> Target {
    if !field.is_set() {
        findings
            .add(&rules::REQUIRED, &field.path, "missing")
            .expecting("expected the workload to control")
            .fixed_by("add targetRef with apiVersion, kind and name");
        return Target {
            kind: TargetKind::Deployment,
            name: String::new(),
        };
    }
    field.object(findings);
    field.only(&["apiVersion", "kind", "name"], findings);
    let api = field.get("apiVersion");
    let version = api.text(findings).unwrap_or_default();
    let kind_field = field.get("kind");
    let kind = match kind_field.required("Deployment, DaemonSet or Service", findings) {
        None => None,
        Some(_) => kind_field.word(&["Deployment", "DaemonSet", "Service"], findings),
    };
    let kind = match kind {
        Some("DaemonSet") => TargetKind::DaemonSet,
        Some("Service") if version == KNATIVE => TargetKind::Knative,
        Some("Service") => TargetKind::Service,
        _ => TargetKind::Deployment,
    };
    let expected = match kind {
        TargetKind::Deployment | TargetKind::DaemonSet => "apps/v1",
        TargetKind::Service => "v1",
        TargetKind::Knative => KNATIVE,
    };
    if kind == TargetKind::Service && version.contains("knative") {
        findings.add(&rules::TARGET_KNATIVE, &api.path, format!("{version:?}"));
    } else if kind_field.is_set() && version != expected {
        let found = if version.is_empty() {
            "missing".to_owned()
        } else {
            format!("{version:?}")
        };
        findings
            .add(&rules::TARGET_API, &api.path, found)
            .expecting(format!(
                "expected {expected} for a {}; it is ignored",
                kind.as_str()
            ))
            .fixed_by(format!("write {expected}"));
    }
    let is_knative = kind == TargetKind::Knative;
    if is_knative != (provider.as_str() == "knative") && (is_knative || findings.provider_is_certain) {
        let found = format!(
            "a {} with provider {}",
            if is_knative {
                "Knative Service"
            } else {
                kind.as_str()
            },
            provider.as_str()
        );
        findings.add(&rules::TARGET_PROVIDER, &field.path, found);
    }
    let name_field = field.get("name");
    let name = name_field
        .required("the workload's name", findings)
        .unwrap_or_default();
    object_name(&name_field, name, findings);
    if !brings_its_own_services(kind) && names::primary(name).len() > LABEL_MAX {
        let found = format!(
            "{} has {} characters",
            names::primary(name),
            names::primary(name).len()
        );
        findings.add(&rules::TARGET_NAME_LENGTH, &name_field.path, found);
    }
    Target {
        kind,
        name: name.to_owned(),
    }
}

/// Reads `spec.autoscalerRef`.
pub(super) fn autoscaler(field: &Field<'_>, target: &Target, findings: &mut Findings) -> Option<Autoscaler> {
    field.object(findings)?;
    field.only(
        &[
            "apiVersion",
            "kind",
            "name",
            "primaryScalerQueries",
            "primaryScalerReplicas",
        ],
        findings,
    );
    let kind_field = field.get("kind");
    let kind = kind_field
        .required("HorizontalPodAutoscaler or ScaledObject", findings)
        .and_then(|_| kind_field.word(&["HorizontalPodAutoscaler", "ScaledObject"], findings));
    let kind = match kind {
        Some("ScaledObject") => ScalerKind::ScaledObject,
        _ => ScalerKind::HorizontalPodAutoscaler,
    };
    let expected = match kind {
        ScalerKind::HorizontalPodAutoscaler => "autoscaling/v2",
        ScalerKind::ScaledObject => "keda.sh/v1alpha1",
    };
    let api = field.get("apiVersion");
    if let Some(version) = api.text(findings).filter(|version| *version != expected) {
        findings
            .add(&rules::SCALER_API, &api.path, format!("{version:?}"))
            .fixed_by(format!("write {expected}"));
    }
    if target.kind != TargetKind::Deployment {
        findings.add(
            &rules::SCALER_TARGET_KIND,
            &field.path,
            format!("set for a {}", target.kind.as_str()),
        );
    }
    let name_field = field.get("name");
    let name = name_field
        .required("the autoscaler's name", findings)
        .unwrap_or_default();
    object_name(&name_field, name, findings);

    let replicas = field.get("primaryScalerReplicas");
    replicas.object(findings);
    replicas.only(&["minReplicas", "maxReplicas"], findings);
    let bound = |key: &str, findings: &mut Findings| {
        let field = replicas.get(key);
        let number = field.integer(findings)?;
        let bound = i32::try_from(number).ok().filter(|number| *number >= 1);
        if bound.is_none() {
            findings.add(&rules::SCALER_REPLICAS, &field.path, number.to_string());
        }
        bound
    };
    let (primary_min, primary_max) = (bound("minReplicas", findings), bound("maxReplicas", findings));
    if let (Some(min), Some(max)) = (primary_min, primary_max)
        && min > max
    {
        findings.add(
            &rules::SCALER_REPLICAS,
            &replicas.path,
            format!("minReplicas {min} is above maxReplicas {max}"),
        );
    }
    let queries = field.get("primaryScalerQueries");
    let primary_queries = queries.text_map(findings);
    if kind == ScalerKind::HorizontalPodAutoscaler && !primary_queries.is_empty() {
        findings.add(
            &rules::SCALER_QUERIES,
            &queries.path,
            "set for a HorizontalPodAutoscaler",
        );
    }
    Some(Autoscaler {
        kind,
        name: name.to_owned(),
        primary_queries,
        primary_min,
        primary_max,
    })
}
