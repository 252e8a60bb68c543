//! Who else keeps a field that a rollout changes: a tool that reconciles the object from its source.
//!
//! Two signs: the mark such a tool leaves on what it manages, and its entries in `managedFields`. The mark alone does
//! not tell whether the source has the field, and once we have written the field the entries do not either; only a
//! tool that applies server-side without the field is known to leave it alone.

use serde_json::Value;

use crate::model::reconciler;

/// A field of `spec` that a rollout changes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    /// `spec.replicas` of the target.
    Replicas,
    /// `spec.selector` of the apex Service.
    Selector,
}

impl Kept {
    /// Its name below `spec`.
    fn name(self) -> &'static str {
        match self {
            Kept::Replicas => "replicas",
            Kept::Selector => "selector",
        }
    }
}

/// Who puts the field back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// A tool, known by its mark, and what makes it leave the field alone.
    Tool(&'static str, String),
    /// A field manager that applies the field server-side.
    Manager(String),
}

/// A tool, and the field manager it applies as.
struct Tool {
    name: &'static str,
    manager: &'static str,
    fix: String,
}

/// Who reconciles the field of this object, if anybody does.
pub(super) fn keeper(object: &Value, field: Kept) -> Option<Keeper> {
    let entries = object["metadata"]["managedFields"].as_array();
    let applied = entries.into_iter().flatten().filter(|entry| {
        let manager = entry["manager"].as_str().unwrap_or_default();
        entry["operation"] == "Apply" && !manager.contains("verdigris") && !manager.contains("flagger")
    });
    let owns = |entry: &Value| {
        let key = format!("f:{}", field.name());
        entry["fieldsV1"]["f:spec"].get(key).is_some()
    };
    let Some(tool) = tool(object, field) else {
        let owner = applied.into_iter().find(|entry| owns(entry))?;
        return Some(Keeper::Manager(owner["manager"].as_str()?.to_owned()));
    };
    let mut of_tool = applied
        .filter(|entry| {
            entry["manager"]
                .as_str()
                .is_some_and(|name| name.contains(tool.manager))
        })
        .peekable();
    if of_tool.peek().is_some() && !of_tool.any(owns) {
        return None;
    }
    Some(Keeper::Tool(tool.name, tool.fix))
}

/// The tool whose mark the object bears, unless it was told to keep off.
fn tool(object: &Value, field: Kept) -> Option<Tool> {
    let tool = reconciler::marked(object)?;
    Some(Tool {
        name: tool.as_str(),
        manager: tool.manager(),
        fix: tool.cure(&format!("/spec/{}", field.name())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "fieldsV1": {"f:spec": fields}})
    }

    #[test]
    fn marks_and_field_sets_tell_who_puts_a_field_back() {
        let replicas = json!({"f:replicas": {}});
        let nothing = json!({});
        let label = |key: &str| json!({"labels": {key: "x"}});
        let kapp = label("kapp.k14s.io/app");
        let flux = label("kustomize.toolkit.fluxcd.io/name");
        let table = [
            ("nobody", json!({}), vec![], None),
            (
                "somebody by hand",
                json!({}),
                vec![entry("kubectl-edit", "Update", &replicas)],
                None,
            ),
            (
                "somebody by server-side apply",
                json!({}),
                vec![entry("ci", "Apply", &replicas)],
                Some("ci"),
            ),
            (
                "we ourselves",
                json!({}),
                vec![entry("verdigris", "Apply", &replicas)],
                None,
            ),
            (
                "kapp",
                kapp.clone(),
                vec![entry("kapp", "Update", &replicas)],
                Some("kapp"),
            ),
            (
                "kapp, after we parked the target",
                kapp.clone(),
                vec![entry("verdigris", "Update", &replicas)],
                Some("kapp"),
            ),
            (
                "kapp, and somebody else applies other fields",
                kapp,
                vec![entry("ci", "Apply", &nothing)],
                Some("kapp"),
            ),
            (
                "Flux with the field",
                flux.clone(),
                vec![entry("kustomize-controller", "Apply", &replicas)],
                Some("Flux"),
            ),
            (
                "Flux without the field",
                flux,
                vec![entry("kustomize-controller", "Apply", &nothing)],
                None,
            ),
            (
                "Flux, told to keep off",
                json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}, "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}),
                vec![],
                None,
            ),
            (
                "a HelmRelease, told to keep off",
                json!({"labels": {"helm.toolkit.fluxcd.io/name": "x"}, "annotations": {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}}),
                vec![],
                None,
            ),
            (
                "a HelmRelease",
                label("helm.toolkit.fluxcd.io/name"),
                vec![],
                Some("Flux"),
            ),
            (
                "Argo CD by label",
                label("argocd.argoproj.io/instance"),
                vec![],
                Some("Argo CD"),
            ),
            (
                "Argo CD by annotation",
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}),
                vec![entry("argocd-controller", "Apply", &replicas)],
                Some("Argo CD"),
            ),
            (
                "Argo CD without the field",
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}),
                vec![entry("argocd-controller", "Apply", &nothing)],
                None,
            ),
            (
                "Helm",
                json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
                vec![],
                Some("Helm"),
            ),
        ];
        for (name, mut metadata, entries, expected) in table {
            if !entries.is_empty() {
                metadata["managedFields"] = entries.into();
            }
            let found = keeper(&json!({"metadata": metadata}), Kept::Replicas);
            let told = found.as_ref().map(|keeper| match keeper {
                Keeper::Tool(tool, _) => *tool,
                Keeper::Manager(manager) => manager,
            });
            assert_eq!(told, expected, "{name}");
        }
    }
}
