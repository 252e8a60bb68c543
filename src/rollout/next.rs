//! `next`: the one decision of the controller.
//!
//! Guards come first, in this order; the first that fires decides:
//!
//! 1. **deleting**: without our finalizer there is nothing to do, with it the target gets replicas and traffic back.
//! 2. **suspended**: nothing is touched; said once per edit, not at every pass.
//! 3. **provider without a router**: condition `Stalled` / `ProviderNotSupported`; nothing of it is ever written.
//! 4. **blocked** by the surroundings, or the target is missing: condition `Stalled` with the reason.
//! 5. **finalizer** put on or taken off, as `revertOnDeletion` asks.
//! 6. **primary lost** and no record to rebuild it from: condition `Stalled` / `PrimaryLost`.
//! 7. **ordered** by an operator (`verdigris.dev/order`): answered once. Guards 2, 3, 4 and 6 refuse it in passing, but for
//!    pause and resume.
//! 8. **paused** by an operator: nothing is touched.
//!
//! Then the stage decides.

use jiff::Timestamp;

use crate::model::canary::{Canary, Provider, TargetKind};
use crate::model::notice::{Notice, Reason};
use crate::model::status::{Stage, Status};

use super::change;
use super::draft::Draft;
use super::observed::{Block, Observed, Seen};
use super::order::{self, Stance};
use super::pass::{AGAIN, Decision, Pass};
use super::plan::{Next, Plan, Step};
use super::question::Answers;
use super::stage::{finalise, initialize, progress, promote, stand, terminate};

/// What to ask or do next for `canary`, given what was `seen` and `heard`, at `now`. Total and deterministic: an
/// interview ends after at most as many rounds as the Canary has hooks, plus one for its checks, if every question
/// is answered.
pub fn next(canary: &Canary, seen: &Observed, heard: &Answers, now: Timestamp) -> Next {
    match decide(canary, seen, heard, now) {
        Ok(plan) => Next::Act(Box::new(plan)),
        Err(questions) => Next::Ask(questions),
    }
}

fn decide(canary: &Canary, seen: &Observed, heard: &Answers, now: Timestamp) -> Decision {
    let order = order::pending(seen);
    let draft = |why: &str| {
        let mut draft = Draft::new(canary, seen, now);
        order::behind_a_guard(order, &mut draft, why);
        draft
    };
    if seen.deleting {
        return Ok(terminate::terminate(canary, seen, now));
    }
    if canary.suspended {
        return Ok(suspended(
            canary,
            draft("spec.suspend is true; set it to false first"),
        ));
    }
    if !routed(canary) {
        return Ok(unsupported(
            canary,
            draft("its provider has no router in Verdigris yet"),
        ));
    }
    if let Some(block) = &seen.blocked {
        return Ok(blocked(block, draft(&block.message)));
    }
    let (Seen::Present(target), Some(current)) = (&seen.target, &seen.revision) else {
        let block = target_missing(canary);
        return Ok(blocked(&block, draft(&block.message)));
    };
    if canary.revert_on_deletion != seen.has_finalizer {
        return Ok(finalizer(canary, Draft::new(canary, seen, now)));
    }
    if seen.primary == Seen::Absent
        && had_primary(&seen.status)
        && change::rebuilt_from(&seen.status).is_none()
    {
        let block = primary_lost(canary);
        return Ok(blocked(&block, draft(&block.message)));
    }
    let mut pass = Pass {
        canary,
        seen,
        heard,
        now,
        target,
        current,
        promote: None,
    };
    match order.map(|order| order::weigh(&pass, order)) {
        Some(Stance::Now(plan)) => return Ok(*plan),
        Some(Stance::Promote(order)) => pass.promote = Some(order),
        None if seen.status.paused => return Ok(paused(pass.draft())),
        None => {}
    }
    match seen.status.stage {
        Stage::New => initialize::begin(&pass),
        Stage::Initializing | Stage::Terminating | Stage::Terminated => Ok(initialize::initialize(&pass)),
        Stage::Initialized | Stage::Succeeded | Stage::Waiting | Stage::Failed => stand::stand(&pass),
        Stage::Progressing | Stage::WaitingPromotion => progress::progress(&pass),
        Stage::Promoting => Ok(promote::promote(&pass)),
        Stage::Finalising => Ok(finalise::finalise(&pass)),
    }
}

/// Provider kubernetes routes Services of everything but Knative, which routes by itself.
fn routed(canary: &Canary) -> bool {
    match (&canary.provider, canary.target.kind) {
        (Provider::Kubernetes, TargetKind::Deployment | TargetKind::DaemonSet | TargetKind::Service) => true,
        (Provider::Other(_), _) | (Provider::Kubernetes, TargetKind::Knative) => false,
    }
}

fn suspended(canary: &Canary, mut draft: Draft<'_>) -> Plan {
    // Whatever was waited for gets its whole deadline again when the Canary goes on.
    draft.status.progress = None;
    if draft.status.observed_generation != canary.generation {
        draft.say(Notice::info(
            Reason::Suspended,
            "skipping canary run as object is suspended",
        ));
    }
    draft.close()
}

/// Whatever was waited for gets its whole deadline again when the Canary goes on.
fn paused(mut draft: Draft<'_>) -> Plan {
    draft.status.progress = None;
    draft.finish()
}

fn unsupported(canary: &Canary, draft: Draft<'_>) -> Plan {
    let message = match canary.target.kind {
        TargetKind::Knative => format!(
            "spec.targetRef: Knative Services are routed by provider knative, which Verdigris does not support yet \
             (provider is {}); expected a Deployment, DaemonSet or core Service; nothing was changed",
            canary.provider.as_str()
        ),
        TargetKind::Deployment | TargetKind::DaemonSet | TargetKind::Service => format!(
            "spec.provider: {:?} has no router in Verdigris yet; expected \"kubernetes\"; nothing was changed",
            canary.provider.as_str()
        ),
    };
    let reason = Reason::ProviderNotSupported;
    draft.stall(reason.as_str(), &message, || {
        Notice::warning(reason, message.clone())
    })
}

fn blocked(block: &Block, draft: Draft<'_>) -> Plan {
    draft.stall(&block.reason, &block.message, || {
        Notice::warning(Reason::Blocked, block.message.clone())
    })
}

fn target_missing(canary: &Canary) -> Block {
    let (kind, name) = (canary.target.kind.as_str(), &canary.target.name);
    Block {
        reason: "TargetNotFound".to_owned(),
        message: format!(
            "spec.targetRef: {kind} {name}.{} was not found; create it, or correct spec.targetRef",
            canary.id.namespace
        ),
    }
}

fn primary_lost(canary: &Canary) -> Block {
    let (kind, name, namespace) = (
        canary.target.kind.as_str(),
        &canary.target.name,
        &canary.id.namespace,
    );
    Block {
        reason: "PrimaryLost".to_owned(),
        message: format!(
            "{kind} {name}-primary.{namespace} was not found, and no promoted revision of it is recorded; expected \
             the workload that serves production; restore it, or delete the Canary and create it anew to make \
             {name} as it is now the primary"
        ),
    }
}

/// True once the bootstrap has come through: from then on a primary must exist.
fn had_primary(status: &Status) -> bool {
    match status.stage {
        Stage::New | Stage::Initializing | Stage::Terminating | Stage::Terminated => false,
        Stage::Failed => !status.last_promoted.is_empty(),
        Stage::Initialized
        | Stage::Waiting
        | Stage::Progressing
        | Stage::WaitingPromotion
        | Stage::Promoting
        | Stage::Finalising
        | Stage::Succeeded => true,
    }
}

/// A plan of its own: it moves the resourceVersion a status write depends on.
fn finalizer(canary: &Canary, mut draft: Draft<'_>) -> Plan {
    draft.step(if canary.revert_on_deletion {
        Step::AddFinalizer
    } else {
        Step::RemoveFinalizer
    });
    draft.wake_in(AGAIN);
    draft.leave()
}
