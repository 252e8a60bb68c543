//! A measurement against its bounds: the only place where the two are compared.
//!
//! Owns: the verdict on one check and the words for it (Flagger's `Halt …` events). Promises: what cannot be
//! measured never passes. Never: counts failures or decides what follows from them.

use jiff::Timestamp;

use crate::model::canary::{Bounds, Canary, Check, Hook, Source, TargetKind};
use crate::model::notice::{Notice, Reason};
use crate::model::status::{CheckRecord, Outcome};

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

/// What is remembered of a measurement.
pub(super) fn record(check: &Check, answer: &Answer, verdict: &Verdict, now: Timestamp) -> CheckRecord {
    let (value, unanswered) = match answer {
        Answer::Value(value) if value.is_nan() => (None, Outcome::NoValues),
        Answer::Value(value) => (Some(value.to_string()), Outcome::Failed),
        Answer::NoValues(_) => (None, Outcome::NoValues),
        Answer::Error(_) | Answer::Refused(_) | Answer::Passed => (None, Outcome::Error),
    };
    let (verdict, message) = match verdict {
        Verdict::Passed(_) => (Outcome::Passed, None),
        Verdict::Halted(notice) => (unanswered, Some(notice.text.clone())),
    };
    CheckRecord {
        time: micros(now),
        kind: "metric".to_owned(),
        name: check.name.clone(),
        value,
        threshold: range(check.bounds),
        verdict,
        message,
    }
}

/// What is remembered of a hook that counts as a check; `refusal` is what it said against going on.
pub(super) fn record_hook(hook: &Hook, refusal: Option<&str>, now: Timestamp) -> CheckRecord {
    CheckRecord {
        time: micros(now),
        kind: hook.kind.as_str().to_owned(),
        name: hook.name.clone(),
        value: None,
        threshold: None,
        verdict: if refusal.is_some() {
            Outcome::Failed
        } else {
            Outcome::Passed
        },
        message: refusal.map(str::to_owned),
    }
}

/// `>= 99`, `<= 500`, `>= 1, <= 5`.
fn range(bounds: Bounds) -> Option<String> {
    match (bounds.min, bounds.max) {
        (None, None) => None,
        (Some(min), None) => Some(format!(">= {min}")),
        (None, Some(max)) => Some(format!("<= {max}")),
        (Some(min), Some(max)) => Some(format!(">= {min}, <= {max}")),
    }
}

/// As precise as it is stored.
fn micros(now: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::model::canary::{
        Analysis, Identity, Metadata, Provider, Service, Strategy, Target, Unmanaged,
    };

    fn canary() -> Canary {
        Canary {
            id: Identity {
                namespace: "test".to_owned(),
                name: "shop".to_owned(),
                uid: String::new(),
            },
            generation: 1,
            provider: Provider::Kubernetes,
            metrics_server: None,
            target: Target {
                kind: TargetKind::Deployment,
                name: "podinfo".to_owned(),
            },
            autoscaler: None,
            service: Service {
                name: "podinfo".to_owned(),
                port: 80,
                port_name: "http".to_owned(),
                target_port: None,
                app_protocol: None,
                traffic_distribution: None,
                port_discovery: false,
                headless: false,
                apex: Metadata::default(),
                primary: Metadata::default(),
                canary: Metadata::default(),
                unmanaged: Unmanaged::default(),
            },
            analysis: Analysis {
                skip: false,
                interval: Duration::from_secs(10),
                threshold: NonZeroU32::MIN,
                strategy: Strategy::BlueGreen {
                    iterations: NonZeroU32::MIN,
                    mirror: false,
                },
                checks: Vec::new(),
                hooks: Vec::new(),
                alerts: Vec::new(),
                primary_ready: 100,
                canary_ready: 100,
            },
            progress_deadline: Duration::from_secs(60),
            suspended: false,
            revert_on_deletion: false,
        }
    }

    fn check(source: Source, min: Option<f64>, max: Option<f64>) -> Check {
        let name = match &source {
            Source::SuccessRate => "request-success-rate",
            Source::RequestDuration => "request-duration",
            Source::Query(_) | Source::Template { .. } => "errors",
        };
        Check {
            metric: 0,
            name: name.to_owned(),
            source,
            bounds: Bounds { min, max },
            interval: "1m".to_owned(),
        }
    }

    fn query() -> Source {
        Source::Query(String::new())
    }

    fn template() -> Source {
        Source::Template {
            namespace: "test".to_owned(),
            name: "latency".to_owned(),
            variables: BTreeMap::new(),
        }
    }

    #[test]
    fn says_in_flaggers_words_what_is_wrong() {
        use Source::{RequestDuration, SuccessRate};
        let nothing = || Answer::NoValues("no values found".to_owned());
        let error = || Answer::Error("connection refused".to_owned());
        let table = [
            (
                SuccessRate,
                Some(99.0),
                None,
                Answer::Value(97.126),
                "Halt shop.test advancement success rate 97.13% < 99%",
            ),
            (
                SuccessRate,
                None,
                Some(99.5),
                Answer::Value(100.0),
                "Halt shop.test advancement success rate 100.00% > 99.5%",
            ),
            (
                RequestDuration,
                None,
                Some(500.0),
                Answer::Value(750.0),
                "Halt shop.test advancement request duration 750ms > 500ms",
            ),
            (
                RequestDuration,
                Some(1.5),
                None,
                Answer::Value(0.25),
                "Halt shop.test advancement request duration 250µs < 1.5ms",
            ),
            (
                query(),
                None,
                Some(5.0),
                Answer::Value(50.0),
                "Halt shop.test advancement errors 50.00 > 5",
            ),
            (
                template(),
                Some(2.5),
                None,
                Answer::Value(2.0),
                "Halt shop.test advancement errors 2.00 < 2.5",
            ),
            (
                SuccessRate,
                Some(99.0),
                None,
                nothing(),
                "Halt advancement no values found for kubernetes metric request-success-rate probably podinfo.test is not \
                 receiving traffic: no values found",
            ),
            (
                RequestDuration,
                None,
                Some(500.0),
                nothing(),
                "Halt advancement no values found for kubernetes metric request-duration probably podinfo.test is not \
                 receiving traffic",
            ),
            (
                query(),
                None,
                Some(5.0),
                nothing(),
                "Halt advancement no values found for metric: errors",
            ),
            (
                template(),
                None,
                Some(5.0),
                Answer::Value(f64::NAN),
                "Halt advancement no values found for custom metric: errors: no values found",
            ),
            (
                SuccessRate,
                Some(99.0),
                None,
                error(),
                "Prometheus query failed: connection refused",
            ),
            (
                query(),
                None,
                Some(5.0),
                error(),
                "Prometheus query failed for errors: connection refused",
            ),
            (
                template(),
                None,
                Some(5.0),
                error(),
                "Metric query failed for errors: connection refused",
            ),
        ];
        for (source, min, max, answer, text) in table {
            let check = check(source, min, max);
            match judge(&canary(), &check, &answer) {
                Verdict::Halted(notice) => assert_eq!(notice.text, text),
                Verdict::Passed(value) => panic!("{value} passed, expected: {text}"),
            }
        }
    }

    #[test]
    fn what_was_asked_is_remembered_with_its_value_and_range() {
        let answers = [
            (Answer::Value(0.25), Outcome::Passed, Some("0.25")),
            (Answer::Value(7.5), Outcome::Failed, Some("7.5")),
            (Answer::Value(f64::INFINITY), Outcome::Failed, Some("inf")),
            (Answer::Value(f64::NAN), Outcome::NoValues, None),
            (Answer::NoValues("none".to_owned()), Outcome::NoValues, None),
            (Answer::Error("refused".to_owned()), Outcome::Error, None),
        ];
        let check = check(query(), Some(0.0), Some(5.0));
        for (answer, outcome, value) in answers {
            let verdict = judge(&canary(), &check, &answer);
            let record = record(&check, &answer, &verdict, Timestamp::UNIX_EPOCH);
            assert_eq!(
                (
                    record.verdict,
                    record.value.as_deref(),
                    record.threshold.as_deref()
                ),
                (outcome, value, Some(">= 0, <= 5")),
                "{answer:?}"
            );
            assert_eq!(record.message.is_none(), outcome == Outcome::Passed, "{answer:?}");
        }
        assert_eq!(
            range(Bounds {
                min: Some(99.5),
                max: None
            })
            .as_deref(),
            Some(">= 99.5")
        );
        assert_eq!(range(Bounds::default()), None);
    }

    #[test]
    fn both_ends_of_the_range_are_good_and_infinity_is_not() {
        let judge = |min, max, value| {
            let verdict = judge(&canary(), &check(query(), min, max), &Answer::Value(value));
            matches!(verdict, Verdict::Passed(_))
        };
        assert!(judge(Some(1.0), Some(5.0), 1.0) && judge(Some(1.0), Some(5.0), 5.0));
        assert!(!judge(Some(1.0), None, 0.999) && !judge(None, Some(5.0), 5.001));
        assert!(!judge(None, Some(5.0), f64::INFINITY) && !judge(Some(1.0), None, f64::NEG_INFINITY));
        assert!(
            judge(None, None, f64::INFINITY),
            "an empty range accepts any value"
        );
    }

    #[test]
    fn durations_print_as_go_does() {
        let table = [
            (0.0, "0s"),
            (0.000_5, "500ns"),
            (0.5, "500µs"),
            (1.0, "1ms"),
            (499.75, "499.75ms"),
            (1_000.0, "1s"),
            (1_500.0, "1.5s"),
            (120_000.0, "2m0s"),
            (3_723_004.0, "1h2m3.004s"),
            (-1.5, "-1.5ms"),
        ];
        for (milliseconds, text) in table {
            assert_eq!(go_duration(milliseconds), text);
        }
    }
}
