//! The same verdict offline: manifests in files, judged as admission judges them, with places in the YAML.
//!
//! Owns: reading objects out of files, their surroundings among those files, the place of each finding, and the four
//! forms of a report. Promises: what admission refuses is an error here, what it warns about is a warning; every
//! finding has a line and a column of the file. Never opens a file or a socket: the caller hands texts in.
//!
//! # What files can and cannot say
//!
//! Files are part of a cluster at most, so what they lack is no finding, with one exception: a reference to an object
//! that is missing while *another one of its kind and namespace lies in the same directory* is more likely misspelt
//! than applied elsewhere, and warns. Conflicts (two Canaries on one target, a foreign Service, a second autoscaler)
//! are looked for within one directory: two directories are often two clusters. An object defined in several places is
//! taken from the nearest one (file, directory, anywhere); when these differ, nothing is said that depends on it.

mod around;
mod collection;
mod locate;
mod report;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::convert;
use crate::manifest::Unreadable;
use crate::model::default;
use crate::model::parse::{Parsed, Settings};
use crate::model::rules;
use crate::model::subject::Subject;
use crate::model::surroundings::look_around;
use crate::model::violation::{FieldPath, Report, Violation, spelled_for};
use crate::policy::{self, Review, Set};

use collection::{Collection, Object};
pub use report::{github, json, sarif, text};

/// The largest file that is read, in bytes: a manifest in etcd is smaller than 1.5 MiB, a file may hold some.
pub const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Findings past this many in one file are counted and not shown.
const MAX_FINDINGS: usize = 1000;

/// A text to judge.
#[derive(Debug, Clone)]
pub struct File {
    /// How people call it: its path as it was given, or `-`.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// Whether it was named, and not come upon in a directory. What is come upon and neither readable nor about
    /// Flagger's kinds is passed over.
    pub named: bool,
    /// Whether the CanaryPolicies in it are obeyed. They are judged wherever they lie.
    pub obeyed: bool,
}

/// How to judge.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the process would decide; unknown fields are always reported.
    pub settings: Settings,
    /// `--selector-labels`; empty means the usual ones.
    pub selector_labels: Vec<String>,
    /// When exemptions of policies are looked at.
    pub now: Timestamp,
}

impl Default for Options {
    /// The settings of a process without flags, at the beginning of time: no exemption has ended.
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            selector_labels: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Admission refuses it.
    Error,
    /// Admission warns.
    Warning,
}

impl Level {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
        }
    }
}

/// A range of a file; lines and columns (in characters) from 1, the end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// First line.
    pub line: usize,
    /// Column on the first line.
    pub column: usize,
    /// Last line.
    pub end_line: usize,
    /// Column on the last line, one past the end.
    pub end_column: usize,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The name of the file.
    pub file: String,
    /// Which document of the file, from 1.
    pub document: usize,
    /// Kind of the object.
    pub kind: String,
    /// Namespace, when it is written.
    pub namespace: Option<String>,
    /// Name of the object; may be empty.
    pub name: String,
    /// How bad it is.
    pub level: Level,
    /// The rule.
    pub code: &'static str,
    /// The field, in the words of the file.
    pub path: String,
    /// `found; expected`.
    pub message: String,
    /// How to fix it; may be empty.
    pub fix: String,
    /// Where in the file.
    pub region: Region,
    /// The line of the file and carets beneath.
    pub snippet: String,
    /// Lines of another text that explain the finding: the query of a template.
    pub note: Option<String>,
}

/// A file, or a document of it, that could not be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unjudged {
    /// The name of the file.
    pub file: String,
    /// Line and column, when they are known.
    pub place: Option<(usize, usize)>,
    /// Why.
    pub message: String,
}

/// Everything that came out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Findings, in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// What could not be judged.
    pub unjudged: Vec<Unjudged>,
    /// How many objects of Flagger's kinds were judged.
    pub judged: usize,
    /// How many files that do not speak of Flagger's kinds were passed over because they cannot be read.
    pub passed_over: usize,
    /// How many findings are not shown, because one file has too many.
    pub hidden: usize,
}

impl Outcome {
    /// How many findings of a level.
    pub fn count(&self, level: Level) -> usize {
        self.diagnostics.iter().filter(|one| one.level == level).count()
    }
}

/// Judges files together.
pub fn lint(files: &[File], options: &Options) -> Outcome {
    let settings = Settings {
        unknown_fields: true,
        ..options.settings.clone()
    };
    let mut outcome = Outcome::default();
    let collection = Collection::read(files, &mut outcome);
    let court = Court::of(&collection, files, settings, options.now, &mut outcome);
    let judged: Vec<Judged> = collection
        .objects
        .iter()
        .map(|object| court.judge(object))
        .collect();
    let lines: Vec<_> = files.iter().map(|file| locate::Lines::of(&file.text)).collect();
    let mut shown: BTreeMap<usize, Vec<Diagnostic>> = BTreeMap::new();
    for (object, verdict) in collection.objects.iter().zip(&judged) {
        let Judged::Ours(parsed) = verdict else { continue };
        outcome.judged += 1;
        let mut report = parsed.report.clone();
        if let Some(canary) = parsed.legible() {
            let surroundings = around::surroundings(canary, object, &collection, &judged, options);
            let seen = look_around(canary, &surroundings);
            report.merge(around::offline(seen, canary, object, &collection));
        }
        let Report { violations, warnings } = report;
        let found = violations
            .iter()
            .map(|one| (Level::Error, one))
            .chain(warnings.iter().map(|one| (Level::Warning, one)))
            .map(|(level, violation)| diagnostic(level, violation, object, &collection, files, &lines));
        shown.entry(object.file).or_default().extend(found);
    }
    for diagnostics in shown.values_mut() {
        diagnostics.sort_by_key(|one| (one.region, one.level));
        outcome.hidden += diagnostics.len().saturating_sub(MAX_FINDINGS);
        diagnostics.truncate(MAX_FINDINGS);
    }
    outcome.diagnostics = shown.into_values().flatten().collect();
    outcome
}

/// What became of an object.
enum Judged {
    /// A kind of ours.
    Ours(Box<Parsed>),
    /// Something that may lie around one of ours.
    Other,
}

/// Who judges objects by themselves: rules, and the policies that are obeyed.
struct Court<'a> {
    settings: Settings,
    policies: Set,
    collection: &'a Collection,
    now: Timestamp,
}

impl<'a> Court<'a> {
    fn of(
        collection: &'a Collection,
        files: &[File],
        settings: Settings,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Self {
        let mut policies = Vec::new();
        for (index, file) in files.iter().enumerate().filter(|(_, file)| file.obeyed) {
            let before = policies.len();
            let objects = collection.objects.iter().filter(|object| object.file == index);
            policies.extend(
                objects
                    .filter(|object| is_policy(object))
                    .map(|object| Value::clone(&object.value)),
            );
            if policies.len() == before && !outcome.unjudged.iter().any(|one| one.file == file.name) {
                outcome.unjudged.push(Unjudged {
                    file: file.name.clone(),
                    place: None,
                    message:
                        "holds no CanaryPolicy of verdigris.dev/v1alpha1; name a file that does with --policy"
                            .to_owned(),
                });
            }
        }
        Self {
            settings,
            policies: Set::lenient(&policies),
            collection,
            now,
        }
    }

    /// What the policies say of an object that the rules have read; their defaults are in it.
    fn ask_policies(&self, object: &Object, subject: Subject) -> Parsed {
        let namespace = namespace_of(&object.value);
        let namespace_object = self
            .collection
            .nearest(object, "Namespace", "default", namespace)
            .map(|namespace| namespace.value.as_ref());
        let version = object.text("apiVersion").rsplit('/').next();
        let provider = self.settings.provider.as_str();
        let review = |object| Review {
            version,
            ..Review::of(object, namespace, namespace_object, provider)
        };
        let is_canary = subject == Subject::Canary;
        let written = if is_canary {
            policy::defaulted(&self.policies, &review(&object.value))
        } else {
            Cow::Borrowed(object.value.as_ref())
        };
        let mut parsed = subject.judge(&written, &self.settings);
        let mut plain = convert::respelled(written.into_owned());
        if is_canary {
            let operations = default::patch(&plain);
            // Every parent is there and is an object: the operations were made from it.
            let _ = json_patch::patch(&mut plain, &operations);
        }
        parsed
            .report
            .merge(policy::judge(&self.policies, &review(&plain), self.now).report);
        parsed
    }

    fn judge(&self, object: &Object) -> Judged {
        if is_policy(object) {
            let report = policy::validate(&object.value, self.now);
            return Judged::Ours(Box::new(report.into()));
        }
        let Some(version) = object.text("apiVersion").strip_prefix("flagger.app/") else {
            return Judged::Other;
        };
        let refused = |violation| {
            let report = Report {
                violations: vec![violation],
                warnings: Vec::new(),
            };
            Judged::Ours(Box::new(report.into()))
        };
        let Some(subject) = Subject::of(object.text("kind")) else {
            return refused(unknown_word(
                "kind",
                object.text("kind"),
                "expected Canary, MetricTemplate or AlertProvider",
                "correct the kind",
            ));
        };
        if !subject.versions().contains(&version) {
            let listed: Vec<String> = subject
                .versions()
                .iter()
                .map(|version| format!("flagger.app/{version}"))
                .collect();
            return refused(unknown_word(
                "apiVersion",
                object.text("apiVersion"),
                &format!("expected {}", listed.join(" or ")),
                match (subject, version) {
                    (Subject::Canary, "v1alpha1" | "v1alpha2") => {
                        "run verdigris convert --in-place on the file"
                    }
                    _ => "write flagger.app/v1beta1",
                },
            ));
        }
        Judged::Ours(Box::new(if self.policies.is_empty() {
            subject.judge(&object.value, &self.settings)
        } else {
            self.ask_policies(object, subject)
        }))
    }
}

fn is_policy(object: &Object) -> bool {
    object.text("kind") == "CanaryPolicy" && object.text("apiVersion").starts_with("verdigris.dev/")
}

fn unknown_word(path: &str, found: &str, expected: &str, fix: &str) -> Violation {
    Violation {
        path: FieldPath::of(path),
        code: rules::UNKNOWN_VALUE.code,
        found: format!("{found:?} is not known here"),
        expected: expected.to_owned(),
        fix: fix.to_owned(),
        place: None,
        snippet: None,
    }
}

fn diagnostic(
    level: Level,
    violation: &Violation,
    object: &Object,
    collection: &Collection,
    files: &[File],
    lines: &[locate::Lines],
) -> Diagnostic {
    let file = &files[object.file];
    let path = spelled_for(&violation.path, object.text("apiVersion"), &object.value);
    let document = &collection.documents[object.document];
    let span = locate::locate(&file.text, document, object.item, &path, violation);
    let message = [&violation.found, &violation.expected]
        .into_iter()
        .filter(|part| !part.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    let metadata = |key: &str| object.value["metadata"][key].as_str();
    Diagnostic {
        file: file.name.clone(),
        document: object.number,
        kind: object.text("kind").to_owned(),
        namespace: metadata("namespace").map(str::to_owned),
        name: metadata("name").unwrap_or_default().to_owned(),
        level,
        code: violation.code.0,
        path: path.to_string(),
        message,
        fix: violation.fix.clone(),
        region: lines[object.file].region(&file.text, span),
        snippet: locate::snippet(&file.text, span),
        note: violation.snippet.clone().filter(|_| violation.place.is_none()),
    }
}

impl Unjudged {
    fn of(file: &File, error: Unreadable) -> Self {
        Self {
            file: file.name.clone(),
            place: Some((error.line, error.column)),
            message: error.problem,
        }
    }
}

/// The namespace an object is in; what is not written is `default`, as for the API server.
fn namespace_of(value: &Value) -> &str {
    value["metadata"]["namespace"]
        .as_str()
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or("default")
}

#[cfg(test)]
mod tests;
