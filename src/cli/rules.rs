//! `verdigris rules`: the table of rules, for people, programs and the documentation.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde_json::json;

use crate::model::rules::{ALL, LEFT_OUT, Rule};

/// How the table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// A JSON array of objects.
    Json,
    /// A Markdown table.
    Markdown,
}

/// Arguments of `verdigris rules`.
#[derive(Debug, Clone, clap::Args)]
pub struct RulesArgs {
    /// How to print the rules.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Prints every rule to standard output; fails only when that cannot be written.
pub fn run(args: &RulesArgs) -> io::Result<()> {
    io::stdout().lock().write_all(render(args.output).as_bytes())
}

/// What the documentation begins with.
const HEAD: &str = "\
# Admission rules

What `verdigris run` refuses or warns about when an object is applied, and `verdigris lint` tells of files. Numbers `V-nnn`
are those of the list of 174 known misconfigurations. Written by `verdigris rules -o markdown`.

";

/// The whole table as text, ending in a newline.
pub fn render(format: Format) -> String {
    let mut out = String::new();
    match format {
        Format::Table => {
            let width = ALL.iter().map(|rule| rule.code.0.len()).max().unwrap_or(0);
            for rule in ALL {
                let severity = if rule.severity.as_str() == "warning" {
                    "warning"
                } else {
                    "error"
                };
                let _ = writeln!(
                    out,
                    "{:width$}  {severity:7}  {:17}  {}",
                    rule.code.0,
                    covers(rule),
                    rule.reason
                );
            }
        }
        Format::Json => {
            let rows: Vec<_> = ALL
                .iter()
                .map(|rule| {
                    json!({
                        "code": rule.code.0,
                        "covers": rule.numbers().collect::<Vec<_>>(),
                        "scope": rule.scope.as_str(),
                        "severity": rule.severity.as_str(),
                        "reason": rule.reason,
                        "fix": rule.fix,
                    })
                })
                .collect();
            let _ = writeln!(out, "{:#}", serde_json::Value::from(rows));
        }
        Format::Markdown => {
            out.push_str(HEAD);
            out.push_str("| rule | covers | judges | severity | why | fix |\n|---|---|---|---|---|---|\n");
            for rule in ALL {
                let cell = |text: &str| text.replace('|', "\\|");
                let _ = writeln!(
                    out,
                    "| `{}` | {} | {} | {} | {} | {} |",
                    rule.code.0,
                    covers(rule),
                    rule.scope.as_str(),
                    rule.severity.as_str(),
                    cell(rule.reason),
                    cell(rule.fix)
                );
            }
            out.push_str("\n| without a rule | why |\n|---|---|\n");
            for (number, why) in LEFT_OUT {
                let _ = writeln!(out, "| {number} | {why} |");
            }
        }
    }
    out
}

fn covers(rule: &Rule) -> String {
    rule.numbers().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each_rule() {
        assert_eq!(render(Format::Table).lines().count(), ALL.len());
        assert_eq!(
            render(Format::Markdown).lines().count(),
            HEAD.lines().count() + ALL.len() + 2 + LEFT_OUT.len() + 3
        );
        let rows: serde_json::Value = serde_json::from_str(&render(Format::Json)).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), ALL.len());
        assert!(
            rows.as_array()
                .unwrap()
                .iter()
                .any(|row| row["covers"][0] == "V-001")
        );
    }

    #[test]
    fn no_cell_breaks_the_markdown_table() {
        let table = render(Format::Markdown);
        for line in table.lines().filter(|line| line.starts_with("| `")) {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 7, "{line}");
        }
    }

    #[test]
    fn the_documentation_is_fresh() {
        assert!(
            include_str!("../model/RULES.md") == render(Format::Markdown),
            "run verdigris rules -o markdown > src/model/RULES.md"
        );
    }
}
