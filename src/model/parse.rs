//! v1beta1 JSON → [`Canary`], collecting every violation and warning with its path.
//!
//! Works on JSON, not on typed wire structs: a wrong type becomes one violation at its field and hides nothing.

use std::time::Duration;

use serde_json::Value;

use super::canary::{Canary, Provider};
use super::violation::Report;

/// What the process decides for manifests that leave it open.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `--mesh-provider`: the provider of Canaries that name none.
    pub provider: Provider,
    /// `--min-analysis-interval`: shorter intervals are raised to it, with a warning.
    pub min_interval: Duration,
}

/// What a manifest means, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The Canary, when nothing in the report makes it impossible to obey.
    pub canary: Option<Canary>,
    /// Everything found.
    pub report: Report,
}

/// Parses a v1beta1 Canary object.
pub fn canary(_object: &Value, _settings: &Settings) -> Parsed {
    Parsed {
        canary: None,
        report: Report::default(),
    }
}

/// Judges a MetricTemplate object.
pub fn metric_template(_object: &Value) -> Report {
    Report::default()
}

/// Judges an AlertProvider object.
pub fn alert_provider(_object: &Value) -> Report {
    Report::default()
}
