//! What `verdigris status` shows of a Canary. Pure: the object and its events in, lines or a document out.
//!
//! Tolerant: a Canary whose spec cannot be obeyed, or whose status another program wrote, is shown as far as it says.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::model::canary::{Canary, HookKind};
use crate::model::notice::printable;
use crate::model::parse::{self, Settings};
use crate::model::status::{self, Stage, Status, seconds};
use crate::rollout::iterations;

/// Width of the progress bar, characters.
const BAR: u32 = 24;
/// Events shown.
const EVENTS: usize = 10;
/// Checks shown.
const CHECKS: usize = 10;

/// A Canary as far as it can be read.
pub struct View<'a> {
    object: &'a Value,
    /// Its status; empty when it cannot be read.
    pub status: Status,
    canary: Option<Canary>,
}

impl<'a> View<'a> {
    /// Reads a Canary.
    pub fn of(object: &'a Value) -> Self {
        let settings = Settings {
            min_interval: Duration::ZERO,
            ..Settings::default()
        };
        Self {
            status: status::read(object.get("status")).unwrap_or_default(),
            canary: parse::canary(object, &settings).canary,
            object,
        }
    }

    fn text(&self, pointer: &str) -> &'a str {
        self.object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The phase as stored, whoever wrote it; `Pending` before the first.
    pub fn phase(&self) -> &'a str {
        Some(self.text("/status/phase"))
            .filter(|phase| !phase.is_empty())
            .unwrap_or("Pending")
    }

    fn total(&self) -> Option<u32> {
        self.canary
            .as_ref()
            .map(|canary| iterations(&canary.analysis.strategy))
    }

    /// `3/5`, while and after a revision is judged.
    fn steps(&self) -> Option<(u32, u32)> {
        let total = self.total()?;
        let done = match self.status.stage {
            Stage::Progressing | Stage::WaitingPromotion => self.status.iterations.min(total),
            Stage::Promoting | Stage::Finalising => total,
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Waiting
            | Stage::Succeeded
            | Stage::Failed
            | Stage::Terminating
            | Stage::Terminated => return None,
        };
        Some((done, total))
    }

    fn threshold(&self) -> Option<u32> {
        self.canary.as_ref().map(|canary| canary.analysis.threshold.get())
    }

    fn target(&self) -> String {
        format!(
            "{}/{}",
            self.text("/spec/targetRef/kind"),
            self.text("/spec/targetRef/name")
        )
    }

    fn is_suspended(&self) -> bool {
        self.object.pointer("/spec/suspend") == Some(&Value::Bool(true))
    }

    fn held(&self) -> Option<&'static str> {
        if self.is_suspended() {
            Some("suspended")
        } else {
            self.status.paused.then_some("paused")
        }
    }

    /// The gates that are closed, by name.
    fn gates(&self) -> Vec<(&'static str, &str)> {
        let kind = match self.status.stage {
            Stage::Waiting => HookKind::ConfirmRollout,
            Stage::WaitingPromotion => HookKind::ConfirmPromotion,
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Progressing
            | Stage::Promoting
            | Stage::Finalising
            | Stage::Succeeded
            | Stage::Failed
            | Stage::Terminating
            | Stage::Terminated => return Vec::new(),
        };
        let hooks = self
            .canary
            .iter()
            .flat_map(|canary| canary.analysis.hooks_of(kind));
        hooks
            .map(|(_, hook)| (kind.as_str(), hook.name.as_str()))
            .collect()
    }

    /// The checks as kept in the status, newest last.
    fn checks(&self) -> &'a [Value] {
        self.object["status"]["checks"]
            .as_array()
            .map_or(&[], Vec::as_slice)
    }

    /// When the next check is due, while one is.
    fn due(&self, now: Timestamp) -> Option<SignedDuration> {
        match self.status.stage {
            Stage::Progressing | Stage::WaitingPromotion | Stage::Waiting if self.held().is_none() => {}
            _ => return None,
        }
        let interval = SignedDuration::try_from(self.canary.as_ref()?.analysis.interval).ok()?;
        let due = self.status.last_check?.checked_add(interval).ok()?;
        Some(due.duration_since(now).max(SignedDuration::ZERO))
    }

    /// One line that changes when something happened.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{}.{} {}",
            self.text("/metadata/name"),
            self.text("/metadata/namespace"),
            self.phase()
        );
        if let Some((done, total)) = self.steps() {
            let _ = write!(line, " {done}/{total}");
        }
        if self.status.failed_checks > 0 {
            let _ = write!(
                line,
                ", failed checks {}{}",
                self.status.failed_checks,
                of(self.threshold())
            );
        }
        for (kind, name) in self.gates() {
            let _ = write!(line, ", waiting for {kind} {name}");
        }
        if let Some(held) = self.held() {
            let _ = write!(line, ", {held}");
        }
        if let Some(stalled) = self.stalled() {
            let _ = write!(line, ", {stalled}");
        }
        line
    }

    /// Why nothing goes on, if so.
    pub fn stalled(&self) -> Option<String> {
        let stalled = self
            .status
            .conditions
            .iter()
            .find(|one| one.kind == "Stalled" && one.status == "True")?;
        let message = printable(stalled.message.lines().next().unwrap_or_default());
        Some(format!("stalled: {}: {message}", stalled.reason))
    }

    /// Everything, for a person.
    pub fn lines(&self, events: &[Value], now: Timestamp) -> Vec<String> {
        let status = &self.status;
        let mut lines = Vec::new();
        let mut head = format!(
            "{}.{}  {}",
            self.text("/metadata/name"),
            self.text("/metadata/namespace"),
            self.phase()
        );
        if let Some((done, total)) = self.steps() {
            let _ = write!(head, "  {}  iteration {done}/{total}", bar(done, total));
        }
        if let Some(held) = self.held() {
            let _ = write!(head, "  ({held})");
        }
        lines.push(head);
        let mut row = |name: &str, text: String| lines.push(format!("  {name:<10} {text}"));
        let short = |hash: &str| {
            if hash.is_empty() {
                "none".to_owned()
            } else {
                hash.chars().take(15).collect()
            }
        };
        row("target", self.target());
        let revision = |hash: &str, generation: i64| match generation {
            0 => short(hash),
            generation => format!("{}, target generation {generation}", short(hash)),
        };
        row("judged", revision(&status.last_applied, status.judged_generation));
        row(
            "promoted",
            revision(&status.last_promoted, status.promoted_generation),
        );
        if self.steps().is_some() || status.failed_checks > 0 {
            let mut text = format!("{} failed{}", status.failed_checks, of(self.threshold()));
            if let Some(last) = status.last_check {
                let _ = write!(text, ", last {} ago", age(last, now));
            }
            if let Some(due) = self.due(now) {
                let _ = write!(text, ", next in {} s", due.as_secs());
            }
            row("checks", text);
        }
        let checks = self.checks();
        for check in checks.iter().skip(checks.len().saturating_sub(CHECKS)) {
            row("", checked(check, now));
        }
        for (kind, name) in self.gates() {
            row(
                "waiting",
                format!(
                    "{kind} {name}; open the gate, or verdigris promote {}",
                    self.text("/metadata/name")
                ),
            );
        }
        if let Some(failure) = status
            .last_failure
            .as_ref()
            .filter(|_| status.stage == Stage::Failed)
        {
            let text = format!(
                "{}: {} ({} ago)",
                failure.reason,
                printable(&failure.message),
                age(failure.time, now)
            );
            row("failure", text);
        }
        if let Some(contest) = &status.contest {
            row(
                "contested",
                format!(
                    "{} is kept by {}",
                    printable(&contest.field),
                    printable(&contest.manager)
                ),
            );
        }
        if let Some(order) = &status.last_order {
            let outcome = order.outcome.as_str().to_lowercase();
            let text = format!(
                "{} {outcome}: {} ({} ago)",
                order.verb,
                printable(&order.message),
                age(order.at, now)
            );
            row("order", text);
        }
        for condition in &status.conditions {
            let message = printable(&condition.message);
            row(
                "condition",
                format!(
                    "{}={} {}: {message}",
                    condition.kind, condition.status, condition.reason
                ),
            );
        }
        let events = sorted(events);
        if !events.is_empty() {
            lines.push("  events".to_owned());
        }
        for event in events.iter().skip(events.len().saturating_sub(EVENTS)) {
            lines.push(format!("    {}", event_line(event, now)));
        }
        lines
    }

    /// Everything, for a program.
    pub fn document(&self, events: &[Value]) -> Value {
        let status = &self.status;
        let gates: Vec<Value> = self
            .gates()
            .iter()
            .map(|(kind, name)| json!({"type": kind, "name": name}))
            .collect();
        let events: Vec<Value> = sorted(events)
            .iter()
            .map(|event| {
                json!({
                    "time": event["lastTimestamp"], "type": event["type"], "reason": event["reason"],
                    "message": event["message"], "count": event["count"],
                })
            })
            .collect();
        json!({
            "namespace": self.text("/metadata/namespace"),
            "name": self.text("/metadata/name"),
            "phase": self.text("/status/phase"),
            "target": {"kind": self.text("/spec/targetRef/kind"), "name": self.text("/spec/targetRef/name")},
            "suspended": self.is_suspended(),
            "paused": status.paused,
            "iteration": status.iterations,
            "iterations": self.total(),
            "failedChecks": status.failed_checks,
            "threshold": self.threshold(),
            "lastCheckTime": status.last_check.map(status::micros),
            "judged": {"revision": status.last_applied, "targetGeneration": status.judged_generation},
            "promoted": {"revision": status.last_promoted, "targetGeneration": status.promoted_generation},
            "waitingFor": gates,
            "checks": self.checks(),
            "conditions": self.object.pointer("/status/conditions").cloned().unwrap_or_else(|| json!([])),
            "lastOrder": status.last_order.as_ref().map(|order| json!({
                "id": order.id, "verb": order.verb, "outcome": order.outcome.as_str(), "message": order.message,
                "time": seconds(order.at),
            })),
            "events": events,
        })
    }
}

/// A table of many.
pub fn table(canaries: &[Value], all: bool, now: Timestamp) -> Vec<String> {
    let mut rows = vec![
        [
            "NAMESPACE",
            "NAME",
            "PHASE",
            "ITERATION",
            "FAILED",
            "TARGET",
            "CHANGED",
        ]
        .map(str::to_owned),
    ];
    for object in canaries {
        let view = View::of(object);
        let mut phase = view.phase().to_owned();
        if let Some(held) = view.held() {
            let _ = write!(phase, " ({held})");
        } else if view.stalled().is_some() {
            phase.push_str(" (stalled)");
        }
        rows.push([
            view.text("/metadata/namespace").to_owned(),
            view.text("/metadata/name").to_owned(),
            phase,
            view.steps()
                .map_or_else(|| "-".to_owned(), |(done, total)| format!("{done}/{total}")),
            format!(
                "{}{}",
                view.status.failed_checks,
                view.threshold().map_or_else(String::new, |of| format!("/{of}"))
            ),
            view.target(),
            view.status
                .last_transition
                .map_or_else(|| "-".to_owned(), |at| age(at, now)),
        ]);
    }
    let first = usize::from(!all);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..7).map(width).collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for column in first..7 {
                let _ = write!(line, "{:<width$}   ", row[column], width = widths[column]);
            }
            line.trim_end().to_owned()
        })
        .collect()
}

/// One event.
pub fn event_line(event: &Value, now: Timestamp) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let ago = text("lastTimestamp")
        .parse()
        .map_or_else(|_| "?".to_owned(), |at| age(at, now));
    let times = event["count"].as_i64().filter(|count| *count > 1);
    let times = times.map_or_else(String::new, |count| format!(" (×{count})"));
    format!(
        "{ago:>5}  {:<7}  {}{times}",
        text("type"),
        printable(text("message"))
    )
}

/// Oldest first.
pub fn sorted(events: &[Value]) -> Vec<&Value> {
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| {
        let version = event.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let version = version.and_then(|version| version.parse::<u64>().ok());
        (event["lastTimestamp"].as_str().unwrap_or_default(), version)
    });
    events
}

/// A check as kept in the status: `12s  metric errors 3.5 (<= 5) Passed`.
fn checked(check: &Value, now: Timestamp) -> String {
    let part = |key: &str| check[key].as_str().map(printable).filter(|part| !part.is_empty());
    let ago = check["time"].as_str().and_then(|time| time.parse().ok());
    let mut text = ago.map_or_else(String::new, |at| format!("{:>4}  ", age(at, now)));
    let words = [
        part("kind"),
        part("name"),
        part("value"),
        part("threshold").map(|range| format!("({range})")),
    ];
    let words = words
        .into_iter()
        .chain([part("verdict"), part("message")])
        .flatten();
    text.push_str(&words.collect::<Vec<_>>().join(" "));
    text
}

fn of(threshold: Option<u32>) -> String {
    threshold.map_or_else(String::new, |threshold| format!(" of {threshold}"))
}

fn bar(done: u32, total: u32) -> String {
    let full = (BAR * done.min(total)).checked_div(total).unwrap_or_default() as usize;
    format!("[{}{}]", "=".repeat(full), " ".repeat(BAR as usize - full))
}

/// `12s`, `5m`, `3h`, `2d`.
fn age(at: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(at).as_secs().max(0);
    match passed {
        0..120 => format!("{passed}s"),
        120..7_200 => format!("{}m", passed / 60),
        7_200..172_800 => format!("{}h", passed / 3600),
        _ => format!("{}d", passed / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(status: &Value) -> Value {
        json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "test"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
                "service": {"port": 80},
                "analysis": {
                    "interval": "10s", "threshold": 2, "iterations": 5,
                    "webhooks": [{"name": "gate", "type": "confirm-promotion", "url": "http://gate.test/"}],
                },
            },
            "status": status,
        })
    }

    fn now() -> Timestamp {
        "2026-01-02T03:04:15Z".parse().unwrap()
    }

    #[test]
    fn a_run_is_shown_with_its_progress() {
        let object = canary(&json!({
            "phase": "Progressing", "iterations": 3, "failedChecks": 1, "lastAppliedSpec": "v1:0123456789abcdef",
            "lastCheckTime": "2026-01-02T03:04:11.000000Z", "judgedTargetGeneration": 7, "paused": false,
            "checks": [{
                "time": "2026-01-02T03:04:11Z", "kind": "metric", "name": "errors", "value": "3.5", "threshold": "<= 5",
                "verdict": "Passed",
            }],
            "conditions": [{"type": "Promoted", "status": "Unknown", "reason": "Progressing", "message": "m"}],
        }));
        let event = json!({
            "lastTimestamp": "2026-01-02T03:04:05Z", "type": "Normal", "count": 2, "message": "Advance\u{1b}[31m",
        });
        let lines = View::of(&object).lines(&[event], now()).join("\n");
        assert_eq!(
            lines,
            "podinfo.test  Progressing  [==============          ]  iteration 3/5\n  \
             target     Deployment/podinfo\n  \
             judged     v1:0123456789ab, target generation 7\n  \
             promoted   none\n  \
             checks     1 failed of 2, last 4s ago, next in 6 s\n               \
             4s  metric errors 3.5 (<= 5) Passed\n  \
             condition  Promoted=Unknown Progressing: m\n  \
             events\n      \
             10s  Normal   Advance [31m (×2)"
        );
        assert_eq!(
            View::of(&object).line(),
            "podinfo.test Progressing 3/5, failed checks 1 of 2"
        );
        let document = View::of(&object).document(&[]);
        assert_eq!(
            (&document["iteration"], &document["iterations"]),
            (&json!(3), &json!(5))
        );
    }

    #[test]
    fn what_holds_a_run_is_shown() {
        let waiting = canary(&json!({"phase": "WaitingPromotion", "iterations": 4, "paused": true}));
        assert_eq!(
            View::of(&waiting).line(),
            "podinfo.test WaitingPromotion 4/5, waiting for confirm-promotion gate, paused"
        );
        let stalled = canary(&json!({
            "phase": "Succeeded",
            "conditions": [{"type": "Stalled", "status": "True", "reason": "TargetNotFound", "message": "gone\nmore"}],
        }));
        assert_eq!(
            View::of(&stalled).line(),
            "podinfo.test Succeeded, stalled: TargetNotFound: gone"
        );
        let table = table(&[waiting, stalled], false, now());
        assert_eq!(
            table[0],
            "NAME      PHASE                       ITERATION   FAILED   TARGET               CHANGED"
        );
        assert!(table[1].contains("WaitingPromotion (paused)") && table[2].contains("Succeeded (stalled)"));
    }

    #[test]
    fn anything_is_shown_somehow() {
        for object in [
            json!({}),
            json!({"spec": 1, "status": []}),
            canary(&json!({"phase": "Dancing"})),
        ] {
            let view = View::of(&object);
            assert!(!view.lines(&[], now()).is_empty());
            assert!(view.document(&[]).is_object());
        }
        assert_eq!(View::of(&json!({})).phase(), "Pending");
    }
}
