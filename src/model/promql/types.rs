//! What each construct takes and gives, and how to mend it when the types do not fit.
//!
//! Works bottom-up, as the parser builds each node, so that no second walk over the tree is needed. An unknown
//! function has been reported once: nothing is said about the type of its call.

use super::ast::{Expr, ExprKind, Matcher, ValueType};
use super::call::{mismatch, plural, quantile};
use super::functions::{self, Aggregation};
use super::place::Span;
use super::word::Operator;
use super::{Code, Findings, quoted};

/// How the two sides of an operator are matched.
#[derive(Debug, Default)]
pub(super) struct Matching {
    /// `bool`, with its place.
    pub(super) yields_bool: Option<Span>,
    /// `on` (true) or `ignoring` and the labels.
    pub(super) labels: Option<(bool, Vec<String>)>,
    /// `group_left` or `group_right` and the labels it copies.
    pub(super) group: Option<(Span, Vec<String>)>,
    /// `fill…(value)`, experimental.
    pub(super) fill: Option<Span>,
}

/// True when nothing may be said about the type of an expression.
fn is_unknown(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Call { function, .. } => functions::function(function).is_none(),
        ExprKind::Paren(inner) | ExprKind::Unary(inner) => is_unknown(inner),
        _ => false,
    }
}

/// Whether an expression has a type, as far as is known.
pub(super) fn fits(expr: &Expr, wanted: ValueType) -> bool {
    expr.result == wanted || is_unknown(expr)
}

/// Types of an aggregation; its operand, split from its parameter.
pub(super) fn aggregate(
    findings: &mut Findings<'_>,
    aggregation: Aggregation,
    arguments: Vec<Expr>,
    span: Span,
    name: Span,
) -> (Option<Box<Expr>>, Option<Box<Expr>>) {
    let title = aggregation.name();
    if aggregation.experimental() {
        findings.note(
            name,
            format!("{title} is an experimental aggregation"),
            "Prometheus runs it only with --enable-feature=promql-experimental-functions",
        );
    }
    let wanted = 1 + usize::from(aggregation.parameter().is_some());
    let usage = match aggregation.parameter() {
        Some(ValueType::Text) => format!("{title}(\"label\", vector)"),
        Some(_) => format!("{title}(number, vector)"),
        None => format!("{title}(vector)"),
    };
    if arguments.len() != wanted {
        findings.fault(
            Code::Type,
            span,
            format!("{title} with {}", plural(arguments.len())),
            format!("expected {}", plural(wanted)),
            format!("write {usage}"),
        );
        return (None, None);
    }
    let mut arguments = arguments.into_iter();
    let parameter = aggregation.parameter().and_then(|_| arguments.next());
    let operand = arguments.next();
    if let (Some(type_of_parameter), Some(first), Some(second)) =
        (aggregation.parameter(), &parameter, &operand)
    {
        let swapped = first.result == ValueType::Vector
            && !is_unknown(first)
            && second.result == type_of_parameter
            && !is_unknown(second);
        if swapped {
            findings.fault(
                Code::Type,
                first.span,
                format!("the arguments of {title} in the wrong order"),
                format!("expected {usage}"),
                format!(
                    "swap {} and {}",
                    quoted(findings.query, first.span),
                    quoted(findings.query, second.span)
                ),
            );
            return (parameter.map(Box::new), operand.map(Box::new));
        }
        if !fits(first, type_of_parameter) {
            mismatch(findings, title, first, type_of_parameter);
        }
        if aggregation == Aggregation::Quantile {
            quantile(findings, first);
        }
    }
    if let Some(operand) = operand
        .as_ref()
        .filter(|operand| !fits(operand, ValueType::Vector))
    {
        mismatch(findings, title, operand, ValueType::Vector);
    }
    (parameter.map(Box::new), operand.map(Box::new))
}

/// Types of a binary operation; its result.
pub(super) fn binary(
    findings: &mut Findings<'_>,
    operator: Operator,
    place: Span,
    operands: (&Expr, &Expr),
    matching: &Matching,
) -> ValueType {
    let (left, right) = operands;
    let name = operator.name();
    let is = |wanted: ValueType| (left.result == wanted, right.result == wanted);
    let both_scalar = is(ValueType::Scalar) == (true, true);
    let both_vector = is(ValueType::Vector) == (true, true);
    if let Some(span) = matching.yields_bool.filter(|_| !operator.compares()) {
        findings.fault(
            Code::Type,
            span,
            format!("`bool` after `{name}`"),
            "expected `bool` only after a comparison (== != < <= > >=)".to_owned(),
            "remove it".to_owned(),
        );
    }
    if operator.compares()
        && both_scalar
        && matching.yields_bool.is_none()
        && !is_unknown(left)
        && !is_unknown(right)
    {
        findings.fault(
            Code::Type,
            place,
            format!("two scalars compared with `{name}`"),
            "expected `bool` between scalars".to_owned(),
            format!("write `{name} bool`"),
        );
    }
    for operand in [left, right] {
        operand_type(findings, name, operand);
    }
    if !both_vector && !is_unknown(left) && !is_unknown(right) {
        if let Some((on, _)) = matching.labels.as_ref().filter(|(_, labels)| !labels.is_empty()) {
            let word = if *on { "on" } else { "ignoring" };
            findings.fault(
                Code::Type,
                place,
                format!("`{word}(…)` although one side is no instant vector"),
                "expected label matching only between instant vectors".to_owned(),
                format!("remove the `{word}(…)`"),
            );
        }
        if let Some(span) = matching.fill {
            findings.fault(
                Code::Type,
                span,
                "`fill` although one side is no instant vector".to_owned(),
                "expected it only between instant vectors".to_owned(),
                "remove it".to_owned(),
            );
        }
    }
    if let (Some((true, labels)), Some((span, copied))) = (&matching.labels, &matching.group)
        && let Some(label) = copied.iter().find(|label| labels.contains(label))
    {
        findings.fault(
            Code::Type,
            *span,
            format!("the label `{label}` in both `on` and the group clause"),
            "expected other labels to copy than those matched on".to_owned(),
            format!("remove `{label}` from the group clause"),
        );
    }
    if operator.works_on_sets() {
        set(findings, operator, operands, matching);
    }
    if matches!(operator, Operator::TrimLower | Operator::TrimUpper) {
        findings.note(
            place,
            format!("`{name}` trims native histograms"),
            "only recent versions of Prometheus know it",
        );
    }
    if both_scalar {
        ValueType::Scalar
    } else {
        ValueType::Vector
    }
}

fn set(findings: &mut Findings<'_>, operator: Operator, (left, right): (&Expr, &Expr), matching: &Matching) {
    let name = operator.name();
    let scalar = [left, right]
        .into_iter()
        .find(|side| side.result == ValueType::Scalar && !is_unknown(side));
    if let Some(scalar) = scalar {
        findings.fault(
            Code::Type,
            scalar.span,
            format!("a scalar beside `{name}`"),
            format!("expected instant vectors on both sides of `{name}`"),
            format!(
                "write vector({})",
                quoted(findings.query, scalar.span).trim_matches('`')
            ),
        );
        return;
    }
    if let Some((span, _)) = &matching.group {
        findings.fault(
            Code::Type,
            *span,
            format!("a group clause after `{name}`"),
            "expected none: set operators match many to many".to_owned(),
            "remove it".to_owned(),
        );
    }
    if let Some(span) = matching.fill {
        findings.fault(
            Code::Type,
            span,
            format!("`fill` after `{name}`"),
            "expected none after set operators".to_owned(),
            "remove it".to_owned(),
        );
    }
}

/// An operand has to be a number or an instant vector.
fn operand_type(findings: &mut Findings<'_>, name: &str, operand: &Expr) {
    let fix = match operand.result {
        ValueType::Scalar | ValueType::Vector => return,
        ValueType::Matrix => "wrap it in a function such as rate() or avg_over_time(), or remove the range",
        ValueType::Text => "compare with a number; match label values inside braces",
    };
    findings.fault(
        Code::Type,
        operand.span,
        format!("{} beside `{name}`", operand.result.noun()),
        "expected scalars or instant vectors".to_owned(),
        fix.to_owned(),
    );
}

/// The type of a signed expression.
pub(super) fn unary(findings: &mut Findings<'_>, sign: &'static str, inner: &Expr) -> ValueType {
    operand_type(findings, sign, inner);
    inner.result
}

/// A subquery steps over an instant vector.
pub(super) fn subquery(findings: &mut Findings<'_>, inner: &Expr) {
    if fits(inner, ValueType::Vector) {
        return;
    }
    findings.fault(
        Code::Type,
        inner.span,
        format!("a subquery over {}", inner.result.noun()),
        "expected an instant vector before the brackets".to_owned(),
        match inner.result {
            ValueType::Matrix => "wrap the range in a function such as rate() first".to_owned(),
            ValueType::Scalar => format!(
                "write vector({})",
                quoted(findings.query, inner.span).trim_matches('`')
            ),
            ValueType::Text | ValueType::Vector => "use a selector".to_owned(),
        },
    );
}

/// A selector has to name something: a metric, or at least one label that is not empty.
pub(super) fn selector(findings: &mut Findings<'_>, name: Option<&str>, matchers: &[Matcher], span: Span) {
    match name {
        Some(name) => {
            if let Some(twice) = matchers.iter().find(|matcher| matcher.label == "__name__") {
                findings.fault(
                    Code::Type,
                    twice.span,
                    format!("a second metric name, `{}`, after `{name}`", twice.value),
                    "expected one metric name".to_owned(),
                    "write the name before the braces or inside, not both".to_owned(),
                );
            }
        }
        None if matchers.iter().all(|matcher| matcher.matches_empty) => findings.empty_selector(span),
        None => {}
    }
}
