//! The JSONPath subset of printer columns: `.a.b`, `['a.b']`, `[0]`, `[-1]`, `[1:]`, `[*]`, `.*`, and filters
//! `[?(@.type=="Ready")]` with `==`, `!=`, `<`, `<=`, `>`, `>=` or bare existence.

use std::cmp::Ordering;

use serde_json::Value;

/// A parsed path; text that is none finds nothing.
#[derive(Debug, Clone)]
pub(super) struct Path {
    steps: Option<Vec<Step>>,
}

#[derive(Debug, Clone)]
enum Step {
    Member(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Filter(Vec<Step>, Option<(Comparator, Value)>),
}

#[derive(Debug, Clone, Copy)]
enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Path {
    /// Parses a path, with or without braces and `$`.
    pub(super) fn parse(text: &str) -> Self {
        let bare = text
            .trim()
            .trim_start_matches('{')
            .trim_end_matches('}')
            .trim_start_matches('$');
        Self { steps: steps(bare) }
    }

    /// All values the path leads to.
    pub(super) fn find<'v>(&self, object: &'v Value) -> Vec<&'v Value> {
        self.steps
            .as_deref()
            .map_or_else(Vec::new, |steps| walk(steps, vec![object]))
    }
}

fn steps(mut text: &str) -> Option<Vec<Step>> {
    let mut found = Vec::new();
    while !text.is_empty() {
        if let Some(rest) = text.strip_prefix('.') {
            let (name, after) = rest.split_at(name_end(rest));
            match name {
                "" if after.starts_with('[') => {}
                "" => return None,
                "*" => found.push(Step::All),
                name => found.push(Step::Member(name.replace('\\', ""))),
            }
            text = after;
        } else if let Some(rest) = text.strip_prefix('[') {
            let end = closing(rest)?;
            found.push(bracket(&rest[..end])?);
            text = &rest[end + 1..];
        } else {
            let (name, after) = text.split_at(name_end(text));
            found.push(Step::Member(name.replace('\\', "")));
            text = after;
        }
    }
    Some(found)
}

/// Where a name ends: at a dot or bracket that is not escaped.
fn name_end(text: &str) -> usize {
    let mut escaped = false;
    text.find(|c| {
        let ends = !escaped && matches!(c, '.' | '[');
        escaped = c == '\\' && !escaped;
        ends
    })
    .unwrap_or(text.len())
}

/// Where the bracket that was opened before `text` closes, outside quotes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            (Some(_) | None, _) => {}
        }
    }
    None
}

fn unquoted(text: &str) -> Option<&str> {
    let text = text.trim();
    ['\'', '"']
        .iter()
        .find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q))
}

fn bracket(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(name) = unquoted(text) {
        return Some(Step::Member(name.to_owned()));
    }
    if let Some(condition) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return filter(condition);
    }
    if let Some((from, to)) = text.split_once(':') {
        let bound = |t: &str| {
            if t.is_empty() {
                Some(None)
            } else {
                t.parse().ok().map(Some)
            }
        };
        return Some(Step::Slice(bound(from)?, bound(to)?));
    }
    text.parse().ok().map(Step::Index)
}

fn filter(condition: &str) -> Option<Step> {
    let operators = [
        ("==", Comparator::Equal),
        ("!=", Comparator::NotEqual),
        ("<=", Comparator::LessOrEqual),
        (">=", Comparator::GreaterOrEqual),
        ("<", Comparator::Less),
        (">", Comparator::Greater),
    ];
    let inner = |left: &str| steps(left.trim().strip_prefix('@')?);
    for (operator, comparator) in operators {
        if let Some((left, right)) = condition.split_once(operator) {
            let right = match unquoted(right) {
                Some(text) => Value::String(text.to_owned()),
                None => serde_json::from_str(right.trim()).ok()?,
            };
            return Some(Step::Filter(inner(left)?, Some((comparator, right))));
        }
    }
    Some(Step::Filter(inner(condition)?, None))
}

fn walk<'v>(steps: &[Step], start: Vec<&'v Value>) -> Vec<&'v Value> {
    steps.iter().fold(start, |values, step| {
        values.into_iter().flat_map(|value| take(step, value)).collect()
    })
}

fn take<'v>(step: &Step, value: &'v Value) -> Vec<&'v Value> {
    let items = value.as_array().map_or(&[][..], Vec::as_slice);
    let at = |index: i64| {
        let index = if index < 0 {
            index + i64::try_from(items.len()).unwrap_or(i64::MAX)
        } else {
            index
        };
        usize::try_from(index).unwrap_or(usize::MAX).min(items.len())
    };
    match (step, value) {
        (Step::Member(name), _) => value.get(name).into_iter().collect(),
        (Step::Index(index), _) => items.get(at(*index)).into_iter().collect(),
        (Step::Slice(from, to), _) => {
            let (from, to) = (from.map_or(0, at), to.map_or(items.len(), at));
            items
                .get(from..to)
                .map_or_else(Vec::new, |part| part.iter().collect())
        }
        (Step::All, Value::Object(members)) => members.values().collect(),
        (Step::All, _) => items.iter().collect(),
        (Step::Filter(inner, condition), _) => items
            .iter()
            .filter(|item| holds(&walk(inner, vec![item]), condition.as_ref()))
            .collect(),
    }
}

fn holds(found: &[&Value], condition: Option<&(Comparator, Value)>) -> bool {
    let Some(value) = found.first() else { return false };
    let Some((comparator, expected)) = condition else {
        return true;
    };
    let order = match (value, expected) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) if *a == b => Some(Ordering::Equal),
        _ => None,
    };
    match comparator {
        Comparator::Equal => order == Some(Ordering::Equal),
        Comparator::NotEqual => order != Some(Ordering::Equal),
        Comparator::Less => order == Some(Ordering::Less),
        Comparator::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparator::Greater => order == Some(Ordering::Greater),
        Comparator::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths() {
        let object = json!({"a": {"b": [1, 2, 3], "c.d": "x"}, "list": [
            {"type": "Ready", "status": "True", "n": 1}, {"type": "Promoted", "status": "False", "n": 2}]});
        let rows = [
            (".a.b", json!([[1, 2, 3]])),
            ("{.a.b[0]}", json!([1])),
            ("$.a.b[-1]", json!([3])),
            (".a.b[*]", json!([1, 2, 3])),
            (".a.b[1:]", json!([2, 3])),
            (".a['c.d']", json!(["x"])),
            (r".a.c\.d", json!(["x"])),
            (".list[?(@.type==\"Ready\")].status", json!(["True"])),
            (".list[?(@.type=='Promoted')].status", json!(["False"])),
            (".list[?(@.n>1)].type", json!(["Promoted"])),
            (".list[?(@.type!='Ready')].n", json!([2])),
            (".list[?(@.missing)].n", json!([])),
            (".list[*].n", json!([1, 2])),
            (".nothing.here", json!([])),
            (".a[", json!([])),
        ];
        for (path, expected) in rows {
            assert_eq!(json!(Path::parse(path).find(&object)), expected, "{path}");
        }
    }
}
