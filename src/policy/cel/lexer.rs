//! Characters to tokens (CEL specification, "Syntax").

use crate::model::promql::Span;

use super::{Slip, SlipKind};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    /// Magnitude only: the sign is an operator, and joined to it by the parser.
    Int(u64),
    Uint(u64),
    Double(f64),
    Text(String),
    /// Punctuation and operators.
    Sign(&'static str),
    End,
}

/// Longest first.
const SIGNS: [&str; 25] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "!", "<", ">", "+",
    "-", "*", "/", "%", "=",
];

pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Span)>, Slip> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        if next.is_whitespace() {
            at += next.len_utf8();
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some((token, length)) = literal_text(text, at)? {
            found.push((token, Span::new(at, at + length)));
            at += length;
        } else if next.is_ascii_digit()
            || (next == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let (token, length) = number(text, at)?;
            found.push((token, Span::new(at, at + length)));
            at += length;
        } else if next.is_ascii_alphabetic() || next == '_' {
            let length = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            found.push((Token::Name(rest[..length].to_owned()), Span::new(at, at + length)));
            at += length;
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            let span = Span::new(at, at + sign.len());
            if sign == "=" {
                return Err(Slip::new(SlipKind::Syntax, span, "a single =").fixed_by("compare with =="));
            }
            found.push((Token::Sign(sign), span));
            at += sign.len();
        } else {
            let span = Span::new(at, at + next.len_utf8());
            let slip = Slip::new(SlipKind::Syntax, span, format!("{next:?} means nothing here"));
            return Err(match next {
                '“' | '”' | '‘' | '’' | '`' => slip.fixed_by("write straight quotes: ' or \""),
                '&' => slip.fixed_by("write &&"),
                '|' => slip.fixed_by("write ||"),
                _ => slip,
            });
        }
    }
    found.push((Token::End, Span::at(text.len())));
    Ok(found)
}

fn number(text: &str, at: usize) -> Result<(Token, usize), Slip> {
    let rest = &text[at..];
    let bad = |length: usize, what: &str| Slip::new(SlipKind::Syntax, Span::new(at, at + length), what);
    if let Some(hex) = rest.strip_prefix("0x").or(rest.strip_prefix("0X")) {
        let digits = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        let value = u64::from_str_radix(&hex[..digits], 16)
            .map_err(|_| bad(2 + digits, "a hexadecimal number that is none, or too large"))?;
        let unsigned = hex[digits..].starts_with(['u', 'U']);
        return Ok(if unsigned {
            (Token::Uint(value), 3 + digits)
        } else {
            (Token::Int(value), 2 + digits)
        });
    }
    let digits = |from: usize| {
        let tail = &rest[from..];
        from + tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len())
    };
    let mut end = digits(0);
    let mut fraction = false;
    if rest[end..].starts_with('.') && digits(end + 1) > end + 1 {
        end = digits(end + 1);
        fraction = true;
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        let stop = digits(end + 1 + sign);
        if stop > end + 1 + sign {
            end = stop;
            fraction = true;
        }
    }
    if fraction {
        let value = rest[..end]
            .parse()
            .map_err(|_| bad(end, "a number that is none"))?;
        return Ok((Token::Double(value), end));
    }
    let value = rest[..end]
        .parse()
        .map_err(|_| bad(end, "a whole number too large"))?;
    Ok(if rest[end..].starts_with(['u', 'U']) {
        (Token::Uint(value), end + 1)
    } else {
        (Token::Int(value), end)
    })
}

/// A string literal that begins at `at`, if one does: `'…'`, `"…"`, raw with `r`, long with three quotes.
fn literal_text(text: &str, at: usize) -> Result<Option<(Token, usize)>, Slip> {
    let rest = &text[at..];
    let prefix = rest.find(['\'', '"']).filter(|length| *length <= 2);
    let Some(prefix) = prefix else { return Ok(None) };
    let (mut raw, mut bytes) = (false, false);
    for letter in rest[..prefix].chars() {
        match letter {
            'r' | 'R' if !raw => raw = true,
            'b' | 'B' if !bytes => bytes = true,
            _ => return Ok(None),
        }
    }
    if bytes {
        return Err(Slip::new(
            SlipKind::Syntax,
            Span::new(at, at + prefix + 1),
            "a literal of bytes",
        )
        .expecting("expected a string: a Canary holds no bytes"));
    }
    let body = &rest[prefix..];
    let quote = if body.starts_with("'''") {
        "'''"
    } else if body.starts_with("\"\"\"") {
        "\"\"\""
    } else {
        &body[..1]
    };
    let mut out = String::new();
    let mut from = prefix + quote.len();
    loop {
        let tail = &rest[from..];
        let Some(next) = tail
            .chars()
            .next()
            .filter(|next| quote.len() == 3 || *next != '\n')
        else {
            return Err(Slip::new(
                SlipKind::Syntax,
                Span::new(at, at + prefix + quote.len()),
                "a string that does not end",
            )
            .fixed_by(format!("add {quote}")));
        };
        if tail.starts_with(quote) {
            return Ok(Some((Token::Text(out), from + quote.len())));
        }
        if next == '\\' && !raw {
            let (meant, length) = escape(tail).ok_or_else(|| {
                let place = Span::new(at + from, (at + from + 2).min(text.len()));
                Slip::new(
                    SlipKind::Syntax,
                    place,
                    "a backslash before something that needs none",
                )
                .fixed_by("double the backslash, or write r'…'")
            })?;
            out.push(meant);
            from += length;
        } else {
            out.push(next);
            from += next.len_utf8();
        }
    }
}

/// What an escape at the start of `text` means, and its length.
fn escape(text: &str) -> Option<(char, usize)> {
    let letter = text[1..].chars().next()?;
    let simple = match letter {
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        '\\' | '?' | '"' | '\'' | '`' => Some(letter),
        _ => None,
    };
    if let Some(meant) = simple {
        return Some((meant, 2));
    }
    let (from, digits, radix) = match letter {
        'x' | 'X' => (2, 2, 16),
        'u' => (2, 4, 16),
        'U' => (2, 8, 16),
        '0'..='3' => (1, 3, 8),
        _ => return None,
    };
    let code = text.get(from..from + digits)?;
    let code = code.chars().all(|c| c.is_digit(radix)).then_some(code)?;
    let meant = char::from_u32(u32::from_str_radix(code, radix).ok()?)?;
    Some((meant, from + digits))
}
