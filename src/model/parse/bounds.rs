//! `thresholdRange` and the deprecated `threshold` of a metric, in the meaning each kind of metric gives them.

use crate::model::canary::Bounds;
use crate::model::rules;
use crate::model::violation::FieldPath;

use super::fields::{Field, Findings};

/// The bounds as written.
pub(super) struct Written {
    /// `thresholdRange`, which decides alone when it is there.
    range: Option<Bounds>,
    /// `threshold`, deprecated.
    threshold: Option<f64>,
    /// Something of it could not be read and was reported.
    broken: bool,
    path: FieldPath,
}

impl Written {
    /// Reads both, and judges what holds for every kind of metric.
    pub(super) fn read(item: &Field<'_>, findings: &mut Findings) -> Self {
        let (field, threshold_field) = (item.get("thresholdRange"), item.get("threshold"));
        let before = findings.report.violations.len();
        let threshold = threshold_field.number(findings);
        let range = field.object(findings).map(|_| {
            field.only(&["min", "max"], findings);
            Bounds {
                min: field.get("min").number(findings),
                max: field.get("max").number(findings),
            }
        });
        let broken = findings.report.violations.len() > before;
        if let Some(Bounds { min, max }) = range {
            match (min, max) {
                (None, None) if !broken => {
                    findings.add(&rules::RANGE_EMPTY, &field.path, "neither min nor max");
                }
                (Some(min), Some(max)) if min > max => {
                    findings.add(
                        &rules::RANGE_INVERTED,
                        &field.path,
                        format!("min {min} is above max {max}"),
                    );
                }
                _ => {}
            }
            if threshold.is_some() {
                findings.add(
                    &rules::THRESHOLD_IGNORED,
                    &threshold_field.path,
                    "set together with thresholdRange",
                );
            }
        }
        Self {
            range,
            threshold,
            broken,
            path: field.path,
        }
    }

    fn absent(&self) -> bool {
        self.range.is_none() && self.threshold.is_none() && !self.broken
    }

    /// Percent; the old `threshold` is the minimum.
    pub(super) fn success_rate(&self, item: &Field<'_>, findings: &mut Findings) -> Bounds {
        if self.absent() {
            findings
                .add(&rules::BOUND_ABSENT, &self.path, "missing")
                .expecting("without a minimum the check always passes");
        }
        let bounds = self.range.unwrap_or(Bounds {
            min: self.threshold,
            max: None,
        });
        let path = if self.range.is_some() {
            self.path.key("min")
        } else {
            item.path.key("threshold")
        };
        match bounds.min {
            Some(min) if !(0.0..=100.0).contains(&min) => {
                findings.add(&rules::RATE_BOUND, &path, format!("{min} percent"));
            }
            Some(min) if min > 0.0 && min <= 1.0 => {
                let found = format!("{min} looks like a fraction");
                findings
                    .add(&rules::RATE_BOUND, &path, found)
                    .fixed_by(format!("write {}", rounded(min * 100.0)));
            }
            Some(0.0) => {
                findings.add(&rules::RATE_ZERO, &path, "0");
            }
            None if bounds.max.is_some() => {
                findings
                    .add(&rules::RATE_BOUND, &self.path, "only max is set")
                    .fixed_by("write min");
            }
            Some(_) | None => {}
        }
        bounds
    }

    /// Milliseconds, cut to whole ones; the old `threshold` is the maximum.
    pub(super) fn request_duration(&self, item: &Field<'_>, findings: &mut Findings) -> Bounds {
        if self.absent() {
            findings
                .add(&rules::BOUND_ABSENT, &self.path, "missing")
                .expecting("without a maximum every latency fails");
        }
        let bounds = self.range.unwrap_or(Bounds {
            min: None,
            max: self.threshold,
        });
        let path = if self.range.is_some() {
            self.path.key("max")
        } else {
            item.path.key("threshold")
        };
        match bounds.max {
            Some(max) if max < 1.0 => {
                let fix = if max > 0.0 {
                    format!("write {} for {max} s", rounded(max * 1000.0))
                } else {
                    String::new()
                };
                let found = format!("{max} milliseconds");
                let found = findings.add(&rules::LATENCY_BOUND, &path, found);
                if !fix.is_empty() {
                    found.fixed_by(fix);
                }
            }
            Some(max) if max.fract() != 0.0 => {
                findings.add(&rules::LATENCY_FRACTION, &path, format!("{max}"));
            }
            Some(_) | None => {}
        }
        Bounds {
            min: bounds.min.map(f64::trunc),
            max: bounds.max.map(f64::trunc),
        }
    }

    /// Whatever the query answers in; the old `threshold` is the maximum, and 0 when it is absent.
    pub(super) fn custom(
        &self,
        item: &Field<'_>,
        bounded_as_built_in: bool,
        findings: &mut Findings,
    ) -> Bounds {
        if self.absent() && !bounded_as_built_in {
            findings.add(&rules::BOUND_ZERO, &item.path.key("thresholdRange"), "missing");
        }
        self.range.unwrap_or(Bounds {
            min: None,
            max: Some(self.threshold.unwrap_or(0.0)),
        })
    }
}

/// A number without the dust of binary fractions.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
