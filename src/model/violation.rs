//! What is wrong with a manifest, and where: [`FieldPath`], [`Violation`], [`Report`].
//!
//! One sentence style everywhere (admission, `lint`, conditions, logs): `path: found; expected; fix`, and for a
//! query a snippet with a caret under the place.

use std::fmt;

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
    /// Lines that show the place (a query line and a caret line), without a trailing newline.
    pub snippet: Option<String>,
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
    /// `found; expected; fix`, leaving out empty parts.
    pub fn sentence(&self) -> String {
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
