//! SARIF 2.1.0 (OASIS), for code scanners.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::lint::{Level, Outcome};
use crate::model::rules::{self, Severity};

/// The log: one run, its rules, results, and what could not be read as notifications. Ends in a newline.
pub fn sarif(outcome: &Outcome) -> String {
    let rules: Vec<Value> = rules::ALL
        .iter()
        .map(|rule| {
            json!({
                "id": rule.code.0,
                "shortDescription": {"text": rule.reason},
                "help": {"text": rule.fix},
                "defaultConfiguration": {"level": match rule.severity {
                    Severity::Error | Severity::ErrorForProvider => "error",
                    Severity::Warning => "warning",
                }},
            })
        })
        .collect();
    let results: Vec<Value> = outcome
        .diagnostics
        .iter()
        .map(|one| {
            let text = if one.fix.is_empty() {
                format!("{}: {}", one.path, one.message)
            } else {
                format!("{}: {}; {}", one.path, one.message, one.fix)
            };
            let mut result = json!({
                "ruleId": one.code,
                "level": match one.level { Level::Error => "error", Level::Warning => "warning" },
                "message": {"text": text},
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {"uri": uri(&one.file)},
                        "region": {
                            "startLine": one.region.line,
                            "startColumn": one.region.column,
                            "endLine": one.region.end_line,
                            "endColumn": one.region.end_column,
                        },
                    },
                    "logicalLocations": [{
                        "name": one.name,
                        "fullyQualifiedName": format!("{}/{}: {}", one.kind, one.name, one.path),
                        "kind": "object",
                    }],
                }],
            });
            if let Some(index) = rules::ALL.iter().position(|rule| rule.code.0 == one.code) {
                result["ruleIndex"] = index.into();
            }
            result
        })
        .collect();
    let notifications: Vec<Value> = outcome
        .unjudged
        .iter()
        .map(|one| {
            let mut location = json!({"artifactLocation": {"uri": uri(&one.file)}});
            if let Some((line, column)) = one.place {
                location["region"] = json!({"startLine": line, "startColumn": column});
            }
            json!({
                "level": "error",
                "message": {"text": one.message},
                "locations": [{"physicalLocation": location}],
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "verdigris",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": outcome.unjudged.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

/// A path as a URI reference: everything but unreserved characters and slashes is escaped (RFC 3986).
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.trim_start_matches("./").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
