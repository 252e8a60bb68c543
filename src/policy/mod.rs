//! RULES of an organisation over what people apply: `verdigris.dev/v1alpha1` CanaryPolicy, pure.
//!
//! Owns: what a policy says ([`Policy`]), whom it concerns, what it thinks of an object ([`judge()`]), what it writes
//! into one ([`defaults`]), where it lets calls go ([`Permit`]). Promises: policies are ANDed, so one more can only
//! tighten; every verdict is bounded in time; the same code answers at admission, in the controller, in the audit and
//! in `lint`. Never: a call anywhere, a clock (`now` is a value).
//!
//! A policy that reached the cluster unreviewed is read as far as it can be: what cannot be read of an enforced rule
//! refuses, and says so.

pub mod cel;
mod defaults;
mod exemption;
mod hosts;
mod judge;
mod limits;
mod read;
mod sample;
mod selector;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::model::violation::Report;

pub use defaults::{defaulted, defaults};
pub use hosts::{Destination, Permit};
pub use judge::{Hit, Judgement, judge};
pub use shared::{Current, Shared};

use cel::Expression;
use exemption::Exemption;
use hosts::Hosts;
use limits::{Forbidden, Limits, Required};
use selector::Selector;

/// The API group of policies.
pub const GROUP: &str = "verdigris.dev";

/// What becomes of an object that breaks a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// It is refused, and the controller starts no run of it.
    Enforce,
    /// Its author is warned.
    Warn,
    /// It is counted, in the policy's status and in metrics.
    Audit,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 3] = [Mode::Enforce, Mode::Warn, Mode::Audit];

    /// As manifests say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "Enforce",
            Mode::Warn => "Warn",
            Mode::Audit => "Audit",
        }
    }
}

/// A policy, read.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.mode`.
    pub mode: Mode,
    matching: Matching,
    limits: Limits,
    required: Required,
    allowed: Allowed,
    forbidden: Forbidden,
    rules: Vec<Rule>,
    defaults: Map<String, Value>,
    exemptions: Vec<Exemption>,
}

/// `spec.match`: whom a policy concerns. Empty parts match everything.
#[derive(Debug, Clone, Default)]
struct Matching {
    namespaces: Selector,
    objects: Selector,
    providers: Vec<String>,
}

/// `spec.allowed`: where calls may go.
#[derive(Debug, Clone, Default)]
struct Allowed {
    webhooks: Option<Arc<Hosts>>,
    metrics_servers: Option<Arc<Hosts>>,
    alerts: Option<Arc<Hosts>>,
}

/// `spec.rules[]`.
#[derive(Debug, Clone)]
struct Rule {
    name: String,
    /// `None` when it does not compile.
    condition: Option<Expression>,
    message: String,
    message_expression: Option<Expression>,
    field: String,
}

/// What is judged: an object and what is known about the request it came with.
#[derive(Debug, Clone, Copy)]
pub struct Review<'a> {
    /// A Canary, MetricTemplate or AlertProvider, at v1beta1.
    pub object: &'a Value,
    /// What it replaces, at v1beta1.
    pub old: Option<&'a Value>,
    /// Its namespace.
    pub namespace: &'a str,
    /// The Namespace object, when it is known: labels are what policies select by.
    pub namespace_object: Option<&'a Value>,
    /// `admission.k8s.io/v1` AdmissionRequest without its objects; `None` outside of admission, where rules that look
    /// at `request` or `oldObject` have nothing to say.
    pub request: Option<&'a Value>,
    /// The version its author wrote (`v1alpha3`); `None` when nobody can know.
    pub version: Option<&'a str>,
    /// The provider of Canaries that name none.
    pub provider: &'a str,
}

impl<'a> Review<'a> {
    /// An object as it stands in a cluster or file, with nothing known about how it got there.
    pub fn of(
        object: &'a Value,
        namespace: &'a str,
        namespace_object: Option<&'a Value>,
        provider: &'a str,
    ) -> Self {
        Self {
            object,
            old: None,
            namespace,
            namespace_object,
            request: None,
            version: None,
            provider,
        }
    }
}

/// Policies, in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct Set(Vec<Arc<Policy>>);

impl Set {
    /// Policies as far as they can be read, from CanaryPolicy objects.
    pub fn lenient(objects: &[Value]) -> Self {
        Self::of(objects.iter().map(|object| read::policy(object).0).collect())
    }

    fn of(policies: Vec<Policy>) -> Self {
        let mut policies: Vec<Arc<Policy>> = policies.into_iter().map(Arc::new).collect();
        policies.sort_by(|one, other| one.name.cmp(&other.name));
        Self(policies)
    }

    /// The policies.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter().map(Arc::as_ref)
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Policies from CanaryPolicy objects.
///
/// # Errors
/// Everything that is wrong with them; use [`validate`] to know of each its own.
pub fn compile(objects: &[Value]) -> Result<Set, Report> {
    let mut report = Report::default();
    let mut policies = Vec::with_capacity(objects.len());
    for object in objects {
        let (policy, found) = read::policy(object);
        report.merge(found);
        policies.push(policy);
    }
    if report.is_admissible() {
        Ok(Set::of(policies))
    } else {
        Err(report)
    }
}

/// Judges a CanaryPolicy object itself: shapes, bounds, names, its CEL compiled and tried on sample Canaries, its
/// defaults read as a Canary's, its exemptions' ends.
pub fn validate(object: &Value, now: Timestamp) -> Report {
    let (policy, mut report) = read::policy(object);
    if report.is_admissible() {
        report.merge(sample::trial(&policy));
        report.merge(defaults::trial(&policy));
        report.merge(exemption::ended(&policy, now));
    }
    report
}
