//! CEL as Kubernetes' policies use it: the language of `spec.rules[]`, parsed, checked and evaluated within bounds.
//!
//! Owns: the grammar, the functions, the budget. Promises: no expression of any shape crashes the process, and none
//! holds a thread beyond its budget: length, nesting and steps are bounded before and while it runs, and everything it
//! makes is paid for in steps. Never: I/O, a clock, a name it does not know.
//!
//! An engine of our own because the published one counts no steps, ends the process on a message literal, copies a
//! whole subtree at every `.field`, and finds an unknown name only when it runs. Agreement with it is a test.

mod ast;
mod check;
mod eval;
mod functions;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;
use std::fmt;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::model::promql::{Span, snippet};

use ast::Node;
use value::Val;

/// Longest expression, bytes.
pub const MAX_LENGTH: usize = 2048;
/// Deepest nesting, levels of the tree.
pub const MAX_DEPTH: u16 = 64;
/// Steps one evaluation may take: a node, an element, sixteen bytes of text.
pub const MAX_STEPS: u64 = 50_000;
/// Longest regular expression, bytes.
const MAX_PATTERN: usize = 512;

/// What an expression may look at. `null` stands for what there is not.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// `object`.
    pub object: &'a Value,
    /// `oldObject`.
    pub old_object: &'a Value,
    /// `namespaceObject`.
    pub namespace_object: &'a Value,
    /// `request`.
    pub request: &'a Value,
}

/// The names of [`Facts`], as expressions say them.
pub const VARIABLES: [&str; 4] = ["object", "oldObject", "namespaceObject", "request"];

/// What went wrong, and where in the expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slip {
    /// The place.
    pub at: Span,
    /// What was found.
    pub found: String,
    /// What is expected; may be empty.
    pub expected: String,
    /// How to mend it; may be empty.
    pub fix: String,
    /// What kind of slip it is.
    pub kind: SlipKind,
}

/// Kinds of [`Slip`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlipKind {
    /// It cannot be understood at all.
    Syntax,
    /// The types do not fit, whatever the object.
    Type,
    /// A key or element that this object does not have.
    Absent,
    /// Anything else that this object's values lead to: a division by zero, a text that is no number.
    Value,
    /// The budget is spent.
    Budget,
}

impl Slip {
    fn new(kind: SlipKind, at: Span, found: impl Into<String>) -> Self {
        Self {
            at,
            found: found.into(),
            expected: String::new(),
            fix: String::new(),
            kind,
        }
    }

    fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    fn fixed_by(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }
}

/// `found; expected; fix`, leaving out empty parts.
impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.found, &self.expected, &self.fix];
        let said: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        f.write_str(&said.join("; "))
    }
}

/// An expression whose every name is known.
#[derive(Debug, Clone)]
pub struct Expression {
    source: String,
    root: Node,
    mentions: Vec<&'static str>,
    patterns: HashMap<String, Regex>,
}

impl Expression {
    /// Parses and checks an expression.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn compile(source: &str) -> Result<Self, Slip> {
        if source.len() > MAX_LENGTH {
            let found = format!("the expression has {} bytes", source.len());
            return Err(Slip::new(SlipKind::Syntax, Span::at(0), found)
                .expecting(format!("expected at most {MAX_LENGTH}"))
                .fixed_by("split it into several rules"));
        }
        let root = parser::parse(source)?;
        let mut checker = check::Checker::default();
        checker.walk(&root)?;
        Ok(Self {
            source: source.to_owned(),
            root,
            mentions: checker.mentions,
            patterns: checker.patterns,
        })
    }

    /// Whether it looks at a variable of [`VARIABLES`].
    pub fn mentions(&self, variable: &str) -> bool {
        self.mentions.contains(&variable)
    }

    /// The line a slip is on, and a caret under the place.
    pub fn snippet(&self, slip: &Slip) -> String {
        snippet(&self.source, slip.at)
    }

    /// Evaluates to true or false, taking what it needs from `budget` and at most [`MAX_STEPS`].
    ///
    /// # Errors
    /// What kept it from an answer.
    pub fn truth(&self, facts: &Facts<'_>, budget: &mut u64) -> Result<bool, Slip> {
        self.evaluate(facts, budget, |value| match value {
            Val::Bool(truth) => Ok(*truth),
            other => Err(other.kind()),
        })?
        .map_err(|kind| {
            Slip::new(SlipKind::Type, self.root.span, format!("the answer is {kind}"))
                .expecting("expected true or false")
        })
    }

    /// Evaluates to a text.
    ///
    /// # Errors
    /// What kept it from an answer.
    pub fn text(&self, facts: &Facts<'_>, budget: &mut u64) -> Result<String, Slip> {
        self.evaluate(facts, budget, |value| match value {
            Val::Str(text) => Ok(text.to_string()),
            other => Err(other.kind()),
        })?
        .map_err(|kind| {
            Slip::new(SlipKind::Type, self.root.span, format!("the answer is {kind}"))
                .expecting("expected a text")
                .fixed_by("wrap it in string(…)")
        })
    }

    fn evaluate<T>(
        &self,
        facts: &Facts<'_>,
        budget: &mut u64,
        read: impl FnOnce(&Val<'_>) -> T,
    ) -> Result<T, Slip> {
        let allowed = MAX_STEPS.min(*budget);
        let mut machine = eval::Machine::new(facts, &self.patterns, allowed);
        let answer = machine.eval(&self.root);
        *budget -= allowed - machine.left();
        answer.map(|value| read(&value))
    }
}

/// A regular expression of bounded size.
fn pattern(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_PATTERN {
        return Err(format!(
            "the pattern has {} bytes; expected at most {MAX_PATTERN}",
            text.len()
        ));
    }
    RegexBuilder::new(text)
        .size_limit(1 << 16)
        .dfa_size_limit(1 << 16)
        .nest_limit(32)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large once compiled".to_owned(),
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                last.strip_prefix("error: ").unwrap_or(last).to_owned()
            }
        })
}
