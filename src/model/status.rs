//! The status a Canary keeps: Flagger's phases, counters and hashes, plus the few fields of ours that make every
//! decision repeatable after a crash.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};

/// Flagger's `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Not yet seen (empty phase).
    #[default]
    New,
    /// The primary is being created.
    Initializing,
    /// Primary and Services exist, the target is parked at zero.
    Initialized,
    /// The confirm-rollout gate is closed.
    Waiting,
    /// The canary is scaled up and being judged.
    Progressing,
    /// The confirm-promotion gate is closed; checks go on.
    WaitingPromotion,
    /// The judged template is being rolled out to the primary.
    Promoting,
    /// Traffic is back on the primary; the canary is about to be parked.
    Finalising,
    /// Done.
    Succeeded,
    /// Rolled back.
    Failed,
    /// The finalizer is running.
    Terminating,
    /// In Flagger's enum, never written.
    Terminated,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Stage; 12] = [
        Stage::New,
        Stage::Initializing,
        Stage::Initialized,
        Stage::Waiting,
        Stage::Progressing,
        Stage::WaitingPromotion,
        Stage::Promoting,
        Stage::Finalising,
        Stage::Succeeded,
        Stage::Failed,
        Stage::Terminating,
        Stage::Terminated,
    ];

    /// The wire form (`status.phase`).
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::New => "",
            Stage::Initializing => "Initializing",
            Stage::Initialized => "Initialized",
            Stage::Waiting => "Waiting",
            Stage::Progressing => "Progressing",
            Stage::WaitingPromotion => "WaitingPromotion",
            Stage::Promoting => "Promoting",
            Stage::Finalising => "Finalising",
            Stage::Succeeded => "Succeeded",
            Stage::Failed => "Failed",
            Stage::Terminating => "Terminating",
            Stage::Terminated => "Terminated",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A `status.phase` nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "status.phase: {0:?} is not a phase; expected one of Flagger's; clear it with `kubectl patch --subresource=status`"
)]
pub struct UnknownStage(pub String);

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Stage::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| UnknownStage(text.to_owned()))
    }
}

/// What the controller remembers between passes (`Canary.status`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// `phase`.
    pub stage: Stage,
    /// `failedChecks`: cumulative over the run.
    pub failed_checks: u32,
    /// `canaryWeight`, percent.
    pub canary_weight: u8,
    /// `iterations` done in this run.
    pub iterations: u32,
    /// `lastAppliedSpec`: the revision under judgement or last judged. Empty before the first.
    pub last_applied: String,
    /// `lastPromotedSpec`: the revision the primary runs. Empty before the first.
    pub last_promoted: String,
    /// `trackedConfigs`: `configmap/NAME` or `secret/NAME` → checksum.
    pub tracked_configs: Option<BTreeMap<String, String>>,
    /// `promotedConfigs` (ours): what `trackedConfigs` was when `lastPromotedSpec` was promoted. With it a promoted
    /// config that comes back is known as such, and a lost primary is rebuilt with the configs it had.
    pub promoted_configs: Option<BTreeMap<String, String>>,
    /// `lastTransitionTime`: set at every status write (whole seconds on the wire); no clock.
    pub last_transition: Option<Timestamp>,
    /// `lastCheckTime` (ours, microseconds): when a check or gate was last asked. The only pace of the analysis.
    pub last_check: Option<Timestamp>,
    /// `progress` (ours): when the canary last came closer to ready, and how many replicas counted then.
    pub progress: Option<ProgressMark>,
    /// `observedGeneration` (ours): generation of the Canary this status was computed from.
    pub observed_generation: i64,
    /// `judgedTargetGeneration` (ours): generation of the target under judgement or last judged.
    pub judged_generation: i64,
    /// `promotedTargetGeneration` (ours): generation of the target last promoted.
    pub promoted_generation: i64,
    /// `checks` (ours): what was asked in this run, or in the last one; oldest first, at most [`HISTORY`].
    pub checks: Vec<CheckRecord>,
    /// `lastFailure` (ours): why the last release that failed did.
    pub last_failure: Option<Failure>,
    /// `contest` (ours): a field that somebody else keeps setting.
    pub contest: Option<Contest>,
    /// `conditions`: `Promoted` as Flagger writes it, then ours.
    pub conditions: Vec<Condition>,
    /// `paused` (ours): an operator ordered to hold everything as it is.
    pub paused: bool,
    /// `lastOrder` (ours): the operator's order taken up last, and what became of it.
    pub last_order: Option<LastOrder>,
}

/// An order and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastOrder {
    /// The order's id.
    pub id: String,
    /// What was ordered; empty when that could not be read.
    pub verb: String,
    /// What became of it.
    pub outcome: Reply,
    /// The same for people.
    pub message: String,
    /// When (whole seconds on the wire).
    pub at: Timestamp,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It will be carried out as soon as it can be (the canary must get ready first).
    Accepted,
    /// It is carried out.
    Honoured,
    /// It cannot be carried out.
    Refused,
}

impl Reply {
    /// The word in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Reply::Accepted => "Accepted",
            Reply::Honoured => "Honoured",
            Reply::Refused => "Refused",
        }
    }
}

/// Checks that are remembered.
pub const HISTORY: usize = 30;

/// One check of a run: a measurement, or a hook that counts as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRecord {
    /// `time`: when it was judged (microseconds on the wire).
    pub time: Timestamp,
    /// `kind`: `metric`, or the hook's type (`pre-rollout`, `rollout`).
    pub kind: String,
    /// `name` of the metric or hook.
    pub name: String,
    /// `value`, as measured; `None` when there was none.
    pub value: Option<String>,
    /// `threshold`: the range, `>= 99`, `<= 500` or `>= 1, <= 5`; `None` for hooks and empty ranges.
    pub threshold: Option<String>,
    /// `verdict`: what came of it.
    pub verdict: Outcome,
    /// `message`: why it did not pass.
    pub message: Option<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// The value lies outside its range, or the hook refused.
    Failed,
    /// The metric server answered without a value.
    NoValues,
    /// It could not be asked.
    Error,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 4] = [
        Outcome::Passed,
        Outcome::Failed,
        Outcome::NoValues,
        Outcome::Error,
    ];

    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Passed => "Passed",
            Outcome::Failed => "Failed",
            Outcome::NoValues => "NoValues",
            Outcome::Error => "Error",
        }
    }
}

/// Why a release failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `time` (whole seconds on the wire).
    pub time: Timestamp,
    /// `reason`, CamelCase: `FailedChecks`, `ManualRollback`, `ProgressDeadline`, `PromotionFailed`,
    /// `InitializationFailed`, `Aborted`.
    pub reason: String,
    /// `message`, for people.
    pub message: String,
}

/// A field that somebody else keeps setting, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// `field`: which field of which object.
    pub field: String,
    /// `manager`: who sets it.
    pub manager: String,
    /// `corrections` made since it began.
    pub corrections: u32,
    /// `since`: when it began (microseconds on the wire).
    pub since: Timestamp,
    /// `last`: when it was last corrected, or last found.
    pub last: Timestamp,
}

/// Where a rollout of pods stood when it last moved (the progress deadline counts from here).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressMark {
    /// When.
    pub since: Timestamp,
    /// Updated replicas then.
    pub updated: i32,
    /// Available replicas then.
    pub available: i32,
}

/// A status condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `type`: `Promoted`, `Stalled`, …
    pub kind: String,
    /// `status`: `True`, `False`, `Unknown`.
    pub status: String,
    /// `reason`, CamelCase.
    pub reason: String,
    /// `message`.
    pub message: String,
    /// `lastTransitionTime`: when `status` last changed.
    pub last_transition: Timestamp,
    /// `lastUpdateTime` (Flagger): when anything in it last changed.
    pub last_update: Timestamp,
}

/// Reads `Canary.status` as stored. Unknown fields are ignored (the controller's patches leave them alone).
pub fn read(status: Option<&Value>) -> Result<Status, UnknownStage> {
    let Some(status) = status else {
        return Ok(Status::default());
    };
    let text = |key: &str| {
        status
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let count = |key: &str| status.get(key).and_then(Value::as_i64).unwrap_or_default();
    let time = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .and_then(|text| text.parse::<Timestamp>().ok())
    };
    let progress = status.get("progress").and_then(|mark| {
        let replicas = |key: &str| mark.get(key).and_then(Value::as_i64).unwrap_or_default() as i32;
        Some(ProgressMark {
            since: time(mark.get("since"))?,
            updated: replicas("updated"),
            available: replicas("available"),
        })
    });
    let configs = |key: &str| {
        let configs = status.get(key)?.as_object()?.iter();
        Some(
            configs
                .map(|(name, sum)| (name.clone(), sum.as_str().unwrap_or_default().to_owned()))
                .collect(),
        )
    };
    let conditions = status
        .get("conditions")
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |conditions| {
            conditions
                .iter()
                .map(|condition| {
                    let part = |key: &str| {
                        condition
                            .get(key)
                            .and_then(Value::as_str)
                            .unwrap_or_default()
                            .to_owned()
                    };
                    let last_transition = time(condition.get("lastTransitionTime")).unwrap_or_default();
                    Condition {
                        kind: part("type"),
                        status: part("status"),
                        reason: part("reason"),
                        message: part("message"),
                        last_transition,
                        last_update: time(condition.get("lastUpdateTime")).unwrap_or(last_transition),
                    }
                })
                .collect()
        });
    let last_order = status.get("lastOrder").and_then(|order| {
        let part = |key: &str| {
            order
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let outcome = match part("outcome").as_str() {
            "Accepted" => Reply::Accepted,
            "Refused" => Reply::Refused,
            _ => Reply::Honoured,
        };
        Some(LastOrder {
            id: order.get("id").and_then(Value::as_str)?.to_owned(),
            verb: part("verb"),
            outcome,
            message: part("message"),
            at: time(order.get("time")).unwrap_or_default(),
        })
    });
    let list = |key: &str| status.get(key).and_then(Value::as_array).into_iter().flatten();
    Ok(Status {
        stage: text("phase").parse()?,
        failed_checks: u32::try_from(count("failedChecks")).unwrap_or_default(),
        canary_weight: u8::try_from(count("canaryWeight")).unwrap_or_default(),
        iterations: u32::try_from(count("iterations")).unwrap_or_default(),
        last_applied: text("lastAppliedSpec"),
        last_promoted: text("lastPromotedSpec"),
        tracked_configs: configs("trackedConfigs"),
        promoted_configs: configs("promotedConfigs"),
        last_transition: time(status.get("lastTransitionTime")),
        last_check: time(status.get("lastCheckTime")),
        progress,
        observed_generation: count("observedGeneration"),
        judged_generation: count("judgedTargetGeneration"),
        promoted_generation: count("promotedTargetGeneration"),
        checks: list("checks").filter_map(read_check).collect(),
        last_failure: status.get("lastFailure").and_then(|failure| {
            Some(Failure {
                time: time(failure.get("time"))?,
                reason: failure.get("reason")?.as_str()?.to_owned(),
                message: failure.get("message")?.as_str()?.to_owned(),
            })
        }),
        contest: status.get("contest").and_then(|contest| {
            let corrections = contest.get("corrections")?.as_u64()?;
            Some(Contest {
                field: contest.get("field")?.as_str()?.to_owned(),
                manager: contest.get("manager")?.as_str()?.to_owned(),
                corrections: u32::try_from(corrections).unwrap_or(u32::MAX),
                since: time(contest.get("since"))?,
                last: time(contest.get("last"))?,
            })
        }),
        conditions,
        paused: status.get("paused").and_then(Value::as_bool).unwrap_or_default(),
        last_order,
    })
}

fn read_check(check: &Value) -> Option<CheckRecord> {
    let text = |key: &str| check.get(key).and_then(Value::as_str).map(str::to_owned);
    let verdict = text("verdict")?;
    Some(CheckRecord {
        time: text("time")?.parse().ok()?,
        kind: text("kind")?,
        name: text("name")?,
        value: text("value"),
        threshold: text("threshold"),
        verdict: Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == verdict)?,
        message: text("message"),
    })
}

fn write_check(check: &CheckRecord) -> Value {
    let mut written = json!({
        "time": micros(check.time),
        "kind": check.kind,
        "name": check.name,
        "verdict": check.verdict.as_str(),
    });
    // Within a list a merge patch keeps nulls.
    for (key, value) in [
        ("value", &check.value),
        ("threshold", &check.threshold),
        ("message", &check.message),
    ] {
        if let Some(value) = value {
            written[key] = json!(value);
        }
    }
    written
}

/// Writes the fields the controller owns, as a JSON merge patch of `status`: what is absent becomes null.
pub fn write(status: &Status) -> Value {
    let text = |value: &str| {
        if value.is_empty() {
            Value::Null
        } else {
            json!(value)
        }
    };
    let conditions: Vec<Value> = status
        .conditions
        .iter()
        .map(|condition| {
            json!({
                "type": condition.kind,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": seconds(condition.last_transition),
                "lastUpdateTime": seconds(condition.last_update),
            })
        })
        .collect();
    json!({
        "phase": status.stage.as_str(),
        "failedChecks": status.failed_checks,
        "canaryWeight": status.canary_weight,
        "iterations": status.iterations,
        "lastAppliedSpec": text(&status.last_applied),
        "lastPromotedSpec": text(&status.last_promoted),
        "trackedConfigs": status.tracked_configs,
        "promotedConfigs": status.promoted_configs,
        "lastTransitionTime": status.last_transition.map(seconds),
        "lastCheckTime": status.last_check.map(micros),
        "progress": status.progress.map(|mark| json!({
            "since": micros(mark.since),
            "updated": mark.updated,
            "available": mark.available,
        })),
        "observedGeneration": status.observed_generation,
        "judgedTargetGeneration": status.judged_generation,
        "promotedTargetGeneration": status.promoted_generation,
        "checks": (!status.checks.is_empty())
            .then(|| status.checks.iter().map(write_check).collect::<Vec<_>>()),
        "lastFailure": status.last_failure.as_ref().map(|failure| json!({
            "time": seconds(failure.time),
            "reason": failure.reason,
            "message": failure.message,
        })),
        "contest": status.contest.as_ref().map(|contest| json!({
            "field": contest.field,
            "manager": contest.manager,
            "corrections": contest.corrections,
            "since": micros(contest.since),
            "last": micros(contest.last),
        })),
        "conditions": conditions,
        "paused": status.paused.then_some(true),
        "lastOrder": status.last_order.as_ref().map(|order| json!({
            "id": order.id,
            "verb": order.verb,
            "outcome": order.outcome.as_str(),
            "message": order.message,
            "time": seconds(order.at),
        })),
    })
}

/// `metav1.Time`: whole seconds, UTC.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `metav1.MicroTime`: six decimals, UTC.
pub fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let at: Timestamp = "2026-01-02T03:04:05.000678Z".parse().unwrap();
        let whole: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for stage in Stage::ALL {
            let status = Status {
                stage,
                failed_checks: 1,
                canary_weight: 2,
                iterations: 3,
                last_applied: "v1:a".into(),
                last_promoted: "v1:b".into(),
                tracked_configs: Some(BTreeMap::from([("configmap/a".into(), "b".into())])),
                promoted_configs: Some(BTreeMap::from([("configmap/a".into(), "c".into())])),
                last_transition: Some(whole),
                last_check: Some(at),
                progress: Some(ProgressMark {
                    since: at,
                    updated: 1,
                    available: 0,
                }),
                observed_generation: 4,
                judged_generation: 5,
                promoted_generation: 6,
                checks: Outcome::ALL
                    .into_iter()
                    .map(|verdict| CheckRecord {
                        time: at,
                        kind: "metric".into(),
                        name: "errors".into(),
                        value: Some("0.5".into()),
                        threshold: (verdict == Outcome::Failed).then(|| "<= 0.1".into()),
                        verdict,
                        message: None,
                    })
                    .collect(),
                last_failure: Some(Failure {
                    time: whole,
                    reason: "FailedChecks".into(),
                    message: "m".into(),
                }),
                contest: Some(Contest {
                    field: "Service a spec.selector".into(),
                    manager: "kapp".into(),
                    corrections: 2,
                    since: at,
                    last: at,
                }),
                conditions: vec![Condition {
                    kind: "Promoted".into(),
                    status: "True".into(),
                    reason: "Initialized".into(),
                    message: "m".into(),
                    last_transition: whole,
                    last_update: whole,
                }],
                paused: true,
                last_order: Some(LastOrder {
                    id: "1".into(),
                    verb: "pause".into(),
                    outcome: Reply::Refused,
                    message: "m".into(),
                    at: whole,
                }),
            };
            assert_eq!(read(Some(&write(&status))), Ok(status));
        }
        assert_eq!(read(None), Ok(Status::default()));
        assert_eq!(read(Some(&write(&Status::default()))), Ok(Status::default()));
    }

    #[test]
    fn an_unknown_phase_is_told() {
        let error = read(Some(&json!({"phase": "Dancing"}))).unwrap_err();
        assert!(error.to_string().contains("Dancing"));
    }
}
