//! PromQL, bounded: parse, type-check, and say where a query broke and how to mend it.
//!
//! Owns: the verdict on a metric query, in words that end the problem. Promises: the verdict of Prometheus 3's own
//! parser on all stable syntax, a warning for what a server knows only behind a feature flag; linear time and a
//! bounded stack for any text whatever. Never: evaluates a query or asks a server.
//!
//! ```
//! use verdigris::model::{promql, template::Context};
//!
//! let problems = promql::judge(r#"rate(up{job="a" env="b"}[{{ interval }}])"#, &Context::stand_in());
//! assert_eq!(problems[0].code, "promql-syntax");
//! assert_eq!((problems[0].line, problems[0].column), (1, 16));
//! ```

pub mod ast;
mod call;
mod clause;
mod functions;
mod judge;
mod lexer;
mod literal;
mod parser;
pub mod place;
mod range;
mod refuse;
mod regex;
mod selector;
mod slip;
pub(crate) mod spelling;
#[cfg(test)]
mod tests;
mod types;
mod unicode;
mod word;

pub use ast::{Expr, ValueType};
pub use functions::Aggregation;
pub use judge::{Problem, Severity, judge, judge_template};
pub use place::{Span, snippet};
pub use word::Operator;

/// The longest query that is looked at, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;
/// The deepest nesting of brackets.
pub const MAX_DEPTH: usize = 64;
/// The most operators, signs and subqueries in a query.
pub const MAX_OPERATORS: usize = 256;
/// The most label matchers in a query.
pub const MAX_MATCHERS: usize = 64;
/// The longest regex, in bytes.
pub const MAX_REGEX_BYTES: usize = 4 * 1024;
/// Findings past this many are dropped: nobody reads them.
const MAX_FINDINGS: usize = 16;

/// Which rule a [`Fault`] breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The text is no PromQL.
    Syntax,
    /// The parts do not fit, or the answer is nothing a threshold compares with.
    Type,
    /// No such function or aggregation.
    Function,
    /// A regex RE2 does not read.
    Regex,
    /// The query is larger than we look at.
    Limit,
    /// A server reads this only behind a feature flag.
    Experimental,
    /// A quantile outside 0…1.
    Quantile,
}

impl Code {
    /// The stable kebab-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "promql-syntax",
            Self::Type => "promql-type",
            Self::Function => "promql-function",
            Self::Regex => "promql-regex",
            Self::Limit => "promql-limit",
            Self::Experimental => "promql-experimental",
            Self::Quantile => "promql-quantile",
        }
    }
}

/// Something about a query its author should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which rule.
    pub code: Code,
    /// Where.
    pub span: Span,
    /// What was found.
    pub found: String,
    /// What is expected.
    pub expected: String,
    /// How to mend it; may be empty.
    pub fix: String,
}

impl Fault {
    fn new(code: Code, span: Span, found: String, expected: String, fix: String) -> Self {
        Self {
            code,
            span,
            found,
            expected,
            fix,
        }
    }
}

/// A query Prometheus understands.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The tree.
    pub expr: Expr,
    /// Warnings: experimental syntax and likely slips.
    pub notes: Vec<Fault>,
    /// What the parser of a server lets through and its engine then always refuses.
    pub doomed: Vec<Fault>,
}

/// Parses and type-checks a query.
///
/// Errors: everything found, in the order of the text, at least one; at most sixteen.
pub fn parse(query: &str) -> Result<Query, Vec<Fault>> {
    if query.len() > MAX_BYTES {
        return Err(vec![Fault {
            code: Code::Limit,
            span: Span::at(0),
            found: format!("a query of {} bytes", query.len()),
            expected: format!("expected at most {MAX_BYTES}"),
            fix: "simplify the query, or record parts of it with recording rules".to_owned(),
        }]);
    }
    let (expr, findings) = parser::parse(query);
    let Findings {
        mut faults,
        mut notes,
        doomed,
        ..
    } = findings;
    notes.sort_by_key(|note| note.span);
    match expr {
        Some(expr) if faults.is_empty() => Ok(Query { expr, notes, doomed }),
        Some(_) | None => {
            faults.sort_by_key(|fault| fault.span);
            Err(faults)
        }
    }
}

/// [`parse`], and the query has to run and to answer with something a threshold compares with: a scalar or an
/// instant vector.
pub fn check(query: &str) -> Result<Query, Vec<Fault>> {
    let parsed = parse(query)?;
    if !parsed.doomed.is_empty() {
        return Err(parsed.doomed);
    }
    let fix = match parsed.expr.result {
        ValueType::Scalar | ValueType::Vector => return Ok(parsed),
        ValueType::Matrix => "wrap it in a function such as rate() or avg_over_time(), or remove the range",
        ValueType::Text => "remove the quotes, or query a metric",
    };
    Err(vec![Fault {
        code: Code::Type,
        span: parsed.expr.span,
        found: format!("a query that answers with {}", parsed.expr.result.noun()),
        expected: "expected a scalar or an instant vector, which a threshold can be compared with".to_owned(),
        fix: fix.to_owned(),
    }])
}

/// Faults and notes, as they are found.
#[derive(Debug)]
struct Findings<'a> {
    query: &'a str,
    faults: Vec<Fault>,
    notes: Vec<Fault>,
    doomed: Vec<Fault>,
}

impl<'a> Findings<'a> {
    fn new(query: &'a str) -> Self {
        Self {
            query,
            faults: Vec::new(),
            notes: Vec::new(),
            doomed: Vec::new(),
        }
    }

    fn push(&mut self, fault: Fault) {
        if self.faults.len() < MAX_FINDINGS {
            self.faults.push(fault);
        }
    }

    fn fault(&mut self, code: Code, span: Span, found: String, expected: String, fix: String) {
        self.push(Fault {
            code,
            span,
            found,
            expected,
            fix,
        });
    }

    /// Experimental syntax.
    fn note(&mut self, span: Span, found: String, expected: &str) {
        self.warn(
            Code::Experimental,
            span,
            found,
            expected,
            "make sure that your server has it enabled".to_owned(),
        );
    }

    fn warn(&mut self, code: Code, span: Span, found: String, expected: &str, fix: String) {
        if self.notes.len() < MAX_FINDINGS {
            self.notes.push(Fault {
                code,
                span,
                found,
                expected: expected.to_owned(),
                fix,
            });
        }
    }

    /// What parses and never runs.
    fn doom(&mut self, code: Code, span: Span, found: String, fix: String) {
        if self.doomed.len() < MAX_FINDINGS {
            self.doomed.push(Fault {
                code,
                span,
                found,
                expected: "expected RE2 syntax".to_owned(),
                fix,
            });
        }
    }

    /// A selector that would select every series there is.
    fn empty_selector(&mut self, span: Span) {
        self.fault(
            Code::Type,
            span,
            EMPTY_SELECTOR.to_owned(),
            "expected a metric name, or a matcher that does not match an empty value".to_owned(),
            "name a metric, or match a label with a value such as job=\"app\" or job=~\".+\"".to_owned(),
        );
    }

    /// The selector at this place may be empty after all.
    fn forgive_empty(&mut self, span: Span) {
        self.faults
            .retain(|fault| fault.span != span || fault.found != EMPTY_SELECTOR);
    }
}

const EMPTY_SELECTOR: &str = "a selector that matches every series";

/// A text on one line, cut to a length that fits into a sentence.
fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut line = String::new();
    // One blank for any run of them; a little more than fits is enough to know that it does not.
    for character in text.chars().take(LONGEST * 4) {
        let character = if character.is_whitespace() { ' ' } else { character };
        if character != ' ' || !line.ends_with(' ') {
            line.push(character);
        }
    }
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line.trim().to_owned(),
    }
}

/// A part of the query in backticks.
fn quoted(query: &str, span: Span) -> String {
    format!("`{}`", short(span.of(query)))
}

/// What a quoted string stands for, escapes resolved; none: it is no such string, or holds an unknown escape.
pub(crate) fn unquoted(quoted: &str) -> Option<Vec<u8>> {
    let end = literal::string_end(quoted, 0).ok()?;
    (end == quoted.len()).then(|| literal::unquote(quoted))
}
