//! SHELL of the loop: gather, decide, apply.
//!
//! Owns: the pass ([`run`]), and what wakes it. Promises: one bad Canary, slow hook or failed call never
//! affects another; nothing is written for a stable Canary. Never decides: that is [`crate::rollout::next`].
#![expect(clippy::disallowed_methods, reason = "shell: reads the clock for decisions")]

mod alert;
mod answer;
mod apply;
mod block;
mod complain;
mod configs;
mod configwatch;
mod contest;
mod flagger;
mod gauge;
mod guard;
mod index;
mod observe;
mod publish;
mod record;
mod scaling;
mod sums;
mod watch;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use jiff::Timestamp;
use kube::api::DynamicObject;
use kube::runtime::controller::Action;
use serde_json::Value;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::cache::Caches;
use crate::cluster::{Cluster, ClusterError, Kind};
use crate::lease::Leadership;
use crate::model::notice::{Notice, Reason, printable};
use crate::model::parse::{self, Settings};
use crate::model::status::{self, UnknownStage};
use crate::net::outbound::Outbound;
use crate::notify::Destination;
use crate::policy::Shared;
use crate::rollout::observed::Block;
use crate::rollout::plan::Next;
use crate::rollout::question::Answers;
use crate::rollout::{next, rejected};
use crate::telemetry::Metrics;
use crate::workload;

pub use watch::run;

/// What the process decides for the controller.
#[derive(Debug, Clone)]
pub struct Config {
    /// Only this namespace; `None` for all.
    pub namespace: Option<String>,
    /// `--metrics-server`.
    pub metrics_server: String,
    /// Defaults for manifests that leave things open.
    pub settings: Settings,
    /// How workloads are rendered.
    pub rendering: workload::Options,
    /// `--enable-config-tracking`: a change of a ConfigMap or Secret is a new revision, and the primary reads copies.
    pub track_configs: bool,
    /// Canaries worked on at once.
    pub concurrency: u16,
    /// Told about Canaries without alerts of their own.
    pub notifier: Option<Destination>,
    /// `--cluster-name`, told in alerts.
    pub cluster_name: Option<String>,
    /// `--event-webhook`: called with the events of Canaries without an event hook of their own.
    pub event_webhook: Option<String>,
}

/// Everything a pass needs.
pub struct Context {
    /// Reads and writes.
    pub cluster: Arc<Cluster>,
    /// Watched objects.
    pub caches: Caches,
    /// HTTP to hooks and metric servers.
    pub outbound: Outbound,
    /// The organisation's policies.
    pub policies: Arc<Shared>,
    /// Settings.
    pub config: Config,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether this replica acts at all.
    pub leadership: Leadership,
    index: Arc<index::Index>,
    sums: Arc<sums::Sums>,
    flagger: flagger::Check,
    complaints: Arc<complain::Complaints>,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The stored status cannot be read.
    #[error(transparent)]
    Status(#[from] UnknownStage),
    /// What was to be promoted is not recorded and the target has moved on.
    #[error(
        "revision {revision} of {target} is not recorded and the target has moved on; set the target to the template to promote, or delete status.lastPromotedSpec"
    )]
    Unrecorded {
        /// The revision's hash.
        revision: String,
        /// The target.
        target: String,
    },
    /// A Service or primary cannot be rendered.
    #[error("{0}")]
    Blocked(String),
    /// A fault of ours that this Canary brings to light.
    #[error(
        "the controller failed on this Canary and goes on with the others: {0}; report it with the manifest"
    )]
    Panicked(String),
}

impl Error {
    /// The reason shown on events and conditions.
    pub fn reason(&self) -> Reason {
        match self {
            Error::Cluster(_) | Error::Panicked(_) => Reason::ReconcileError,
            Error::Status(_) => Reason::InvalidSpec,
            Error::Unrecorded { .. } | Error::Blocked(_) => Reason::Blocked,
        }
    }

    /// True when trying again will not help until somebody changes something: told on the object.
    fn is_lasting(&self) -> bool {
        match self {
            Error::Cluster(error) => error.is_refusal(),
            Error::Status(_) | Error::Unrecorded { .. } | Error::Blocked(_) | Error::Panicked(_) => true,
        }
    }

    /// When another pass may help. Watches are usually quicker for what lasts.
    fn retry(&self) -> Duration {
        match self {
            Error::Cluster(error) if error.is_conflict() => Duration::from_millis(100),
            Error::Cluster(error) if !error.is_refusal() => Duration::from_secs(5),
            Error::Cluster(_)
            | Error::Status(_)
            | Error::Unrecorded { .. }
            | Error::Blocked(_)
            | Error::Panicked(_) => Duration::from_secs(60),
        }
    }
}

/// One pass over one Canary, by the replica that leads. Losing the lead ends it wherever it stands, as a crash would:
/// the plan is absolute, so the next leader takes the same one.
pub(crate) async fn reconcile(object: Arc<DynamicObject>, cx: Arc<Context>) -> Result<Action, Error> {
    if !cx.leadership.leads() {
        return Ok(Action::await_change());
    }
    tokio::select! {
        biased;
        () = cx.leadership.lost() => Ok(Action::await_change()),
        outcome = counted(&object, &cx) => outcome,
    }
}

async fn counted(object: &Arc<DynamicObject>, cx: &Arc<Context>) -> Result<Action, Error> {
    let began = Instant::now();
    let span = tracing::info_span!(
        "reconcile",
        canary = object.metadata.name,
        namespace = object.metadata.namespace,
        stage = Empty,
    );
    let mut outcome = guarded(Box::pin(pass(object, cx).instrument(span))).await;
    let label = match &outcome {
        Ok(_) => "ok",
        Err(Error::Cluster(error)) if error.is_conflict() => "conflict",
        Err(error) if error.is_lasting() => "blocked",
        Err(_) => "error",
    };
    cx.metrics.reconcile(label, began.elapsed().as_secs_f64());
    if let Err(error) = &outcome
        && error.is_lasting()
    {
        match complain::complain(error, object, cx).await {
            Ok(()) => outcome = Ok(Action::requeue(error.retry())),
            Err(worse) => outcome = Err(worse),
        }
    }
    outcome
}

/// A panic in a pass ends that pass: one bad object never takes the others with it.
async fn guarded(pass: impl Future<Output = Result<Action, Error>>) -> Result<Action, Error> {
    let outcome = AssertUnwindSafe(pass).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::Panicked(printable(words.unwrap_or("no words"))))
    })
}

async fn pass(object: &DynamicObject, cx: &Context) -> Result<Action, Error> {
    let began = Instant::now();
    let Some(wire) = newest(object, cx) else {
        return Ok(Action::await_change());
    };
    let wire = guard::whole(wire, cx);
    let parsed = parse::canary(&wire, &cx.config.settings);
    let Some(canary) = parsed.canary else {
        return reject(&wire, &parsed.report, cx).await;
    };
    let mut seen = observe::observe(&wire, &canary, cx).await?;
    seen.observed.forbidden = guard::forbidden(&wire, cx);
    Span::current().record("stage", seen.observed.status.stage.as_str());
    let mut heard = Answers::new();
    let plan = loop {
        match next::next(&canary, &seen.observed, &heard, Timestamp::now()) {
            Next::Ask(questions) => {
                heard.extend(answer::answer(&questions, &canary, &seen.observed, cx).await);
            }
            Next::Act(plan) => break *plan,
        }
    };
    apply::steps(&plan, &canary, &seen, &wire, cx).await?;
    let wire = apply::status(&plan.status, &seen.observed.status, &wire, cx).await?;
    cx.complaints
        .settle(&(canary.id.namespace.clone(), canary.id.name.clone()));
    let seconds = began.elapsed().as_secs_f64();
    gauge::passed(&seen.observed.status, &plan, &heard, &canary, &wire, seconds, cx);
    publish::publish(&plan.announcements, &canary, &plan.status, &wire, cx).await;
    // No watch tells that a Flagger is gone.
    let flagger = seen
        .observed
        .blocked
        .as_ref()
        .is_some_and(|block| block.reason == Block::FLAGGER_ACTIVE);
    let forbidden = seen.observed.forbidden.is_some();
    let wake = match plan.wake {
        _ if flagger => Some(flagger::FRESH),
        None if forbidden => Some(guard::LOOK_AGAIN),
        wake => wake,
    };
    Ok(wake.map_or_else(Action::await_change, Action::requeue))
}

/// The Canary as cached, or as we last wrote it; `object` says which.
fn newest(object: &DynamicObject, cx: &Context) -> Option<Value> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let cached = cx.caches.get(Kind::CANARY, namespace, name);
    cached.and_then(|cached| {
        cx.cluster
            .newest(Kind::CANARY, namespace, name, Some(Value::clone(&cached)))
    })
}

/// A spec that cannot be obeyed: told on the object, once; only an edit can help.
async fn reject(
    wire: &Value,
    report: &crate::model::violation::Report,
    cx: &Context,
) -> Result<Action, Error> {
    let stored = status::read(wire.get("status"))?;
    let said: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    let message = if said.is_empty() {
        "the spec cannot be read".to_owned()
    } else {
        said.join("\n")
    };
    let (rejected, changed) = rejected::rejected(&stored, wire_generation(wire), &message, Timestamp::now());
    if changed {
        let wire = apply::status(&rejected, &stored, wire, cx).await?;
        let notice = Notice::warning(Reason::InvalidSpec, format!("invalid canary spec: {message}"));
        publish::tell(&notice, &wire, cx).await;
    }
    Ok(Action::await_change())
}

pub(crate) fn wire_generation(wire: &Value) -> i64 {
    wire.pointer("/metadata/generation")
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// What to do after a failed pass.
pub(crate) fn retry(object: &Arc<DynamicObject>, error: &Error, _cx: &Arc<Context>) -> Action {
    if !matches!(error, Error::Cluster(cluster) if cluster.is_conflict()) {
        tracing::warn!(
            canary = %format!("{}.{}", object.metadata.name.as_deref().unwrap_or_default(),
                object.metadata.namespace.as_deref().unwrap_or_default()),
            reason = error.reason().as_str(),
            "pass failed: {error}"
        );
    }
    Action::requeue(error.retry())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn q39_a_panic_ends_its_own_pass_alone() {
        let broken = guarded(async { panic!("index {} of nothing", 1) }).await;
        let Err(Error::Panicked(words)) = broken else {
            unreachable!("{broken:?}");
        };
        assert_eq!(words, "index 1 of nothing");
        assert!(guarded(async { Ok(Action::await_change()) }).await.is_ok());
    }
}
