//! Arguments: how many a function takes, of which types, and how to mend those that do not fit.

use super::ast::{Expr, ExprKind, ValueType};
use super::functions::{self, Function};
use super::place::Span;
use super::types::fits;
use super::{Code, Findings, quoted, regex};

/// Types of a call; the function's result.
pub(super) fn call(
    findings: &mut Findings<'_>,
    function: &Function,
    name: Span,
    arguments: &[Expr],
    span: Span,
) -> ValueType {
    let title = function.name;
    if function.experimental {
        findings.note(
            name,
            format!("{title}() is an experimental function"),
            "Prometheus runs it only with --enable-feature=promql-experimental-functions",
        );
    }
    let (fewest, most) = (function.fewest(), function.most());
    if arguments.len() < fewest || most.is_some_and(|most| arguments.len() > most) {
        let expected = match most {
            Some(most) if most == fewest => plural(fewest),
            Some(most) => format!("{fewest} to {}", plural(most)),
            None => format!("at least {}", plural(fewest)),
        };
        findings.fault(
            Code::Type,
            span,
            format!("{title}() with {}", plural(arguments.len())),
            format!("expected {expected}"),
            format!("write {}", usage(function)),
        );
        return function.gives;
    }
    if title == "info" {
        info(findings, arguments);
    }
    let wrong: Vec<usize> = (0..arguments.len())
        .filter(|index| {
            let wanted = function.argument(*index);
            arguments
                .get(*index)
                .zip(wanted)
                .is_some_and(|(argument, wanted)| !fits(argument, wanted))
        })
        .collect();
    if let [left, right] = wrong.as_slice()
        && let (Some(one), Some(other)) = (arguments.get(*left), arguments.get(*right))
        && function.argument(*left).is_some_and(|wanted| fits(other, wanted))
        && function.argument(*right).is_some_and(|wanted| fits(one, wanted))
    {
        findings.fault(
            Code::Type,
            one.span,
            format!("the arguments of {title}() in the wrong order"),
            format!("expected {}", usage(function)),
            format!(
                "swap {} and {}",
                quoted(findings.query, one.span),
                quoted(findings.query, other.span)
            ),
        );
        return function.gives;
    }
    for index in wrong {
        if let (Some(argument), Some(wanted)) = (arguments.get(index), function.argument(index)) {
            mismatch(findings, title, argument, wanted);
        }
    }
    literals(findings, title, arguments);
    function.gives
}

/// A function with its types, as the documentation writes it.
fn usage(function: &Function) -> String {
    let mut types: Vec<&str> = function.takes.iter().map(|one| one.name()).collect();
    match function.tail {
        functions::Tail::Fixed | functions::Tail::UpTo(1) => {}
        functions::Tail::UpTo(_) | functions::Tail::Any => types.push("…"),
    }
    format!("{}({})", function.name, types.join(", "))
}

/// One argument of the wrong type.
pub(super) fn mismatch(findings: &mut Findings<'_>, title: &str, argument: &Expr, wanted: ValueType) {
    let text = quoted(findings.query, argument.span);
    let bare = text.trim_matches('`');
    let fix = match (wanted, argument.result) {
        (ValueType::Matrix, ValueType::Vector) => match &argument.kind {
            ExprKind::Selector(_) => format!("add a range: {title}({bare}[1m])"),
            ExprKind::Aggregate { aggregation, .. } => {
                let outer = aggregation.name();
                format!("apply {title} first, then {outer}: {outer}({title}(metric[1m]))")
            }
            ExprKind::Number(_)
            | ExprKind::Text(_)
            | ExprKind::Range(_)
            | ExprKind::Subquery { .. }
            | ExprKind::Call { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Unary(_)
            | ExprKind::Paren(_) => {
                format!(
                    "give {title}() a selector with a range, such as metric[1m], or a subquery (…)[5m:1m]"
                )
            }
        },
        (ValueType::Matrix, ValueType::Scalar | ValueType::Text | ValueType::Matrix) => {
            format!("give {title}() a selector with a range, such as metric[1m]")
        }
        (ValueType::Vector, ValueType::Matrix) => {
            "remove the range, or wrap it in a function such as rate() or avg_over_time()".to_owned()
        }
        (ValueType::Vector, ValueType::Scalar) => format!("write vector({bare}) if a constant is meant"),
        (ValueType::Scalar, ValueType::Vector) => {
            format!("write a number, or scalar({bare}) if it is one series")
        }
        (ValueType::Scalar, ValueType::Text) => "write the number without quotes".to_owned(),
        (ValueType::Text, ValueType::Scalar | ValueType::Vector) => format!("put it in quotes: \"{bare}\""),
        (ValueType::Text, ValueType::Matrix | ValueType::Text)
        | (ValueType::Vector, ValueType::Text | ValueType::Vector)
        | (ValueType::Scalar, ValueType::Matrix | ValueType::Scalar) => {
            format!("write {} here", wanted.noun())
        }
    };
    findings.fault(
        Code::Type,
        argument.span,
        format!("{text}, {}", argument.result.noun()),
        format!("expected {} for {title}", wanted.noun()),
        fix,
    );
}

/// The second argument of `info` is a label selector, not a vector.
fn info(findings: &mut Findings<'_>, arguments: &[Expr]) {
    let Some(labels) = arguments.get(1) else {
        return;
    };
    match &labels.kind {
        ExprKind::Selector(selector) if selector.name.is_none() => findings.forgive_empty(labels.span),
        _ => findings.fault(
            Code::Type,
            labels.span,
            "info() with a second argument that is not a list of matchers".to_owned(),
            "expected matchers in braces, without a metric name".to_owned(),
            "write info(metric, {label=\"value\"})".to_owned(),
        ),
    }
}

/// Literal arguments the function refuses (or makes nonsense of) whenever it runs.
fn literals(findings: &mut Findings<'_>, title: &str, arguments: &[Expr]) {
    match title {
        "label_replace" => {
            let Some((
                Expr {
                    kind: ExprKind::Text(pattern),
                    ..
                },
                span,
            )) = arguments.get(4).map(|one| (one, one.span))
            else {
                return;
            };
            if let Err(fault) = regex::read(pattern) {
                findings.doom(
                    Code::Regex,
                    span,
                    format!("a regex with {}", fault.found),
                    fault.fix.to_owned(),
                );
            }
        }
        "histogram_quantile" | "quantile_over_time" => {
            if let Some(argument) = arguments.first() {
                quantile(findings, argument);
            }
        }
        _ => {}
    }
}

pub(super) fn plural(count: usize) -> String {
    match count {
        0 => "no argument".to_owned(),
        1 => "1 argument".to_owned(),
        _ => format!("{count} arguments"),
    }
}

/// A quantile outside 0…1 answers with infinity.
pub(super) fn quantile(findings: &mut Findings<'_>, argument: &Expr) {
    if let ExprKind::Number(value) = argument.kind
        && !(0.0..=1.0).contains(&value)
    {
        findings.warn(
            Code::Quantile,
            argument.span,
            format!("the quantile {value}"),
            "expected a number from 0 to 1; any other answers with infinity or NaN",
            if (1.0..=100.0).contains(&value) {
                format!("write {}", value / 100.0)
            } else {
                String::new()
            },
        );
    }
}
