//! What is thought of a request: pure. Converts to v1beta1, parses, looks around, ratchets, spells paths as their
//! author did. A deletion is never refused.

use std::borrow::Cow;

use http::StatusCode;
use json_patch::PatchOperation;
use serde_json::Value;

use crate::api;
use crate::model::subject::Subject;
use crate::model::surroundings::users::{self, Referred};
use crate::model::surroundings::{Seen, look_around};
use crate::model::violation::{Code, FieldPath, Report, Segment, Violation, spelled_for};
use crate::model::{change, default, parse};
use crate::policy;

use super::around::Around;
use super::envelope::Envelope;
use super::guard::{Guard, Opinion};

/// The API group of everything reviewed.
const GROUP: &str = "flagger.app";

/// Which webhook was called. Both judge alike: mutation runs before the schema is checked, validation after (and
/// not at all when the schema refuses), so a person gets all mistakes at once only if both say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `/validate`.
    Validate,
    /// `/mutate`: also writes defaults down.
    Mutate,
}

impl Hook {
    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Hook::Validate => "validate",
            Hook::Mutate => "mutate",
        }
    }
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Admitted.
    Allowed {
        /// A JSON Patch, serialised; never on `/validate`.
        patch: Option<Vec<u8>>,
        /// What is likely wrong.
        warnings: Vec<String>,
    },
    /// Refused: 422 with one cause per violation.
    Invalid {
        /// API group of the object.
        group: String,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// At least one.
        causes: Vec<Cause>,
        /// What is likely wrong besides.
        warnings: Vec<String>,
    },
    /// Could not be judged.
    Failed {
        /// HTTP code within the review.
        code: StatusCode,
        /// Why, in one sentence.
        message: String,
        /// The metric label.
        word: &'static str,
    },
}

/// One mistake, as `metav1.StatusCause`.
#[derive(Debug)]
pub(super) struct Cause {
    /// `FieldValueInvalid` and its siblings.
    pub(super) reason: &'static str,
    /// `found; expected; fix`, then the snippet on lines of its own.
    pub(super) message: String,
    /// The path as the author wrote it.
    pub(super) field: String,
    /// The rule.
    pub(super) code: Code,
}

impl Verdict {
    fn allowed() -> Self {
        Verdict::Allowed {
            patch: None,
            warnings: Vec::new(),
        }
    }

    pub(super) fn failed(code: StatusCode, message: impl Into<String>) -> Self {
        Verdict::Failed {
            code,
            message: message.into(),
            word: "failed",
        }
    }

    /// A deletion that could not be judged.
    pub(super) fn unjudged() -> Self {
        Verdict::Allowed {
            patch: None,
            warnings: vec![
                "the deletion could not be reviewed; the log of verdigris has the reason".to_owned(),
            ],
        }
    }

    pub(super) fn panicked() -> Self {
        Verdict::Failed {
            code: StatusCode::INTERNAL_SERVER_ERROR,
            message: "the review failed; the log of verdigris has the reason".to_owned(),
            word: "panicked",
        }
    }

    pub(super) fn is_allowed(&self) -> bool {
        match self {
            Verdict::Allowed { .. } => true,
            Verdict::Invalid { .. } | Verdict::Failed { .. } => false,
        }
    }

    /// The metric label.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Verdict::Allowed { .. } => "allowed",
            Verdict::Invalid { .. } => "denied",
            Verdict::Failed { word, .. } => word,
        }
    }

    /// The fields that were refused, for the log.
    pub(super) fn fields(&self) -> String {
        match self {
            Verdict::Allowed { .. } | Verdict::Failed { .. } => String::new(),
            Verdict::Invalid { causes, .. } => {
                let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
                fields.join(",")
            }
        }
    }

    /// The rules that were broken, for the log.
    pub(super) fn codes(&self) -> String {
        match self {
            Verdict::Allowed { .. } => String::new(),
            Verdict::Invalid { causes, .. } => {
                let codes: Vec<&str> = causes.iter().map(|cause| cause.code.0).collect();
                codes.join(",")
            }
            Verdict::Failed { message, .. } => message.clone(),
        }
    }
}

/// The kinds that are reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reviewed {
    /// A kind of Flagger.
    Flagger(Subject),
    /// A `CanaryPolicy`.
    Policy,
}

/// By the pair of resource and kind: a request that names one and carries the other is not for us.
fn reviewed(envelope: &Envelope) -> Option<Reviewed> {
    let (resource, kind) = (&envelope.resource, &envelope.kind);
    if resource.group != kind.group || resource.version != kind.version {
        return None;
    }
    let names = |plural: &str, versions: &[&str]| {
        resource.resource == plural && versions.contains(&kind.version.as_str())
    };
    if kind.group == policy::GROUP {
        let ours = kind.kind == "CanaryPolicy" && names("canarypolicies", &["v1alpha1"]);
        return ours.then_some(Reviewed::Policy);
    }
    if kind.group != GROUP {
        return None;
    }
    let subject = Subject::of(&kind.kind)?;
    let plural = match subject {
        Subject::Canary => "canaries",
        Subject::MetricTemplate => "metrictemplates",
        Subject::AlertProvider => "alertproviders",
    };
    names(plural, subject.versions()).then_some(Reviewed::Flagger(subject))
}

/// Judges one request, by the rules of the manifest, by what `around` knows, if caches are kept, and by the
/// organisation's policies.
pub(super) fn judge(
    hook: Hook,
    envelope: &Envelope,
    settings: &parse::Settings,
    around: Option<&Around>,
    guard: &Guard,
) -> Verdict {
    if envelope
        .sub_resource
        .as_deref()
        .is_some_and(|sub| !sub.is_empty())
    {
        return Verdict::allowed();
    }
    match envelope.operation.as_str() {
        "DELETE" => return deletion(envelope, around),
        "CONNECT" => return Verdict::allowed(),
        _ => {}
    }
    let Some(subject) = reviewed(envelope) else {
        return Verdict::failed(StatusCode::BAD_REQUEST, unexpected(envelope));
    };
    let Some(object) = envelope.object.as_ref().filter(|object| object.is_object()) else {
        let message = format!("request.object: missing; {} needs the object", envelope.operation);
        return Verdict::failed(StatusCode::BAD_REQUEST, message);
    };
    let old = match envelope.operation.as_str() {
        "UPDATE" => envelope.old_object.as_ref().filter(|old| old.is_object()),
        _ => None,
    };
    if let Some(old) = old
        && (is_deleting(object) || says_the_same(object, old))
    {
        return Verdict::allowed();
    }

    let version = envelope.written_version();
    let opinion = match subject {
        Reviewed::Flagger(_) => guard.opinion(envelope, object, old, settings),
        Reviewed::Policy => Opinion::default(),
    };
    let whole = opinion.whole.as_ref().unwrap_or(object);
    let Report {
        mut violations,
        warnings,
    } = report(subject, whole, settings, around, guard);
    violations.extend(opinion.report.violations);
    let mut told = Vec::new();
    if let Some(old) = old {
        // What was wrong before matters only when something is wrong now.
        if !violations.is_empty() {
            let mut before = report(subject, old, settings, around, guard).violations;
            before.extend(opinion.before);
            told = ratchet(&mut violations, &before);
        }
        let made = step(subject, old, object, settings, around);
        violations.extend(made.violations);
        told.extend(made.warnings);
    }
    let all = told.iter().chain(&warnings).chain(&opinion.report.warnings);
    let warnings = lines(all, version, object);
    if violations.is_empty() {
        let patch = match hook {
            Hook::Mutate if subject == Reviewed::Flagger(Subject::Canary) => {
                defaults(opinion.defaults, whole)
            }
            Hook::Mutate | Hook::Validate => None,
        };
        return Verdict::Allowed { patch, warnings };
    }
    Verdict::Invalid {
        group: envelope.kind.group.clone(),
        kind: envelope.kind.kind.clone(),
        name: name(envelope, object),
        causes: violations
            .iter()
            .map(|violation| cause(violation, version, object))
            .collect(),
        warnings,
    }
}

/// What a deletion leaves behind. Never refuses, whatever arrives.
fn deletion(envelope: &Envelope, around: Option<&Around>) -> Verdict {
    let (Some(subject), Some(old)) = (reviewed(envelope), &envelope.old_object) else {
        return Verdict::allowed();
    };
    let users = |referred| around.map_or_else(Vec::new, |around| around.users(referred, old));
    let report = match subject {
        Reviewed::Flagger(Subject::Canary) => {
            let canary = at_v1beta1(old);
            let target = around.map_or(Seen::Unknown, |around| around.target_of(&canary));
            change::deletion(&canary, &target)
        }
        Reviewed::Flagger(Subject::MetricTemplate) => {
            users::deleted(Referred::MetricTemplate, &users(Referred::MetricTemplate))
        }
        Reviewed::Flagger(Subject::AlertProvider) => {
            users::deleted(Referred::AlertProvider, &users(Referred::AlertProvider))
        }
        Reviewed::Policy => Report::default(),
    };
    Verdict::Allowed {
        patch: None,
        warnings: lines(&report.warnings, envelope.written_version(), old),
    }
}

/// Everything wrong with one object, by itself and among its neighbours.
fn report(
    subject: Reviewed,
    object: &Value,
    settings: &parse::Settings,
    around: Option<&Around>,
    guard: &Guard,
) -> Report {
    let subject = match subject {
        Reviewed::Flagger(subject) => subject,
        Reviewed::Policy => return policy::validate(object, guard.now()),
    };
    let parsed = subject.judge(object, settings);
    let seen = around
        .zip(parsed.legible())
        .map(|(around, canary)| look_around(canary, &around.of(canary)));
    let mut report = parsed.report;
    report.merge(seen.unwrap_or_default());
    report
}

/// What the step from one object to the next breaks.
fn step(
    subject: Reviewed,
    old: &Value,
    new: &Value,
    settings: &parse::Settings,
    around: Option<&Around>,
) -> Report {
    match subject {
        Reviewed::Flagger(Subject::Canary) => change::update(&at_v1beta1(old), &at_v1beta1(new)),
        Reviewed::Flagger(Subject::MetricTemplate) => {
            let users = around.map_or_else(Vec::new, |around| around.users(Referred::MetricTemplate, new));
            let users: Vec<_> = users
                .iter()
                .filter_map(|user| parse::canary(user, settings).canary)
                .collect();
            users::template_changed(&users, old, new)
        }
        Reviewed::Flagger(Subject::AlertProvider) | Reviewed::Policy => Report::default(),
    }
}

/// A Canary object as v1beta1 spells it.
fn at_v1beta1(object: &Value) -> Cow<'_, Value> {
    if object["apiVersion"] == "flagger.app/v1alpha3" {
        Cow::Owned(api::convert::respelled(object.clone()))
    } else {
        Cow::Borrowed(object)
    }
}

/// Warnings as the author of `object` reads them.
fn lines<'a>(
    warnings: impl IntoIterator<Item = &'a Violation>,
    version: &str,
    object: &Value,
) -> Vec<String> {
    let line = |violation: &Violation| {
        let field = spelled_for(&violation.path, version, object);
        format!("{field}: {}", violation.sentence())
    };
    warnings.into_iter().map(line).collect()
}

/// The defaults as a JSON Patch, `None` when there is nothing to write down: those of the policies first, then what
/// is missing in the object that has them.
fn defaults(of_policies: Vec<PatchOperation>, whole: &Value) -> Option<Vec<u8>> {
    let mut patch = of_policies;
    patch.extend(default::patch(whole));
    if patch.is_empty() {
        return None;
    }
    serde_json::to_vec(&patch).ok()
}

fn cause(violation: &Violation, version: &str, object: &Value) -> Cause {
    let mut message = violation.sentence();
    if let Some(snippet) = &violation.snippet {
        message.push('\n');
        message.push_str(snippet);
    }
    Cause {
        reason: reason(violation.code),
        message,
        field: spelled_for(&violation.path, version, object).to_string(),
        code: violation.code,
    }
}

/// The nearest `metav1.CauseType`.
fn reason(code: Code) -> &'static str {
    let has = |word: &str| code.0.split('-').any(|part| part == word);
    if has("required") {
        "FieldValueRequired"
    } else if has("duplicate") {
        "FieldValueDuplicate"
    } else if code.0 == "unknown-value" {
        "FieldValueNotSupported"
    } else if code.0 == "wrong-type" {
        "FieldValueTypeInvalid"
    } else {
        "FieldValueInvalid"
    }
}

/// An object on its way out: refusing anything would keep its finalizers on.
fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Nothing but metadata or status differs. An object without either spec says the same, too.
fn says_the_same(object: &Value, old: &Value) -> bool {
    object["apiVersion"] == old["apiVersion"] && object["spec"] == old["spec"]
}

/// Takes out of `now` what was wrong `before` already, and returns it: an update is refused only for mistakes it
/// makes. A mistake is the same when rule, place and value are; positions in lists may shift.
fn ratchet(now: &mut Vec<Violation>, before: &[Violation]) -> Vec<Violation> {
    let mut before: Vec<_> = before.iter().map(identity).collect();
    let (made, tolerated) = std::mem::take(now).into_iter().partition(|violation| {
        let known = before.iter().position(|known| *known == identity(violation));
        known.map(|index| before.swap_remove(index)).is_none()
    });
    *now = made;
    tolerated
}

fn identity(violation: &Violation) -> (Code, String, &str, Option<&str>) {
    (
        violation.code,
        without_indices(&violation.path),
        &violation.found,
        violation.snippet.as_deref(),
    )
}

fn without_indices(path: &FieldPath) -> String {
    path.segments()
        .iter()
        .map(|segment| match segment {
            Segment::Key(key) => key.as_str(),
            Segment::Index(_) => "*",
        })
        .collect::<Vec<_>>()
        .join("\u{0}")
}

fn name(envelope: &Envelope, object: &Value) -> String {
    let said = envelope.name.as_deref().filter(|name| !name.is_empty());
    let written = || object["metadata"]["name"].as_str();
    let generated = || object["metadata"]["generateName"].as_str();
    said.or_else(written)
        .or_else(generated)
        .unwrap_or_default()
        .to_owned()
}

fn unexpected(envelope: &Envelope) -> String {
    let (resource, kind) = (&envelope.resource, &envelope.kind);
    format!(
        "request.resource: {}.{}.{} with kind {}/{} {} is not reviewed here; expected canaries, metrictemplates or \
         alertproviders of {}, or canarypolicies of verdigris.dev; correct the rules of the webhook configuration",
        resource.resource, resource.version, resource.group, kind.group, kind.version, kind.kind, GROUP
    )
}
