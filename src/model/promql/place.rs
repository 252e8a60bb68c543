//! Where something is in a text: [`Span`], line and column, and the snippet with a caret people see.
//!
//! Promises: every function is total; an offset past the end or inside a character is moved back to a boundary.

/// The widest snippet line, in characters: a caret must stay on the screen next to its text.
const SNIPPET_WIDTH: usize = 100;

/// A range of byte offsets, `start..end`, into a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// An empty span: a place between two characters.
    pub fn at(offset: usize) -> Self {
        Self {
            start: offset,
            end: offset,
        }
    }

    /// From the start of this span to the end of the other.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self {
            start: self.start,
            end: other.end,
        }
    }

    /// The text this span covers.
    pub fn of(self, text: &str) -> &str {
        let start = floor(text, self.start);
        let end = floor(text, self.end).max(start);
        &text[start..end]
    }
}

/// Line and column of a byte offset, both from 1; the column counts characters.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..floor(text, offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// The line a span begins on and, beneath it, carets under the part of the span on that line.
///
/// The line is cut to about a hundred characters around the place; tabs and control characters become blanks, so
/// that the caret stands where it should in every terminal. No trailing newline.
pub fn snippet(text: &str, span: Span) -> String {
    let start = floor(text, span.start);
    let end = floor(text, span.end).max(start);
    // Characters take at most four bytes: no more of the line than this can be shown.
    let reach = SNIPPET_WIDTH * 4;
    let nearest = floor(text, start.saturating_sub(reach));
    let farthest = floor(text, start + reach);
    let line_start = text[nearest..start]
        .rfind('\n')
        .map_or(nearest, |newline| nearest + newline + 1);
    let line_end = text[start..farthest]
        .find('\n')
        .map_or(farthest, |newline| start + newline);
    let starts_before = line_start == nearest && nearest > 0 && !text[..nearest].ends_with('\n');
    let ends_after = line_end == farthest && farthest < text.len() && !text[farthest..].starts_with('\n');
    let before = text[line_start..start].chars().count();
    let marked = text[start..end.clamp(start, line_end)].chars().count().max(1);
    let line: Vec<char> = text[line_start..line_end]
        .trim_end()
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();

    let (from, to) = window(line.len(), before);
    let mut shown = String::new();
    let mut carets = String::new();
    if from > 0 || starts_before {
        shown.push('…');
        carets.push(' ');
    }
    shown.extend(&line[from..to]);
    carets.extend(std::iter::repeat_n(' ', before - from));
    carets.extend(std::iter::repeat_n('^', marked.min((to - before.min(to)).max(1))));
    if to < line.len() || ends_after {
        shown.push('…');
    }
    format!("{shown}\n{carets}")
}

/// Which characters of a line of `length` to show so that the one at `place` is among them.
fn window(length: usize, place: usize) -> (usize, usize) {
    if length <= SNIPPET_WIDTH {
        return (0, length);
    }
    let from = place
        .saturating_sub(SNIPPET_WIDTH * 2 / 3)
        .min(length - SNIPPET_WIDTH);
    (from, from + SNIPPET_WIDTH)
}

/// The character boundary at or before an offset.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        assert_eq!(position("", 0), (1, 1));
        assert_eq!(position("äb", 2), (1, 2));
        assert_eq!(position("a\nbc", 3), (2, 2));
        assert_eq!(position("a\n", 99), (2, 1));
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        assert_eq!(snippet("sum(x", Span::new(3, 4)), "sum(x\n   ^");
        assert_eq!(snippet("a\n\tfoo bar\nb", Span::new(7, 10)), " foo bar\n     ^^^");
        assert_eq!(snippet("x{a=\"b\"\nc}", Span::at(7)), "x{a=\"b\"\n       ^");
        assert_eq!(snippet("", Span::at(0)), "\n^");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("{}BAD{}", "a ".repeat(200), " b".repeat(200));
        let shown = snippet(&text, Span::new(400, 403));
        let lines: Vec<&str> = shown.lines().collect();
        let column = lines[1].find('^').expect("a caret");
        assert!(lines[0].chars().count() <= SNIPPET_WIDTH + 2);
        assert_eq!(lines[0].chars().skip(column).take(3).collect::<String>(), "BAD");
        assert_eq!(lines[1].matches('^').count(), 3);
    }

    #[test]
    fn a_line_of_any_length_is_cut_on_both_sides() {
        let text = "ä".repeat(300_000);
        let shown = snippet(&text, Span::new(300_000, 300_002));
        let (line, carets) = shown.split_once('\n').expect("two lines");
        assert!(line.starts_with('…') && line.ends_with('…') && line.chars().count() == SNIPPET_WIDTH + 2);
        assert_eq!(carets.trim_start(), "^");
        assert_eq!(snippet("a\nb", Span::at(1)), "a\n ^");
    }

    #[test]
    fn spans_outside_the_text_are_harmless() {
        assert_eq!(snippet("ä", Span::new(1, 50)), "ä\n^");
        assert_eq!(Span::new(5, 2).of("äöü"), "");
    }
}
