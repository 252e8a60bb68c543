//! What is judged: the kinds of Flagger, in whatever version they are written.
//!
//! Owns the way from an object to its verdict, so that admission and `lint` say the same. Never looks around: that is
//! [`super::surroundings`].

use serde_json::Value;

use super::parse::{self, Parsed, Settings};
use crate::api::{convert, v1alpha3};

/// A kind that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A release.
    Canary,
    /// A query with its server.
    MetricTemplate,
    /// A chat or endpoint for alerts.
    AlertProvider,
}

impl Subject {
    /// The kind of this name, in the group of Flagger.
    pub fn of(kind: &str) -> Option<Self> {
        match kind {
            "Canary" => Some(Subject::Canary),
            "MetricTemplate" => Some(Subject::MetricTemplate),
            "AlertProvider" => Some(Subject::AlertProvider),
            _ => None,
        }
    }

    /// The versions that can be written, newest first, without the group.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Subject::Canary => &["v1beta1", "v1alpha3"],
            Subject::MetricTemplate | Subject::AlertProvider => &["v1beta1"],
        }
    }

    /// Judges an object by itself. Paths are those of v1beta1: [`super::violation::spelled_for`] brings them into the
    /// words of the author. Only a Canary that can be obeyed comes with [`Parsed::canary`].
    pub fn judge(self, object: &Value, settings: &Settings) -> Parsed {
        match self {
            Subject::Canary if object["apiVersion"] == v1alpha3::API_VERSION => {
                // The schema of v1alpha3 is open: nobody else tells its author about a misspelt field.
                let settings = Settings {
                    unknown_fields: true,
                    ..settings.clone()
                };
                parse::canary(&convert::respelled(object.clone()), &settings)
            }
            Subject::Canary => parse::canary(object, settings),
            Subject::MetricTemplate => parse::metric_template(object, settings).into(),
            Subject::AlertProvider => parse::alert_provider(object, settings).into(),
        }
    }
}
