//! What to say where no token can begin: the slips people make with characters.

use super::place::Span;
use super::{Code, Fault};

fn fault(span: Span, found: String, expected: &str, fix: String) -> Fault {
    Fault::new(Code::Syntax, span, found, expected.to_owned(), fix)
}

/// The character at an offset, and its span.
fn character(query: &str, at: usize) -> (char, Span) {
    let character = query[at..].chars().next().unwrap_or(' ');
    (character, Span::new(at, at + character.len_utf8()))
}

fn is_typographic_quote(character: char) -> bool {
    matches!(
        character,
        '“' | '”'
            | '„'
            | '‟'
            | '‘'
            | '’'
            | '‚'
            | '‛'
            | '«'
            | '»'
            | '″'
            | '′'
            | '＂'
            | '＇'
            | '´'
    )
}

/// Slips that look the same everywhere.
fn anywhere(character: char, span: Span) -> Option<Fault> {
    if is_typographic_quote(character) {
        let plain = if matches!(character, '‘' | '’' | '‚' | '‛' | '′' | '＇' | '´') {
            '\''
        } else {
            '"'
        };
        return Some(fault(
            span,
            format!("the typographic quote {character}"),
            "expected a plain quote",
            format!("write {plain} here and at the other end of the string"),
        ));
    }
    if character.is_whitespace() || matches!(character, '\u{200b}' | '\u{feff}' | '\u{2060}') {
        return Some(fault(
            span,
            format!("an invisible character (U+{:04X})", u32::from(character)),
            "expected a plain blank",
            "retype the blank; the character was pasted from formatted text".to_owned(),
        ));
    }
    let ascii = match character {
        '–' | '—' | '−' => "-",
        '×' => "*",
        '÷' => "/",
        '≥' => ">=",
        '≤' => "<=",
        '≠' => "!=",
        _ => return None,
    };
    Some(fault(
        span,
        format!("the character {character}"),
        "expected an operator in ASCII",
        format!("write {ascii}"),
    ))
}

/// Outside braces.
pub(super) fn outside(query: &str, at: usize) -> Fault {
    let (character, span) = character(query, at);
    if let Some(fault) = anywhere(character, span) {
        return fault;
    }
    let next = query[span.end..].chars().next();
    let two = Span::new(at, span.end + next.map_or(0, char::len_utf8));
    match (character, next) {
        ('=', _) => fault(
            two,
            "`=~` outside braces".to_owned(),
            "expected label matchers inside braces",
            "match labels like this: name{label=~\"regex\"}".to_owned(),
        ),
        ('!', Some('~')) => fault(
            two,
            "`!~` outside braces".to_owned(),
            "expected label matchers inside braces",
            "match labels like this: name{label!~\"regex\"}".to_owned(),
        ),
        ('!', _) => fault(
            span,
            "`!` on its own".to_owned(),
            "expected `!=`, or `unless` between two vectors",
            "write `!=` to compare, `unless` to exclude".to_owned(),
        ),
        ('&', Some('&')) => fault(
            two,
            "`&&`".to_owned(),
            "expected PromQL's operator",
            "write `and`".to_owned(),
        ),
        ('|', Some('|')) => fault(
            two,
            "`||`".to_owned(),
            "expected PromQL's operator",
            "write `or`".to_owned(),
        ),
        ('$', _) => fault(
            span,
            "`$`: a dashboard variable".to_owned(),
            "expected PromQL, which has no variables",
            "write the value, or a template action such as {{ interval }} or {{ variables.key }}".to_owned(),
        ),
        ('.', _) => fault(
            span,
            "a dot in a name".to_owned(),
            "expected letters, digits, `_` and `:`",
            "quote such a name inside braces: {\"my.metric\"}".to_owned(),
        ),
        (';', _) => fault(
            span,
            "`;`".to_owned(),
            "expected one expression without an end mark",
            "remove it".to_owned(),
        ),
        ('\\', _) => fault(
            span,
            "a backslash outside a string".to_owned(),
            "expected PromQL",
            "remove it; inside YAML, a block (`query: |`) needs no escapes".to_owned(),
        ),
        _ => fault(
            span,
            format!("the character {}", shown(character)),
            "expected PromQL",
            "remove it, or quote it if it belongs to a string".to_owned(),
        ),
    }
}

fn shown(character: char) -> String {
    if character.is_control() {
        format!("U+{:04X}", u32::from(character))
    } else {
        format!("`{character}`")
    }
}

/// Inside braces.
pub(super) fn in_braces(query: &str, at: usize) -> Fault {
    const MATCHER: &str = "expected label matchers such as label=\"value\"";
    let (character, span) = character(query, at);
    if let Some(fault) = anywhere(character, span) {
        return fault;
    }
    match character {
        '{' if query[..at].ends_with('{') => fault(
            Span::new(at - 1, at + 1),
            "`{{`: a template action that was not rendered".to_owned(),
            "expected PromQL",
            "use actions the template language knows, such as {{ target }}".to_owned(),
        ),
        '{' => fault(
            span,
            "`{` inside braces".to_owned(),
            MATCHER,
            "close the first braces before, or remove this `{`".to_owned(),
        ),
        '[' | '(' | ')' | ']' => fault(
            span,
            format!("`{character}` while the braces are still open"),
            "expected `}` after the last matcher",
            format!("add `}}` before this `{character}`"),
        ),
        ':' => fault(
            span,
            "`:` between label and value".to_owned(),
            "expected one of = != =~ !~",
            "write label=\"value\"".to_owned(),
        ),
        ';' => fault(
            span,
            "`;` between matchers".to_owned(),
            "expected a comma between label matchers",
            "write a comma instead".to_owned(),
        ),
        '<' | '>' | '!' | '~' => fault(
            span,
            format!("`{character}` in a matcher"),
            "expected one of = != =~ !~",
            "labels are text: match them with = or a regex; compare values outside the braces".to_owned(),
        ),
        '-' | '.' | '/' => fault(
            span,
            format!("`{character}` in a label name"),
            "expected letters, digits and `_`",
            "quote such a name: {\"my-label\"=\"value\"}".to_owned(),
        ),
        '$' => fault(
            span,
            "`$`: a dashboard variable".to_owned(),
            MATCHER,
            "write the value, or a template action such as {{ namespace }}".to_owned(),
        ),
        _ => fault(
            span,
            format!("the character {} inside braces", shown(character)),
            MATCHER,
            "quote it if it belongs to a value, else remove it".to_owned(),
        ),
    }
}

/// A word inside brackets.
pub(super) fn in_range(query: &str, span: Span) -> Fault {
    let word = span.of(query);
    let before = query[..span.start].trim_end();
    let parted = before.ends_with(|character: char| character.is_ascii_digit())
        && ["ms", "s", "m", "h", "d", "w", "y"].contains(&word);
    fault(
        span,
        format!("`{word}` in the brackets of a range"),
        "expected a duration such as [5m] or [1h30m]",
        if parted {
            "write number and unit without a blank between them".to_owned()
        } else if word.starts_with("offset") {
            "write the offset after the brackets: name[5m] offset 1h".to_owned()
        } else {
            "write a number with a unit: ms, s, m, h, d, w or y".to_owned()
        },
    )
}

/// Digits that are neither a number nor a duration.
pub(super) fn number(query: &str, at: usize) -> Fault {
    let length = query[at..]
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
        .count()
        .max(1);
    let span = Span::new(at, at + length);
    let text = span.of(query);
    let unit = text.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    let fraction = text.contains('.') && ["ms", "s", "m", "h", "d", "w", "y"].contains(&unit);
    fault(
        span,
        format!("`{text}`, neither a number nor a duration"),
        "expected a number such as 0.5 or 1e3, or a duration such as 30s or 1h30m",
        if fraction {
            "write whole units, such as 1m30s for 1.5m".to_owned()
        } else if text.contains(|character: char| character.is_ascii_alphabetic()) && !unit.is_empty() {
            "check the unit (ms, s, m, h, d, w, y); a name cannot begin with a digit".to_owned()
        } else {
            "check the digits".to_owned()
        },
    )
}

/// `[` inside brackets.
pub(super) fn nested_range(at: usize) -> Fault {
    fault(
        Span::new(at, at + 1),
        "`[` inside the brackets of a range".to_owned(),
        "expected `]` after the duration",
        "close the first range before: name[5m]".to_owned(),
    )
}
