//! From the path of a finding to the bytes of the file.

use crate::manifest::{Document, Step};
use crate::model::promql::{self, Span, place};
use crate::model::rules;
use crate::model::violation::{FieldPath, Segment, Violation};

use super::Region;

/// The bytes a finding is about: the place within a query, else the value; the key when the value is no scalar; what
/// is nearest above when the field is missing.
pub(super) fn locate(
    file: &str,
    document: &Document,
    item: Option<usize>,
    path: &FieldPath,
    violation: &Violation,
) -> Span {
    let mut steps: Vec<Step<'_>> = Vec::new();
    if let Some(index) = item {
        steps.extend([Step::Key("items"), Step::Index(index)]);
    }
    let above = steps.len();
    steps.extend(path.segments().iter().map(|segment| match segment {
        Segment::Key(key) => Step::Key(key),
        Segment::Index(index) => Step::Index(*index),
    }));
    let Some(found) = document.place(steps.iter().copied()) else {
        return Span::at(document.region.start);
    };
    if let Some(within) = violation.place
        && let Some(origin) = found.value.origin(file, within.span.start..within.span.end)
    {
        return Span::new(origin.start, origin.end);
    }
    if found.depth == above {
        // Nothing of the path exists: the object itself.
        let kind = found.value.get("kind").unwrap_or(found.value);
        return first_line(file, kind.span.start, kind.span.end);
    }
    let value = &found.value.span;
    let by_key = matches!(steps.get(found.depth - 1), Some(Step::Key(_)));
    let is_whole = found.depth == steps.len();
    let is_key_meant =
        violation.code == rules::UNKNOWN_FIELD.code || !is_whole || found.value.text().is_none();
    match found.key {
        Some(key) if by_key && is_key_meant => Span::new(key.span.start, key.span.end),
        Some(_) | None => first_line(file, value.start, value.end),
    }
}

/// The part of a range on its first line, without blanks at the end.
fn first_line(file: &str, start: usize, end: usize) -> Span {
    let text = file.get(start..end).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim_end();
    Span::new(start, start + line.len())
}

/// Where the lines of a file begin: counting them anew for each finding would take too long in large files.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(file: &str) -> Self {
        let after = file.match_indices('\n').map(|(newline, _)| newline + 1);
        Self(std::iter::once(0).chain(after).collect())
    }

    /// Lines and columns of a range.
    pub(super) fn region(&self, file: &str, span: Span) -> Region {
        let (line, column) = self.position(file, span.start);
        let (end_line, end_column) = self.position(file, span.end.max(span.start));
        Region {
            line,
            column,
            end_line,
            end_column,
        }
    }

    fn position(&self, file: &str, offset: usize) -> (usize, usize) {
        let line = self.0.partition_point(|start| *start <= offset).max(1);
        let start = self.0[line - 1];
        let (_, column) = place::position(file.get(start..).unwrap_or_default(), offset - start);
        (line, column)
    }
}

/// The line of the file and carets beneath it.
pub(super) fn snippet(file: &str, span: Span) -> String {
    promql::snippet(file, span)
}
