//! The functions: CEL's own, and the parts of Kubernetes' string, list, regex and URL libraries that say something
//! about a manifest.

use std::cmp::Ordering;
use std::rc::Rc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::model::duration;
use crate::model::promql::Span;

use super::eval::{Machine, Outcome, compare, unfit};
use super::value::Val;
use super::{Slip, SlipKind, pattern};

/// How a function is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// `f(x)`.
    Global,
    /// `x.f()`.
    Method,
    /// Both.
    Either,
}

/// A function that may be called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) side: Side,
    /// Least and most arguments, beside the subject of a method.
    pub(super) arguments: (usize, usize),
}

const fn method(name: &'static str, least: usize, most: usize) -> Function {
    Function {
        name,
        side: Side::Method,
        arguments: (least, most),
    }
}

const fn global(name: &'static str) -> Function {
    Function {
        name,
        side: Side::Global,
        arguments: (1, 1),
    }
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "size",
        side: Side::Either,
        arguments: (0, 0),
    },
    Function {
        name: "matches",
        side: Side::Either,
        arguments: (1, 1),
    },
    global("string"),
    global("int"),
    global("uint"),
    global("double"),
    global("bool"),
    global("dyn"),
    global("duration"),
    global("timestamp"),
    global("url"),
    global("isURL"),
    method("contains", 1, 1),
    method("startsWith", 1, 1),
    method("endsWith", 1, 1),
    method("lowerAscii", 0, 0),
    method("upperAscii", 0, 0),
    method("trim", 0, 0),
    method("split", 1, 2),
    method("join", 0, 1),
    method("replace", 2, 3),
    method("substring", 1, 2),
    method("charAt", 1, 1),
    method("indexOf", 1, 1),
    method("lastIndexOf", 1, 1),
    method("find", 1, 1),
    method("min", 0, 0),
    method("max", 0, 0),
    method("sum", 0, 0),
    method("isSorted", 0, 0),
    method("getScheme", 0, 0),
    method("getHost", 0, 0),
    method("getHostname", 0, 0),
    method("getPort", 0, 0),
    method("getEscapedPath", 0, 0),
    method("getFullYear", 0, 0),
    method("getMonth", 0, 0),
    method("getDate", 0, 0),
    method("getDayOfMonth", 0, 0),
    method("getDayOfWeek", 0, 0),
    method("getDayOfYear", 0, 0),
    method("getHours", 0, 0),
    method("getMinutes", 0, 0),
    method("getSeconds", 0, 0),
    method("getMilliseconds", 0, 0),
    method("orValue", 1, 1),
    method("hasValue", 0, 0),
    method("value", 0, 0),
    Function {
        name: "optional.of",
        side: Side::Global,
        arguments: (1, 1),
    },
    Function {
        name: "optional.none",
        side: Side::Global,
        arguments: (0, 0),
    },
];

impl<'a> Machine<'a> {
    /// Calls a function; the subject of a method comes first.
    pub(super) fn function(&mut self, name: &str, values: &[Val<'a>], span: Span) -> Outcome<'a> {
        for value in values {
            if let Val::Str(text) = value {
                self.pay(text.len() / 16, span)?;
            }
        }
        let wrong = || {
            let all: Vec<&Val<'a>> = values.iter().collect();
            unfit(&format!("{name}()"), &all, span)
        };
        let answer = match (name, values) {
            ("size", [subject]) => subject.size().map(count),
            ("dyn", [value]) => Some(value.clone()),
            (
                "string" | "int" | "uint" | "double" | "bool" | "duration" | "timestamp" | "url" | "isURL",
                [value],
            ) => {
                return convert(name, value, span);
            }
            ("matches" | "find", [Val::Str(text), Val::Str(expression)]) => {
                return self.regex(name, text, expression, span);
            }
            ("orValue", [Val::Optional(inner), other]) => Some(
                inner
                    .as_ref()
                    .map_or_else(|| other.clone(), |inner| (**inner).clone()),
            ),
            ("hasValue", [Val::Optional(inner)]) => Some(Val::Bool(inner.is_some())),
            ("value", [Val::Optional(inner)]) => match inner {
                Some(inner) => Some((**inner).clone()),
                None => {
                    return Err(Slip::new(SlipKind::Absent, span, "an optional without a value")
                        .fixed_by("write orValue(…)"));
                }
            },
            ("getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath", [Val::Url(url)]) => {
                Some(Val::text(url_part(name, url)))
            }
            (_, [Val::Timestamp(at)]) => calendar(name, *at).map(Val::Int),
            (_, [Val::Duration(length)]) => total(name, *length).map(Val::Int),
            (_, [Val::Str(text), rest @ ..]) => return self.string(name, text, rest, span),
            (_, [list, rest @ ..]) if list.is_list() => return self.list(name, list, rest, span),
            _ => None,
        };
        answer.ok_or_else(wrong)
    }

    fn regex(&mut self, name: &str, text: &str, expression: &str, span: Span) -> Outcome<'a> {
        // The engine's time is bounded by text times pattern.
        self.pay_text(text.len(), span)?;
        self.pay((text.len() / 64 + 1) * (expression.len() / 8 + 1), span)?;
        let made;
        let regex = if let Some(known) = self.pattern(expression) {
            known
        } else {
            // A pattern nobody could prepare is dear: five of them are the budget.
            self.pay(10_000 + expression.len() * 8, span)?;
            made = pattern(expression).map_err(|error| {
                Slip::new(
                    SlipKind::Value,
                    span,
                    format!("not a regular expression: {error}"),
                )
            })?;
            &made
        };
        Ok(if name == "find" {
            Val::text(regex.find(text).map_or("", |found| found.as_str()))
        } else {
            Val::Bool(regex.is_match(text))
        })
    }

    fn string(&mut self, name: &str, text: &str, rest: &[Val<'a>], span: Span) -> Outcome<'a> {
        let made = |text: String| Ok(Val::text(text));
        let outside = || Slip::new(SlipKind::Value, span, format!("{name}() outside of the text"));
        let index = |at: Option<usize>| at.map_or(Val::Int(-1), |at| count(text[..at].chars().count()));
        match (name, rest) {
            ("contains", [Val::Str(part)]) => Ok(Val::Bool(text.contains(&**part))),
            ("startsWith", [Val::Str(part)]) => Ok(Val::Bool(text.starts_with(&**part))),
            ("endsWith", [Val::Str(part)]) => Ok(Val::Bool(text.ends_with(&**part))),
            ("indexOf", [Val::Str(part)]) => Ok(index(text.find(&**part))),
            ("lastIndexOf", [Val::Str(part)]) => Ok(index(text.rfind(&**part))),
            ("lowerAscii", []) => {
                self.pay_text(text.len(), span)?;
                made(text.to_ascii_lowercase())
            }
            ("upperAscii", []) => {
                self.pay_text(text.len(), span)?;
                made(text.to_ascii_uppercase())
            }
            ("trim", []) => {
                self.pay_text(text.len(), span)?;
                made(text.trim().to_owned())
            }
            ("charAt", [Val::Int(at)]) => {
                let at = usize::try_from(*at).map_err(|_| outside())?;
                match text.chars().nth(at) {
                    Some(found) => made(found.to_string()),
                    None if at == text.chars().count() => made(String::new()),
                    None => Err(outside()),
                }
            }
            ("substring", [Val::Int(from), more @ ..]) => {
                self.pay_text(text.len(), span)?;
                let count = text.chars().count();
                let to = match more {
                    [] => count,
                    [Val::Int(to)] => usize::try_from(*to).map_err(|_| outside())?,
                    _ => return Err(unfit("substring()", &[&more[0]], span)),
                };
                let from = usize::try_from(*from).map_err(|_| outside())?;
                if from > to || to > count {
                    return Err(outside());
                }
                made(text.chars().skip(from).take(to - from).collect())
            }
            ("split", [Val::Str(by), more @ ..]) => {
                self.pay_text(text.len(), span)?;
                let limit = match more {
                    [Val::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                    _ => usize::MAX,
                };
                self.pay(text.matches(&**by).count().min(limit) + 1, span)?;
                let parts: Vec<Val<'a>> = if limit == 0 {
                    Vec::new()
                } else if by.is_empty() {
                    text.chars().map(|char| Val::text(char.to_string())).collect()
                } else {
                    text.splitn(limit, &**by).map(Val::text).collect()
                };
                Ok(Val::List(Rc::new(parts)))
            }
            ("replace", [Val::Str(old), Val::Str(new), more @ ..]) => {
                let limit = match more {
                    [Val::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                    _ => usize::MAX,
                };
                let times = text.matches(&**old).count().min(limit);
                self.pay_text(text.len().saturating_add(times.saturating_mul(new.len())), span)?;
                made(text.replacen(&**old, new, limit))
            }
            _ => {
                let all: Vec<&Val<'a>> = rest.iter().collect();
                Err(unfit(&format!("{name}() of a string"), &all, span))
            }
        }
    }

    fn list(&mut self, name: &str, list: &Val<'a>, rest: &[Val<'a>], span: Span) -> Outcome<'a> {
        self.pay(list.size().unwrap_or_default(), span)?;
        let items = list.elements().unwrap_or_default();
        let odd = |item: &Val<'a>| unfit(&format!("{name}() of a list"), &[item], span);
        match (name, rest) {
            ("contains", [_]) => {
                Err(Slip::new(SlipKind::Type, span, "contains() of a list").fixed_by("write element in list"))
            }
            ("join", by) => {
                let by = match by {
                    [Val::Str(by)] => &**by,
                    [] => "",
                    [other, ..] => return Err(odd(other)),
                };
                let mut parts = Vec::with_capacity(items.len());
                for item in &items {
                    let Val::Str(text) = item else {
                        return Err(odd(item));
                    };
                    parts.push(&**text);
                }
                let length: usize = parts.iter().map(|part| part.len() + by.len()).sum();
                self.pay_text(length, span)?;
                Ok(Val::text(parts.join(by)))
            }
            ("indexOf" | "lastIndexOf", [wanted]) => {
                let mut found = -1;
                for (at, item) in items.iter().enumerate() {
                    if self.equal(item, wanted, span)? {
                        found = i64::try_from(at).unwrap_or(i64::MAX);
                        if name == "indexOf" {
                            break;
                        }
                    }
                }
                Ok(Val::Int(found))
            }
            ("isSorted", []) => {
                Ok(Val::Bool(items.windows(2).all(|pair| {
                    compare(&pair[0], &pair[1]).is_some_and(Ordering::is_le)
                })))
            }
            ("min" | "max", []) => {
                let mut best: Option<Val<'a>> = None;
                let wanted = if name == "min" {
                    Ordering::Less
                } else {
                    Ordering::Greater
                };
                for item in items {
                    let better = match &best {
                        None => true,
                        Some(best) => compare(&item, best).ok_or_else(|| odd(&item))? == wanted,
                    };
                    if better {
                        best = Some(item);
                    }
                }
                best.ok_or_else(|| Slip::new(SlipKind::Value, span, format!("{name}() of an empty list")))
            }
            ("sum", []) => {
                let (mut whole, mut real, mut any_real) = (0_i64, 0.0, false);
                for item in &items {
                    match item {
                        Val::Int(value) => {
                            whole = whole
                                .checked_add(*value)
                                .ok_or_else(|| Slip::new(SlipKind::Value, span, "a number out of range"))?;
                            real += *value as f64;
                        }
                        Val::Double(value) => {
                            any_real = true;
                            real += value;
                        }
                        other => return Err(odd(other)),
                    }
                }
                Ok(if any_real {
                    Val::Double(real)
                } else {
                    Val::Int(whole)
                })
            }
            _ => {
                let all: Vec<&Val<'a>> = rest.iter().collect();
                Err(unfit(&format!("{name}() of a list"), &all, span))
            }
        }
    }
}

/// Conversions between types.
fn convert<'a>(name: &str, value: &Val<'a>, span: Span) -> Outcome<'a> {
    let bad = |what: &str| {
        Slip::new(
            SlipKind::Value,
            span,
            format!("{name}() of something that is no {what}"),
        )
    };
    let answer = match (name, value) {
        ("string", Val::Str(_))
        | ("int", Val::Int(_))
        | ("uint", Val::Uint(_))
        | ("double", Val::Double(_))
        | ("bool", Val::Bool(_))
        | ("duration", Val::Duration(_))
        | ("timestamp", Val::Timestamp(_)) => value.clone(),
        ("string", Val::Int(number)) => Val::text(number.to_string()),
        ("string", Val::Uint(number)) => Val::text(number.to_string()),
        ("string", Val::Double(number)) => Val::text(number.to_string()),
        ("string", Val::Bool(truth)) => Val::text(truth.to_string()),
        ("string", Val::Timestamp(at)) => Val::text(at.to_string()),
        ("string", Val::Duration(length)) => Val::text(format!("{}s", length.as_secs_f64())),
        ("string", Val::Url(url)) => Val::text(url.as_str()),
        ("int", Val::Uint(number)) => Val::Int(i64::try_from(*number).map_err(|_| bad("int"))?),
        ("int", Val::Double(number)) if number.abs() < 9.2e18 => Val::Int(number.trunc() as i64),
        ("int", Val::Timestamp(at)) => Val::Int(at.as_second()),
        ("int", Val::Str(text)) => Val::Int(text.parse().map_err(|_| bad("int"))?),
        ("uint", Val::Int(number)) => Val::Uint(u64::try_from(*number).map_err(|_| bad("uint"))?),
        ("uint", Val::Double(number)) if (0.0..1.8e19).contains(number) => Val::Uint(number.trunc() as u64),
        ("uint", Val::Str(text)) => Val::Uint(text.parse().map_err(|_| bad("uint"))?),
        ("double", Val::Int(number)) => Val::Double(*number as f64),
        ("double", Val::Uint(number)) => Val::Double(*number as f64),
        ("double", Val::Str(text)) => Val::Double(text.parse().map_err(|_| bad("double"))?),
        ("bool", Val::Str(text)) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Val::Bool(true),
            "false" | "False" | "FALSE" | "f" | "0" => Val::Bool(false),
            _ => return Err(bad("bool")),
        },
        ("duration", Val::Str(text)) => {
            let nanoseconds =
                duration::go(text).map_err(|_| bad("duration").expecting("expected one such as 90s"))?;
            Val::Duration(SignedDuration::from_nanos(nanoseconds))
        }
        ("timestamp", Val::Str(text)) => Val::Timestamp(
            text.parse::<Timestamp>()
                .map_err(|_| bad("timestamp").expecting("expected one such as 2027-01-01T00:00:00Z"))?,
        ),
        ("timestamp", Val::Int(seconds)) => {
            Val::Timestamp(Timestamp::from_second(*seconds).map_err(|_| bad("timestamp"))?)
        }
        ("url", Val::Str(text)) => {
            let url = absolute(text).ok_or_else(|| bad("URL").fixed_by("ask with isURL() first"))?;
            Val::Url(Rc::new(url))
        }
        ("isURL", Val::Str(text)) => Val::Bool(absolute(text).is_some()),
        (_, other) => return Err(unfit(&format!("{name}()"), &[other], span)),
    };
    Ok(answer)
}

/// A number of things.
fn count<'a>(things: usize) -> Val<'a> {
    Val::Int(i64::try_from(things).unwrap_or(i64::MAX))
}

/// A URL with a scheme and a host.
fn absolute(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(Url::has_host)
}

fn url_part(name: &str, url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match name {
        "getScheme" => url.scheme().to_owned(),
        "getHostname" => host.trim_matches(['[', ']']).to_owned(),
        "getPort" => url.port().map(|port| port.to_string()).unwrap_or_default(),
        "getEscapedPath" => url.path().to_owned(),
        _ => url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
    }
}

/// Parts of a time, in UTC, counted as CEL does: months, days of the month, week and year from 0.
fn calendar(name: &str, at: Timestamp) -> Option<i64> {
    let date = at.to_zoned(TimeZone::UTC);
    Some(match name {
        "getFullYear" => i64::from(date.year()),
        "getMonth" => i64::from(date.month()) - 1,
        "getDate" => i64::from(date.day()),
        "getDayOfMonth" => i64::from(date.day()) - 1,
        "getDayOfWeek" => i64::from(date.weekday().to_sunday_zero_offset()),
        "getDayOfYear" => i64::from(date.day_of_year()) - 1,
        "getHours" => i64::from(date.hour()),
        "getMinutes" => i64::from(date.minute()),
        "getSeconds" => i64::from(date.second()),
        "getMilliseconds" => i64::from(date.millisecond()),
        _ => return None,
    })
}

/// A length in whole units.
fn total(name: &str, length: SignedDuration) -> Option<i64> {
    Some(match name {
        "getHours" => length.as_hours(),
        "getMinutes" => length.as_mins(),
        "getSeconds" => length.as_secs(),
        "getMilliseconds" => i64::try_from(length.as_millis()).ok()?,
        _ => return None,
    })
}
