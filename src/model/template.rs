//! The Go-template subset of metric queries: `{{ target }}`, `{{ variables.key }}`, `{{ printf "%s" name }}`, …
//!
//! Owns: which actions a query may hold and what they become. Promises: bounded (no loops in the language, no value longer
//! than [`MAX_BYTES`]); every error at its place, all of them at once; a map from the rendered query back to
//! the text its author wrote. Never: guesses at what an unknown action could mean.
//!
//! Source: Flagger's `MetricTemplateModel` and Go's `text/template`.

mod action;

use std::collections::{BTreeMap, BTreeSet};

use super::promql::place::Span;

/// The longest template, and the longest text it may become, in bytes.
pub const MAX_BYTES: usize = super::promql::MAX_BYTES;

/// What an unknown variable becomes while no Canary says otherwise.
pub const STAND_IN: &str = "v";

/// The values a query template may name (Flagger's `MetricTemplateModel`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// `{{ name }}`: the Canary's name.
    pub name: String,
    /// `{{ namespace }}`: the Canary's namespace.
    pub namespace: String,
    /// `{{ target }}`: `spec.targetRef.name`.
    pub target: String,
    /// `{{ service }}`: `spec.service.name`, else the target's.
    pub service: String,
    /// `{{ ingress }}`: `spec.ingressRef.name`, else the target's.
    pub ingress: String,
    /// `{{ route }}`: `spec.routeRef.name`, else the target's.
    pub route: String,
    /// `{{ interval }}`: the metric's interval.
    pub interval: String,
    /// `{{ variables.key }}`: the metric's `templateVariables`.
    pub variables: BTreeMap<String, String>,
    /// Whether a key that [`Self::variables`] does not hold gets a stand-in value instead of an error: true when a
    /// MetricTemplate is judged on its own, before any Canary refers to it.
    pub any_variable: bool,
}

impl Context {
    /// Values to judge a query by when no Canary is at hand (admission of a MetricTemplate).
    pub fn stand_in() -> Self {
        Self {
            name: "canary".to_owned(),
            namespace: "default".to_owned(),
            target: "app".to_owned(),
            service: "app".to_owned(),
            ingress: "app".to_owned(),
            route: "app".to_owned(),
            interval: "1m".to_owned(),
            variables: BTreeMap::new(),
            any_variable: true,
        }
    }

    /// The value of a function without arguments.
    fn value(&self, function: &str) -> Option<&str> {
        match function {
            "name" => Some(&self.name),
            "namespace" => Some(&self.namespace),
            "target" => Some(&self.target),
            "service" => Some(&self.service),
            "ingress" => Some(&self.ingress),
            "route" => Some(&self.route),
            "interval" => Some(&self.interval),
            _ => None,
        }
    }
}

/// Which rule a [`TemplateError`] breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The action is malformed or never closed.
    Syntax,
    /// No such function.
    Function,
    /// No such variable.
    Variable,
    /// Go would run it; we do not.
    Unsupported,
    /// Longer than [`MAX_BYTES`], or nested too deep.
    Limit,
}

impl Code {
    /// The stable kebab-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "template-syntax",
            Self::Function => "template-function",
            Self::Variable => "template-variable",
            Self::Unsupported => "template-unsupported",
            Self::Limit => "template-limit",
        }
    }
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Which rule.
    pub code: Code,
    /// Where, in the template.
    pub span: Span,
    /// What was found.
    pub found: String,
    /// What is expected.
    pub expected: String,
    /// How to mend it.
    pub fix: String,
}

/// A rendered template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The functions the template calls.
    pub functions: BTreeSet<String>,
    /// The keys of `variables` the template asks for.
    pub keys: BTreeSet<String>,
    pieces: Vec<Piece>,
}

/// A stretch of the rendered text and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    rendered: Span,
    template: Span,
    /// None: text copied as it is. Some: an action's output, with the variables it used.
    keys: Option<BTreeSet<String>>,
}

impl Rendered {
    /// The place in the template that a place in the rendered text comes from. Inside the output of an action: the
    /// whole action.
    pub fn origin(&self, span: Span) -> Span {
        if span.start >= span.end {
            let place = self.origin_of_end(span.start);
            return Span::at(place);
        }
        let start = self.origin_of_start(span.start);
        Span::new(start, self.origin_of_end(span.end).max(start))
    }

    fn origin_of_start(&self, offset: usize) -> usize {
        let piece = self
            .pieces
            .iter()
            .find(|piece| (piece.rendered.start..piece.rendered.end).contains(&offset));
        match piece {
            Some(piece) if piece.keys.is_none() => piece.template.start + (offset - piece.rendered.start),
            Some(piece) => piece.template.start,
            None => self.pieces.last().map_or(0, |piece| piece.template.end),
        }
    }

    fn origin_of_end(&self, offset: usize) -> usize {
        let piece = self
            .pieces
            .iter()
            .find(|piece| piece.rendered.start < offset && offset <= piece.rendered.end);
        match piece {
            Some(piece) if piece.keys.is_none() => piece.template.start + (offset - piece.rendered.start),
            Some(piece) => piece.template.end,
            None => self.pieces.first().map_or(0, |piece| piece.template.start),
        }
    }

    /// The outputs that depend on a variable: their place in the rendered text, and the variables.
    pub(super) fn variable_outputs(&self) -> impl Iterator<Item = (Span, &BTreeSet<String>)> {
        self.pieces
            .iter()
            .filter_map(|piece| Some((piece.rendered, piece.keys.as_ref()?)))
            .filter(|(_, keys)| !keys.is_empty())
    }
}

/// Renders a template.
///
/// Errors: everything found, in the order of the text.
pub fn render(template: &str, context: &Context) -> Result<Rendered, Vec<TemplateError>> {
    if template.len() > MAX_BYTES {
        return Err(vec![TemplateError {
            code: Code::Limit,
            span: Span::at(0),
            found: format!("a query of {} bytes", template.len()),
            expected: format!("expected at most {MAX_BYTES}"),
            fix: "simplify the query, or record parts of it with recording rules".to_owned(),
        }]);
    }
    let mut rendered = Rendered::default();
    let mut runner = action::Runner::new(template, context);
    let mut errors = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while at < template.len() {
        let open = template[at..]
            .find("{{")
            .map_or(template.len(), |offset| at + offset);
        let mut text = Span::new(at, open);
        if trim {
            text.start = open - template[at..open].trim_start_matches(is_blank).len();
        }
        if open < template.len() && trims_left(template, open) {
            text.end = text.start + text.of(template).trim_end_matches(is_blank).len();
        }
        push(&mut rendered, text.of(template), text, None);
        if open == template.len() {
            break;
        }
        match runner.run(open) {
            Ok(done) => {
                let action = Span::new(open, done.end);
                push(&mut rendered, &done.output, action, Some(done.keys));
                at = done.end;
                trim = done.trims_right;
                if let Some(error) = done.error {
                    errors.push(*error);
                }
            }
            Err(error) => {
                errors.push(*error);
                break;
            }
        }
        if rendered.text.len() > MAX_BYTES {
            errors.push(TemplateError {
                code: Code::Limit,
                span: Span::new(open, at),
                found: format!("a query of more than {MAX_BYTES} bytes once rendered"),
                expected: format!("expected at most {MAX_BYTES}"),
                fix: "shorten the values of the variables".to_owned(),
            });
            break;
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    rendered.functions = runner.functions;
    rendered.keys = runner.keys;
    Ok(rendered)
}

fn push(rendered: &mut Rendered, text: &str, template: Span, keys: Option<BTreeSet<String>>) {
    let start = rendered.text.len();
    rendered.text.push_str(text);
    rendered.pieces.push(Piece {
        rendered: Span::new(start, rendered.text.len()),
        template,
        keys,
    });
}

/// What Go's trim markers take away.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// Whether the action opened at this place begins with `{{- `.
fn trims_left(template: &str, open: usize) -> bool {
    template[open..]
        .strip_prefix("{{-")
        .is_some_and(|rest| rest.starts_with(is_blank))
}
