//! The organisation's policies, asked about a review: pure.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use jiff::Timestamp;
use json_patch::PatchOperation;
use serde_json::{Value, json};

use crate::api;
use crate::model::parse::Settings;
use crate::model::rules;
use crate::model::violation::{FieldPath, Report, Violation};
use crate::policy::{self, Current, Hit, Judgement, Review};

use super::envelope::Envelope;

/// The policies in force at the moment of a review.
pub(super) struct Guard {
    current: Arc<Current>,
    now: Timestamp,
    hits: RefCell<Vec<Hit>>,
}

/// What they think of an object.
#[derive(Debug, Default)]
pub(super) struct Opinion {
    /// Of the object as it is now.
    pub(super) report: Report,
    /// What the object it replaces broke already.
    pub(super) before: Vec<Violation>,
    /// The defaults they write into it.
    pub(super) defaults: Vec<PatchOperation>,
    /// The object with the defaults in it, if there are any.
    pub(super) whole: Option<Value>,
}

impl Guard {
    pub(super) fn new(current: Arc<Current>, now: Timestamp) -> Self {
        Self {
            current,
            now,
            hits: RefCell::default(),
        }
    }

    /// The breaches of the review, as they are counted.
    pub(super) fn into_hits(self) -> Vec<Hit> {
        self.hits.into_inner()
    }

    /// The moment of the review.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Asks every policy about the object of a request and, for the ratchet, about what it replaces.
    pub(super) fn opinion(
        &self,
        envelope: &Envelope,
        object: &Value,
        old: Option<&Value>,
        settings: &Settings,
    ) -> Opinion {
        let Some(set) = &self.current.set else {
            return Opinion::unknown();
        };
        if set.is_empty() {
            return Opinion::default();
        }
        let written = object["metadata"]["namespace"].as_str();
        let namespace = envelope.namespace.as_deref().or(written).unwrap_or_default();
        let request = request(envelope);
        let review = Review {
            request: Some(&request),
            version: Some(envelope.written_version()),
            ..Review::of(
                object,
                namespace,
                self.current.namespace(namespace),
                settings.provider.as_str(),
            )
        };
        let is_canary = object["kind"] == "Canary";
        let defaults = if is_canary {
            policy::defaults(set, &review)
        } else {
            Vec::new()
        };
        let whole = (!defaults.is_empty()).then(|| {
            let mut whole = object.clone();
            // The operations were made from this object.
            let _ = json_patch::patch(&mut whole, &defaults);
            whole
        });
        let now = at_v1beta1(whole.as_ref().unwrap_or(object));
        let before = old.map(at_v1beta1);
        let judged = |review: &Review<'_>| -> Judgement { policy::judge(set, review, self.now) };
        let judgement = judged(&Review {
            object: &now,
            old: before.as_deref(),
            ..review
        });
        let known = before
            .as_ref()
            .filter(|_| !judgement.report.is_admissible())
            .map(|before| {
                let alone = Review {
                    object: before,
                    old: None,
                    request: None,
                    ..review
                };
                let whole = policy::defaulted(set, &alone);
                judged(&Review {
                    object: &whole,
                    ..alone
                })
            });
        self.hits.borrow_mut().extend(judgement.hits);
        Opinion {
            report: judgement.report,
            before: known.map(|known| known.report.violations).unwrap_or_default(),
            defaults,
            whole,
        }
    }
}

impl Opinion {
    /// Nobody knows the policies yet. The controller asks again before a run starts.
    fn unknown() -> Self {
        let warning = Violation {
            path: FieldPath::of("metadata.namespace"),
            code: rules::POLICY_UNCHECKED.code,
            found: "policies are not loaded yet, and none was asked".to_owned(),
            expected: rules::POLICY_UNCHECKED.fix.to_owned(),
            fix: String::new(),
            place: None,
            snippet: None,
        };
        Self {
            report: Report {
                violations: Vec::new(),
                warnings: vec![warning],
            },
            ..Self::default()
        }
    }
}

fn at_v1beta1(object: &Value) -> Cow<'_, Value> {
    if object["apiVersion"] == "flagger.app/v1alpha3" {
        Cow::Owned(api::convert::respelled(object.clone()))
    } else {
        Cow::Borrowed(object)
    }
}

/// `request`, as rules see it: everything about the request but its objects.
fn request(envelope: &Envelope) -> Value {
    let kind = |kind: &super::envelope::GroupVersionKind| json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
    json!({
        "uid": envelope.uid,
        "kind": kind(&envelope.kind),
        "requestKind": kind(envelope.request_kind.as_ref().unwrap_or(&envelope.kind)),
        "resource": {
            "group": envelope.resource.group,
            "version": envelope.resource.version,
            "resource": envelope.resource.resource,
        },
        "name": envelope.name,
        "namespace": envelope.namespace,
        "operation": envelope.operation,
        "dryRun": envelope.dry_run.unwrap_or_default(),
        "userInfo": envelope.user_info,
    })
}
