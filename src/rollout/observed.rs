//! The facts a decision looks at, gathered by the controller before it is asked.

use crate::model::order::{Malformed, Order};
use crate::model::revision::Revision;
use crate::model::split::{Capabilities, Split};
use crate::model::status::Status;

/// One snapshot of a Canary's surroundings.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The Canary's status as stored.
    pub status: Status,
    /// The workload under control.
    pub target: Seen,
    /// `<target>-primary`.
    pub primary: Seen,
    /// What the target's template and configs hash to now; `None` when the target is absent.
    pub revision: Option<Revision>,
    /// True when the target's template equals the primary's with our rewrites undone (used to adopt foreign hashes).
    pub target_equals_primary: bool,
    /// True once the three Services exist as rendered and the apex selects the primary.
    pub services_ready: bool,
    /// The provider's router, if it has one: provider kubernetes sends everybody to the primary.
    pub routing: Option<Routing>,
    /// Why the surroundings cannot be acted on (target lacks a selector label, a `-primary` object belongs to
    /// somebody else, an apex Service another controller owns, a Flagger controller is alive, another Canary has
    /// the target). `None`: nothing blocks.
    pub blocked: Option<Block>,
    /// Something of ours that somebody else changed since the bootstrap.
    pub interference: Option<Interference>,
    /// The target has pods although nothing runs, and we were the last to scale it.
    pub left_up: bool,
    /// Autoscalers of ours that the manifest does not ask for any more.
    pub stale_scalers: bool,
    /// Why changes of configs are noticed late, if they are.
    pub polled: Option<String>,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// Our finalizer (`finalizer.flagger.app`) is on the object.
    pub has_finalizer: bool,
    /// The operator's order on the object, honoured already or not.
    pub order: Option<Result<Order, Malformed>>,
    /// Why no analysis may be skipped here, if a policy says so: then promote is refused with these words.
    pub skip_forbidden: Option<String>,
}

/// A router, and what it does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routing {
    /// What it can do.
    pub can: Capabilities,
    /// How traffic is split.
    pub split: Split,
}

/// Something outside the spec that keeps the controller from acting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Condition reason, CamelCase (`TargetNotFound`, `SelectorLabelMissing`, `ForeignPrimary`, `ServiceOwned`, …).
    pub reason: String,
    /// What was found, what is expected, how to fix it.
    pub message: String,
}

impl Block {
    /// Reason of the block while a Flagger controller is alive: it owns every decision, even about finalizers.
    pub const FLAGGER_ACTIVE: &'static str = "FlaggerActive";
}

/// A field of ours that somebody else set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interference {
    /// What was changed.
    pub changed: Changed,
    /// The object and the field: `Service podinfo.test: spec.selector`.
    pub field: String,
    /// Who did: a program by its marks, else the field manager.
    pub manager: String,
    /// It may be put right: not somebody's own wish, such as `kubectl scale`.
    pub reconciled: bool,
    /// Condition reason, CamelCase.
    pub reason: &'static str,
    /// What the field is.
    pub found: String,
    /// What it should be.
    pub expected: String,
    /// What makes the two live together.
    pub cure: String,
}

/// What somebody else changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// A Service of the Canary; the flag says that clients reach the target now.
    Service {
        /// The apex selects pods of the target.
        to_target: bool,
    },
    /// The replicas of a parked target.
    Replicas,
}

/// A workload as observed.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Workload),
}

impl Seen {
    /// The workload, if present.
    pub fn workload(&self) -> Option<&Workload> {
        match self {
            Seen::Absent => None,
            Seen::Present(workload) => Some(workload),
        }
    }
}

/// The numbers of a Deployment or DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// `spec.replicas` (DaemonSet: desiredNumberScheduled, or 0 when parked by node selector).
    pub desired: i32,
    /// `status.replicas`.
    pub total: i32,
    /// `status.updatedReplicas`.
    pub updated: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// Condition `Progressing` has reason `ProgressDeadlineExceeded`.
    pub deadline_exceeded: bool,
    /// The Deployment's own `spec.progressDeadlineSeconds`, seconds (None: not set or not applicable).
    pub own_deadline: Option<u32>,
    /// For a primary: the revision its template was rendered from (annotation `verdigris.dev/revision`, written as
    /// `Revision::identity`; a bare template hash is understood too).
    pub revision: Option<String>,
}
