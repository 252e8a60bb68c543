//! Evaluation: a walk over the tree that pays for every step.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use regex::Regex;

use crate::model::names::nearest;
use crate::model::promql::Span;

use super::ast::{Access, Kind, Macro, Node, Operator};
use super::check::is_name;
use super::value::{Text, Val};
use super::{Facts, Slip, SlipKind};

pub(super) type Outcome<'a> = Result<Val<'a>, Slip>;

/// Longest text an expression may make, bytes.
const MAX_TEXT: usize = 64 << 10;

/// One evaluation.
pub(super) struct Machine<'a> {
    facts: &'a Facts<'a>,
    patterns: &'a HashMap<String, Regex>,
    scope: Vec<(&'a str, Val<'a>)>,
    left: u64,
}

impl<'a> Machine<'a> {
    pub(super) fn new(facts: &'a Facts<'a>, patterns: &'a HashMap<String, Regex>, left: u64) -> Self {
        Self {
            facts,
            patterns,
            scope: Vec::new(),
            left,
        }
    }

    /// The steps that are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn pattern(&self, text: &str) -> Option<&'a Regex> {
        self.patterns.get(text)
    }

    /// Pays for `steps`.
    pub(super) fn pay(&mut self, steps: usize, span: Span) -> Result<(), Slip> {
        if let Some(left) = self.left.checked_sub(steps as u64) {
            self.left = left;
            return Ok(());
        }
        self.left = 0;
        Err(
            Slip::new(SlipKind::Budget, span, "the expression takes too many steps here")
                .fixed_by("look at less, or split the rule"),
        )
    }

    /// Pays for looking at, or making, so many bytes of text.
    pub(super) fn pay_text(&mut self, bytes: usize, span: Span) -> Result<(), Slip> {
        if bytes > MAX_TEXT {
            return Err(
                Slip::new(SlipKind::Budget, span, format!("a text of {bytes} bytes"))
                    .expecting(format!("expected at most {MAX_TEXT}")),
            );
        }
        self.pay(bytes / 16 + 1, span)
    }

    pub(super) fn eval(&mut self, node: &'a Node) -> Outcome<'a> {
        self.pay(1, node.span)?;
        match &node.kind {
            Kind::Null => Ok(Val::Null),
            Kind::Bool(truth) => Ok(Val::Bool(*truth)),
            Kind::Int(value) => Ok(Val::Int(*value)),
            Kind::Uint(value) => Ok(Val::Uint(*value)),
            Kind::Double(value) => Ok(Val::Double(*value)),
            Kind::Text(text) => Ok(Val::Str(Text::Lent(text))),
            Kind::Name(name) => Ok(self.variable(name)),
            Kind::Select { of, field, how } => self.select(of, field, *how, node.span),
            Kind::Index { of, key, optional } => self.index(of, key, *optional, node.span),
            Kind::Call {
                name,
                target,
                arguments,
            } => self.call(name, target.as_deref(), arguments, node.span),
            Kind::Not(one) => match self.eval(one)? {
                Val::Bool(truth) => Ok(Val::Bool(!truth)),
                other => Err(unfit("!", &[&other], node.span)),
            },
            Kind::Negate(one) => match self.eval(one)? {
                Val::Int(value) => value
                    .checked_neg()
                    .map(Val::Int)
                    .ok_or_else(|| overflow(node.span)),
                Val::Double(value) => Ok(Val::Double(-value)),
                other => Err(unfit("-", &[&other], node.span)),
            },
            Kind::And(parts) => self.logic(parts, false),
            Kind::Or(parts) => self.logic(parts, true),
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.eval(left)?, self.eval(right)?);
                self.binary(*operator, &left, &right, node.span)
            }
            Kind::Conditional(condition, then, otherwise) => match self.eval(condition)? {
                Val::Bool(true) => self.eval(then),
                Val::Bool(false) => self.eval(otherwise),
                other => Err(not_bool(&other, condition.span)),
            },
            Kind::List(items) => {
                let made: Result<Vec<_>, _> = items.iter().map(|item| self.eval(item)).collect();
                Ok(Val::List(Rc::new(made?)))
            }
            Kind::Map(entries) => self.map(entries, node.span),
            Kind::Macro {
                kind,
                over,
                variable,
                only,
                body,
            } => self.each(*kind, over, variable, only.as_deref(), body),
        }
    }

    fn variable(&self, name: &str) -> Val<'a> {
        if let Some((_, value)) = self.scope.iter().rev().find(|(known, _)| *known == name) {
            return value.clone();
        }
        // The checker has seen to it that it is one of these.
        Val::of(match name {
            "oldObject" => self.facts.old_object,
            "namespaceObject" => self.facts.namespace_object,
            "request" => self.facts.request,
            _ => self.facts.object,
        })
    }

    fn select(&mut self, of: &'a Node, field: &str, how: Access, span: Span) -> Outcome<'a> {
        let subject = self.eval(of)?;
        let (subject, wrapped) = match subject {
            Val::Optional(None) if how != Access::Test => return Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) if how != Access::Test => ((*inner).clone(), true),
            other => (other, false),
        };
        let optional = wrapped || how == Access::Optional;
        if how == Access::Test {
            let inner = match &subject {
                Val::Optional(inner) => inner.as_deref().cloned(),
                other => Some(other.clone()),
            };
            // has() of what was made optional is false, of a field of nothing an error, as in CEL.
            return match inner {
                None => Ok(Val::Bool(false)),
                Some(map) if map.is_map() => Ok(Val::Bool(
                    map.field(field).is_some_and(|found| !matches!(found, Val::Null)),
                )),
                Some(other) => Err(no_field(&other, field, of, span)),
            };
        }
        match subject.field(field) {
            Some(found) if optional => Ok(Val::Optional(Some(Rc::new(found)))),
            Some(found) => Ok(found),
            None if optional && (subject.is_map() || matches!(subject, Val::Null)) => Ok(Val::Optional(None)),
            None => Err(no_field(&subject, field, of, span)),
        }
    }

    fn index(&mut self, of: &'a Node, key: &'a Node, optional: bool, span: Span) -> Outcome<'a> {
        let (subject, key) = (self.eval(of)?, self.eval(key)?);
        let (subject, optional) = match subject {
            Val::Optional(None) => return Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => ((*inner).clone(), true),
            other => (other, optional),
        };
        let found = match (&subject, &key) {
            (list, Val::Int(_) | Val::Uint(_) | Val::Double(_)) if list.is_list() => {
                let at = match key {
                    Val::Int(at) => usize::try_from(at).ok(),
                    Val::Uint(at) => usize::try_from(at).ok(),
                    Val::Double(at) if at.fract() == 0.0 && (0.0..1e9).contains(&at) => Some(at as usize),
                    _ => None,
                };
                at.and_then(|at| match list {
                    Val::Json(json) => json.get(at).map(Val::of),
                    Val::List(items) => items.get(at).cloned(),
                    _ => None,
                })
            }
            (map, key) if map.is_map() => {
                self.pay(map.size().unwrap_or_default() / 8, span)?;
                map.entry(key)
            }
            (subject, key) => return Err(unfit("[]", &[subject, key], span)),
        };
        match found {
            Some(found) if optional => Ok(Val::Optional(Some(Rc::new(found)))),
            Some(found) => Ok(found),
            None if optional => Ok(Val::Optional(None)),
            None => {
                let shown = match &key {
                    Val::Str(text) => format!("no key {:?}", &**text),
                    Val::Int(at) => format!("no element {at}"),
                    other => format!("nothing at {}", other.kind()),
                };
                Err(Slip::new(SlipKind::Absent, span, shown).fixed_by("ask first, with `in` or size()"))
            }
        }
    }

    fn call(
        &mut self,
        name: &str,
        target: Option<&'a Node>,
        arguments: &'a [Node],
        span: Span,
    ) -> Outcome<'a> {
        let qualified = target.is_some_and(|target| is_name(target, "optional"));
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for node in target.filter(|_| !qualified).into_iter().chain(arguments) {
            values.push(self.eval(node)?);
        }
        if qualified {
            return Ok(Val::Optional(values.pop().map(Rc::new)));
        }
        self.function(name, &values, span)
    }

    /// `&&` (stops at false) and `||` (stops at true): an operand that settles the matter settles it whatever the
    /// others fail at.
    fn logic(&mut self, parts: &'a [Node], settles: bool) -> Outcome<'a> {
        let mut failed = None;
        for part in parts {
            match self.eval(part) {
                Ok(Val::Bool(truth)) if truth == settles => return Ok(Val::Bool(settles)),
                Ok(Val::Bool(_)) => {}
                Ok(other) => failed = failed.or(Some(not_bool(&other, part.span))),
                Err(slip) if slip.kind == SlipKind::Budget => return Err(slip),
                Err(slip) => failed = failed.or(Some(slip)),
            }
        }
        failed.map_or(Ok(Val::Bool(!settles)), Err)
    }

    fn map(&mut self, entries: &'a [(Node, Node)], span: Span) -> Outcome<'a> {
        let mut made: Vec<(Val<'a>, Val<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key_value = self.eval(key)?;
            if !matches!(key_value, Val::Str(_) | Val::Int(_) | Val::Uint(_) | Val::Bool(_)) {
                return Err(unfit("a map", &[&key_value], key.span));
            }
            self.pay(made.len(), span)?;
            if made
                .iter()
                .any(|(known, _)| compare(known, &key_value) == Some(Ordering::Equal))
            {
                return Err(Slip::new(
                    SlipKind::Value,
                    key.span,
                    "a key that is there already",
                ));
            }
            made.push((key_value, self.eval(value)?));
        }
        Ok(Val::Map(Rc::new(made)))
    }

    fn each(
        &mut self,
        kind: Macro,
        over: &'a Node,
        variable: &'a str,
        only: Option<&'a Node>,
        body: &'a Node,
    ) -> Outcome<'a> {
        let range = self.eval(over)?;
        self.pay(range.size().unwrap_or_default(), over.span)?;
        let Some(elements) = range.elements() else {
            return Err(
                Slip::new(SlipKind::Type, over.span, format!("a loop over {}", range.kind()))
                    .expecting("expected a list or a map")
                    .fixed_by("ask with has() first where it may be absent"),
            );
        };
        let (mut hits, mut made, mut failed) = (0_u32, Vec::new(), None);
        for element in elements {
            self.scope.push((variable, element.clone()));
            let chosen = only.map_or(Ok(Val::Bool(true)), |only| self.eval(only));
            let outcome = match chosen {
                Ok(Val::Bool(true)) => Some(self.eval(body)),
                Ok(Val::Bool(false)) => None,
                Ok(other) => Some(Err(not_bool(&other, only.map_or(body.span, |only| only.span)))),
                Err(slip) => Some(Err(slip)),
            };
            self.scope.pop();
            let value = match outcome {
                None => continue,
                Some(Ok(value)) => value,
                // As with && and ||: a later element may settle it.
                Some(Err(slip))
                    if matches!(kind, Macro::All | Macro::Exists) && slip.kind != SlipKind::Budget =>
                {
                    failed = failed.or(Some(slip));
                    continue;
                }
                Some(Err(slip)) => return Err(slip),
            };
            match (kind, value) {
                (Macro::Map, value) => made.push(value),
                (Macro::All, Val::Bool(false)) => return Ok(Val::Bool(false)),
                (Macro::Exists, Val::Bool(true)) => return Ok(Val::Bool(true)),
                (Macro::ExistsOne, Val::Bool(true)) => hits += 1,
                (Macro::Filter, Val::Bool(true)) => made.push(element),
                (Macro::All | Macro::Exists | Macro::ExistsOne | Macro::Filter, Val::Bool(_)) => {}
                (_, other) => return Err(not_bool(&other, body.span)),
            }
        }
        if let Some(slip) = failed {
            return Err(slip);
        }
        Ok(match kind {
            Macro::All => Val::Bool(true),
            Macro::Exists => Val::Bool(false),
            Macro::ExistsOne => Val::Bool(hits == 1),
            Macro::Map | Macro::Filter => Val::List(Rc::new(made)),
        })
    }

    fn binary(&mut self, operator: Operator, left: &Val<'a>, right: &Val<'a>, span: Span) -> Outcome<'a> {
        let ordered = |wanted: fn(Ordering) -> bool| {
            let comparable = comparable(left, right);
            if comparable {
                Ok(Val::Bool(compare(left, right).is_some_and(wanted)))
            } else {
                Err(unfit(operator.as_str(), &[left, right], span))
            }
        };
        match operator {
            Operator::Equal => Ok(Val::Bool(self.equal(left, right, span)?)),
            Operator::NotEqual => Ok(Val::Bool(!self.equal(left, right, span)?)),
            Operator::Less => ordered(Ordering::is_lt),
            Operator::LessOrEqual => ordered(Ordering::is_le),
            Operator::Greater => ordered(Ordering::is_gt),
            Operator::GreaterOrEqual => ordered(Ordering::is_ge),
            Operator::In => self.contains(right, left, span),
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => self.arithmetic(operator, left, right, span),
        }
    }

    /// `element in container`.
    fn contains(&mut self, container: &Val<'a>, element: &Val<'a>, span: Span) -> Outcome<'a> {
        if container.is_map()
            && let Val::Str(key) = element
        {
            return Ok(Val::Bool(container.field(key).is_some()));
        }
        self.pay(container.size().unwrap_or_default(), span)?;
        let Some(elements) = container.elements() else {
            return Err(unfit("in", &[element, container], span));
        };
        for one in &elements {
            if self.equal(one, element, span)? {
                return Ok(Val::Bool(true));
            }
        }
        Ok(Val::Bool(false))
    }

    /// Values of different kinds differ, except numbers of the same size.
    pub(super) fn equal(&mut self, left: &Val<'a>, right: &Val<'a>, span: Span) -> Result<bool, Slip> {
        self.pay(1, span)?;
        if left.is_list() && right.is_list() {
            self.pay(left.size().unwrap_or_default(), span)?;
            let (left, right) = (
                left.elements().unwrap_or_default(),
                right.elements().unwrap_or_default(),
            );
            if left.len() != right.len() {
                return Ok(false);
            }
            for (one, other) in left.iter().zip(&right) {
                if !self.equal(one, other, span)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if left.is_map() && right.is_map() {
            if left.size() != right.size() {
                return Ok(false);
            }
            self.pay(left.size().unwrap_or_default(), span)?;
            for key in left.elements().unwrap_or_default() {
                self.pay(left.size().unwrap_or_default() / 8, span)?;
                let (Some(one), Some(other)) = (left.entry(&key), right.entry(&key)) else {
                    return Ok(false);
                };
                if !self.equal(&one, &other, span)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if let (Val::Str(one), Val::Str(other)) = (left, right) {
            self.pay(one.len().min(other.len()) / 16, span)?;
        }
        Ok(match (left, right) {
            (Val::Null, Val::Null) | (Val::Optional(None), Val::Optional(None)) => true,
            (Val::Optional(Some(one)), Val::Optional(Some(other))) => {
                let (one, other) = (one.clone(), other.clone());
                self.equal(&one, &other, span)?
            }
            (Val::Url(one), Val::Url(other)) => one == other,
            _ => comparable(left, right) && compare(left, right) == Some(Ordering::Equal),
        })
    }

    fn arithmetic(&mut self, operator: Operator, left: &Val<'a>, right: &Val<'a>, span: Span) -> Outcome<'a> {
        let over = || overflow(span);
        let zero = || Slip::new(SlipKind::Value, span, "a division by zero");
        match (operator, left, right) {
            (Operator::Add, Val::Str(one), Val::Str(other)) => {
                self.pay_text(one.len() + other.len(), span)?;
                Ok(Val::text([&**one, &**other].concat()))
            }
            (Operator::Add, one, other) if one.is_list() && other.is_list() => {
                let size = one.size().unwrap_or_default() + other.size().unwrap_or_default();
                self.pay(size, span)?;
                let mut all = one.elements().unwrap_or_default();
                all.extend(other.elements().unwrap_or_default());
                Ok(Val::List(Rc::new(all)))
            }
            (_, Val::Int(a), Val::Int(b)) => {
                if matches!(operator, Operator::Divide | Operator::Remainder) && *b == 0 {
                    return Err(zero());
                }
                let value = match operator {
                    Operator::Add => a.checked_add(*b),
                    Operator::Subtract => a.checked_sub(*b),
                    Operator::Multiply => a.checked_mul(*b),
                    Operator::Divide => a.checked_div(*b),
                    _ => a.checked_rem(*b),
                };
                value.map(Val::Int).ok_or_else(over)
            }
            (_, Val::Uint(a), Val::Uint(b)) => {
                if matches!(operator, Operator::Divide | Operator::Remainder) && *b == 0 {
                    return Err(zero());
                }
                let value = match operator {
                    Operator::Add => a.checked_add(*b),
                    Operator::Subtract => a.checked_sub(*b),
                    Operator::Multiply => a.checked_mul(*b),
                    Operator::Divide => a.checked_div(*b),
                    _ => a.checked_rem(*b),
                };
                value.map(Val::Uint).ok_or_else(over)
            }
            (_, Val::Double(a), Val::Double(b)) if operator != Operator::Remainder => {
                Ok(Val::Double(match operator {
                    Operator::Add => a + b,
                    Operator::Subtract => a - b,
                    Operator::Multiply => a * b,
                    _ => a / b,
                }))
            }
            (Operator::Add, Val::Duration(a), Val::Duration(b)) => {
                a.checked_add(*b).map(Val::Duration).ok_or_else(over)
            }
            (Operator::Subtract, Val::Duration(a), Val::Duration(b)) => {
                a.checked_sub(*b).map(Val::Duration).ok_or_else(over)
            }
            (Operator::Add, Val::Timestamp(at), Val::Duration(by))
            | (Operator::Add, Val::Duration(by), Val::Timestamp(at)) => {
                at.checked_add(*by).map(Val::Timestamp).map_err(|_| over())
            }
            (Operator::Subtract, Val::Timestamp(at), Val::Duration(by)) => {
                at.checked_sub(*by).map(Val::Timestamp).map_err(|_| over())
            }
            (Operator::Subtract, Val::Timestamp(a), Val::Timestamp(b)) => {
                Ok(Val::Duration(a.duration_since(*b)))
            }
            _ => Err(unfit(operator.as_str(), &[left, right], span)),
        }
    }
}

/// Whether two values have an order between them.
fn comparable(left: &Val<'_>, right: &Val<'_>) -> bool {
    let number = |value: &Val<'_>| matches!(value, Val::Int(_) | Val::Uint(_) | Val::Double(_));
    (number(left) && number(right))
        || matches!(
            (left, right),
            (Val::Bool(_), Val::Bool(_))
                | (Val::Str(_), Val::Str(_))
                | (Val::Duration(_), Val::Duration(_))
                | (Val::Timestamp(_), Val::Timestamp(_))
        )
}

pub(super) fn compare(left: &Val<'_>, right: &Val<'_>) -> Option<Ordering> {
    let whole = |value: &Val<'_>| match value {
        Val::Int(value) => Some(i128::from(*value)),
        Val::Uint(value) => Some(i128::from(*value)),
        _ => None,
    };
    let float = |value: &Val<'_>| match value {
        Val::Double(value) => Some(*value),
        other => whole(other).map(|whole| whole as f64),
    };
    if let (Some(one), Some(other)) = (whole(left), whole(right)) {
        return Some(one.cmp(&other));
    }
    match (left, right) {
        (Val::Bool(one), Val::Bool(other)) => Some(one.cmp(other)),
        (Val::Str(one), Val::Str(other)) => Some((**one).cmp(other)),
        (Val::Duration(one), Val::Duration(other)) => Some(one.cmp(other)),
        (Val::Timestamp(one), Val::Timestamp(other)) => Some(one.cmp(other)),
        _ => float(left)?.partial_cmp(&float(right)?),
    }
}

fn overflow(span: Span) -> Slip {
    Slip::new(SlipKind::Value, span, "a number out of range")
}

fn not_bool(value: &Val<'_>, span: Span) -> Slip {
    Slip::new(SlipKind::Type, span, format!("{} for a condition", value.kind()))
        .expecting("expected true or false")
}

/// Types that do not fit together.
pub(super) fn unfit(what: &str, values: &[&Val<'_>], span: Span) -> Slip {
    let kinds: Vec<&str> = values.iter().map(|value| value.kind()).collect();
    let slip = Slip::new(
        SlipKind::Type,
        span,
        format!("{what} cannot take {}", kinds.join(" and ")),
    );
    if kinds.contains(&"an int") && kinds.contains(&"a double") {
        return slip.fixed_by("wrap one in int(…) or double(…)");
    }
    if kinds.contains(&"null") {
        return slip.fixed_by("it may be absent: ask with has() or != null first");
    }
    slip
}

fn no_field(subject: &Val<'_>, field: &str, of: &Node, span: Span) -> Slip {
    if !subject.is_map() {
        let slip = Slip::new(
            SlipKind::Type,
            span,
            format!("field {field} of {}", subject.kind()),
        );
        return match subject {
            Val::Null => Slip::new(SlipKind::Absent, span, format!("field {field} of null"))
                .fixed_by("ask with != null first"),
            _ => slip.expecting("expected a map"),
        };
    }
    let keys = subject.keys();
    let slip = Slip::new(SlipKind::Absent, span, format!("there is no {field} here"));
    match nearest(field, keys.iter().map(String::as_str)) {
        Some(near) => slip.fixed_by(format!("did you mean {near}?")),
        None => match &of.kind {
            Kind::Name(_) | Kind::Select { .. } | Kind::Index { .. } => {
                slip.fixed_by("where it may be absent, ask with has() first")
            }
            _ => slip,
        },
    }
}
