//! Workload numbers → ready, on the way, or stuck.
//!
//! Owns: what "ready" means and how long we are patient. Promises: a workload at zero replicas is never ready
//! (Flagger's guard against that is dead code, Q-14). Never: asks who is waiting, or what for.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::canary::TargetKind;
use crate::model::status::ProgressMark;

use super::observed::{Seen, Workload};

/// How far a workload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It does not exist.
    Absent,
    /// Every replica runs the current template and enough of them are available.
    Ready,
    /// Not yet, for this reason.
    Progressing(Why),
    /// Not in time, for this reason.
    Stuck(Why),
}

/// Why a workload is not ready, in Flagger's words (`waiting for rollout to finish: …`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why(pub String);

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a workload may stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// When it last moved; `None` when nobody has waited for it yet.
    pub mark: Option<ProgressMark>,
    /// `spec.progressDeadlineSeconds` of the Canary.
    pub deadline: Duration,
    /// The time of this pass.
    pub now: Timestamp,
}

impl Patience {
    /// Time left before the workload counts as stuck; zero when it does.
    pub fn left(&self) -> Duration {
        self.mark.map_or(self.deadline, |mark| {
            self.deadline.saturating_sub(elapsed(mark.since, self.now))
        })
    }
}

/// Time from `since` to `now`; zero when a clock went backwards.
pub(super) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// Moves the mark forward when updated or available replicas rose since (decision 2). Counts that fall keep the
/// old mark, so that a crash loop (available 0, 1, 0, 1, …) is not progress. The flag says whether it moved.
pub fn advance(mark: Option<ProgressMark>, seen: &Seen, now: Timestamp) -> (ProgressMark, bool) {
    let (updated, available) = seen
        .workload()
        .map_or((0, 0), |workload| (workload.updated, workload.available));
    match mark {
        Some(mark) if updated <= mark.updated && available <= mark.available => (mark, false),
        Some(mark) => (
            ProgressMark {
                since: now,
                updated: updated.max(mark.updated),
                available: available.max(mark.available),
            },
            true,
        ),
        None => (
            ProgressMark {
                since: now,
                updated,
                available,
            },
            true,
        ),
    }
}

/// Judges a workload that may be missing; see [`readiness`].
pub fn of(seen: &Seen, kind: TargetKind, threshold_percent: u8, patience: &Patience) -> Readiness {
    match seen {
        Seen::Absent => Readiness::Absent,
        Seen::Present(workload) => readiness(workload, kind, threshold_percent, patience),
    }
}

/// Judges a workload. `threshold_percent` is the share of updated replicas (DaemonSet: of desired pods) that must be
/// available; 0 switches that off. Services have no readiness. Stuck is a workload that stood still for the
/// deadline of the Canary, or whose own controller gave up on its current generation.
pub fn readiness(
    workload: &Workload,
    kind: TargetKind,
    threshold_percent: u8,
    patience: &Patience,
) -> Readiness {
    let Some(why) = waiting_for(workload, kind, threshold_percent) else {
        return Readiness::Ready;
    };
    let observed = workload.observed_generation >= workload.generation;
    if observed && workload.deadline_exceeded && workload.desired > 0 {
        return Readiness::Stuck(Why(format!(
            "{} {:?} exceeded its progress deadline",
            word(kind),
            workload.name
        )));
    }
    if patience.left().is_zero() {
        return Readiness::Stuck(Why(format!(
            "{} {:?} exceeded its progress deadline of {}s: {why}",
            word(kind),
            workload.name,
            patience.deadline.as_secs()
        )));
    }
    Readiness::Progressing(Why(why))
}

/// What a workload is waited for; `None` when for nothing.
fn waiting_for(workload: &Workload, kind: TargetKind, threshold_percent: u8) -> Option<String> {
    let percent = i64::from(threshold_percent.min(100));
    let needed = |of: i32| i32::try_from(i64::from(of) * percent / 100).unwrap_or(i32::MAX);
    let Workload {
        desired,
        total,
        updated,
        available,
        ..
    } = *workload;
    let what = match kind {
        TargetKind::Deployment | TargetKind::DaemonSet
            if workload.generation > workload.observed_generation =>
        {
            format!("observed {} generation less than desired generation", word(kind))
        }
        TargetKind::Deployment | TargetKind::DaemonSet if desired <= 0 => {
            format!("{} {:?} is scaled to zero", word(kind), workload.name)
        }
        TargetKind::Deployment if updated < desired => {
            format!("{updated} out of {desired} new replicas have been updated")
        }
        TargetKind::Deployment if total > updated => {
            format!("{} old replicas are pending termination", total - updated)
        }
        TargetKind::Deployment if available < needed(updated) => {
            format!("{available} of {updated} (readyThreshold {percent}%) updated replicas are available")
        }
        TargetKind::DaemonSet if updated < desired => {
            format!("{updated} out of {desired} new pods have been updated")
        }
        TargetKind::DaemonSet if available < needed(desired) => {
            format!("{available} of {desired} updated pods are available")
        }
        TargetKind::Deployment | TargetKind::DaemonSet | TargetKind::Service | TargetKind::Knative => {
            return None;
        }
    };
    Some(format!("waiting for rollout to finish: {what}"))
}

/// The kind in the middle of a sentence.
fn word(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Deployment => "deployment",
        TargetKind::DaemonSet => "daemonset",
        TargetKind::Service | TargetKind::Knative => "service",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn workload(desired: i32, total: i32, updated: i32, available: i32) -> Workload {
        Workload {
            name: "podinfo".to_owned(),
            generation: 2,
            observed_generation: 2,
            desired,
            total,
            updated,
            available,
            ready: available,
            deadline_exceeded: false,
            own_deadline: None,
            revision: None,
        }
    }

    fn patience(waited: i64) -> Patience {
        Patience {
            mark: Some(ProgressMark {
                since: at(0),
                updated: 0,
                available: 0,
            }),
            deadline: Duration::from_secs(60),
            now: at(waited),
        }
    }

    #[test]
    fn says_what_is_missing_in_flaggers_words() {
        use TargetKind::{DaemonSet, Deployment};
        let table = [
            (
                Deployment,
                workload(2, 2, 1, 2),
                100,
                "1 out of 2 new replicas have been updated",
            ),
            (
                Deployment,
                workload(2, 3, 2, 2),
                100,
                "1 old replicas are pending termination",
            ),
            (
                Deployment,
                workload(4, 4, 4, 1),
                50,
                "1 of 4 (readyThreshold 50%) updated replicas are available",
            ),
            (
                DaemonSet,
                workload(3, 3, 1, 3),
                100,
                "1 out of 3 new pods have been updated",
            ),
            (
                DaemonSet,
                workload(3, 3, 3, 2),
                100,
                "2 of 3 updated pods are available",
            ),
        ];
        for (kind, workload, threshold, text) in table {
            assert_eq!(
                readiness(&workload, kind, threshold, &patience(1)),
                Readiness::Progressing(Why(format!("waiting for rollout to finish: {text}"))),
                "{kind:?} {workload:?}"
            );
        }
    }

    #[test]
    fn threshold_counts_whole_replicas_and_zero_switches_it_off() {
        let ready = |available, threshold| {
            readiness(
                &workload(3, 3, 3, available),
                TargetKind::Deployment,
                threshold,
                &patience(1),
            ) == Readiness::Ready
        };
        assert!(ready(3, 100) && !ready(2, 100));
        // 50 % of 3 is 1.5, cut to 1.
        assert!(ready(1, 50) && !ready(0, 50));
        assert!(ready(0, 0));
    }

    #[test]
    fn q14_a_workload_at_zero_is_not_ready() {
        let parked = workload(0, 0, 0, 0);
        for kind in [TargetKind::Deployment, TargetKind::DaemonSet] {
            assert!(matches!(
                readiness(&parked, kind, 100, &patience(1)),
                Readiness::Progressing(_)
            ));
        }
        assert_eq!(
            readiness(&parked, TargetKind::Service, 100, &patience(1)),
            Readiness::Ready
        );
    }

    #[test]
    fn our_deadline_counts_from_the_last_rise() {
        let stuck = |seconds| {
            matches!(
                readiness(
                    &workload(2, 2, 2, 0),
                    TargetKind::Deployment,
                    100,
                    &patience(seconds)
                ),
                Readiness::Stuck(_)
            )
        };
        assert!(!stuck(59));
        assert!(stuck(60));
        let seen = Seen::Present(workload(2, 2, 2, 1));
        let (mark, rose) = advance(patience(0).mark, &seen, at(50));
        assert!(rose);
        assert_eq!(mark.since, at(50));
        // Falling back and rising to the same height again is no progress.
        let (mark, rose) = advance(Some(mark), &Seen::Present(workload(2, 2, 2, 0)), at(70));
        assert!(!rose);
        let (mark, rose) = advance(Some(mark), &seen, at(90));
        assert!(!rose);
        assert_eq!(mark.since, at(50));
    }

    #[test]
    fn the_deployments_own_deadline_counts_for_its_current_generation_only() {
        let mut workload = workload(2, 2, 2, 0);
        workload.deadline_exceeded = true;
        assert_eq!(
            readiness(&workload, TargetKind::Deployment, 100, &patience(1)),
            Readiness::Stuck(Why(
                "deployment \"podinfo\" exceeded its progress deadline".to_owned()
            ))
        );
        workload.generation = 3;
        assert!(matches!(
            readiness(&workload, TargetKind::Deployment, 100, &patience(1)),
            Readiness::Progressing(_)
        ));
    }
}
