//! One pass over one Canary: its facts in one place, and the questions asked on the way to a plan.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::canary::{Canary, Hook, HookKind, TargetKind};
use crate::model::order::Order;
use crate::model::revision::Revision;
use crate::model::split::{Capabilities, Split};
use crate::model::status::Stage;

use super::draft::Draft;
use super::observed::{Observed, Seen, Workload};
use super::plan::Plan;
use super::question::{Answer, Answers, Question};
use super::readiness::{self, Patience, Readiness, elapsed};

/// A plan, or the questions that must be answered first.
pub(super) type Decision = Result<Plan, Vec<Question>>;

/// When to look again although nothing but our own doing is waited for; watches are usually quicker.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// The facts of one pass, past the guards.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) canary: &'a Canary,
    pub(super) seen: &'a Observed,
    pub(super) heard: &'a Answers,
    pub(super) now: Timestamp,
    /// The target; a pass without one ends in a guard.
    pub(super) target: &'a Workload,
    /// What the target is now.
    pub(super) current: &'a Revision,
    /// The order to promote this run without further analysis, while it stands.
    pub(super) promote: Option<&'a Order>,
}

/// What the hooks of one kind said.
pub(super) struct Gates<'a> {
    /// Hooks that passed, in order.
    pub(super) passed: Vec<&'a Hook>,
    /// The first that did not, and its words.
    pub(super) refused: Option<(&'a Hook, &'a str)>,
}

/// How the wait for a workload stands.
pub(super) enum Wait {
    /// It is ready.
    Over,
    /// Not yet.
    Longer {
        /// The mark to remember.
        mark: crate::model::status::ProgressMark,
        /// The workload moved (or is waited for from now on): worth a word.
        news: bool,
        /// What is waited for.
        why: String,
        /// Until the deadline.
        left: Duration,
    },
    /// The deadline passed.
    InVain(String),
}

impl<'a> Pass<'a> {
    /// An empty plan that starts from the stored status. An order to promote ends a pause.
    pub(super) fn draft(&self) -> Draft<'a> {
        let mut draft = Draft::new(self.canary, self.seen, self.now);
        draft.status.paused &= self.promote.is_none();
        draft
    }

    /// `podinfo.test`: the target in Flagger's events.
    pub(super) fn target_name(&self) -> String {
        format!("{}.{}", self.canary.target.name, self.canary.id.namespace)
    }

    /// `podinfo-primary.test`.
    pub(super) fn primary_name(&self) -> String {
        format!("{}-primary.{}", self.canary.target.name, self.canary.id.namespace)
    }

    /// Waits for the primary, by the mark kept in the status.
    pub(super) fn wait_for_primary(&self) -> Wait {
        self.wait(&self.seen.primary, self.canary.analysis.primary_ready)
    }

    /// Waits for the target, by the mark kept in the status.
    pub(super) fn wait_for_target(&self) -> Wait {
        self.wait(&self.seen.target, self.canary.analysis.canary_ready)
    }

    fn wait(&self, workload: &Seen, threshold: u8) -> Wait {
        let (mark, news) = readiness::advance(self.seen.status.progress, workload, self.now);
        let patience = Patience {
            mark: Some(mark),
            deadline: self.canary.progress_deadline,
            now: self.now,
        };
        match readiness::of(workload, self.canary.target.kind, threshold, &patience) {
            Readiness::Ready => Wait::Over,
            Readiness::Absent => Wait::Longer {
                mark,
                news,
                why: "it does not exist".to_owned(),
                left: AGAIN,
            },
            Readiness::Progressing(why) => Wait::Longer {
                mark,
                news,
                why: why.0,
                left: patience.left().max(Duration::from_millis(1)),
            },
            Readiness::Stuck(why) => Wait::InVain(why.0),
        }
    }

    /// Time until the next check or gate may be asked, `None` when it is due. Counts from `lastCheckTime` alone; one
    /// that lies more than an interval ahead was written by a clock that ran wild and is ignored.
    pub(super) fn not_due(&self) -> Option<Duration> {
        let interval = self.canary.analysis.interval;
        let last = self.seen.status.last_check?;
        if elapsed(self.now, last) > interval {
            return None;
        }
        let left = match elapsed(last, self.now) {
            Duration::ZERO => elapsed(self.now, last).saturating_add(interval),
            passed => interval.saturating_sub(passed),
        };
        (!left.is_zero()).then_some(left)
    }

    /// Asks the hooks of one kind one after another, up to the first that refuses.
    pub(super) fn gates(&self, kind: HookKind, phase: Stage) -> Result<Gates<'a>, Vec<Question>> {
        let mut gates = Gates {
            passed: Vec::new(),
            refused: None,
        };
        for (index, hook) in self.canary.analysis.hooks_of(kind) {
            match self.answer(index, phase)? {
                Ok(()) => gates.passed.push(hook),
                Err(why) => {
                    gates.refused = Some((hook, why));
                    break;
                }
            }
        }
        Ok(gates)
    }

    /// The outcome of one hook, asked for if it is not known yet.
    pub(super) fn answer(&self, hook: usize, phase: Stage) -> Result<Result<(), &'a str>, Vec<Question>> {
        let question = Question::Hook { hook, phase };
        match self.heard.get(&question) {
            None => Err(vec![question]),
            Some(Answer::Passed) => Ok(Ok(())),
            Some(Answer::Refused(why) | Answer::Error(why) | Answer::NoValues(why)) => Ok(Err(why)),
            Some(Answer::Value(_)) => Ok(Err("the answer is a number")),
        }
    }

    /// What the provider's router can do.
    pub(super) fn can(&self) -> Capabilities {
        self.seen.routing.map(|routing| routing.can).unwrap_or_default()
    }

    /// How traffic is split now.
    pub(super) fn split(&self) -> Split {
        self.seen.routing.map_or(Split::NONE, |routing| routing.split)
    }

    /// True for targets that have replicas.
    pub(super) fn scales(&self) -> bool {
        scales(self.canary.target.kind)
    }
}

/// True for targets that have replicas.
pub(super) fn scales(kind: TargetKind) -> bool {
    match kind {
        TargetKind::Deployment | TargetKind::DaemonSet => true,
        TargetKind::Service | TargetKind::Knative => false,
    }
}
