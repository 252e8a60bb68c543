//! Label selectors, as Kubernetes reads them (`metav1.LabelSelector`).

use serde_json::Value;

/// The label every namespace has, with its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// All requirements must hold; none match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector(pub(super) Vec<Requirement>);

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement {
    pub(super) key: String,
    pub(super) operator: Operator,
    pub(super) values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the labels of an object match.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0
            .iter()
            .all(|requirement| requirement.holds(labels.get(&requirement.key).and_then(Value::as_str)))
    }

    /// Whether a namespace matches; `None` when its labels are not known and matter.
    pub(super) fn matches_namespace(&self, name: &str, object: Option<&Value>) -> Option<bool> {
        if let Some(object) = object {
            return Some(self.0.iter().all(|requirement| {
                let label = object["metadata"]["labels"]
                    .get(&requirement.key)
                    .and_then(Value::as_str);
                requirement.holds(label.or((requirement.key == NAME_LABEL).then_some(name)))
            }));
        }
        let mut unknown = false;
        for requirement in &self.0 {
            if requirement.key != NAME_LABEL {
                unknown = true;
            } else if !requirement.holds(Some(name)) {
                return Some(false);
            }
        }
        (!unknown).then_some(true)
    }
}

impl Requirement {
    fn holds(&self, label: Option<&str>) -> bool {
        let listed = label.is_some_and(|label| self.values.iter().any(|value| value == label));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
        }
    }
}
