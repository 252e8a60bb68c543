//! What a pass cannot do, told on the object: condition `Stalled` and one event, not a line in a log every minute.
#![expect(clippy::disallowed_methods, reason = "shell: reads the clock")]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::model::notice::{Notice, Reason};
use crate::model::status;
use crate::rollout::STALLED;
use crate::rollout::rejected::stalled;

use super::index::Id;
use super::{Context, Error, apply, newest, publish, wire_generation};

/// What was told last. A status that cannot be read or written cannot keep it.
#[derive(Default)]
pub(crate) struct Complaints(Mutex<HashMap<Id, String>>);

impl Complaints {
    /// True when this is not what was told last.
    fn is_news(&self, canary: &Id, text: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(canary.clone(), text.to_owned())
            .is_none_or(|last| last != text)
    }

    /// A pass came through, or the Canary is gone: what is told next is news.
    pub(super) fn settle(&self, canary: &Id) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(canary);
    }
}

/// Tells what lasts. The words of an API server may differ each time (a webhook that prints a time): a refusal that
/// is told is not told again before a pass came through, or it would be told for ever.
pub(super) async fn complain(error: &Error, object: &DynamicObject, cx: &Context) -> Result<(), Error> {
    let Some(wire) = newest(object, cx) else {
        return Ok(());
    };
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let id = (part(&object.metadata.namespace), part(&object.metadata.name));
    let reason = error.reason();
    let text = error.to_string();
    let topic = match error {
        Error::Cluster(_) => reason.as_str(),
        Error::Status(_) | Error::Unrecorded { .. } | Error::Blocked(_) | Error::Panicked(_) => &text,
    };
    if !cx.complaints.is_news(&id, topic) {
        return Ok(());
    }
    let notice = Notice::warning(reason, text.clone());
    let told = match status::read(wire.get("status")) {
        Err(_) => true,
        Ok(stored) => {
            let known = stored.conditions.iter().any(|condition| {
                condition.kind == STALLED
                    && condition.reason == Reason::ReconcileError.as_str()
                    && reason == Reason::ReconcileError
            });
            let (wanted, news) = stalled(&stored, wire_generation(&wire), reason, &text, Timestamp::now());
            if news && !known {
                store(&wanted, &stored, &wire, &id, cx).await?;
            }
            news && !known
        }
    };
    if told {
        publish::tell(&notice, &wire, cx).await;
    }
    Ok(())
}

/// A status that cannot be stored now is tried again with the next pass.
async fn store(
    wanted: &status::Status,
    stored: &status::Status,
    wire: &Value,
    id: &Id,
    cx: &Context,
) -> Result<(), Error> {
    let written = apply::status(wanted, stored, wire, cx).await;
    if written.is_err() {
        cx.complaints.settle(id);
    }
    written.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_until_a_pass_comes_through() {
        let complaints = Complaints::default();
        let id = |name: &str| ("ns".to_owned(), name.to_owned());
        assert!(complaints.is_news(&id("a"), "x"));
        assert!(!complaints.is_news(&id("a"), "x"));
        assert!(complaints.is_news(&id("b"), "x"), "another Canary");
        assert!(complaints.is_news(&id("a"), "y"));
        complaints.settle(&id("a"));
        assert!(complaints.is_news(&id("a"), "y"));
        assert!(!complaints.is_news(&id("b"), "x"));
    }
}
