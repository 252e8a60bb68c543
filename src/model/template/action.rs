//! One `{{ action }}`, evaluated.
//!
//! Source: Go's `text/template`: pipelines, variables, trim markers, comments, `printf`, `print`, `index`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::promql::place::Span;
use super::super::promql::spelling::nearest;
use super::format;
use super::scan::{self, Scanned, Tok, Token};
use super::{Code, Context, STAND_IN, TemplateError};

/// Parentheses nested deeper are refused.
const MAX_DEPTH: usize = 16;

/// Functions a template may call without arguments, and `variables`.
const VALUES: [&str; 8] = [
    "name",
    "namespace",
    "target",
    "service",
    "ingress",
    "route",
    "interval",
    "variables",
];
/// Functions with arguments.
const FUNCTIONS: [&str; 4] = ["printf", "print", "println", "index"];
/// What Go's `text/template` knows besides.
const UNSUPPORTED: [&str; 27] = [
    "if", "else", "end", "range", "with", "define", "block", "template", "break", "continue", "and", "or",
    "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "slice", "html", "js", "urlquery", "call", "nil",
    "true",
];

pub(super) type Outcome<T> = Result<T, TemplateError>;

pub(super) fn error<T>(
    code: Code,
    span: Span,
    found: impl Into<String>,
    expected: &str,
    fix: impl Into<String>,
) -> Outcome<T> {
    Err(TemplateError {
        code,
        span,
        found: found.into(),
        expected: expected.to_owned(),
        fix: fix.into(),
    })
}

/// An action that was closed.
pub(super) struct Done {
    /// What it becomes.
    pub(super) output: String,
    /// One past its `}}`.
    pub(super) end: usize,
    pub(super) trims_right: bool,
    /// The variables its output depends on.
    pub(super) keys: BTreeSet<String>,
    /// What is wrong inside.
    pub(super) error: Option<TemplateError>,
}

/// What an action computes with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Map,
}

impl Value {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Map => "the map of variables",
        }
    }
}

/// Evaluates the actions of one template, in order.
pub(super) struct Runner<'a> {
    template: &'a str,
    context: &'a Context,
    /// `$name` → value and the keys it came from.
    declared: BTreeMap<String, (Value, BTreeSet<String>)>,
    pub(super) functions: BTreeSet<String>,
    pub(super) keys: BTreeSet<String>,
    tokens: Vec<Token>,
    at: usize,
    /// Keys the current action used.
    used: BTreeSet<String>,
    /// A block was opened and refused.
    in_block: bool,
}

impl<'a> Runner<'a> {
    pub(super) fn new(template: &'a str, context: &'a Context) -> Self {
        Self {
            template,
            context,
            declared: BTreeMap::new(),
            functions: BTreeSet::new(),
            keys: BTreeSet::new(),
            tokens: Vec::new(),
            at: 0,
            used: BTreeSet::new(),
            in_block: false,
        }
    }

    /// Runs the action that opens at this place. Errors: it never closes.
    pub(super) fn run(&mut self, open: usize) -> Outcome<Done> {
        let Scanned {
            tokens,
            end,
            trims_right,
        } = scan::scan(self.template, open)?;
        self.used.clear();
        self.tokens = tokens;
        self.at = 0;
        let result = if self.tokens.is_empty() {
            Ok(String::new())
        } else {
            self.action(open)
        };
        let (output, error) = match result {
            Ok(output) => (output, None),
            Err(error) => (String::new(), Some(error)),
        };
        Ok(Done {
            output,
            end,
            trims_right,
            keys: self.used.clone(),
            error,
        })
    }

    // Evaluation.

    fn token(&self) -> Token {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.at.min(last)).copied().unwrap_or(Token {
            tok: Tok::End,
            span: Span::at(self.template.len()),
        })
    }

    fn take(&mut self) -> Token {
        let token = self.token();
        if token.tok != Tok::End {
            self.at += 1;
        }
        token
    }

    fn end_of_last(&self) -> usize {
        let last = self.at.checked_sub(1).and_then(|index| self.tokens.get(index));
        last.map_or(0, |token| token.span.end)
    }

    fn text(&self, span: Span) -> &'a str {
        span.of(self.template)
    }

    fn action(&mut self, open: usize) -> Outcome<String> {
        let first = self.token();
        if first.tok == Tok::End {
            return error(
                Code::Syntax,
                Span::new(open, first.span.start + 2),
                "an empty template action",
                "expected the name of a function",
                "write an action such as {{ target }}, or remove it",
            );
        }
        if self.in_block && matches!(self.text(first.span), "else" | "end") {
            // The block was refused where it began.
            return Ok(String::new());
        }
        self.in_block |= matches!(
            self.text(first.span),
            "if" | "range" | "with" | "block" | "define"
        );
        let declares = match self.tokens.get(1).map(|token| token.tok) {
            Some(tok @ (Tok::Declare | Tok::Assign)) if first.tok == Tok::Variable => Some(tok),
            _ => None,
        };
        let Some(how) = declares else {
            let value = self.pipeline(0)?;
            self.expect_end()?;
            return output(value, first.span);
        };
        let name = self.text(first.span);
        if how == Tok::Assign && !self.declared.contains_key(name) {
            return self.undeclared(first.span);
        }
        self.at = 2;
        let value = self.pipeline(0)?;
        self.expect_end()?;
        self.declared.insert(name.to_owned(), (value, self.used.clone()));
        Ok(String::new())
    }

    fn expect_end(&self) -> Outcome<()> {
        let token = self.token();
        if token.tok == Tok::End {
            return Ok(());
        }
        error(
            Code::Syntax,
            token.span,
            format!("`{}` after a complete action", self.text(token.span)),
            "expected }}",
            "close the action, or remove it",
        )
    }

    fn pipeline(&mut self, depth: usize) -> Outcome<Value> {
        let mut value = self.command(None, depth)?;
        while self.token().tok == Tok::Pipe {
            self.take();
            value = self.command(Some(value), depth)?;
        }
        Ok(value)
    }

    /// One step of a pipeline; `last` is what the step before gave.
    fn command(&mut self, last: Option<Value>, depth: usize) -> Outcome<Value> {
        let first = self.token();
        if first.tok == Tok::Name && UNSUPPORTED.contains(&self.text(first.span)) {
            return self.unsupported(first.span);
        }
        let is_call = first.tok == Tok::Name && !self.has_fields();
        if is_call {
            self.take();
            let mut arguments = Vec::new();
            while !matches!(self.token().tok, Tok::Pipe | Tok::Close | Tok::End) {
                let span = self.token().span;
                if self.end_of_last() == span.start {
                    return error(
                        Code::Syntax,
                        span,
                        format!("`{}` directly after another word", self.text(span)),
                        "expected a blank between function and arguments",
                        "add a blank",
                    );
                }
                let value = self.operand(depth)?;
                arguments.push((value, span));
            }
            arguments.extend(last.map(|value| (value, first.span)));
            return self.call(first.span, arguments);
        }
        let value = self.operand(depth)?;
        let next = self.token();
        if last.is_some() || !matches!(next.tok, Tok::Pipe | Tok::Close | Tok::End) {
            return error(
                Code::Syntax,
                if last.is_some() { first.span } else { next.span },
                format!("arguments for `{}`, which is no function", self.text(first.span)),
                "expected one value, or a function such as printf",
                "write {{ printf \"%s-%s\" name target }} to join values",
            );
        }
        Ok(value)
    }

    /// Whether `.key` follows the current token without a blank.
    fn has_fields(&self) -> bool {
        match (self.tokens.get(self.at), self.tokens.get(self.at + 1)) {
            (Some(word), Some(next)) => next.tok == Tok::Field && next.span.start == word.span.end,
            _ => false,
        }
    }

    /// One value: a literal, a variable, a function without arguments, a pipeline in parentheses; with its fields.
    fn operand(&mut self, depth: usize) -> Outcome<Value> {
        let mut fields = self.has_fields();
        let token = self.take();
        let text = self.text(token.span);
        let mut value = match token.tok {
            Tok::Name => self.call(token.span, Vec::new())?,
            Tok::Text => Value::Text(self.unquote(token.span)?),
            Tok::RawText => Value::Text(text[1..text.len() - 1].to_owned()),
            Tok::Integer => match text.parse() {
                Ok(number) if !is_octal(text) => Value::Integer(number),
                Ok(_) | Err(_) => {
                    return error(
                        Code::Unsupported,
                        token.span,
                        format!("the number {text}"),
                        "expected a whole decimal number",
                        "write it as a string: \"0.5\"",
                    );
                }
            },
            Tok::Variable => {
                let Some((value, keys)) = self.declared.get(text).cloned() else {
                    return self.undeclared(token.span);
                };
                self.used.extend(keys);
                value
            }
            Tok::Open => {
                if depth >= MAX_DEPTH {
                    return error(
                        Code::Limit,
                        token.span,
                        "parentheses nested too deep",
                        "expected at most 16 levels",
                        "simplify the action",
                    );
                }
                let value = self.pipeline(depth + 1)?;
                let close = self.take();
                if close.tok != Tok::Close {
                    return error(
                        Code::Syntax,
                        token.span,
                        "`(` in an action that is never closed",
                        "expected )",
                        "add )",
                    );
                }
                fields = matches!(self.token(), next if next.tok == Tok::Field && next.span.start == close.span.end);
                value
            }
            Tok::Field => {
                return error(
                    Code::Unsupported,
                    token.span,
                    format!("`{text}`: a query template has no data of its own"),
                    "expected a function such as name, target or variables.key",
                    nearest(text.trim_start_matches('.'), VALUES.into_iter()).map_or_else(
                        || "write {{ variables.key }} for values of your own".to_owned(),
                        |near| format!("write {{{{ {near} }}}}"),
                    ),
                );
            }
            Tok::Close | Tok::Pipe | Tok::Declare | Tok::Assign | Tok::End => {
                return error(
                    Code::Syntax,
                    token.span,
                    match token.tok {
                        Tok::End => "the end of the action".to_owned(),
                        _ => format!("`{text}` in a template action"),
                    },
                    "expected a function, a variable or a string",
                    "write an action such as {{ target }} or {{ variables.key }}",
                );
            }
        };
        while fields {
            let field = self.take();
            fields =
                matches!(self.token(), next if next.tok == Tok::Field && next.span.start == field.span.end);
            let key = self.text(field.span).trim_start_matches('.');
            value = match value {
                Value::Map if !key.is_empty() => self.variable(key, field.span)?,
                Value::Map | Value::Text(_) | Value::Integer(_) => {
                    return error(
                        Code::Syntax,
                        field.span,
                        format!("the field `.{key}` of {}", value.name()),
                        "expected fields only of `variables`",
                        "write {{ variables.key }}",
                    );
                }
            };
        }
        Ok(value)
    }

    fn undeclared<T>(&self, span: Span) -> Outcome<T> {
        let name = self.text(span);
        let declared = self.declared.keys().map(String::as_str);
        error(
            Code::Variable,
            span,
            format!("the variable `{name}`, which is not declared"),
            "expected a variable declared before",
            nearest(name, declared).map_or_else(
                || format!("declare it: {{{{ {name} := target }}}}"),
                |near| format!("did you mean {near}?"),
            ),
        )
    }

    /// `variables.key`.
    fn variable(&mut self, key: &str, span: Span) -> Outcome<Value> {
        self.keys.insert(key.to_owned());
        if let Some(value) = self.context.variables.get(key) {
            self.used.insert(key.to_owned());
            return Ok(Value::Text(value.clone()));
        }
        if self.context.any_variable {
            self.used.insert(key.to_owned());
            return Ok(Value::Text(STAND_IN.to_owned()));
        }
        let known = self.context.variables.keys().map(String::as_str);
        let fix = match nearest(key, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("add {key} to the templateVariables of the metric"),
        };
        error(
            Code::Variable,
            span,
            format!("the variable `{key}`, which has no value"),
            "expected a key of templateVariables",
            fix,
        )
    }

    fn call(&mut self, name: Span, arguments: Vec<(Value, Span)>) -> Outcome<Value> {
        let function = self.text(name);
        self.functions.insert(function.to_owned());
        if let Some((_, span)) = arguments.first().filter(|_| VALUES.contains(&function)) {
            return error(
                Code::Syntax,
                *span,
                format!("an argument for `{function}`"),
                "expected none",
                if function == "variables" {
                    "write {{ variables.key }}".to_owned()
                } else {
                    format!("write {{{{ {function} }}}}")
                },
            );
        }
        match function {
            "variables" => Ok(Value::Map),
            "printf" => format::printf(name, arguments),
            "print" | "println" => format::print(function, arguments),
            "index" => self.index(name, &arguments),
            _ => match self.context.value(function) {
                Some(value) => Ok(Value::Text(value.to_owned())),
                None => self.unknown(name, function),
            },
        }
    }

    fn unknown(&self, span: Span, function: &str) -> Outcome<Value> {
        if UNSUPPORTED.contains(&function) {
            return self.unsupported(span);
        }
        let near = nearest(function, VALUES.into_iter().chain(FUNCTIONS));
        error(
            Code::Function,
            span,
            format!("the unknown template function `{function}`"),
            "expected name, namespace, target, service, ingress, route, interval, variables.key, printf, print or index",
            near.map_or_else(
                || format!("for a value of your own write {{{{ variables.{function} }}}}"),
                |near| format!("did you mean {near}?"),
            ),
        )
    }

    fn unsupported<T>(&self, span: Span) -> Outcome<T> {
        error(
            Code::Unsupported,
            span,
            format!("`{}` in a template action", self.text(span)),
            "expected values only: queries hold no conditions, loops or comparisons",
            "write one template for each case, and choose it with templateRef",
        )
    }

    fn index(&mut self, name: Span, arguments: &[(Value, Span)]) -> Outcome<Value> {
        match arguments {
            [(Value::Map, _), (Value::Text(key), span)] => {
                // Go's index gives an empty string for a key that is not there.
                if self.context.variables.contains_key(key) || self.context.any_variable {
                    return self.variable(key, *span);
                }
                self.keys.insert(key.clone());
                Ok(Value::Text(String::new()))
            }
            _ => error(
                Code::Syntax,
                name,
                "`index` with other arguments than a map and a key",
                "expected index variables \"key\"",
                "write {{ index variables \"key\" }}",
            ),
        }
    }

    /// What a quoted string of an action stands for. Its escapes are those of PromQL's double-quoted strings.
    fn unquote(&self, span: Span) -> Outcome<String> {
        let quoted = self.text(span);
        let bytes = match super::super::promql::unquoted(quoted) {
            Some(bytes) => String::from_utf8(bytes).ok(),
            None => None,
        };
        match bytes {
            Some(text) => Ok(text),
            None => error(
                Code::Syntax,
                span,
                format!("the string {quoted} with an unknown escape"),
                "expected escapes such as \\\", \\\\ or \\n",
                "double the backslash, or quote the string with backticks",
            ),
        }
    }
}

/// What a value looks like in the query.
pub(super) fn output(value: Value, span: Span) -> Outcome<String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Map => error(
            Code::Syntax,
            span,
            "`variables` without a key",
            "expected one variable",
            "write {{ variables.key }}",
        ),
    }
}

/// Go reads a number with a leading zero as octal.
fn is_octal(number: &str) -> bool {
    let digits = number.trim_start_matches(['+', '-']);
    digits.len() > 1 && digits.starts_with('0')
}
