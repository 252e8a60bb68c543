//! The status a Canary keeps: Flagger's phases, counters and hashes, plus the few fields of ours that make every
//! decision repeatable after a crash.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

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
    /// `conditions`: `Promoted` as Flagger writes it, then ours.
    pub conditions: Vec<Condition>,
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
