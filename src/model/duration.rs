//! Durations as the two programs that read them do: Go's `time.ParseDuration` (intervals and timeouts the controller
//! obeys) and Prometheus' `model.ParseDuration` (intervals that are pasted into a query's `[range]`).
//!
//! Owns both grammars and the guess at what a person meant. Promises the same verdict as Go and Prometheus. Never
//! rewrites what was written.

use std::fmt::Write as _;
use std::time::Duration;

/// Why a text is no Go duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Empty, or not of the form number-unit.
    #[error("not a duration")]
    Malformed,
    /// A number without a unit.
    #[error("a number without a unit")]
    MissingUnit,
    /// A unit Go does not know.
    #[error("unknown unit")]
    UnknownUnit,
    /// More than 2⁶³−1 nanoseconds (about 292 years).
    #[error("longer than 292 years")]
    Overflow,
}

const LIMIT: u64 = 1 << 63;
const SECOND: u64 = 1_000_000_000;

/// Parses a duration exactly as Go's `time.ParseDuration` does (`1m30s`, `.5s`, `0`, `-1h`), into nanoseconds.
pub fn go(text: &str) -> Result<i64, DurationError> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(DurationError::Malformed);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = whole_number(rest)?;
        let mut seen_digits = after.len() != rest.len();
        rest = after;
        let (mut fraction, mut scale) = (0, 1.0);
        if let Some(after_dot) = rest.strip_prefix('.') {
            let (digits, places, after) = decimals(after_dot);
            seen_digits |= after.len() != after_dot.len();
            (fraction, scale) = (digits, places);
            rest = after;
        }
        if !seen_digits {
            return Err(DurationError::Malformed);
        }
        let unit_length = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (unit, after) = rest.split_at(unit_length);
        rest = after;
        let nanos = match unit {
            "" => return Err(DurationError::MissingUnit),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3_600 * SECOND,
            _ => return Err(DurationError::UnknownUnit),
        };
        if whole > LIMIT / nanos {
            return Err(DurationError::Overflow);
        }
        // Go computes the fraction in float64 and truncates; below 2⁶³ nothing wraps.
        let part = whole * nanos + (fraction as f64 * (nanos as f64 / scale)) as u64;
        if part > LIMIT {
            return Err(DurationError::Overflow);
        }
        total = total
            .checked_add(part)
            .filter(|sum| *sum <= LIMIT)
            .ok_or(DurationError::Overflow)?;
    }
    if negative {
        return Ok(0i64.wrapping_sub_unsigned(total));
    }
    i64::try_from(total).map_err(|_| DurationError::Overflow)
}

/// Digits before the dot; Go refuses more than 2⁶³ here already.
fn whole_number(text: &str) -> Result<(u64, &str), DurationError> {
    let mut value: u64 = 0;
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    for digit in text[..end].bytes() {
        if value > LIMIT / 10 {
            return Err(DurationError::Overflow);
        }
        value = value * 10 + u64::from(digit - b'0');
        if value > LIMIT {
            return Err(DurationError::Overflow);
        }
    }
    Ok((value, &text[end..]))
}

/// Digits after the dot and their scale; digits that no longer fit are dropped, as in Go.
fn decimals(text: &str) -> (u64, f64, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (mut value, mut scale, mut full) = (0u64, 1.0f64, false);
    for digit in text[..end].bytes() {
        if full {
            continue;
        }
        let next = value
            .checked_mul(10)
            .filter(|_| value <= (LIMIT - 1) / 10)
            .map(|shifted| shifted + u64::from(digit - b'0'))
            .filter(|next| *next <= LIMIT);
        match next {
            Some(next) => {
                value = next;
                scale *= 10.0;
            }
            None => full = true,
        }
    }
    (value, scale, &text[end..])
}

/// A Go duration above zero.
pub fn go_positive(text: &str) -> Option<Duration> {
    go(text)
        .ok()
        .and_then(|nanos| u64::try_from(nanos).ok())
        .filter(|nanos| *nanos > 0)
        .map(Duration::from_nanos)
}

/// Parses a duration as Prometheus does: whole numbers, units `y w d h m s ms` each once and falling, or `0`.
pub fn prometheus(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut next_unit, mut total) = (text, 0, 0u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(length);
        rest = after;
        let (position, (_, millis)) = UNITS
            .iter()
            .enumerate()
            .skip(next_unit)
            .find(|(_, (name, _))| *name == unit)?;
        next_unit = position + 1;
        total = total.checked_add(number.checked_mul(*millis)?)?;
    }
    // Prometheus keeps the sum in nanoseconds of an int64.
    (!text.is_empty() && total <= i64::MAX as u64 / 1_000_000).then(|| Duration::from_millis(total))
}

/// True when the text may stand in a PromQL range selector: a Prometheus duration above zero.
pub fn is_promql_range(text: &str) -> bool {
    prometheus(text).is_some_and(|duration| !duration.is_zero())
}

/// What a person who wrote this probably meant, as a duration both Go and Prometheus read: `2 seconds` → `2s`.
pub fn guess(text: &str) -> Option<String> {
    let squeezed: String = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect::<String>()
        .to_lowercase();
    let squeezed = squeezed.trim_start_matches(['+', '-']);
    let mut rest = squeezed;
    let mut out = String::new();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(letters);
        rest = after;
        let (number, unit) = match unit {
            "" | "s" | "sec" | "secs" | "second" | "seconds" => (number, "s"),
            "m" | "min" | "mins" | "minute" | "minutes" => (number, "m"),
            "h" | "hr" | "hrs" | "hour" | "hours" => (number, "h"),
            "d" | "day" | "days" => (number.checked_mul(24)?, "h"),
            "ms" | "msec" | "millisecond" | "milliseconds" => (number, "ms"),
            _ => return None,
        };
        let _ = write!(out, "{number}{unit}");
    }
    (go_positive(&out).is_some() && out != text).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn go_durations() {
        let table: [(&str, i64); 34] = [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("1478s", 1_478_000_000_000),
            ("-5s", -5_000_000_000),
            ("+5s", 5_000_000_000),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.004s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("12μs", 12_000),
            ("13ms", 13_000_000),
            ("15m", 900_000_000_000),
            ("1h", 3_600_000_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("1m1m", 120_000_000_000),
            ("-2m3.4s", -123_400_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("39h9m14.425s", 140_954_425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.9223372036854775807h", 3_320_413_933_267),
        ];
        for (text, nanos) in table {
            assert_eq!(go(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn go_refusals() {
        for text in [
            "",
            "-",
            "+",
            "s",
            ".",
            "-.",
            ".s",
            "+.s",
            "2 seconds",
            "1m foo",
            "3",
            "1d",
            "10min",
            "1e3s",
            "--1s",
        ] {
            assert!(go(text).is_err(), "{text}");
        }
        for text in [
            "9223372036854775808ns",
            "3000000h",
            "9223372036854775.808us",
            "99999999999999999999s",
        ] {
            assert_eq!(go(text), Err(DurationError::Overflow), "{text}");
        }
        assert_eq!(go("3"), Err(DurationError::MissingUnit));
        assert_eq!(go("10min"), Err(DurationError::UnknownUnit));
    }

    #[test]
    fn prometheus_durations() {
        for (text, millis) in [
            ("1m", 60_000),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1d", 86_400_000),
        ] {
            assert_eq!(prometheus(text), Some(Duration::from_millis(millis)), "{text}");
            assert!(is_promql_range(text), "{text}");
        }
        for text in [
            "",
            "1.5m",
            "30m1h",
            "1m1m",
            "-1m",
            "5sx",
            "60",
            "1 m",
            "m",
            "300000000y",
        ] {
            assert_eq!(prometheus(text), None, "{text}");
        }
        assert!(!is_promql_range("0s") && !is_promql_range("0"));
    }

    #[test]
    fn guesses() {
        for (text, meant) in [
            ("2 seconds", "2s"),
            ("10min", "10m"),
            ("30sec", "30s"),
            ("1d", "24h"),
            ("45", "45s"),
            ("1 hour 5 min", "1h5m"),
        ] {
            assert_eq!(guess(text).as_deref(), Some(meant), "{text}");
        }
        for text in ["", "soon", "1m", "0"] {
            assert_eq!(guess(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-+]?[0-9.µnmshd ]{0,24}") {
            let _ = (go(&text), prometheus(&text), guess(&text));
        }

        #[test]
        fn whole_units_are_exact(hours in 0i64..1000, minutes in 0i64..1000, seconds in 0i64..1000, millis in 0i64..1000) {
            let text = format!("{hours}h{minutes}m{seconds}s{millis}ms");
            let nanos = ((hours * 3600 + minutes * 60 + seconds) * 1000 + millis) * 1_000_000;
            prop_assert_eq!(go(&text), Ok(nanos));
            prop_assert_eq!(go(&format!("-{text}")), Ok(-nanos));
            prop_assert_eq!(prometheus(&text), Some(Duration::from_nanos(nanos as u64)));
        }

        #[test]
        fn a_guess_is_a_duration(text in "[0-9]{1,3} ?(s|sec|seconds|m|min|minutes|h|hours|d|days)") {
            if let Some(meant) = guess(&text) {
                prop_assert!(go_positive(&meant).is_some() && is_promql_range(&meant));
            }
        }
    }
}
