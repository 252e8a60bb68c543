//! Time behind an operand: ranges and subqueries in brackets, `offset`, `@`, and durations themselves.

use super::ast::{Expr, ExprKind, Moved, ValueType};
use super::lexer::{Tok, Token};
use super::parser::{Parsed, Parser};
use super::place::Span;
use super::types;
use super::word::{Operator, Word};
use super::{Code, quoted};

/// The longest duration Prometheus counts, in seconds: 63 bits of nanoseconds.
const LONGEST: f64 = 9_223_372_036.854_776;

/// A duration in brackets or behind `offset`.
#[derive(Debug, Clone, Copy)]
enum Length {
    /// Seconds.
    Literal(f64),
    /// Known when the query runs (experimental).
    Computed,
}

/// What waits for its right operand in a computed duration.
enum Waiting {
    Sign(Operator),
    Infix(Operator, Span),
}

impl Parser<'_> {
    /// `[5m]` or `[30m:1m]` behind an operand.
    pub(super) fn brackets(&mut self, operand: Expr) -> Parsed<Expr> {
        const EXPECTED: &str = "expected a duration such as [5m]";
        let open = self.take();
        if let Some(close) = self.accept(Tok::CloseBracket) {
            let place = open.span.to(close.span);
            return Err(self.stop(
                place,
                "an empty range".to_owned(),
                EXPECTED,
                "write a duration between the brackets, such as [1m] or [{{ interval }}]".to_owned(),
            ));
        }
        self.positive(EXPECTED)?;
        if self.accept(Tok::Colon).is_none() {
            let Some(close) = self.accept(Tok::CloseBracket) else {
                return Err(self.unexpected("expected `]` after the duration", "close the range"));
            };
            return Ok(self.range(operand, open.span.to(close.span)));
        }
        if self.tok() != Tok::CloseBracket {
            self.positive("expected a step such as 1m, or `]`")?;
        }
        let Some(close) = self.accept(Tok::CloseBracket) else {
            return Err(self.unexpected("expected `]` after the step", "close the subquery"));
        };
        self.count_operator(open.span)?;
        types::subquery(&mut self.findings, &operand);
        Ok(Expr {
            span: operand.span.to(close.span),
            result: ValueType::Matrix,
            kind: ExprKind::Subquery {
                inner: Box::new(operand),
                moved: Moved::default(),
            },
        })
    }

    fn range(&mut self, operand: Expr, brackets: Span) -> Expr {
        let span = operand.span.to(brackets);
        let text = quoted(self.query, operand.span);
        let bare = text.trim_matches('`');
        let range = self.text(brackets).to_owned();
        let fault = match &operand.kind {
            ExprKind::Selector(selector) if selector.moved.offset => Some((
                "a range after `offset`",
                format!("write the range first: name{range} offset …"),
            )),
            ExprKind::Selector(selector) if selector.moved.at => Some((
                "a range after `@`",
                format!("write the range first: name{range} @ …"),
            )),
            ExprKind::Selector(_) => None,
            ExprKind::Range(_) | ExprKind::Subquery { .. } => {
                Some(("a range after another range", "keep one of them".to_owned()))
            }
            ExprKind::Number(_)
            | ExprKind::Text(_)
            | ExprKind::Call { .. }
            | ExprKind::Aggregate { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Unary(_)
            | ExprKind::Paren(_) => Some((
                "a range after an expression",
                format!(
                    "move {range} to the metric inside, or write a subquery: {bare}[{}:]",
                    range.trim_matches(['[', ']'])
                ),
            )),
        };
        if let Some((found, fix)) = fault {
            self.findings.fault(
                Code::Type,
                brackets,
                found.to_owned(),
                "expected a range only directly after a metric and its matchers".to_owned(),
                fix,
            );
        }
        let selector = match operand.kind {
            ExprKind::Selector(selector) => selector,
            _ => Box::default(),
        };
        Expr {
            span,
            result: ValueType::Matrix,
            kind: ExprKind::Range(selector),
        }
    }

    /// A duration that has to be greater than zero.
    fn positive(&mut self, expected: &str) -> Parsed<()> {
        let start = self.token().span;
        let length = self.length(expected)?;
        if let Length::Literal(seconds) = length
            && seconds <= 0.0
        {
            let span = Span::new(start.start, self.end_of_last());
            let found = format!("the duration {}", super::short(self.text(span)));
            self.fault(
                span,
                found,
                "expected a duration greater than zero",
                "write a duration such as 1m".to_owned(),
            );
        }
        Ok(())
    }

    /// A duration, or (experimental) arithmetic over durations.
    fn length(&mut self, expected: &str) -> Parsed<Length> {
        const SIGN: u8 = 5;
        let mut waiting: Vec<Waiting> = Vec::new();
        loop {
            while let Tok::Operator(sign @ (Operator::Add | Operator::Sub)) = self.tok() {
                let place = self.take().span;
                self.count_operator(place)?;
                waiting.push(Waiting::Sign(sign));
            }
            let mut length = self.plain_length(expected)?;
            let next = match self.tok() {
                Tok::Operator(
                    operator @ (Operator::Add
                    | Operator::Sub
                    | Operator::Mul
                    | Operator::Div
                    | Operator::Mod
                    | Operator::Pow),
                ) => Some(operator),
                _ => None,
            };
            let strength = next.map_or(0, Operator::strength);
            while let Some(top) = waiting.pop_if(|top| match top {
                Waiting::Sign(_) => SIGN >= strength,
                Waiting::Infix(operator, _) => {
                    operator.strength() > strength
                        || operator.strength() == strength && *operator != Operator::Pow
                }
            }) {
                length = self.combine_lengths(top, length);
            }
            let Some(operator) = next else {
                return Ok(length);
            };
            let place = self.take().span;
            self.count_operator(place)?;
            self.experimental_duration(place);
            waiting.push(Waiting::Infix(operator, place));
        }
    }

    fn combine_lengths(&mut self, waiting: Waiting, right: Length) -> Length {
        match (waiting, right) {
            (Waiting::Sign(Operator::Sub), Length::Literal(seconds)) => Length::Literal(-seconds),
            (Waiting::Sign(_), right) => right,
            (Waiting::Infix(Operator::Div | Operator::Mod, place), Length::Literal(0.0)) => {
                self.fault(
                    place,
                    "a duration divided by zero".to_owned(),
                    "expected a divisor other than zero",
                    "check the arithmetic".to_owned(),
                );
                Length::Literal(1.0)
            }
            (Waiting::Infix(..), _) => Length::Computed,
        }
    }

    /// A duration without signs and operators around it.
    fn plain_length(&mut self, expected: &str) -> Parsed<Length> {
        let token = self.token();
        match token.tok {
            Tok::Number | Tok::Duration => {
                let seconds = self.seconds_or_number(expected)?;
                // NaN has either been reported or is a literal Prometheus lets through.
                if seconds > LONGEST {
                    let found = format!("the duration {}", super::short(self.text(token.span)));
                    self.fault(
                        token.span,
                        found,
                        "expected a duration of at most 292 years",
                        "write a shorter one".to_owned(),
                    );
                    return Ok(Length::Literal(1.0));
                }
                Ok(Length::Literal(seconds))
            }
            Tok::OpenParen => {
                self.take();
                self.experimental_duration(token.span);
                self.length(expected)?;
                self.close_parenthesis()?;
                Ok(Length::Computed)
            }
            Tok::Word(word @ (Word::Step | Word::Range | Word::MaxOf | Word::MinOf)) => {
                self.length_function(token, word, expected)
            }
            _ => Err(self.unexpected(expected, "write a number with a unit: ms, s, m, h, d, w or y")),
        }
    }

    /// `step()`, `range()`, `max_of(a, b)`, `min_of(a, b)`, all experimental.
    fn length_function(&mut self, name: Token, word: Word, expected: &str) -> Parsed<Length> {
        self.take();
        self.experimental_duration(name.span);
        if self.accept(Tok::OpenParen).is_none() {
            return Err(self.unexpected("expected `(`", "write the parentheses of the function"));
        }
        if matches!(word, Word::MaxOf | Word::MinOf) {
            self.length(expected)?;
            if self.accept(Tok::Comma).is_none() {
                return Err(self.unexpected("expected a comma and a second duration", "write two durations"));
            }
            self.length(expected)?;
        }
        self.close_parenthesis()?;
        Ok(Length::Computed)
    }

    fn close_parenthesis(&mut self) -> Parsed<()> {
        match self.accept(Tok::CloseParen) {
            Some(_) => Ok(()),
            None => Err(self.unexpected("expected `)`", "close the parenthesis")),
        }
    }

    fn experimental_duration(&mut self, place: Span) {
        self.findings.note(
            place,
            "arithmetic with durations is experimental".to_owned(),
            "Prometheus reads it only with --enable-feature=promql-duration-expr",
        );
    }

    /// `offset 5m` behind an operand.
    pub(super) fn offset(&mut self, operand: Expr) -> Parsed<Expr> {
        const EXPECTED: &str = "expected a duration after `offset`";
        let word = self.take();
        let sign = match (self.tok(), self.following()) {
            // A sign and a plain value: what follows is an operator of the query, not of the duration.
            (Tok::Operator(sign @ (Operator::Add | Operator::Sub)), next)
                if !matches!(next, Tok::Operator(_)) =>
            {
                self.take();
                Some(sign)
            }
            _ => None,
        };
        let length = match self.tok() {
            Tok::Number | Tok::Duration | Tok::Word(_) => {
                let length = self.plain_length(EXPECTED)?;
                match (sign, length) {
                    (Some(Operator::Sub), Length::Literal(seconds)) => Length::Literal(-seconds),
                    _ => length,
                }
            }
            Tok::OpenParen if sign.is_some() => {
                // Prometheus takes a signed parenthesis without its feature flag.
                self.take();
                self.length(EXPECTED)?;
                self.close_parenthesis()?;
                Length::Computed
            }
            _ => self.length(EXPECTED)?,
        };
        let moves = match length {
            Length::Literal(seconds) => (seconds * 1e9).round() != 0.0,
            Length::Computed => true,
        };
        let span = Span::new(operand.span.start, self.end_of_last());
        let mut operand = operand;
        let place = Span::new(word.span.start, self.end_of_last());
        match Self::moved(&mut operand) {
            Some(moved) if moved.offset => self.twice(place, "offset"),
            Some(moved) => moved.offset = moves,
            None => self.misplaced(place, "offset", &operand),
        }
        operand.span = span;
        Ok(operand)
    }

    /// `@ 1609746000`, `@ start()`, `@ end()` behind an operand.
    pub(super) fn at(&mut self, operand: Expr) -> Parsed<Expr> {
        const EXPECTED: &str = "expected a Unix timestamp, start() or end() after `@`";
        let at = self.take();
        let mut operand = operand;
        if let Tok::Word(Word::Start | Word::End) = self.tok() {
            self.take();
            if self.accept(Tok::OpenParen).is_none() {
                return Err(self.unexpected(EXPECTED, "write the parentheses: start()"));
            }
            self.close_parenthesis()?;
        } else {
            let sign = self
                .accept(Tok::Operator(Operator::Add))
                .or_else(|| self.accept(Tok::Operator(Operator::Sub)));
            let start = sign.unwrap_or(self.token()).span.start;
            let seconds = self.seconds_or_number(EXPECTED)?;
            if !(-9.223_372_036_854_775_e18..9.223_372_036_854_775_e18).contains(&seconds) {
                self.fault(
                    Span::new(start, self.end_of_last()),
                    "a timestamp out of bounds".to_owned(),
                    "expected seconds since 1970",
                    "write a Unix timestamp".to_owned(),
                );
            }
        }
        let place = Span::new(at.span.start, self.end_of_last());
        match Self::moved(&mut operand) {
            Some(moved) if moved.at => self.twice(place, "@"),
            Some(moved) => moved.at = true,
            None => self.misplaced(place, "@", &operand),
        }
        operand.span.end = place.end;
        Ok(operand)
    }

    /// `anchored` or `smoothed` behind an operand.
    pub(super) fn extended(&mut self, operand: Expr, word: Word) -> Expr {
        let token = self.take();
        let name = self.text(token.span).to_owned();
        self.findings.note(
            token.span,
            format!("`{name}` is experimental"),
            "Prometheus reads it only with --enable-feature=promql-extended-range-selectors",
        );
        let mut operand = operand;
        let subquery = matches!(operand.kind, ExprKind::Subquery { .. });
        match Self::moved(&mut operand).filter(|_| !subquery) {
            Some(moved) => {
                match word {
                    Word::Anchored => moved.anchored = true,
                    _ => moved.smoothed = true,
                }
                if moved.anchored && moved.smoothed {
                    self.fault(
                        token.span,
                        "`anchored` and `smoothed` together".to_owned(),
                        "expected one of them",
                        "remove one".to_owned(),
                    );
                }
            }
            None => self.misplaced(token.span, &name, &operand),
        }
        operand.span.end = token.span.end;
        operand
    }

    fn twice(&mut self, place: Span, word: &str) {
        self.findings.fault(
            Code::Type,
            place,
            format!("a second `{word}`"),
            format!("expected one `{word}` for a selector"),
            "keep one of them".to_owned(),
        );
    }

    fn misplaced(&mut self, place: Span, word: &str, operand: &Expr) {
        let text = quoted(self.query, operand.span);
        self.findings.fault(
            Code::Type,
            place,
            format!("`{word}` after {text}"),
            format!("expected `{word}` directly after a selector, its range, or a subquery"),
            format!("move it into the expression, behind the metric or its range: name[5m] {word} …"),
        );
    }
}
