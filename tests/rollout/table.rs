//! The product table: every stage with every combination of facts and answers, each judged by the laws.

use std::num::NonZeroU32;

use jiff::{SignedDuration, Timestamp};
use verdigris::model::canary::{Canary, HookKind, Strategy};
use verdigris::model::split::Split;
use verdigris::model::status::{Stage, Status};
use verdigris::rollout::next::next;
use verdigris::rollout::observed::{Observed, Routing, Seen, Workload};
use verdigris::rollout::plan::{Next, Plan, Step};
use verdigris::rollout::question::{Answer, Answers, Question};

use crate::world::{ROUTER, canary, hash, hook, lawful, revision};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Absent,
    Ready,
    Progressing,
    Stuck,
}

pub(crate) const HEALTH: [Health; 4] = [Health::Absent, Health::Ready, Health::Progressing, Health::Stuck];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    Plain,
    Suspended,
    Deleting,
}

pub(crate) fn workload(name: &str, health: Health, runs: Option<u32>) -> Seen {
    let (updated, available) = match health {
        Health::Absent => return Seen::Absent,
        Health::Ready => (2, 2),
        Health::Progressing | Health::Stuck => (2, 0),
    };
    Seen::Present(Workload {
        name: name.to_owned(),
        generation: 4,
        observed_generation: 4,
        desired: 2,
        total: 2,
        updated,
        available,
        ready: available,
        deadline_exceeded: health == Health::Stuck,
        own_deadline: None,
        revision: runs.map(hash),
    })
}

pub(crate) fn strategies() -> [Strategy; 3] {
    let iterations = NonZeroU32::new(3).unwrap();
    [
        Strategy::BlueGreen {
            iterations,
            mirror: false,
        },
        Strategy::Progressive {
            weights: vec![50],
            mirror: false,
            promotion: None,
        },
        Strategy::AbTest { iterations },
    ]
}

pub(crate) fn full_canary(strategy: Strategy, guard: Guard, skip: bool) -> Canary {
    let mut canary = canary();
    canary.analysis.strategy = strategy;
    canary.analysis.skip = skip;
    canary.suspended = guard == Guard::Suspended;
    canary.revert_on_deletion = guard == Guard::Deleting;
    canary.analysis.hooks = [
        HookKind::ConfirmRollout,
        HookKind::PreRollout,
        HookKind::Rollout,
        HookKind::ConfirmTrafficIncrease,
        HookKind::ConfirmPromotion,
        HookKind::PostRollout,
    ]
    .into_iter()
    .map(|kind| hook(kind, kind.as_str()))
    .collect();
    canary
}

/// Interviews `next` to the end; returns the plan and what was heard.
pub(crate) fn decide(
    canary: &Canary,
    seen: &Observed,
    verdict: &Answer,
    gate: &Answer,
    now: Timestamp,
) -> (Plan, Answers) {
    let mut heard = Answers::new();
    for _ in 0..=canary.analysis.hooks.len() + 2 {
        let asked = match next(canary, seen, &heard, now) {
            Next::Act(plan) => return (*plan, heard),
            Next::Ask(asked) => asked,
        };
        assert!(!asked.is_empty(), "an interview without a question");
        for question in asked {
            let answer = match question {
                Question::MetricsOnline => Answer::Passed,
                Question::Hook { .. } => gate.clone(),
                Question::Check { .. } => verdict.clone(),
            };
            assert!(
                heard.insert(question.clone(), answer).is_none(),
                "asked twice: {question:?}"
            );
        }
    }
    panic!("the interview does not end: {seen:#?}");
}

#[test]
fn every_combination_keeps_the_laws() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let ago = |seconds| Some(now - SignedDuration::from_secs(seconds));
    let verdicts = [
        Answer::Value(1.0),
        Answer::Value(50.0),
        Answer::NoValues("no values found".to_owned()),
    ];
    let gates = [
        Answer::Passed,
        Answer::Refused("no".to_owned()),
        Answer::Error("connection refused".to_owned()),
    ];
    let mut judged = 0_u32;
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
        skip_forbidden: None,
    };
    for strategy in strategies() {
        for guard in [Guard::Plain, Guard::Suspended, Guard::Deleting] {
            for skip in [false, true] {
                let canary = full_canary(strategy.clone(), guard, skip);
                seen.deleting = guard == Guard::Deleting;
                seen.has_finalizer = guard == Guard::Deleting;
                for (stage, iterations) in Stage::ALL
                    .into_iter()
                    .flat_map(|stage| [0, 2, 3, 4].map(|i| (stage, i)))
                {
                    seen.status = Status {
                        stage,
                        iterations,
                        failed_checks: iterations / 2,
                        last_applied: hash(1),
                        last_promoted: hash(1),
                        ..Status::default()
                    };
                    for (primary, target) in HEALTH.into_iter().flat_map(|p| HEALTH.map(|t| (p, t))) {
                        seen.primary = workload("podinfo-primary", primary, Some(1));
                        seen.target = workload("podinfo", target, None);
                        for (new, due, routed, split) in facts(guard == Guard::Plain && !skip) {
                            seen.routing = split.map(|split| Routing { can: ROUTER, split });
                            seen.status.canary_weight = split.map_or(0, |split| split.canary);
                            seen.revision =
                                (target != Health::Absent).then(|| revision(if new { 2 } else { 1 }));
                            seen.target_equals_primary = !new;
                            seen.status.last_check = ago(if due { 60 } else { 1 });
                            seen.services_ready = routed;
                            let answers = verdicts.iter().flat_map(|v| gates.iter().map(move |g| (v, g)));
                            // Behind a guard nothing is asked, so one answer stands for all.
                            let asked = match (guard, split) {
                                (Guard::Plain, None) => 9,
                                (Guard::Plain, Some(_)) => 5,
                                (Guard::Suspended | Guard::Deleting, _) => 1,
                            };
                            for (verdict, gate) in answers.take(asked) {
                                let (plan, heard) = decide(&canary, &seen, verdict, gate, now);
                                lawful(&canary, &seen, &heard, &plan, now);
                                quiet_before_due(&seen, &heard, due);
                                settles(&canary, &seen, &heard, &plan, now);
                                judged += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    crate::report(&format!("{judged} combinations judged"));
    assert!(judged > 400_000, "{judged}");
}

/// A new revision, a check that is due, Services as they should be, and what a router does, if there is one.
fn facts(routed: bool) -> impl Iterator<Item = (bool, bool, bool, Option<Split>)> {
    let splits = [
        None,
        Some(Split::NONE),
        Some(Split::MIRRORED),
        Some(Split::to_canary(50)),
    ];
    let splits = if routed { &splits[..] } else { &splits[..1] }.to_vec();
    (0..8).flat_map(move |bits| {
        let bit = move |at: u8| bits >> at & 1 == 1;
        let splits = splits.clone();
        splits
            .into_iter()
            .map(move |split| (bit(0), bit(1), bit(2), split))
    })
}

/// Gates and checks keep the interval, but for the first check of a run.
fn quiet_before_due(seen: &Observed, heard: &Answers, due: bool) {
    let touched = seen.routing.is_some_and(|routing| !routing.split.is_none());
    let first = seen.status.stage == Stage::Progressing && seen.status.iterations == 0 && !touched;
    let asked = heard.keys().any(|question| *question != Question::MetricsOnline);
    assert!(
        due || first || !asked,
        "asked before it was due: {seen:#?}\n{heard:#?}"
    );
}

/// Deciding again on what was stored, at the same moment and with nothing new to hear, says nothing new unless a
/// stage was entered or steps are waited for.
fn settles(canary: &Canary, seen: &Observed, heard: &Answers, plan: &Plan, now: Timestamp) {
    assert_eq!(
        next(canary, seen, heard, now),
        Next::Act(Box::new(plan.clone())),
        "two answers to one question"
    );
    if plan.status.stage != seen.status.stage || plan.steps.contains(&Step::RemoveFinalizer) {
        return;
    }
    let mut stored = seen.clone();
    stored.status = plan.status.clone();
    let Next::Act(again) = next(canary, &stored, heard, now) else {
        return;
    };
    if stored.status.last_check == seen.status.last_check || again.status.stage == stored.status.stage {
        let told = again.announcements.len();
        assert!(
            told == 0 || again.status != stored.status,
            "told twice: {stored:#?}\n{again:#?}"
        );
    }
}

/// At rest there is nothing to write, to say or to wait for.
#[test]
fn rest_is_a_fixed_point() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let canary = full_canary(strategies()[0].clone(), Guard::Plain, false);
    for stage in [Stage::Initialized, Stage::Succeeded, Stage::Failed] {
        let mut seen = Observed {
            status: Status {
                stage,
                last_applied: hash(1),
                last_promoted: hash(1),
                observed_generation: canary.generation,
                ..Status::default()
            },
            target: workload("podinfo", Health::Ready, None),
            primary: workload("podinfo-primary", Health::Ready, Some(1)),
            revision: Some(revision(1)),
            target_equals_primary: true,
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
            skip_forbidden: None,
        };
        // A status of before there was a condition Ready gets it once.
        let Next::Act(first) = next(&canary, &seen, &Answers::new(), now) else {
            panic!("rest asks nothing");
        };
        assert_eq!((&first.steps, &first.announcements), (&Vec::new(), &Vec::new()));
        seen.status = first.status;
        let expected = Plan {
            steps: Vec::new(),
            status: seen.status.clone(),
            announcements: Vec::new(),
            wake: None,
        };
        assert_eq!(
            next(&canary, &seen, &Answers::new(), now),
            Next::Act(Box::new(expected)),
            "{stage:?}"
        );
    }
}
