//! Selectors: a metric name, matchers in braces, their values and regexes.

use super::ast::{Expr, ExprKind, Matcher, Selector, ValueType};
use super::lexer::{Tok, Token};
use super::literal;
use super::parser::{Parsed, Parser};
use super::place::Span;
use super::types;
use super::word::Operator;
use super::{Code, MAX_REGEX_BYTES, quoted, regex};

impl Parser<'_> {
    /// `name{…}`, `name` or `{…}`.
    pub(super) fn selector(&mut self) -> Parsed<Expr> {
        let first = self.token();
        let mut selector = Selector::default();
        if first.tok != Tok::OpenBrace {
            self.take();
            selector.name = Some(self.text(first.span).to_owned());
            if self.tok() == Tok::OpenParen && first.tok == Tok::MetricName {
                return Err(self.unexpected(
                    "expected an operator or the end: names with a colon are metrics, not functions",
                    "write the function's name without a colon",
                ));
            }
        }
        if self.tok() == Tok::OpenBrace {
            self.take();
            selector.matchers = self.matchers()?;
        }
        let span = Span::new(first.span.start, self.end_of_last());
        types::selector(
            &mut self.findings,
            selector.name.as_deref(),
            &selector.matchers,
            span,
        );
        Ok(Expr {
            span,
            result: ValueType::Vector,
            kind: ExprKind::Selector(Box::new(selector)),
        })
    }

    /// Up to and with the closing brace.
    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        const EXPECTED: &str = "expected label matchers such as label=\"value\"";
        let mut matchers = Vec::new();
        if self.accept(Tok::CloseBrace).is_some() {
            return Ok(matchers);
        }
        loop {
            match self.tok() {
                Tok::Name | Tok::Text => matchers.push(self.matcher()?),
                Tok::Comma => return Err(self.unexpected(EXPECTED, "remove this comma")),
                Tok::CloseBrace => {
                    self.take();
                    return Ok(matchers);
                }
                _ => return Err(self.unexpected(EXPECTED, "write label=\"value\"")),
            }
            match self.tok() {
                Tok::Comma => {
                    self.take();
                }
                Tok::CloseBrace => {}
                Tok::Name | Tok::Text => {
                    let next = quoted(self.query, self.token().span);
                    let fix = match matchers.last() {
                        Some(last) => format!("add a comma after {}", quoted(self.query, last.span)),
                        None => "add a comma here".to_owned(),
                    };
                    self.fault(
                        Span::at(self.end_of_last()),
                        format!("no comma before the label {next}"),
                        "expected a comma between label matchers",
                        fix,
                    );
                }
                _ => {
                    return Err(
                        self.unexpected("expected a comma or `}` after a matcher", "close the braces")
                    );
                }
            }
        }
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let name = self.take();
        let is_quoted = name.tok == Tok::Text;
        let label = if is_quoted {
            String::from_utf8_lossy(&literal::unquote(self.text(name.span))).into_owned()
        } else {
            self.text(name.span).to_owned()
        };
        self.count_matcher(name.span)?;
        let operator = self.token();
        match operator.tok {
            Tok::Assign | Tok::Matches | Tok::MatchesNot | Tok::Operator(Operator::NotEqual) => {
                self.take();
            }
            Tok::DoubleEqual => {
                self.take();
                self.fault(
                    operator.span,
                    "`==` in a matcher".to_owned(),
                    "expected one of = != =~ !~",
                    "write =".to_owned(),
                );
            }
            _ if is_quoted => {
                return Ok(Matcher {
                    span: name.span,
                    label: "__name__".to_owned(),
                    matches_empty: label.is_empty(),
                    value: label,
                });
            }
            _ => {
                let label = super::short(&label);
                return Err(self.unexpected(
                    &format!("expected one of = != =~ !~ after the label `{label}`"),
                    format!("write {label}=\"value\""),
                ));
            }
        }
        let value = self.value(operator)?;
        Ok(self.complete(name.span, label, operator.tok, value))
    }

    /// The quoted value; one without quotes is reported and taken as it is.
    fn value(&mut self, operator: Token) -> Parsed<Token> {
        let token = self.token();
        match token.tok {
            Tok::Text => {}
            Tok::Bare | Tok::Name => {
                let text = super::short(self.text(token.span));
                self.fault(
                    token.span,
                    format!("the value {text} without quotes"),
                    "expected a quoted string",
                    format!("write \"{text}\""),
                );
            }
            _ => {
                let operator = self.text(operator.span).to_owned();
                return Err(self.unexpected(
                    &format!("expected a quoted value after `{operator}`"),
                    format!("write {operator}\"value\""),
                ));
            }
        }
        Ok(self.take())
    }

    fn complete(&mut self, name: Span, label: String, operator: Tok, value: Token) -> Matcher {
        let bytes = match value.tok {
            Tok::Text => literal::unquote(self.text(value.span)),
            _ => self.text(value.span).as_bytes().to_vec(),
        };
        let is_text = std::str::from_utf8(&bytes).is_ok();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let matches_empty = match operator {
            Tok::Matches => self.regex(value.span, &text, is_text),
            Tok::MatchesNot => !self.regex(value.span, &text, is_text),
            Tok::Operator(_) => !text.is_empty(),
            _ => text.is_empty(),
        };
        Matcher {
            span: name.to(value.span),
            label,
            value: text,
            matches_empty,
        }
    }

    /// Whether a regex matches nothing; a broken one is reported.
    fn regex(&mut self, span: Span, pattern: &str, is_text: bool) -> bool {
        if pattern.len() > MAX_REGEX_BYTES {
            self.findings.fault(
                Code::Limit,
                span,
                format!("a regex of {} bytes", pattern.len()),
                format!("expected at most {MAX_REGEX_BYTES}"),
                "shorten it, or record the metric with a label that is easier to match".to_owned(),
            );
            return false;
        }
        let read = if is_text {
            regex::read(pattern)
        } else {
            Err(regex::RegexFault {
                found: "bytes that are no UTF-8".to_owned(),
                fix: "write the characters themselves",
            })
        };
        match read {
            Ok(regex) => regex.matches_empty,
            Err(fault) => {
                self.findings.fault(
                    Code::Regex,
                    span,
                    format!("a regex with {}", fault.found),
                    "expected RE2 syntax".to_owned(),
                    fault.fix.to_owned(),
                );
                false
            }
        }
    }
}
