//! Label and field selectors in their text form.
//!
//! Owns: parsing and matching. Promises: set-based and equality terms, Kubernetes' rule that `!=` and `notin` also
//! match a missing label, fields checked against what the type supports. Never: reads storage.

use serde_json::Value;

use crate::kinds::Kind;

/// One comma-separated term of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Above(String, i64),
    Below(String, i64),
}

/// A parsed label selector; empty matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels(Vec<Term>);

impl Labels {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        split_terms(text)
            .into_iter()
            .map(term)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.matches_labels(&object["metadata"]["labels"])
    }

    /// Matches a map of labels (or null).
    pub(crate) fn matches_labels(&self, labels: &Value) -> bool {
        self.0.iter().all(|term| {
            let value = |key: &String| labels.get(key.as_str()).and_then(Value::as_str);
            match term {
                Term::In(key, values) => value(key).is_some_and(|v| values.iter().any(|w| w == v)),
                Term::NotIn(key, values) => value(key).is_none_or(|v| values.iter().all(|w| w != v)),
                Term::Exists(key) => value(key).is_some(),
                Term::Missing(key) => value(key).is_none(),
                Term::Above(key, n) => value(key)
                    .and_then(|v| v.parse().ok())
                    .is_some_and(|v: i64| v > *n),
                Term::Below(key, n) => value(key)
                    .and_then(|v| v.parse().ok())
                    .is_some_and(|v: i64| v < *n),
            }
        })
    }
}

/// Commas inside parentheses separate values, not terms.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
        .into_iter()
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .collect()
}

fn term(text: &str) -> Result<Term, String> {
    let key = |raw: &str| {
        let key = raw.trim();
        let sound = !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
        match key.split_whitespace().nth(1) {
            _ if sound => Ok(key.to_owned()),
            Some(next) => Err(format!(
                "unable to parse requirement: found '{next}', expected: in, notin, =, ==, !=, gt, lt"
            )),
            None => Err(format!("unable to parse requirement: invalid label key {key:?}")),
        }
    };
    let values = |raw: &str| -> Result<Vec<String>, String> {
        let inner = raw
            .trim()
            .strip_prefix('(')
            .and_then(|r| r.strip_suffix(')'))
            .ok_or_else(|| {
                format!(
                    "unable to parse requirement: found '{}', expected: '('",
                    raw.trim()
                )
            })?;
        Ok(inner.split(',').map(|v| v.trim().to_owned()).collect())
    };
    if let Some(rest) = text.strip_prefix('!') {
        return Ok(Term::Missing(key(rest)?));
    }
    if let Some((left, right)) = text.split_once("!=") {
        return Ok(Term::NotIn(key(left)?, vec![right.trim().to_owned()]));
    }
    if let Some((left, right)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Term::In(key(left)?, vec![right.trim().to_owned()]));
    }
    let number = |raw: &str| {
        raw.trim()
            .parse::<i64>()
            .map_err(|_| format!("unable to parse requirement: {:?} is no integer", raw.trim()))
    };
    if let Some((left, right)) = text.split_once('>') {
        return Ok(Term::Above(key(left)?, number(right)?));
    }
    if let Some((left, right)) = text.split_once('<') {
        return Ok(Term::Below(key(left)?, number(right)?));
    }
    if let Some((left, right)) = text.split_once(" notin ") {
        return Ok(Term::NotIn(key(left)?, values(right)?));
    }
    if let Some((left, right)) = text.split_once(" in ") {
        return Ok(Term::In(key(left)?, values(right)?));
    }
    Ok(Term::Exists(key(text)?))
}

/// `matchLabels` and `matchExpressions` of a LabelSelector object; absent matches everything.
pub(crate) fn object_selector(selector: &Value) -> Labels {
    let mut terms = Vec::new();
    if let Some(labels) = selector["matchLabels"].as_object() {
        for (key, value) in labels {
            terms.push(Term::In(
                key.clone(),
                vec![value.as_str().unwrap_or_default().to_owned()],
            ));
        }
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default().to_owned();
        let values = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect();
        terms.push(match expression["operator"].as_str() {
            Some("NotIn") => Term::NotIn(key, values),
            Some("Exists") => Term::Exists(key),
            Some("DoesNotExist") => Term::Missing(key),
            _ => Term::In(key, values),
        });
    }
    Labels(terms)
}

/// A LabelSelector in its text form, as `status.selector` of a Scale shows it.
pub(crate) fn selector_text(selector: &Value) -> String {
    object_selector(selector)
        .0
        .into_iter()
        .map(|term| match term {
            Term::In(key, values) if values.len() == 1 => format!("{key}={}", values[0]),
            Term::In(key, values) => format!("{key} in ({})", values.join(",")),
            Term::NotIn(key, values) => format!("{key} notin ({})", values.join(",")),
            Term::Exists(key) => key,
            Term::Missing(key) => format!("!{key}"),
            Term::Above(key, n) => format!("{key}>{n}"),
            Term::Below(key, n) => format!("{key}<{n}"),
        })
        .collect::<Vec<_>>()
        .join(",")
}

/// A parsed field selector: field, value, and whether it must be equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String, bool)>);

impl Fields {
    /// Parses `metadata.name=x,status.phase!=Running` against the fields `kind` supports.
    pub(crate) fn parse(text: &str, kind: &Kind) -> Result<Self, String> {
        let mut fields = Vec::new();
        for part in text.split(',').filter(|p| !p.trim().is_empty()) {
            let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, value, true)
            } else {
                return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            let field = field.trim();
            if !supported(kind, field) {
                return Err(if kind.custom.is_some() || !known(kind).is_empty() {
                    format!("field label not supported: {field}")
                } else {
                    format!(
                        "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )
                });
            }
            fields.push((field.to_owned(), value.trim().to_owned(), equal));
        }
        Ok(Self(fields))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0
            .iter()
            .all(|(field, wanted, equal)| (value_at(object, field) == *wanted) == *equal)
    }

    /// The one name that can match, when `metadata.name=` is given.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(field, _, equal)| field == "metadata.name" && *equal)
            .map(|(_, name, _)| name.as_str())
    }
}

fn supported(kind: &Kind, field: &str) -> bool {
    if field == "metadata.name" || (kind.namespaced && field == "metadata.namespace") {
        return true;
    }
    if let Some(custom) = &kind.custom {
        return custom
            .selectable_fields(&kind.version)
            .iter()
            .any(|f| f.trim_start_matches('.') == field);
    }
    known(kind).contains(&field)
}

/// Fields of a built-in type besides name and namespace.
fn known(kind: &Kind) -> &'static [&'static str] {
    match (kind.table.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "replicationcontrollers") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    }
}

fn value_at(object: &Value, field: &str) -> String {
    // Events are matched in whichever of the two forms they are shown.
    let field = match field.split_once('.') {
        Some(("regarding", rest)) if object.get("regarding").is_none() => format!("involvedObject.{rest}"),
        Some(("involvedObject", rest)) if object.get("regarding").is_some() => format!("regarding.{rest}"),
        _ if field == "source" => "source.component".to_owned(),
        _ => field.to_owned(),
    };
    let value = field.split('.').fold(object, |at, key| &at[key]);
    match value {
        Value::String(text) => text.clone(),
        // Booleans and numbers compare with their zero value when absent.
        Value::Null if field == "spec.unschedulable" || field == "spec.hostNetwork" => "false".to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front", "n": "5"}}});
        let rows = [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app = web", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (web, db)", true),
            ("app notin (web,db)", false),
            ("other notin (web)", true),
            ("app", true),
            ("!app", false),
            ("!other,tier", true),
            ("n>4", true),
            ("n<5", false),
        ];
        for (text, expected) in rows {
            assert_eq!(Labels::parse(text).unwrap().matches(&object), expected, "{text}");
        }
        assert!(Labels::parse("a b").is_err());
        assert!(Labels::parse("a in b").is_err());
    }

    #[test]
    fn object_selectors_and_their_text() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "c", "operator": "NotIn", "values": ["d", "e"]}, {"key": "f", "operator": "Exists"}]});
        assert_eq!(selector_text(&selector), "a=b,c notin (d,e),f");
        assert!(object_selector(&json!({})).matches(&json!({})));
    }

    #[test]
    fn field_selectors() {
        let registry = crate::kinds::Registry::new();
        let pods = registry.find("", "v1", "pods").unwrap();
        let pod = json!({"metadata": {"name": "x", "namespace": "y"}, "status": {"phase": "Running"}});
        let rows = [
            ("metadata.name=x", true),
            ("metadata.name=x,metadata.namespace=z", false),
            ("status.phase!=Failed", true),
            ("spec.nodeName=", true),
        ];
        for (text, expected) in rows {
            assert_eq!(
                Fields::parse(text, &pods).unwrap().matches(&pod),
                expected,
                "{text}"
            );
        }
        let error = Fields::parse("spec.foo=1", &pods).unwrap_err();
        assert!(error.ends_with("field label not supported: spec.foo"), "{error}");
    }
}
