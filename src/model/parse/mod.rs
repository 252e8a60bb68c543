//! v1beta1 JSON → [`Canary`], collecting every violation and warning with its path.
//!
//! Works on JSON, not on typed wire structs: a wrong type becomes one violation at its field and hides nothing. A
//! Canary comes out only when nothing has to be refused. Severity and code of a rule live in
//! [`crate::model::rules`]; this module finds what breaks it. Total: no input makes it panic.

use std::time::Duration;

use serde_json::Value;

use super::canary::{Canary, Identity, Provider, TargetKind};
use super::default;
use super::names;
use super::rules;
use super::violation::{Report, Segment, Violation};
use fields::{Field, Findings};

mod alert_provider;
mod alerts;
mod analysis;
mod bounds;
pub(crate) mod fields;
mod hooks;
mod metric_template;
mod metrics;
mod provider;
mod query;
mod service;
mod shape;
mod strategy;
mod target;
mod url;

pub use provider::named as provider;
pub use url::{forbidden, is_loopback};

/// What the process decides for manifests that leave it open.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `--mesh-provider`: the provider of Canaries that name none.
    pub provider: Provider,
    /// `--min-analysis-interval`: shorter intervals are raised to it, with a warning.
    pub min_interval: Duration,
    /// Whether [`Self::provider`] is what will really run the manifest (`lint --mesh-provider`), so that rules about
    /// the provider refuse even when `spec.provider` is empty.
    pub provider_is_certain: bool,
    /// Whether addresses of this machine are refused: true when running inside a cluster.
    pub refuse_loopback: bool,
    /// Whether unknown fields are reported: true for `lint` and for v1alpha3, whose schema accepts anything.
    pub unknown_fields: bool,
}

impl Default for Settings {
    /// Provider kubernetes, intervals of at least 10 s, loopback allowed, unknown fields left to the API server.
    fn default() -> Self {
        Self {
            provider: Provider::Kubernetes,
            min_interval: Duration::from_secs(10),
            provider_is_certain: false,
            refuse_loopback: false,
            unknown_fields: false,
        }
    }
}

/// What a manifest means, and what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The Canary, when nothing in the report makes it impossible to obey. (Odd values in fields nobody here reads are
    /// refused at admission and do not stop a stored object.)
    pub canary: Option<Canary>,
    /// What can be read of a Canary that has to be refused.
    draft: Option<Canary>,
    /// Everything found.
    pub report: Report,
}

impl From<Report> for Parsed {
    /// Of an object that means nothing but what was found.
    fn from(report: Report) -> Self {
        Self {
            canary: None,
            draft: None,
            report,
        }
    }
}

impl Parsed {
    /// The Canary for those who ask what is around it, so that a mistake elsewhere in the manifest hides nothing;
    /// `None` when the mistake is in what they go by.
    pub fn legible(&self) -> Option<&Canary> {
        const GONE_BY: [&str; 5] = ["targetRef", "service", "provider", "autoscalerRef", "analysis"];
        let rests_on = |violation: &Violation| match violation.path.segments() {
            [Segment::Key(root), Segment::Key(part), rest @ ..] if root == "spec" => {
                GONE_BY.contains(&part.as_str()) && (part != "analysis" || rest.is_empty())
            }
            _ => true,
        };
        let draft = self.draft.as_ref();
        self.canary
            .as_ref()
            .or(draft.filter(|_| !self.report.violations.iter().any(rests_on)))
    }
}

/// What the parts of a Canary need to know of each other.
#[derive(Debug)]
struct Context<'a> {
    settings: &'a Settings,
    provider: Provider,
    id: Identity,
    target: super::canary::Target,
    service_name: String,
    app_protocol: Option<String>,
    ingress: String,
    route: String,
}

impl Context<'_> {
    fn is_kubernetes(&self) -> bool {
        matches!(self.provider, Provider::Kubernetes)
    }
}

/// Parses a v1beta1 Canary object.
pub fn canary(object: &Value, settings: &Settings) -> Parsed {
    let mut findings = Findings {
        unknown_fields: settings.unknown_fields,
        ..Findings::default()
    };
    let root = Field::root(object);
    let spec = root.get("spec");
    let canary = read(&root, &spec, settings, &mut findings);
    let (canary, draft) = if findings.report.is_admissible() {
        (canary, None)
    } else {
        (None, canary)
    };
    shape::judge(&shape::CANARY, &spec, &mut findings);
    Parsed {
        canary,
        draft,
        report: findings.report,
    }
}

const SPEC: [&str; 14] = [
    "provider",
    "metricsServer",
    "targetRef",
    "autoscalerRef",
    "ingressRef",
    "routeRef",
    "upstreamRef",
    "service",
    "analysis",
    "canaryAnalysis",
    "progressDeadlineSeconds",
    "skipAnalysis",
    "revertOnDeletion",
    "suspend",
];

/// Members of every object; those of `metadata` are the API server's, old ones included.
fn envelope(root: &Field<'_>, findings: &mut Findings) {
    root.only(&["apiVersion", "kind", "metadata", "spec", "status"], findings);
    root.get("metadata").only(
        &[
            "name",
            "generateName",
            "namespace",
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
            "selfLink",
            "clusterName",
        ],
        findings,
    );
}

fn read(root: &Field<'_>, spec: &Field<'_>, settings: &Settings, findings: &mut Findings) -> Option<Canary> {
    envelope(root, findings);
    if !spec.is_set() {
        findings
            .add(&rules::REQUIRED, &spec.path, "missing")
            .expecting("expected an object")
            .fixed_by("add spec");
        return None;
    }
    spec.object(findings)?;
    spec.only(&SPEC, findings);
    let id = identity(root, findings);

    let provider = provider::read(&spec.get("provider"), settings, findings);
    let metrics_server = spec.get("metricsServer");
    let metrics_server = match metrics_server.text(findings) {
        None | Some("") => None,
        Some(text) => url::read(
            &metrics_server,
            &rules::METRICS_SERVER,
            settings.refuse_loopback,
            findings,
        )
        .map(|_| text.to_owned()),
    };
    let target = target::read(&spec.get("targetRef"), &provider, findings);
    let service = service::read(&spec.get("service"), &target, &provider, findings);
    let named = |key: &str| {
        spec.get(key)
            .get("name")
            .value
            .and_then(Value::as_str)
            .filter(|n| !n.is_empty())
            .unwrap_or(&target.name)
            .to_owned()
    };
    let context = Context {
        settings,
        provider: provider.clone(),
        id: id.clone(),
        service_name: service.name.clone(),
        app_protocol: service.app_protocol.clone(),
        ingress: named("ingressRef"),
        route: named("routeRef"),
        target: target.clone(),
    };
    provider::needs(spec, &context, findings);
    let autoscaler = target::autoscaler(&spec.get("autoscalerRef"), &target, findings);
    let progress_deadline = progress_deadline(&spec.get("progressDeadlineSeconds"), findings);
    let skip = spec.get("skipAnalysis").flag(findings);
    let suspended = spec.get("suspend");
    let is_suspended = suspended.flag(findings);
    let phase = root.get("status").get("phase");
    if is_suspended && phase.value.and_then(Value::as_str).unwrap_or_default().is_empty() {
        findings.add(
            &rules::SUSPENDED_AT_BIRTH,
            &suspended.path,
            "true before anything was created",
        );
    }
    let analysis = analysis::read(spec, skip, &context, findings);
    Some(Canary {
        generation: root
            .get("metadata")
            .get("generation")
            .value
            .and_then(Value::as_i64)
            .unwrap_or(0),
        id,
        provider,
        metrics_server,
        target,
        autoscaler,
        service,
        analysis,
        progress_deadline,
        suspended: is_suspended,
        revert_on_deletion: spec.get("revertOnDeletion").flag(findings),
    })
}

fn progress_deadline(field: &Field<'_>, findings: &mut Findings) -> Duration {
    let Some(seconds) = field.integer(findings) else {
        return default::PROGRESS_DEADLINE;
    };
    if (1..=i64::from(i32::MAX)).contains(&seconds) {
        return Duration::from_secs(seconds.unsigned_abs());
    }
    findings.add(
        &rules::PROGRESS_DEADLINE,
        &field.path,
        format!("{seconds} seconds"),
    );
    default::PROGRESS_DEADLINE
}

/// Who the object is; the namespace is `default` before the API server has filled it in.
fn identity(root: &Field<'_>, findings: &mut Findings) -> Identity {
    let metadata = root.get("metadata");
    let text = |key: &str| {
        metadata
            .get(key)
            .value
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let name = if text("name").is_empty() {
        text("generateName")
    } else {
        text("name")
    };
    if name.is_empty() {
        findings
            .add(&rules::REQUIRED, &metadata.path.key("name"), "missing")
            .expecting("expected a name")
            .fixed_by("add metadata.name");
    }
    Identity {
        namespace: if text("namespace").is_empty() {
            "default"
        } else {
            text("namespace")
        }
        .to_owned(),
        name: name.to_owned(),
        uid: text("uid").to_owned(),
    }
}

/// Judges a MetricTemplate object as these settings ask (loopback addresses, unknown fields).
pub fn metric_template(object: &Value, settings: &Settings) -> Report {
    metric_template::judge(object, settings)
}

/// Judges an AlertProvider object as these settings ask (loopback addresses, unknown fields).
pub fn alert_provider(object: &Value, settings: &Settings) -> Report {
    alert_provider::judge(object, settings)
}

/// `targetRef.kind` Services and Knative Services bring their own Services.
fn brings_its_own_services(kind: TargetKind) -> bool {
    match kind {
        TargetKind::Service | TargetKind::Knative => true,
        TargetKind::Deployment | TargetKind::DaemonSet => false,
    }
}

/// Reports a name no object can have.
fn object_name(field: &Field<'_>, name: &str, findings: &mut Findings) {
    if !name.is_empty() && !names::is_subdomain(name) {
        findings.add(
            &rules::OBJECT_NAME,
            &field.path,
            format!("{name:?} is not a name"),
        );
    }
}

#[cfg(test)]
mod tests;
