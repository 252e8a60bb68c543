//! GitHub's workflow commands: annotations beside the lines of a pull request.

use std::fmt::Write as _;

use crate::lint::Outcome;

/// One `::error` or `::warning` for each finding, and an `::error` for what could not be judged.
pub fn github(outcome: &Outcome) -> String {
    let mut out = String::new();
    for one in &outcome.diagnostics {
        let region = one.region;
        let mut words = format!("{}: {}", one.path, one.message);
        if !one.fix.is_empty() {
            let _ = write!(words, "; {}", one.fix);
        }
        let _ = writeln!(
            out,
            "::{} file={},line={},endLine={},col={},endColumn={},title={}::{}",
            one.level.as_str(),
            property(&one.file),
            region.line,
            region.end_line,
            region.column,
            region.end_column.max(region.column + 1),
            property(one.code),
            data(&words)
        );
    }
    for one in &outcome.unjudged {
        let place = one.place.map_or(String::new(), |(line, column)| {
            format!(",line={line},col={column}")
        });
        let _ = writeln!(
            out,
            "::error file={}{place},title=unreadable::{}",
            property(&one.file),
            data(&one.message)
        );
    }
    out
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
