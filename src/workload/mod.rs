//! RENDER workloads and Services: pure.
//!
//! Owns: what `<target>-primary`, the three Services and the recorded revisions look like. Promises: rendering the
//! same facts twice gives the same object, and whatever another manager put on a live object stays. Never: I/O.
//! Works on JSON as stored, so a field that our build of the API types does not know is copied all the same.

pub mod config;
pub mod mirror;
pub mod patch;
pub mod primary;
pub mod record;
pub mod scaler;
pub mod service;
pub mod target;
pub mod template;

#[cfg(test)]
mod fixture;

use serde_json::{Map, Value, json};

use crate::model::canary::{Canary, TargetKind};
use crate::model::revision;

/// Annotation on a primary: the revision its template was rendered from.
pub const REVISION_ANNOTATION: &str = "verdigris.dev/revision";
/// Annotation Flagger stamps on the primary's pod template; ours derives from the revision.
pub const FLAGGER_ID: &str = "flagger-id";
/// Label on objects a Canary owns that are not named after it (recorded revisions).
pub const CANARY_LABEL: &str = "verdigris.dev/canary";

/// What the process decides about rendering.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--selector-labels`: label keys tried in order to tell the pods of a workload.
    pub selector_labels: Vec<String>,
    /// `--include-label-prefix`: labels and annotations of the target copied to generated objects; `*` for all.
    pub include_label_prefix: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            selector_labels: ["app", "name", "app.kubernetes.io/name"]
                .map(str::to_owned)
                .to_vec(),
            include_label_prefix: Vec::new(),
        }
    }
}

/// The label that tells the pods of a workload: the first of `--selector-labels` in `spec.selector.matchLabels`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorLabel {
    /// Label key.
    pub key: String,
    /// Its value on the target.
    pub value: String,
}

impl SelectorLabel {
    /// Its value on the primary.
    pub fn primary(&self) -> String {
        format!("{}-primary", self.value)
    }
}

/// The target's selector label, or `None` when it has none of the candidates.
pub fn selector_label(target: &Value, options: &Options) -> Option<SelectorLabel> {
    let labels = target.pointer("/spec/selector/matchLabels")?.as_object()?;
    options.selector_labels.iter().find_map(|key| {
        let value = labels.get(key)?.as_str()?;
        Some(SelectorLabel {
            key: key.clone(),
            value: value.to_owned(),
        })
    })
}

/// What every primary of one Canary is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Rendering<'a> {
    /// Whose primary.
    pub canary: &'a Canary,
    /// The label that tells its pods.
    pub label: &'a SelectorLabel,
    /// Process-wide choices.
    pub options: &'a Options,
    /// The copies of ConfigMaps and Secrets its pods read instead of the originals.
    pub copies: &'a config::Copies,
}

/// `<target>-primary`.
pub fn primary_name(canary: &Canary) -> String {
    format!("{}-primary", canary.target.name)
}

/// True when two parts of objects say the same: key order and null members do not count, and neither does whether
/// an empty map is written at all.
pub fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    let text = |value: Option<&Value>| {
        let mut text = String::new();
        match value {
            None | Some(Value::Null) => text.push_str("{}"),
            Some(value) => revision::canonical(value, &mut text),
        }
        text
    };
    text(one) == text(other)
}

/// The API version of a target kind.
pub(crate) fn api_version(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Deployment | TargetKind::DaemonSet => "apps/v1",
        TargetKind::Service => "v1",
        TargetKind::Knative => "serving.knative.dev/v1",
    }
}

/// A controller owner reference to the Canary.
pub fn owner_reference(canary: &Canary) -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "name": canary.id.name,
        "uid": canary.id.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The controller owner of an object: `(kind, name, uid)`.
pub fn controller_owner(object: &Value) -> Option<(&str, &str, &str)> {
    object
        .pointer("/metadata/ownerReferences")?
        .as_array()?
        .iter()
        .find_map(|owner| {
            if owner.get("controller")?.as_bool()? {
                Some((
                    owner.get("kind")?.as_str()?,
                    owner.get("name")?.as_str()?,
                    owner.get("uid")?.as_str()?,
                ))
            } else {
                None
            }
        })
}

/// True when this Canary is the controller of the object.
pub fn is_owned_by(object: &Value, canary: &Canary) -> bool {
    controller_owner(object).is_some_and(|(kind, _, uid)| kind == "Canary" && uid == canary.id.uid)
}

/// Keeps the entries `--include-label-prefix` lets through; Flux's own keys never pass.
pub(crate) fn filtered(source: Option<&Value>, options: &Options) -> Map<String, Value> {
    let Some(entries) = source.and_then(Value::as_object) else {
        return Map::new();
    };
    entries
        .iter()
        .filter(|(key, _)| {
            !key.contains("toolkit.fluxcd.io")
                && options
                    .include_label_prefix
                    .iter()
                    .any(|prefix| prefix == "*" || (!prefix.is_empty() && key.starts_with(prefix.as_str())))
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::service::Role;
    use super::*;
    use crate::workload::config::Copies;
    use crate::workload::fixture::{canary, deployment};

    fn selects(selector: &Value, labels: &Value) -> bool {
        let selector = selector.as_object().unwrap();
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    proptest! {
        /// Whatever tells the target's pods: each Service reaches the pods it is for, and no others.
        #[test]
        fn services_reach_their_own_pods_and_no_others(
            labels in proptest::collection::btree_map("app|name|tier|x/y", "[a-z]{1,3}(-primary|-canary)?", 0..4),
            more in proptest::collection::btree_map("color|size", "[a-z]{1,2}", 0..2),
        ) {
            let (canary, options) = (canary(), Options::default());
            let mut target = deployment();
            let pods: BTreeMap<&String, &String> = labels.iter().chain(&more).collect();
            target["spec"]["selector"]["matchLabels"] = json!(labels);
            target["spec"]["template"]["metadata"]["labels"] = json!(pods);
            let Some(label) = selector_label(&target, &options) else {
                prop_assert!(!labels.contains_key("app") && !labels.contains_key("name"));
                return Ok(());
            };
            prop_assert_eq!(&label.key, if labels.contains_key("app") { "app" } else { "name" });
            let copies = Copies::new();
            let rendering = Rendering { canary: &canary, label: &label, options: &options, copies: &copies };
            let source = record::source(TargetKind::Deployment, &target);
            let primary = primary::render(&source, None, &revision::Revision::default(), &rendering);
            let of = |object: &Value| object["spec"]["template"]["metadata"]["labels"].clone();
            let own = &primary["spec"]["selector"]["matchLabels"];
            prop_assert!(selects(own, &of(&primary)), "a primary that selects its own pods");
            prop_assert!(!selects(own, &of(&target)));
            for (role, reaches_primary) in [(Role::Apex, true), (Role::Primary, true), (Role::Canary, false)] {
                let service = service::render(&canary, role, &label, &target);
                let selector = &service["spec"]["selector"];
                prop_assert_eq!(selects(selector, &of(&primary)), reaches_primary);
                prop_assert_eq!(selects(selector, &of(&target)), !reaches_primary);
            }
        }
    }
}
