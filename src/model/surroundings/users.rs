//! The other direction: what a change or deletion of a MetricTemplate or AlertProvider does to the Canaries that use
//! it. Warns, never refuses: the object is its owner's, and deleting it must always be possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::canary::{Canary, Source};
use crate::model::parse::fields::Findings;
use crate::model::rules::{self, Rule};
use crate::model::violation::{FieldPath, Report, Violation};

use super::{Seen, Surroundings, references};

/// Canaries named in one warning.
const NAMED: usize = 3;

/// What Canaries refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referred {
    /// A MetricTemplate.
    MetricTemplate,
    /// An AlertProvider.
    AlertProvider,
}

impl Referred {
    /// The list in `spec.analysis`, and the reference in its items.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Referred::MetricTemplate => ("metrics", "templateRef"),
            Referred::AlertProvider => ("alerts", "providerRef"),
        }
    }

    fn rule(self) -> &'static Rule {
        match self {
            Referred::MetricTemplate => &rules::TEMPLATE_IN_USE,
            Referred::AlertProvider => &rules::ALERT_PROVIDER_IN_USE,
        }
    }

    /// Whether a v1beta1 Canary object refers to the one of this namespace and name.
    pub fn is_used_by(self, canary: &Value, namespace: &str, name: &str) -> bool {
        let (list, reference) = self.place();
        let own = canary["metadata"]["namespace"].as_str().unwrap_or_default();
        let items = canary["spec"]["analysis"][list].as_array();
        items.into_iter().flatten().any(|item| {
            let reference = &item[reference];
            let said = reference["namespace"].as_str().filter(|said| !said.is_empty());
            reference["name"] == name && said.unwrap_or(own) == namespace
        })
    }
}

/// Warns when what goes is in use; `users` are the Canary objects that refer to it.
pub fn deleted(referred: Referred, users: &[Arc<Value>]) -> Report {
    let mut findings = Findings::default();
    let names: Vec<String> = users
        .iter()
        .map(|user| {
            let part = |key: &str| user["metadata"][key].as_str().unwrap_or_default();
            format!("{}.{}", part("name"), part("namespace"))
        })
        .collect();
    if !names.is_empty() {
        let (verb, plural) = if names.len() == 1 {
            ("refers", "y")
        } else {
            ("refer", "ies")
        };
        let found = format!("Canar{plural} {} {verb} to it", listed(&names));
        findings.add(referred.rule(), &FieldPath::of("metadata.name"), found);
    }
    findings.report
}

/// Warns of what is wrong with the Canaries that use a template once it is `new`, and was not while it was `old`.
pub fn template_changed(users: &[Canary], old: &Value, new: &Value) -> Report {
    let mut broken: BTreeMap<String, (Violation, Vec<String>)> = BTreeMap::new();
    for user in users {
        let before = problems(user, old);
        for problem in problems(user, new) {
            let known = before
                .iter()
                .any(|known| known.code == problem.code && known.found == problem.found);
            if known || problem.code == rules::TEMPLATE_VARIABLE_UNUSED.code {
                continue;
            }
            let (_, canaries) = broken
                .entry(problem.found.clone())
                .or_insert_with(|| (problem, Vec::new()));
            let name = user.id.to_string();
            if !canaries.contains(&name) {
                canaries.push(name);
            }
        }
    }
    let mut findings = Findings::default();
    for (found, (problem, canaries)) in broken {
        findings
            .add(
                &rules::TEMPLATE_BREAKS,
                &FieldPath::of("spec.query"),
                format!("in {}: {found}", listed(&canaries)),
            )
            .expecting(problem.expected)
            .fixed_by(problem.fix);
    }
    findings.report
}

/// What is wrong with a Canary's references when every template it names is this one.
fn problems(user: &Canary, template: &Value) -> Vec<Violation> {
    let (namespace, name) = (
        template["metadata"]["namespace"].as_str().unwrap_or_default(),
        template["metadata"]["name"].as_str().unwrap_or_default(),
    );
    let key = (namespace.to_owned(), name.to_owned());
    let is_used = user.analysis.checks.iter().any(|check| match &check.source {
        Source::Template { namespace, name, .. } => *namespace == key.0 && *name == key.1,
        Source::SuccessRate | Source::RequestDuration | Source::Query(_) => false,
    });
    if !is_used {
        return Vec::new();
    }
    let surroundings = Surroundings {
        templates: BTreeMap::from([(key, Seen::Present(Arc::new(template.clone())))]),
        ..Surroundings::default()
    };
    let mut findings = Findings::default();
    references::judge(user, &surroundings, &mut findings);
    let Report { violations, warnings } = findings.report;
    violations.into_iter().chain(warnings).collect()
}

/// The first few, and how many more.
fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        Some(_) | None => shown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::parse::{self, Settings};

    fn canary(name: &str, reference: &Value, variables: &Value) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "prod"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "service": {"port": 80},
                "analysis": {
                    "interval": "1m", "threshold": 2, "iterations": 3,
                    "metrics": [{"name": "m", "interval": "1m", "templateRef": reference, "templateVariables": variables, "thresholdRange": {"max": 1}}],
                    "alerts": [{"name": "chat", "severity": "info", "providerRef": {"name": "slack"}}],
                },
            },
        })
    }

    fn template(query: &str) -> Value {
        json!({"metadata": {"name": "t", "namespace": "prod"}, "spec": {"provider": {"type": "prometheus"}, "query": query}})
    }

    fn told(report: &Report) -> Vec<String> {
        assert!(report.is_admissible());
        report
            .warnings
            .iter()
            .map(|warning| format!("{}: {}", warning.code, warning.found))
            .collect()
    }

    #[test]
    fn users_are_found_by_namespace_and_name() {
        let near = canary("a", &json!({"name": "t"}), &json!({}));
        let far = canary("a", &json!({"name": "t", "namespace": "shared"}), &json!({}));
        let (template, provider) = (Referred::MetricTemplate, Referred::AlertProvider);
        assert!(template.is_used_by(&near, "prod", "t"));
        assert!(!template.is_used_by(&near, "shared", "t") && !template.is_used_by(&near, "prod", "u"));
        assert!(template.is_used_by(&far, "shared", "t") && !template.is_used_by(&far, "prod", "t"));
        assert!(provider.is_used_by(&near, "prod", "slack") && !provider.is_used_by(&near, "prod", "t"));
        for odd in [
            json!(null),
            json!({"spec": {"analysis": {"metrics": {"templateRef": 1}}}}),
        ] {
            assert!(!template.is_used_by(&odd, "prod", "t"));
        }
    }

    #[test]
    fn what_is_in_use_is_told_when_it_goes() {
        let users: Vec<Arc<Value>> = ["a", "b", "c", "d", "e"]
            .map(|name| canary(name, &json!({"name": "t"}), &json!({})).into())
            .into();
        assert!(told(&deleted(Referred::MetricTemplate, &[])).is_empty());
        assert_eq!(
            told(&deleted(Referred::MetricTemplate, &users[..1])),
            ["template-in-use: Canary a.prod refers to it"]
        );
        assert_eq!(
            told(&deleted(Referred::AlertProvider, &users)),
            ["alert-provider-in-use: Canaries a.prod, b.prod, c.prod and 2 more refer to it"]
        );
    }

    #[test]
    fn a_change_is_told_for_what_it_breaks() {
        let users: Vec<Canary> = [("a", json!({"route": "/"})), ("b", json!({}))]
            .into_iter()
            .map(|(name, variables)| {
                let object = canary(name, &json!({"name": "t"}), &variables);
                parse::canary(&object, &Settings::default()).canary.unwrap()
            })
            .collect();
        let (plain, wanting) = (
            template("sum(x)"),
            template(r#"sum(x{route="{{ variables.route }}"})"#),
        );
        assert_eq!(
            told(&template_changed(&users, &plain, &wanting)),
            ["template-breaks-canary: in b.prod: MetricTemplate t.prod uses variables.route"]
        );
        assert!(
            told(&template_changed(&users, &wanting, &wanting)).is_empty(),
            "it was so before"
        );
        assert!(told(&template_changed(&users, &wanting, &plain)).is_empty());
        let mut elsewhere = wanting;
        elsewhere["metadata"]["name"] = "u".into();
        assert!(told(&template_changed(&users, &plain, &elsewhere)).is_empty());
    }
}
