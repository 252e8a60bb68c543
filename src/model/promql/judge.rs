//! The one entry for callers: a query template in, everything wrong with it out, at its place in the author's text.

use super::super::template::{self, Context, Rendered, TemplateError};
use super::lexer::{self, Tok};
use super::place::{self, Span};
use super::{Code, Fault, check};

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The query can never answer: refuse it.
    Error,
    /// The query may answer; its author should know.
    Warning,
}

/// One thing wrong with a query, at its place in the text its author wrote (template actions included).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Stable kebab-case code, such as `promql-syntax` or `template-function`.
    pub code: &'static str,
    /// What was found.
    pub found: String,
    /// What is expected; may be empty.
    pub expected: String,
    /// How to fix it; may be empty.
    pub fix: String,
    /// Line in the author's text, from 1.
    pub line: usize,
    /// Column in that line, in characters, from 1.
    pub column: usize,
    /// The bytes of the author's text in question.
    pub span: Span,
    /// The line and, beneath it, a caret line; no trailing newline.
    pub snippet: String,
}

impl Problem {
    fn new(severity: Severity, code: &'static str, template: &str, span: Span, words: [String; 3]) -> Self {
        let (line, column) = place::position(template, span.start);
        let [found, expected, fix] = words;
        Self {
            severity,
            code,
            found,
            expected,
            fix,
            line,
            column,
            span,
            snippet: place::snippet(template, span),
        }
    }

    fn of_template(template: &str, error: TemplateError) -> Self {
        let words = [error.found, error.expected, error.fix];
        Self::new(Severity::Error, error.code.name(), template, error.span, words)
    }

    fn of_query(severity: Severity, template: &str, rendered: &Rendered, fault: Fault) -> Self {
        let words = [fault.found, fault.expected, fault.fix];
        let span = rendered.origin(fault.span);
        Self::new(severity, fault.code.name(), template, span, words)
    }
}

/// What a variable without a value is tried as: a word, a number, a duration, a matcher, a range.
const SAMPLES: [&str; 5] = [template::STAND_IN, "1", "1m", "v=\"v\"", "v[1m]"];
/// Renderings tried for one template with variables that have no value.
const MAX_TRIES: usize = 24;

/// Judges a query template: renders it with `context`, parses and type-checks the result.
///
/// Positions refer to `template`. An answer without errors means: Prometheus will understand this query and answer
/// with something a threshold can be compared with. A variable that only [`Context::any_variable`] vouches for is
/// tried as a word, a number, a duration and so on; a query that depends on what it really is gets a warning.
pub fn judge(template: &str, context: &Context) -> Vec<Problem> {
    let mut context = context.clone();
    let given = context.variables.clone();
    let mut tries = 0;
    loop {
        tries += 1;
        let rendered = match template::render(template, &context) {
            Ok(rendered) => rendered,
            Err(errors) => {
                return errors
                    .into_iter()
                    .map(|error| Problem::of_template(template, error))
                    .collect();
            }
        };
        let faults = match check(&rendered.text) {
            Ok(query) => {
                let warnings = query.notes.into_iter();
                return warnings
                    .map(|note| Problem::of_query(Severity::Warning, template, &rendered, note))
                    .collect();
            }
            Err(faults) => faults,
        };
        let open = Open::of(&rendered, &given);
        let again = faults
            .iter()
            .flat_map(|fault| open.keys_at(fault))
            .find_map(|key| Some((key.clone(), next_sample(&context, key)?)))
            .filter(|_| tries < MAX_TRIES);
        match again {
            Some((key, sample)) => {
                context.variables.insert(key, sample.to_owned());
            }
            None => return verdict(template, &rendered, &open, faults),
        }
    }
}

/// Judges only the template: for providers that do not speak PromQL.
pub fn judge_template(template: &str, context: &Context) -> Vec<Problem> {
    match template::render(template, context) {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .into_iter()
            .map(|error| Problem::of_template(template, error))
            .collect(),
    }
}

/// The sample to try after the one a variable has now.
fn next_sample(context: &Context, key: &str) -> Option<&'static str> {
    let current = context
        .variables
        .get(key)
        .map_or(template::STAND_IN, String::as_str);
    let place = SAMPLES.iter().position(|sample| *sample == current)?;
    SAMPLES.get(place + 1).copied()
}

/// Faults, once every sample was tried: those a variable may heal are warnings.
fn verdict(template: &str, rendered: &Rendered, open: &Open<'_>, faults: Vec<Fault>) -> Vec<Problem> {
    faults
        .into_iter()
        .map(|fault| match open.keys_at(&fault).first().copied() {
            None => Problem::of_query(Severity::Error, template, rendered, fault),
            Some(key) => {
                let words = [
                    format!("a query that cannot be judged before `variables.{key}` has a value"),
                    "expected a query that is valid for a word, a number or a duration".to_owned(),
                    "it is judged again with each Canary that refers to the template".to_owned(),
                ];
                let span = rendered.origin(fault.span);
                Problem::new(Severity::Warning, "promql-unchecked", template, span, words)
            }
        })
        .collect()
}

/// Where the values of variables that nobody gave a value to stand in the rendered query.
struct Open<'a> {
    query: &'a str,
    places: Vec<(Span, &'a String)>,
    strings: Vec<Span>,
}

impl<'a> Open<'a> {
    fn of(rendered: &'a Rendered, given: &std::collections::BTreeMap<String, String>) -> Self {
        let places: Vec<(Span, &String)> = rendered
            .variable_outputs()
            .flat_map(|(span, keys)| keys.iter().map(move |key| (span, key)))
            .filter(|(_, key)| !given.contains_key(*key))
            .collect();
        let strings = if places.is_empty() {
            Vec::new()
        } else {
            let tokens = lexer::tokens(&rendered.text).list.into_iter();
            tokens
                .filter(|token| token.tok == Tok::Text)
                .map(|token| token.span)
                .collect()
        };
        Self {
            query: &rendered.text,
            places,
            strings,
        }
    }

    /// The open variables that may be to blame for a fault: those it covers or touches. A value inside a string is
    /// to blame only for what is wrong with that string.
    fn keys_at(&self, fault: &Fault) -> Vec<&'a String> {
        let start = self
            .query
            .get(..fault.span.start)
            .map_or(0, |before| before.trim_end().len());
        let end = self.query.get(fault.span.end..).map_or(fault.span.end, |after| {
            self.query.len() - after.trim_start().len()
        });
        let about_string = fault.code == Code::Regex;
        self.places
            .iter()
            .filter(move |(place, _)| {
                let touches = place.start <= end && start <= place.end;
                let quoted = self
                    .strings
                    .iter()
                    .any(|string| string.start < place.start && place.end < string.end);
                touches && (!quoted || about_string)
            })
            .map(|(_, key)| *key)
            .collect()
    }
}
