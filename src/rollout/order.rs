//! Orders of an operator: carried out once, or refused in words.
//!
//! Owns: which order makes sense when. Promises: an order is answered in the very plan that carries it out, so a crash
//! repeats it or nothing; whatever is ordered, no pods get traffic before they are ready; promote skips checks and
//! gates, never readiness. pause and resume touch nothing and are always taken; the others end a pause.

use crate::model::order::{Malformed, Order, Verb};
use crate::model::status::{Reply, Stage, Status};

use super::change::{self, Change, change};
use super::draft::Draft;
use super::observed::Observed;
use super::pass::{AGAIN, Pass};
use super::plan::Plan;
use super::stage::fail::{self, Cause};

/// The order nobody has answered yet, or that is taken up and not carried out.
pub(super) fn pending(seen: &Observed) -> Option<Result<&Order, &Malformed>> {
    let order = seen.order.as_ref()?.as_ref();
    let id = match order {
        Ok(order) => &order.id,
        Err(malformed) => &malformed.id,
    };
    let last = seen.status.last_order.as_ref();
    let done = last.is_some_and(|last| last.id == *id && last.outcome != Reply::Accepted);
    (!done).then_some(order)
}

/// The answer where nothing can be done, for `why`: only a pause begins or ends.
pub(super) fn behind_a_guard(order: Option<Result<&Order, &Malformed>>, draft: &mut Draft<'_>, why: &str) {
    match order {
        None => {}
        Some(Err(malformed)) => draft.refuse_malformed(malformed),
        Some(Ok(order)) => match order.verb {
            Verb::Pause | Verb::Resume => hold(order, draft),
            Verb::Promote | Verb::Abort | Verb::Retry => draft.answer(order, Reply::Refused, why),
        },
    }
}

/// How an order relates to where the Canary stands.
pub(super) enum Stance<'a> {
    /// It is answered by this plan.
    Now(Box<Plan>),
    /// The stage goes on in the light of this order to promote.
    Promote(&'a Order),
}

/// Weighs an order.
pub(super) fn weigh<'a>(pass: &Pass<'a>, order: Result<&'a Order, &Malformed>) -> Stance<'a> {
    let order = match order {
        Ok(order) => order,
        Err(malformed) => {
            let mut draft = pass.draft();
            draft.refuse_malformed(malformed);
            return now(draft);
        }
    };
    match order.verb {
        Verb::Pause | Verb::Resume => {
            let mut draft = pass.draft();
            hold(order, &mut draft);
            now(draft)
        }
        Verb::Promote | Verb::Abort | Verb::Retry => {
            if let Some(why) = astray(pass, order) {
                return refuse(pass, order, why);
            }
            match order.verb {
                Verb::Promote => promote(pass, order),
                Verb::Abort => abort(pass, order),
                Verb::Retry | Verb::Pause | Verb::Resume => retry(pass, order),
            }
        }
    }
}

fn hold(order: &Order, draft: &mut Draft<'_>) {
    let text = match (order.verb == Verb::Pause, draft.status.paused) {
        (true, _) => "everything stays as it is until resume is ordered",
        (false, true) => "going on",
        (false, false) => return draft.answer(order, Reply::Refused, "it is not paused"),
    };
    draft.answer(order, Reply::Honoured, text);
}

/// The run an order given at this status is about. `None`: the one that begins next, or all of them.
pub fn given_for(status: &Status, verb: Verb) -> Option<String> {
    let about = match verb {
        Verb::Promote | Verb::Abort => runs(status.stage),
        Verb::Retry => status.stage == Stage::Failed,
        Verb::Pause | Verb::Resume => false,
    };
    about.then(|| change::checksum(status))
}

/// Why the order means something else than what is there, if it does.
fn astray(pass: &Pass<'_>, order: &Order) -> Option<&'static str> {
    let uid = &pass.canary.id.uid;
    if order.uid.as_ref().is_some_and(|given| given != uid) {
        return Some("it was given to another object of this name");
    }
    let run = order.run.as_ref()?;
    let is_there = order.verb == Verb::Retry || runs(pass.seen.status.stage);
    (!is_there || *run != change::checksum(&pass.seen.status))
        .then_some("it was given for a run that is over; give it again for what is there now")
}

/// True while a revision is judged or promoted.
fn runs(stage: Stage) -> bool {
    match stage {
        Stage::Progressing | Stage::WaitingPromotion | Stage::Promoting | Stage::Finalising => true,
        Stage::New
        | Stage::Initializing
        | Stage::Initialized
        | Stage::Waiting
        | Stage::Succeeded
        | Stage::Failed
        | Stage::Terminating
        | Stage::Terminated => false,
    }
}

fn promote<'a>(pass: &Pass<'a>, order: &'a Order) -> Stance<'a> {
    if let Some(why) = &pass.seen.skip_forbidden {
        return refuse(pass, order, why);
    }
    match pass.seen.status.stage {
        Stage::Progressing | Stage::WaitingPromotion => Stance::Promote(order),
        Stage::Initialized | Stage::Succeeded | Stage::Waiting | Stage::Failed if begins(pass) => {
            Stance::Promote(order)
        }
        Stage::Failed => refuse(pass, order, "the last run failed; order retry to judge it again"),
        Stage::Promoting | Stage::Finalising => refuse(pass, order, "it is being promoted already"),
        Stage::Initialized
        | Stage::Succeeded
        | Stage::Waiting
        | Stage::New
        | Stage::Initializing
        | Stage::Terminating
        | Stage::Terminated => nothing_runs(pass, order),
    }
}

fn abort<'a>(pass: &Pass<'a>, order: &'a Order) -> Stance<'a> {
    let text = || format!("{} is rolled back", pass.target_name());
    match pass.seen.status.stage {
        Stage::Progressing | Stage::WaitingPromotion => {
            let mut draft = pass.draft();
            draft.answer(order, Reply::Honoured, text());
            Stance::Now(Box::new(fail::fail(pass, draft, &Cause::Ordered)))
        }
        // Not begun yet: it counts as judged.
        Stage::Initialized | Stage::Succeeded | Stage::Failed | Stage::Waiting if begins(pass) => {
            let mut draft = pass.draft();
            draft.adopt(pass.current);
            draft.answer(order, Reply::Honoured, text());
            Stance::Now(Box::new(fail::fail(pass, draft, &Cause::Ordered)))
        }
        Stage::Promoting | Stage::Finalising => match fail::before(pass) {
            Some(last) => {
                let mut draft = pass.draft();
                draft.answer(order, Reply::Honoured, text());
                Stance::Now(Box::new(fail::promotion_called_off(pass, draft, last)))
            }
            None => refuse(
                pass,
                order,
                "it is being promoted, and no template promoted before it is recorded to go back to",
            ),
        },
        Stage::Failed => refuse(pass, order, "the last run is rolled back already"),
        Stage::Initialized
        | Stage::Succeeded
        | Stage::Waiting
        | Stage::New
        | Stage::Initializing
        | Stage::Terminating
        | Stage::Terminated => nothing_runs(pass, order),
    }
}

/// What failed is forgotten, so that it is a new revision: gates are asked and everything is as in any run.
fn retry<'a>(pass: &Pass<'a>, order: &'a Order) -> Stance<'a> {
    let stage = pass.seen.status.stage;
    if stage != Stage::Failed {
        let why = format!("nothing has failed (phase {})", named(stage));
        return refuse(pass, order, &why);
    }
    if !pass.seen.status.last_promoted.is_empty() {
        match change(pass.seen, pass.current) {
            Change::Same | Change::KnownBad if !pass.seen.target_equals_primary => {}
            Change::New => return refuse(pass, order, "a new revision is about to be judged"),
            Change::Same | Change::KnownBad | Change::Promoted => {
                return refuse(pass, order, "the target is what is promoted already");
            }
        }
    }
    let mut draft = pass.draft();
    let text = format!("{} is judged again", pass.target_name());
    draft.answer(order, Reply::Honoured, text);
    draft.status.last_applied.clear();
    draft.status.tracked_configs = None;
    draft.status.progress = None;
    now(draft)
}

/// True when a revision waits to be judged.
fn begins(pass: &Pass<'_>) -> bool {
    let bootstrap = pass.seen.status.last_promoted.is_empty() && pass.seen.status.stage == Stage::Failed;
    !bootstrap && change(pass.seen, pass.current) == Change::New
}

fn nothing_runs<'a>(pass: &Pass<'a>, order: &'a Order) -> Stance<'a> {
    let why = format!("nothing runs (phase {})", named(pass.seen.status.stage));
    refuse(pass, order, &why)
}

fn named(stage: Stage) -> &'static str {
    if stage == Stage::New {
        "none yet"
    } else {
        stage.as_str()
    }
}

fn refuse<'a>(pass: &Pass<'a>, order: &'a Order, why: &str) -> Stance<'a> {
    let mut draft = pass.draft();
    draft.answer(order, Reply::Refused, why);
    now(draft)
}

/// A plan of the answer alone; the next pass goes on.
fn now<'a>(mut draft: Draft<'_>) -> Stance<'a> {
    draft.wake_in(AGAIN);
    Stance::Now(Box::new(draft.finish()))
}
