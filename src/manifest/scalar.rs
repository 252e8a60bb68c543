//! From the text a scalar stands for back to the bytes it is written with.
//!
//! YAML folds lines, strips indentation and knows escapes; what never changes is the order of the characters that are
//! not blank. So the two texts are walked side by side: ink meets ink, and runs of blanks meet runs of blanks.

use std::ops::Range;

use granit_parser::ScalarStyle;

/// A character as it is written: where it begins and what it stands for.
#[derive(Debug, Clone, Copy)]
struct Unit {
    at: usize,
    char: char,
}

/// The bytes of `raw` (quotes and block header included) that a range of `text` comes from.
pub(super) fn origin(raw: &str, style: ScalarStyle, text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let units = match style {
        ScalarStyle::DoubleQuoted => double_quoted(raw),
        ScalarStyle::SingleQuoted => single_quoted(raw),
        ScalarStyle::Plain => plain(raw, 0),
        ScalarStyle::Literal | ScalarStyle::Folded => plain(raw, block_header(raw)),
    };
    let end_of_raw = units
        .last()
        .map_or(raw.len(), |unit| unit.at + unit.char.len_utf8());
    let places = aligned(text, &units)?;
    let find = |offset: usize| {
        let index = places.partition_point(|(at, _)| *at < offset);
        places
            .get(index)
            .map_or(end_of_raw.min(raw.len()), |(_, origin)| *origin)
    };
    let start = find(range.start);
    // One past the last character, which may itself stand at the end of a line.
    let last = text
        .get(range.start..range.end)
        .and_then(|part| part.char_indices().next_back());
    let end = last.map_or(start, |(at, char)| {
        let begin = find(range.start + at);
        let written = raw.get(begin..).and_then(|rest| rest.chars().next());
        begin + written.map_or(char.len_utf8(), char::len_utf8)
    });
    Some(start..end.max(start))
}

/// Past the line `|-` or `>2`, when the scalar begins with it.
fn block_header(raw: &str) -> usize {
    if raw.starts_with(['|', '>']) {
        raw.find('\n').map_or(raw.len(), |newline| newline + 1)
    } else {
        0
    }
}

fn plain(raw: &str, from: usize) -> Vec<Unit> {
    raw[from..]
        .char_indices()
        .map(|(at, char)| Unit { at: from + at, char })
        .collect()
}

fn single_quoted(raw: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut chars = raw.char_indices().peekable();
    chars.next_if(|(_, char)| *char == '\'');
    while let Some((at, char)) = chars.next() {
        if char == '\'' && chars.next_if(|(_, next)| *next == '\'').is_none() {
            break;
        }
        units.push(Unit { at, char });
    }
    units
}

fn double_quoted(raw: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut chars = raw.char_indices().peekable();
    chars.next_if(|(_, char)| *char == '"');
    while let Some((at, char)) = chars.next() {
        if char == '"' {
            break;
        }
        if char != '\\' {
            units.push(Unit { at, char });
            continue;
        }
        let Some((_, escape)) = chars.next() else { break };
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            // A broken line: nothing of it, nor of the next line's indentation, is in the text.
            '\n' | '\r' => {
                while chars.next_if(|(_, char)| char.is_whitespace()).is_some() {}
                continue;
            }
            _ => 0,
        };
        let mut code = 0;
        for _ in 0..digits {
            if let Some((_, digit)) = chars.next_if(|(_, char)| char.is_ascii_hexdigit()) {
                code = code * 16 + digit.to_digit(16).unwrap_or(0);
            }
        }
        let char = match escape {
            // The second half of a pair, as JSON writes it: one character, where the first half stands.
            'u' if (0xDC00..0xE000).contains(&code) => continue,
            'u' if (0xD800..0xDC00).contains(&code) => char::REPLACEMENT_CHARACTER,
            'x' | 'u' | 'U' => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
            'n' => '\n',
            't' | '\t' => '\t',
            'r' => '\r',
            'v' => '\u{b}',
            'f' => '\u{c}',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'e' => '\u{1b}',
            '0' => '\0',
            'N' => '\u{85}',
            '_' => '\u{a0}',
            'L' => '\u{2028}',
            'P' => '\u{2029}',
            other => other,
        };
        units.push(Unit { at, char });
    }
    units
}

/// Each character of `text` with the place it is written at; `None` when the two do not match.
fn aligned(text: &str, units: &[Unit]) -> Option<Vec<(usize, usize)>> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let mut places = Vec::with_capacity(chars.len());
    let (mut i, mut j) = (0, 0);
    while i < chars.len() {
        let run = chars[i..]
            .iter()
            .take_while(|(_, char)| char.is_whitespace())
            .count();
        let raw_run = units[j..]
            .iter()
            .take_while(|unit| unit.char.is_whitespace())
            .count();
        if run == 0 && raw_run == 0 {
            let unit = units.get(j)?;
            if unit.char != chars[i].1 && unit.char != char::REPLACEMENT_CHARACTER {
                return None;
            }
            places.push((chars[i].0, unit.at));
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // Up to the end of the line from the left, the next line's blanks from the right.
        let to_newline = chars[i..i + run]
            .iter()
            .position(|(_, char)| *char == '\n')
            .map_or(run, |newline| newline + 1);
        let unit = |index: usize| units.get(index).or(units.last()).map(|unit| unit.at);
        for offset in 0..run {
            let index = if offset < to_newline {
                j + offset.min(raw_run.saturating_sub(1))
            } else {
                (j + raw_run).saturating_sub(run - offset).max(j)
            };
            places.push((chars[i + offset].0, unit(index)?));
        }
        (i, j) = (i + run, j + raw_run);
    }
    Some(places)
}
