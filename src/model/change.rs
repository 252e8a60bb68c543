//! Rules about a change: what an update or a deletion leaves behind.
//!
//! Judges two v1beta1 objects, or one and its target. Never blocks a deletion: those rules only warn.

use serde_json::Value;

use super::parse::fields::Findings;
use super::rules;
use super::surroundings::Seen;
use super::violation::{FieldPath, Report};

/// Judges an update by what it changes; a field both versions lack has not changed.
pub fn update(old: &Value, new: &Value) -> Report {
    let mut findings = Findings::default();
    let (was, is) = (&old["spec"], &new["spec"]);
    let spec = FieldPath::of("spec");
    let running = matches!(
        old["status"]["phase"].as_str(),
        Some("Progressing" | "Waiting" | "WaitingPromotion" | "Promoting" | "Finalising")
    );
    let begun = old["status"]["phase"]
        .as_str()
        .is_some_and(|phase| !phase.is_empty());

    let target = |spec: &Value| {
        (
            spec["targetRef"]["kind"].clone(),
            spec["targetRef"]["name"].clone(),
        )
    };
    if begun && target(was) != target(is) {
        let found = format!("{} became {}", was["targetRef"]["name"], is["targetRef"]["name"]);
        findings.add(&rules::TARGET_CHANGED, &spec.key("targetRef"), found);
    }
    let weights = |spec: &Value| spec["analysis"]["stepWeights"].clone();
    if running && !weights(was).is_null() && weights(was) != weights(is) {
        let weight = old["status"]["canaryWeight"].as_i64().unwrap_or(0);
        let listed = weights(is)
            .as_array()
            .is_some_and(|list| list.iter().any(|item| item.as_i64() == Some(weight)));
        if weight > 0 && !listed {
            let found = format!("the canary has weight {weight}, which is no longer listed");
            findings.add(
                &rules::WEIGHTS_CHANGED,
                &spec.key("analysis").key("stepWeights"),
                found,
            );
        }
    }
    let service = spec.key("service");
    if running && was["service"] != is["service"] {
        findings.add(&rules::SERVICE_CHANGED_IN_RUN, &service, "changed during a run");
    }
    let apex = |spec: &Value| {
        let written = spec["service"]["name"].as_str().filter(|name| !name.is_empty());
        written
            .or(spec["targetRef"]["name"].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    if begun && apex(was) != apex(is) {
        findings
            .add(
                &rules::SERVICE_RENAMED,
                &service.key("name"),
                format!("{} became {}", apex(was), apex(is)),
            )
            .fixed_by(format!(
                "delete Services {0}, {0}-primary and {0}-canary by hand",
                apex(was)
            ));
    }
    for key in ["headless", "trafficDistribution"] {
        let unset = |value: &Value| {
            if *value == false {
                Value::Null
            } else {
                value.clone()
            }
        };
        if begun && unset(&was["service"][key]) != unset(&is["service"][key]) {
            findings.add(&rules::SERVICE_FIXED, &service.key(key), "changed");
        }
    }
    if begun && was["provider"] != is["provider"] {
        let found = format!("{} became {}", was["provider"], is["provider"]);
        findings.add(&rules::PROVIDER_CHANGED, &spec.key("provider"), found);
    }
    let scaler = |spec: &Value| {
        (
            spec["autoscalerRef"]["kind"].clone(),
            spec["autoscalerRef"]["name"].clone(),
        )
    };
    if begun && !was["autoscalerRef"].is_null() && scaler(was) != scaler(is) {
        let old_name = was["autoscalerRef"]["name"].as_str().unwrap_or_default();
        findings
            .add(
                &rules::SCALER_CHANGED,
                &spec.key("autoscalerRef"),
                format!("{old_name} is no longer referenced"),
            )
            .fixed_by(format!("delete {old_name}-primary by hand"));
    }
    findings.report
}

/// Judges a deletion by what is known of the target. Warns, never refuses.
pub fn deletion(object: &Value, target: &Seen) -> Report {
    let mut findings = Findings::default();
    let spec = FieldPath::of("spec");
    let begun = !matches!(
        object["status"]["phase"].as_str(),
        None | Some("" | "Initializing")
    );
    let reverts = object["spec"]["revertOnDeletion"] == true;
    let down = match target {
        Seen::Unknown => Some("the target may run no pods"),
        Seen::Absent => Some("the target does not exist"),
        Seen::Present(target) => is_parked(target).then_some("the target runs no pods"),
    };
    if let (true, false, Some(found)) = (begun, reverts, down) {
        findings.add(&rules::DELETED_PARKED, &spec.key("revertOnDeletion"), found);
    }
    if begun && reverts && object["spec"]["suspend"] == true {
        findings.add(
            &rules::DELETED_BLOCKED,
            &spec.key("suspend"),
            "true while the target is to be restored",
        );
    }
    findings.report
}

/// A Deployment without replicas, a DaemonSet that is sent to no node.
fn is_parked(target: &Value) -> bool {
    let nodes = &target["spec"]["template"]["spec"]["nodeSelector"];
    target["spec"]["replicas"] == 0 || nodes.get("flagger.app/scale-to-zero").is_some()
}
