//! What a hook asks for: the payload's metadata → a [`Task`]. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::hey::{self, Load};

/// The payload of a Canary hook (flagger-behaviour §2.7).
#[derive(Debug, Clone, Deserialize)]
pub struct Payload {
    /// Canary.
    #[serde(default)]
    pub name: String,
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// Its phase.
    #[serde(default)]
    pub phase: String,
    /// What to do.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Answered at once, run beside: a shell command.
    Background {
        /// For `sh -c`.
        command: String,
        /// Log the output also when it succeeds.
        log_output: bool,
    },
    /// Answered at once, run beside: load from the built-in generator.
    Load {
        /// The command it was written as.
        command: String,
        /// What to send.
        load: Load,
    },
    /// Answered when done: the program and its arguments.
    Blocking {
        /// The command as written.
        command: String,
        /// Program.
        program: String,
        /// Arguments.
        arguments: Vec<String>,
        /// Put the output into the answer.
        return_output: bool,
    },
}

/// Why a payload is no task: HTTP 400 with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTask {
    /// No metadata.
    #[error("metadata not found in payload")]
    NoMetadata,
    /// No command.
    #[error("cmd not found in metadata")]
    NoCommand,
    /// Not a type we run.
    #[error("unknown task type {0}; expected cmd, bash, helm, helmv3 or kubectl")]
    UnknownType(String),
    /// A `hey` command that cannot be understood.
    #[error("{0}")]
    Hey(#[from] hey::Misuse),
}

/// Reads the task out of a payload.
pub fn task(payload: &Payload) -> Result<Task, NoTask> {
    let metadata = &payload.metadata;
    if metadata.is_empty() {
        return Err(NoTask::NoMetadata);
    }
    let kind = metadata.get("type").map_or("cmd", String::as_str);
    let command = metadata
        .get("cmd")
        .map(String::as_str)
        .unwrap_or_default()
        .trim()
        .to_owned();
    let flag = |key: &str| metadata.get(key).is_some_and(|value| is_true(value));
    match kind {
        "cmd" | "bash" if command.is_empty() => Err(NoTask::NoCommand),
        "cmd" => match hey::parse(&command)? {
            Some(load) => Ok(Task::Load { command, load }),
            None => Ok(Task::Background {
                command,
                log_output: flag("logCmdOutput"),
            }),
        },
        "bash" => Ok(Task::Blocking {
            program: "bash".to_owned(),
            arguments: vec!["-c".to_owned(), command.clone()],
            command,
            return_output: flag("returnCmdOutput"),
        }),
        "helm" | "helmv3" | "kubectl" => Ok(Task::Blocking {
            program: kind.to_owned(),
            arguments: command.split_whitespace().map(str::to_owned).collect(),
            command,
            return_output: flag("returnCmdOutput"),
        }),
        other => Err(NoTask::UnknownType(other.to_owned())),
    }
}

/// Go's `strconv.ParseBool`.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(pairs: &[(&str, &str)]) -> Payload {
        Payload {
            name: "podinfo".into(),
            namespace: "test".into(),
            phase: "Progressing".into(),
            metadata: pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn q27_what_cannot_be_run_is_refused_with_a_reason() {
        let unknown = task(&payload(&[("type", "ngrinderr"), ("cmd", "x")])).unwrap_err();
        assert!(unknown.to_string().contains("ngrinderr"), "{unknown}");
        for kind in ["cmd", "bash"] {
            assert_eq!(task(&payload(&[("type", kind)])), Err(NoTask::NoCommand));
        }
    }

    #[test]
    fn metadata_decides() {
        assert_eq!(task(&payload(&[])), Err(NoTask::NoMetadata));
        assert_eq!(task(&payload(&[("type", "cmd")])), Err(NoTask::NoCommand));
        assert_eq!(
            task(&payload(&[("type", "bash")])),
            Err(NoTask::NoCommand),
            "an empty test proves nothing (Q-27)"
        );
        assert_eq!(
            task(&payload(&[("type", "ngrinderr"), ("cmd", "x")])),
            Err(NoTask::UnknownType("ngrinderr".into()))
        );
        assert_eq!(
            task(&payload(&[
                ("cmd", "wrk -t1 http://a/"),
                ("logCmdOutput", "true")
            ])),
            Ok(Task::Background {
                command: "wrk -t1 http://a/".into(),
                log_output: true
            })
        );
        assert!(matches!(
            task(&payload(&[("cmd", "hey -z 1m -q 10 -c 2 http://a.test:9898/")])),
            Ok(Task::Load { .. })
        ));
        assert_eq!(
            task(&payload(&[
                ("type", "bash"),
                ("cmd", "exit 0"),
                ("returnCmdOutput", "t")
            ])),
            Ok(Task::Blocking {
                command: "exit 0".into(),
                program: "bash".into(),
                arguments: vec!["-c".into(), "exit 0".into()],
                return_output: true
            })
        );
    }
}
