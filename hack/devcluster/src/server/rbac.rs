//! Role-based access control, enforced when the cluster was started with it.
//!
//! Owns: what roles and bindings allow. Promises: members of `system:masters` may do everything. Never:
//! authenticates.

use serde_json::{Value, json};

use super::Cluster;
use super::call::{Call, User};
use super::status::Failure;
use crate::store::Table;

const GROUP: &str = "rbac.authorization.k8s.io";

/// May somebody do this?
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Question {
    verb: String,
    group: String,
    /// With its subresource: `pods/log`.
    resource: String,
    namespace: String,
    name: String,
    path: String,
}

impl Question {
    /// The question of an access review's spec.
    pub(crate) fn of(spec: &Value) -> Self {
        let resource = &spec["resourceAttributes"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let subresource = text(&resource["subresource"]);
        let plural = text(&resource["resource"]);
        let other = &spec["nonResourceAttributes"];
        Self {
            verb: text(if resource.is_null() {
                &other["verb"]
            } else {
                &resource["verb"]
            }),
            group: text(&resource["group"]),
            resource: if subresource.is_empty() {
                plural
            } else {
                format!("{plural}/{subresource}")
            },
            namespace: text(&resource["namespace"]),
            name: text(&resource["name"]),
            path: text(&other["path"]),
        }
    }

    fn allowed_by(&self, rule: &Value) -> bool {
        let has = |key: &str, wanted: &str| {
            rule[key]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .any(|v| v == "*" || v == wanted)
        };
        if !has("verbs", &self.verb) {
            return false;
        }
        if !self.path.is_empty() {
            return rule["nonResourceURLs"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .any(|u| {
                    u == self.path
                        || u.strip_suffix('*')
                            .is_some_and(|prefix| self.path.starts_with(prefix))
                });
        }
        let subresource = self.resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        let names = rule["resourceNames"].as_array();
        has("apiGroups", &self.group)
            && (has("resources", &self.resource) || subresource.is_some_and(|s| has("resources", &s)))
            && names.is_none_or(|n| n.is_empty() || n.iter().any(|name| *name == self.name.as_str()))
    }
}

impl Cluster {
    /// Refuses what the caller may not do.
    pub(crate) fn authorize(&self, call: &Call, verb: &str) -> Result<(), Failure> {
        if !self.config.rbac {
            return Ok(());
        }
        let kind = &call.kind;
        let resource = if call.subresource.is_empty() {
            kind.plural.clone()
        } else {
            format!("{}/{}", kind.plural, call.subresource)
        };
        let question = Question {
            verb: verb.to_owned(),
            group: kind.group.clone(),
            resource: resource.clone(),
            namespace: call.namespace.clone(),
            name: call.name.clone(),
            path: String::new(),
        };
        if kind.verbs == crate::kinds::Verbs::Ask && kind.kind.starts_with("Self")
            || self.allowed(&call.user, &question)
        {
            return Ok(());
        }
        let scope = if call.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", call.namespace)
        };
        let detail = format!(
            "User {:?} cannot {verb} resource {resource:?} in API group {:?} {scope}",
            call.user.name, kind.group
        );
        Err(Failure::forbidden(kind, &call.name, &detail))
    }

    pub(crate) fn allowed(&self, user: &User, question: &Question) -> bool {
        if !self.config.rbac || user.groups.iter().any(|g| g == "system:masters") {
            return true;
        }
        self.rules(user, &question.namespace)
            .iter()
            .any(|rule| question.allowed_by(rule))
    }

    /// `resourceRules` and `nonResourceRules` of a SelfSubjectRulesReview.
    pub(crate) fn rules_of(&self, user: &User, namespace: &str) -> (Vec<Value>, Vec<Value>) {
        let all = if !self.config.rbac || user.groups.iter().any(|g| g == "system:masters") {
            vec![
                json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
                json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
            ]
        } else {
            self.rules(user, namespace)
        };
        all.into_iter()
            .partition(|rule| rule["nonResourceURLs"].is_null())
    }

    /// The rules bound to a user cluster-wide and in a namespace.
    fn rules(&self, user: &User, namespace: &str) -> Vec<Value> {
        let table = |plural: &str| Table {
            group: GROUP.to_owned(),
            plural: plural.to_owned(),
        };
        let mut rules = Vec::new();
        let mut bindings = self.store.list(&table("clusterrolebindings"), None).0;
        if !namespace.is_empty() {
            bindings.extend(self.store.list(&table("rolebindings"), Some(namespace)).0);
        }
        for binding in bindings {
            let binding = &binding.value;
            let subjects = binding["subjects"].as_array();
            if !subjects
                .into_iter()
                .flatten()
                .any(|s| is_subject(s, user, namespace))
            {
                continue;
            }
            let name = binding["roleRef"]["name"].as_str().unwrap_or_default();
            let role = match binding["roleRef"]["kind"].as_str() {
                Some("Role") => self.store.get(&table("roles"), namespace, name),
                _ => self.store.get(&table("clusterroles"), "", name),
            };
            if let Some(role) = role {
                rules.extend(role.value["rules"].as_array().cloned().unwrap_or_default());
            }
        }
        rules
    }
}

fn is_subject(subject: &Value, user: &User, namespace: &str) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str() {
        Some("User") => user.name == name,
        Some("Group") => user.groups.iter().any(|g| g == name),
        Some("ServiceAccount") => {
            let namespace = subject["namespace"].as_str().unwrap_or(namespace);
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(verb: &str, resource: &str, name: &str) -> Question {
        Question {
            verb: verb.to_owned(),
            group: "apps".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Question::default()
        }
    }

    #[test]
    fn rules() {
        let rule = json!({"apiGroups": ["apps"], "resources": ["deployments", "*/scale"], "verbs": ["get"]});
        let named = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "resourceNames": ["x"]});
        let rows = [
            (&rule, question("get", "deployments", "x"), true),
            (&rule, question("list", "deployments", ""), false),
            (&rule, question("get", "deployments/status", "x"), false),
            (&rule, question("get", "replicasets/scale", "x"), true),
            (&named, question("delete", "deployments", "x"), true),
            (&named, question("delete", "deployments", "y"), false),
        ];
        for (rule, question, expected) in rows {
            assert_eq!(question.allowed_by(rule), expected, "{question:?}");
        }
    }
}
