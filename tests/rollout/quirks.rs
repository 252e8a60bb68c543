//! What Flagger gets wrong and we do not, each named after its number in the quirk register, and what it gets
//! right in surprising ways and we keep.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::SignedDuration;
use verdigris::model::canary::{Autoscaler, HookKind, Provider, ScalerKind, Strategy, TargetKind};
use verdigris::model::status::{HISTORY, Stage, Status};
use verdigris::rollout::checksum;
use verdigris::rollout::observed::Block;
use verdigris::rollout::plan::Step;
use verdigris::rollout::question::Answer;

use crate::world::{World, canary, hash, hook, revision};

fn refuse() -> Answer {
    Answer::Refused("no".to_owned())
}

fn started(world: &World) -> usize {
    world.times("New revision detected! Scaling up")
}

fn running(world: &World) -> String {
    world.primary.as_ref().unwrap().revision.template.clone()
}

/// Statuses Flagger wrote: its hashes are not ours.
fn flagger(stage: Stage, applied: &str, promoted: &str) -> Status {
    Status {
        stage,
        last_applied: applied.to_owned(),
        last_promoted: promoted.to_owned(),
        ..Status::default()
    }
}

#[test]
fn q03_a_failed_canary_writes_nothing_and_still_judges_a_failed_template_again() {
    // nginx lifecycle L1 to L4.
    let mut world = World::initialized(canary());
    world.values.insert(hash(2), Answer::Value(50.0));
    world.push(2);
    world.settle();
    assert_eq!(world.status.stage, Stage::Failed);
    let failed = world.status.clone();
    world.now += SignedDuration::from_secs(600);
    world.settle();
    assert_eq!(world.status, failed, "no churn");

    world.push(1);
    world.settle();
    assert_eq!(
        (world.status.stage, started(&world)),
        (Stage::Failed, 1),
        "set back: no run"
    );
    world.push(2);
    world.settle();
    assert_eq!(
        (world.status.stage, started(&world)),
        (Stage::Failed, 2),
        "the same again: judged again"
    );
    world.values.clear();
    world.push(3);
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(3)));
}

#[test]
fn q04_an_upgrade_from_flagger_starts_no_run() {
    for stage in [Stage::Initialized, Stage::Succeeded, Stage::Failed] {
        let mut world = World::initialized(canary());
        world.status = flagger(stage, "7895f9d5b", "7895f9d5b");
        world.settle();
        assert_eq!((world.status.stage, started(&world)), (stage, 0));
        assert_eq!(world.status.last_applied, hash(1));
        assert_eq!(world.status.last_promoted, hash(1));
    }
}

#[test]
fn q04_an_upgrade_from_flagger_swallows_no_release() {
    for stage in [
        Stage::Initialized,
        Stage::Succeeded,
        Stage::Progressing,
        Stage::Waiting,
    ] {
        let mut world = World::initialized(canary());
        world.status = flagger(stage, "7895f9d5b", "7895f9d5b");
        world.push(2);
        world.settle();
        assert_eq!(
            (world.status.stage, running(&world)),
            (Stage::Succeeded, hash(2)),
            "{stage:?}"
        );
    }
}

#[test]
fn q04_what_failed_on_flagger_is_not_judged_again() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.status = flagger(Stage::Failed, "5d4f6b7c8", "7895f9d5b");
    world.settle();
    assert_eq!((world.status.stage, started(&world)), (Stage::Failed, 0));
    assert_eq!(world.status.last_applied, hash(2));
    world.push(3);
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(3)));
}

#[test]
fn q04_a_promotion_flagger_began_is_finished() {
    let mut world = World::initialized(canary());
    world.status = flagger(Stage::Promoting, "7895f9d5b", "5d4f6b7c8");
    world.settle();
    assert_eq!(world.status.stage, Stage::Succeeded);
    assert_eq!(world.status.last_promoted, hash(1));
}

#[test]
fn q05_deletion_ends_the_run() {
    let mut canary = canary();
    canary.revert_on_deletion = true;
    let mut world = World::initialized(canary);
    world.push(2);
    world.run_until(|world| world.status.iterations == 2);
    world.calls.clear();
    world.deleting = true;
    world.settle();
    assert!(world.gone);
    assert!(world.calls.is_empty() && !world.apex_on_primary);
    assert!(world.target.as_ref().unwrap().desired > 0);
}

#[test]
fn q06_a_vanished_primary_comes_back_as_it_was_promoted() {
    let mut calm = World::initialized(canary());
    calm.push(2);
    calm.settle();
    for pass in 0..=calm.passes.len() {
        let mut world = World::initialized(canary());
        world.push(2);
        world.run_until(|world| world.passes.len() >= pass);
        let promoted = running(&world);
        let stage = world.status.stage;
        world.primary = None;
        world.pass();
        if stage != Stage::Promoting {
            assert_eq!(running(&world), promoted, "in {stage:?}");
        }
        world.settle();
        assert_eq!(
            (world.status.stage, running(&world)),
            (Stage::Succeeded, hash(2)),
            "in {stage:?}"
        );
    }
}

#[test]
fn q06_a_primary_nobody_recorded_is_not_guessed() {
    let mut world = World::initialized(canary());
    world.status.last_promoted = "7895f9d5b".to_owned();
    world.primary = None;
    world.settle();
    assert!(world.primary.is_none());
    assert_eq!(world.stalled(), Some("PrimaryLost"));
}

#[test]
fn q07_a_change_after_a_failure_is_not_lost_while_the_primary_is_not_ready() {
    let mut world = World::initialized(canary());
    world.values.insert(hash(2), Answer::Value(50.0));
    world.push(2);
    world.settle();
    world.broken.insert(hash(1));
    world.push(3);
    world.run_for(5);
    assert_eq!(world.status.stage, Stage::Failed);
    world.broken.clear();
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(3)));
}

#[test]
fn q09_a_failed_promotion_restores_the_primary_and_the_next_revision_is_judged() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.run_until(|world| world.status.stage == Stage::Promoting);
    world.broken.insert(hash(2));
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Failed, hash(1)));
    assert!(world.said("alert  Error: Promotion failed, primary not ready"));
    world.push(3);
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(3)));
}

#[test]
fn q09_a_primary_that_stays_broken_does_not_hold_back_what_mends_it() {
    let mut world = World::initialized(canary());
    world.broken.insert(hash(1));
    world.push(2);
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(2)));
    assert_eq!(
        world.times("podinfo-primary.test not ready: waiting"),
        2,
        "before the run, and when rolled"
    );
}

#[test]
fn q10_one_iteration_and_a_closed_promotion_gate_keep_measuring() {
    let mut canary = canary();
    canary.analysis.strategy = Strategy::BlueGreen {
        iterations: NonZeroU32::MIN,
        mirror: false,
    };
    canary
        .analysis
        .hooks
        .push(hook(HookKind::ConfirmPromotion, "promote"));
    let mut world = World::initialized(canary);
    world.answers.insert("promote".to_owned(), refuse());
    world.push(2);
    world.run_for(120);
    assert_eq!(world.status.stage, Stage::WaitingPromotion);
    assert_eq!(world.times("hook   acceptance"), 1);
    assert!(world.times("metric errors") >= 10);
    // And it can still roll back.
    world.values.insert(hash(2), Answer::Value(50.0));
    world.settle();
    assert_eq!(world.status.stage, Stage::Failed);
}

#[test]
fn q12_what_is_promoted_is_what_was_judged() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.run_until(|world| world.status.stage == Stage::Promoting);
    world.push(3);
    world.run_until(|world| world.status.stage == Stage::Succeeded);
    assert_eq!(
        (running(&world), &world.status.last_promoted),
        (hash(2), &hash(2))
    );
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(3)));
    assert_eq!(started(&world), 2);
}

#[test]
fn q24_a_failed_bootstrap_parks_nothing_and_recovers() {
    let mut stuck = World::new(canary());
    stuck.run_until(|world| world.primary.is_some());
    stuck.primary.as_mut().unwrap().desired = 0;
    stuck.settle();
    assert_eq!(stuck.status.stage, Stage::Failed);
    assert_eq!(stuck.target.as_ref().unwrap().desired, 2);
    assert!(!stuck.apex_on_primary, "traffic stays where it was");
    assert!(stuck.said("alert  Error: Initialization failed"));
    assert_eq!(stuck.times("Initialization failed!"), 1);

    stuck.primary.as_mut().unwrap().desired = 2;
    stuck.settle();
    assert_eq!(stuck.status.stage, Stage::Initialized);
    assert_eq!(stuck.status.last_promoted, hash(1));
}

#[test]
fn q24_a_failed_bootstrap_starts_over_with_a_new_revision() {
    let mut world = World::new(canary());
    world.run_until(|world| world.primary.is_some());
    world.primary.as_mut().unwrap().desired = 0;
    world.settle();
    assert_eq!(world.status.stage, Stage::Failed);
    world.push(2);
    world.run_until(|world| world.primary.as_ref().unwrap().revision == revision(2));
    assert_eq!(world.status.stage, Stage::Initializing);
    world.primary.as_mut().unwrap().desired = 2;
    world.settle();
    assert_eq!(
        (world.status.stage, running(&world)),
        (Stage::Initialized, hash(2))
    );
}

#[test]
fn q30_the_rollback_hook_works_while_waiting() {
    let mut canary = canary();
    canary.analysis.hooks.push(hook(HookKind::ConfirmRollout, "gate"));
    canary.analysis.hooks.push(hook(HookKind::Rollback, "rollback"));
    let mut world = World::initialized(canary);
    world.answers.insert("gate".to_owned(), refuse());
    world.answers.insert("rollback".to_owned(), refuse());
    world.push(2);
    world.run_for(25);
    assert_eq!(world.status.stage, Stage::Waiting);
    world.answers.remove("rollback");
    world.settle();
    assert_eq!((world.status.stage, started(&world)), (Stage::Failed, 0));
    assert!(world.said("Rolling back podinfo.test manual webhook invoked"));
    assert_eq!(world.status.last_applied, hash(2), "and it is not asked again");
}

#[test]
fn q32_a_rollback_at_the_deadline_alerts() {
    let mut canary = canary();
    canary.progress_deadline = Duration::from_secs(15);
    let mut world = World::initialized(canary);
    world.broken.insert(hash(2));
    world.push(2);
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Failed, hash(1)));
    assert_eq!(world.times("alert  Error: Progress deadline exceeded"), 1);
    assert!(world.said("t+15   phase  Progressing → Failed"));
}

#[test]
fn q44_hooks_and_metrics_run_once_more_than_there_are_iterations() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.settle();
    assert_eq!(world.times("hook   acceptance"), 1);
    assert_eq!(world.times("hook   load"), 4);
    assert_eq!(world.times("metric errors"), 4);
}

#[test]
fn q45_a_suspended_canary_says_so_once_and_does_nothing() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.run_until(|world| world.status.iterations == 1);
    world.canary.suspended = true;
    world.canary.generation += 1;
    let calls = world.calls.len();
    world.settle();
    world.now += SignedDuration::from_secs(3600);
    world.settle();
    assert_eq!(world.times("skipping canary run as object is suspended"), 1);
    assert_eq!(
        (world.calls.len(), world.status.stage),
        (calls, Stage::Progressing)
    );
    world.canary.suspended = false;
    world.canary.generation += 1;
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(2)));
}

#[test]
fn q46_going_back_in_mid_run_rolls_the_primary_once_at_most() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.run_until(|world| world.status.iterations == 2);
    world.push(1);
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(1)));
    assert_eq!(world.outcome().primary_changes, 0, "the primary ran it all along");
    assert_eq!(started(&world), 1);
}

#[test]
fn a_config_starts_a_run_and_a_promoted_config_that_comes_back_starts_none() {
    let mut world = World::new(canary());
    world.push_config("a");
    world.settle();
    world.push_config("b");
    world.settle();
    assert_eq!((world.status.stage, started(&world)), (Stage::Succeeded, 1));

    world.values.insert(hash(1), Answer::Value(50.0));
    world.push_config("c");
    world.settle();
    assert_eq!((world.status.stage, started(&world)), (Stage::Failed, 2));
    world.push_config("b");
    world.settle();
    assert_eq!(
        (world.status.stage, started(&world)),
        (Stage::Failed, 2),
        "promoted already"
    );
    world.push_config("c");
    world.settle();
    assert_eq!(started(&world), 3, "failed before, judged again");
}

#[test]
fn a_revision_taken_back_while_waiting_is_not_run() {
    let mut canary = canary();
    canary.analysis.hooks.push(hook(HookKind::ConfirmRollout, "gate"));
    let mut world = World::initialized(canary);
    world.answers.insert("gate".to_owned(), refuse());
    world.push(2);
    world.run_for(15);
    assert_eq!(world.status.stage, Stage::Waiting);
    world.push(1);
    world.settle();
    assert_eq!((world.status.stage, started(&world)), (Stage::Initialized, 0));
}

#[test]
fn an_old_apex_with_a_lost_status_is_adopted_and_the_new_revision_judged() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.status = Status::default();
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(2)));
    assert_eq!(
        (started(&world), world.outcome().primary_changes),
        (1, 1),
        "judged, then promoted"
    );
}

#[test]
fn a_block_is_told_once_and_lifted() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.blocked = Some(Block {
        reason: "ServiceOwned".to_owned(),
        message: "Service podinfo.test belongs to another controller".to_owned(),
    });
    world.settle();
    world.settle();
    assert_eq!(world.times("belongs to another controller"), 1);
    assert_eq!(world.stalled(), Some("ServiceOwned"));
    assert_eq!(world.condition("Conflict").unwrap().reason, "ServiceOwned");
    assert_eq!(world.condition("Ready").unwrap().status, "False");
    assert_eq!(world.status.stage, Stage::Initialized);
    world.blocked = None;
    world.settle();
    assert_eq!(world.status.stage, Stage::Succeeded);
    let kinds: Vec<&str> = world
        .status
        .conditions
        .iter()
        .map(|one| one.kind.as_str())
        .collect();
    assert_eq!(kinds, ["Promoted", "Ready"]);
    assert_eq!(world.condition("Ready").unwrap().status, "True");
}

#[test]
fn a_missing_target_stalls() {
    let mut world = World::new(canary());
    world.target = None;
    world.settle();
    assert_eq!(world.stalled(), Some("TargetNotFound"));
    assert!(!world.services);
}

#[test]
fn a_provider_without_a_router_stalls_and_nothing_is_written() {
    let mut canary = canary();
    canary.provider = Provider::Other("istio".to_owned());
    canary.revert_on_deletion = true;
    let mut world = World::new(canary);
    world.settle();
    world.settle();
    assert_eq!(world.stalled(), Some("ProviderNotSupported"));
    assert_eq!(world.times("event"), 1);
    assert!(!world.services && !world.finalizer && world.primary.is_none());
}

#[test]
fn a_live_flagger_keeps_its_finalizer() {
    let mut canary = canary();
    canary.revert_on_deletion = true;
    let mut world = World::initialized(canary);
    world.deleting = true;
    world.blocked = Some(Block {
        reason: Block::FLAGGER_ACTIVE.to_owned(),
        message: "Flagger is alive".to_owned(),
    });
    world.settle();
    assert!(world.finalizer && !world.gone);
}

#[test]
fn the_finalizer_follows_revert_on_deletion() {
    let mut world = World::initialized(canary());
    world.canary.revert_on_deletion = true;
    world.settle();
    assert!(world.finalizer);
    world.canary.revert_on_deletion = false;
    world.settle();
    assert!(!world.finalizer);
    world.deleting = true;
    let plan = world.pass();
    assert_eq!((plan.steps, plan.announcements), (Vec::new(), Vec::new()));
}

#[test]
fn a_target_that_never_gets_ready_does_not_hold_up_its_deletion() {
    let mut canary = canary();
    canary.revert_on_deletion = true;
    let mut world = World::initialized(canary);
    world.broken.insert(hash(2));
    world.push(2);
    world.run_for(1);
    world.deleting = true;
    // The primary goes with the Canary, so traffic goes to whatever the target has.
    world.outage_allowed = true;
    world.settle();
    assert!(world.said("although its target is not ready"));
    assert!(!world.apex_on_primary);
    assert!(world.gone);
}

#[test]
fn an_autoscaler_is_paused_while_parked() {
    let mut canary = canary();
    canary.autoscaler = Some(Autoscaler {
        kind: ScalerKind::HorizontalPodAutoscaler,
        name: "podinfo".to_owned(),
        primary_queries: std::collections::BTreeMap::new(),
        primary_min: None,
        primary_max: None,
    });
    let mut world = World::new(canary);
    let mut steps = Vec::new();
    for _ in 0..200 {
        let plan = world.pass();
        steps.extend(plan.steps);
        world.now += SignedDuration::from_secs(1);
        if world.status.stage == Stage::Initialized && world.target.as_ref().unwrap().revision == revision(1)
        {
            world.push(2);
        }
    }
    assert_eq!(world.status.stage, Stage::Succeeded);
    let order: Vec<&Step> = steps
        .iter()
        .filter(|step| {
            matches!(
                step,
                Step::PauseScaler | Step::ResumeScaler | Step::Park | Step::Unpark
            )
        })
        .collect();
    assert_eq!(
        order,
        [
            &Step::PauseScaler,
            &Step::Park,
            &Step::ResumeScaler,
            &Step::Unpark,
            &Step::PauseScaler,
            &Step::Park
        ]
    );
}

#[test]
fn a_service_target_has_no_replicas_to_wait_for() {
    let mut canary = canary();
    canary.target.kind = TargetKind::Service;
    let mut world = World::initialized(canary);
    world.broken.insert(hash(2));
    world.push(2);
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(2)));
    assert!(!world.said("step   Park") && !world.said("step   Unpark"));
}

#[test]
fn a_daemonset_rolls_out_like_a_deployment() {
    let mut canary = canary();
    canary.target.kind = TargetKind::DaemonSet;
    let mut world = World::initialized(canary);
    world.push(2);
    world.settle();
    assert_eq!((world.status.stage, running(&world)), (Stage::Succeeded, hash(2)));
}

#[test]
fn strategies_that_need_a_router_run_as_iterations_and_say_so_once() {
    let mut canary = canary();
    canary.analysis.strategy = Strategy::Progressive {
        weights: vec![10, 20],
        mirror: false,
        promotion: None,
    };
    let mut world = World::initialized(canary);
    world.push(2);
    world.settle();
    assert_eq!(world.status.stage, Stage::Succeeded);
    assert!(world.said("Advance podinfo.test canary iteration 10/10"));
    assert_eq!(
        world.times("Progressive traffic is not supported when using the kubernetes provider"),
        1
    );
}

#[test]
fn a_failed_pre_rollout_hook_counts_and_is_asked_again_an_interval_later() {
    let mut world = World::initialized(canary());
    world.answers.insert("acceptance".to_owned(), refuse());
    world.push(2);
    world.settle();
    assert_eq!(world.status.stage, Stage::Failed);
    assert_eq!(
        world.times("Halt podinfo.test advancement pre-rollout check acceptance failed no"),
        2
    );
    assert!(world.said("t+2    hook   acceptance") && world.said("t+12   hook   acceptance"));
    assert_eq!(world.times("hook   load"), 0);
}

#[test]
fn the_checksum_names_a_run() {
    let mut world = World::initialized(canary());
    let before = checksum(&world.status);
    world.push(2);
    world.run_until(|world| world.status.stage == Stage::Progressing);
    let during = checksum(&world.status);
    assert_ne!(before, during);
    world.run_until(|world| world.status.iterations == 3);
    assert_eq!(checksum(&world.status), during);
    world.settle();
    assert_eq!(checksum(&world.status), during);
}

#[test]
fn generations_tell_which_edit_was_judged_and_promoted() {
    let mut world = World::initialized(canary());
    world.push(2);
    let edit = world.target.as_ref().unwrap().generation;
    world.run_until(|world| world.status.stage == Stage::Progressing);
    assert_eq!(world.status.judged_generation, edit);
    assert!(world.status.promoted_generation < edit);
    world.settle();
    assert_eq!(world.status.promoted_generation, edit);
}

#[test]
fn a_clock_that_jumps_back_does_not_stop_the_analysis() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.run_until(|world| world.status.iterations == 1);
    world.jump(-86_400);
    world.settle();
    assert_eq!(world.status.stage, Stage::Succeeded);
}

#[test]
fn the_status_tells_why_a_release_was_rolled_back() {
    let mut world = World::initialized(canary());
    world.values.insert(hash(2), Answer::Value(50.0));
    world.push(2);
    world.settle();
    let failure = world.status.last_failure.clone().unwrap();
    assert_eq!(failure.reason, "FailedChecks");
    assert_eq!(
        failure.message,
        "2 checks failed, the last with: Halt podinfo.test advancement errors 50.00 > 5"
    );
    assert_eq!(world.condition("Ready").unwrap().message, failure.message);
    let told: Vec<(&str, &str, Option<&str>, &str)> = world
        .status
        .checks
        .iter()
        .map(|check| {
            (
                check.kind.as_str(),
                check.name.as_str(),
                check.value.as_deref(),
                check.verdict.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("pre-rollout", "acceptance", None, "Passed"),
            ("rollout", "load", None, "Passed"),
            ("metric", "errors", Some("50"), "Failed"),
            ("rollout", "load", None, "Passed"),
            ("metric", "errors", Some("50"), "Failed"),
        ]
    );

    // The next run begins with an empty list; the failure is remembered, with its time.
    world.push(3);
    world.settle();
    assert_eq!(world.status.stage, Stage::Succeeded);
    assert!(
        world
            .status
            .checks
            .iter()
            .all(|check| check.verdict.as_str() == "Passed")
    );
    assert_eq!(world.status.last_failure, Some(failure));
}

#[test]
fn the_history_of_checks_is_bounded() {
    let mut canary = canary();
    canary
        .analysis
        .hooks
        .push(hook(HookKind::ConfirmPromotion, "promote"));
    let mut world = World::initialized(canary);
    world.answers.insert("promote".to_owned(), refuse());
    world.push(2);
    world.run_for(3_600);
    assert_eq!(world.status.stage, Stage::WaitingPromotion);
    assert_eq!(world.status.checks.len(), HISTORY);
    let last = world.status.checks.last().unwrap();
    assert_eq!(Some(last.time), world.status.last_check, "the newest stay");
}

#[test]
fn every_cause_of_a_failure_has_a_word() {
    let rolled_back = |world: &mut World, reason: &str| {
        world.settle();
        assert_eq!(world.status.stage, Stage::Failed, "{reason}");
        assert_eq!(world.status.last_failure.as_ref().unwrap().reason, reason);
    };
    let mut deadline = World::initialized(canary());
    deadline.broken.insert(hash(2));
    deadline.push(2);
    rolled_back(&mut deadline, "ProgressDeadline");

    let mut hooked = canary();
    hooked.analysis.hooks.push(hook(HookKind::Rollback, "rollback"));
    let mut manual = World::initialized(hooked);
    manual.push(2);
    rolled_back(&mut manual, "ManualRollback");

    let mut promotion = World::initialized(canary());
    promotion.push(2);
    promotion.run_until(|world| world.status.stage == Stage::Promoting);
    promotion.broken.insert(hash(2));
    rolled_back(&mut promotion, "PromotionFailed");

    let mut bootstrap = World::new(canary());
    bootstrap.run_until(|world| world.primary.is_some());
    bootstrap.primary.as_mut().unwrap().desired = 0;
    rolled_back(&mut bootstrap, "InitializationFailed");
}

/// kapp re-applies the apex every ten minutes: each time it is put right at once and said, and once kapp is taught to
/// leave it alone the condition goes.
#[test]
fn a_contested_apex_is_put_right_at_once_and_said() {
    let mut world = World::initialized(canary());
    for flip in 1..=4 {
        world.flip();
        world.pass();
        assert!(world.apex_on_primary, "flip {flip}:\n{}", world.told());
        assert_eq!(
            world.times("event  W Contested: Service podinfo.test: spec.selector"),
            flip
        );
        let contested = world.condition("Contested").unwrap();
        assert!(
            contested
                .message
                .contains("set by kapp; expected ours; add a rebaseRule")
        );
        world.now += SignedDuration::from_secs(600);
    }
    assert!(world.said("meanwhile clients reach nobody"));
    let contest = world.status.contest.clone().unwrap();
    assert_eq!((contest.manager.as_str(), contest.corrections), ("kapp", 4));
    world.settle();
    assert_eq!(world.condition("Contested"), None, "calm");
    assert_eq!(world.status.contest, None);
    assert_eq!(world.status.stage, Stage::Initialized);
}

/// A program that turns the apex back whenever it is put right.
#[test]
fn no_program_is_fought_over_and_over_and_production_stays_up() {
    let mut world = World::initialized(canary());
    let end = world.now + SignedDuration::from_secs(3_600);
    let mut down = 0;
    while world.now < end {
        world.flip();
        world.pass();
        world.flip();
        down += i32::from(world.is_down());
        world.now += SignedDuration::from_secs(1);
    }
    let contest = world.status.contest.clone().unwrap();
    assert!((5..=20).contains(&contest.corrections), "{contest:?}");
    assert_eq!(world.times("event  W Contested"), contest.corrections as usize);
    // The target is woken, since it runs what is promoted: it gets clients as soon as it has pods.
    assert!(down < 10, "down for {down} s");
    assert!(world.target.as_ref().unwrap().desired > 0);
    // Peace: the apex is ours again, and the target is parked.
    world.settle();
    assert!(world.apex_on_primary && !world.is_down());
    assert_eq!(world.target.as_ref().unwrap().desired, 0);
    assert_eq!(world.condition("Contested"), None);
}

/// What failed is not woken to serve, and what is being judged is said to.
#[test]
fn an_unjudged_revision_never_takes_production_unsaid() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.run_until(|world| world.status.iterations == 1);
    world.flip();
    world.pass();
    assert!(world.said("meanwhile clients reach the target, which runs what is not promoted"));
    assert!(world.apex_on_primary);

    let mut failed = World::initialized(canary());
    failed.values.insert(hash(2), Answer::Value(50.0));
    failed.push(2);
    failed.settle();
    for _ in 0..3 {
        failed.flip();
        failed.pass();
    }
    assert_eq!(failed.target.as_ref().unwrap().desired, 0);
    assert!(failed.said("meanwhile clients reach nobody"));
}

#[test]
fn a_parked_target_that_is_scaled_up_is_said_and_parked_a_few_times() {
    let mut world = World::initialized(canary());
    for round in 1..=6 {
        world.raise("kapp", 2);
        world.pass();
        let parked = world.target.as_ref().unwrap().desired == 0;
        assert_eq!(parked, round <= 3, "round {round}:\n{}", world.told());
        world.now += SignedDuration::from_secs(600);
    }
    assert_eq!(
        world.times("event  W Contested: Deployment podinfo.test: spec.replicas"),
        3
    );
    assert!(world.condition("Contested").is_some());
    // A release goes on as ever, and parks it for good.
    world.push(2);
    world.settle();
    assert_eq!(
        (world.status.stage, world.target.as_ref().unwrap().desired),
        (Stage::Succeeded, 0)
    );

    let mut person = World::initialized(canary());
    person.raise("kubectl", 1);
    person.pass();
    assert_eq!(
        person.target.as_ref().unwrap().desired,
        1,
        "a person may look at it"
    );
    assert!(person.said("set by kubectl"));
    // A new revision that comes with its replicas is no contest.
    let mut release = World::initialized(canary());
    release.push(2);
    release.raise("kubectl", 2);
    release.settle();
    assert_eq!(
        (release.status.stage, release.times("Contested")),
        (Stage::Succeeded, 0)
    );
}

#[test]
fn a_target_left_up_by_a_lost_step_is_parked() {
    let mut world = World::initialized(canary());
    world.target.as_mut().unwrap().desired = 2;
    world.settle();
    assert_eq!(world.target.as_ref().unwrap().desired, 0);
    assert_eq!(world.times("Contested"), 0);
}

#[test]
fn a_promotion_of_configs_alone_that_fails_is_taken_back() {
    let mut world = World::new(canary());
    world.push_config("a");
    world.settle();
    let promoted = world.primary.as_ref().unwrap().revision.clone();
    world.push_config("b");
    world.run_until(|world| world.status.stage == Stage::Promoting);
    world.broken.insert(hash(1));
    world.run_until(|world| world.status.stage == Stage::Failed);
    world.broken.clear();
    world.settle();
    assert_eq!(world.primary.as_ref().unwrap().revision, promoted);
    assert!(world.said("Restoring podinfo-primary.test to the last promoted revision"));
    assert_eq!(world.target.as_ref().unwrap().desired, 0);
}

#[test]
fn autoscalers_nobody_names_are_dropped() {
    let mut world = World::initialized(canary());
    world.stale_scalers = true;
    let plan = world.pass();
    assert_eq!(plan.steps, [Step::DropScalers]);
    assert!(!world.stale_scalers);
}

#[test]
fn a_canary_smaller_than_its_primary_is_said_before_it_is_judged() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.raise("kubectl", 1);
    world.settle();
    assert_eq!(
        world.times("podinfo.test is judged with 1 replicas beside 2 of podinfo-primary.test"),
        1
    );
}
