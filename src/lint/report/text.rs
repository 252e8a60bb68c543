//! For people and editors: one line as compilers write it, then the line of the file and carets.

use std::fmt::Write as _;

use crate::lint::{Diagnostic, Level, Outcome};

/// Escape sequences, or nothing.
struct Paint {
    bold: &'static str,
    error: &'static str,
    warning: &'static str,
    dim: &'static str,
    off: &'static str,
}

const COLOURS: Paint = Paint {
    bold: "\u{1b}[1m",
    error: "\u{1b}[1;31m",
    warning: "\u{1b}[1;33m",
    dim: "\u{1b}[2m",
    off: "\u{1b}[0m",
};
const PLAIN: Paint = Paint {
    bold: "",
    error: "",
    warning: "",
    dim: "",
    off: "",
};

impl Paint {
    fn level(&self, level: Level) -> &'static str {
        match level {
            Level::Error => self.error,
            Level::Warning => self.warning,
        }
    }
}

/// Every finding: `file:line:column: level: path: found; expected; fix [code]`, the line, carets.
pub fn text(outcome: &Outcome, colours: bool) -> String {
    let paint = if colours { COLOURS } else { PLAIN };
    let mut out = String::new();
    for one in &outcome.diagnostics {
        finding(one, &paint, &mut out);
    }
    out
}

fn finding(one: &Diagnostic, paint: &Paint, out: &mut String) {
    let Paint { bold, dim, off, .. } = paint;
    let level = paint.level(one.level);
    let (line, column) = (one.region.line, one.region.column);
    let fix = if one.fix.is_empty() {
        String::new()
    } else {
        format!("; {}", one.fix)
    };
    let _ = writeln!(
        out,
        "{bold}{}:{line}:{column}:{off} {level}{}:{off} {}: {}{fix} {dim}[{}]{off}",
        one.file,
        one.level.as_str(),
        one.path,
        one.message,
        one.code
    );
    let width = line.to_string().len().max(4);
    let mut lines = one.snippet.lines();
    let _ = writeln!(
        out,
        "{dim}{line:>width$} |{off} {}",
        lines.next().unwrap_or_default()
    );
    for carets in lines {
        let _ = writeln!(out, "{dim}{:width$} |{off} {level}{carets}{off}", "");
    }
    for note in one.note.iter().flat_map(|note| note.lines()) {
        let _ = writeln!(out, "{dim}{:width$} :{off} {note}", "");
    }
}
