//! `spec.defaults`: what a policy writes into a Canary where its author wrote nothing.
//!
//! The law of all defaults holds for these: only members that are absent are added, adding twice adds nothing, and
//! whoever obeys a Canary reads it through [`defaulted`], so that it means the same before and after.

use std::borrow::Cow;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use serde_json::{Map, Value, json};

use crate::model::parse::fields::Findings;
use crate::model::parse::{self, Settings};
use crate::model::rules;
use crate::model::violation::{FieldPath, Report, Segment};

use super::judge::Match;
use super::{Mode, Policy, Review, Set};

/// Members of `spec.analysis` that name the strategy: one is there, so the others are not missing.
const STRATEGIES: [&str; 3] = ["iterations", "stepWeight", "stepWeights"];

/// Members of `spec` that say which Canary this is, not how it is released.
pub(super) const IDENTITY: [&str; 6] = [
    "targetRef",
    "provider",
    "autoscalerRef",
    "canaryAnalysis",
    "suspend",
    "upstreamRef",
];

/// The `add` operations that write the policies' defaults into the reviewed Canary, in either version. The first policy
/// by name wins; policies that only audit write nothing.
pub fn defaults(set: &Set, review: &Review<'_>) -> Vec<PatchOperation> {
    let mut operations = Vec::new();
    let mut object: Option<Value> = None;
    for policy in set.iter() {
        if policy.defaults.is_empty() || policy.mode == Mode::Audit || policy.concerns(review) != Match::Yes {
            continue;
        }
        let added = missing(&policy.defaults, object.as_ref().unwrap_or(review.object));
        if added.is_empty() {
            continue;
        }
        let target = object.get_or_insert_with(|| review.object.clone());
        // Every parent is there and is an object: the operations were made from it.
        let _ = json_patch::patch(target, &added);
        operations.extend(added);
    }
    operations
}

/// The reviewed Canary with the policies' defaults in it.
pub fn defaulted<'a>(set: &Set, review: &Review<'a>) -> Cow<'a, Value> {
    let operations = defaults(set, review);
    if operations.is_empty() {
        return Cow::Borrowed(review.object);
    }
    let mut object = review.object.clone();
    let _ = json_patch::patch(&mut object, &operations);
    Cow::Owned(object)
}

fn missing(defaults: &Map<String, Value>, object: &Value) -> Vec<PatchOperation> {
    let mut operations = Vec::new();
    let Some(spec) = object["spec"].as_object() else {
        return operations;
    };
    let old = object["apiVersion"] == "flagger.app/v1alpha3" && !spec.contains_key("analysis");
    for (key, value) in defaults {
        let key = if old && key == "analysis" {
            "canaryAnalysis"
        } else {
            key
        };
        member(spec, &["spec"], key, value, &mut operations);
    }
    operations
}

fn member(
    parent: &Map<String, Value>,
    path: &[&str],
    key: &str,
    value: &Value,
    operations: &mut Vec<PatchOperation>,
) {
    let strategy = STRATEGIES.contains(&key) && path.last().is_some_and(|last| last.ends_with("nalysis"));
    if strategy && STRATEGIES.iter().any(|other| parent.contains_key(*other)) {
        return;
    }
    match (parent.get(key), value) {
        (None, value) => {
            let path = PointerBuf::from_tokens(path.iter().copied().chain([key]));
            operations.push(PatchOperation::Add(AddOperation {
                path,
                value: value.clone(),
            }));
        }
        (Some(Value::Object(there)), Value::Object(wanted)) => {
            let path: Vec<&str> = path.iter().copied().chain([key]).collect();
            for (key, value) in wanted {
                member(there, &path, key, value, operations);
            }
        }
        (Some(_), _) => {}
    }
}

/// Reads the defaults as the parser would read them in a Canary, and tells what is wrong with them.
pub(super) fn trial(policy: &Policy) -> Report {
    let mut findings = Findings::default();
    if policy.defaults.is_empty() {
        return findings.report;
    }
    let mut canary = json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "sample", "namespace": "sample"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "sample"},
            "service": {},
            "analysis": {},
        },
    });
    let rest =
        json!({"service": {"port": 80}, "analysis": {"iterations": 10, "interval": "1m", "threshold": 5}});
    for source in [Some(&policy.defaults), rest.as_object()].into_iter().flatten() {
        let added = missing(source, &canary);
        let _ = json_patch::patch(&mut canary, &added);
    }
    let settings = Settings {
        unknown_fields: true,
        ..Settings::default()
    };
    let Report { violations, warnings } = parse::canary(&canary, &settings).report;
    let unknown = warnings
        .into_iter()
        .filter(|warning| warning.code == rules::UNKNOWN_FIELD.code);
    for found in violations.into_iter().chain(unknown) {
        let mut steps = found.path.segments().to_vec();
        let from_here = match steps.get(1) {
            Some(Segment::Key(key)) => policy.defaults.contains_key(key),
            Some(Segment::Index(_)) | None => false,
        };
        if from_here {
            steps.insert(1, Segment::Key("defaults".to_owned()));
            findings
                .add(
                    &rules::POLICY_DEFAULTS,
                    &FieldPath::from_segments(steps),
                    found.found,
                )
                .expecting(found.expected)
                .fixed_by(found.fix);
        }
    }
    findings.report
}
