//! What to say where the grammar cannot go on: the slips people make with words.

use super::Code;
use super::ast::{Expr, ExprKind};
use super::functions::{self, Aggregation};
use super::lexer::{Tok, Token};
use super::parser::{Parser, Stop};
use super::place::Span;
use super::quoted;
use super::spelling::nearest;
use super::word::Word;

impl Parser<'_> {
    /// Nothing an operand could begin with.
    pub(super) fn no_operand(&mut self) -> Stop {
        const EXPECTED: &str = "expected a metric, a function, a number or a parenthesis";
        let token = self.token();
        let before = self.last();
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

    pub(super) fn misspelt_aggregation(&mut self, token: Token) -> Stop {
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

    pub(super) fn unknown_function(&mut self, span: Span, name: &str) {
        // Of two as near, an aggregation is what people write more often: `sun` is `sum` and not `sgn`.
        let names = Aggregation::ALL
            .into_iter()
            .map(Aggregation::name)
            .chain(functions::names());
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

    pub(super) fn missing_operator(&mut self, token: Token, operand: &Expr, before: &str) -> Stop {
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

    pub(super) fn not_a_label(&mut self, after: &str) -> Stop {
        self.unexpected(
            &format!("expected label names after `{after}`"),
            format!("write {after} (label, other), names only"),
        )
    }
}
