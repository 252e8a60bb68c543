//! The four forms of a report: for people, for programs, for code scanners, for GitHub's annotations.

mod github;
mod sarif;
mod text;

use serde_json::json;

use super::Outcome;
pub use github::github;
pub use sarif::sarif;
pub use text::text;

/// A JSON array with an object for each finding, ending in a newline.
pub fn json(outcome: &Outcome) -> String {
    let rows: Vec<_> = outcome
        .diagnostics
        .iter()
        .map(|one| {
            json!({
                "file": one.file,
                "document": one.document,
                "kind": one.kind,
                "namespace": one.namespace,
                "name": one.name,
                "severity": one.level.as_str(),
                "code": one.code,
                "path": one.path,
                "message": one.message,
                "fix": one.fix,
                "line": one.region.line,
                "column": one.region.column,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::from(rows))
}
