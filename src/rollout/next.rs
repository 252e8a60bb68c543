//! `next`: the one decision of the controller.

use jiff::Timestamp;

use crate::model::canary::Canary;
use crate::model::status::Status;

use super::observed::Observed;
use super::plan::{Next, Plan};
use super::question::Answers;

/// What to ask or do next for `canary`, given what was `seen` and `heard`, at `now`.
pub fn next(_canary: &Canary, seen: &Observed, _heard: &Answers, _now: Timestamp) -> Next {
    let status: Status = seen.status.clone();
    Next::Act(Box::new(Plan {
        steps: Vec::new(),
        status,
        announcements: Vec::new(),
        wake: None,
    }))
}
