//! What an operator orders: one annotation on the Canary, JSON, written by `verdigris promote` and its siblings or by
//! hand.
//!
//! Not a field of `spec`: a GitOps tool that applies the manifest again would take it back, and `metadata.generation`
//! would move although nothing was edited. An order has an id; what became of it is kept in `status.lastOrder`, so it is
//! honoured once, however often the process dies. It may name the run and the object it was given for, so that it
//! never hits the next run, nor a copy of the object restored elsewhere.

use serde_json::{Value, json};

use super::revision;

/// Where an order is written.
pub const ANNOTATION: &str = "verdigris.dev/order";

/// Longest order read, in bytes.
const MAX_LENGTH: usize = 1024;
/// Longest id, in bytes.
const MAX_ID: usize = 64;

/// What can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Promote the running revision without further analysis; gates are passed too.
    Promote,
    /// Roll the running revision back, now.
    Abort,
    /// Judge the failed revision again.
    Retry,
    /// Hold everything as it is.
    Pause,
    /// Go on.
    Resume,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 5] = [Verb::Promote, Verb::Abort, Verb::Retry, Verb::Pause, Verb::Resume];

    /// The word in annotations, events and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Promote => "promote",
            Verb::Abort => "abort",
            Verb::Retry => "retry",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
        }
    }
}

/// An order as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Tells this order from the one before it.
    pub id: String,
    /// What is ordered.
    pub verb: Verb,
    /// The run it was given for (`rollout::checksum` of the status then); `None` means whichever runs.
    pub run: Option<String>,
    /// `metadata.uid` of the object it was given to; `None` means whichever carries it.
    pub uid: Option<String>,
}

/// An annotation that is no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Stands in for the id: the same text has the same.
    pub id: String,
    /// What was found, what is expected.
    pub why: String,
}

/// Reads the annotation. Members that are not known are ignored.
pub fn read(text: &str) -> Result<Order, Malformed> {
    let malformed = |found: String| Malformed {
        id: revision::hash(&json!(text)).chars().take(MAX_ID).collect(),
        why: format!(
            "{found}; expected {{\"verb\": \"promote\", \"id\": \"1\"}} with a verb of promote, abort, retry, pause, \
             resume and an id that is new; use verdigris promote and its siblings, or mend the annotation"
        ),
    };
    if text.len() > MAX_LENGTH {
        return Err(malformed(format!("{} bytes", text.len())));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| malformed(format!("not JSON ({error})")))?;
    let part = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .filter(|part| !part.is_empty())
    };
    let verb = part("verb").and_then(|word| Verb::ALL.into_iter().find(|verb| verb.as_str() == word));
    let verb = verb.ok_or_else(|| malformed(format!("verb {}", value["verb"])))?;
    let id = part("id").filter(|id| id.len() <= MAX_ID && !id.chars().any(char::is_control));
    let id = id.ok_or_else(|| malformed(format!("id {}", value["id"])))?;
    Ok(Order {
        id: id.to_owned(),
        verb,
        run: part("run").map(str::to_owned),
        uid: part("uid").map(str::to_owned),
    })
}

/// The annotation's text.
pub fn write(order: &Order) -> String {
    let mut object = json!({"verb": order.verb.as_str(), "id": order.id});
    for (key, part) in [("run", &order.run), ("uid", &order.uid)] {
        if let Some(part) = part {
            object[key] = json!(part);
        }
    }
    object.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for verb in Verb::ALL {
            for (run, uid) in [(None, None), (Some("0123456789abcdef"), Some("u-1"))] {
                let order = Order {
                    id: "7".to_owned(),
                    verb,
                    run: run.map(str::to_owned),
                    uid: uid.map(str::to_owned),
                };
                assert_eq!(read(&write(&order)), Ok(order));
            }
        }
    }

    #[test]
    fn what_is_no_order_says_what_is() {
        let long = "x".repeat(MAX_ID + 1);
        let table = [
            ("", "not JSON"),
            ("promote", "not JSON"),
            ("[]", "verb null"),
            (r#"{"verb": "demote", "id": "1"}"#, "verb \"demote\""),
            (r#"{"verb": "abort"}"#, "id null"),
            (r#"{"verb": "abort", "id": ""}"#, "id \"\""),
            (r#"{"verb": "abort", "id": 1}"#, "id 1"),
            (r#"{"verb": "abort", "id": "a\nb"}"#, "id"),
            (&format!(r#"{{"verb": "abort", "id": "{long}"}}"#), "id"),
            (&" ".repeat(MAX_LENGTH + 1), "1025 bytes"),
        ];
        for (text, found) in table {
            let error = read(text).unwrap_err();
            assert!(error.why.starts_with(found), "{text}: {}", error.why);
            assert_eq!(error.id, read(text).unwrap_err().id);
        }
    }
}
