//! What is wrong with a manifest, and where: [`FieldPath`], [`Violation`], [`Report`].
//!
//! One sentence style everywhere (admission, `lint`, conditions, logs): `path: found; expected; fix`, and for a
//! query a snippet with a caret under the place.

use std::fmt;

use super::promql::Span;

/// A path into the manifest, printed as Kubernetes prints it: `spec.analysis.metrics[0].query`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldPath(Vec<Segment>);

/// One step of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A key of an object.
    Key(String),
    /// An index of a list.
    Index(usize),
}

impl FieldPath {
    /// A path from dotted keys: `FieldPath::of("spec.analysis")`.
    pub fn of(dotted: &str) -> Self {
        Self(
            dotted
                .split('.')
                .filter(|key| !key.is_empty())
                .map(|key| Segment::Key(key.to_owned()))
                .collect(),
        )
    }

    /// This path, one key further down.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Key(key.to_owned()));
        path
    }

    /// This path, one list index further down.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }

    /// The steps.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// A path from its steps.
    pub fn from_segments(segments: Vec<Segment>) -> Self {
        Self(segments)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if key.contains(['.', '/']) => write!(f, "[{key}]")?,
                Segment::Key(key) if position == 0 => write!(f, "{key}")?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The stable kebab-case name of a rule (`promql-syntax`, `duration-format`, …).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One mistake (or likely mistake): where, what was found, what is expected, how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, in v1beta1 spelling; the webhook renames it to the version the user wrote.
    pub path: FieldPath,
    /// The rule.
    pub code: Code,
    /// What was found (`"2 seconds" is not a duration`).
    pub found: String,
    /// What is expected (`expected a Go duration such as 30s or 1m`).
    pub expected: String,
    /// How to fix it (`write 2s`).
    pub fix: String,
    /// Where in the field's text, when that is a query: several lines need more than a path.
    pub place: Option<Place>,
    /// Lines that show the place (a query line and a caret line), without a trailing newline.
    pub snippet: Option<String>,
}

/// A place within the text of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in that line, in characters, from 1.
    pub column: usize,
    /// The bytes in question.
    pub span: Span,
}

impl fmt::Display for Violation {
    /// `path: found; expected; fix`, then the snippet on lines of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.sentence())?;
        if let Some(snippet) = &self.snippet {
            write!(f, "\n{snippet}")?;
        }
        Ok(())
    }
}

impl Violation {
    /// `found; expected; fix`, leaving out empty parts; where the field's text has a place, it comes first.
    pub fn sentence(&self) -> String {
        match self.place {
            Some(place) => format!("line {}, column {}: {}", place.line, place.column, self.words()),
            None => self.words(),
        }
    }

    /// The sentence without the place: for those who show the place in another way.
    pub fn words(&self) -> String {
        [&self.found, &self.expected, &self.fix]
            .into_iter()
            .filter(|part| !part.is_empty())
            .cloned()
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// Everything found in one manifest, all at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Certain breakage: refused.
    pub violations: Vec<Violation>,
    /// Likely mistakes: admitted with a warning.
    pub warnings: Vec<Violation>,
}

impl Report {
    /// True when nothing has to be refused.
    pub fn is_admissible(&self) -> bool {
        self.violations.is_empty()
    }

    /// Adds what another report holds.
    pub fn merge(&mut self, other: Report) {
        self.violations.extend(other.violations);
        self.warnings.extend(other.warnings);
    }
}

/// The same field as the author of `original` wrote it.
///
/// In v1alpha3 `spec.analysis` is `spec.canaryAnalysis`, and a metric's `thresholdRange.min` or `.max` is
/// `threshold` (unless the manifest really has a `thresholdRange`, which later v1alpha3 controllers obeyed).
pub fn spelled_for(path: &FieldPath, version: &str, original: &serde_json::Value) -> FieldPath {
    let version = version.rsplit('/').next().unwrap_or(version);
    let spec = &original["spec"];
    if version != "v1alpha3" || !spec["analysis"].is_null() {
        return path.clone();
    }
    let mut steps = path.segments().to_vec();
    let is = |step: Option<&Segment>, name: &str| matches!(step, Some(Segment::Key(key)) if key == name);
    if !is(steps.first(), "spec") || !is(steps.get(1), "analysis") {
        return path.clone();
    }
    steps[1] = Segment::Key("canaryAnalysis".to_owned());
    if is(steps.get(2), "metrics")
        && let Some(Segment::Index(index)) = steps.get(3)
        && is(steps.get(4), "thresholdRange")
        && spec["canaryAnalysis"]["metrics"][*index]["thresholdRange"].is_null()
    {
        steps.truncate(4);
        steps.push(Segment::Key("threshold".to_owned()));
    }
    FieldPath::from_segments(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn v1alpha3_authors_read_their_own_words() {
        let old = json!({"spec": {"canaryAnalysis": {"metrics": [{"threshold": 5}, {"thresholdRange": {"max": 5}}]}}});
        let path = |metric: usize| {
            FieldPath::of("spec.analysis.metrics")
                .index(metric)
                .key("thresholdRange")
                .key("max")
        };
        for (path, version, expected) in [
            (
                FieldPath::of("spec.analysis.interval"),
                "v1alpha3",
                "spec.canaryAnalysis.interval",
            ),
            (
                FieldPath::of("spec.analysis.interval"),
                "flagger.app/v1alpha3",
                "spec.canaryAnalysis.interval",
            ),
            (
                FieldPath::of("spec.analysis.interval"),
                "v1beta1",
                "spec.analysis.interval",
            ),
            (
                FieldPath::of("spec.service.port"),
                "v1alpha3",
                "spec.service.port",
            ),
            (path(0), "v1alpha3", "spec.canaryAnalysis.metrics[0].threshold"),
            (
                path(1),
                "v1alpha3",
                "spec.canaryAnalysis.metrics[1].thresholdRange.max",
            ),
            (path(0), "v1beta1", "spec.analysis.metrics[0].thresholdRange.max"),
        ] {
            assert_eq!(spelled_for(&path, version, &old).to_string(), expected);
        }
    }

    #[test]
    fn v1alpha3_that_already_says_analysis_keeps_it() {
        let both = json!({"spec": {"analysis": {}, "canaryAnalysis": {}}});
        let path = FieldPath::of("spec.analysis.interval");
        assert_eq!(spelled_for(&path, "v1alpha3", &both), path);
    }
}
