//! Rollouts decided without a cluster: stories as snapshots, and the tests that exhaust the state machine.
//! `cargo test rollout` runs them all.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

#[path = "rollout/crash.rs"]
mod rollout_crash;
#[path = "rollout/orders.rs"]
mod rollout_orders;
#[path = "rollout/quirks.rs"]
mod rollout_quirks;
#[path = "rollout/register.rs"]
mod rollout_register;
#[path = "rollout/table.rs"]
mod rollout_table;
#[path = "support/world.rs"]
mod world;

/// Says something although the test passes: the harness captures `println!` alone.
fn report(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

mod rollout_storyboard {
    use verdigris::model::canary::{HookKind, Strategy};
    use verdigris::model::status::Stage;
    use verdigris::rollout::question::Answer;

    use super::world::{ROUTER, World, canary, hash, hook};

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

    /// App. A.3, last line: without analysis only two kinds of hook are called.
    #[test]
    fn skip_analysis_with_every_hook() {
        let mut canary = canary();
        canary.analysis.skip = true;
        for kind in [
            HookKind::ConfirmRollout,
            HookKind::ConfirmTrafficIncrease,
            HookKind::ConfirmPromotion,
            HookKind::Rollback,
            HookKind::PostRollout,
        ] {
            canary.analysis.hooks.push(hook(kind, kind.as_str()));
        }
        let mut world = World::initialized(canary);
        world.push(2);
        world.settle();
        story!(world);
        assert_eq!(world.calls, ["confirm-rollout", "post-rollout"]);
    }

    #[test]
    fn pre_rollout_refuses() {
        let mut world = World::initialized(canary());
        world.answers.insert("acceptance".to_owned(), refuse());
        world.push(2);
        world.run_for(5);
        world.answers.clear();
        world.settle();
        story!(world);
        assert_eq!(world.status.stage, Stage::Succeeded);
    }

    #[test]
    fn rollout_hook_refuses() {
        let mut world = World::initialized(canary());
        world.answers.insert("load".to_owned(), refuse());
        world.push(2);
        world.settle();
        story!(world);
        assert_eq!(world.status.stage, Stage::Failed);
    }

    /// Asked, but never open: the gate has no say after the run.
    #[test]
    fn post_rollout_after_a_failure() {
        let mut world = gated(&[
            (HookKind::PostRollout, "report"),
            (HookKind::PostRollout, "clean"),
        ]);
        world.broken.insert(hash(2));
        world.push(2);
        world.settle();
        story!(world);
    }

    #[test]
    fn rollback_hook_while_waiting() {
        let mut world = gated(&[
            (HookKind::ConfirmRollout, "gate"),
            (HookKind::Rollback, "rollback"),
        ]);
        world.answers.insert("gate".to_owned(), refuse());
        world.answers.insert("rollback".to_owned(), refuse());
        world.push(2);
        world.run_for(15);
        world.answers.remove("rollback");
        world.settle();
        story!(world);
    }

    #[test]
    fn suspended_in_mid_run() {
        let mut world = World::initialized(canary());
        world.push(2);
        world.run_until(|world| world.status.iterations == 2);
        world.canary.suspended = true;
        world.canary.generation += 1;
        world.run_for(120);
        world.now += jiff::SignedDuration::from_secs(120);
        world.canary.suspended = false;
        world.canary.generation += 1;
        world.settle();
        story!(world);
    }

    /// The target is set back to what is promoted while it is judged: the run goes on with that (as Flagger).
    #[test]
    fn set_back_by_hand() {
        let mut world = World::initialized(canary());
        world.push(2);
        world.run_until(|world| world.status.iterations == 2);
        world.push(1);
        world.settle();
        story!(world);
    }

    #[test]
    fn primary_lost_in_mid_run() {
        let mut world = World::initialized(canary());
        world.push(2);
        world.run_until(|world| world.status.iterations == 2);
        world.lose_primary();
        world.settle();
        story!(world);
        assert_eq!(world.outcome().primary.unwrap().template, hash(2));
    }

    #[test]
    fn target_deleted_and_made_anew() {
        let mut world = World::initialized(canary());
        world.push(2);
        world.run_until(|world| world.status.iterations == 1);
        world.delete_target();
        world.run_for(30);
        world.make_target(2);
        world.settle();
        story!(world);
        assert_eq!(world.outcome().primary.unwrap().template, hash(2));
    }

    #[test]
    fn bootstrap_that_fails_and_recovers() {
        let mut world = World::new(canary());
        world.run_until(|world| world.primary.is_some());
        world.primary.as_mut().unwrap().desired = 0;
        world.settle();
        world.primary.as_mut().unwrap().desired = 2;
        world.settle();
        story!(world);
        assert_eq!(world.status.stage, Stage::Initialized);
    }

    /// A provider with a router: nothing but what it can do differs.
    fn routed(strategy: Strategy, kinds: &[(HookKind, &str)]) -> World {
        let mut canary = canary();
        canary.analysis.strategy = strategy;
        for (kind, name) in kinds {
            canary.analysis.hooks.push(hook(*kind, name));
        }
        let mut world = World::new(canary);
        world.router = Some(ROUTER);
        world.settle();
        world.begin_anew();
        world
    }

    fn weights(weights: &[u8], mirror: bool, promotion: Option<u8>) -> Strategy {
        Strategy::Progressive {
            weights: weights.to_vec(),
            mirror,
            promotion,
        }
    }

    /// App. A.2 and A.3: weights with one hook of each kind.
    #[test]
    fn weighted_with_a_ramp() {
        let mut world = routed(
            weights(&[100], false, Some(50)),
            &[
                (HookKind::ConfirmRollout, "gate"),
                (HookKind::ConfirmTrafficIncrease, "traffic"),
                (HookKind::ConfirmPromotion, "promote"),
                (HookKind::PostRollout, "report"),
            ],
        );
        world.push(2);
        world.settle();
        story!(world);
        assert_eq!(
            world.calls,
            [
                "gate",
                "acceptance",
                "traffic",
                "load",
                "traffic",
                "promote",
                "report"
            ]
        );
        assert_eq!(world.outcome().primary.unwrap().template, hash(2));
        assert!(world.split.is_none());
    }

    #[test]
    fn weighted_with_mirroring_rolled_back() {
        let mut world = routed(weights(&[20, 40], true, None), &[]);
        world.push(2);
        world.run_until(|world| world.status.canary_weight == 40);
        world.values.insert(hash(2), Answer::Value(50.0));
        world.settle();
        story!(world);
        assert!(world.split.is_none());
        assert_eq!(world.target.as_ref().unwrap().desired, 0);
    }

    #[test]
    fn traffic_gate_closed() {
        let mut world = routed(
            weights(&[50], false, None),
            &[(HookKind::ConfirmTrafficIncrease, "traffic")],
        );
        world.answers.insert("traffic".to_owned(), refuse());
        world.push(2);
        world.run_for(45);
        world.answers.clear();
        world.settle();
        story!(world);
    }

    #[test]
    fn blue_green_with_a_router() {
        let strategy = Strategy::BlueGreen {
            iterations: std::num::NonZeroU32::new(2).unwrap(),
            mirror: true,
        };
        let mut world = routed(strategy, &[]);
        world.push(2);
        world.settle();
        story!(world);
    }

    #[test]
    fn ab_test_with_a_router() {
        let strategy = Strategy::AbTest {
            iterations: std::num::NonZeroU32::new(2).unwrap(),
        };
        let mut world = routed(strategy, &[]);
        world.push(2);
        world.settle();
        story!(world);
    }

    /// Everybody is sent to the canary while the primary goes back, and from there to the primary again.
    #[test]
    fn failed_promotion_with_a_router() {
        let mut world = routed(weights(&[50], false, None), &[]);
        world.push(2);
        world.run_until(|world| world.status.stage == Stage::Promoting);
        world.broken_primary = true;
        world.run_until(|world| world.status.stage == Stage::Failed);
        assert_eq!(world.split.canary, 100);
        world.broken_primary = false;
        world.settle();
        story!(world);
        assert!(world.split.is_none());
        assert_eq!(world.target.as_ref().unwrap().desired, 0);
        assert_eq!(world.outcome().primary.unwrap().template, hash(1));
    }

    #[test]
    fn kapp_re_applies() {
        let mut world = World::initialized(canary());
        world.flip();
        world.run_for(1);
        world.raise("kapp", 2);
        world.run_for(20);
        world.flip();
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
