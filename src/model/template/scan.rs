//! The text of an action → words.

use super::super::promql::place::Span;
use super::action::{Outcome, error};
use super::{Code, is_blank, trims_left};

/// What a word of an action is; its text is its span's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tok {
    /// A function or keyword.
    Name,
    /// `.key`
    Field,
    /// `$name`
    Variable,
    /// `"…"`
    Text,
    /// `` `…` ``
    RawText,
    Integer,
    Open,
    Close,
    Pipe,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    End,
}

/// A word and its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) tok: Tok,
    pub(super) span: Span,
}

/// An action, split.
pub(super) struct Scanned {
    /// Its words, [`Tok::End`] last; none at all for a comment.
    pub(super) tokens: Vec<Token>,
    /// One past its `}}`.
    pub(super) end: usize,
    /// Whether it takes away the blanks behind it.
    pub(super) trims_right: bool,
}

/// Splits the action that opens at a place.
pub(super) fn scan(template: &str, open: usize) -> Outcome<Scanned> {
    // A trim marker is a dash and one blank; a comment follows directly.
    let start = open + if trims_left(template, open) { 4 } else { 2 };
    if template[start..].starts_with("/*") {
        comment(template, open, start)
    } else {
        words(template, open, start)
    }
}

/// A comment; its `/*` is at `start`.
fn comment(template: &str, open: usize, start: usize) -> Outcome<Scanned> {
    let whole = Span::new(open, open + 2);
    let Some(length) = template[start + 2..].find("*/") else {
        return error(
            Code::Syntax,
            whole,
            "a comment that is never closed",
            "expected */}} at the end of the comment",
            "add */}}",
        );
    };
    let after = start + 2 + length + 2;
    let rest = &template[after..];
    let trims_right = rest.starts_with(is_blank) && rest[1..].starts_with("-}}");
    if !trims_right && !rest.starts_with("}}") {
        return error(
            Code::Syntax,
            Span::at(after),
            "something between the end of a comment and the end of its action",
            "expected }} directly after */",
            "give the comment an action of its own: {{/* comment */}}",
        );
    }
    let end = after + if trims_right { 4 } else { 2 };
    Ok(Scanned {
        tokens: Vec::new(),
        end,
        trims_right,
    })
}

/// Splits an action whose words begin at `start`.
fn words(template: &str, open: usize, start: usize) -> Outcome<Scanned> {
    let mut tokens = Vec::new();
    let mut at = start;
    loop {
        let rest = &template[at..];
        let trimmed = rest.trim_start_matches(is_blank);
        let spaced = trimmed.len() < rest.len();
        at += rest.len() - trimmed.len();
        let trims_right = spaced && trimmed.starts_with("-}}");
        if trims_right || trimmed.starts_with("}}") {
            tokens.push(Token {
                tok: Tok::End,
                span: Span::at(at),
            });
            let end = at + if trims_right { 3 } else { 2 };
            return Ok(Scanned {
                tokens,
                end,
                trims_right,
            });
        }
        let Some(first) = trimmed.chars().next() else {
            return error(
                Code::Syntax,
                Span::new(open, open + 2),
                "`{{` opened here is never closed",
                "expected }} at the end of the action",
                "add }}",
            );
        };
        let (tok, length) = word(template, at, first, trimmed)?;
        let span = Span::new(at, at + length);
        tokens.push(Token { tok, span });
        at += length;
    }
}

/// The token at the start of `rest`, and its length.
fn word(template: &str, at: usize, first: char, rest: &str) -> Outcome<(Tok, usize)> {
    let run = |text: &str| -> usize {
        text.chars()
            .take_while(|letter| *letter == '_' || letter.is_alphanumeric())
            .map(char::len_utf8)
            .sum()
    };
    let number = |text: &str| {
        text.chars()
            .take_while(|letter| matches!(letter, '_' | '.') || letter.is_ascii_alphanumeric())
            .count()
    };
    let here = Span::new(at, at + first.len_utf8());
    match first {
        '(' => Ok((Tok::Open, 1)),
        ')' => Ok((Tok::Close, 1)),
        '|' => Ok((Tok::Pipe, 1)),
        ':' if rest.starts_with(":=") => Ok((Tok::Declare, 2)),
        '=' => Ok((Tok::Assign, 1)),
        '$' => Ok((Tok::Variable, 1 + run(&rest[1..]))),
        '.' => Ok((Tok::Field, 1 + run(&rest[1..]))),
        '"' => text_end(template, at).map(|length| (Tok::Text, length)),
        '`' => match rest[1..].find('`') {
            Some(length) => Ok((Tok::RawText, length + 2)),
            None => error(
                Code::Syntax,
                here,
                "a raw string that is never closed",
                "expected a closing backtick",
                "add a backtick",
            ),
        },
        '0'..='9' => Ok((Tok::Integer, number(rest))),
        '-' | '+' if rest[1..].starts_with(|digit: char| digit.is_ascii_digit()) => {
            Ok((Tok::Integer, 1 + number(&rest[1..])))
        }
        '\'' => error(
            Code::Unsupported,
            here,
            "a character in single quotes",
            "expected a string in double quotes or backticks",
            "write \"…\"",
        ),
        '_' => Ok((Tok::Name, run(rest))),
        _ if first.is_alphabetic() => Ok((Tok::Name, run(rest))),
        '}' => error(
            Code::Syntax,
            here,
            "a single `}` in a template action",
            "expected }} at the end of the action",
            "write }}",
        ),
        '{' => error(
            Code::Syntax,
            here,
            "`{` in a template action",
            "expected the name of a function",
            "close the action before with }}, and write exactly two braces",
        ),
        '-' => error(
            Code::Syntax,
            here,
            "`-` in a template action",
            "expected a name of letters, digits and _",
            "for a key with a dash write {{ index variables \"my-key\" }}; a trim marker needs a blank: {{- name -}}",
        ),
        _ => error(
            Code::Syntax,
            here,
            format!("the character {first} in a template action"),
            "expected the name of a function",
            "write an action such as {{ target }} or {{ variables.key }}",
        ),
    }
}

/// The length of the quoted string at this place.
fn text_end(template: &str, at: usize) -> Outcome<usize> {
    let mut escaped = false;
    for (offset, character) in template[at..].char_indices().skip(1) {
        match character {
            '"' if !escaped => return Ok(offset + 1),
            '\n' => break,
            _ => escaped = character == '\\' && !escaped,
        }
    }
    error(
        Code::Syntax,
        Span::new(at, at + 1),
        "a string that is never closed",
        "expected a closing quote on the same line",
        "add a quote",
    )
}
