//! What a decision orders: absolute steps, the status to store, the words to say, when to look again.

use std::time::Duration;

use crate::model::notice::Notice;
use crate::model::revision::Revision;
use crate::model::split::Split;
use crate::model::status::{Stage, Status};

use super::question::Question;

/// The outcome of one call of [`super::next::next`].
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask these (independent of each other, in parallel), then call again with the answers added.
    Ask(Vec<Question>),
    /// Do this.
    Act(Box<Plan>),
}

/// Steps first, status second, words last. A crash anywhere re-runs the same plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In order; each is idempotent and absolute.
    pub steps: Vec<Step>,
    /// The status to store. Equal to the observed one means: no write.
    pub status: Status,
    /// Said after the status is stored, in order.
    pub announcements: Vec<Announcement>,
    /// When to decide again even if nothing changes; `None` waits for a change.
    pub wake: Option<Duration>,
}

/// Something that is said after the fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Announcement {
    /// An event (log line, alert, event hooks).
    Notice(Notice),
    /// A post-rollout hook to call once; its outcome becomes an event, later post-rollout hooks are skipped
    /// after a failure.
    PostRollout {
        /// Index in `analysis.hooks`.
        hook: usize,
        /// Phase told to the hook.
        phase: Stage,
    },
}

/// One idempotent, absolute change to the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// `<apex>-canary` and `<apex>-primary` as rendered.
    EnsureServices,
    /// The apex Service selects the primary.
    EnsureApex,
    /// Create the primary from this revision if it is absent (from the last promoted one when it vanished later).
    EnsurePrimary(Revision),
    /// Store the target's template as a ControllerRevision owned by the Canary, so that exactly what is judged
    /// can be promoted.
    Record(Revision),
    /// Copy the recorded revision to the primary.
    Promote(Revision),
    /// Split traffic so (providers with a router).
    Route(Split),
    /// Scale the target to zero.
    Park,
    /// Scale the target up from zero (to the scaler's minimum, its own or the primary's replicas).
    Unpark,
    /// Create or refresh the primary's autoscaler.
    EnsurePrimaryScaler,
    /// Delete the Canary's own autoscalers that the manifest asks for no more, and let the targets' act again.
    DropScalers,
    /// Forget the copies of configs that only a promotion that fails would need.
    ForgetConfigs,
    /// Stop the target's autoscaler from acting while the target is parked.
    PauseScaler,
    /// Let the target's autoscaler act again.
    ResumeScaler,
    /// Put `finalizer.flagger.app` on the Canary.
    AddFinalizer,
    /// Give traffic and replicas back to the target (revertOnDeletion).
    Restore,
    /// Take the finalizer off; the object goes away.
    RemoveFinalizer,
}
