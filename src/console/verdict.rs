//! Is the release that is waited for over? Pure.
//!
//! `metadata.generation` of the target moves with every scaling too, ours included, so it names a release only when it
//! is taken from the very write that made it (`kubectl set image -o jsonpath='{.metadata.generation}'`). Without it, the
//! template the target has now is what is waited for; that is exact, and works right after `kubectl set image`.

use serde_json::Value;

use crate::model::canary::TargetKind;
use crate::model::revision;
use crate::model::status::{Stage, Status};
use crate::workload::target;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// The target as of this generation, or later.
    Generation(i64),
    /// This template, seen first at this generation of the target.
    Template {
        /// Its hash.
        hash: String,
        /// The target's generation then.
        generation: i64,
    },
}

/// What the target is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Hash of what is released of it.
    pub hash: String,
    /// `metadata.generation`; 0 for a Service.
    pub generation: i64,
}

impl Target {
    /// Reads it from the workload.
    pub fn of(kind: TargetKind, object: &Value) -> Self {
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
        Self {
            hash: revision::hash(&target::released(kind, object)),
            generation: generation.unwrap_or_default(),
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The primary runs it.
    Promoted,
    /// It was rolled back.
    Failed,
    /// Something newer is judged in its place.
    Superseded,
}

/// The end of the release, if it has come. `now` is what the target is, where that is known.
pub fn verdict(status: &Status, goal: &Goal, now: Option<&Target>) -> Option<Verdict> {
    let rests = match status.stage {
        Stage::Initialized | Stage::Succeeded | Stage::Failed => true,
        Stage::New
        | Stage::Initializing
        | Stage::Waiting
        | Stage::Progressing
        | Stage::WaitingPromotion
        | Stage::Promoting
        | Stage::Finalising
        | Stage::Terminating
        | Stage::Terminated => false,
    };
    if !rests {
        return superseded(status, goal);
    }
    let known = !status.last_applied.is_empty();
    let same = known
        && status.last_applied == status.last_promoted
        && status.tracked_configs == status.promoted_configs;
    match goal {
        Goal::Generation(generation) => {
            let judged = status.judged_generation >= *generation;
            // Scaled since, but nothing was released.
            let nothing_new =
                now.is_some_and(|now| now.generation >= *generation && now.hash == status.last_promoted);
            if status.promoted_generation >= *generation || (judged && same) || nothing_new {
                Some(Verdict::Promoted)
            } else {
                (judged && known && status.stage == Stage::Failed).then_some(Verdict::Failed)
            }
        }
        Goal::Template { hash, .. } => {
            if *hash == status.last_promoted {
                Some(Verdict::Promoted)
            } else if *hash == status.last_applied && status.stage == Stage::Failed {
                Some(Verdict::Failed)
            } else {
                superseded(status, goal)
            }
        }
    }
}

fn superseded(status: &Status, goal: &Goal) -> Option<Verdict> {
    match goal {
        // A later generation includes it.
        Goal::Generation(_) => None,
        Goal::Template { hash, generation } => {
            let other = !status.last_applied.is_empty() && status.last_applied != *hash;
            (other && status.judged_generation > *generation).then_some(Verdict::Superseded)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(stage: Stage, applied: &str, promoted: &str, judged: i64, promoted_generation: i64) -> Status {
        Status {
            stage,
            last_applied: applied.to_owned(),
            last_promoted: promoted.to_owned(),
            judged_generation: judged,
            promoted_generation,
            ..Status::default()
        }
    }

    #[test]
    fn the_end_of_a_release() {
        let template = |hash: &str| Goal::Template {
            hash: hash.to_owned(),
            generation: 7,
        };
        let is = |hash: &str, generation| {
            Some(Target {
                hash: hash.to_owned(),
                generation,
            })
        };
        let (promoted, failed, superseded) = (
            Some(Verdict::Promoted),
            Some(Verdict::Failed),
            Some(Verdict::Superseded),
        );
        let table = [
            // Right after `kubectl set image`: nobody has seen it.
            (
                status(Stage::Succeeded, "a", "a", 5, 5),
                Goal::Generation(7),
                is("b", 7),
                None,
            ),
            (
                status(Stage::Succeeded, "a", "a", 5, 5),
                template("b"),
                is("b", 7),
                None,
            ),
            (
                status(Stage::Failed, "x", "a", 6, 5),
                Goal::Generation(7),
                is("b", 7),
                None,
            ),
            (
                status(Stage::Failed, "x", "a", 6, 5),
                template("b"),
                is("b", 7),
                None,
            ),
            // It runs; the target was scaled meanwhile.
            (
                status(Stage::Progressing, "b", "a", 7, 5),
                Goal::Generation(7),
                is("b", 8),
                None,
            ),
            (
                status(Stage::Progressing, "b", "a", 7, 5),
                template("b"),
                is("b", 8),
                None,
            ),
            (
                status(Stage::Finalising, "b", "a", 7, 5),
                Goal::Generation(7),
                is("b", 8),
                None,
            ),
            // It is over.
            (
                status(Stage::Succeeded, "b", "b", 7, 7),
                Goal::Generation(7),
                is("b", 9),
                promoted.clone(),
            ),
            (
                status(Stage::Succeeded, "b", "b", 7, 7),
                template("b"),
                is("b", 9),
                promoted.clone(),
            ),
            (
                status(Stage::Failed, "b", "a", 7, 5),
                Goal::Generation(7),
                is("b", 9),
                failed.clone(),
            ),
            (
                status(Stage::Failed, "b", "a", 7, 5),
                template("b"),
                is("b", 9),
                failed.clone(),
            ),
            // Another one came in between.
            (
                status(Stage::Progressing, "c", "a", 9, 5),
                template("b"),
                is("c", 9),
                superseded.clone(),
            ),
            (
                status(Stage::Succeeded, "c", "c", 9, 9),
                template("b"),
                is("c", 9),
                superseded,
            ),
            (
                status(Stage::Succeeded, "c", "c", 9, 9),
                Goal::Generation(7),
                is("c", 9),
                promoted.clone(),
            ),
            // The same image once more: nothing is released.
            (
                status(Stage::Succeeded, "a", "a", 5, 5),
                Goal::Generation(6),
                is("a", 6),
                promoted.clone(),
            ),
            (
                status(Stage::Succeeded, "a", "a", 5, 5),
                template("a"),
                is("a", 6),
                promoted.clone(),
            ),
            // Set back to what is promoted, while that is replaced.
            (
                status(Stage::Promoting, "b", "a", 6, 5),
                template("a"),
                is("a", 7),
                None,
            ),
            (
                status(Stage::Failed, "a", "a", 7, 5),
                Goal::Generation(7),
                is("a", 7),
                promoted,
            ),
            // Ordered to be judged again.
            (
                status(Stage::Failed, "", "a", 7, 5),
                Goal::Generation(7),
                is("b", 9),
                None,
            ),
            (
                status(Stage::Failed, "", "a", 7, 5),
                template("b"),
                is("b", 9),
                None,
            ),
            // A bootstrap.
            (status(Stage::New, "", "", 0, 0), template("a"), is("a", 1), None),
            (
                status(Stage::Initializing, "", "", 0, 0),
                Goal::Generation(1),
                is("a", 1),
                None,
            ),
            (
                status(Stage::Failed, "a", "", 1, 0),
                template("a"),
                is("a", 1),
                failed,
            ),
        ];
        for (status, goal, now, expected) in table {
            assert_eq!(
                verdict(&status, &goal, now.as_ref()),
                expected,
                "{status:?} {goal:?}"
            );
        }
    }
}
