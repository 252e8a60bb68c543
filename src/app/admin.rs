//! The operator's port: `/statusz` and the log level. Loopback only, off unless asked for.
//!
//! The webhook port is open to the whole cluster, because the API server may come from anywhere; what only operators
//! may see or change is therefore served on a loopback address of the pod. `kubectl port-forward` reaches it, and
//! the API server has then checked the right `pods/portforward` of who asks.
//!
//! Owns: that listener. Promises: no other address than loopback is listened on; requests whose `Host` is no
//! loopback name are refused (a browser lured by DNS cannot ask); no object and no secret is shown.
#![expect(clippy::disallowed_methods, reason = "shell: reads the clock")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt as _;
use tower_http::limit::RequestBodyLimitLayer;

use crate::telemetry::{Logs, Metrics, VERSION};
use crate::webhook::{self, Latch};

/// Connections at once; operators are few.
const CONNECTIONS: usize = 8;
/// Longest life of a connection.
const LIFE: Duration = Duration::from_secs(30);

/// What `/statusz` reports from.
pub(super) struct Desk {
    pub(super) logs: Logs,
    pub(super) metrics: Arc<Metrics>,
    pub(super) webhook: Arc<webhook::State>,
    pub(super) releases: bool,
}

/// Listens on a loopback address.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    if !address.ip().is_loopback() {
        return Err(format!(
            "--admin-listen {address} is not a loopback address; write 127.0.0.1:{} and use kubectl port-forward",
            address.port()
        ));
    }
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("--admin-listen {address}: {error}; choose another port"))
}

/// Serves until the listener breaks.
pub(super) async fn serve(listener: TcpListener, desk: Arc<Desk>) -> Result<(), String> {
    let router = router(desk);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections: JoinSet<()> = JoinSet::new();
    loop {
        let ended = |error: &dyn std::fmt::Display| format!("the admin listener ended: {error}");
        let slot = Arc::clone(&slots)
            .acquire_owned()
            .await
            .map_err(|error| ended(&error))?;
        let (stream, _) = listener.accept().await.map_err(|error| ended(&error))?;
        while connections.try_join_next().is_some() {}
        let router = router.clone();
        connections.spawn(async move {
            let _slot = slot;
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                router.clone().oneshot(request.map(Body::new))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            // A peer that left, or stayed too long: nobody needs to know.
            let _ = tokio::time::timeout(LIFE, connection).await;
        });
    }
}

/// The router of the admin port.
fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/statusz", get(statusz))
        .route("/log-level", get(level).put(set_level))
        .layer(RequestBodyLimitLayer::new(1024))
        .layer(middleware::from_fn(from_here))
        .with_state(desk)
}

/// Refuses what was not addressed to a loopback name.
async fn from_here(headers: HeaderMap, request: Request, next: Next) -> Response {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    if is_loopback(host) {
        next.run(request).await
    } else {
        let message = "this port answers to localhost, 127.0.0.1 and [::1] only; use kubectl port-forward\n";
        (StatusCode::MISDIRECTED_REQUEST, message).into_response()
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn level(State(desk): State<Arc<Desk>>) -> String {
    format!("{}\n", desk.logs.level())
}

async fn set_level(State(desk): State<Arc<Desk>>, body: String) -> Response {
    let before = desk.logs.level();
    match desk.logs.set_level(body.trim()) {
        Ok(()) => {
            tracing::warn!(before, after = body.trim(), "the log level was changed");
            format!("{}\n", desk.logs.level()).into_response()
        }
        Err(message) => (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response(),
    }
}

async fn statusz(State(desk): State<Arc<Desk>>) -> axum::Json<Value> {
    axum::Json(status(&desk, Timestamp::now()))
}

fn status(desk: &Desk, now: Timestamp) -> Value {
    let expires = desk.metrics.certificate_expires();
    let readiness = desk.webhook.readiness();
    let parts: serde_json::Map<String, Value> = Latch::ALL
        .into_iter()
        .map(|part| (part.as_str().to_owned(), readiness.has(part).into()))
        .collect();
    let started = Timestamp::from_second(desk.metrics.started() as i64).unwrap_or(now);
    json!({
        "build": {"version": VERSION},
        "startedAt": started.to_string(),
        "uptimeSeconds": now.as_second() - started.as_second(),
        "controller": desk.releases,
        "leader": desk.metrics.leads(),
        "ready": readiness.is_ready(),
        "readiness": parts,
        "certificate": {
            "notAfter": Timestamp::from_second(expires).ok().filter(|_| expires > 0).map(|at| at.to_string()),
            "secondsLeft": (expires > 0).then(|| expires - now.as_second()),
        },
        "caches": desk.metrics.caches(),
        "canaries": desk.metrics.canaries(),
        "logLevel": desk.logs.level(),
        "lastErrors": desk.logs.last_errors(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        let table = [
            ("localhost", true),
            ("LOCALHOST:8444", true),
            ("127.0.0.1:8444", true),
            ("127.1.2.3", true),
            ("[::1]:8444", true),
            ("verdigris.example.com", false),
            ("10.0.0.1:8444", false),
            ("localhost.example.com:80", false),
            ("", false),
        ];
        for (host, expected) in table {
            assert_eq!(is_loopback(host), expected, "{host:?}");
        }
    }

    #[tokio::test]
    async fn no_other_address_is_listened_on() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let refused = bind(address.parse().unwrap()).await.unwrap_err();
            assert!(refused.contains("not a loopback address"), "{refused}");
        }
        assert!(bind("127.0.0.1:0".parse().unwrap()).await.is_ok());
    }
}
