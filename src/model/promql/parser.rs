//! Tokens → tree, by operator precedence.
//!
//! Promises: time linear in the tokens; recursion only into brackets, of which the lexer allows [`super::MAX_DEPTH`];
//! operators wait on a stack of our own, at most [`super::MAX_OPERATORS`] of them. A slip whose meaning is clear (a missing
//! comma, `=` for `==`) is reported and read as it was meant, so that the next one is reported too.

use super::ast::{Expr, ExprKind, Moved, ValueType};
use super::call;
use super::functions::{self, Aggregation};
use super::lexer::{self, Tok, Token};
use super::literal;
use super::place::Span;
use super::types::{self, Matching};
use super::word::{Operator, Word};
use super::{Code, Fault, Findings, MAX_MATCHERS, MAX_OPERATORS, quoted};

/// Parsing cannot go on; the reason is among the findings.
#[derive(Debug)]
pub(super) struct Stop;

pub(super) type Parsed<T> = Result<T, Stop>;

/// Parses a whole query.
pub(super) fn parse(query: &str) -> (Option<Expr>, Findings<'_>) {
    let lexed = lexer::tokens(query);
    let mut parser = Parser {
        query,
        tokens: lexed.list,
        broken: lexed.broken,
        at: 0,
        operators: 0,
        matchers: 0,
        calls: 0,
        findings: Findings::new(query),
    };
    let expr = parser.query().ok();
    (expr, parser.findings)
}

pub(super) struct Parser<'a> {
    pub(super) query: &'a str,
    tokens: Vec<Token>,
    broken: Option<Fault>,
    at: usize,
    operators: usize,
    matchers: usize,
    /// Argument lists open around the current place.
    pub(super) calls: usize,
    pub(super) findings: Findings<'a>,
}

/// What waits for its right operand.
enum Waiting {
    Sign(Token),
    Infix {
        left: Expr,
        operator: Operator,
        place: Span,
        matching: Matching,
    },
}

impl<'a> Parser<'a> {
    fn query(&mut self) -> Parsed<Expr> {
        if self.tok() == Tok::End {
            return Err(self.stop(
                Span::at(0),
                "an empty query".to_owned(),
                "expected a PromQL expression",
                "write the query, or leave the field out".to_owned(),
            ));
        }
        let expr = self.expression()?;
        if self.tok() == Tok::End {
            return Ok(expr);
        }
        Err(self.after_operand(&expr))
    }

    // Tokens.

    pub(super) fn token(&self) -> Token {
        // The list ends with End or Broken, which is never passed.
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.at.min(last)).copied().unwrap_or(Token {
            tok: Tok::End,
            span: Span::at(self.query.len()),
        })
    }

    pub(super) fn tok(&self) -> Tok {
        self.token().tok
    }

    /// The token behind the current one.
    pub(super) fn following(&self) -> Tok {
        self.tokens.get(self.at + 1).map_or(Tok::End, |token| token.tok)
    }

    pub(super) fn take(&mut self) -> Token {
        let token = self.token();
        if !matches!(token.tok, Tok::End | Tok::Broken) {
            self.at += 1;
        }
        token
    }

    /// The token before the current one.
    pub(super) fn last(&self) -> Option<Token> {
        let last = self.at.checked_sub(1).and_then(|index| self.tokens.get(index));
        last.copied()
    }

    /// Takes the token if it is this one.
    pub(super) fn accept(&mut self, tok: Tok) -> Option<Token> {
        (self.tok() == tok).then(|| self.take())
    }

    pub(super) fn text(&self, span: Span) -> &'a str {
        span.of(self.query)
    }

    /// The end of the token before the current one.
    pub(super) fn end_of_last(&self) -> usize {
        self.last().map_or(0, |token| token.span.end)
    }

    // Findings.

    pub(super) fn fault(&mut self, span: Span, found: String, expected: &str, fix: String) {
        self.findings
            .fault(Code::Syntax, span, found, expected.to_owned(), fix);
    }

    pub(super) fn stop(&mut self, span: Span, found: String, expected: &str, fix: String) -> Stop {
        self.fault(span, found, expected, fix);
        Stop
    }

    /// The current token cannot stand here. Where the text itself is broken, that is what is said.
    pub(super) fn unexpected(&mut self, expected: &str, fix: impl Into<String>) -> Stop {
        let token = self.token();
        if let Some(broken) = self.broken.take_if(|_| token.tok == Tok::Broken) {
            self.findings.push(broken);
            return Stop;
        }
        let found = self.found(token);
        self.stop(token.span, found, expected, fix.into())
    }

    /// A token, for people.
    pub(super) fn found(&self, token: Token) -> String {
        match token.tok {
            Tok::End => "the end of the query".to_owned(),
            Tok::Text => format!("the string {}", super::short(self.text(token.span))),
            Tok::Number => format!("the number {}", super::short(self.text(token.span))),
            Tok::Duration => format!("the duration {}", super::short(self.text(token.span))),
            _ => quoted(self.query, token.span),
        }
    }

    fn too_many(&mut self, span: Span, what: &str, most: usize) -> Stop {
        self.findings.fault(
            Code::Limit,
            span,
            format!("more than {most} {what}"),
            format!("expected at most {most}"),
            "simplify the query, or record parts of it with recording rules".to_owned(),
        );
        Stop
    }

    pub(super) fn count_operator(&mut self, span: Span) -> Parsed<()> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            return Err(self.too_many(span, "operators", MAX_OPERATORS));
        }
        Ok(())
    }

    pub(super) fn count_matcher(&mut self, span: Span) -> Parsed<()> {
        self.matchers += 1;
        if self.matchers > MAX_MATCHERS {
            return Err(self.too_many(span, "label matchers", MAX_MATCHERS));
        }
        Ok(())
    }

    // Operators and operands.

    fn expression(&mut self) -> Parsed<Expr> {
        /// Signs bind as `*` does.
        const SIGN: u8 = 5;
        let mut waiting: Vec<Waiting> = Vec::new();
        loop {
            while let Tok::Operator(Operator::Add | Operator::Sub) = self.tok() {
                let sign = self.take();
                self.count_operator(sign.span)?;
                waiting.push(Waiting::Sign(sign));
            }
            let operand = self.operand()?;
            let mut operand = self.postfix(operand)?;
            let next = self.infix();
            let strength = next.map_or(0, Operator::strength);
            while let Some(top) = waiting.pop_if(|top| match top {
                Waiting::Sign(_) => SIGN >= strength,
                Waiting::Infix { operator, .. } => {
                    operator.strength() > strength
                        || operator.strength() == strength && *operator != Operator::Pow
                }
            }) {
                operand = self.combine(top, operand);
            }
            let Some(operator) = next else {
                return Ok(operand);
            };
            let place = self.take().span;
            self.count_operator(place)?;
            let matching = self.matching()?;
            waiting.push(Waiting::Infix {
                left: operand,
                operator,
                place,
                matching,
            });
        }
    }

    fn combine(&mut self, waiting: Waiting, right: Expr) -> Expr {
        match waiting {
            Waiting::Sign(sign) => {
                let minus = sign.tok == Tok::Operator(Operator::Sub);
                let span = sign.span.to(right.span);
                let result = types::unary(&mut self.findings, if minus { "-" } else { "+" }, &right);
                let kind = match right.kind {
                    ExprKind::Number(value) => ExprKind::Number(if minus { -value } else { value }),
                    _ => ExprKind::Unary(Box::new(right)),
                };
                Expr { span, result, kind }
            }
            Waiting::Infix {
                left,
                operator,
                place,
                matching,
            } => {
                let result = types::binary(&mut self.findings, operator, place, (&left, &right), &matching);
                Expr {
                    span: left.span.to(right.span),
                    result,
                    kind: ExprKind::Binary {
                        operator,
                        operands: Box::new((left, right)),
                    },
                }
            }
        }
    }

    /// The infix operator at the current place, not taken yet.
    fn infix(&mut self) -> Option<Operator> {
        let token = self.token();
        match token.tok {
            Tok::Operator(operator) | Tok::Word(Word::Operator(operator)) => Some(operator),
            Tok::Assign => {
                self.fault(
                    token.span,
                    "`=` between two values".to_owned(),
                    "expected `==` to compare; a single `=` only matches labels inside braces",
                    "write ==".to_owned(),
                );
                Some(Operator::Equal)
            }
            _ => None,
        }
    }

    /// The value of a number or a duration, which is the current token.
    pub(super) fn seconds_or_number(&mut self, expected: &str) -> Parsed<f64> {
        let token = self.token();
        match token.tok {
            Tok::Number => {
                self.take();
                Ok(self.number(token.span))
            }
            Tok::Duration => {
                self.take();
                Ok(self.duration(token.span))
            }
            _ => Err(self.unexpected(expected, "write a number or a duration here")),
        }
    }

    fn number(&mut self, span: Span) -> f64 {
        let text = self.text(span);
        literal::number(text).unwrap_or_else(|| {
            let found = format!("the number {}", super::short(text));
            self.fault(
                span,
                found,
                "expected a number that fits in 64 bits, such as 0.5, 1e3 or 0x1f",
                "check the digits".to_owned(),
            );
            f64::NAN
        })
    }

    fn duration(&mut self, span: Span) -> f64 {
        let text = self.text(span);
        literal::duration(text).unwrap_or_else(|expected| {
            let found = format!("the duration {}", super::short(text));
            self.fault(span, found, expected, "write it like 30s, 5m or 1h30m".to_owned());
            f64::NAN
        })
    }

    fn operand(&mut self) -> Parsed<Expr> {
        let token = self.token();
        match token.tok {
            Tok::Number | Tok::Duration => {
                let value = self.seconds_or_number("")?;
                Ok(Expr {
                    span: token.span,
                    result: ValueType::Scalar,
                    kind: ExprKind::Number(value),
                })
            }
            Tok::Text => {
                self.take();
                let value = literal::unquote(self.text(token.span));
                Ok(Expr {
                    span: token.span,
                    result: ValueType::Text,
                    kind: ExprKind::Text(String::from_utf8_lossy(&value).into_owned()),
                })
            }
            Tok::OpenParen => self.parentheses(),
            Tok::OpenBrace | Tok::MetricName => self.selector(),
            Tok::Name if self.following() == Tok::OpenParen => self.call(),
            Tok::Name => {
                if matches!(self.following(), Tok::Word(Word::By | Word::Without)) {
                    return Err(self.misspelt_aggregation(token));
                }
                self.selector()
            }
            Tok::Word(Word::Aggregation(aggregation))
                if matches!(
                    self.following(),
                    Tok::OpenParen | Tok::Word(Word::By | Word::Without)
                ) =>
            {
                self.aggregate(aggregation)
            }
            Tok::Word(Word::Start | Word::End | Word::Step | Word::Range | Word::MaxOf | Word::MinOf)
                if self.following() == Tok::OpenParen =>
            {
                self.call()
            }
            Tok::Word(word) if word.names_a_metric() => self.selector(),
            _ => Err(self.no_operand()),
        }
    }

    fn parentheses(&mut self) -> Parsed<Expr> {
        let open = self.take();
        let calls = std::mem::take(&mut self.calls);
        let inner = self.expression()?;
        self.calls = calls;
        let Some(close) = self.accept(Tok::CloseParen) else {
            return Err(self.after_operand(&inner));
        };
        Ok(Expr {
            span: open.span.to(close.span),
            result: inner.result,
            kind: ExprKind::Paren(Box::new(inner)),
        })
    }

    fn call(&mut self) -> Parsed<Expr> {
        let name = self.take();
        let function = self.text(name.span).to_owned();
        let known = functions::function(&function);
        if known.is_none() {
            self.unknown_function(name.span, &function);
        }
        let (arguments, close) = self.arguments()?;
        let span = name.span.to(close);
        let result = match known {
            Some(known) => call::call(&mut self.findings, known, name.span, &arguments, span),
            None => ValueType::Vector,
        };
        Ok(Expr {
            span,
            result,
            kind: ExprKind::Call { function, arguments },
        })
    }

    /// `(a, b)`; the arguments and the place of the closing parenthesis.
    fn arguments(&mut self) -> Parsed<(Vec<Expr>, Span)> {
        self.take();
        self.calls += 1;
        let mut arguments = Vec::new();
        if let Some(close) = self.accept(Tok::CloseParen) {
            self.calls -= 1;
            return Ok((arguments, close.span));
        }
        loop {
            let argument = self.expression()?;
            if let Some(close) = self.accept(Tok::CloseParen) {
                arguments.push(argument);
                self.calls -= 1;
                return Ok((arguments, close.span));
            }
            let Some(comma) = self.accept(Tok::Comma) else {
                return Err(self.after_operand(&argument));
            };
            arguments.push(argument);
            if self.tok() == Tok::CloseParen {
                self.fault(
                    comma.span,
                    "a comma after the last argument".to_owned(),
                    "expected another argument",
                    "remove the comma".to_owned(),
                );
                self.calls -= 1;
                return Ok((arguments, self.take().span));
            }
        }
    }

    fn aggregate(&mut self, aggregation: Aggregation) -> Parsed<Expr> {
        let name = self.take();
        let mut grouping = self.grouping()?;
        if self.tok() != Tok::OpenParen {
            let title = aggregation.name();
            return Err(self.unexpected(
                "expected the aggregated expression in parentheses",
                format!("write {title} by (label) (expression)"),
            ));
        }
        let (arguments, close) = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let span = Span::new(name.span.start, self.end_of_last().max(close.end));
        let (parameter, inner) =
            types::aggregate(&mut self.findings, aggregation, arguments, span, name.span);
        Ok(Expr {
            span,
            result: ValueType::Vector,
            kind: ExprKind::Aggregate {
                aggregation,
                parameter,
                grouping: grouping.unwrap_or_default(),
                inner,
            },
        })
    }

    // Behind an operand.

    /// Ranges, subqueries, `offset`, `@` behind an operand.
    fn postfix(&mut self, operand: Expr) -> Parsed<Expr> {
        let mut operand = operand;
        loop {
            operand = match self.tok() {
                Tok::OpenBracket => self.brackets(operand)?,
                Tok::Word(Word::Offset) => self.offset(operand)?,
                Tok::At => self.at(operand)?,
                Tok::Word(word @ (Word::Anchored | Word::Smoothed)) => self.extended(operand, word),
                _ => return Ok(operand),
            };
        }
    }

    /// What may be moved in time: a selector, a range, a subquery.
    pub(super) fn moved(operand: &mut Expr) -> Option<&mut Moved> {
        match &mut operand.kind {
            ExprKind::Selector(selector) | ExprKind::Range(selector) => Some(&mut selector.moved),
            ExprKind::Subquery { moved, .. } => Some(moved),
            ExprKind::Number(_)
            | ExprKind::Text(_)
            | ExprKind::Call { .. }
            | ExprKind::Aggregate { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Unary(_)
            | ExprKind::Paren(_) => None,
        }
    }
}
