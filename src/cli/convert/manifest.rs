//! A manifest in, a manifest out: which documents are converted, how their text changes, and what is said about it.

use serde_json::Value;

use super::drift;
use super::text::{Edits, print};
use crate::api::convert::{STASH_ANNOTATION, Stash, convert_noting};
use crate::api::{v1alpha3, v1beta1};
use crate::manifest::{Document, Node, documents, read};

/// Says what is wrong with a PromQL query, if anything is.
pub type Judge<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How documents are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// YAML documents.
    Yaml,
    /// JSON values, one after the other.
    Json,
}

/// A converted manifest.
#[derive(Debug, Default)]
pub(super) struct Converted {
    /// The text in the form it came in: only what changed is changed.
    pub(super) text: String,
    /// The documents, for printing in another form.
    pub(super) documents: Vec<Value>,
    /// True when anything was converted.
    pub(super) changed: bool,
    /// Objects whose text could not be edited in place and was printed anew, without its comments.
    pub(super) reprinted: Vec<String>,
    /// What was changed, and what changed its meaning; for people.
    pub(super) notes: Vec<String>,
    /// Objects that could not be converted.
    pub(super) errors: Vec<String>,
}

/// Converts every Canary of a manifest to `to`; everything else passes.
///
/// # Errors
/// The text is not YAML; the message says where.
pub(super) fn manifest(text: &str, to: &str, judge: Judge) -> Result<Converted, String> {
    let mut out = Converted::default();
    let mut edits = Edits::default();
    for document in documents(text).map_err(|error| error.to_string())? {
        if document.root.is_none() {
            continue;
        }
        let before = read(text, document.region.clone()).map_err(|error| error.to_string())?;
        let (after, edit) = convert_document(text, &document, &before, to, judge, &mut out);
        edits.append(edit);
        out.documents.push(after);
    }
    out.changed = !edits.is_empty();
    out.text = edits.applied(text, 0..text.len());
    Ok(out)
}

/// Converts one document and finds the edits that do the same to its text.
fn convert_document(
    text: &str,
    document: &Document,
    before: &Value,
    to: &str,
    judge: Judge,
    out: &mut Converted,
) -> (Value, Edits) {
    let mut after = before.clone();
    let mut edits = Edits::default();
    let mut plain = true;
    let mut names = Vec::new();
    for path in targets(before) {
        let (Some(object), Some(place)) = (before.pointer(&path), after.pointer_mut(&path)) else {
            continue;
        };
        let name = name(object);
        match convert_noting(object.clone(), to) {
            Ok((converted, _)) if converted == *object => {
                warn_of_queries(&name, &converted, judge, out);
            }
            Ok((converted, stash)) => {
                let edit = document.root.as_ref().and_then(|root| {
                    let node = descend(root, &path)?;
                    edits_of(text, node, object, &converted)
                });
                match edit {
                    Some(edit) => edits.append(edit),
                    None => plain = false,
                }
                describe(&name, object, &converted, stash, out);
                warn_of_queries(&name, &converted, judge, out);
                names.push(name);
                *place = converted;
            }
            Err(error) => out.errors.push(error.to_string()),
        }
    }
    if names.is_empty() {
        return (after, edits);
    }
    let region = document.region.clone();
    let edited = edits.applied(text, region.clone());
    if plain && read(&edited, 0..edited.len()).is_ok_and(|value| value == after) {
        return (after, edits);
    }
    let json = text[region.clone()].trim_start().starts_with(['{', '[']);
    let mut printed = print(&after, json);
    if !text[..region.start].is_empty() && !text[..region.start].ends_with('\n') {
        printed.insert(0, '\n');
    }
    let mut whole = Edits::default();
    whole.replace(region, printed);
    out.reprinted.extend(names);
    (after, whole)
}

/// JSON pointers to the Canaries (and their companions) of a document; a `List` holds several.
fn targets(document: &Value) -> Vec<String> {
    let ours = |object: &Value| {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        // Templates and alert providers have one version.
        version.starts_with("flagger.app/") && kind == "Canary"
    };
    if ours(document) {
        return vec![String::new()];
    }
    if document["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"))
    {
        let items = document["items"].as_array().into_iter().flatten().enumerate();
        return items
            .filter(|(_, item)| ours(item))
            .map(|(index, _)| format!("/items/{index}"))
            .collect();
    }
    Vec::new()
}

/// The node at a pointer made by [`targets`].
fn descend<'a>(root: &'a Node, path: &str) -> Option<&'a Node> {
    match path.strip_prefix("/items/") {
        Some(index) => root.get("items")?.at(index.parse().ok()?),
        None => Some(root),
    }
}

/// The edits that turn the text of `before` into `after`; `None` when it takes more than rewording keys.
fn edits_of(text: &str, node: &Node, before: &Value, after: &Value) -> Option<Edits> {
    let mut edits = Edits::default();
    let version = |object: &Value| object["apiVersion"].as_str().map(str::to_owned);
    edits.reword(text, node.get("apiVersion")?, &version(before)?, &version(after)?)?;
    let Some(spec) = node.get("spec") else {
        return Some(edits);
    };
    let keys = ["canaryAnalysis", "analysis"];
    let key_of = |object: &Value| keys.into_iter().find(|key| object["spec"].get(key).is_some());
    let (Some(old), Some(new)) = (key_of(before), key_of(after)) else {
        return Some(edits);
    };
    let (key, analysis) = spec.member(old)?;
    if old != new {
        edits.reword(text, key, old, new)?;
    }
    let metrics = |object: &Value, key: &str| {
        object["spec"][key]["metrics"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    for (index, (old, new)) in metrics(before, old).iter().zip(&metrics(after, new)).enumerate() {
        if old == new {
            continue;
        }
        let metric = analysis.get("metrics")?.at(index)?;
        match (side(old), side(new)) {
            (None, Some(side)) => edits.widen(text, metric, side)?,
            (Some(side), None) => edits.narrow(text, metric, side)?,
            (None, None) | (Some(_), Some(_)) => return None,
        }
    }
    Some(edits)
}

/// The one side of a metric's range.
fn side(metric: &Value) -> Option<&'static str> {
    let range = metric["thresholdRange"].as_object()?;
    ["min", "max"].into_iter().find(|side| range.contains_key(*side))
}

/// Says what was changed and what changed its meaning.
fn describe(name: &str, before: &Value, after: &Value, stash: Stash, out: &mut Converted) {
    let mut say = |text: String| out.notes.push(format!("{name}: {text}"));
    let text = |object: &Value| object["apiVersion"].as_str().unwrap_or_default().to_owned();
    say(format!("{} is now {}", text(before), text(after)));
    let has = |object: &Value, key: &str| object["spec"].get(key).is_some();
    let (old, new) = match (has(before, "canaryAnalysis"), has(after, "canaryAnalysis")) {
        (true, false) => ("canaryAnalysis", "analysis"),
        (false, true) => ("analysis", "canaryAnalysis"),
        (true, true) => ("canaryAnalysis", "canaryAnalysis"),
        (false, false) => ("analysis", "analysis"),
    };
    if old != new {
        say(format!("spec.{old} is now spec.{new}"));
    }
    let metrics = |object: &Value, key: &str| {
        object["spec"][key]["metrics"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    for (index, (before, after)) in metrics(before, old).iter().zip(&metrics(after, new)).enumerate() {
        let bound = |metric: &Value| {
            ["threshold", "thresholdRange"]
                .into_iter()
                .filter_map(|key| {
                    metric
                        .get(key)
                        .map(|value| format!("{key} {}", value.to_string().replace('"', "")))
                })
                .collect::<Vec<_>>()
                .join(", ")
        };
        if bound(before) != bound(after) {
            say(format!(
                "spec.{new}.metrics[{index}]: {} is now {}",
                bound(before),
                bound(after)
            ));
        }
    }
    match stash {
        Stash::Empty => {}
        Stash::Attached => say(format!(
            "what {} cannot say is kept in the annotation {STASH_ANNOTATION}: {}",
            text(after),
            stashed(after).join(", ")
        )),
        Stash::TooLarge => say(format!(
            "what {} cannot say is lost: it is too large for an annotation",
            text(after)
        )),
    }
    if text(after) == v1beta1::API_VERSION {
        for note in drift::drift(after) {
            say(format!("note: {note}"));
        }
    } else if text(after) == v1alpha3::API_VERSION {
        for (index, metric) in metrics(after, new).iter().enumerate() {
            if metric.get("thresholdRange").is_some() {
                say(format!(
                    "note: spec.{new}.metrics[{index}].thresholdRange: programs that read v1alpha3 see no threshold here"
                ));
            }
        }
    }
}

/// The paths a stash annotation holds.
fn stashed(object: &Value) -> Vec<String> {
    let annotation = object["metadata"]["annotations"].get(STASH_ANNOTATION);
    let held: Value = annotation
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut paths: Vec<String> = held["e"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            let mut path = String::new();
            for step in entry["p"].as_array().into_iter().flatten() {
                match step.as_str() {
                    Some(key) if path.is_empty() => path.push_str(key),
                    Some(key) => path.extend([".", key]),
                    None => path.extend(["[", &step.to_string(), "]"]),
                }
            }
            path
        })
        .collect();
    paths.dedup();
    paths
}

fn warn_of_queries(name: &str, object: &Value, judge: Judge, out: &mut Converted) {
    let key = if object["spec"].get("canaryAnalysis").is_some() {
        "canaryAnalysis"
    } else {
        "analysis"
    };
    for (path, query) in drift::queries(&object["spec"][key], key) {
        if let Some(problem) = judge(query) {
            out.notes.push(format!("{name}: warning: {path}: {problem}"));
        }
    }
}

/// `Canary test/podinfo`.
fn name(object: &Value) -> String {
    let metadata = |key: &str| object["metadata"][key].as_str();
    let name = metadata("name").unwrap_or("without a name");
    match metadata("namespace") {
        Some(namespace) => format!("Canary {namespace}/{name}"),
        None => format!("Canary {name}"),
    }
}
