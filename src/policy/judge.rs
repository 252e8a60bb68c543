//! The verdict: an object before all policies that concern it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::model::rules;
use crate::model::violation::{FieldPath, Report, Violation};

use super::cel::{Facts, MAX_STEPS};
use super::exemption::Spared;
use super::hosts::{Destination, Hosts};
use super::limits::{items, refuse};
use super::{Mode, Policy, Review, Rule, Set};

/// Steps that all expressions of one review may take together.
const ALL_STEPS: u64 = 10 * MAX_STEPS;

/// What the policies think of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Breaches of enforced policies, and warnings: of policies that warn, of exemptions, of what could not be judged.
    pub report: Report,
    /// Every breach of every policy, in whatever mode.
    pub hits: Vec<Hit>,
    /// Names of the policies that concern the object.
    pub concerned: Vec<String>,
}

/// One breach, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// `metadata.name` of the policy.
    pub policy: String,
    /// Its mode.
    pub mode: Mode,
    /// `limits.interval`, `require.webhooks`, …, or the name of one of `spec.rules[]`.
    pub rule: String,
    /// An exemption holds.
    pub exempt: bool,
}

/// Whether a policy concerns an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    /// The namespace's labels are not known.
    Unknown,
}

/// The kinds policies judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Canary,
    MetricTemplate,
    AlertProvider,
}

impl Subject {
    fn of(object: &Value) -> Self {
        match object["kind"].as_str() {
            Some("MetricTemplate") => Subject::MetricTemplate,
            Some("AlertProvider") => Subject::AlertProvider,
            _ => Subject::Canary,
        }
    }
}

impl Policy {
    pub(super) fn concerns(&self, review: &Review<'_>) -> Match {
        let matching = &self.matching;
        if !matching.objects.matches(review.object) {
            return Match::No;
        }
        if !matching.providers.is_empty() {
            let written = review.object["spec"]["provider"]
                .as_str()
                .filter(|name| !name.is_empty());
            let provider = written.unwrap_or(review.provider);
            // A template or alert provider serves Canaries of every provider.
            if Subject::of(review.object) != Subject::Canary
                || !matching.providers.iter().any(|known| known == provider)
            {
                return Match::No;
            }
        }
        match matching
            .namespaces
            .matches_namespace(review.namespace, review.namespace_object)
        {
            Some(true) => Match::Yes,
            Some(false) => Match::No,
            None => Match::Unknown,
        }
    }
}

/// Judges an object at v1beta1, its defaults written down, by every policy that concerns it.
pub fn judge(set: &Set, review: &Review<'_>, now: Timestamp) -> Judgement {
    let mut judgement = Judgement::default();
    let mut steps = ALL_STEPS;
    for policy in set.iter() {
        match policy.concerns(review) {
            Match::No => continue,
            Match::Unknown => {
                let found = format!("the labels of namespace {} are not known", review.namespace);
                unchecked(&mut judgement, policy, "match", &found);
                continue;
            }
            Match::Yes => judgement.concerned.push(policy.name.clone()),
        }
        let mut sitting = Sitting {
            policy,
            review,
            now,
            judgement: &mut judgement,
            told: BTreeSet::new(),
        };
        match Subject::of(review.object) {
            Subject::Canary => canary(policy, &mut sitting, &mut steps),
            Subject::MetricTemplate => {
                policy.forbidden.judge_template(&mut sitting);
                let address = FieldPath::of("spec.provider.address");
                call(
                    &mut sitting,
                    Destination::MetricsServer,
                    policy.allowed.metrics_servers.as_ref(),
                    &address,
                );
            }
            Subject::AlertProvider => {
                for field in ["spec.address", "spec.proxy"] {
                    call(
                        &mut sitting,
                        Destination::Alert,
                        policy.allowed.alerts.as_ref(),
                        &FieldPath::of(field),
                    );
                }
            }
        }
    }
    judgement
}

fn canary(policy: &Policy, sitting: &mut Sitting<'_>, steps: &mut u64) {
    policy.limits.judge(sitting);
    policy.required.judge(sitting);
    policy.forbidden.judge(sitting);
    if policy.forbidden.v1alpha3 && sitting.review.version == Some("v1alpha3") {
        let words = [
            "flagger.app/v1alpha3",
            "flagger.app/v1beta1",
            "rewrite it with `verdigris convert`",
        ];
        refuse(sitting, "forbid.v1alpha3", FieldPath::of("apiVersion"), words);
    }
    call(
        sitting,
        Destination::MetricsServer,
        policy.allowed.metrics_servers.as_ref(),
        &FieldPath::of("spec.metricsServer"),
    );
    let webhooks = FieldPath::of("spec.analysis.webhooks");
    let count = items(&sitting.review.object["spec"]["analysis"]["webhooks"]).count();
    for index in 0..count {
        let path = webhooks.index(index).key("url");
        call(
            sitting,
            Destination::Webhook,
            policy.allowed.webhooks.as_ref(),
            &path,
        );
    }
    for rule in &policy.rules {
        expression(rule, sitting, steps);
    }
}

/// Judges an address by its text. What is no URL is refused by the parser.
fn call(sitting: &mut Sitting<'_>, destination: Destination, hosts: Option<&Arc<Hosts>>, path: &FieldPath) {
    let Some(hosts) = hosts else { return };
    let url = value_at(sitting.review.object, path)
        .and_then(Value::as_str)
        .and_then(|text| Url::parse(text).ok());
    if let Some((found, wants)) = url.and_then(|url| hosts.refuses(&url)) {
        sitting.breach(&Breach {
            rule: destination.rule(),
            code: rules::POLICY_ALLOWS,
            path: path.clone(),
            found,
            wants,
            fix: "call one of them".to_owned(),
            snippet: None,
        });
    }
}

fn value_at<'a>(object: &'a Value, path: &FieldPath) -> Option<&'a Value> {
    use crate::model::violation::Segment;
    path.segments()
        .iter()
        .try_fold(object, |value, segment| match segment {
            Segment::Key(key) => value.get(key),
            Segment::Index(index) => value.get(index),
        })
}

const NULL: &Value = &Value::Null;

/// Judges by a rule in CEL.
fn expression(rule: &Rule, sitting: &mut Sitting<'_>, steps: &mut u64) {
    let review = sitting.review;
    let path = FieldPath::of(rule.field.trim_start_matches('.'));
    let Some(condition) = &rule.condition else {
        let slip = "the rule does not compile";
        return failed(rule, slip, None, path, sitting);
    };
    let looks = |variable| {
        let message = rule.message_expression.as_ref();
        condition.mentions(variable) || message.is_some_and(|message| message.mentions(variable))
    };
    if review.request.is_none() && (looks("request") || looks("oldObject")) {
        return;
    }
    if review.namespace_object.is_none() && looks("namespaceObject") {
        let found = format!("namespace {} is not known", review.namespace);
        return unchecked(sitting.judgement, sitting.policy, &rule.name, &found);
    }
    let facts = Facts {
        object: review.object,
        old_object: review.old.unwrap_or(NULL),
        namespace_object: review.namespace_object.unwrap_or(NULL),
        request: review.request.unwrap_or(NULL),
    };
    match condition.truth(&facts, steps) {
        Ok(true) => {}
        Ok(false) => {
            // A message that cannot be made is no reason to say nothing.
            let made = rule.message_expression.as_ref();
            let made = made.and_then(|message| message.text(&facts, steps).ok());
            let text = made.unwrap_or_else(|| rule.message.clone());
            sitting.breach(&Breach {
                rule: &rule.name,
                code: rules::POLICY_RULE,
                path,
                found: crate::model::notice::printable(&text),
                wants: String::new(),
                fix: String::new(),
                snippet: None,
            });
        }
        Err(slip) => {
            let snippet = condition.snippet(&slip);
            failed(rule, &slip.to_string(), Some(snippet), path, sitting);
        }
    }
}

/// A rule that gave no answer. Enforced, it refuses.
fn failed(rule: &Rule, why: &str, snippet: Option<String>, path: FieldPath, sitting: &mut Sitting<'_>) {
    sitting.breach(&Breach {
        rule: &rule.name,
        code: rules::POLICY_RULE_FAILED,
        path,
        found: format!("the rule could not be evaluated: {why}"),
        wants: "an answer".to_owned(),
        fix: "ask the policy's owners to mend the rule".to_owned(),
        snippet,
    });
}

/// What could not be judged is told, whatever the mode: it is not proven to be well.
fn unchecked(judgement: &mut Judgement, policy: &Policy, rule: &str, why: &str) {
    if policy.mode == Mode::Audit {
        return;
    }
    judgement.report.warnings.push(Violation {
        path: FieldPath::of("metadata.namespace"),
        code: rules::POLICY_UNCHECKED.code,
        found: format!("policy {:?} ({rule}) was not asked: {why}", policy.name),
        expected: rules::POLICY_UNCHECKED.fix.to_owned(),
        fix: String::new(),
        place: None,
        snippet: None,
    });
}

/// A broken rule.
pub(super) struct Breach<'a> {
    /// As exemptions and counters name it.
    pub(super) rule: &'a str,
    pub(super) code: rules::Rule,
    pub(super) path: FieldPath,
    pub(super) found: String,
    /// What the policy wants; empty when `found` says it all.
    pub(super) wants: String,
    /// How to get there; empty when nobody can know.
    pub(super) fix: String,
    pub(super) snippet: Option<String>,
}

/// One policy sitting over one object.
pub(super) struct Sitting<'a> {
    policy: &'a Policy,
    pub(super) review: &'a Review<'a>,
    now: Timestamp,
    judgement: &'a mut Judgement,
    /// Exemptions told already.
    told: BTreeSet<String>,
}

impl Sitting<'_> {
    /// Takes a breach down, as mode and exemptions ask.
    pub(super) fn breach(&mut self, breach: &Breach<'_>) {
        let policy = self.policy;
        let name = self.review.object["metadata"]["name"]
            .as_str()
            .unwrap_or_default();
        let spared = policy.spares(self.review.namespace, name, breach.rule, self.now);
        self.judgement.hits.push(Hit {
            policy: policy.name.clone(),
            mode: policy.mode,
            rule: breach.rule.to_owned(),
            exempt: matches!(spared, Spared::Until(_)),
        });
        let ended = match spared {
            Spared::Until(exemption) => {
                let told = self.told.insert(format!("{} {}", breach.rule, exemption.written));
                if policy.mode != Mode::Audit && told {
                    self.judgement.report.warnings.push(Violation {
                        path: breach.path.clone(),
                        code: rules::POLICY_EXEMPT.code,
                        found: format!(
                            "exempt from policy {:?} ({}) until {}",
                            policy.name, breach.rule, exemption.written
                        ),
                        expected: exemption.reason.clone(),
                        fix: String::new(),
                        place: None,
                        snippet: None,
                    });
                }
                return;
            }
            Spared::Before(exemption) => format!("the exemption ended on {}; ", exemption.written),
            Spared::No => String::new(),
        };
        let by = format!("policy {:?} ({})", policy.name, breach.rule);
        let expected = if breach.wants.is_empty() {
            format!("{by} says so")
        } else {
            format!("{by} wants {}", breach.wants)
        };
        let way_out = format!(
            "ask for an entry in spec.exemptions of CanaryPolicy {}",
            policy.name
        );
        let fix = if breach.fix.is_empty() {
            format!("{ended}{way_out}")
        } else {
            format!("{ended}{}, or {way_out}", breach.fix)
        };
        let violation = Violation {
            path: breach.path.clone(),
            code: breach.code.code,
            found: breach.found.clone(),
            expected,
            fix,
            place: None,
            snippet: breach.snippet.clone(),
        };
        match policy.mode {
            Mode::Enforce => self.judgement.report.violations.push(violation),
            Mode::Warn => self.judgement.report.warnings.push(violation),
            Mode::Audit => {}
        }
    }
}
