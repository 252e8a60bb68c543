//! `print`, `println` and `printf` as Go's `fmt` has them, as far as queries need them.

use std::fmt::Write as _;

use super::super::promql::place::Span;
use super::action::{Outcome, Value, error, output};
use super::{Code, MAX_BYTES};

pub(super) fn print(function: &str, arguments: Vec<(Value, Span)>) -> Outcome<Value> {
    let mut text = String::new();
    let mut after_text = true;
    for (position, (value, span)) in arguments.into_iter().enumerate() {
        let is_text = matches!(value, Value::Text(_));
        // Go puts a blank between two operands of which neither is a string.
        if position > 0 && (function == "println" || !(is_text || after_text)) {
            text.push(' ');
        }
        after_text = is_text;
        let value = output(value, span)?;
        append(&mut text, &value, span)?;
    }
    if function == "println" {
        text.push('\n');
    }
    Ok(Value::Text(text))
}

pub(super) fn printf(name: Span, arguments: Vec<(Value, Span)>) -> Outcome<Value> {
    let mut arguments = arguments.into_iter();
    let Some((Value::Text(format), format_span)) = arguments.next() else {
        return error(
            Code::Syntax,
            name,
            "`printf` without a format",
            "expected a string first",
            "write {{ printf \"%s\" target }}",
        );
    };
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            append(&mut text, character.encode_utf8(&mut [0; 4]), format_span)?;
            continue;
        }
        let verb = characters.next();
        if verb == Some('%') {
            text.push('%');
            continue;
        }
        if !matches!(verb, Some('s' | 'q' | 'v' | 'd')) {
            return error(
                Code::Unsupported,
                format_span,
                match verb {
                    Some(verb) => format!("the verb %{verb} in a format"),
                    None => "a format that ends in %".to_owned(),
                },
                "expected %s, %q, %v, %d or %%",
                "write %s, or %% for a percent sign",
            );
        }
        let Some((value, span)) = arguments.next() else {
            return error(
                Code::Syntax,
                format_span,
                "a format with more verbs than values",
                "expected one value for each verb",
                "add the missing values",
            );
        };
        let piece = match (verb, value) {
            (Some('s' | 'v'), Value::Text(value)) => value,
            (Some('q'), Value::Text(value)) => go_quoted(&value),
            (Some('d' | 'v'), Value::Integer(value)) => value.to_string(),
            (_, value) => {
                let verb = verb.unwrap_or('s');
                return error(
                    Code::Syntax,
                    span,
                    format!("{} for %{verb}", value.name()),
                    "expected a string for %s and %q, a number for %d",
                    "change the verb or the value",
                );
            }
        };
        append(&mut text, &piece, span)?;
    }
    if let Some((_, span)) = arguments.next() {
        return error(
            Code::Syntax,
            span,
            "more values than verbs in the format",
            "expected one value for each verb",
            "remove the value, or add a %s",
        );
    }
    Ok(Value::Text(text))
}

/// Appends, but not past the longest text there may be.
fn append(text: &mut String, more: &str, span: Span) -> Outcome<()> {
    if text.len() + more.len() > MAX_BYTES {
        return error(
            Code::Limit,
            span,
            format!("a value of more than {MAX_BYTES} bytes"),
            "expected a shorter value",
            "shorten the values of the variables",
        );
    }
    text.push_str(more);
    Ok(())
}

/// A string as Go's %q writes it.
fn go_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            _ if character.is_ascii_control() => escape(&mut quoted, 'x', 2, character),
            _ if character.is_control() => escape(&mut quoted, 'u', 4, character),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// A character as its code in hexadecimal digits.
fn escape(quoted: &mut String, letter: char, digits: usize, character: char) {
    // Writing to a string cannot fail.
    let _ = write!(quoted, "\\{letter}{:0digits$x}", u32::from(character));
}
