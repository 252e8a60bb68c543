//! Strings, numbers and durations as PromQL writes them.
//!
//! Source: the literals of the Prometheus querying documentation; numbers and string escapes follow Go's `strconv`,
//! which Prometheus reads them with.

use super::place::Span;
use super::{Code, Fault};

/// The end of the quoted string that begins at `start`, or what is wrong with it.
pub(super) fn string_end(query: &str, start: usize) -> Result<usize, Fault> {
    let quote = query[start..].chars().next().unwrap_or('"');
    let body = start + quote.len_utf8();
    let mut characters = query[body..].char_indices();
    while let Some((offset, character)) = characters.next() {
        let place = body + offset;
        if character == quote {
            return Ok(place + 1);
        }
        match character {
            '\u{FFFD}' => {
                return Err(Fault::new(
                    Code::Syntax,
                    Span::new(place, place + character.len_utf8()),
                    "a replacement character (U+FFFD) in a string".to_owned(),
                    "expected valid UTF-8".to_owned(),
                    "retype the character that was lost".to_owned(),
                ));
            }
            '\n' if quote != '`' => break,
            '\\' if quote != '`' => {
                let (_, length) = escape(&query[place..], quote).map_err(|found| {
                    let length = query[place..].chars().take(2).map(char::len_utf8).sum::<usize>();
                    let sequence = &query[place..place + length];
                    Fault::new(
                        Code::Syntax,
                        Span::new(place, place + length),
                        format!("{found} `{sequence}` in a string"),
                        "expected an escape such as \\\\, \\\", \\n or \\x41".to_owned(),
                        format!("double the backslash (`\\{sequence}`), or quote the string with backticks"),
                    )
                })?;
                // The length of an escape ends on a character boundary: its characters are ASCII.
                while characters.as_str().len() > query.len() - (place + length) {
                    characters.next();
                }
            }
            _ => {}
        }
    }
    Err(Fault::new(
        Code::Syntax,
        Span::new(start, body),
        format!("the string opened with {quote} is never closed"),
        if quote == '`' {
            "expected a closing `".to_owned()
        } else {
            format!("expected a closing {quote} on the same line")
        },
        format!("add {quote} where the string ends"),
    ))
}

/// What one escape sequence (its backslash first) stands for, and its length in bytes.
fn escape(text: &str, quote: char) -> Result<(Escaped, usize), &'static str> {
    const UNKNOWN: &str = "the unknown escape";
    let bytes = text.as_bytes();
    let byte = |value: u8| Ok((Escaped::Byte(value), 2));
    let digits = |from: usize, count: usize, radix: u32| -> Result<u32, &'static str> {
        let digits = text.get(from..from + count).ok_or("the unfinished escape")?;
        if digits.chars().all(|digit| digit.is_digit(radix)) {
            u32::from_str_radix(digits, radix).map_err(|_| UNKNOWN)
        } else {
            Err("the malformed escape")
        }
    };
    match bytes.get(1).copied() {
        Some(b'a') => byte(7),
        Some(b'b') => byte(8),
        Some(b'f') => byte(12),
        Some(b'n') => byte(b'\n'),
        Some(b'r') => byte(b'\r'),
        Some(b't') => byte(b'\t'),
        Some(b'v') => byte(11),
        Some(b'\\') => byte(b'\\'),
        Some(found) if char::from(found) == quote => byte(found),
        Some(b'0'..=b'7') => {
            let value = digits(1, 3, 8)?;
            let value = u8::try_from(value).map_err(|_| "the out-of-range escape")?;
            Ok((Escaped::Byte(value), 4))
        }
        Some(b'x') => Ok((Escaped::Byte(digits(2, 2, 16)? as u8), 4)),
        Some(letter @ (b'u' | b'U')) => {
            let count = if letter == b'u' { 4 } else { 8 };
            let value = digits(2, count, 16)?;
            let character = char::from_u32(value).ok_or("the out-of-range escape")?;
            Ok((Escaped::Character(character), 2 + count))
        }
        Some(_) => Err(UNKNOWN),
        None => Err("the unfinished escape"),
    }
}

enum Escaped {
    Byte(u8),
    Character(char),
}

/// The bytes a quoted string (one that [`string_end`] accepted) stands for. They need not be UTF-8: `"\xff"`.
pub(super) fn unquote(quoted: &str) -> Vec<u8> {
    let mut inner = quoted.chars();
    let quote = inner.next().unwrap_or('"');
    inner.next_back();
    let inner = inner.as_str();
    if quote == '`' || !inner.contains('\\') {
        return inner.as_bytes().to_vec();
    }
    let mut value = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(character) = rest.chars().next() {
        let length = match (character, escape(rest, quote)) {
            ('\\', Ok((Escaped::Byte(byte), length))) => {
                value.push(byte);
                length
            }
            ('\\', Ok((Escaped::Character(escaped), length))) => {
                value.extend(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                length
            }
            _ => {
                value.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
                character.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    value
}

/// How far a number reaches from `start`, and whether it is one.
///
/// Prometheus takes more than it can value here (`1e`, `1_`): [`number`] has the last word. Its scanner also reads
/// the letter `e` of a hexadecimal number as an exponent, so that it refuses `0xeee`; the verdict is kept.
pub(super) fn number_end(bytes: &[u8], start: usize) -> (usize, bool) {
    let peek = |at: usize| bytes.get(at).copied();
    let mut at = start;
    let mut hexadecimal = false;
    if peek(at) == Some(b'0') {
        at += 1;
        if matches!(peek(at), Some(b'x' | b'X')) {
            hexadecimal = true;
            at += 1;
            if peek(at) == Some(b'_') {
                at += 1;
            }
        }
    }
    let digit = |byte: u8| byte.is_ascii_digit() || hexadecimal && byte.is_ascii_hexdigit();
    if peek(at) == Some(b'.') {
        at += 1;
    }
    if peek(at).is_some_and(digit) {
        at += 1;
    }
    let (mut dot, mut exponent) = (false, false);
    while let Some(byte) = peek(at) {
        match byte {
            b'.' => {
                at += 1;
                if dot || hexadecimal || matches!(peek(at), Some(b'_' | b'.')) {
                    return (at, false);
                }
                dot = true;
            }
            b'e' | b'E' => {
                at += 1;
                if exponent {
                    return (at, false);
                }
                exponent = true;
                if matches!(peek(at), Some(b'+' | b'-')) {
                    at += 1;
                }
                if matches!(peek(at), None | Some(b'.' | b'_' | b'e' | b'E')) {
                    return (at, false);
                }
            }
            b'_' => {
                at += 1;
                if matches!(peek(at), None | Some(b'.' | b'_' | b'e' | b'E')) {
                    return (at, false);
                }
            }
            _ if digit(byte) => {
                while peek(at).is_some_and(digit) {
                    at += 1;
                }
            }
            _ => break,
        }
    }
    let ends = !peek(at).is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    (at, at > start && ends)
}

/// The value of a number; none: malformed, or too large for 64 bits.
pub(super) fn number(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("inf") {
        return Some(f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(digits), _) => (digits.strip_prefix('_').unwrap_or(digits), 16),
        (None, Some(digits)) if !digits.is_empty() => (digits.strip_prefix('_').unwrap_or(digits), 8),
        (None, _) => (lower.as_str(), 10),
    };
    // An underscore stands between two digits, or between the prefix and a digit.
    let bytes = lower.as_bytes();
    let misplaced = bytes.iter().enumerate().any(|(at, byte)| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let after = bytes.get(at + 1);
        *byte == b'_'
            && !(before.is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b'x')
                && after.is_some_and(u8::is_ascii_hexdigit))
    });
    if misplaced {
        return None;
    }
    let plain = digits.replace('_', "");
    let unsigned = !plain.starts_with(['+', '-']);
    if let Some(value) = i64::from_str_radix(&plain, radix).ok().filter(|_| unsigned) {
        return Some(value as f64);
    }
    if radix == 16 {
        return None;
    }
    let decimal: f64 = lower.replace('_', "").parse().ok()?;
    decimal.is_finite().then_some(decimal)
}

/// The end of the duration that begins at `start`: digits and units, with nothing alphanumeric behind.
pub(super) fn duration_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut parts = 0;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at += match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'm'), Some(b's')) => 2,
            (Some(b's' | b'm' | b'h' | b'd' | b'w' | b'y'), _) => 1,
            _ => return None,
        };
        parts += 1;
    }
    let ends = !bytes
        .get(at)
        .is_some_and(|byte| *byte == b'_' || byte.is_ascii_alphanumeric());
    (parts > 0 && ends).then_some(at)
}

/// Units of a duration from the largest, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The seconds of a duration [`duration_end`] accepted, or why Prometheus refuses it.
pub(super) fn duration(text: &str) -> Result<f64, &'static str> {
    const TOO_LONG: &str = "expected a duration of at most 292 years";
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let place = UNITS.iter().position(|(name, _)| *name == unit);
        let Some(place) = place.filter(|place| *place >= next_unit) else {
            return Err("expected units from large to small, each once (y w d h m s ms)");
        };
        let factor = UNITS.get(place).map_or(1, |(_, factor)| *factor);
        let part = count
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(factor));
        total = part.and_then(|part| total.checked_add(part)).ok_or(TOO_LONG)?;
        next_unit = place + 1;
        rest = tail;
    }
    // Prometheus counts nanoseconds in 63 bits.
    if total > i64::MAX as u64 / 1_000_000 {
        return Err(TOO_LONG);
    }
    Ok(total as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_values_go_gives_them() {
        for (text, value) in [
            ("0", 0.0),
            ("1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("1.5E-2", 0.015),
            ("0x1f", 31.0),
            ("0x_1F", 31.0),
            ("017", 15.0),
            ("08", 8.0),
            ("1_000", 1000.0),
            ("1_000.5", 1000.5),
            ("+Inf".trim_start_matches('+'), f64::INFINITY),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
        ] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for text in ["1e", "1_", "0_", "0._5", "0xFFFFFFFFFFFFFFFFF", "1e400"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert!(number("nAn").is_some_and(f64::is_nan));
    }

    #[test]
    fn numbers_end_where_prometheus_ends_them() {
        for (text, expected) in [
            ("1+2", (1, true)),
            ("1e+3)", (4, true)),
            ("0x1F ", (4, true)),
            ("0xeee", (4, false)),
            ("1.2.3", (4, false)),
            ("1__0", (2, false)),
            ("5m", (1, false)),
        ] {
            assert_eq!(number_end(text.as_bytes(), 0), expected, "{text}");
        }
    }

    #[test]
    fn durations_go_from_large_to_small() {
        assert_eq!(duration("1h30m"), Ok(5400.0));
        assert_eq!(duration("1y2w3d4h5m6s7ms"), Ok(33_019_506.007));
        assert_eq!(duration("0s"), Ok(0.0));
        for text in ["30m1h", "1m1m", "1s1s", "5hs", "300y", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration_end(b"1.5m", 0), None);
        assert_eq!(duration_end(b"5m]", 0), Some(2));
        assert_eq!(duration_end(b"5mm", 0), None);
        assert_eq!(duration_end(b"500ms", 0), Some(5));
    }

    #[test]
    fn strings_end_and_stand_for_their_bytes() {
        for (text, value) in [
            (r#""a\"b" x"#, &b"a\"b"[..]),
            (r"'it\'s'", b"it's"),
            (r"`\d+` + 1", br"\d+"),
            (r#""\x41\101\u00e4\U0001F600""#, "AA\u{e4}\u{1F600}".as_bytes()),
            (r#""\xff""#, b"\xff"),
            ("`a\nb`", b"a\nb"),
        ] {
            let end = string_end(text, 0).expect(text);
            assert_eq!(unquote(&text[..end]), value, "{text}");
        }
        for text in [
            "\"a",
            "'a\n'",
            "`a",
            r#""\d""#,
            r#""\400""#,
            r#""\ud800""#,
            r#""\x4"#,
            r#""\""#,
            "\"\u{FFFD}\"",
            r#""\'""#,
            "\"\\ä\"",
        ] {
            assert!(string_end(text, 0).is_err(), "{text}");
        }
    }
}
