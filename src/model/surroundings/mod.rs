//! Rules that look around: a Canary among the other objects of its cluster.
//!
//! Owns [`Surroundings`], the little that these rules need to know, and their verdicts. What is absent warns, since
//! manifests may be applied in any order; what is present and in the way is refused. Never asks anybody: the caller
//! fills in what its watch caches (or the files given to `lint`) hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::canary::{Canary, Source, Target, TargetKind};
use super::names;
use super::parse::fields::Findings;
use super::rules;
use super::violation::{FieldPath, Report};

mod keeper;
mod references;
mod scalers;
mod services;
mod target;
pub mod users;

/// What is known of one object.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Seen {
    /// Nobody has looked: nothing is said.
    #[default]
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists; trimmed objects will do.
    Present(Arc<Value>),
}

impl Seen {
    /// What exists.
    pub fn present(&self) -> Option<&Value> {
        match self {
            Seen::Present(value) => Some(value.as_ref()),
            Seen::Unknown | Seen::Absent => None,
        }
    }
}

/// Another Canary of the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// What it controls.
    pub target: Target,
    /// Its apex Service.
    pub apex: String,
}

impl Neighbour {
    /// Of a v1beta1 Canary object; `None` when it names no target, or is on its way out.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |pointer: &str| {
            let found = object.pointer(pointer).and_then(Value::as_str);
            found.filter(|text| !text.is_empty())
        };
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return None;
        }
        let is_knative = text("/spec/targetRef/apiVersion") == Some("serving.knative.dev/v1");
        let kind = match text("/spec/targetRef/kind")? {
            "Deployment" => TargetKind::Deployment,
            "DaemonSet" => TargetKind::DaemonSet,
            "Service" if is_knative => TargetKind::Knative,
            "Service" => TargetKind::Service,
            _ => return None,
        };
        let name = text("/spec/targetRef/name")?;
        Some(Self {
            name: text("/metadata/name")?.to_owned(),
            target: Target {
                kind,
                name: name.to_owned(),
            },
            apex: text("/spec/service/name").unwrap_or(name).to_owned(),
        })
    }
}

/// What lies around a Canary, all in its own namespace but for templates and alert providers.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The other Canaries of the namespace; `None` when nobody has looked.
    pub canaries: Option<Vec<Neighbour>>,
    /// The workload `spec.targetRef` names.
    pub target: Seen,
    /// The workload `<target>-primary` of the same kind.
    pub primary: Seen,
    /// Deployments and DaemonSets of the namespace; the target and its primary may be among them.
    pub workloads: Vec<Arc<Value>>,
    /// Services of the namespace; `None` when nobody has looked.
    pub services: Option<Vec<Arc<Value>>>,
    /// HorizontalPodAutoscalers and ScaledObjects of the namespace; `None` when nobody has looked.
    pub scalers: Option<Vec<Arc<Value>>>,
    /// MetricTemplates by namespace and name; no entry means nobody has looked.
    pub templates: BTreeMap<(String, String), Seen>,
    /// AlertProviders by namespace and name; no entry means nobody has looked.
    pub alert_providers: BTreeMap<(String, String), Seen>,
    /// `--selector-labels`; empty means Flagger's `app`, `name`, `app.kubernetes.io/name`.
    pub selector_labels: Vec<String>,
}

/// Judges a Canary by what lies around it.
pub fn look_around(canary: &Canary, surroundings: &Surroundings) -> Report {
    let mut findings = Findings::default();
    neighbours(canary, surroundings, &mut findings);
    match &surroundings.target {
        Seen::Unknown => {}
        Seen::Absent => {
            let found = format!(
                "{} {} does not exist",
                canary.target.kind.as_str(),
                canary.target.name
            );
            findings.add(
                &rules::TARGET_ABSENT,
                &FieldPath::of("spec.targetRef.name"),
                found,
            );
        }
        Seen::Present(target) => {
            target::judge(canary, target, surroundings, &mut findings);
            services::judge_ports(canary, target, &mut findings);
        }
    }
    services::judge(canary, surroundings, &mut findings);
    scalers::judge(canary, surroundings, &mut findings);
    references::judge(canary, surroundings, &mut findings);
    unchecked(canary, surroundings, &mut findings);
    findings.report
}

/// The key and value that tell this target's pods apart, if it has them.
fn selector<'a>(target: &'a Value, surroundings: &'a Surroundings) -> Option<(&'a str, &'a str)> {
    let labels = target["spec"]["selector"]["matchLabels"].as_object()?;
    let find = |key: &'a str| Some((key, labels.get(key)?.as_str()?));
    if surroundings.selector_labels.is_empty() {
        return ["app", "name", "app.kubernetes.io/name"]
            .into_iter()
            .find_map(find);
    }
    surroundings
        .selector_labels
        .iter()
        .map(String::as_str)
        .find_map(find)
}

/// Whether the object belongs to this Canary: one of its owners is a Canary of this name.
fn is_ours(object: &Value, canary: &Canary) -> bool {
    owners(object).any(|owner| owner["kind"] == "Canary" && owner["name"] == canary.id.name.as_str())
}

/// The owner that controls the object, when that is not this Canary.
fn foreign_controller(object: &Value, canary: &Canary) -> Option<String> {
    owners(object)
        .find(|owner| {
            owner["controller"] == true
                && !(owner["kind"] == "Canary" && owner["name"] == canary.id.name.as_str())
        })
        .map(|owner| {
            format!(
                "{} {}",
                owner["kind"].as_str().unwrap_or("owner"),
                owner["name"].as_str().unwrap_or_default()
            )
        })
}

/// The Canary that controls the object and is no more: the garbage collector takes the object soon.
fn bereft<'a>(object: &'a Value, canary: &Canary, surroundings: &Surroundings) -> Option<&'a str> {
    let canaries = surroundings.canaries.as_ref()?;
    let owner = owners(object).find(|owner| owner["controller"] == true && owner["kind"] == "Canary")?;
    let name = owner["name"].as_str()?;
    let lives = name == canary.id.name || canaries.iter().any(|other| other.name == name);
    (!lives).then_some(name)
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn neighbours(canary: &Canary, surroundings: &Surroundings, findings: &mut Findings) {
    let (target_path, name_path) = (
        FieldPath::of("spec.targetRef"),
        FieldPath::of("spec.service.name"),
    );
    let services = |apex: &str| [apex.to_owned(), names::primary(apex), names::canary(apex)];
    let ours = services(&canary.service.name);
    for other in surroundings
        .canaries
        .iter()
        .flatten()
        .filter(|other| other.name != canary.id.name)
    {
        if other.target == canary.target {
            let found = format!(
                "Canary {} controls {} {} too",
                other.name,
                canary.target.kind.as_str(),
                canary.target.name
            );
            findings.add(&rules::TARGET_TAKEN, &target_path, found);
            continue;
        }
        if other.target.kind == canary.target.kind && names::primary(&other.target.name) == canary.target.name
        {
            let found = format!("{} is the primary of Canary {}", canary.target.name, other.name);
            findings
                .add(&rules::TARGET_IS_PRIMARY, &target_path.key("name"), found)
                .fixed_by(format!("target {}", other.target.name));
        }
        if let Some(shared) = services(&other.apex)
            .iter()
            .find(|service| ours.contains(service))
        {
            let found = format!("Service {shared} belongs to Canary {}", other.name);
            findings.add(&rules::APEX_TAKEN, &name_path, found);
        }
    }
}

/// Says which rules had nothing to go by.
fn unchecked(canary: &Canary, surroundings: &Surroundings, findings: &mut Findings) {
    let mut unknown = Vec::new();
    if surroundings.canaries.is_none() {
        unknown.push("other Canaries");
    }
    if surroundings.target == Seen::Unknown && canary.target.kind != TargetKind::Knative {
        unknown.push("target");
    }
    if surroundings.services.is_none() {
        unknown.push("Services");
    }
    if surroundings.scalers.is_none() {
        unknown.push("autoscalers");
    }
    let templates = canary
        .analysis
        .checks
        .iter()
        .filter_map(|check| match &check.source {
            Source::Template { namespace, name, .. } => Some((namespace.clone(), name.clone())),
            Source::SuccessRate | Source::RequestDuration | Source::Query(_) => None,
        });
    if templates
        .into_iter()
        .any(|key| matches!(surroundings.templates.get(&key), None | Some(Seen::Unknown)))
    {
        unknown.push("metric templates");
    }
    let mut providers = canary
        .analysis
        .alerts
        .iter()
        .map(|alert| (alert.provider_namespace.clone(), alert.provider.clone()));
    if providers.any(|key| matches!(surroundings.alert_providers.get(&key), None | Some(Seen::Unknown))) {
        unknown.push("alert providers");
    }
    if !unknown.is_empty() {
        findings.add(
            &rules::NOT_CHECKED,
            &FieldPath::of("spec"),
            format!("not looked at: {}", unknown.join(", ")),
        );
    }
}

#[cfg(test)]
mod tests;
