//! Query text → tokens, in one pass.
//!
//! Owns: which characters make a token, and the three modes Prometheus reads in (plain, inside `{}`, inside `[]`).
//! Promises: time linear in the text; the first broken place ends the tokens with [`Tok::Broken`] and a
//! [`Fault`] for it; brackets nest no deeper than [`MAX_DEPTH`].

use super::literal;
use super::place::Span;
use super::slip;
use super::word::{Operator, Word};
use super::{Code, Fault, MAX_DEPTH};

/// What a token is; its text is its span's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tok {
    /// A number, `Inf` and `NaN` included.
    Number,
    /// A duration such as `5m30s`.
    Duration,
    /// A quoted string, quotes included.
    Text,
    /// A name without a colon.
    Name,
    /// A metric name with a colon.
    MetricName,
    Word(Word),
    Operator(Operator),
    OpenParen,
    CloseParen,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    Comma,
    Colon,
    At,
    /// `=`
    Assign,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
    /// `==` inside braces, which no query may hold.
    DoubleEqual,
    /// A word or number where a quoted value belongs.
    Bare,
    /// The text is broken here; [`Tokens::broken`] says how.
    Broken,
    End,
}

/// One token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) tok: Tok,
    pub(super) span: Span,
}

/// The tokens of a query; the last one is [`Tok::End`] or [`Tok::Broken`].
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) list: Vec<Token>,
    pub(super) broken: Option<Fault>,
}

/// Splits a query into tokens.
pub(super) fn tokens(query: &str) -> Tokens {
    let mut lexer = Lexer {
        query,
        bytes: query.as_bytes(),
        at: 0,
        list: Vec::new(),
        open: Vec::new(),
        in_braces: false,
        range: Range::Outside,
        range_has_value: false,
        range_has_colon: false,
    };
    let broken = lexer.run().err();
    let place = Span::at(query.len());
    lexer.list.push(match &broken {
        Some(fault) => Token {
            tok: Tok::Broken,
            span: fault.span,
        },
        None => Token {
            tok: Tok::End,
            span: place,
        },
    });
    Tokens {
        list: lexer.list,
        broken,
    }
}

/// Where the lexer stands with respect to `[…]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Outside,
    /// Inside, before a number or a duration: no comments here.
    Value,
    /// Inside, after one.
    Rest,
}

struct Lexer<'a> {
    query: &'a str,
    bytes: &'a [u8],
    at: usize,
    list: Vec<Token>,
    /// Places of the brackets not closed yet.
    open: Vec<usize>,
    in_braces: bool,
    range: Range,
    range_has_value: bool,
    range_has_colon: bool,
}

type Step = Result<(), Fault>;

impl Lexer<'_> {
    fn run(&mut self) -> Step {
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' if self.range != Range::Value => self.skip_comment(),
                b'"' | b'\'' | b'`' => {
                    let end = literal::string_end(self.query, self.at)?;
                    self.push_to(Tok::Text, end);
                }
                _ if self.in_braces => self.inside_braces(byte)?,
                _ => self.plain(byte)?,
            }
        }
        self.finish()
    }

    /// The text ended: with everything closed?
    fn finish(&self) -> Step {
        match self.open.last() {
            Some(opener) => Err(self.unclosed(*opener)),
            None => Ok(()),
        }
    }

    fn unclosed(&self, opener: usize) -> Fault {
        let (open, close, what) = match self.bytes.get(opener) {
            Some(b'{') => ("{", "}", "label matchers"),
            Some(b'[') => ("[", "]", "range"),
            _ => ("(", ")", "parenthesis"),
        };
        Fault::new(
            Code::Syntax,
            Span::new(opener, opener + 1),
            format!("`{open}` opened here is never closed"),
            format!("expected `{close}` to end the {what}"),
            format!("add `{close}` where the {what} ends"),
        )
    }

    fn inside_braces(&mut self, byte: u8) -> Step {
        match (byte, self.peek(1)) {
            (b'=', Some(b'~')) => self.push(Tok::Matches, 2),
            (b'=', Some(b'=')) => self.push(Tok::DoubleEqual, 2),
            (b'=', _) => self.push(Tok::Assign, 1),
            (b'!', Some(b'~')) => self.push(Tok::MatchesNot, 2),
            (b'!', Some(b'=')) => self.push(Tok::Operator(Operator::NotEqual), 2),
            (b',', _) => self.push(Tok::Comma, 1),
            (b'}', _) => {
                self.close(b'{')?;
                self.in_braces = false;
                self.push(Tok::CloseBrace, 1);
            }
            _ if self.after_matcher_operator() && is_bare(byte) => {
                let end = self.run_of(is_bare);
                self.push_to(Tok::Bare, end);
            }
            (b'_' | b'a'..=b'z' | b'A'..=b'Z', _) => {
                let end = self.run_of(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
                self.push_to(Tok::Name, end);
            }
            _ => return Err(slip::in_braces(self.query, self.at)),
        }
        Ok(())
    }

    fn after_matcher_operator(&self) -> bool {
        matches!(
            self.list.last().map(|token| token.tok),
            Some(
                Tok::Assign
                    | Tok::Matches
                    | Tok::MatchesNot
                    | Tok::DoubleEqual
                    | Tok::Operator(Operator::NotEqual)
            )
        )
    }

    fn plain(&mut self, byte: u8) -> Step {
        let next = self.peek(1);
        match byte {
            b'+' => self.push(Tok::Operator(Operator::Add), 1),
            b'-' => self.push(Tok::Operator(Operator::Sub), 1),
            b'*' => self.push(Tok::Operator(Operator::Mul), 1),
            b'/' => self.push(Tok::Operator(Operator::Div), 1),
            b'%' => self.push(Tok::Operator(Operator::Mod), 1),
            b'^' => self.push(Tok::Operator(Operator::Pow), 1),
            b',' => self.push(Tok::Comma, 1),
            b'@' => self.push(Tok::At, 1),
            b'=' if next == Some(b'=') => self.push(Tok::Operator(Operator::Equal), 2),
            b'=' if next != Some(b'~') => self.push(Tok::Assign, 1),
            b'!' if next == Some(b'=') => self.push(Tok::Operator(Operator::NotEqual), 2),
            b'<' if next == Some(b'=') => self.push(Tok::Operator(Operator::LessEqual), 2),
            b'<' if next == Some(b'/') => self.push(Tok::Operator(Operator::TrimUpper), 2),
            b'<' => self.push(Tok::Operator(Operator::Less), 1),
            b'>' if next == Some(b'=') => self.push(Tok::Operator(Operator::GreaterEqual), 2),
            b'>' if next == Some(b'/') => self.push(Tok::Operator(Operator::TrimLower), 2),
            b'>' => self.push(Tok::Operator(Operator::Greater), 1),
            b'(' => {
                self.open()?;
                self.push(Tok::OpenParen, 1);
            }
            b')' => {
                self.close(b'(')?;
                self.push(Tok::CloseParen, 1);
            }
            b'{' => {
                self.open()?;
                self.in_braces = true;
                self.push(Tok::OpenBrace, 1);
            }
            b'}' => self.close(b'{')?,
            b'[' if self.range == Range::Outside => {
                self.open()?;
                self.range = Range::Value;
                self.range_has_colon = false;
                self.push(Tok::OpenBracket, 1);
            }
            b'[' => return Err(slip::nested_range(self.at)),
            b']' => {
                self.close(b'[')?;
                self.range = Range::Outside;
                self.push(Tok::CloseBracket, 1);
            }
            b'0'..=b'9' => self.number()?,
            b'.' if next.is_some_and(|byte| byte.is_ascii_digit()) => self.number()?,
            b':' if self.range != Range::Outside => self.colon()?,
            b':' | b'_' | b'a'..=b'z' | b'A'..=b'Z' => self.word()?,
            _ => return Err(slip::outside(self.query, self.at)),
        }
        Ok(())
    }

    fn number(&mut self) -> Step {
        let (end, is_number) = literal::number_end(self.bytes, self.at);
        if is_number {
            self.push_to(Tok::Number, end);
        } else if let Some(end) = literal::duration_end(self.bytes, self.at) {
            self.push_to(Tok::Duration, end);
        } else {
            return Err(slip::number(self.query, self.at));
        }
        if self.range == Range::Value {
            self.range = Range::Rest;
            self.range_has_value = true;
        }
        Ok(())
    }

    fn colon(&mut self) -> Step {
        let here = Span::new(self.at, self.at + 1);
        let fault = |found: &str, fix: &str| {
            Fault::new(
                Code::Syntax,
                here,
                found.to_owned(),
                "expected a range and a step, such as [30m:1m]".to_owned(),
                fix.to_owned(),
            )
        };
        if self.range_has_colon {
            return Err(fault(
                "a second `:` in the brackets",
                "keep one `:`, between range and step",
            ));
        }
        if self.range == Range::Value && !self.range_has_value {
            return Err(fault(
                "`:` without a range before it",
                "write the range first: [30m:1m]",
            ));
        }
        self.range_has_colon = true;
        self.push(Tok::Colon, 1);
        Ok(())
    }

    fn word(&mut self) -> Step {
        let in_range = self.range != Range::Outside;
        let end = self.run_of(|byte| {
            byte == b'_'
                || byte.is_ascii_alphanumeric() && !(in_range && byte.is_ascii_digit())
                || byte == b':' && !in_range
        });
        let text = &self.query[self.at..end];
        if in_range {
            return match Word::of(text) {
                Some(word @ (Word::Step | Word::Range | Word::MaxOf | Word::MinOf)) => {
                    self.push_to(Tok::Word(word), end);
                    Ok(())
                }
                _ => Err(slip::in_range(self.query, Span::new(self.at, end))),
            };
        }
        let tok = match Word::of(text) {
            Some(Word::Fill | Word::FillLeft | Word::FillRight) if !self.paren_follows(end) => Tok::Name,
            Some(word) => Tok::Word(word),
            None if text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("nan") => Tok::Number,
            None if text.contains(':') => Tok::MetricName,
            None => Tok::Name,
        };
        self.push_to(tok, end);
        Ok(())
    }

    fn paren_follows(&self, from: usize) -> bool {
        let rest = self.bytes.get(from..).unwrap_or_default();
        rest.iter()
            .find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            == Some(&b'(')
    }

    fn open(&mut self) -> Step {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(
                Code::Limit,
                Span::new(self.at, self.at + 1),
                format!("brackets nested more than {MAX_DEPTH} deep"),
                format!("expected at most {MAX_DEPTH} levels"),
                "simplify the query, or record parts of it with recording rules".to_owned(),
            ));
        }
        self.open.push(self.at);
        Ok(())
    }

    /// Closes the innermost bracket, which has to be `opener`.
    fn close(&mut self, opener: u8) -> Step {
        let here = Span::new(self.at, self.at + 1);
        let closer = here.of(self.query);
        match self.open.last().copied() {
            Some(place) if self.bytes.get(place) == Some(&opener) => {
                self.open.pop();
                Ok(())
            }
            Some(place) => {
                let (open, close) = match self.bytes.get(place) {
                    Some(b'{') => ("{", "}"),
                    Some(b'[') => ("[", "]"),
                    _ => ("(", ")"),
                };
                let (line, column) = super::place::position(self.query, place);
                Err(Fault::new(
                    Code::Syntax,
                    here,
                    format!("`{closer}` while `{open}` from line {line}, column {column} is still open"),
                    format!("expected `{close}` first"),
                    format!("add `{close}` before this `{closer}`, or remove the `{closer}`"),
                ))
            }
            None => Err(Fault::new(
                Code::Syntax,
                here,
                format!("`{closer}` closes nothing"),
                "expected as many closing as opening brackets".to_owned(),
                format!("remove this `{closer}`, or add the bracket that opens it"),
            )),
        }
    }

    fn skip_comment(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n' && byte != b'\r') {
            self.at += 1;
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn run_of(&self, belongs: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at + rest.iter().take_while(|byte| belongs(**byte)).count()
    }

    fn push(&mut self, tok: Tok, length: usize) {
        self.push_to(tok, self.at + length);
    }

    fn push_to(&mut self, tok: Tok, end: usize) {
        self.list.push(Token {
            tok,
            span: Span::new(self.at, end),
        });
        self.at = end;
    }
}

/// What an unquoted label value is made of.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'*' | b'+' | b'|')
}
