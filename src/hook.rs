//! Canary webhooks: payload out, verdict in. Pure.
//!
//! The payload is Flagger's: `{"name","namespace","phase","checksum","metadata"}`; event hooks add the reserved
//! metadata keys `eventMessage`, `eventType` and `timestamp` (flagger-behaviour §2.7, §2.8).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::canary::{Hook, Identity};
use crate::model::notice::{Severity, printable};
use crate::model::status::Stage;

/// The body POSTed to a hook.
pub fn payload(id: &Identity, phase: Stage, checksum: &str, metadata: &BTreeMap<String, String>) -> Value {
    let mut body = json!({
        "name": id.name,
        "namespace": id.namespace,
        "phase": phase.as_str(),
        "checksum": checksum,
    });
    if !metadata.is_empty() {
        body["metadata"] = json!(metadata);
    }
    body
}

/// The metadata of an event hook: the user's, with Flagger's reserved keys on top. `millis` is Unix time in ms.
pub fn event_metadata(hook: &Hook, text: &str, severity: Severity, millis: i64) -> BTreeMap<String, String> {
    let kind = match severity {
        Severity::Info => "Normal",
        Severity::Warning | Severity::Error => "Warning",
    };
    let mut metadata = hook.metadata.clone();
    metadata.insert("eventMessage".to_owned(), text.to_owned());
    metadata.insert("eventType".to_owned(), kind.to_owned());
    metadata.insert("timestamp".to_owned(), millis.to_string());
    metadata
}

/// True when the answer approves: any 2xx (Flagger refused 203 and 204, Q-34).
pub fn approves(status: u16) -> bool {
    (200..300).contains(&status)
}

/// True when another attempt may help: 429 and 5xx, except 501.
pub fn may_retry(status: u16) -> bool {
    status == 429 || (status >= 500 && status != 501)
}

/// What a refusal says: the body if there is one, else the status; printable, at most [`crate::model::notice::MAX_TEXT`] characters.
pub fn refusal(status: u16, body: &[u8]) -> String {
    let text = printable(&String::from_utf8_lossy(body));
    if text.is_empty() {
        format!("HTTP {status}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::notice::MAX_TEXT;

    #[test]
    fn payload_has_flaggers_shape() {
        let id = Identity {
            namespace: "test".into(),
            name: "podinfo".into(),
            uid: "u".into(),
        };
        let empty = BTreeMap::new();
        assert_eq!(
            payload(&id, Stage::Progressing, "abc", &empty),
            json!({"name": "podinfo", "namespace": "test", "phase": "Progressing", "checksum": "abc"})
        );
        let some = BTreeMap::from([("cmd".to_owned(), "true".to_owned())]);
        assert_eq!(
            payload(&id, Stage::Failed, "abc", &some)["metadata"],
            json!({"cmd": "true"})
        );
    }

    #[test]
    fn two_hundreds_approve_and_only_passing_faults_are_retried() {
        for (status, approved, retried) in [
            (200, true, false),
            (202, true, false),
            (204, true, false),
            (302, false, false),
            (403, false, false),
            (429, false, true),
            (500, false, true),
            (501, false, false),
            (503, false, true),
        ] {
            assert_eq!(
                (approves(status), may_retry(status)),
                (approved, retried),
                "{status}"
            );
        }
    }

    #[test]
    fn a_refusal_is_short_and_printable() {
        assert_eq!(refusal(500, b""), "HTTP 500");
        assert_eq!(refusal(500, b"no\n\x07 luck\n"), "no luck");
        assert_eq!(
            refusal(500, "x".repeat(5000).as_bytes()).chars().count(),
            MAX_TEXT
        );
    }
}
