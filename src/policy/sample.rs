//! The rules of a policy tried on two made-up Canaries: one that says everything, and one that says the least.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::model::parse::fields::Findings;
use crate::model::rules;
use crate::model::violation::{FieldPath, Report};

use super::Policy;
use super::cel::{Expression, Facts, MAX_STEPS, Slip, SlipKind};
use super::read::refuse;

/// A Canary with every field a rule is likely to look at.
static FULL: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("sample.json")).unwrap_or_default());

/// A Canary with what it cannot be without.
static LEAST: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "sample", "namespace": "sample"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "sample"},
            "service": {"port": 80},
            "analysis": {"interval": "30s", "threshold": 5, "iterations": 10},
            "progressDeadlineSeconds": 600, "skipAnalysis": false,
        },
    })
});

static NAMESPACE: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "sample", "uid": "00000000-0000-0000-0000-000000000000",
            "labels": {"kubernetes.io/metadata.name": "sample", "tier": "sample", "team": "sample"},
            "annotations": {"note": "sample"},
        },
    })
});

fn request(operation: &str) -> Value {
    json!({
        "uid": "00000000-0000-0000-0000-000000000000",
        "kind": {"group": "flagger.app", "version": "v1beta1", "kind": "Canary"},
        "resource": {"group": "flagger.app", "version": "v1beta1", "resource": "canaries"},
        "requestKind": {"group": "flagger.app", "version": "v1beta1", "kind": "Canary"},
        "name": "sample", "namespace": "sample", "operation": operation, "dryRun": false,
        "userInfo": {"username": "sample", "uid": "", "groups": ["system:authenticated"], "extra": {}},
    })
}

/// Tries every expression of a policy.
pub(super) fn trial(policy: &Policy) -> Report {
    let mut findings = Findings::default();
    let (update, create) = (request("UPDATE"), request("CREATE"));
    let full = Facts {
        object: &FULL,
        old_object: &FULL,
        namespace_object: &NAMESPACE,
        request: &update,
    };
    let least = Facts {
        object: &LEAST,
        old_object: &Value::Null,
        namespace_object: &NAMESPACE,
        request: &create,
    };
    for (index, rule) in policy.rules.iter().enumerate() {
        let path = FieldPath::of("spec.rules").index(index);
        let expressions = [
            ("expression", rule.condition.as_ref()),
            ("messageExpression", rule.message_expression.as_ref()),
        ];
        for (key, expression) in expressions {
            let Some(expression) = expression else { continue };
            let try_on = |facts: &Facts<'_>| {
                let mut steps = MAX_STEPS;
                if key == "expression" {
                    expression.truth(facts, &mut steps).map(drop)
                } else {
                    expression.text(facts, &mut steps).map(drop)
                }
            };
            let path = path.key(key);
            if let Err(slip) = try_on(&full) {
                tell(
                    &slip,
                    expression,
                    &path,
                    "a Canary that says everything",
                    &mut findings,
                );
            } else if let Err(slip) = try_on(&least)
                && key == "expression"
            {
                warn(
                    &slip,
                    expression,
                    &path,
                    "the least Canary there is",
                    &mut findings,
                );
            }
        }
    }
    findings.report
}

/// What fails although everything is there fails everywhere, unless it is a key of somebody's own choosing.
fn tell(slip: &Slip, expression: &Expression, path: &FieldPath, on: &str, findings: &mut Findings) {
    let misspelt = slip.kind == SlipKind::Absent && slip.fix.starts_with("did you mean");
    if misspelt || matches!(slip.kind, SlipKind::Type | SlipKind::Budget | SlipKind::Syntax) {
        refuse(slip, expression.snippet(slip), path, findings);
    } else {
        warn(slip, expression, path, on, findings);
    }
}

fn warn(slip: &Slip, expression: &Expression, path: &FieldPath, on: &str, findings: &mut Findings) {
    let told = findings.add(
        &rules::POLICY_CEL_ABSENT,
        path,
        format!("on {on}: {}", slip.found),
    );
    if !slip.fix.is_empty() {
        told.fixed_by(slip.fix.clone());
    }
    told.snippet = Some(expression.snippet(slip));
}
