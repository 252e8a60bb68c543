//! Conversion between the versions of Flagger's kinds, on plain JSON.
//!
//! I own the rename of `canaryAnalysis`, the swap of a metric's bound, the prune to v1beta1's schema and the stash
//! annotation that carries what one version cannot say. I promise to be total, pure and deterministic: any object
//! goes over, comes back as it was, and an edit in between is kept. I never default, validate or repair, and I never
//! go through typed structs (they drop unknown keys and turn absent into zero).

mod metric;
mod prune;
mod review;
mod stash;

use std::fmt;

use serde_json::{Map, Value};

pub use review::{Reviewed, review, review_bytes};
pub use stash::ANNOTATION as STASH_ANNOTATION;

use super::{v1alpha3, v1beta1};

/// The API group of Flagger's kinds.
pub const GROUP: &str = "flagger.app";

/// Why an object was not converted. The message names the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct ConvertError {
    /// Kind, namespace and name of the object, as far as it has them.
    pub object: String,
    /// What stood in the way.
    pub problem: Problem,
}

/// What stands in the way of a conversion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The object is not a JSON object.
    #[error("found {0} where an object is expected; send a Kubernetes object")]
    NotAnObject(&'static str),
    /// `apiVersion` is absent, or not a version of a kind of Flagger's.
    #[error("apiVersion: found {0}; expected a version of the group flagger.app; correct the manifest")]
    SourceVersion(String),
    /// `kind` is absent, or not one of Flagger's.
    #[error("kind: found {0}; expected Canary, MetricTemplate or AlertProvider; correct the manifest")]
    Kind(String),
    /// The wanted version does not exist for this kind.
    #[error("{0} does not exist for this kind; expected {1}; ask for one of these")]
    TargetVersion(String, &'static str),
}

/// What became of the parts of an object that the wanted version cannot say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stash {
    /// The wanted version says everything.
    Empty,
    /// They are in the annotation [`STASH_ANNOTATION`].
    Attached,
    /// They are lost: the annotation would have been too large for the API server.
    TooLarge,
}

/// The shapes a Canary has had. v1alpha1 and v1alpha2 are subsets of v1alpha3 and differ in the label only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `spec.canaryAnalysis`, open schema.
    Alpha,
    /// `spec.analysis`, closed schema.
    Beta,
}

impl Shape {
    /// The shape of a Canary version.
    fn of(api_version: &str) -> Option<Shape> {
        match api_version {
            v1beta1::API_VERSION => Some(Shape::Beta),
            v1alpha3::API_VERSION | "flagger.app/v1alpha2" | "flagger.app/v1alpha1" => Some(Shape::Alpha),
            _ => None,
        }
    }

    /// The other shape.
    fn other(self) -> Shape {
        match self {
            Shape::Alpha => Shape::Beta,
            Shape::Beta => Shape::Alpha,
        }
    }

    /// The version the stash names for this shape.
    fn api_version(self) -> &'static str {
        match self {
            Shape::Alpha => v1alpha3::API_VERSION,
            Shape::Beta => v1beta1::API_VERSION,
        }
    }
}

/// Converts an object to `to` (`flagger.app/v1beta1`); see [`convert_noting`].
pub fn convert(object: Value, to: &str) -> Result<Value, ConvertError> {
    convert_noting(object, to).map(|(converted, _)| converted)
}

/// Converts an object to `to` and says what became of the parts that version cannot say.
///
/// The answer always has a `metadata` object (the API server demands it); everything else in metadata but the stash
/// annotation is as it was. An object already at `to` comes back unchanged.
///
/// # Errors
/// The object is no Kubernetes object of Flagger's, or `to` is no version of its kind. Nothing inside `spec` or
/// `status` is ever a reason.
pub fn convert_noting(object: Value, to: &str) -> Result<(Value, Stash), ConvertError> {
    let Value::Object(mut object) = object else {
        return Err(ConvertError {
            object: "object".to_owned(),
            problem: Problem::NotAnObject(type_name(&object)),
        });
    };
    let (source, target) = match shapes(&object, to) {
        Ok(shapes) => shapes,
        Err(problem) => {
            return Err(ConvertError {
                object: label(&object),
                problem,
            });
        }
    };
    if object.get("apiVersion").and_then(Value::as_str) == Some(to) {
        return Ok((Value::Object(object), Stash::Empty));
    }
    object.insert("apiVersion".to_owned(), Value::String(to.to_owned()));
    if !matches!(object.get("metadata"), Some(Value::Object(_))) {
        object.insert("metadata".to_owned(), Value::Object(Map::new()));
    }
    if source == target {
        return Ok((Value::Object(object), Stash::Empty));
    }
    if !stash::is_present(&object) && is_lossless(&object, source) {
        rename(&mut object, source);
        return Ok((Value::Object(object), Stash::Empty));
    }
    let (object, note) = convert_with_stash(object, source);
    Ok((Value::Object(object), note))
}

/// A Canary in the words of v1beta1, with everything in it: what [`convert`] would prune or keep aside stays where
/// its author put it, so that it can be judged. Anything but a Canary of an older version comes back as it is.
pub fn respelled(mut object: Value) -> Value {
    let version = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if Shape::of(version) == Some(Shape::Alpha)
        && let Some(map) = object.as_object_mut()
    {
        map.insert(
            "apiVersion".to_owned(),
            Value::String(v1beta1::API_VERSION.to_owned()),
        );
        rename(map, Shape::Alpha);
    }
    object
}

/// The shapes an object has and is wanted in; equal when only the label changes.
fn shapes(object: &Map<String, Value>, to: &str) -> Result<(Shape, Shape), Problem> {
    let found = |key| object.get(key).map_or_else(|| "nothing".to_owned(), shown);
    let from = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match object.get("kind").and_then(Value::as_str) {
        Some("Canary") => {
            let source = Shape::of(from).ok_or_else(|| Problem::SourceVersion(found("apiVersion")))?;
            let target = Shape::of(to).ok_or_else(|| {
                Problem::TargetVersion(to.to_owned(), "flagger.app/v1beta1 or flagger.app/v1alpha3")
            })?;
            Ok((source, target))
        }
        // One shape under two labels: v1alpha1 was served beside v1beta1 by Flagger 1.0 to 1.5.
        Some("MetricTemplate" | "AlertProvider") => {
            let known = |version: &str| matches!(version, v1beta1::API_VERSION | "flagger.app/v1alpha1");
            if !known(from) {
                return Err(Problem::SourceVersion(found("apiVersion")));
            }
            if !known(to) {
                return Err(Problem::TargetVersion(to.to_owned(), "flagger.app/v1beta1"));
            }
            Ok((Shape::Beta, Shape::Beta))
        }
        _ => Err(Problem::Kind(found("kind"))),
    }
}

/// True when the core rules alone bring the object over and back, so nothing needs the stash.
fn is_lossless(object: &Map<String, Value>, source: Shape) -> bool {
    let spec = object.get("spec");
    let analysis = |key| spec.and_then(|spec| spec.get(key));
    match source {
        Shape::Alpha => {
            analysis("analysis").is_none()
                && analysis("canaryAnalysis")
                    .is_none_or(|analysis| !analysis.is_null() && metric::all_return(analysis, source))
                && prune::is_clean(object, source)
        }
        Shape::Beta => {
            analysis("canaryAnalysis").is_none()
                && analysis("analysis")
                    .is_none_or(|analysis| !analysis.is_null() && metric::all_return(analysis, source))
        }
    }
}

/// The core rules: which key holds the analysis, and how its metrics say their bound.
fn rename(object: &mut Map<String, Value>, source: Shape) {
    let Some(Value::Object(spec)) = object.get_mut("spec") else {
        return;
    };
    let is_set = |key: &str| spec.get(key).is_some_and(|value| !value.is_null());
    let (has_analysis, has_canary_analysis) = (is_set("analysis"), is_set("canaryAnalysis"));
    match source {
        // `analysis` is what the Flagger 1.x controllers obeyed, so it wins over `canaryAnalysis`.
        Shape::Alpha if has_analysis => {
            spec.shift_remove("canaryAnalysis");
        }
        Shape::Alpha if has_canary_analysis => {
            rename_key(spec, "canaryAnalysis", "analysis");
            metric::translate(spec.get_mut("analysis"), source);
        }
        Shape::Alpha => {}
        Shape::Beta => {
            if has_analysis {
                rename_key(spec, "analysis", "canaryAnalysis");
            }
            metric::translate(spec.get_mut("canaryAnalysis"), source);
        }
    }
}

/// Renames a key where it stands; another value under the new name is dropped.
fn rename_key(map: &mut Map<String, Value>, from: &str, to: &str) {
    *map = std::mem::take(map)
        .into_iter()
        .filter(|(key, _)| key != to)
        .map(|(key, value)| {
            if key == from {
                (to.to_owned(), value)
            } else {
                (key, value)
            }
        })
        .collect();
}

/// The whole way: core rules, what an earlier stash gives back, prune, and a stash of what would not come back.
fn convert_with_stash(mut source_object: Map<String, Value>, source: Shape) -> (Map<String, Value>, Stash) {
    let held = stash::take(&mut source_object, source.other());
    let mut object = source_object.clone();
    rename(&mut object, source);
    if let Some(held) = &held {
        stash::restore(held, &source_object, &mut object, source);
    }
    prune::prune(&mut object, source.other());

    let mut back = object.clone();
    rename(&mut back, source.other());
    // What the source's own schema would not keep (only v1beta1 has one) is not worth a stash.
    prune::prune(&mut back, source);
    prune::prune(&mut source_object, source);
    let entries = stash::entries(&source_object, &back, &object, source);
    let note = stash::attach(&mut object, entries, source);
    (object, note)
}

/// `Canary test/podinfo`, as far as the object says so.
fn label(object: &Map<String, Value>) -> String {
    struct Label<'a>(&'a Map<String, Value>);
    impl fmt::Display for Label<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
            let metadata = |key: &str| text(self.0.get("metadata").and_then(|metadata| metadata.get(key)));
            f.write_str(text(self.0.get("kind")).as_deref().unwrap_or("object"))?;
            match (metadata("namespace"), metadata("name")) {
                (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
                (None, Some(name)) => write!(f, " {name}"),
                (Some(namespace), None) => write!(f, " in namespace {namespace}, without a name"),
                (None, None) => f.write_str(" without a name"),
            }
        }
    }
    Label(object).to_string()
}

/// A short form of a found value, for messages.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            type_name(value).to_owned()
        }
    }
}

/// The JSON type of a value, with its article.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
