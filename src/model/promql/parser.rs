//! Tokens → tree, by operator precedence.
//!
//! Promises: time linear in the tokens; recursion only into brackets, of which the lexer allows [`super::MAX_DEPTH`];
//! operators wait on a stack of our own, at most [`super::MAX_OPERATORS`] of them. A slip whose meaning is clear (a missing
//! comma, `=` for `==`) is reported and read as it was meant, so that the next one is reported too.

use super::ast::{Expr, ExprKind, Moved, ValueType};
use super::functions::{self, Aggregation};
use super::lexer::{self, Operator, Tok, Token, Word};
use super::literal;
use super::place::Span;
use super::spelling::nearest;
use super::types::{self, Matching};
use super::{Code, Fault, Findings, MAX_MATCHERS, MAX_OPERATORS, quoted};

/// Parsing cannot go on; the reason is among the findings.
#[derive(Debug)]
pub(super) struct Stop;

pub(super) type Parsed<T> = Result<T, Stop>;

/// Parses a whole query.
pub(super) fn parse<'a>(query: &'a str) -> (Option<Expr>, Findings<'a>) {
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
    calls: usize,
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

    /// Takes the token if it is this one.
    pub(super) fn accept(&mut self, tok: Tok) -> Option<Token> {
        (self.tok() == tok).then(|| self.take())
    }

    pub(super) fn text(&self, span: Span) -> &'a str {
        span.of(self.query)
    }

    /// The end of the token before the current one.
    pub(super) fn end_of_last(&self) -> usize {
        let last = self.at.checked_sub(1).and_then(|index| self.tokens.get(index));
        last.map_or(0, |token| token.span.end)
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

    /// `bool`, `on(…)`, `group_left(…)`, `fill(…)` behind an operator.
    fn matching(&mut self) -> Parsed<Matching> {
        let mut matching = Matching {
            yields_bool: self.accept(Tok::Word(Word::Bool)).map(|token| token.span),
            ..Matching::default()
        };
        if let Tok::Word(word @ (Word::On | Word::Ignoring)) = self.tok() {
            let name = if word == Word::On { "on" } else { "ignoring" };
            self.take();
            matching.labels = Some((word == Word::On, self.labels(name)?));
        }
        if let Tok::Word(word @ (Word::GroupLeft | Word::GroupRight)) = self.tok() {
            let name = if word == Word::GroupLeft {
                "group_left"
            } else {
                "group_right"
            };
            if matching.labels.is_none() {
                return Err(self.unexpected(
                    "expected `on(…)` or `ignoring(…)` before a group clause",
                    format!("write on(label) {name}(…)"),
                ));
            }
            let place = self.take().span;
            let labels = if self.tok() == Tok::OpenParen {
                self.labels(name)?
            } else {
                Vec::new()
            };
            matching.group = Some((place, labels));
        }
        if let Tok::Word(word @ (Word::Fill | Word::FillLeft | Word::FillRight)) = self.tok() {
            let place = self.fill()?;
            matching.fill = Some(place);
            let other = match word {
                Word::FillLeft => Some(Word::FillRight),
                Word::FillRight => Some(Word::FillLeft),
                _ => None,
            };
            if other.is_some_and(|other| self.tok() == Tok::Word(other)) {
                self.fill()?;
            }
        }
        Ok(matching)
    }

    /// `fill(value)`; the word is the current token.
    fn fill(&mut self) -> Parsed<Span> {
        const EXPECTED: &str = "expected a number in parentheses, such as fill(0)";
        let place = self.take().span;
        self.findings.note(
            place,
            "`fill` is experimental".to_owned(),
            "Prometheus reads it only with --enable-feature=promql-binop-fill-modifiers",
        );
        if self.accept(Tok::OpenParen).is_none() {
            return Err(self.unexpected(EXPECTED, "write fill(0)"));
        }
        let _sign = self
            .accept(Tok::Operator(Operator::Add))
            .or_else(|| self.accept(Tok::Operator(Operator::Sub)));
        self.seconds_or_number(EXPECTED)?;
        if self.accept(Tok::CloseParen).is_none() {
            return Err(self.unexpected("expected `)` after the value", "close the parenthesis"));
        }
        Ok(place)
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

    /// Nothing an operand could begin with.
    fn no_operand(&mut self) -> Stop {
        const EXPECTED: &str = "expected a metric, a function, a number or a parenthesis";
        let token = self.token();
        let before = self
            .at
            .checked_sub(1)
            .and_then(|index| self.tokens.get(index))
            .copied();
        let fix = match (before.map(|before| (before.tok, before)), token.tok) {
            (Some((Tok::Operator(_) | Tok::Word(Word::Operator(_)), before)), Tok::End | Tok::CloseParen) => {
                format!(
                    "write what {} applies to, or remove it",
                    quoted(self.query, before.span)
                )
            }
            (Some((Tok::OpenParen, _)), Tok::CloseParen) => {
                "write an expression between the parentheses".to_owned()
            }
            (Some((Tok::Operator(_) | Tok::Word(Word::Operator(_)), _)), Tok::Operator(_)) => {
                "remove one of the two operators".to_owned()
            }
            (Some((Tok::OpenParen | Tok::Comma, _)), Tok::Comma) => "remove this comma".to_owned(),
            (_, Tok::Operator(_) | Tok::Assign) => "write an operand before it".to_owned(),
            (_, Tok::Word(_)) => "the word belongs behind an operator; it cannot name a metric".to_owned(),
            _ => String::new(),
        };
        self.unexpected(EXPECTED, fix)
    }

    fn misspelt_aggregation(&mut self, token: Token) -> Stop {
        let name = self.text(token.span).to_owned();
        let names = Aggregation::ALL.into_iter().map(Aggregation::name);
        self.findings.fault(
            Code::Function,
            token.span,
            format!("the unknown aggregation `{}`", super::short(&name)),
            "expected an aggregation such as sum, avg, max or count".to_owned(),
            nearest(&name, names).map_or_else(
                || format!("write sum by (label) ({})", super::short(&name)),
                |near| format!("did you mean {near}?"),
            ),
        );
        Stop
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
            Some(known) => types::call(&mut self.findings, known, name.span, &arguments, span),
            None => ValueType::Vector,
        };
        Ok(Expr {
            span,
            result,
            kind: ExprKind::Call { function, arguments },
        })
    }

    fn unknown_function(&mut self, span: Span, name: &str) {
        let names = functions::names().chain(Aggregation::ALL.into_iter().map(Aggregation::name));
        let fix = if name == "holt_winters" {
            "Prometheus 3 calls it double_exponential_smoothing".to_owned()
        } else {
            nearest(name, names).map_or_else(
                || "use a function of the Prometheus documentation".to_owned(),
                |near| format!("did you mean {near}?"),
            )
        };
        self.findings.fault(
            Code::Function,
            span,
            format!("the unknown function `{}`", super::short(name)),
            "expected a function or aggregation of PromQL".to_owned(),
            fix,
        );
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

    /// `by (…)` or `without (…)`, if it stands here.
    fn grouping(&mut self) -> Parsed<Option<Vec<String>>> {
        let name = match self.tok() {
            Tok::Word(Word::By) => "by",
            Tok::Word(Word::Without) => "without",
            _ => return Ok(None),
        };
        self.take();
        self.labels(name).map(Some)
    }

    /// `(a, b)` behind `by`, `on`, `group_left`, …
    fn labels(&mut self, after: &str) -> Parsed<Vec<String>> {
        let mut labels = Vec::new();
        if self.accept(Tok::OpenParen).is_none() {
            let token = self.token();
            if !matches!(token.tok, Tok::Name | Tok::MetricName | Tok::Word(_)) {
                return Err(self.unexpected(
                    &format!("expected labels in parentheses after `{after}`"),
                    format!("write {after} (label)"),
                ));
            }
            let label = self.text(token.span).to_owned();
            self.fault(
                token.span,
                format!(
                    "the label `{}` after `{after}` without parentheses",
                    super::short(&label)
                ),
                &format!("expected labels in parentheses after `{after}`"),
                format!("write {after} ({})", super::short(&label)),
            );
            self.take();
            labels.push(label);
            while self.tok() == Tok::Comma && matches!(self.following(), Tok::Name | Tok::MetricName) {
                self.take();
                let label = self.take();
                labels.push(self.text(label.span).to_owned());
            }
            return Ok(labels);
        }
        loop {
            let token = self.token();
            match token.tok {
                Tok::CloseParen => {
                    self.take();
                    return Ok(labels);
                }
                Tok::Word(Word::Without) => return Err(self.not_a_label(after)),
                Tok::Name | Tok::MetricName | Tok::Word(_) => {
                    self.take();
                    labels.push(self.text(token.span).to_owned());
                }
                Tok::Text => {
                    self.take();
                    let label = String::from_utf8(literal::unquote(self.text(token.span)));
                    match label {
                        Ok(label) if !label.is_empty() => labels.push(label),
                        _ => self.fault(
                            token.span,
                            "a label name that is empty or no UTF-8".to_owned(),
                            "expected a label name",
                            "write the name of a label".to_owned(),
                        ),
                    }
                }
                _ => return Err(self.not_a_label(after)),
            }
            match self.tok() {
                Tok::Comma => {
                    self.take();
                }
                Tok::CloseParen => {}
                Tok::Name | Tok::Text => {
                    let next = self.found(self.token());
                    self.fault(
                        Span::at(self.end_of_last()),
                        format!("no comma before {next}"),
                        "expected a comma between labels",
                        "add a comma here".to_owned(),
                    );
                }
                _ => {
                    return Err(
                        self.unexpected("expected a comma or `)` in the list of labels", "close the list")
                    );
                }
            }
        }
    }

    fn not_a_label(&mut self, after: &str) -> Stop {
        self.unexpected(
            &format!("expected label names after `{after}`"),
            format!("write {after} (label, other), names only"),
        )
    }

    // Behind an operand.

    /// A complete operand is followed by something that cannot follow it.
    pub(super) fn after_operand(&mut self, operand: &Expr) -> Stop {
        let token = self.token();
        let before = quoted(self.query, operand.span);
        let inner = before.trim_matches('`').to_owned();
        match token.tok {
            Tok::Word(word @ (Word::By | Word::Without)) => {
                let name = if word == Word::By { "by" } else { "without" };
                let aggregate = matches!(operand.kind, ExprKind::Aggregate { .. });
                self.unexpected(
                    if aggregate {
                        "expected one `by` or `without` for an aggregation"
                    } else {
                        "expected `by` and `without` only before or after the parentheses of an aggregation"
                    },
                    if aggregate {
                        "name all labels in one list".to_owned()
                    } else {
                        format!("write sum {name} (label) ({inner})")
                    },
                )
            }
            Tok::Word(
                Word::Bool
                | Word::On
                | Word::Ignoring
                | Word::GroupLeft
                | Word::GroupRight
                | Word::Fill
                | Word::FillLeft
                | Word::FillRight,
            ) => {
                let word = quoted(self.query, token.span);
                self.unexpected(
                    "expected an operator before it",
                    format!("{word} stands directly behind an operator: a == on(label) b"),
                )
            }
            Tok::OpenBrace => self.unexpected(
                "expected label matchers only after a metric name",
                match operand.kind {
                    ExprKind::Range(_) => "write the braces before the range: name{…}[1m]",
                    _ => "write the braces after the name of the metric they belong to",
                },
            ),
            Tok::Name
            | Tok::MetricName
            | Tok::Number
            | Tok::Duration
            | Tok::Text
            | Tok::OpenParen
            | Tok::Word(_) => self.missing_operator(token, operand, &before),
            Tok::Comma => self.unexpected(
                "expected an operator or the end of the expression",
                "a comma parts only arguments and matchers: remove it",
            ),
            Tok::End => self.unexpected("expected `)`", "close the parenthesis"),
            Tok::Broken
            | Tok::Operator(_)
            | Tok::CloseParen
            | Tok::CloseBrace
            | Tok::OpenBracket
            | Tok::CloseBracket
            | Tok::Colon
            | Tok::At
            | Tok::Assign
            | Tok::Matches
            | Tok::MatchesNot
            | Tok::DoubleEqual
            | Tok::Bare => self.unexpected("expected an operator or the end of the expression", "remove it"),
        }
    }

    fn missing_operator(&mut self, token: Token, operand: &Expr, before: &str) -> Stop {
        const WORDS: [&str; 9] = [
            "and", "or", "unless", "offset", "by", "without", "on", "ignoring", "atan2",
        ];
        let found = self.found(token);
        let word = self.text(token.span).to_owned();
        let last = self.text(operand.span);
        if functions::function(last).is_some() || Aggregation::ALL.iter().any(|one| one.name() == last) {
            return self.stop(
                token.span,
                format!("{found} directly after {before}"),
                "expected the arguments in parentheses",
                format!("write {last}(…)"),
            );
        }
        let near = match token.tok {
            Tok::Name => nearest(&word, WORDS.into_iter()),
            _ => None,
        };
        let (expected, fix) = match near {
            Some(near) => ("expected an operator", format!("did you mean {near}?")),
            None if self.calls > 0 => (
                "expected an operator, or a comma before the next argument",
                "write a comma or an operator such as + or / between the two".to_owned(),
            ),
            None => (
                "expected an operator between two operands",
                "write an operator such as +, / or and between the two".to_owned(),
            ),
        };
        self.stop(
            token.span,
            format!("{found} directly after {before}"),
            expected,
            fix,
        )
    }

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
