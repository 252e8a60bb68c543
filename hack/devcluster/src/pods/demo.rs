//! The demo application: a small HTTP server per pod, with podinfo's paths and series, and faults on demand.

#![expect(clippy::disallowed_methods, reason = "shell: measures and delays answers")]

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::image::Demo;
use super::metrics::Metrics;

/// Bodies that `/echo` gives back are at most this long, bytes.
const ECHO: usize = 1 << 20;

/// A running demo application. Dropping it ends it at once; [`Server::drain`] ends it in peace.
#[derive(Debug)]
pub(crate) struct Server {
    app: Arc<App>,
    ip: IpAddr,
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
    /// Connections that have not had their first answer.
    fresh: watch::Sender<usize>,
}

/// One connection; the first answer on it makes it one that may be closed while idle.
struct Connection {
    app: Arc<App>,
    fresh: AtomicBool,
}

impl Connection {
    fn open(app: &Arc<App>) -> Arc<Self> {
        app.fresh.send_modify(|fresh| *fresh += 1);
        Arc::new(Self {
            app: Arc::clone(app),
            fresh: AtomicBool::new(true),
        })
    }

    fn answered(&self) {
        if self.fresh.swap(false, Ordering::Relaxed) {
            self.app.fresh.send_modify(|fresh| *fresh -= 1);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.answered();
    }
}

impl Server {
    /// Listens on every port; all or nothing.
    pub(crate) async fn start(
        demo: Demo,
        hostname: &str,
        ip: IpAddr,
        ports: &[u16],
    ) -> std::io::Result<Self> {
        let app = Arc::new(App {
            demo,
            hostname: hostname.to_owned(),
            metrics: Metrics::default(),
            served: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            fresh: watch::Sender::new(0),
        });
        let stop = watch::Sender::new(false);
        let mut bound = Vec::new();
        for port in ports {
            bound.push(TcpListener::bind((ip, *port)).await?);
        }
        let mut listeners = JoinSet::new();
        for listener in bound {
            listeners.spawn(listen(listener, Arc::clone(&app), stop.subscribe()));
        }
        Ok(Self {
            app,
            ip,
            stop,
            listeners,
        })
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.ip
    }

    /// What `/readyz` answers.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.app.ready.store(ready, Ordering::Relaxed);
    }

    /// From now on every answer tells its client to leave.
    pub(crate) fn dismiss(&self) {
        self.app.draining.store(true, Ordering::Relaxed);
    }

    /// Ends without losing a request: for `linger`, and until every connection had an answer, it still accepts;
    /// then it waits for requests in flight. `grace` at most.
    pub(crate) async fn drain(mut self, linger: Duration, grace: Duration) {
        self.dismiss();
        let ended = async {
            tokio::time::sleep(linger).await;
            let mut fresh = self.app.fresh.subscribe();
            // The sender lives in `app`: this cannot fail while we wait.
            let _count = fresh.wait_for(|fresh| *fresh == 0).await.is_ok();
            self.stop.send_replace(true);
            while self.listeners.join_next().await.is_some() {}
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::debug!(pod = self.app.hostname, "requests outlived the grace period");
        }
    }
}

/// Serves connections until told to stop, then waits for those that are at work.
async fn listen(listener: TcpListener, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // An error is the server being dropped: also a reason to stop.
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else { continue };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection without TCP_NODELAY");
        }
        let connection = Connection::open(&app);
        let service = hyper::service::service_fn(move |request| {
            let connection = Arc::clone(&connection);
            async move { Ok::<_, Infallible>(answer(&connection, request).await) }
        });
        let serve = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let serve = graceful.watch(serve);
        connections.spawn(async move {
            if let Err(error) = serve.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}

async fn answer(connection: &Connection, request: Request<Incoming>) -> Response {
    let app = &connection.app;
    let started = Instant::now();
    let method = request.method().clone();
    let (route, mut response) = app.route(request.map(Body::new)).await;
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
    connection.answered();
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
    async fn route(&self, request: Request<Body>) -> (&'static str, Response) {
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

async fn echo(request: Request<Body>) -> Response {
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
