//! Programs that keep re-applying the objects of a cluster, recognised by the marks they leave on them.
//!
//! Owns: the marks, and what makes each program leave one field alone. Shared by admission (which warns before) and
//! the controller (which must not fight after). Never asks anybody.

use serde_json::Value;

/// A program that reconciles objects from a source of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reconciler {
    /// Carvel's kapp and kapp-controller.
    Kapp,
    /// Argo CD.
    ArgoCd,
    /// Flux's kustomize-controller.
    FluxKustomize,
    /// Flux's helm-controller.
    FluxHelm,
    /// Helm: re-applies at upgrades only.
    Helm,
}

impl Reconciler {
    /// Every program.
    pub const ALL: [Reconciler; 5] = [
        Reconciler::Kapp,
        Reconciler::ArgoCd,
        Reconciler::FluxKustomize,
        Reconciler::FluxHelm,
        Reconciler::Helm,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Reconciler::Kapp => "kapp",
            Reconciler::ArgoCd => "Argo CD",
            Reconciler::FluxKustomize | Reconciler::FluxHelm => "Flux",
            Reconciler::Helm => "Helm",
        }
    }

    /// Its name as a condition's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Reconciler::Kapp => "Kapp",
            Reconciler::ArgoCd => "ArgoCD",
            Reconciler::FluxKustomize | Reconciler::FluxHelm => "Flux",
            Reconciler::Helm => "Helm",
        }
    }

    /// The beginning of the names it writes under.
    pub fn manager(self) -> &'static str {
        match self {
            Reconciler::Kapp => "kapp",
            Reconciler::ArgoCd => "argocd",
            Reconciler::FluxKustomize => "kustomize-controller",
            Reconciler::FluxHelm => "helm-controller",
            Reconciler::Helm => "helm",
        }
    }

    /// What makes it leave the field at a JSON pointer (`/spec/selector`) alone.
    pub fn cure(self, field: &str) -> String {
        let dotted = field.trim_start_matches('/').replace('/', ".");
        match self {
            Reconciler::Kapp => {
                let steps = field.trim_start_matches('/').replace('/', ", ");
                format!("give kapp a rebaseRule: path [{steps}], type copy, sources [existing, new]")
            }
            Reconciler::ArgoCd => {
                format!(
                    "add {field} to the Application's ignoreDifferences, with RespectIgnoreDifferences=true"
                )
            }
            Reconciler::FluxKustomize => format!("leave {dotted} out of the source Flux applies"),
            Reconciler::FluxHelm => {
                format!("leave {dotted} out of the chart, or add {field} to driftDetection.ignore")
            }
            Reconciler::Helm => format!("leave {dotted} out of the chart"),
        }
    }

    /// True when an annotation tells it to leave the object alone.
    fn is_told_off(self, object: &Value) -> bool {
        let says = |key: &str, words: &[&str]| {
            let value = object["metadata"]["annotations"][key].as_str();
            value.is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
        };
        match self {
            Reconciler::FluxKustomize => {
                says("kustomize.toolkit.fluxcd.io/reconcile", &["disabled"])
                    || says("kustomize.toolkit.fluxcd.io/ssa", &["Ignore", "IfNotPresent"])
            }
            Reconciler::FluxHelm => says("helm.toolkit.fluxcd.io/driftDetection", &["disabled"]),
            Reconciler::Kapp | Reconciler::ArgoCd | Reconciler::Helm => false,
        }
    }
}

/// The program whose mark an object bears, unless it was told to keep off.
pub fn marked(object: &Value) -> Option<Reconciler> {
    let metadata = &object["metadata"];
    let has = |map: &str, key: &str| metadata[map].get(key).is_some();
    let program = if has("labels", "kapp.k14s.io/app") {
        Reconciler::Kapp
    } else if has("labels", "argocd.argoproj.io/instance")
        || has("annotations", "argocd.argoproj.io/tracking-id")
    {
        Reconciler::ArgoCd
    } else if has("labels", "kustomize.toolkit.fluxcd.io/name") {
        Reconciler::FluxKustomize
    } else if has("labels", "helm.toolkit.fluxcd.io/name") {
        Reconciler::FluxHelm
    } else if metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm" {
        Reconciler::Helm
    } else {
        return None;
    };
    (!program.is_told_off(object)).then_some(program)
}

/// The program that reconciles an object: by its mark, else by the field managers where the object has them.
pub fn of(object: &Value) -> Option<Reconciler> {
    marked(object).or_else(|| {
        managers(object)
            .find_map(|entry| named(entry["manager"].as_str()?))
            .filter(|program| !program.is_told_off(object))
    })
}

/// The program a field manager's name belongs to.
pub fn named(manager: &str) -> Option<Reconciler> {
    Reconciler::ALL.into_iter().find(|program| {
        let rest = manager.strip_prefix(program.manager());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

/// Who wrote a field last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Through the subresource `scale`: a person, or an autoscaler.
    pub scaled: bool,
}

/// The last write of the field at a JSON pointer, as `metadata.managedFields` has it.
pub fn last_write<'a>(object: &'a Value, field: &str) -> Option<Write<'a>> {
    let steps: Vec<String> = field
        .trim_start_matches('/')
        .split('/')
        .map(|step| format!("f:{step}"))
        .collect();
    let owns = |entry: &Value| {
        let mut node = entry.get("fieldsV1");
        for step in &steps {
            node = node.and_then(|node| node.get(step));
        }
        node.is_some()
    };
    managers(object)
        .filter(|entry| owns(entry))
        .max_by_key(|entry| entry["time"].as_str().unwrap_or_default())
        .and_then(|entry| {
            Some(Write {
                manager: entry["manager"].as_str()?,
                scaled: entry["subresource"] == "scale",
            })
        })
}

fn managers(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_are_known_by_their_marks() {
        let labels = |key: &str, value: &str| json!({"metadata": {"labels": {key: value}}});
        let managed =
            |name: &str| json!({"metadata": {"managedFields": [{"manager": "kubectl"}, {"manager": name}]}});
        let table = [
            (labels("kapp.k14s.io/app", "1"), Some(Reconciler::Kapp)),
            (
                labels("argocd.argoproj.io/instance", "x"),
                Some(Reconciler::ArgoCd),
            ),
            (
                json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x"}}}),
                Some(Reconciler::ArgoCd),
            ),
            (
                labels("kustomize.toolkit.fluxcd.io/name", "x"),
                Some(Reconciler::FluxKustomize),
            ),
            (
                labels("helm.toolkit.fluxcd.io/name", "x"),
                Some(Reconciler::FluxHelm),
            ),
            (
                labels("app.kubernetes.io/managed-by", "Helm"),
                Some(Reconciler::Helm),
            ),
            (labels("app.kubernetes.io/managed-by", "hand"), None),
            (managed("kapp-server"), Some(Reconciler::Kapp)),
            (managed("argocd-controller"), Some(Reconciler::ArgoCd)),
            (managed("kustomize-controller"), Some(Reconciler::FluxKustomize)),
            (managed("helm-controller"), Some(Reconciler::FluxHelm)),
            (managed("helm"), Some(Reconciler::Helm)),
            (managed("helmet"), None),
            (json!({}), None),
        ];
        for (object, expected) in table {
            assert_eq!(of(&object), expected, "{object}");
        }
    }

    #[test]
    fn the_last_write_of_a_field_is_told() {
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "time": time, "fieldsV1": fields});
        let mut object = json!({"metadata": {"managedFields": [
            entry("kubectl", "2026-01-02T03:04:05Z", json!({"f:spec": {"f:selector": {}, "f:ports": {}}})),
            entry("kapp", "2026-01-02T03:04:07Z", json!({"f:spec": {"f:selector": {"f:app": {}}}})),
            entry("other", "2026-01-02T03:04:09Z", json!({"f:spec": {"f:type": {}}})),
        ]}});
        let write = |manager| {
            Some(Write {
                manager,
                scaled: false,
            })
        };
        assert_eq!(last_write(&object, "/spec/selector"), write("kapp"));
        assert_eq!(last_write(&object, "/spec/ports"), write("kubectl"));
        assert_eq!(last_write(&object, "/spec/replicas"), None);
        assert_eq!(last_write(&json!({}), "/spec/selector"), None);
        object["metadata"]["managedFields"][1]["subresource"] = json!("scale");
        assert!(last_write(&object, "/spec/selector").unwrap().scaled);
    }

    #[test]
    fn every_program_has_a_cure() {
        for reconciler in Reconciler::ALL {
            let cure = reconciler.cure("/spec/selector");
            assert!(cure.contains("selector"), "{cure}");
        }
        assert_eq!(
            Reconciler::Kapp.cure("/spec/selector"),
            "give kapp a rebaseRule: path [spec, selector], type copy, sources [existing, new]"
        );
    }
}
