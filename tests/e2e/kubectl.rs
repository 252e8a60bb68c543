//! The real `kubectl`, and what programs said.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What a program answered.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Its output; it must have succeeded.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert!(self.ok, "{}{}", self.out, self.err);
        self.out
    }

    /// Its complaint; it must have failed.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert!(!self.ok, "not refused: {}", self.out);
        self.err
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.good()).unwrap()
    }
}

/// kubectl 1.28 or newer on PATH (`hack/test` finds one).
pub(crate) async fn kubectl() -> Option<PathBuf> {
    let found = on_path("kubectl")?;
    let asked = Command::new(&found)
        .args(["version", "--client", "-o", "json"])
        .output()
        .await
        .ok()?;
    let version: Value = serde_json::from_slice(&asked.stdout).ok()?;
    let minor = version["clientVersion"]["minor"]
        .as_str()?
        .trim_end_matches('+')
        .parse::<u32>()
        .ok()?;
    (minor >= 28).then_some(found)
}

/// A program on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Runs a program to its end.
pub(crate) async fn said(command: &mut Command, stdin: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // A program that reads nothing closes the pipe first.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    Said {
        ok: output.status.success(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
