//! The stash: what one version cannot say, kept in an annotation of the other.
//!
//! I own the annotation's text, which parts of an object go into it, and when they may come out again. Each entry
//! carries a guard: a digest of the place in the other version it belongs to. When somebody has edited that place
//! the entry is void and the core rules speak alone. An annotation that is not ours stays as it is.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{Shape, Stash, prune};

/// The key of the annotation.
pub const ANNOTATION: &str = "flagger.app/conversion-stash";

/// Longest text of the annotation in bytes; the API server allows 256 KiB for all annotations together.
const LIMIT: usize = 200 * 1024;
/// The API server's limit for all keys and values together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;
/// Longest path of an entry we accept; our schema is not half as deep.
const PATH_LIMIT: usize = 32;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Step {
    /// A key of an object.
    Key(String),
    /// An index of a list.
    Index(usize),
}

/// The annotation. Fields are in alphabetical order: the text is canonical JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    /// What `metadata.annotations` was, when it was there and no object.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    an: Option<Value>,
    /// What was lost, in the order it is given back.
    e: Vec<Entry>,
    /// What somebody else kept under the annotation's key.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    k: Option<Value>,
    /// True when there was no `metadata.annotations`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    na: bool,
    /// The version the parts belong to.
    of: String,
    /// Version of this format: 1.
    v: u8,
}

/// One part that was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Digest of what stands at `u`; `-` when nothing does.
    g: String,
    /// The value; absent when there was none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    o: Option<Value>,
    /// Its place in the version it belongs to.
    p: Vec<Step>,
    /// The place in the other version that must not have changed.
    u: Vec<Step>,
}

/// Tells `null` from absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// True when the key of the annotation is in use, by us or by somebody else.
pub(super) fn is_present(object: &Map<String, Value>) -> bool {
    annotations(object).is_some_and(|annotations| annotations.contains_key(ANNOTATION))
}

fn annotations(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("annotations")?.as_object()
}

fn parse(text: &Value) -> Option<Held> {
    let text = text.as_str().filter(|text| text.len() <= ANNOTATIONS_LIMIT)?;
    let held: Held = serde_json::from_str(text).ok()?;
    (held.v == 1).then_some(held)
}

/// Takes the annotation off an object when it holds parts of `target`, and puts back what stood in its place.
pub(super) fn take(object: &mut Map<String, Value>, target: Shape) -> Option<Held> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let mut held = parse(annotations.get(ANNOTATION)?).filter(|held| held.of == target.api_version())?;
    match held.k.take() {
        Some(theirs) => {
            annotations.insert(ANNOTATION.to_owned(), theirs);
        }
        None => {
            annotations.shift_remove(ANNOTATION);
        }
    }
    if annotations.is_empty() {
        if let Some(theirs) = held.an.take() {
            metadata.insert("annotations".to_owned(), theirs);
        } else if held.na {
            metadata.shift_remove("annotations");
        }
    }
    Some(held)
}

/// Gives back what `held` holds to `object` (of the shape other than `source`), entry by entry, where the guard in
/// `source_object` still stands.
pub(super) fn restore(
    held: &Held,
    source_object: &Map<String, Value>,
    object: &mut Map<String, Value>,
    source: Shape,
) {
    let mut seen = Digests::default();
    for entry in &held.e {
        if let Some(path) = seen.place(entry, source_object, source) {
            write(object, &path, entry.o.as_ref());
        }
    }
}

/// Digests of list elements already computed, by list.
#[derive(Default)]
struct Digests(Vec<(Vec<Step>, Vec<String>)>);

impl Digests {
    /// Where an entry belongs now: its path, with the list index of the guarded element if that moved; `None` when
    /// the guard does not hold, or the path is none an entry may have.
    fn place(
        &mut self,
        entry: &Entry,
        source_object: &Map<String, Value>,
        source: Shape,
    ) -> Option<Vec<Step>> {
        let Some(Step::Key(first)) = entry.p.first() else {
            return None;
        };
        if matches!(first.as_str(), "apiVersion" | "kind" | "metadata")
            || entry.p.len() > PATH_LIMIT
            || entry.u.len() > PATH_LIMIT
        {
            return None;
        }
        if guard(source_object, &entry.u, source) == entry.g {
            return Some(entry.p.clone());
        }
        let Some((Step::Index(_), list)) = entry.u.split_last() else {
            return None;
        };
        let place = list.len();
        if !matches!(entry.p.get(place), Some(Step::Index(_))) {
            return None;
        }
        let elements = self.elements(list, source_object, source)?;
        let mut same = elements
            .iter()
            .enumerate()
            .filter(|(_, digest)| **digest == entry.g);
        let (Some((index, _)), None) = (same.next(), same.next()) else {
            return None;
        };
        let mut path = entry.p.clone();
        path[place] = Step::Index(index);
        Some(path)
    }

    fn elements(
        &mut self,
        list: &[Step],
        source_object: &Map<String, Value>,
        source: Shape,
    ) -> Option<&[String]> {
        if let Some(known) = self.0.iter().position(|(path, _)| path == list) {
            return Some(&self.0[known].1);
        }
        let items = read(source_object, list)?.as_array()?;
        let mut path = list.to_vec();
        let mut digests = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            path.push(Step::Index(index));
            digests.push(digest(item, &path, source));
            path.pop();
        }
        self.0.push((list.to_vec(), digests));
        self.0.last().map(|(_, digests)| digests.as_slice())
    }
}

/// What has to be kept so that `back` (the object after going over and returning) becomes `source_object`.
pub(super) fn entries(
    source_object: &Map<String, Value>,
    back: &Map<String, Value>,
    object: &Map<String, Value>,
    source: Shape,
) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut path = Vec::new();
    let governed = |key: &str| !matches!(key, "apiVersion" | "kind" | "metadata");
    differences(source_object, back, &governed, &mut path, &mut found);
    // The order of keys must not show in the annotation.
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let mut guards: Vec<(Vec<Step>, String)> = Vec::new();
    found
        .into_iter()
        .map(|(p, o)| {
            let u = guarded(&p, source);
            let known = guards.iter().rev().find(|(path, _)| *path == u);
            let g = if let Some((_, digest)) = known {
                digest.clone()
            } else {
                let digest = guard(object, &u, source.other());
                guards.push((u.clone(), digest.clone()));
                digest
            };
            Entry { g, o, p, u }
        })
        .collect()
}

/// A place, and the value that belongs there (`None`: nothing does).
type Difference = (Vec<Step>, Option<Value>);

fn differences(
    wanted: &Map<String, Value>,
    found: &Map<String, Value>,
    governed: &dyn Fn(&str) -> bool,
    path: &mut Vec<Step>,
    out: &mut Vec<Difference>,
) {
    for (key, value) in wanted.iter().filter(|(key, _)| governed(key)) {
        path.push(Step::Key(key.clone()));
        match found.get(key) {
            Some(found) => difference(value, found, path, out),
            None => out.push((path.clone(), Some(value.clone()))),
        }
        path.pop();
    }
    for key in found
        .keys()
        .filter(|key| governed(key) && !wanted.contains_key(*key))
    {
        path.push(Step::Key(key.clone()));
        out.push((path.clone(), None));
        path.pop();
    }
}

fn difference(wanted: &Value, found: &Value, path: &mut Vec<Step>, out: &mut Vec<Difference>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => differences(wanted, found, &|_| true, path, out),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                path.push(Step::Index(index));
                difference(wanted, found, path, out);
                path.pop();
            }
        }
        (wanted, found) if wanted == found => {}
        (wanted, _) => out.push((path.clone(), Some(wanted.clone()))),
    }
}

/// The place in the other version that guards `path` of `source`'s version: the same path under the other name of
/// the analysis, cut after its first list index, so that an element is guarded as a whole.
fn guarded(path: &[Step], source: Shape) -> Vec<Step> {
    let end = path
        .iter()
        .position(|step| matches!(step, Step::Index(_)))
        .map_or(path.len(), |index| index + 1);
    let mut place = path[..end].to_vec();
    let (from, to) = match source {
        Shape::Alpha => ("canaryAnalysis", "analysis"),
        Shape::Beta => ("analysis", "canaryAnalysis"),
    };
    if let [Step::Key(spec), Step::Key(key), ..] = place.as_mut_slice()
        && spec == "spec"
        && key == from
    {
        to.clone_into(key);
    }
    place
}

/// Attaches a stash of `entries` (of `source`'s version) to an object of the other version, if it needs one.
pub(super) fn attach(object: &mut Map<String, Value>, entries: Vec<Entry>, source: Shape) -> Stash {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return Stash::Empty;
    };
    let theirs = metadata
        .get("annotations")
        .and_then(|annotations| annotations.get(ANNOTATION))
        .cloned();
    // Somebody else's text is left alone, unless it would be taken for ours on the way back.
    let mistaken = theirs
        .as_ref()
        .and_then(parse)
        .is_some_and(|held| held.of == source.api_version());
    if entries.is_empty() && !mistaken {
        return Stash::Empty;
    }
    let mut held = Held {
        an: None,
        e: entries,
        k: theirs,
        na: false,
        of: source.api_version().to_owned(),
        v: 1,
    };
    let used = match metadata.get("annotations") {
        Some(Value::Object(annotations)) => annotations
            .iter()
            .filter(|(key, _)| *key != ANNOTATION)
            .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
            .sum(),
        Some(other) => {
            held.an = Some(other.clone());
            0
        }
        None => {
            held.na = true;
            0
        }
    };
    let mut text = String::new();
    if let Ok(value) = serde_json::to_value(&held) {
        canonical(&value, Numbers::AsWritten, &mut text);
    }
    if text.len() > LIMIT || used + ANNOTATION.len() + text.len() > ANNOTATIONS_LIMIT {
        return Stash::TooLarge;
    }
    if !matches!(metadata.get("annotations"), Some(Value::Object(_))) {
        metadata.insert("annotations".to_owned(), Value::Object(Map::new()));
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.insert(ANNOTATION.to_owned(), Value::String(text));
    }
    Stash::Attached
}

fn read<'a>(object: &'a Map<String, Value>, path: &[Step]) -> Option<&'a Value> {
    let (Step::Key(first), rest) = path.split_first()? else {
        return None;
    };
    rest.iter()
        .try_fold(object.get(first)?, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })
}

/// Writes (or with `None` deletes) the value at `path`, if its parent is there.
fn write(object: &mut Map<String, Value>, path: &[Step], value: Option<&Value>) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut steps = parents.iter();
    let mut parent = match steps.next() {
        None => {
            if let Step::Key(key) = last {
                set(object, key, value);
            }
            return;
        }
        Some(Step::Key(key)) => object.get_mut(key),
        Some(Step::Index(_)) => None,
    };
    for step in steps {
        parent = parent.and_then(|value| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(index),
        });
    }
    match (parent, last) {
        (Some(Value::Object(map)), Step::Key(key)) => set(map, key, value),
        (Some(Value::Array(items)), Step::Index(index)) => {
            if let (Some(item), Some(value)) = (items.get_mut(*index), value) {
                *item = value.clone();
            }
        }
        (Some(_) | None, Step::Key(_) | Step::Index(_)) => {}
    }
}

fn set(map: &mut Map<String, Value>, key: &str, value: Option<&Value>) {
    match value {
        Some(value) => {
            map.insert(key.to_owned(), value.clone());
        }
        None => {
            map.shift_remove(key);
        }
    }
}

/// The digest of what stands at `path`; `-` when nothing does.
fn guard(object: &Map<String, Value>, path: &[Step], shape: Shape) -> String {
    read(object, path).map_or_else(|| "-".to_owned(), |value| digest(value, path, shape))
}

/// The first 16 hex digits of the SHA-256 of a value's canonical JSON.
///
/// Schema defaults count as written and 99.0 counts as 99, because the API server writes them so between the hops.
fn digest(value: &Value, path: &[Step], shape: Shape) -> String {
    let mut value = value.clone();
    prune::fill_defaults(&mut value, path, shape);
    let mut text = String::new();
    canonical(&value, Numbers::ByValue, &mut text);
    let mut out = String::with_capacity(16);
    for byte in Sha256::digest(text.as_bytes()).iter().take(8) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// How canonical JSON writes numbers.
#[derive(Clone, Copy)]
enum Numbers {
    /// As they are: 99.0 stays a float.
    AsWritten,
    /// Whole numbers without a fraction, so that 99.0 equals 99.
    ByValue,
}

/// Writes canonical JSON: keys sorted, no spaces.
fn canonical(value: &Value, numbers: Numbers, out: &mut String) {
    match (value, numbers) {
        (Value::Object(map), _) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (position, (key, member)) in members.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                quote(key, out);
                out.push(':');
                canonical(member, numbers, out);
            }
            out.push('}');
        }
        (Value::Array(items), _) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                canonical(item, numbers, out);
            }
            out.push(']');
        }
        (Value::String(text), _) => quote(text, out),
        (Value::Number(number), Numbers::ByValue) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => {
                let _ = write!(out, "{whole}");
            }
            // Beyond 2^63 the API server knows floats only.
            (None, Some(float)) => {
                let _ = write!(out, "{}", if float == 0.0 { 0.0 } else { float });
            }
            (None, None) => {
                let _ = write!(out, "{number}");
            }
        },
        (Value::Null | Value::Bool(_) | Value::Number(_), _) => {
            let _ = write!(out, "{value}");
        }
    }
}

fn quote(text: &str, out: &mut String) {
    // Printing a string cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
