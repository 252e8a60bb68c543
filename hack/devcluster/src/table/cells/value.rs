//! Pieces of cells: texts, counts, ages.

use jiff::Timestamp;
use serde_json::{Value, json};

/// `metadata.name`.
pub(in crate::table) fn name(object: &Value, _: Timestamp) -> Value {
    text(object, "/metadata/name", "")
}

pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(object, &["/metadata/creationTimestamp"], now)
}

pub(super) fn since(object: &Value, pointers: &[&str], now: Timestamp) -> Value {
    let stamp = pointers.iter().find_map(|p| object.pointer(p)?.as_str());
    json!(stamp.map_or_else(|| "<unknown>".to_owned(), |stamp| age_of(stamp, now)))
}

/// How long ago a time was, as kubectl says it: `5s`, `2m3s`, `10m`, `3h5m`, `2d4h`.
pub(in crate::table) fn age_of(stamp: &str, now: Timestamp) -> String {
    stamp.parse::<Timestamp>().map_or_else(
        |_| "<invalid>".to_owned(),
        |then| duration(now.as_second() - then.as_second()),
    )
}

pub(super) fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let years = days / 365;
    let two = |whole: i64, unit: char, rest: i64, small: char| {
        if rest == 0 {
            format!("{whole}{unit}")
        } else {
            format!("{whole}{unit}{rest}{small}")
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        _ if days < 2 * 365 => format!("{days}d"),
        _ if days < 8 * 365 => two(years, 'y', days % 365, 'd'),
        _ => format!("{years}y"),
    }
}

pub(super) fn of_text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(super) fn text(object: &Value, pointer: &str, otherwise: &str) -> Value {
    let found = of_text(object, pointer);
    json!(if found.is_empty() { otherwise } else { found })
}

pub(super) fn count(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(super) fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

pub(super) fn int_or_string(object: &Value, pointer: &str) -> Value {
    match object.pointer(pointer) {
        Some(Value::String(text)) => json!(text),
        Some(Value::Number(number)) => json!(number.to_string()),
        _ => json!("N/A"),
    }
}

pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    items(object, "/status/conditions")
        .iter()
        .find(|c| c["type"] == kind)?["status"]
        .as_str()
}

/// At most three, then `+ 2 more...`.
pub(super) fn limited(texts: impl Iterator<Item = String>) -> Value {
    let all: Vec<String> = texts.collect();
    match all.len() {
        0 => json!("<unset>"),
        1..=3 => json!(all.join(",")),
        more => json!(format!("{} + {} more...", all[..3].join(","), more - 3)),
    }
}
