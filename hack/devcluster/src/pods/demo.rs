//! The demo application: a small HTTP server per pod, with podinfo's paths and series, and faults on demand.

#![expect(clippy::disallowed_methods, reason = "shell: measures and delays answers")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::image::Demo;
use super::metrics::Metrics;

/// Bodies that `/echo` gives back are at most this long, bytes.
const ECHO: usize = 1 << 20;

/// A running demo application. Dropping it closes its listeners and lets requests in flight end.
#[derive(Debug)]
pub(crate) struct Server {
    app: Arc<App>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
}

#[derive(Debug)]
struct App {
    demo: Demo,
    hostname: String,
    metrics: Metrics,
    served: AtomicU64,
    ready: AtomicBool,
    draining: AtomicBool,
}

impl Server {
    /// Listens on every address; all or nothing.
    pub(crate) async fn start(demo: Demo, hostname: &str, addresses: &[SocketAddr]) -> std::io::Result<Self> {
        let app = Arc::new(App {
            demo,
            hostname: hostname.to_owned(),
            metrics: Metrics::default(),
            served: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        });
        let stop = watch::Sender::new(false);
        let mut bound = Vec::new();
        for address in addresses {
            bound.push(TcpListener::bind(address).await?);
        }
        let mut listeners = JoinSet::new();
        for listener in bound {
            let router = Router::new().fallback(answer).with_state(Arc::clone(&app));
            let mut stopped = stop.subscribe();
            listeners.spawn(async move {
                let signal = async move {
                    // An error is the server being dropped: also a reason to stop.
                    let _dropped = stopped.wait_for(|stop| *stop).await.is_err();
                };
                if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(signal).await {
                    tracing::warn!(%error, "demo application ended");
                }
            });
        }
        Ok(Self { app, stop, listeners })
    }

    /// What `/readyz` answers.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.app.ready.store(ready, Ordering::Relaxed);
    }

    /// Ends without losing a request: for `linger` it still accepts, telling clients to leave; then it stops
    /// accepting and waits for requests in flight, `grace` at most.
    pub(crate) async fn drain(mut self, linger: Duration, grace: Duration) {
        self.app.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(linger).await;
        self.stop.send_replace(true);
        let ended = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::debug!(pod = self.app.hostname, "requests outlived the grace period");
        }
    }
}

async fn answer(State(app): State<Arc<App>>, request: Request) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let (route, response) = app.route(request).await;
    let mut response = response.into_response();
    app.metrics.observe(
        method.as_str(),
        route,
        response.status().as_u16(),
        started.elapsed(),
    );
    if app.draining.load(Ordering::Relaxed) {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn page(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut text = serde_json::to_string_pretty(body).unwrap_or_default();
    text.push('\n');
    (
        status,
        [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
        text,
    )
        .into_response()
}

impl App {
    /// The route's name as podinfo's `path` label has it, and the answer.
    async fn route(&self, request: Request) -> (&'static str, Response) {
        let path = request.uri().path().trim_end_matches('/').to_owned();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match parts.as_slice() {
            [] => ("root", self.fail_or(async { self.info() }).await),
            ["api", "info"] => ("api_info", self.fail_or(async { self.info() }).await),
            ["echo"] | ["api", "echo"] => ("echo", self.fail_or(echo(request)).await),
            ["healthz"] => ("healthz", page(StatusCode::OK, &json!({"status": "OK"}))),
            ["readyz"] if self.ready.load(Ordering::Relaxed) => {
                ("readyz", page(StatusCode::OK, &json!({"status": "OK"})))
            }
            ["readyz"] => ("readyz", StatusCode::SERVICE_UNAVAILABLE.into_response()),
            ["version"] => (
                "version",
                page(
                    StatusCode::OK,
                    &json!({"version": self.demo.version, "commit": "demo"}),
                ),
            ),
            ["metrics"] => {
                let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
                ("metrics", (kind, self.metrics.expose()).into_response())
            }
            ["status", code] => ("status_code", status(code)),
            ["delay", seconds] => ("delay_seconds", delay(seconds).await),
            _ => (
                "not_found",
                page(
                    StatusCode::NOT_FOUND,
                    &json!({"code": 404, "message": "no such path"}),
                ),
            ),
        }
    }

    fn info(&self) -> Response {
        let body = json!({
            "hostname": self.hostname,
            "version": self.demo.version,
            "message": format!("greetings from podinfo v{}", self.demo.version),
        });
        page(StatusCode::OK, &body)
    }

    /// The application's own work: delayed and failed as configured. Failures are spread evenly, so any hundred
    /// requests in a row see exactly the configured percentage.
    async fn fail_or(&self, work: impl Future<Output = Response>) -> Response {
        if !self.demo.latency.is_zero() {
            tokio::time::sleep(self.demo.latency).await;
        }
        let served = self.served.fetch_add(1, Ordering::Relaxed);
        let rate = u64::from(self.demo.error_rate);
        if (served + 1) * rate / 100 > served * rate / 100 {
            return page(
                StatusCode::INTERNAL_SERVER_ERROR,
                &json!({"code": 500, "message": "failing as configured"}),
            );
        }
        work.await
    }
}

async fn echo(request: Request) -> Response {
    let method = request.method().clone();
    let body: Body = request.into_body();
    match axum::body::to_bytes(body, ECHO).await {
        Ok(body) if method == Method::POST || method == Method::PUT => {
            (StatusCode::ACCEPTED, body).into_response()
        }
        Ok(_) => (StatusCode::OK, Bytes::new()).into_response(),
        Err(error) => page(
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!({"code": 413, "message": error.to_string()}),
        ),
    }
}

fn status(code: &str) -> Response {
    match code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
        Some(code) if code.as_u16() >= 200 => page(code, &json!({"status": code.as_u16()})),
        Some(_) | None => {
            let message = format!("status: found {code}; expected a number from 200 to 999");
            page(StatusCode::BAD_REQUEST, &json!({"code": 400, "message": message}))
        }
    }
}

async fn delay(seconds: &str) -> Response {
    let wait = seconds
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let Some(wait) = wait else {
        let message = format!("delay: found {seconds}; expected seconds, such as 2 or 0.5");
        return page(StatusCode::BAD_REQUEST, &json!({"code": 400, "message": message}));
    };
    tokio::time::sleep(wait).await;
    page(StatusCode::OK, &json!({"delay": wait.as_secs_f64()}))
}
