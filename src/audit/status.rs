//! `status` of a CanaryPolicy from what a sweep counted: pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::violation::Report;
use crate::policy::Hit;

/// Objects shown in `status.sample`.
const SAMPLE: usize = 20;
/// Namespaces shown in `status.namespaces`.
const NAMESPACES: usize = 100;
/// Longest message of a condition, characters.
const MESSAGE: usize = 1024;

/// What one policy finds in a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    matched: u32,
    violations: u32,
    exempt: u32,
    namespaces: BTreeMap<String, u32>,
    sample: Vec<Value>,
}

impl Tally {
    /// Takes an object in that the policy concerns, with its breaches of it.
    pub(super) fn count(&mut self, object: &Value, hits: &[&Hit]) {
        self.matched += 1;
        let mut rules: Vec<&str> = hits
            .iter()
            .filter(|hit| !hit.exempt)
            .map(|hit| hit.rule.as_str())
            .collect();
        if rules.is_empty() {
            self.exempt += u32::from(!hits.is_empty());
            return;
        }
        self.violations += 1;
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        *self.namespaces.entry(text("namespace").to_owned()).or_default() += 1;
        if self.sample.len() < SAMPLE {
            rules.sort_unstable();
            rules.dedup();
            self.sample.push(json!({
                "kind": object["kind"], "namespace": text("namespace"), "name": text("name"), "rules": rules,
            }));
        }
    }

    /// Objects that break the policy.
    pub(super) fn violations(&self) -> u32 {
        self.violations
    }
}

/// The status to write. `stored` is the object, `report` what is wrong with the policy itself.
pub(super) fn status(stored: &Value, report: &Report, tally: &Tally, now: Timestamp) -> Value {
    let generation = stored["metadata"]["generation"].as_i64().unwrap_or_default();
    let mut namespaces: Vec<(&String, &u32)> = tally.namespaces.iter().collect();
    namespaces.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
    let namespaces: Vec<Value> = namespaces
        .into_iter()
        .take(NAMESPACES)
        .map(|(namespace, violations)| json!({ "namespace": namespace, "violations": violations }))
        .collect();
    let compiled = report.is_admissible();
    let said: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    let told = |good: &str| {
        if compiled {
            good.to_owned()
        } else {
            cut(&said.join("\n"))
        }
    };
    let mode = stored["spec"]["mode"].as_str().unwrap_or_default();
    let conditions = [
        condition(
            stored,
            "Ready",
            compiled,
            if compiled { mode } else { "NotCompiled" },
            &told("the policy is in force"),
            now,
        ),
        condition(
            stored,
            "Compiled",
            compiled,
            if compiled { "Compiled" } else { "Invalid" },
            &told("every part of the policy was read"),
            now,
        ),
    ];
    json!({
        "observedGeneration": generation,
        "conditions": conditions,
        "matched": tally.matched,
        "violations": tally.violations,
        "exempt": tally.exempt,
        "namespaces": namespaces,
        "sample": tally.sample,
        "lastRun": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MESSAGE {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MESSAGE - 1).collect();
    short.push('…');
    short
}

fn condition(stored: &Value, kind: &str, truth: bool, reason: &str, message: &str, now: Timestamp) -> Value {
    let status = if truth { "True" } else { "False" };
    let old = stored["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["type"] == kind && one["status"] == status);
    let since = old
        .and_then(|one| one["lastTransitionTime"].as_str().map(str::to_owned))
        .unwrap_or_else(|| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    json!({
        "type": kind,
        "status": status,
        "reason": if reason.is_empty() { "Unknown" } else { reason },
        "message": message,
        "observedGeneration": stored["metadata"]["generation"].as_i64().unwrap_or_default(),
        "lastTransitionTime": since,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Mode;

    fn hit(rule: &str, exempt: bool) -> Hit {
        Hit {
            policy: "p".to_owned(),
            mode: Mode::Enforce,
            rule: rule.to_owned(),
            exempt,
        }
    }

    #[test]
    fn objects_are_counted_once_each() {
        let object = |namespace: &str, name: &str| json!({"kind": "Canary", "metadata": {"namespace": namespace, "name": name}});
        let mut tally = Tally::default();
        tally.count(&object("a", "good"), &[]);
        tally.count(
            &object("a", "bad"),
            &[
                &hit("limits.interval", false),
                &hit("forbid.disableTLS", false),
                &hit("limits.interval", false),
            ],
        );
        tally.count(&object("b", "spared"), &[&hit("limits.interval", true)]);
        for name in 0..30 {
            tally.count(&object("b", &name.to_string()), &[&hit("r", false)]);
        }
        let stored = json!({"metadata": {"generation": 3}, "spec": {"mode": "Warn"}, "status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Compiled", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]}});
        let now: Timestamp = "2026-11-28T03:00:00Z".parse().unwrap();
        let status = status(&stored, &Report::default(), &tally, now);
        assert_eq!(
            (&status["matched"], &status["violations"], &status["exempt"]),
            (&json!(33), &json!(31), &json!(1))
        );
        assert_eq!(
            status["namespaces"],
            json!([{"namespace": "b", "violations": 30}, {"namespace": "a", "violations": 1}])
        );
        assert_eq!(status["sample"].as_array().unwrap().len(), 20);
        assert_eq!(
            status["sample"][0],
            json!({"kind": "Canary", "namespace": "a", "name": "bad", "rules": ["forbid.disableTLS", "limits.interval"]})
        );
        assert_eq!(
            status["conditions"][0]["lastTransitionTime"],
            "2026-01-01T00:00:00Z"
        );
        assert_eq!(status["conditions"][0]["reason"], "Warn");
        assert_eq!(
            status["conditions"][1]["lastTransitionTime"],
            "2026-11-28T03:00:00Z"
        );
        assert_eq!(status["observedGeneration"], 3);
    }
}
