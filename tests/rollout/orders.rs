//! Orders of an operator: at every stage, at every pass, with a crash anywhere; answered once.

use jiff::{SignedDuration, Timestamp};
use verdigris::model::canary::HookKind;
use verdigris::model::order::{Malformed, Order, Verb};
use verdigris::model::status::{Reply, Stage, Status};
use verdigris::rollout::checksum;
use verdigris::rollout::observed::{Block, Observed, Seen};
use verdigris::rollout::plan::Step;
use verdigris::rollout::question::Answer;

use crate::rollout_crash::{PLAYS, good};
use crate::rollout_table::{Guard, HEALTH, Health, decide, full_canary, strategies, workload};
use crate::world::{Crash, World, canary, hash, hook, lawful, revision};

/// Every verb in every stage, with every health of the workloads, bound to the run, to another, to none; paused or
/// not; skipping forbidden or not: the laws hold, and the order is answered, taken up, or stays for the run that begins.
#[test]
fn every_order_everywhere_keeps_the_laws() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut judged = 0_u32;
    let canary = full_canary(strategies()[0].clone(), Guard::Plain, false);
    let mut seen = Observed {
        status: Status::default(),
        target: Seen::Absent,
        primary: Seen::Absent,
        revision: None,
        target_equals_primary: false,
        services_ready: true,
        routing: None,
        blocked: None,
        interference: None,
        left_up: false,
        stale_scalers: false,
        polled: None,
        deleting: false,
        has_finalizer: false,
        order: None,
        forbidden: None,
        skip_forbidden: None,
    };
    let gates = [Answer::Passed, Answer::Refused("no".to_owned())];
    for (verb, stage) in Verb::ALL
        .into_iter()
        .flat_map(|verb| Stage::ALL.map(|stage| (verb, stage)))
    {
        for (primary, target) in HEALTH.into_iter().flat_map(|p| HEALTH.map(|t| (p, t))) {
            for bits in 0..32 {
                let [new, routed, paused, forbidden, bootstrap] = [1, 2, 4, 8, 16].map(|bit| bits & bit != 0);
                seen.status = Status {
                    stage,
                    iterations: 2,
                    failed_checks: 1,
                    last_applied: hash(2),
                    last_promoted: if bootstrap { String::new() } else { hash(1) },
                    last_check: Some(now - SignedDuration::from_secs(60)),
                    paused,
                    ..Status::default()
                };
                seen.primary = workload("podinfo-primary", primary, Some(1));
                seen.target = workload("podinfo", target, None);
                seen.revision = (target != Health::Absent).then(|| revision(if new { 3 } else { 2 }));
                seen.services_ready = routed;
                seen.skip_forbidden = forbidden.then(|| "a policy says so".to_owned());
                let runs = [None, Some(checksum(&seen.status)), Some("0".repeat(16))];
                for (run, gate) in runs
                    .into_iter()
                    .flat_map(|run| gates.iter().map(move |gate| (run.clone(), gate)))
                {
                    seen.order = Some(Ok(Order {
                        id: "1".to_owned(),
                        verb,
                        run: run.clone(),
                        uid: None,
                    }));
                    let (plan, heard) = decide(&canary, &seen, &Answer::Value(1.0), gate, now);
                    lawful(&canary, &seen, &heard, &plan, now);
                    let answer = plan.status.last_order.as_ref();
                    let refused = answer.is_some_and(|answer| answer.outcome == Reply::Refused);
                    let context = || format!("{seen:#?}\n{plan:#?}");
                    if forbidden && verb == Verb::Promote {
                        assert!(
                            answer.is_none_or(|answer| answer.outcome == Reply::Refused),
                            "{}",
                            context()
                        );
                        assert!(!entered(&seen, &plan.status, Stage::Promoting), "{}", context());
                    }
                    let other_run = run.as_ref().is_some_and(|run| run.starts_with('0'));
                    if other_run && !matches!(verb, Verb::Pause | Verb::Resume) {
                        assert!(answer.is_none_or(|_| refused), "{}", context());
                    }
                    if refused {
                        // But for a canary that came to its deadline while a promotion waited for it.
                        let deadline = entered(&seen, &plan.status, Stage::Failed) && verb == Verb::Promote;
                        assert!(deadline || plan.steps.is_empty(), "{}", context());
                        assert!(deadline || plan.status.paused == paused, "{}", context());
                    }
                    judged += 1;
                    // What is answered is as if it had never been there.
                    if answer.is_some_and(|answer| answer.outcome != Reply::Accepted) {
                        let mut answered = seen.clone();
                        answered.status = plan.status.clone();
                        let with = decide(&canary, &answered, &Answer::Value(1.0), gate, now).0;
                        answered.order = None;
                        let without = decide(&canary, &answered, &Answer::Value(1.0), gate, now).0;
                        assert_eq!(with, without, "{}", context());
                    }
                }
            }
        }
    }
    println!("{judged} orders judged");
    assert!(judged > 90_000, "{judged}");
}

fn entered(seen: &Observed, status: &Status, stage: Stage) -> bool {
    seen.status.stage != stage && status.stage == stage
}

/// Every verb at every pass of every rollout. Whatever was ordered, it ends, with a primary that runs something good.
#[test]
fn an_order_at_every_pass_is_answered_once_and_ends_well() {
    let mut given = 0;
    for (name, play) in PLAYS {
        let mut calm = play();
        calm.settle();
        for pass in 0..=calm.passes.len() {
            for verb in Verb::ALL {
                let mut world = play();
                world.run_until(|world| world.passes.len() >= pass);
                if world.gone {
                    continue;
                }
                world.order(verb);
                world.settle();
                let context = || format!("{name}, {verb:?} at pass {pass}:\n{}", world.told());
                if !world.deleting {
                    let answer = world
                        .status
                        .last_order
                        .clone()
                        .unwrap_or_else(|| panic!("{}", context()));
                    assert_ne!(answer.outcome, Reply::Accepted, "{}", context());
                    let answers = world.times("OrderHonoured") + world.times("OrderRefused");
                    assert_eq!(answers, 1, "{}", context());
                    match (verb, answer.outcome) {
                        (Verb::Promote, Reply::Honoured) => {
                            assert_eq!(world.status.stage, Stage::Succeeded, "{}", context());
                        }
                        (Verb::Abort, Reply::Honoured) => {
                            assert_eq!(world.status.stage, Stage::Failed, "{}", context());
                        }
                        (Verb::Pause, _) => assert!(world.status.paused, "{}", context()),
                        _ => assert!(!world.status.paused, "{}", context()),
                    }
                    let running = world.outcome().primary.map(|primary| primary.template);
                    match world.status.stage {
                        Stage::Succeeded => assert_eq!(running, Some(hash(2)), "{}", context()),
                        Stage::Failed if !world.status.last_promoted.is_empty() => {
                            assert_eq!(running, Some(hash(1)), "{}", context());
                        }
                        _ => {}
                    }
                }
                given += 1;
            }
        }
    }
    println!("{given} orders given");
    assert!(given > 200, "{given}");
}

/// The process dies after every step of every pass that follows an order: it is carried out once.
#[test]
fn a_crash_after_an_order_changes_nothing() {
    let mut crashes = 0;
    for verb in [Verb::Promote, Verb::Abort, Verb::Retry] {
        let mut calm = good();
        calm.settle();
        for pass in 0..=calm.passes.len() + 1 {
            let begin = || {
                let mut world = good();
                if verb == Verb::Retry {
                    world.script = vec![Answer::Value(9.0), Answer::Value(9.0)];
                }
                world.run_until(|world| world.passes.len() >= pass);
                world.order(verb);
                world
            };
            let mut calm = begin();
            calm.settle();
            let expected = calm.outcome();
            for (at, steps) in calm.passes.clone().into_iter().enumerate().skip(pass) {
                for (steps, status_written) in (0..=steps).map(|steps| (steps, false)).chain([(steps, true)])
                {
                    let crash = Crash {
                        pass: at,
                        steps,
                        status_written,
                    };
                    let mut world = begin();
                    world.crash = Some(crash);
                    world.settle();
                    assert_eq!(
                        world.outcome(),
                        expected,
                        "{verb:?} at {pass}, {crash:?}:\n{}",
                        world.told()
                    );
                    assert_eq!(
                        world.status.last_order,
                        calm.status.last_order,
                        "{}",
                        world.told()
                    );
                    crashes += 1;
                }
            }
        }
    }
    println!("{crashes} crashes survived");
    assert!(crashes > 300, "{crashes}");
}

fn progressing() -> World {
    let mut world = World::initialized(canary());
    world.push(2);
    world.run_until(|world| world.status.iterations == 1);
    world
}

#[test]
fn promote_skips_checks_and_gates_but_not_readiness() {
    let mut gated = canary();
    gated.analysis.hooks.push(hook(HookKind::ConfirmRollout, "gate"));
    gated
        .analysis
        .hooks
        .push(hook(HookKind::ConfirmPromotion, "promote"));
    let mut world = World::initialized(gated);
    world
        .answers
        .insert("gate".to_owned(), Answer::Refused("no".to_owned()));
    world.push(2);
    world.run_until(|world| world.status.stage == Stage::Waiting);
    world.order(Verb::Promote);
    world.settle();
    insta::assert_snapshot!(world.told());
    assert_eq!(world.status.stage, Stage::Succeeded);
}

#[test]
fn abort_rolls_back_at_once() {
    let mut world = progressing();
    world.order(Verb::Abort);
    let now = world.now;
    world.run_until(|world| world.status.stage == Stage::Failed);
    assert_eq!(world.now, now, "nothing is waited for");
    world.settle();
    insta::assert_snapshot!(world.told());
}

#[test]
fn abort_calls_a_promotion_off() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.run_until(|world| world.status.stage == Stage::Promoting && world.outcome().primary_changes == 1);
    world.order(Verb::Abort);
    world.settle();
    assert_eq!(world.status.stage, Stage::Failed);
    assert_eq!(world.outcome().primary.unwrap().template, hash(1));
    world.order(Verb::Retry);
    world.settle();
    assert_eq!(world.status.stage, Stage::Succeeded, "{}", world.told());
    assert_eq!(world.outcome().primary.unwrap().template, hash(2));
}

#[test]
fn retry_judges_what_failed_again_gates_and_all() {
    let mut gated = canary();
    gated.analysis.hooks.push(hook(HookKind::ConfirmRollout, "gate"));
    let mut world = World::initialized(gated);
    world.script = vec![Answer::Value(9.0), Answer::Value(9.0)];
    world.push(2);
    world.settle();
    assert_eq!(world.status.stage, Stage::Failed);
    world
        .answers
        .insert("gate".to_owned(), Answer::Refused("no".to_owned()));
    world.order(Verb::Retry);
    world.run_for(30);
    assert_eq!(world.status.stage, Stage::Waiting, "{}", world.told());
    world.answers.clear();
    world.settle();
    assert_eq!(world.status.stage, Stage::Succeeded, "{}", world.told());
    // Answered once: what fails next stays failed.
    world.values.insert(hash(3), Answer::Value(50.0));
    world.push(3);
    world.settle();
    assert_eq!(world.status.stage, Stage::Failed);
}

#[test]
fn a_failed_bootstrap_is_tried_again() {
    let mut world = World::new(canary());
    world.broken.insert(hash(1));
    world.outage_allowed = true;
    world.settle();
    assert_eq!(world.status.stage, Stage::Failed);
    world.broken.clear();
    world.order(Verb::Retry);
    world.settle();
    assert_eq!(world.status.stage, Stage::Initialized, "{}", world.told());
}

/// Nothing is asked and no deadline passes in a pause; after it the run goes on where it was.
#[test]
fn a_pause_holds_the_run_without_killing_it() {
    let mut world = progressing();
    world.order(Verb::Pause);
    world.run_for(1);
    let (asked, before) = (world.calls.len(), world.status.iterations);
    world.run_for(1000);
    world.jump(100_000);
    world.run_for(1000);
    assert_eq!((world.calls.len(), world.status.iterations), (asked, before));
    assert_eq!(world.status.stage, Stage::Progressing);
    world.order(Verb::Resume);
    world.settle();
    assert_eq!(world.status.stage, Stage::Succeeded, "{}", world.told());
    assert_eq!(
        world.times("Advance podinfo.test canary iteration"),
        3,
        "{}",
        world.told()
    );
}

/// A pause at rest keeps a new revision from starting; the operator's next word ends it.
#[test]
fn the_last_word_ends_a_pause() {
    for (verb, stage) in [
        (Verb::Promote, Stage::Succeeded),
        (Verb::Resume, Stage::Succeeded),
        (Verb::Abort, Stage::Failed),
    ] {
        let mut world = World::initialized(canary());
        world.order(Verb::Pause);
        world.settle();
        world.push(2);
        world.settle();
        assert_eq!(world.status.stage, Stage::Initialized, "{verb:?}");
        world.order(verb);
        world.settle();
        assert_eq!(world.status.stage, stage, "{verb:?}:\n{}", world.told());
        assert!(!world.status.paused);
    }
}

#[test]
fn an_order_for_a_run_that_is_over_hits_nothing() {
    let mut world = progressing();
    world.push(3);
    world.order(Verb::Promote);
    world.settle();
    assert!(
        world.said("refused: it was given for a run that is over"),
        "{}",
        world.told()
    );
    assert_eq!(
        world.times("Advance podinfo.test canary iteration 3/3"),
        1,
        "all of it was judged:\n{}",
        world.told()
    );
    // A copy of the object restored elsewhere.
    let mut world = progressing();
    world.order(Verb::Abort);
    world.order.as_mut().unwrap().uid = Some("another".to_owned());
    world.settle();
    assert!(world.said("another object"), "{}", world.told());
    assert_eq!(world.status.stage, Stage::Succeeded);
}

#[test]
fn a_policy_may_forbid_to_skip_the_analysis() {
    let mut world = progressing();
    world.skip_forbidden = Some("policy careful: analysis may not be skipped".to_owned());
    world.order(Verb::Promote);
    world.settle();
    assert!(
        world.said("Order promote refused: policy careful"),
        "{}",
        world.told()
    );
    assert_eq!(world.times("Advance podinfo.test canary iteration"), 3);
}

#[test]
fn guards_answer_too() {
    type Guard = fn(&mut World);
    let guards: [(&str, Guard); 3] = [
        ("spec.suspend is true", |world| world.canary.suspended = true),
        ("taken", |world| {
            world.blocked = Some(Block {
                reason: "ServiceOwned".to_owned(),
                message: "taken".to_owned(),
            });
        }),
        ("was not found", |world| world.target = None),
    ];
    for (why, guard) in guards {
        let mut world = progressing();
        guard(&mut world);
        world.order(Verb::Abort);
        world.run_for(20);
        assert_eq!(world.status.stage, Stage::Progressing);
        assert_eq!(world.times("OrderRefused"), 1, "{}", world.told());
        assert!(world.said(why), "{}", world.told());
        world.order(Verb::Pause);
        world.run_for(20);
        assert!(world.status.paused, "{}", world.told());
    }
}

#[test]
fn what_is_no_order_is_told_once() {
    let mut seen = progressing().seen();
    seen.order = Some(Err(Malformed {
        id: "x".to_owned(),
        why: "verb null; expected".to_owned(),
    }));
    let now = Timestamp::from_second(1_900_000_000).unwrap();
    let plan = decide(&canary(), &seen, &Answer::Value(1.0), &Answer::Passed, now).0;
    let answer = plan.status.last_order.clone().unwrap();
    assert_eq!((answer.outcome, answer.id.as_str()), (Reply::Refused, "x"));
    assert!(answer.message.contains("verdigris.dev/order: verb null"));
    seen.status = plan.status;
    let plan = decide(&canary(), &seen, &Answer::Value(1.0), &Answer::Passed, now).0;
    assert!(!plan.steps.contains(&Step::Park));
    assert_eq!(plan.status.iterations, 2, "the run goes on");
}
