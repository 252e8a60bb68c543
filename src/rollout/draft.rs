//! A plan in the making.
//!
//! Promises: whatever a stage does, drift of the Services is corrected first, a target is never parked while
//! traffic may reach it, and a status that says the same is the same value (so that nothing is written).

use std::time::Duration;

use jiff::Timestamp;

use crate::model::canary::{Canary, HookKind};
use crate::model::notice::{Notice, Reason};
use crate::model::order::{self, Malformed, Order, Verb};
use crate::model::revision::Revision;
use crate::model::split::Split;
use crate::model::status::{CheckRecord, Failure, HISTORY, LastOrder, Reply, Stage, Status};

use super::change;
use super::condition::{self, whole_second};
use super::contest;
use super::observed::{Observed, Seen};
use super::pass::scales;
use super::plan::{Announcement, Plan, Step};

/// A plan in the making.
pub(super) struct Draft<'a> {
    canary: &'a Canary,
    seen: &'a Observed,
    now: Timestamp,
    steps: Vec<Step>,
    /// The status to store.
    pub(super) status: Status,
    announcements: Vec<Announcement>,
    wake: Option<Duration>,
}

impl<'a> Draft<'a> {
    /// Nothing to do, the status as stored.
    pub(super) fn new(canary: &'a Canary, seen: &'a Observed, now: Timestamp) -> Self {
        Self {
            canary,
            seen,
            now,
            steps: Vec::new(),
            status: seen.status.clone(),
            announcements: Vec::new(),
            wake: None,
        }
    }

    /// Puts right what should stand since the bootstrap: a vanished primary comes back from the revision
    /// it was promoted to last, changed Services are rendered anew. The apex is turned only to a primary that serves.
    pub(super) fn mend(&mut self) {
        if self.seen.primary == Seen::Absent
            && let Some(revision) = change::rebuilt_from(&self.status)
        {
            self.step(Step::EnsurePrimary(revision));
        }
        if self.seen.stale_scalers {
            self.step(Step::DropScalers);
        }
        let may_correct = contest::services(self);
        if !self.seen.services_ready && may_correct {
            self.step(Step::EnsureServices);
            if self.primary_serves() {
                self.step(Step::EnsureApex);
            }
        }
    }

    /// What was seen.
    pub(super) fn seen(&self) -> &'a Observed {
        self.seen
    }

    /// The time of this pass.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// True when the primary can take traffic.
    fn primary_serves(&self) -> bool {
        self.seen
            .primary
            .workload()
            .is_some_and(|primary| primary.available > 0 || !scales(self.canary.target.kind))
    }

    /// Adds a step.
    pub(super) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Copies what is judged to the primary, recording it first.
    pub(super) fn promote(&mut self, revision: Revision) {
        self.step(Step::Record(revision.clone()));
        self.step(Step::Promote(revision));
    }

    /// Creates or refreshes the primary's autoscaler, if there is one.
    pub(super) fn scale_primary(&mut self) {
        if self.canary.autoscaler.is_some() {
            self.step(Step::EnsurePrimaryScaler);
        }
    }

    /// Scales the target up from zero.
    pub(super) fn unpark(&mut self) {
        if self.canary.autoscaler.is_some() {
            self.step(Step::ResumeScaler);
        }
        if scales(self.canary.target.kind) {
            self.step(Step::Unpark);
        }
    }

    /// Scales the target to zero, unless the apex may still send it traffic and there is no primary to take over.
    pub(super) fn park(&mut self) {
        let apex = self.seen.services_ready || self.steps.contains(&Step::EnsureApex);
        // Routes first: what still has traffic is parked once it has none.
        let routed = apex && self.seen.routing.is_none_or(|routing| routing.split.is_none());
        if !routed || !scales(self.canary.target.kind) {
            return;
        }
        if self.canary.autoscaler.is_some() {
            self.step(Step::PauseScaler);
        }
        self.step(Step::Park);
    }

    /// Splits traffic, where there is a router.
    pub(super) fn route(&mut self, split: Split) {
        let Some(routing) = self.seen.routing else { return };
        self.status.canary_weight = split.canary;
        if routing.split != split {
            self.step(Step::Route(split));
        }
    }

    /// Says something once the status is stored.
    pub(super) fn say(&mut self, notice: Notice) {
        self.announcements.push(Announcement::Notice(notice));
    }

    /// Calls the post-rollout hooks once the status is stored.
    pub(super) fn call_post_rollout(&mut self, phase: Stage) {
        for (hook, _) in self.canary.analysis.hooks_of(HookKind::PostRollout) {
            self.announcements.push(Announcement::PostRollout { hook, phase });
        }
    }

    /// Moves on to a stage. Iterations, failed checks and the canary's weight are the caller's.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.status.stage = stage;
        self.status.progress = None;
        condition::promoted(&mut self.status, stage, self.canary.target.kind, self.now);
    }

    /// Remembers what the target is now as judged.
    pub(super) fn adopt(&mut self, current: &Revision) {
        self.status.last_applied.clone_from(&current.template);
        self.status.tracked_configs.clone_from(&current.configs);
        if let Some(target) = self.seen.target.workload() {
            self.status.judged_generation = target.generation;
        }
    }

    /// Remembers what came of a check, and forgets the oldest beyond the bound.
    pub(super) fn record(&mut self, check: CheckRecord) {
        let checks = &mut self.status.checks;
        checks.push(check);
        let surplus = checks.len().saturating_sub(HISTORY);
        checks.drain(..surplus);
    }

    /// Remembers why the release failed.
    pub(super) fn blame(&mut self, reason: &str, message: String) {
        self.status.last_failure = Some(Failure {
            time: whole_second(self.now),
            reason: reason.to_owned(),
            message,
        });
    }

    /// Remembers that a check or gate was asked in this pass.
    pub(super) fn asked(&mut self) {
        self.status.last_check = Timestamp::from_microsecond(self.now.as_microsecond()).ok();
    }

    /// Remembers what became of an order, and says so if that is news. An order that is taken up ends a pause: the
    /// last word counts.
    pub(super) fn answer(&mut self, order: &Order, outcome: Reply, text: impl Into<String>) {
        match outcome {
            Reply::Accepted | Reply::Honoured => self.status.paused = order.verb == Verb::Pause,
            Reply::Refused => {}
        }
        self.note(&order.id, order.verb.as_str(), outcome, text.into());
    }

    /// Remembers that an annotation is no order.
    pub(super) fn refuse_malformed(&mut self, malformed: &Malformed) {
        let text = format!("annotation {}: {}", order::ANNOTATION, malformed.why);
        self.note(&malformed.id, "", Reply::Refused, text);
    }

    fn note(&mut self, id: &str, verb: &str, outcome: Reply, message: String) {
        let known = self.status.last_order.as_ref();
        if known.is_some_and(|known| known.id == id && known.outcome == outcome) {
            return;
        }
        let text = match outcome {
            Reply::Accepted | Reply::Honoured => format!("Order {verb}: {message}"),
            Reply::Refused => format!("Order {verb} refused: {message}"),
        };
        self.say(match outcome {
            Reply::Accepted => Notice::info(Reason::OrderAccepted, text),
            Reply::Honoured => Notice::info(Reason::OrderHonoured, text),
            Reply::Refused => Notice::warning(Reason::OrderRefused, text),
        });
        self.status.last_order = Some(LastOrder {
            id: id.to_owned(),
            verb: verb.to_owned(),
            outcome,
            message,
            at: whole_second(self.now),
        });
    }

    /// Decides again after `wait`, or earlier.
    pub(super) fn wake_in(&mut self, wait: Duration) {
        let wait = wait.max(Duration::from_millis(1));
        self.wake = Some(self.wake.map_or(wait, |earlier| earlier.min(wait)));
    }

    /// The plan of a Canary that is acted on.
    pub(super) fn finish(mut self) -> Plan {
        condition::unstall(&mut self.status);
        // Provider kubernetes has no weights. Where nothing is done, what another program wrote there stays.
        if self.seen.routing.is_none() {
            self.status.canary_weight = 0;
        }
        self.close()
    }

    /// The plan of a Canary that cannot be acted on, for `reason`.
    pub(super) fn stall(mut self, reason: &str, message: &str, notice: impl FnOnce() -> Notice) -> Plan {
        if condition::stall(&mut self.status, reason, message, self.now) {
            // Whoever is waited for had no chance to move meanwhile.
            self.status.progress = None;
            self.say(notice());
        }
        self.close()
    }

    /// The plan of steps that leave the status alone.
    pub(super) fn leave(self) -> Plan {
        Plan {
            steps: self.steps,
            status: self.seen.status.clone(),
            announcements: self.announcements,
            wake: self.wake,
        }
    }

    /// The plan as it is. `lastTransitionTime` moves with every write and only then.
    pub(super) fn close(mut self) -> Plan {
        self.status.observed_generation = self.canary.generation;
        condition::polled(&mut self.status, self.seen.polled.as_deref(), self.now);
        condition::ready(&mut self.status, self.now);
        if self.status != self.seen.status {
            self.status.last_transition = Some(whole_second(self.now));
        }
        Plan {
            steps: self.steps,
            status: self.status,
            announcements: self.announcements,
            wake: self.wake,
        }
    }
}
