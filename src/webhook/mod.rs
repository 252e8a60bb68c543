//! SHELL of admission and conversion: one router for `/validate`, `/mutate`, `/convert`, the probes and `/metrics`.
//!
//! Owns: HTTP of the webhooks, their budgets and deadlines. Promises: whatever can be decoded gets a review-shaped
//! answer; whatever cannot gets a `Status` with a reason; a panic stays inside its request; a flood of admission
//! reviews never starves conversion. Never redirects, never writes to the cluster, never logs an object.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: deadlines and durations run by the clock"
)]

mod answer;
mod around;
mod body;
mod budget;
mod caller;
mod envelope;
mod judge;
mod ready;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::State as Extract;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, header};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::api::convert::{Reviewed, review_bytes};
use crate::cache::Caches;
use crate::model::parse::Settings;
use crate::net::serve::Peer;
use crate::telemetry::{Metrics, TraceParent};

pub use budget::Budgets;
pub use caller::Callers;
pub use judge::Hook;
pub use ready::{Latch, Readiness};

use answer::Refusal;
use around::Around;
use envelope::{Envelope, Opening};
use judge::Verdict;

/// Reviews up to this size, bytes, are judged where they arrive: the way to another thread and back would cost as much.
const AT_ONCE: usize = 64 << 10;

/// What the handlers share.
pub struct State {
    settings: Settings,
    around: Option<Around>,
    metrics: Arc<Metrics>,
    budgets: Budgets,
    readiness: Readiness,
    callers: Callers,
    stop: CancellationToken,
}

impl State {
    /// With the usual budgets, nothing latched yet, and a `stop` token of its own.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self {
            settings,
            around: None,
            metrics,
            budgets: Budgets::default(),
            readiness: Readiness::default(),
            callers: Callers::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Canaries are judged by what these caches hold around them, too; `selector_labels` are those that may tell the
    /// pods of a target. Without caches nothing is said about neighbours.
    #[must_use]
    pub fn looking_around(mut self, caches: Caches, selector_labels: Vec<String>) -> Self {
        self.around = Some(Around::new(caches, selector_labels));
        self
    }

    /// Other budgets than the usual.
    #[must_use]
    pub fn with_budgets(mut self, budgets: Budgets) -> Self {
        self.budgets = budgets;
        self
    }

    /// Who may ask `/validate` and `/mutate`.
    #[must_use]
    pub fn with_callers(mut self, callers: Callers) -> Self {
        self.callers = callers;
        self
    }

    /// Readiness fails from the moment this token is cancelled; hand the same token to the listener.
    #[must_use]
    pub fn stopping_with(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// The parts readiness is made of; each is latched once true.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

/// The router of the webhook port.
pub fn app(state: Arc<State>) -> Router {
    Router::new()
        .route("/validate", post(validate))
        .route("/mutate", post(mutate))
        .route("/convert", post(convert))
        .route("/healthz", get(healthz))
        .route("/livez", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .layer(CatchPanicLayer::custom(|_| {
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the webhook failed; its log has the reason",
            )
            .into_response()
        }))
        .with_state(state)
}

async fn healthz(Extract(state): Extract<Arc<State>>) -> String {
    format!("ok\n{}", state.readiness)
}

async fn readyz(Extract(state): Extract<Arc<State>>) -> Response {
    let stopping = state.stop.is_cancelled();
    let status = if state.readiness.is_ready() && !stopping {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let note = if stopping { "stopping\n" } else { "" };
    (status, format!("{note}{}", state.readiness)).into_response()
}

async fn metrics(Extract(state): Extract<Arc<State>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics.encode()).into_response()
}

async fn validate(
    Extract(state): Extract<Arc<State>>,
    peer: Option<Extension<Peer>>,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Response {
    match state.callers.refuse(peer.as_deref()) {
        None => {
            let span = review_span(Hook::Validate, &headers);
            admit(Hook::Validate, &state, &uri, &headers, body)
                .instrument(span)
                .await
        }
        Some(refusal) => strange(Hook::Validate, &state, refusal),
    }
}

async fn mutate(
    Extract(state): Extract<Arc<State>>,
    peer: Option<Extension<Peer>>,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Response {
    match state.callers.refuse(peer.as_deref()) {
        None => {
            let span = review_span(Hook::Mutate, &headers);
            admit(Hook::Mutate, &state, &uri, &headers, body)
                .instrument(span)
                .await
        }
        Some(refusal) => strange(Hook::Mutate, &state, refusal),
    }
}

/// The span of a review, continued from the API server's; facts are filled in as they become known.
fn review_span(hook: Hook, headers: &HeaderMap) -> Span {
    tracing::info_span!(
        "review",
        hook = hook.as_str(),
        traceparent = traceparent(headers),
        uid = Empty,
        operation = Empty,
        kind = Empty,
        namespace = Empty,
        name = Empty,
        verdict = Empty,
    )
}

fn traceparent(headers: &HeaderMap) -> &str {
    let header = headers.get("traceparent").and_then(|value| value.to_str().ok());
    header.unwrap_or_default()
}

/// A caller who may not ask: told, and counted.
fn strange(hook: Hook, state: &State, refusal: Refusal) -> Response {
    state.metrics.review(hook.as_str(), "unauthorised", 0.0);
    refusal.into_response()
}

async fn admit(
    hook: Hook,
    state: &Arc<State>,
    uri: &Uri,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Response {
    let began = Instant::now();
    let count = |verdict| {
        state
            .metrics
            .review(hook.as_str(), verdict, began.elapsed().as_secs_f64());
    };
    let Some(permit) = state.budgets.admission() else {
        count("shed");
        return answer::shed();
    };
    let bytes = match body::read(
        headers,
        body,
        state.budgets.admission_body,
        state.budgets.admission_read,
    )
    .await
    {
        Ok(bytes) => bytes,
        Err(refusal) => {
            count("unreadable");
            return refusal.into_response();
        }
    };
    let allowed = body::deadline(uri);
    let opening: Arc<OnceLock<Opening>> = Arc::default();
    let (judging, known) = (Arc::clone(state), Arc::clone(&opening));
    let small = bytes.len() <= AT_ONCE;
    let span = Span::current();
    let work = move || {
        // The permit travels with the work: work that outlives its deadline still counts against the budget.
        let _permit = permit;
        span.in_scope(|| review(hook, &bytes, &judging, &known))
    };
    let refuse = |code, message: &str| match opening.get() {
        Some(opening) => answer::admission(&opening.uid, opening.failed(code, message)),
        None => Refusal::new(code, message).into_response(),
    };
    let left = allowed.saturating_sub(began.elapsed());
    let done = if small {
        Ok(Ok(work()))
    } else {
        tokio::time::timeout(left, tokio::task::spawn_blocking(work)).await
    };
    match done {
        Ok(Ok(Ok((envelope, verdict)))) => {
            count(verdict.word());
            fill(&envelope, verdict.word());
            if !verdict.is_allowed() {
                record(hook, &envelope, &verdict, traceparent(headers), began.elapsed());
            }
            answer::admission(&envelope.uid, verdict)
        }
        Ok(Ok(Err(refusal))) => {
            count("unreadable");
            tracing::warn!(hook = hook.as_str(), reason = %refusal, "review not readable");
            refusal.into_response()
        }
        Ok(Err(_)) => {
            count("panicked");
            refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the review failed; the log of verdigris has the reason",
            )
        }
        Err(_) => {
            count("late");
            let message = format!("the review took longer than {allowed:?}; nothing was decided, try again");
            refuse(StatusCode::GATEWAY_TIMEOUT, &message)
        }
    }
}

/// Decodes and judges; a panic of the judge becomes a verdict.
fn review(
    hook: Hook,
    bytes: &Bytes,
    state: &State,
    known: &OnceLock<Opening>,
) -> Result<(Envelope, Verdict), Refusal> {
    let envelope = Envelope::decode(bytes, |opening| {
        // Only ever set here, once.
        let _ = known.set(opening);
    })?;
    let judged = AssertUnwindSafe(|| judge::judge(hook, &envelope, &state.settings, state.around.as_ref()));
    let verdict = catch_unwind(judged).unwrap_or_else(|panic| {
        tracing::error!(
            uid = envelope.uid,
            reason = panic_text(&*panic),
            "review panicked"
        );
        if envelope.operation == "DELETE" {
            Verdict::unjudged()
        } else {
            Verdict::panicked()
        }
    });
    Ok((envelope, verdict))
}

/// What a span is told once the review could be read.
fn fill(envelope: &Envelope, verdict: &str) {
    let span = Span::current();
    span.record("uid", envelope.uid.as_str());
    span.record("operation", envelope.operation.as_str());
    span.record("kind", envelope.kind.kind.as_str());
    span.record("namespace", envelope.namespace.as_deref().unwrap_or_default());
    span.record("name", envelope.name.as_deref().unwrap_or_default());
    span.record("verdict", verdict);
}

/// The one line of a denied review: which rules and fields, never a value, which may be a secret.
fn record(hook: Hook, envelope: &Envelope, verdict: &Verdict, traceparent: &str, took: Duration) {
    let trace = TraceParent::parse(traceparent).map(|parent| format!("{:032x}", parent.trace));
    tracing::info!(
        hook = hook.as_str(),
        uid = envelope.uid,
        operation = envelope.operation,
        kind = envelope.kind.kind,
        namespace = envelope.namespace,
        name = envelope.name,
        dry_run = envelope.dry_run,
        user = envelope.user(),
        codes = verdict.codes(),
        fields = verdict.fields(),
        trace,
        milliseconds = took.as_millis() as u64,
        "review denied"
    );
}

/// Reviews up to this size, bytes, are converted where they are read: about a tenth of a millisecond for 10 kB.
const INLINE: usize = 64 << 10;

async fn convert(
    Extract(state): Extract<Arc<State>>,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Response {
    let span = tracing::info_span!(
        "conversion",
        traceparent = traceparent(&headers),
        to = Empty,
        objects = Empty
    );
    convert_body(&state, &uri, &headers, body).instrument(span).await
}

async fn convert_body(state: &State, uri: &Uri, headers: &HeaderMap, body: axum::body::Body) -> Response {
    let began = Instant::now();
    let Some(permit) = state.budgets.conversion(body::length(headers)).await else {
        state.metrics.conversion("unknown", "unknown", "shed", 0);
        return answer::shed();
    };
    let bytes = match body::read(
        headers,
        body,
        state.budgets.conversion_body,
        state.budgets.conversion_read,
    )
    .await
    {
        Ok(bytes) => bytes,
        Err(refusal) => {
            state.metrics.conversion("unknown", "unknown", "unreadable", 0);
            return refusal.into_response();
        }
    };
    let length = bytes.len();
    let allowed = body::deadline(uri);
    let uid: Arc<OnceLock<String>> = Arc::default();
    let known = Arc::clone(&uid);
    // What is converted sooner than a thread is woken stays on this one: watch caches send objects one by one.
    let work = async move {
        let convert = move || {
            let _permit = permit;
            convert_all(&bytes, &known)
        };
        if length <= INLINE {
            Ok(convert())
        } else {
            tokio::task::spawn_blocking(convert).await
        }
    };
    let refuse = |code, message: &str| match uid.get() {
        Some(uid) => answer::conversion_failed(uid, message),
        None => Refusal::new(code, message).into_response(),
    };
    let left = allowed.saturating_sub(began.elapsed());
    match tokio::time::timeout(left, work).await {
        Ok(Ok(Ok(converted))) => {
            Span::current().record("to", converted.to);
            Span::current().record("objects", converted.objects);
            let result = if converted.succeeded { "success" } else { "failure" };
            state
                .metrics
                .conversion(converted.from, converted.to, result, converted.objects);
            answer::json(StatusCode::OK, converted.answer)
        }
        Ok(Ok(Err(refusal))) => {
            state.metrics.conversion("unknown", "unknown", "unreadable", 0);
            refusal.into_response()
        }
        Ok(Err(_)) => {
            state.metrics.conversion("unknown", "unknown", "panicked", 0);
            refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the conversion failed; the log of verdigris has the reason",
            )
        }
        Err(_) => {
            state.metrics.conversion("unknown", "unknown", "late", 0);
            refuse(
                StatusCode::GATEWAY_TIMEOUT,
                &format!("the conversion took longer than {allowed:?}; try again"),
            )
        }
    }
}

/// An answered ConversionReview, serialised.
struct Converted {
    from: &'static str,
    to: &'static str,
    succeeded: bool,
    objects: u64,
    answer: Vec<u8>,
}

fn convert_all(bytes: &Bytes, uid: &OnceLock<String>) -> Result<Converted, Refusal> {
    let found = envelope::conversion(bytes)?;
    let uid: &str = uid.get_or_init(|| found);
    let reviewed = catch_unwind(AssertUnwindSafe(|| review_bytes(bytes))).unwrap_or_else(|panic| {
        tracing::error!(uid, reason = panic_text(&*panic), "conversion panicked");
        let reason = "the conversion failed; the log of verdigris has the reason".to_owned();
        Reviewed {
            answer: answer::conversion_failure(uid, &reason).to_string().into_bytes(),
            uid: uid.to_owned(),
            to: String::new(),
            from: String::new(),
            objects: 0,
            stashes_dropped: 0,
            failure: Some(reason),
        }
    });
    let (from, to) = (version(&reviewed.from), version(&reviewed.to));
    if let Some(reason) = &reviewed.failure {
        tracing::warn!(uid, to = reviewed.to, reason, "conversion refused");
    }
    if reviewed.stashes_dropped > 0 {
        let objects = reviewed.stashes_dropped;
        tracing::warn!(
            uid,
            to,
            objects,
            "parts the wanted version cannot say are too large to be kept aside"
        );
    }
    Ok(Converted {
        from,
        to,
        succeeded: reviewed.failure.is_none(),
        objects: reviewed.objects,
        answer: reviewed.answer,
    })
}

/// The metric label of an apiVersion.
fn version(api_version: &str) -> &'static str {
    match api_version {
        "flagger.app/v1beta1" => "v1beta1",
        "flagger.app/v1alpha3" => "v1alpha3",
        "flagger.app/v1alpha2" => "v1alpha2",
        "flagger.app/v1alpha1" => "v1alpha1",
        _ => "unknown",
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests;
