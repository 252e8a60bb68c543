//! Rollouts decided without a cluster: stories as snapshots, and the tests that exhaust the state machine.
//! `cargo test rollout` runs them all.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so by panicking, and the table prints how much it judged"
)]

#[path = "rollout/crash.rs"]
mod rollout_crash;
#[path = "rollout/orders.rs"]
mod rollout_orders;
#[path = "rollout/quirks.rs"]
mod rollout_quirks;
#[path = "rollout/table.rs"]
mod rollout_table;
#[path = "support/world.rs"]
mod world;

mod rollout_storyboard {
    use verdigris::model::canary::HookKind;
    use verdigris::model::status::Stage;
    use verdigris::rollout::question::Answer;

    use super::world::{World, canary, hash, hook};

    macro_rules! story {
        ($world:expr) => {
            insta::assert_snapshot!($world.told())
        };
    }

    fn refuse() -> Answer {
        Answer::Refused("not yet".to_owned())
    }

    fn gated(kinds: &[(HookKind, &str)]) -> World {
        let mut canary = canary();
        for (kind, name) in kinds {
            canary.analysis.hooks.push(hook(*kind, name));
        }
        World::initialized(canary)
    }

    #[test]
    fn bootstrap() {
        let mut world = World::new(canary());
        world.settle();
        story!(world);
    }

    /// App. A.1.
    #[test]
    fn promotion() {
        let mut world = gated(&[
            (HookKind::ConfirmRollout, "gate"),
            (HookKind::ConfirmPromotion, "promote"),
            (HookKind::PostRollout, "report"),
        ]);
        world.push(2);
        world.settle();
        story!(world);
        assert_eq!(world.outcome().primary.unwrap().template, hash(2));
    }

    #[test]
    fn bad_metric() {
        let mut world = gated(&[(HookKind::PostRollout, "report")]);
        world.values.insert(hash(2), Answer::Value(50.0));
        world.push(2);
        world.settle();
        story!(world);
        assert_eq!(world.outcome().primary.unwrap().template, hash(1));
    }

    #[test]
    fn bad_image() {
        let mut world = World::initialized(canary());
        world.broken.insert(hash(2));
        world.push(2);
        world.settle();
        story!(world);
    }

    #[test]
    fn restart() {
        let mut world = World::initialized(canary());
        world.push(2);
        world.run_until(|world| world.status.iterations == 2);
        world.push(3);
        world.settle();
        story!(world);
    }

    /// App. A.4, first line.
    #[test]
    fn confirm_rollout_closed() {
        let mut world = gated(&[(HookKind::ConfirmRollout, "gate")]);
        world.answers.insert("gate".to_owned(), refuse());
        world.push(2);
        world.run_for(25);
        assert_eq!(world.status.stage, Stage::Waiting);
        world.answers.clear();
        world.run_until(|world| world.status.stage == Stage::Progressing);
        story!(world);
    }

    /// App. A.4, second line.
    #[test]
    fn confirm_promotion_closed() {
        let mut world = gated(&[(HookKind::ConfirmPromotion, "promote")]);
        world.answers.insert("promote".to_owned(), refuse());
        world.push(2);
        world.run_for(75);
        assert_eq!(world.status.stage, Stage::WaitingPromotion);
        world.answers.clear();
        world.settle();
        story!(world);
    }

    /// App. A.4, third line.
    #[test]
    fn rollback_hook() {
        let mut world = gated(&[(HookKind::Rollback, "rollback")]);
        world.answers.insert("rollback".to_owned(), refuse());
        world.push(2);
        world.run_until(|world| world.status.iterations == 2);
        world.answers.clear();
        world.settle();
        story!(world);
    }

    #[test]
    fn skip_analysis() {
        let mut canary = canary();
        canary.analysis.skip = true;
        let mut world = World::new(canary);
        world.settle();
        world.push(2);
        world.settle();
        story!(world);
    }

    #[test]
    fn failed_promotion() {
        let mut world = World::initialized(canary());
        world.push(2);
        world.run_until(|world| world.status.stage == Stage::Promoting);
        world.broken.insert(hash(2));
        world.settle();
        story!(world);
    }

    #[test]
    fn revert_on_deletion() {
        let mut canary = canary();
        canary.revert_on_deletion = true;
        let mut world = World::new(canary);
        world.settle();
        world.deleting = true;
        world.settle();
        story!(world);
        assert!(world.gone);
    }
}
