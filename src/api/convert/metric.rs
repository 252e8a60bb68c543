//! The bound of a metric: `threshold` in v1alpha3, one side of `thresholdRange` in v1beta1.
//!
//! Which side is said by `name` and `query` alone, and both are the same in both versions, so the two translations
//! undo each other. Words inside a name ("success-rate") say nothing.

use serde_json::{Map, Value};

use super::Shape;

/// Old and new way to say one bound.
const THRESHOLD: &str = "threshold";
/// See [`THRESHOLD`].
const RANGE: &str = "thresholdRange";

/// The side of `thresholdRange` that means what `threshold` means; `None` when no single side does.
pub(super) fn bound(metric: &Map<String, Value>) -> Option<&'static str> {
    let has_query = metric
        .get("query")
        .and_then(Value::as_str)
        .is_some_and(|query| !query.is_empty());
    match (metric.get("name").and_then(Value::as_str), has_query) {
        (Some("request-success-rate"), false) => Some("min"),
        // Checked twice by Flagger 0.x: the number is a minimum of one value and a maximum of another.
        (Some("request-success-rate"), true) => None,
        (Some("request-duration"), _) | (_, true) => Some("max"),
        (_, false) => None,
    }
}

/// Translates the bounds of every metric of an analysis, away from `source`.
pub(super) fn translate(analysis: Option<&mut Value>, source: Shape) {
    let Some(Value::Array(metrics)) = analysis.and_then(|analysis| analysis.get_mut("metrics")) else {
        return;
    };
    for metric in metrics {
        if let Value::Object(metric) = metric {
            match source {
                Shape::Alpha => up(metric),
                Shape::Beta => down(metric),
            }
        }
    }
}

/// v1alpha3 → v1beta1: `threshold: 5` becomes `thresholdRange: {max: 5}`, in its place.
fn up(metric: &mut Map<String, Value>) {
    let Some(side) = bound(metric) else { return };
    if metric.contains_key(RANGE) || !matches!(metric.get(THRESHOLD), Some(Value::Number(_))) {
        return;
    }
    let mut place = metric.keys().position(|key| key == THRESHOLD).unwrap_or_default();
    if let Some(number) = metric.shift_remove(THRESHOLD) {
        place = place.min(metric.len());
        let range = Map::from_iter([(side.to_owned(), number)]);
        metric.shift_insert(place, RANGE.to_owned(), Value::Object(range));
    }
}

/// v1beta1 → v1alpha3: `thresholdRange: {max: 5}` becomes `threshold: 5`, in its place.
fn down(metric: &mut Map<String, Value>) {
    if !is_canonical(metric) {
        return;
    }
    let mut place = metric.keys().position(|key| key == RANGE).unwrap_or_default();
    if let Some(Value::Object(range)) = metric.shift_remove(RANGE)
        && let Some((_, number)) = range.into_iter().next()
    {
        place = place.min(metric.len());
        metric.shift_insert(place, THRESHOLD.to_owned(), number);
    }
}

/// True when `thresholdRange` is exactly what `up` writes.
fn is_canonical(metric: &Map<String, Value>) -> bool {
    let Some(side) = bound(metric) else { return false };
    !metric.contains_key(THRESHOLD)
        && matches!(metric.get(RANGE), Some(Value::Object(range))
            if range.len() == 1 && matches!(range.get(side), Some(Value::Number(_))))
}

/// True when every metric comes back as it is after translating away from `source` and back.
pub(super) fn all_return(analysis: &Value, source: Shape) -> bool {
    let Some(Value::Array(metrics)) = analysis.get("metrics") else {
        return true;
    };
    metrics.iter().all(|metric| match (metric, source) {
        // `up` then `down`: only a range that `down` takes for `up`'s work does not come back.
        (Value::Object(metric), Shape::Alpha) => !is_canonical(metric),
        // `down` then `up`: only a lone threshold that `up` translates does not come back.
        (Value::Object(metric), Shape::Beta) => {
            bound(metric).is_none()
                || metric.contains_key(RANGE)
                || !matches!(metric.get(THRESHOLD), Some(Value::Number(_)))
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_), _) => true,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// name, query, expected side.
    #[test]
    fn the_side_is_said_by_name_and_query_alone() {
        let table = [
            (json!("request-success-rate"), json!(null), Some("min")),
            (json!("request-success-rate"), json!(""), Some("min")),
            (json!("request-success-rate"), json!("up"), None),
            (json!("request-duration"), json!(null), Some("max")),
            (json!("request-duration"), json!("up"), Some("max")),
            (json!("http-request-success-rate"), json!("up"), Some("max")),
            (json!("http-request-success-rate"), json!(null), None),
            (json!("istio_requests_total"), json!(null), None),
            (json!("latency"), json!("up"), Some("max")),
            (json!(7), json!("up"), Some("max")),
            (json!(null), json!(7), None),
        ];
        for (name, query, expected) in table {
            let metric = json!({"name": name, "query": query});
            assert_eq!(bound(metric.as_object().unwrap()), expected, "{metric}");
        }
    }

    #[test]
    fn a_bound_changes_in_its_place() {
        let mut metric = json!({"name": "request-duration", "threshold": 500, "interval": "1m"});
        let before = metric.to_string();
        up(metric.as_object_mut().unwrap());
        assert_eq!(
            metric.to_string(),
            r#"{"name":"request-duration","thresholdRange":{"max":500},"interval":"1m"}"#
        );
        down(metric.as_object_mut().unwrap());
        assert_eq!(metric.to_string(), before);
    }
}
