//! The process dies after every step of every pass, before the status, and before the words: every rollout ends
//! as it would have, and nothing is done twice.

use proptest::prelude::*;
use verdigris::model::canary::HookKind;
use verdigris::model::status::Stage;
use verdigris::rollout::question::Answer;

use crate::world::{Crash, Outcome, World, canary, hash, hook};

/// A rollout to play, from a world past its bootstrap or before it.
pub(crate) type Play = fn() -> World;

fn bootstrap() -> World {
    World::new(canary())
}

pub(crate) fn good() -> World {
    let mut world = World::initialized(canary());
    world.push(2);
    world
}

fn bad_metric() -> World {
    let mut world = good();
    world.values.insert(hash(2), Answer::Value(50.0));
    world
}

fn bad_image() -> World {
    let mut world = good();
    world.broken.insert(hash(2));
    world
}

fn flapping() -> World {
    let mut world = good();
    world.script = vec![Answer::Value(1.0), Answer::Value(9.0), Answer::Value(2.0)];
    world
}

fn skipped() -> World {
    let mut canary = canary();
    canary.analysis.skip = true;
    let mut world = World::initialized(canary);
    world.push(2);
    world
}

fn deleted() -> World {
    let mut canary = canary();
    canary.revert_on_deletion = true;
    let mut world = World::initialized(canary);
    world.deleting = true;
    world
}

pub(crate) const PLAYS: [(&str, Play); 7] = [
    ("bootstrap", bootstrap),
    ("good", good),
    ("bad metric", bad_metric),
    ("bad image", bad_image),
    ("flapping", flapping),
    ("skipped", skipped),
    ("deleted", deleted),
];

#[test]
fn a_crash_anywhere_changes_nothing() {
    let mut crashes = 0;
    for (name, play) in PLAYS {
        let mut calm = play();
        calm.settle();
        let expected: Outcome = calm.outcome();
        for (pass, steps) in calm.passes.iter().copied().enumerate() {
            let before = (0..=steps).map(|steps| (steps, false));
            for (steps, status_written) in before.chain([(steps, true)]) {
                let crash = Crash {
                    pass,
                    steps,
                    status_written,
                };
                let mut world = play();
                world.crash = Some(crash);
                world.settle();
                assert_eq!(world.outcome(), expected, "{name}, {crash:?}:\n{}", world.told());
                assert_eq!(world.gone, calm.gone, "{name}, {crash:?}");
                crashes += 1;
            }
        }
    }
    crate::report(&format!("{crashes} crashes survived"));
    assert!(crashes > 100, "{crashes}");
}

/// A new revision at every pass of a rollout: it is judged, and it is what the primary ends up with.
#[test]
fn a_new_revision_at_every_pass_is_the_one_that_is_promoted() {
    for play in [bootstrap, good, bad_metric, bad_image, flapping] {
        let mut calm = play();
        calm.settle();
        for pass in 0..=calm.passes.len() {
            let mut world = play();
            world.run_until(|world| world.passes.len() >= pass);
            world.push(3);
            world.settle();
            let outcome = world.outcome();
            let running = outcome.primary.map(|primary| primary.template);
            assert_eq!(running, Some(hash(3)), "at pass {pass}:\n{}", world.told());
            assert!(
                matches!(outcome.stage, Stage::Succeeded | Stage::Initialized),
                "at pass {pass}:\n{}",
                world.told()
            );
            assert_eq!(
                outcome.hashes,
                (hash(3), hash(3)),
                "at pass {pass}:\n{}",
                world.told()
            );
            assert_eq!(outcome.target, Some(0));
        }
    }
}

/// Every way metrics can go: the run ends, promoted when fewer checks failed than the threshold, failed otherwise.
#[test]
fn every_sequence_of_verdicts_ends() {
    for pattern in 0_u32..64 {
        let mut world = good();
        world.script = (0..6)
            .map(|bit| Answer::Value(if pattern >> bit & 1 == 1 { 9.0 } else { 1.0 }))
            .collect();
        world.settle();
        // Three passes and the one after them are needed; the second failure ends it.
        let (mut passed, mut failed) = (0, 0);
        for bit in 0..6 {
            if passed == 4 || failed == 2 {
                break;
            }
            if pattern >> bit & 1 == 1 {
                failed += 1;
            } else {
                passed += 1;
            }
        }
        let expected = if failed == 2 {
            Stage::Failed
        } else {
            Stage::Succeeded
        };
        assert_eq!(world.status.stage, expected, "{pattern:06b}:\n{}", world.told());
        let running = world.outcome().primary.unwrap().template;
        assert_eq!(running, hash(if failed == 2 { 1 } else { 2 }));
    }
}

/// Something that happens to a rollout.
#[derive(Debug, Clone)]
enum Event {
    Push(u32),
    Config(u8),
    Break(u32),
    Measure(u32, bool),
    Gate(&'static str, bool),
    LosePrimary,
    LoseServices,
    ScaleTarget(i32),
    Suspend(bool),
    Die(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1_u32..5).prop_map(Event::Push),
        1 => (0_u8..3).prop_map(Event::Config),
        1 => (2_u32..5).prop_map(Event::Break),
        2 => (2_u32..5, any::<bool>()).prop_map(|(n, good)| Event::Measure(n, good)),
        2 => (prop_oneof![Just("gate"), Just("promote"), Just("rollback")], any::<bool>())
            .prop_map(|(name, open)| Event::Gate(name, open)),
        1 => Just(Event::LosePrimary),
        1 => Just(Event::LoseServices),
        1 => (0_i32..3).prop_map(Event::ScaleTarget),
        1 => any::<bool>().prop_map(Event::Suspend),
        2 => (0_usize..4).prop_map(Event::Die),
    ]
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Push(n) => world.push(*n),
        Event::Config(sum) => world.push_config(&sum.to_string()),
        Event::Break(n) => {
            world.broken.insert(hash(*n));
        }
        Event::Measure(n, good) => {
            let value = Answer::Value(if *good { 1.0 } else { 50.0 });
            world.values.insert(hash(*n), value);
        }
        Event::Gate(name, open) => {
            let answer = if *open {
                Answer::Passed
            } else {
                Answer::Refused("closed".to_owned())
            };
            world.answers.insert((*name).to_owned(), answer);
        }
        Event::LosePrimary => world.primary = None,
        Event::LoseServices => {
            world.services = false;
            world.apex_on_primary = false;
        }
        Event::ScaleTarget(replicas) => world.target.as_mut().unwrap().desired = *replicas,
        Event::Suspend(on) => {
            world.canary.suspended = *on;
            world.canary.generation += 1;
        }
        Event::Die(steps) => {
            world.crash = Some(Crash {
                pass: world.passes.len(),
                steps: *steps,
                status_written: false,
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened before, a good revision gets through once the trouble is over.
    #[test]
    fn a_good_revision_gets_through_after_any_trouble(
        events in prop::collection::vec((event(), 0_i64..40), 0..14),
    ) {
        let mut canary = canary();
        canary.analysis.hooks.push(hook(HookKind::ConfirmRollout, "gate"));
        canary.analysis.hooks.push(hook(HookKind::ConfirmPromotion, "promote"));
        canary.analysis.hooks.push(hook(HookKind::Rollback, "rollback"));
        let mut world = World::new(canary);
        world.outage_allowed = true;
        world.answers.insert("rollback".to_owned(), Answer::Refused("no".to_owned()));
        for (event, seconds) in &events {
            happen(&mut world, event);
            world.run_for(*seconds);
        }
        world.canary.suspended = false;
        world.broken.clear();
        world.values.clear();
        world.answers.clear();
        world.answers.insert("rollback".to_owned(), Answer::Refused("no".to_owned()));
        world.push(9);
        world.target.as_mut().unwrap().desired = 2;
        world.settle();
        let outcome = world.outcome();
        prop_assert_eq!(outcome.hashes, (hash(9), hash(9)), "{}", world.told());
        prop_assert!(
            matches!(outcome.stage, Stage::Succeeded | Stage::Initialized),
            "{:?}:\n{}", outcome.stage, world.told()
        );
        prop_assert_eq!(outcome.primary.map(|primary| primary.template), Some(hash(9)));
        prop_assert_eq!(outcome.target, Some(0));
        prop_assert!(world.apex_on_primary);
    }
}
