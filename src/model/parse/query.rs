//! Queries: PromQL judged with its template, other languages by their template alone.

use crate::model::promql::{self, Problem, Severity};
use crate::model::rules;
use crate::model::template::Context;
use crate::model::violation::{Code, FieldPath, Place, Violation};

use super::fields::{Field, Findings};

/// Problems told of one query: a hostile one has thousands, and a person mends a few at a time.
const MOST: usize = 8;

/// Judges a PromQL template; every problem becomes a finding with line, column and the line itself.
pub(super) fn promql(field: &Field<'_>, text: &str, values: &Context, findings: &mut Findings) {
    if text.trim().is_empty() {
        findings.add(&rules::QUERY_EMPTY, &field.path, "only white space");
        return;
    }
    for problem in promql::judge(text, values).into_iter().take(MOST) {
        report(&field.path, problem, findings);
    }
}

fn report(path: &FieldPath, problem: Problem, findings: &mut Findings) {
    // Flagger runs every Go template, so what we cannot render is no mistake of its author.
    let refused = problem.severity == Severity::Error && problem.code != rules::TEMPLATE_UNSUPPORTED.code.0;
    let violation = Violation {
        path: path.clone(),
        code: Code(problem.code),
        found: problem.found,
        expected: problem.expected,
        fix: problem.fix,
        place: Some(Place {
            line: problem.line,
            column: problem.column,
            span: problem.span,
        }),
        snippet: (!problem.snippet.is_empty()).then_some(problem.snippet),
    };
    if refused {
        findings.report.violations.push(violation);
    } else {
        findings.report.warnings.push(violation);
    }
}

/// Judges only the template of a query in another language.
pub(super) fn template(field: &Field<'_>, text: &str, findings: &mut Findings) {
    for problem in promql::judge_template(text, &Context::stand_in())
        .into_iter()
        .take(MOST)
    {
        report(&field.path, problem, findings);
    }
}

/// The query with every template action replaced by a plain value.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        out.push('1');
        rest = after.split_once("}}").map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    out
}
