//! A measurement against its bounds: the only place where the two are compared.
//!
//! Owns: the verdict on one check and the words for it (Flagger's `Halt …` events). Promises: what cannot be
//! measured never passes. Never: counts failures or decides what follows from them.

use crate::model::canary::{Canary, Check, Source, TargetKind};
use crate::model::notice::{Notice, Reason};

use super::question::Answer;

/// What one answer to one check means.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The value lies within its bounds.
    Passed(f64),
    /// It does not, or there is none; the notice says why.
    Halted(Notice),
}

/// Compares an answer with the bounds of its check. Both ends of the range are good values; NaN counts as no
/// value (Prometheus answers NaN for 0/0). Milliseconds are compared as they are, where Flagger cuts bounds to
/// whole ones.
pub fn judge(canary: &Canary, check: &Check, answer: &Answer) -> Verdict {
    let value = match answer {
        Answer::Value(value) if value.is_nan() => {
            return Verdict::Halted(no_values(canary, check, "no values found"));
        }
        Answer::Value(value) => *value,
        Answer::NoValues(why) => return Verdict::Halted(no_values(canary, check, why)),
        Answer::Error(why) | Answer::Refused(why) => return Verdict::Halted(failed(check, why)),
        Answer::Passed => return Verdict::Halted(failed(check, "the answer carries no value")),
    };
    let broken = match (check.bounds.min, check.bounds.max) {
        (Some(min), _) if value < min => Some(('<', min)),
        (_, Some(max)) if value > max => Some(('>', max)),
        (None | Some(_), None | Some(_)) => None,
    };
    match broken {
        None => Verdict::Passed(value),
        Some((sign, bound)) => Verdict::Halted(Notice::warning(
            Reason::Halted,
            format!(
                "Halt {} advancement {}",
                canary.id,
                comparison(check, value, sign, bound)
            ),
        )),
    }
}

/// `success rate 97.10% < 99%`, `request duration 750ms > 500ms`, `name 12.00 > 5`.
fn comparison(check: &Check, value: f64, sign: char, bound: f64) -> String {
    match &check.source {
        Source::SuccessRate => format!("success rate {value:.2}% {sign} {bound}%"),
        Source::RequestDuration => format!(
            "request duration {} {sign} {}",
            go_duration(value),
            go_duration(bound)
        ),
        Source::Query(_) | Source::Template { .. } => format!("{} {value:.2} {sign} {bound}", check.name),
    }
}

/// The metric server answered without a value.
fn no_values(canary: &Canary, check: &Check, why: &str) -> Notice {
    let provider = match canary.target.kind {
        TargetKind::Service => format!("{}:service", canary.provider.as_str()),
        TargetKind::Deployment | TargetKind::DaemonSet | TargetKind::Knative => {
            canary.provider.as_str().to_owned()
        }
    };
    let quiet = |tail: &str| {
        format!(
            "Halt advancement no values found for {provider} metric {} probably {}.{} is not receiving traffic{tail}",
            check.name, canary.target.name, canary.id.namespace
        )
    };
    let text = match &check.source {
        Source::SuccessRate => quiet(&format!(": {why}")),
        Source::RequestDuration => quiet(""),
        Source::Query(_) => format!("Halt advancement no values found for metric: {}", check.name),
        Source::Template { .. } => format!(
            "Halt advancement no values found for custom metric: {}: {why}",
            check.name
        ),
    };
    Notice::warning(Reason::Halted, text)
}

/// The check could not be asked.
fn failed(check: &Check, why: &str) -> Notice {
    let text = match &check.source {
        Source::SuccessRate | Source::RequestDuration => format!("Prometheus query failed: {why}"),
        Source::Query(_) => format!("Prometheus query failed for {}: {why}", check.name),
        Source::Template { .. } => format!("Metric query failed for {}: {why}", check.name),
    };
    Notice::error(Reason::Halted, text)
}

/// Milliseconds in the form Go prints a duration (`750ms`, `1.5s`, `2m0s`), as Flagger's events do.
fn go_duration(milliseconds: f64) -> String {
    if !milliseconds.is_finite() {
        return format!("{milliseconds}ms");
    }
    let nanos = (milliseconds.abs() * 1e6).round() as u64;
    let sign = if milliseconds < 0.0 && nanos > 0 { "-" } else { "" };
    let part = |unit: u64| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        let digits = unit.ilog10() as usize;
        let fraction = format!("{rest:0digits$}");
        match fraction.trim_end_matches('0') {
            "" => whole.to_string(),
            fraction => format!("{whole}.{fraction}"),
        }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", part(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", part(1_000_000)),
        1_000_000_000.. => {
            let seconds = nanos / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = part(1_000_000_000);
            let fraction = rest
                .split_once('.')
                .map_or(String::new(), |(_, digits)| format!(".{digits}"));
            let tail = format!("{}{fraction}s", seconds % 60);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{tail}"),
                (0, _) => format!("{sign}{minutes}m{tail}"),
                (_, _) => format!("{sign}{hours}h{minutes}m{tail}"),
            }
        }
    }
}
