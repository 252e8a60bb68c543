//! The clauses of operators and aggregations: `bool`, `on(…)`, `group_left(…)`, `fill(…)`, `by (…)`.

use super::lexer::Tok;
use super::literal;
use super::parser::{Parsed, Parser};
use super::place::Span;
use super::types::Matching;
use super::word::{Operator, Word};

impl Parser<'_> {
    /// `bool`, `on(…)`, `group_left(…)`, `fill(…)` behind an operator.
    pub(super) fn matching(&mut self) -> Parsed<Matching> {
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

    /// `by (…)` or `without (…)`, if it stands here.
    pub(super) fn grouping(&mut self) -> Parsed<Option<Vec<String>>> {
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
}
