//! Values while an expression runs. What the manifest holds is looked at in place, never copied.

use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use url::Url;

use super::eval::compare;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(Text<'a>),
    /// An array or object of the manifest.
    Json(&'a Value),
    List(Rc<Vec<Val<'a>>>),
    Map(Rc<Vec<(Val<'a>, Val<'a>)>>),
    Optional(Option<Rc<Val<'a>>>),
    Duration(SignedDuration),
    Timestamp(Timestamp),
    Url(Rc<Url>),
}

/// A text: of the manifest or the expression, or made while it runs. A copy of it copies no text.
#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    Lent(&'a str),
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Lent(text) => text,
            Text::Made(text) => text,
        }
    }
}

impl<'a> Val<'a> {
    pub(super) fn of(json: &'a Value) -> Self {
        match json {
            Value::Null => Val::Null,
            Value::Bool(truth) => Val::Bool(*truth),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Val::Int(int),
                (None, Some(uint)) => Val::Uint(uint),
                (None, None) => Val::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Val::Str(Text::Lent(text)),
            Value::Array(_) | Value::Object(_) => Val::Json(json),
        }
    }

    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Val::Str(Text::Made(text.as_ref().into()))
    }

    /// What it is, as sentences say it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Val::Null => "null",
            Val::Bool(_) => "a bool",
            Val::Int(_) => "an int",
            Val::Uint(_) => "a uint",
            Val::Double(_) => "a double",
            Val::Str(_) => "a string",
            Val::Json(Value::Array(_)) | Val::List(_) => "a list",
            Val::Json(_) | Val::Map(_) => "a map",
            Val::Optional(_) => "an optional",
            Val::Duration(_) => "a duration",
            Val::Timestamp(_) => "a timestamp",
            Val::Url(_) => "a URL",
        }
    }

    /// The elements of a list, or the keys of a map; `None` for what has none.
    pub(super) fn elements(&self) -> Option<Vec<Val<'a>>> {
        match self {
            Val::Json(Value::Array(items)) => Some(items.iter().map(Val::of).collect()),
            Val::Json(Value::Object(map)) => {
                Some(map.keys().map(|key| Val::Str(Text::Lent(key.as_str()))).collect())
            }
            Val::List(items) => Some(items.to_vec()),
            Val::Map(entries) => Some(entries.iter().map(|(key, _)| key.clone()).collect()),
            _ => None,
        }
    }

    /// How many elements, keys or characters.
    pub(super) fn size(&self) -> Option<usize> {
        match self {
            Val::Str(text) => Some(text.chars().count()),
            Val::Json(Value::Array(items)) => Some(items.len()),
            Val::Json(Value::Object(map)) => Some(map.len()),
            Val::List(items) => Some(items.len()),
            Val::Map(entries) => Some(entries.len()),
            _ => None,
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, Val::List(_) | Val::Json(Value::Array(_)))
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self, Val::Map(_) | Val::Json(Value::Object(_)))
    }

    /// The value of a text key of a map.
    pub(super) fn field(&self, key: &str) -> Option<Val<'a>> {
        match self {
            Val::Json(json) => json.get(key).map(Val::of),
            Val::Map(entries) => entries
                .iter()
                .find(|(known, _)| matches!(known, Val::Str(text) if **text == *key))
                .map(|(_, value)| value.clone()),
            _ => None,
        }
    }

    /// The value of a key of a map.
    pub(super) fn entry(&self, key: &Val<'a>) -> Option<Val<'a>> {
        match (self, key) {
            (_, Val::Str(text)) => self.field(text),
            (Val::Map(entries), key) => entries
                .iter()
                .find(|(known, _)| compare(known, key) == Some(Ordering::Equal))
                .map(|(_, value)| value.clone()),
            _ => None,
        }
    }

    /// The keys of a map that are text.
    pub(super) fn keys(&self) -> Vec<String> {
        let texts = self.elements().unwrap_or_default().into_iter();
        texts
            .filter_map(|key| match key {
                Val::Str(text) => Some(text.to_string()),
                _ => None,
            })
            .collect()
    }
}
