//! A small world that obeys plans: two workloads, three Services, a status, a clock. It keeps the laws of the loop
//! (steps, then status, then words) and checks every plan it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use verdigris::model::canary::{
    Analysis, Bounds, Canary, Check, Hook, HookKind, Identity, Metadata, Provider, Service, Source, Strategy,
    Target, TargetKind, Unmanaged,
};
use verdigris::model::notice::Severity;
use verdigris::model::order::{Order, Verb};
use verdigris::model::revision::Revision;
use verdigris::model::split::{Capabilities, Split};
use verdigris::model::status::{Condition, HISTORY, Stage, Status};
use verdigris::rollout::given_for;
use verdigris::rollout::next::next;
use verdigris::rollout::observed::{Block, Changed, Interference, Observed, Routing, Seen, Workload};
use verdigris::rollout::plan::{Announcement, Next, Plan, Step};
use verdigris::rollout::question::{Answer, Answers, Question};

/// Replicas of the target when it is up, and of the primary.
pub(crate) const REPLICAS: i32 = 2;
/// A router that can do everything.
pub(crate) const ROUTER: Capabilities = Capabilities {
    weights: true,
    mirror: true,
    matches: true,
};
/// Seconds a good pod needs to become available.
pub(crate) const SETTLE: i64 = 2;

/// A Canary like the one of the blue/green proposal: 3 iterations every 10 s, threshold 2, one metric.
pub(crate) fn canary() -> Canary {
    Canary {
        id: Identity {
            namespace: "test".to_owned(),
            name: "podinfo".to_owned(),
            uid: "uid".to_owned(),
        },
        generation: 1,
        provider: Provider::Kubernetes,
        metrics_server: None,
        target: Target {
            kind: TargetKind::Deployment,
            name: "podinfo".to_owned(),
        },
        autoscaler: None,
        service: Service {
            name: "podinfo".to_owned(),
            port: 9898,
            port_name: "http".to_owned(),
            target_port: None,
            app_protocol: None,
            traffic_distribution: None,
            port_discovery: false,
            headless: false,
            apex: Metadata::default(),
            primary: Metadata::default(),
            canary: Metadata::default(),
            unmanaged: Unmanaged::default(),
        },
        analysis: Analysis {
            skip: false,
            interval: Duration::from_secs(10),
            threshold: NonZeroU32::new(2).unwrap(),
            strategy: Strategy::BlueGreen {
                iterations: NonZeroU32::new(3).unwrap(),
                mirror: false,
            },
            checks: vec![Check {
                metric: 0,
                name: "errors".to_owned(),
                source: Source::Query("up".to_owned()),
                bounds: Bounds {
                    min: None,
                    max: Some(5.0),
                },
                interval: "1m".to_owned(),
            }],
            hooks: vec![
                hook(HookKind::PreRollout, "acceptance"),
                hook(HookKind::Rollout, "load"),
            ],
            alerts: Vec::new(),
            primary_ready: 100,
            canary_ready: 100,
        },
        progress_deadline: Duration::from_secs(60),
        suspended: false,
        revert_on_deletion: false,
    }
}

/// A hook of a kind.
pub(crate) fn hook(kind: HookKind, name: &str) -> Hook {
    Hook {
        kind,
        name: name.to_owned(),
        url: format!("http://loadtester.test/{name}"),
        timeout: Duration::from_secs(10),
        retries: 0,
        mute_alert: false,
        disable_tls: false,
        metadata: BTreeMap::new(),
    }
}

/// Our hash of template number `n`.
pub(crate) fn hash(n: u32) -> String {
    format!("v1:{n:032x}")
}

/// Revision `n` without configs.
pub(crate) fn revision(n: u32) -> Revision {
    Revision {
        template: hash(n),
        configs: None,
    }
}

/// A Deployment, as far as it matters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pods {
    /// What it runs.
    pub(crate) revision: Revision,
    /// `spec.replicas`.
    pub(crate) desired: i32,
    /// `metadata.generation`.
    pub(crate) generation: i64,
    changed: Timestamp,
    old: i32,
}

/// Where a process dies in its `pass`-th pass (counted from 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The pass.
    pub(crate) pass: usize,
    /// Steps taken before it.
    pub(crate) steps: usize,
    /// The status was written, only the words were lost.
    pub(crate) status_written: bool,
}

/// What a rollout came to, as far as anybody outside can tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    /// `status.phase`.
    pub(crate) stage: Stage,
    /// `status.lastAppliedSpec`, `status.lastPromotedSpec`.
    pub(crate) hashes: (String, String),
    /// `status.iterations`, `status.failedChecks`.
    pub(crate) counters: (u32, u32),
    /// Replicas of the target and what the primary runs.
    pub(crate) target: Option<i32>,
    /// What the primary runs.
    pub(crate) primary: Option<Revision>,
    /// How often the primary's template changed.
    pub(crate) primary_changes: usize,
}

/// The world.
pub(crate) struct World {
    /// The object.
    pub(crate) canary: Canary,
    /// Its status as stored.
    pub(crate) status: Status,
    /// The clock.
    pub(crate) now: Timestamp,
    /// The workload under control.
    pub(crate) target: Option<Pods>,
    /// Its primary.
    pub(crate) primary: Option<Pods>,
    /// The canary and primary Services exist.
    pub(crate) services: bool,
    /// The apex selects the primary.
    pub(crate) apex_on_primary: bool,
    /// The object is being deleted.
    pub(crate) deleting: bool,
    /// Our finalizer is on it.
    pub(crate) finalizer: bool,
    /// It is gone.
    pub(crate) gone: bool,
    /// What keeps the controller from acting.
    pub(crate) blocked: Option<Block>,
    /// Templates that never become ready.
    pub(crate) broken: BTreeSet<String>,
    /// What the metric server says about a template.
    pub(crate) values: BTreeMap<String, Answer>,
    /// What hooks say, by name; the others pass.
    pub(crate) answers: BTreeMap<String, Answer>,
    /// Answers that are used up in order before `values`, for flapping metrics.
    pub(crate) script: Vec<Answer>,
    /// Everything that happened.
    pub(crate) story: Vec<String>,
    /// Hooks that were called.
    pub(crate) calls: Vec<String>,
    /// Passes so far, steps of each.
    pub(crate) passes: Vec<usize>,
    /// Production may be stopped (it is what somebody asked for).
    pub(crate) outage_allowed: bool,
    /// The operator's order on the object.
    pub(crate) order: Option<Order>,
    /// Why no analysis may be skipped.
    pub(crate) skip_forbidden: Option<String>,
    /// The death to die, if any.
    pub(crate) crash: Option<Crash>,
    /// Who scaled the target last; empty for the controller.
    pub(crate) raised_by: String,
    /// There are autoscalers of the Canary that it does not name.
    pub(crate) stale_scalers: bool,
    /// The primary does not get ready, whatever it runs.
    pub(crate) broken_primary: bool,
    /// The provider's router, if it has one.
    pub(crate) router: Option<Capabilities>,
    /// How it splits traffic.
    pub(crate) split: Split,
    recorded: Vec<Revision>,
    primary_changes: usize,
    began: Timestamp,
}

impl World {
    /// A Canary was just applied next to a Deployment that serves revision 1.
    pub(crate) fn new(canary: Canary) -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Self {
            canary,
            status: Status::default(),
            now,
            target: Some(Pods {
                revision: revision(1),
                desired: REPLICAS,
                generation: 1,
                changed: now - SignedDuration::from_secs(60),
                old: 0,
            }),
            primary: None,
            services: false,
            apex_on_primary: false,
            deleting: false,
            finalizer: false,
            gone: false,
            blocked: None,
            broken: BTreeSet::new(),
            values: BTreeMap::new(),
            answers: BTreeMap::new(),
            script: Vec::new(),
            story: Vec::new(),
            calls: Vec::new(),
            passes: Vec::new(),
            outage_allowed: false,
            order: None,
            skip_forbidden: None,
            crash: None,
            raised_by: String::new(),
            stale_scalers: false,
            broken_primary: false,
            router: None,
            split: Split::NONE,
            recorded: Vec::new(),
            primary_changes: 0,
            began: now,
        }
    }

    /// A world past its bootstrap, its clock and story begun anew.
    pub(crate) fn initialized(canary: Canary) -> Self {
        let mut world = Self::new(canary);
        world.settle();
        world.begin_anew();
        world
    }

    /// The bootstrap is over: clock and story begin anew.
    pub(crate) fn begin_anew(&mut self) {
        assert_eq!(self.status.stage, Stage::Initialized);
        self.now += SignedDuration::from_secs(3600);
        self.began = self.now;
        self.story.clear();
        self.calls.clear();
        self.passes.clear();
        self.primary_changes = 0;
    }

    /// Somebody edits the target: template number `n`.
    pub(crate) fn push(&mut self, n: u32) {
        self.note(&format!("user   sets template {n}"));
        let now = self.now;
        let old = available(self.target.as_ref(), &self.broken, now);
        let target = self.target.as_mut().unwrap();
        target.revision.template = hash(n);
        target.generation += 1;
        target.changed = now;
        target.old = old;
    }

    /// Somebody orders something for the run that is there now.
    pub(crate) fn order(&mut self, verb: Verb) {
        self.note(&format!("user   orders {}", verb.as_str()));
        let id = self
            .order
            .as_ref()
            .map_or(0, |last| last.id.parse::<u32>().unwrap());
        self.order = Some(Order {
            id: (id + 1).to_string(),
            verb,
            run: given_for(&self.status, verb),
            uid: Some(self.canary.id.uid.clone()),
        });
    }

    /// Somebody edits a ConfigMap the target reads.
    pub(crate) fn push_config(&mut self, sum: &str) {
        self.note(&format!("user   sets config {sum}"));
        let target = self.target.as_mut().unwrap();
        target.revision.configs = Some(BTreeMap::from([("configmap/app".to_owned(), sum.to_owned())]));
    }

    /// What the controller sees.
    pub(crate) fn seen(&self) -> Observed {
        let workload = |name: &str, pods: &Option<Pods>, primary: bool| match pods {
            None => Seen::Absent,
            Some(pods) => {
                let (mut total, mut updated, mut available) = numbers(pods, &self.broken, self.now);
                if primary && self.broken_primary {
                    (total, updated, available) = (pods.desired, pods.desired, 0);
                }
                Seen::Present(Workload {
                    name: name.to_owned(),
                    generation: pods.generation,
                    observed_generation: pods.generation,
                    desired: pods.desired,
                    total,
                    updated,
                    available,
                    ready: available,
                    deadline_exceeded: false,
                    own_deadline: None,
                    revision: primary.then(|| pods.revision.identity()),
                })
            }
        };
        Observed {
            status: self.status.clone(),
            target: workload("podinfo", &self.target, false),
            primary: workload("podinfo-primary", &self.primary, true),
            revision: self.target.as_ref().map(|pods| pods.revision.clone()),
            target_equals_primary: match (&self.target, &self.primary) {
                (Some(target), Some(primary)) => target.revision == primary.revision,
                (None | Some(_), None | Some(_)) => false,
            },
            services_ready: self.services && self.apex_on_primary,
            routing: self.router.map(|can| Routing {
                can,
                split: self.split,
            }),
            blocked: self.blocked.clone(),
            interference: self.interference(),
            left_up: self.rests_up() && self.raised_by.is_empty(),
            stale_scalers: self.stale_scalers,
            polled: None,
            deleting: self.deleting,
            has_finalizer: self.finalizer,
            order: self.order.clone().map(Ok),
            skip_forbidden: self.skip_forbidden.clone(),
        }
    }

    /// What the controller finds changed by others.
    fn interference(&self) -> Option<Interference> {
        let past = !matches!(
            self.status.stage,
            Stage::New | Stage::Initializing | Stage::Terminating
        );
        let found = |changed: Changed, field: &str, manager: &str| Interference {
            changed,
            field: field.to_owned(),
            manager: manager.to_owned(),
            reconciled: manager == "kapp",
            reason: "Kapp",
            found: "theirs".to_owned(),
            expected: "ours".to_owned(),
            cure: "add a rebaseRule".to_owned(),
        };
        if past && self.services && !self.apex_on_primary {
            let changed = Changed::Service { to_target: true };
            return Some(found(changed, "Service podinfo.test: spec.selector", "kapp"));
        }
        let raised = past && self.rests_up() && !self.raised_by.is_empty();
        raised.then(|| {
            found(
                Changed::Replicas,
                "Deployment podinfo.test: spec.replicas",
                &self.raised_by,
            )
        })
    }

    /// The target has pods although nothing runs.
    fn rests_up(&self) -> bool {
        matches!(
            self.status.stage,
            Stage::Initialized | Stage::Succeeded | Stage::Failed
        ) && self.target.as_ref().is_some_and(|target| target.desired > 0)
    }

    /// Somebody sets the target's replicas.
    pub(crate) fn raise(&mut self, manager: &str, replicas: i32) {
        self.note(&format!("{manager}   sets replicas {replicas}"));
        manager.clone_into(&mut self.raised_by);
        scale(self.target.as_mut(), replicas, self.now);
    }

    /// The primary is deleted.
    pub(crate) fn lose_primary(&mut self) {
        self.note("user   deletes the primary");
        self.primary = None;
    }

    /// The target is deleted.
    pub(crate) fn delete_target(&mut self) {
        self.note("user   deletes the target");
        self.target = None;
    }

    /// The target is made anew with template `n`.
    pub(crate) fn make_target(&mut self, n: u32) {
        self.note(&format!("user   makes the target anew, template {n}"));
        self.target = Some(Pods {
            revision: revision(n),
            desired: REPLICAS,
            generation: 1,
            changed: self.now,
            old: 0,
        });
    }

    /// Somebody turns the apex to the target.
    pub(crate) fn flip(&mut self) {
        self.note("kapp   turns the apex to the target");
        self.apex_on_primary = false;
    }

    /// Production gets no answer at this moment.
    pub(crate) fn is_down(&self) -> bool {
        self.production() == 0
    }

    /// One pass of the controller. Returns what was planned.
    pub(crate) fn pass(&mut self) -> Plan {
        let seen = self.seen();
        let mut heard = Answers::new();
        let mut script = self.script.clone();
        let rounds = self.canary.analysis.hooks.len() + 2;
        let plan = (0..=rounds)
            .find_map(|_| match next(&self.canary, &seen, &heard, self.now) {
                Next::Act(plan) => Some(*plan),
                Next::Ask(questions) => {
                    assert!(!questions.is_empty(), "an interview without a question");
                    for question in questions {
                        let answer = self.answer(&question, &mut script);
                        assert!(heard.insert(question, answer).is_none(), "asked twice");
                    }
                    None
                }
            })
            .expect("the interview ends");
        lawful(&self.canary, &seen, &heard, &plan, self.now);
        let pass = self.passes.len();
        self.passes.push(plan.steps.len());
        let crash = self.crash.filter(|crash| crash.pass == pass);
        let taken = crash.map_or(plan.steps.len(), |crash| crash.steps.min(plan.steps.len()));
        for step in &plan.steps[..taken] {
            let served = self.production() > 0;
            self.obey(step);
            let outage = served && self.production() == 0;
            assert!(
                !outage || self.outage_allowed,
                "{step:?} stops production:\n{}",
                self.told()
            );
        }
        if let Some(crash) = crash
            && !crash.status_written
        {
            self.note("crash");
            return plan;
        }
        // Measurements of a pass whose outcome was stored are over.
        self.script = script;
        self.store(&plan.status);
        if crash.is_some() {
            self.note("crash");
            return plan;
        }
        for announcement in &plan.announcements {
            match announcement {
                Announcement::Notice(notice) => {
                    let letter = match notice.severity {
                        Severity::Info => 'N',
                        Severity::Warning => 'W',
                        Severity::Error => 'E',
                    };
                    self.note(&format!(
                        "event  {letter} {}: {}",
                        notice.reason.as_str(),
                        notice.text
                    ));
                    if let Some(alert) = &notice.alert {
                        self.note(&format!("alert  {:?}: {}", alert.severity, alert.text));
                    }
                }
                Announcement::PostRollout { hook, phase } => {
                    let name = self.canary.analysis.hooks[*hook].name.clone();
                    self.note(&format!("hook   {name} phase={phase} (told)"));
                    self.calls.push(name);
                }
            }
        }
        plan
    }

    /// Drives the controller until `done`, or until nothing more would ever happen.
    pub(crate) fn run_until(&mut self, done: impl Fn(&World) -> bool) {
        for _ in 0..2_000 {
            if done(self) || self.gone {
                return;
            }
            let before = (self.status.clone(), self.fingerprint());
            let plan = self.pass();
            // A process that starts again looks at everything again.
            if self
                .crash
                .is_some_and(|crash| crash.pass + 1 == self.passes.len())
            {
                continue;
            }
            if before != (self.status.clone(), self.fingerprint()) {
                continue;
            }
            let pods = [&self.target, &self.primary].into_iter().flatten();
            let settled = pods
                .map(|pods| pods.changed + SignedDuration::from_secs(SETTLE))
                .filter(|at| *at > self.now)
                .min();
            let woken = plan
                .wake
                .map(|wake| self.now + SignedDuration::try_from(wake).unwrap());
            match settled.into_iter().chain(woken).min() {
                Some(at) => self.now = at,
                None => return,
            }
        }
        panic!("no end after 2000 passes:\n{}", self.told());
    }

    /// Drives the controller until it is quiet.
    pub(crate) fn settle(&mut self) {
        self.run_until(|_| false);
    }

    /// Drives the controller for `seconds` of its clock, at most.
    pub(crate) fn run_for(&mut self, seconds: i64) {
        let end = self.now + SignedDuration::from_secs(seconds);
        self.run_until(|world| world.now >= end);
    }

    /// A condition, if the status has it.
    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status
            .conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }

    /// Why the Canary is stalled, if it is.
    pub(crate) fn stalled(&self) -> Option<&str> {
        self.condition("Stalled")
            .map(|condition| condition.reason.as_str())
    }

    /// The story so far.
    pub(crate) fn told(&self) -> String {
        self.story.join("\n")
    }

    /// What it came to.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome {
            stage: self.status.stage,
            hashes: (
                self.status.last_applied.clone(),
                self.status.last_promoted.clone(),
            ),
            counters: (self.status.iterations, self.status.failed_checks),
            target: self.target.as_ref().map(|pods| pods.desired),
            primary: self.primary.as_ref().map(|pods| pods.revision.clone()),
            primary_changes: self.primary_changes,
        }
    }

    /// True when an event or alert contains `text`.
    pub(crate) fn said(&self, text: &str) -> bool {
        self.times(text) > 0
    }

    /// How many lines of the story contain `text`.
    pub(crate) fn times(&self, text: &str) -> usize {
        self.story.iter().filter(|line| line.contains(text)).count()
    }

    fn fingerprint(&self) -> impl PartialEq + use<> {
        (
            self.target.clone(),
            self.primary.clone(),
            self.services,
            self.apex_on_primary,
            self.finalizer,
            self.split,
        )
    }

    fn answer(&mut self, question: &Question, script: &mut Vec<Answer>) -> Answer {
        match question {
            Question::MetricsOnline => Answer::Passed,
            Question::Hook { hook, phase } => {
                let name = self.canary.analysis.hooks[*hook].name.clone();
                let answer = self.answers.get(&name).cloned().unwrap_or(Answer::Passed);
                self.note(&format!("hook   {name} phase={phase} → {answer:?}"));
                self.calls.push(name);
                answer
            }
            Question::Check { check } => {
                let template = &self.target.as_ref().unwrap().revision.template;
                let answer = if script.is_empty() {
                    self.values.get(template).cloned().unwrap_or(Answer::Value(1.0))
                } else {
                    script.remove(0)
                };
                let name = self.canary.analysis.checks[*check].name.clone();
                self.note(&format!("metric {name} → {answer:?}"));
                answer
            }
        }
    }

    fn obey(&mut self, step: &Step) {
        let before = self.fingerprint_text();
        let now = self.now;
        match step {
            Step::EnsureServices => self.services = true,
            Step::EnsureApex => self.apex_on_primary = true,
            Step::EnsurePrimary(revision) => {
                if self.primary.is_none() {
                    self.known(revision);
                    self.primary = Some(Pods {
                        revision: revision.clone(),
                        desired: REPLICAS,
                        generation: 1,
                        changed: now,
                        old: 0,
                    });
                }
            }
            Step::Record(revision) => {
                assert_eq!(
                    Some(revision),
                    self.target.as_ref().map(|target| &target.revision)
                );
                if !self.recorded.contains(revision) {
                    self.recorded.push(revision.clone());
                }
            }
            Step::Promote(revision) => {
                self.known(revision);
                let old = available(self.primary.as_ref(), &self.broken, now);
                let primary = self.primary.as_mut().expect("a primary to promote to");
                if primary.revision != *revision {
                    primary.revision = revision.clone();
                    primary.generation += 1;
                    primary.changed = now;
                    primary.old = old;
                    self.primary_changes += 1;
                }
            }
            Step::Park => {
                self.raised_by.clear();
                scale(self.target.as_mut(), 0, now);
            }
            Step::Unpark => {
                self.raised_by.clear();
                if self.target.as_ref().is_some_and(|target| target.desired == 0) {
                    scale(self.target.as_mut(), REPLICAS, now);
                }
            }
            Step::Restore => self.apex_on_primary = false,
            Step::AddFinalizer => self.finalizer = true,
            Step::RemoveFinalizer => {
                self.finalizer = false;
                self.gone = self.deleting;
            }
            Step::DropScalers => self.stale_scalers = false,
            Step::Route(split) => self.split = *split,
            Step::EnsurePrimaryScaler | Step::PauseScaler | Step::ResumeScaler | Step::ForgetConfigs => {}
        }
        if before != self.fingerprint_text() {
            let text = match step {
                Step::EnsurePrimary(revision) => format!("EnsurePrimary({})", short(revision)),
                Step::Promote(revision) => format!("Promote({})", short(revision)),
                Step::Record(revision) => format!("Record({})", short(revision)),
                Step::Route(split) => format!(
                    "Route(canary {}{})",
                    split.canary,
                    if split.mirrored { ", mirrored" } else { "" }
                ),
                Step::EnsureServices
                | Step::EnsureApex
                | Step::Park
                | Step::Unpark
                | Step::EnsurePrimaryScaler
                | Step::DropScalers
                | Step::ForgetConfigs
                | Step::PauseScaler
                | Step::ResumeScaler
                | Step::AddFinalizer
                | Step::Restore
                | Step::RemoveFinalizer => format!("{step:?}"),
            };
            self.note(&format!("step   {text}"));
        }
    }

    fn fingerprint_text(&self) -> String {
        format!(
            "{:?} {:?} {} {} {} {:?} {:?}",
            self.target,
            self.primary,
            self.services,
            self.apex_on_primary,
            self.finalizer,
            self.recorded,
            self.split
        )
    }

    /// A revision can be rendered when its template was recorded, or is what the target has.
    fn known(&self, revision: &Revision) {
        let target = self.target.as_ref().map(|target| &target.revision);
        let known = target
            .into_iter()
            .chain(&self.recorded)
            .any(|known| known.template == revision.template);
        assert!(known, "{revision:?} is not recorded");
    }

    /// Available pods behind the apex.
    fn production(&self) -> i32 {
        if self.canary.target.kind == TargetKind::Service {
            return 1;
        }
        let production = if self.apex_on_primary && self.split.canary < 100 {
            &self.primary
        } else {
            &self.target
        };
        available(production.as_ref(), &self.broken, self.now)
    }

    /// The wall clock jumps; nothing else happens.
    pub(crate) fn jump(&mut self, seconds: i64) {
        let jump = SignedDuration::from_secs(seconds);
        self.now += jump;
        for pods in [&mut self.target, &mut self.primary].into_iter().flatten() {
            pods.changed += jump;
        }
    }

    fn store(&mut self, status: &Status) {
        let old = std::mem::replace(&mut self.status, status.clone());
        if old.stage != status.stage {
            self.note(&format!("phase  {} → {}", name(old.stage), name(status.stage)));
        }
        if (old.iterations, old.failed_checks) != (status.iterations, status.failed_checks) {
            self.note(&format!(
                "count  iterations={} failedChecks={}",
                status.iterations, status.failed_checks
            ));
        }
    }

    fn note(&mut self, text: &str) {
        let seconds = self.now.duration_since(self.began).as_secs();
        self.story.push(format!("t+{seconds:<4} {text}"));
    }
}

/// The laws every plan keeps, whatever the facts were.
pub(crate) fn lawful(canary: &Canary, seen: &Observed, heard: &Answers, plan: &Plan, now: Timestamp) {
    let at = |step: &Step| plan.steps.iter().position(|other| other == step);
    let context = || format!("{canary:#?}\n{seen:#?}\n{heard:#?}\n{plan:#?}");
    let (old, new) = (&seen.status, &plan.status);

    // Traffic only ever goes to a primary that serves, and whoever may have traffic is not scaled to zero.
    if at(&Step::EnsureApex).is_some() {
        let replicas = canary.target.kind != TargetKind::Service;
        let serves = seen
            .primary
            .workload()
            .is_some_and(|primary| primary.available > 0 || !replicas);
        assert!(serves, "apex on a primary that does not serve: {}", context());
    }
    for step in &plan.steps {
        let Step::Route(split) = step else { continue };
        let moved = seen.routing.is_some_and(|routing| routing.split != *split);
        assert!(moved, "{}", context());
        // The canary gets traffic only while it can answer; a broken primary leaves no choice.
        let answers = seen.target.workload().is_some_and(|target| target.available > 0);
        let no_choice = new.stage == Stage::Failed;
        assert!(
            split.is_none() || answers || no_choice || canary.target.kind == TargetKind::Service,
            "traffic to a canary that does not answer: {}",
            context()
        );
    }
    if seen.routing.is_none() {
        assert!(new.canary_weight == 0 || new == old, "{}", context());
    }
    if let Some(park) = at(&Step::Park) {
        assert!(
            seen.routing.is_none_or(|routing| routing.split.is_none()),
            "parked with weight: {}",
            context()
        );
        let routed = seen.services_ready || at(&Step::EnsureApex).is_some_and(|apex| apex < park);
        assert!(routed, "parked with traffic: {}", context());
        assert!(
            matches!(new.stage, Stage::Initialized | Stage::Succeeded | Stage::Failed),
            "{}",
            context()
        );
    }
    if at(&Step::Unpark).is_some() {
        // Or clients were sent to it, and it is what they had before.
        let turned = seen.interference.as_ref().is_some_and(|found| {
            let promoted = seen.revision.as_ref();
            found.changed == Changed::Service { to_target: true }
                && promoted.is_some_and(|revision| revision.template == old.last_promoted)
        });
        assert!(
            turned
                || matches!(
                    new.stage,
                    Stage::Progressing | Stage::WaitingPromotion | Stage::Terminating
                ),
            "{}",
            context()
        );
    }
    // Guards.
    if canary.suspended || seen.blocked.is_some() || seen.deleting {
        assert!(heard.is_empty(), "asked behind a guard: {}", context());
    }
    if new.paused && !seen.deleting {
        let own = [Step::AddFinalizer, Step::RemoveFinalizer];
        assert!(
            heard.is_empty() && plan.steps.iter().all(|step| own.contains(step)),
            "acted in a pause: {}",
            context()
        );
    }
    if !seen.deleting && (canary.suspended || seen.blocked.is_some()) {
        assert!(plan.steps.is_empty(), "acted behind a guard: {}", context());
    }
    // What is promoted was judged, or promoted before.
    for step in &plan.steps {
        if let Step::Promote(revision) = step {
            let good = match new.stage {
                Stage::Initializing => !seen.services_ready && Some(revision) == seen.revision.as_ref(),
                Stage::Promoting => revision.template == new.last_applied,
                Stage::Failed => revision.template == old.last_promoted,
                Stage::New
                | Stage::Initialized
                | Stage::Waiting
                | Stage::Progressing
                | Stage::WaitingPromotion
                | Stage::Finalising
                | Stage::Succeeded
                | Stage::Terminating
                | Stage::Terminated => false,
            };
            assert!(good, "promoted something else: {}", context());
        }
    }
    // Counters move by one or start over; the pace is written by questions alone.
    assert!(new.iterations <= old.iterations + 1, "{}", context());
    assert!(new.failed_checks <= old.failed_checks + 1, "{}", context());
    let ask = |question: &Question| !matches!(question, Question::MetricsOnline);
    let analysed = old.iterations != new.iterations
        || old.failed_checks != new.failed_checks
        || old.canary_weight != new.canary_weight;
    if new.last_check != old.last_check {
        assert!(
            heard.keys().any(ask) || analysed,
            "a check without a check: {}",
            context()
        );
    }
    if heard.keys().any(ask) {
        assert_eq!(
            new.last_check,
            Some(now),
            "asked and not remembered: {}",
            context()
        );
    }
    let called_off = new.stage == Stage::Failed && new.last_order != old.last_order;
    assert!(new.checks.len() <= HISTORY, "{}", context());
    assert!(
        edges(old.stage).contains(&new.stage) || called_off,
        "{:?} → {:?}",
        old.stage,
        new.stage
    );
    assert_ne!(plan.wake, Some(Duration::ZERO), "{}", context());
    // What changes nothing is not told.
    let leaves = at(&Step::RemoveFinalizer).is_some();
    if new == old && !leaves {
        assert!(
            plan.announcements.is_empty(),
            "told again and again: {}",
            context()
        );
    }
    if new != old {
        assert_ne!(new.last_transition, None);
        assert_eq!(new.observed_generation, canary.generation);
    }
}

/// Stages that may follow a stage within one pass.
pub(crate) fn edges(from: Stage) -> &'static [Stage] {
    use Stage::{
        Failed, Finalising, Initialized, Initializing, New, Progressing, Promoting, Succeeded, Terminated,
        Terminating, Waiting, WaitingPromotion,
    };
    match from {
        New => &[New, Initializing],
        Initializing => &[Initializing, Initialized, Failed, Terminating],
        Initialized => &[Initialized, Waiting, Progressing, Terminating],
        Waiting => &[Waiting, Initialized, Progressing, Failed, Terminating],
        Progressing => &[Progressing, WaitingPromotion, Promoting, Failed, Terminating],
        WaitingPromotion => &[WaitingPromotion, Progressing, Promoting, Failed, Terminating],
        Promoting => &[Promoting, Finalising, Failed, Progressing, Terminating],
        Finalising => &[Finalising, Succeeded, Failed, Progressing, Terminating],
        Succeeded => &[Succeeded, Waiting, Progressing, Terminating],
        Failed => &[
            Failed,
            Waiting,
            Progressing,
            Initializing,
            Initialized,
            Terminating,
        ],
        Terminating => &[Terminating, Initializing, Initialized, Failed],
        Terminated => &[Terminated, Initializing, Initialized, Failed, Terminating],
    }
}

fn numbers(pods: &Pods, broken: &BTreeSet<String>, now: Timestamp) -> (i32, i32, i32) {
    if pods.desired == 0 {
        return (0, 0, 0);
    }
    let settling = now < pods.changed + SignedDuration::from_secs(SETTLE);
    if settling || broken.contains(&pods.revision.template) {
        if pods.old > 0 {
            return (pods.desired + 1, 1, pods.old);
        }
        return (pods.desired, pods.desired, 0);
    }
    (pods.desired, pods.desired, pods.desired)
}

fn available(pods: Option<&Pods>, broken: &BTreeSet<String>, now: Timestamp) -> i32 {
    pods.map_or(0, |pods| numbers(pods, broken, now).2)
}

fn scale(pods: Option<&mut Pods>, desired: i32, now: Timestamp) {
    if let Some(pods) = pods.filter(|pods| pods.desired != desired) {
        pods.desired = desired;
        pods.generation += 1;
        pods.changed = now;
        pods.old = 0;
    }
}

fn short(revision: &Revision) -> String {
    let digits = revision
        .template
        .trim_start_matches("v1:")
        .trim_start_matches('0');
    match &revision.configs {
        None => digits.to_owned(),
        Some(configs) => format!(
            "{digits}+{}",
            configs.values().cloned().collect::<Vec<_>>().join(",")
        ),
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::New => "(new)",
        Stage::Initializing
        | Stage::Initialized
        | Stage::Waiting
        | Stage::Progressing
        | Stage::WaitingPromotion
        | Stage::Promoting
        | Stage::Finalising
        | Stage::Succeeded
        | Stage::Failed
        | Stage::Terminating
        | Stage::Terminated => stage.as_str(),
    }
}
