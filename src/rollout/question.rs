//! What a decision may ask of the world, and the answers.

use std::collections::BTreeMap;

use crate::model::status::Stage;

/// Something only the outside can tell. Indices point into `Canary::analysis`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// Are the metric servers of the checks reachable? (Flagger asks while initialising; never blocks.)
    MetricsOnline,
    /// Call one hook; the phase goes into its payload.
    Hook {
        /// Index in `analysis.hooks`.
        hook: usize,
        /// Phase told to the hook.
        phase: Stage,
    },
    /// Measure one check.
    Check {
        /// Index in `analysis.checks`.
        check: usize,
    },
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Hook: 2xx. MetricsOnline: reachable.
    Passed,
    /// Hook: refused or unreachable, with the body or error (bounded, printable). MetricsOnline: the error.
    Refused(String),
    /// Check: a number.
    Value(f64),
    /// Check: the metric server answered without a value.
    NoValues(String),
    /// Check: could not be asked (transport, template, credentials).
    Error(String),
}

/// The answers heard so far in one interview.
pub type Answers = BTreeMap<Question, Answer>;
