//! The target workload and its primary.

use std::time::Duration;

use serde_json::Value;

use crate::model::canary::{Canary, Provider, TargetKind};
use crate::model::names;
use crate::model::parse::fields::Findings;
use crate::model::rules;
use crate::model::violation::FieldPath;

use super::keeper::{Keeper, Kept, keeper};
use super::{Seen, Surroundings, bereft, foreign_controller, is_ours, name_of, selector};

/// Judges the workload the Canary names.
pub(super) fn judge(canary: &Canary, target: &Value, surroundings: &Surroundings, findings: &mut Findings) {
    let kind = match canary.target.kind {
        TargetKind::Deployment => "Deployment",
        TargetKind::DaemonSet => "DaemonSet",
        TargetKind::Service | TargetKind::Knative => return,
    };
    let path = FieldPath::of("spec.targetRef");
    let spec = &target["spec"];
    let replicas = spec["replicas"].as_i64().unwrap_or(1);
    let at_birth = surroundings.primary == Seen::Absent;

    judge_selector(canary, target, surroundings, findings);
    if let Seen::Present(primary) = &surroundings.primary {
        if let Some(gone) = bereft(primary, canary, surroundings) {
            let found = format!("{kind} {} belonged to Canary {gone}", name_of(primary));
            findings.add(&rules::LEFTOVER, &path.key("name"), found);
        } else if !is_ours(primary, canary) {
            let found = format!(
                "{kind} {} exists and does not belong to this Canary",
                name_of(primary)
            );
            findings.add(&rules::PRIMARY_FOREIGN, &path.key("name"), found);
        }
        let primary_replicas = primary["spec"]["replicas"].as_i64().unwrap_or(1);
        if kind == "Deployment" && canary.autoscaler.is_none() && (1..primary_replicas).contains(&replicas) {
            let found = format!("the target has {replicas} replicas, its primary {primary_replicas}");
            findings.add(&rules::UNFAIR, &path, found);
        }
    }
    if let Some(owner) = foreign_controller(target, canary) {
        findings.add(&rules::TARGET_OWNED, &path, format!("controlled by {owner}"));
    }
    if kind == "Deployment" {
        deployment(canary, spec, replicas, at_birth, findings);
        replicas_of_another(canary, target, findings);
    } else {
        daemon_set(spec, at_birth, findings);
    }
    pods(canary, spec, findings);
}

fn judge_selector(canary: &Canary, target: &Value, surroundings: &Surroundings, findings: &mut Findings) {
    let path = FieldPath::of("spec.targetRef.name");
    let Some((key, value)) = selector(target, surroundings) else {
        let labels = if surroundings.selector_labels.is_empty() {
            "app, name, app.kubernetes.io/name".to_owned()
        } else {
            surroundings.selector_labels.join(", ")
        };
        let found = format!(
            "spec.selector.matchLabels of {} has none of {labels}",
            canary.target.name
        );
        findings.add(&rules::TARGET_SELECTOR, &path, found);
        return;
    };
    let primary = names::primary(&canary.target.name);
    for other in &surroundings.workloads {
        let same = name_of(other) == canary.target.name
            && other["kind"]
                .as_str()
                .is_none_or(|k| k == canary.target.kind.as_str());
        if !same && name_of(other) != primary && other["spec"]["template"]["metadata"]["labels"][key] == value
        {
            let found = format!("pods of {} carry {key}={value} too", name_of(other));
            findings.add(&rules::TARGET_SELECTOR_SHARED, &path, found);
        }
    }
    let pod = &target["spec"]["template"]["spec"];
    let mentions = [&pod["affinity"], &pod["topologySpreadConstraints"]]
        .iter()
        .any(|rules| rules.to_string().contains(value));
    if value != canary.target.name && mentions {
        let found = format!("{key}={value}, and the workload is called {}", canary.target.name);
        findings.add(&rules::TARGET_LABEL, &path, found);
    }
    for (name, metadata) in [
        ("apex", &canary.service.apex),
        ("primary", &canary.service.primary),
        ("canary", &canary.service.canary),
    ] {
        if metadata.labels.contains_key(key) {
            let path = FieldPath::of("spec.service").key(name).key("labels").key(key);
            findings.add(&rules::LABEL_OVERRIDDEN, &path, "the selector label");
        }
    }
}

fn deployment(canary: &Canary, spec: &Value, replicas: i64, at_birth: bool, findings: &mut Findings) {
    let path = FieldPath::of("spec.targetRef");
    if spec["paused"] == true {
        findings.add(&rules::TARGET_PAUSED, &path, "spec.paused is true");
    }
    let strategy = &spec["strategy"];
    if canary.provider == Provider::Kubernetes {
        if strategy["type"] == "Recreate" {
            findings.add(&rules::TARGET_RECREATE, &path, "spec.strategy.type is Recreate");
        } else {
            let (unavailable, surge) = (
                &strategy["rollingUpdate"]["maxUnavailable"],
                &strategy["rollingUpdate"]["maxSurge"],
            );
            let all = unavailable == "100%"
                || unavailable
                    .as_i64()
                    .is_some_and(|n| n > 0 && n >= replicas.max(1));
            let no_surge = *surge == 0 || surge == "0%" || surge == "0";
            if all || (no_surge && replicas <= 1) {
                let found = format!(
                    "maxUnavailable {}, maxSurge {}, replicas {replicas}",
                    or_default(unavailable),
                    or_default(surge)
                );
                findings.add(&rules::TARGET_UNAVAILABLE, &path, found);
            }
        }
    }
    if at_birth && replicas == 0 {
        findings.add(&rules::TARGET_ZERO, &path, "spec.replicas is 0");
    }
    if at_birth && canary.analysis.skip && replicas > 0 {
        findings.add(
            &rules::SKIP_AT_BIRTH,
            &FieldPath::of("spec.skipAnalysis"),
            "true while the target serves",
        );
    }
    if let Some(own) = spec["progressDeadlineSeconds"]
        .as_u64()
        .map(Duration::from_secs)
        .filter(|own| *own < canary.progress_deadline)
    {
        let found = format!(
            "{} s, and the target's own is {} s",
            canary.progress_deadline.as_secs(),
            own.as_secs()
        );
        findings.add(
            &rules::DEADLINE_TARGET,
            &FieldPath::of("spec.progressDeadlineSeconds"),
            found,
        );
    }
}

fn or_default(value: &Value) -> String {
    if value.is_null() {
        "25%".to_owned()
    } else {
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }
}

/// A tool that keeps `spec.replicas` in its source scales a parked target up again.
fn replicas_of_another(canary: &Canary, target: &Value, findings: &mut Findings) {
    if canary.autoscaler.is_some() || target["spec"]["replicas"].is_null() {
        return;
    }
    let path = FieldPath::of("spec.targetRef");
    match keeper(target, Kept::Replicas) {
        Some(Keeper::Tool(tool, fix)) => {
            findings
                .add(&rules::RECONCILED, &path, format!("{tool} reconciles the target"))
                .fixed_by(fix);
        }
        Some(Keeper::Manager(manager)) => {
            findings.add(
                &rules::REPLICAS_MANAGED,
                &path,
                format!("{manager} applies spec.replicas"),
            );
        }
        None => {}
    }
}

fn daemon_set(spec: &Value, at_birth: bool, findings: &mut Findings) {
    let path = FieldPath::of("spec.targetRef");
    if spec["updateStrategy"]["type"] == "OnDelete" {
        findings.add(
            &rules::TARGET_ON_DELETE,
            &path,
            "spec.updateStrategy.type is OnDelete",
        );
    }
    if at_birth
        && spec["template"]["spec"]["nodeSelector"]
            .get("flagger.app/scale-to-zero")
            .is_some()
    {
        findings.add(
            &rules::TARGET_SCALED_OUT,
            &path,
            "its nodeSelector matches no node",
        );
    }
}

fn pods(canary: &Canary, spec: &Value, findings: &mut Findings) {
    let path = FieldPath::of("spec.targetRef");
    let pod = &spec["template"]["spec"];
    let containers: Vec<&Value> = pod["containers"].as_array().into_iter().flatten().collect();
    if !containers.is_empty()
        && containers
            .iter()
            .all(|container| container["readinessProbe"].is_null())
    {
        findings.add(&rules::NO_PROBE, &path, "no container has a readinessProbe");
    }
    let mut shared = Vec::new();
    if pod["hostNetwork"] == true {
        shared.push("hostNetwork".to_owned());
    }
    for port in containers
        .iter()
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
    {
        if port["hostPort"].as_i64().is_some_and(|port| port > 0) {
            shared.push(format!("hostPort {}", port["hostPort"]));
        }
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
            shared.push(format!("volume claim {claim}"));
        }
    }
    if !shared.is_empty() {
        findings.add(&rules::NOT_SIDE_BY_SIDE, &path, shared.join(", "));
    }
    let delay = containers
        .iter()
        .filter_map(|container| container["readinessProbe"]["initialDelaySeconds"].as_u64())
        .max();
    let needed = spec["minReadySeconds"]
        .as_u64()
        .unwrap_or(0)
        .saturating_add(delay.unwrap_or(0));
    if Duration::from_secs(needed) >= canary.progress_deadline {
        let found = format!(
            "{} s, and pods need {needed} s to be ready",
            canary.progress_deadline.as_secs()
        );
        findings.add(
            &rules::DEADLINE_SHORT,
            &FieldPath::of("spec.progressDeadlineSeconds"),
            found,
        );
    }
}
