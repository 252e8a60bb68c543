//! Runs tasks: background ones once at a time per Canary and command, blocking ones while the hook waits.
use std::collections::HashSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use tokio_util::task::TaskTracker;

use super::hey;
use super::task::{Payload, Task};

/// Longest output kept of a command, in bytes.
const MAX_OUTPUT: usize = 64 << 10;

/// Runs tasks of every Canary.
#[derive(Clone)]
pub struct Runner {
    timeout: Duration,
    running: Arc<Mutex<HashSet<(String, String)>>>,
    tracker: TaskTracker,
}

/// What a hook is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 202: it runs beside.
    Accepted,
    /// 200, with output if asked for.
    Done(String),
    /// 500: it failed.
    Failed(String),
}

impl Runner {
    /// A runner that kills every command after `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            running: Arc::default(),
            tracker: TaskTracker::new(),
        }
    }

    /// Runs a task, or starts it.
    pub async fn run(&self, task: Task, payload: &Payload) -> Outcome {
        let canary = format!("{}.{}", payload.name, payload.namespace);
        match task {
            Task::Background { command, log_output } => {
                let timeout = self.timeout;
                self.beside(canary, command.clone(), async move {
                    let arguments = ["-c".to_owned(), command];
                    match execute("sh", &arguments, timeout).await {
                        Ok(output) if log_output => Ok(format!(": {output}")),
                        Ok(_) => Ok(String::new()),
                        Err(error) => Err(error),
                    }
                });
                Outcome::Accepted
            }
            Task::Load { command, load } => {
                let timeout = self.timeout;
                self.beside(canary, command, async move {
                    let outcome = hey::generate(&load, timeout)
                        .await
                        .map_err(|error| error.to_string())?;
                    if outcome.answered() == 0 {
                        Err(outcome.to_string())
                    } else {
                        Ok(format!(": {outcome}"))
                    }
                });
                Outcome::Accepted
            }
            Task::Blocking {
                command,
                program,
                arguments,
                return_output,
            } => {
                tracing::info!(canary, "task starting {command}");
                match execute(&program, &arguments, self.timeout).await {
                    Ok(output) => {
                        tracing::info!(canary, "command finished {command}: {output}");
                        Outcome::Done(if return_output { output } else { String::new() })
                    }
                    Err(error) => {
                        tracing::warn!(canary, "command failed {command}: {error}");
                        Outcome::Failed(format!("command {command} failed: {error}"))
                    }
                }
            }
        }
    }

    fn beside(
        &self,
        canary: String,
        command: String,
        work: impl Future<Output = Result<String, String>> + Send + 'static,
    ) {
        let key = (canary, command);
        if !self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone())
        {
            tracing::info!(canary = key.0, "command skipped {} is already running", key.1);
            return;
        }
        let running = Arc::clone(&self.running);
        self.tracker.spawn(async move {
            tracing::info!(canary = key.0, "task starting {}", key.1);
            match work.await {
                Ok(output) => tracing::info!(canary = key.0, "command finished {}{output}", key.1),
                Err(error) => tracing::warn!(canary = key.0, "command failed {}: {error}", key.1),
            }
            running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&key);
        });
    }
}

/// Runs a program to its end; the output is stdout and stderr together, cut at [`MAX_OUTPUT`].
async fn execute(program: &str, arguments: &[String], timeout: Duration) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(timeout, command.output()).await {
        Err(_) => return Err(format!("still running after {} s", timeout.as_secs())),
        Ok(Err(error)) => return Err(format!("{program}: {error}")),
        Ok(Ok(output)) => output,
    };
    let mut bytes = output.stdout;
    bytes.extend_from_slice(&output.stderr);
    bytes.truncate(MAX_OUTPUT);
    let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{text}: {}", output.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn payload() -> Payload {
        Payload {
            name: "a".into(),
            namespace: "b".into(),
            phase: String::new(),
            metadata: BTreeMap::new(),
        }
    }

    fn bash(command: &str, timeout: u64) -> (Runner, Task) {
        let task = Task::Blocking {
            command: command.into(),
            program: "sh".into(),
            arguments: vec!["-c".into(), command.into()],
            return_output: true,
        };
        (Runner::new(Duration::from_millis(timeout)), task)
    }

    #[tokio::test]
    async fn blocking_commands_answer_with_their_end() {
        let (runner, task) = bash("echo out; echo err >&2", 10_000);
        assert_eq!(
            runner.run(task, &payload()).await,
            Outcome::Done("out\nerr".into())
        );
        let (runner, task) = bash("echo no; exit 3", 10_000);
        let Outcome::Failed(text) = runner.run(task, &payload()).await else {
            panic!("it failed")
        };
        assert!(text.contains("no") && text.contains('3'), "{text}");
        let (runner, task) = bash("exec tail -f /dev/null", 100);
        let Outcome::Failed(text) = runner.run(task, &payload()).await else {
            panic!("it was killed")
        };
        assert!(text.contains("still running"), "{text}");
    }

    #[tokio::test]
    async fn the_same_command_runs_once_at_a_time() {
        let runner = Runner::new(Duration::from_secs(10));
        let (release, gate) = tokio::sync::oneshot::channel::<()>();
        runner.beside("a.b".into(), "x".into(), async move {
            let _ = gate.await;
            Ok(String::new())
        });
        runner.beside("a.b".into(), "x".into(), async {
            panic!("a second run of the same command")
        });
        assert_eq!(runner.tracker.len(), 1);
        release.send(()).unwrap();
        runner.tracker.close();
        runner.tracker.wait().await;
        assert!(runner.running.lock().unwrap().is_empty());
    }
}
