//! Exemptions: whom a policy spares, until when, and why.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::model::parse::fields::Findings;
use crate::model::rules;
use crate::model::violation::{FieldPath, Report};

use super::Policy;

/// `spec.exemptions[]`.
#[derive(Debug, Clone)]
pub(super) struct Exemption {
    /// A pattern with `*`.
    pub(super) namespace: String,
    /// A pattern with `*`.
    pub(super) name: String,
    /// Names of rules; empty for all.
    pub(super) rules: Vec<String>,
    /// The first moment it no longer holds.
    pub(super) until: Timestamp,
    /// As it is written.
    pub(super) written: String,
    pub(super) reason: String,
}

/// Whether a policy spares an object.
pub(super) enum Spared<'a> {
    No,
    Until(&'a Exemption),
    /// One did, until it ended.
    Before(&'a Exemption),
}

impl Policy {
    pub(super) fn spares(&self, namespace: &str, name: &str, rule: &str, now: Timestamp) -> Spared<'_> {
        let mut ended = None;
        for one in &self.exemptions {
            let concerns = fits(&one.namespace, namespace)
                && fits(&one.name, name)
                && (one.rules.is_empty() || one.rules.iter().any(|known| known == rule));
            if concerns && now < one.until {
                return Spared::Until(one);
            }
            if concerns {
                ended = Some(one);
            }
        }
        ended.map_or(Spared::No, Spared::Before)
    }
}

/// The end of an exemption: a moment (RFC 3339), or a date, which counts to its last second in UTC.
pub(super) fn end(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let date: Date = text.parse().ok()?;
    let next = date.checked_add(1.day()).ok()?;
    next.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp())
}

/// Whether a text fits a pattern in which `*` stands for any characters.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut parts: Vec<&str> = parts.collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Tells of exemptions that hold no longer.
pub(super) fn ended(policy: &Policy, now: Timestamp) -> Report {
    let mut findings = Findings::default();
    for (index, one) in policy.exemptions.iter().enumerate() {
        if one.until <= now {
            findings.add(
                &rules::POLICY_EXEMPTION_OVER,
                &FieldPath::of("spec.exemptions").index(index).key("until"),
                format!("{} is past", one.written),
            );
        }
    }
    findings.report
}
