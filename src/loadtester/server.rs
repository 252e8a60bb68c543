//! The load tester's HTTP interface (flagger-behaviour §7).

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use regex::Regex;

use super::gate::{Door, Gates};
use super::runner::{Outcome, Runner};
use super::task::{self, Payload};

/// What the handlers share.
pub struct Desk {
    /// Gates.
    pub gates: Gates,
    /// Tasks.
    pub runner: Runner,
    /// `--namespace-regexp`: Canaries of other namespaces are refused.
    pub namespaces: Option<Regex>,
}

/// The routes.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/healthz", any(|| async { "OK" }))
        .route("/gate/approve", any(|| async { "OK" }))
        .route(
            "/gate/halt",
            any(|| async { (StatusCode::FORBIDDEN, "Forbidden") }),
        )
        .route(
            "/gate/check",
            post(async |State(desk): State<Arc<Desk>>, body: Bytes| check(&desk, &body, Door::Gate)),
        )
        .route(
            "/gate/open",
            post(async |State(desk): State<Arc<Desk>>, body: Bytes| set(&desk, &body, Door::Gate, true)),
        )
        .route(
            "/gate/close",
            post(async |State(desk): State<Arc<Desk>>, body: Bytes| set(&desk, &body, Door::Gate, false)),
        )
        .route(
            "/rollback/check",
            post(async |State(desk): State<Arc<Desk>>, body: Bytes| check(&desk, &body, Door::Rollback)),
        )
        .route(
            "/rollback/open",
            post(async |State(desk): State<Arc<Desk>>, body: Bytes| set(&desk, &body, Door::Rollback, true)),
        )
        .route(
            "/rollback/close",
            post(async |State(desk): State<Arc<Desk>>, body: Bytes| set(&desk, &body, Door::Rollback, false)),
        )
        .route("/", post(run))
        .layer(DefaultBodyLimit::max(1 << 20))
        .with_state(desk)
}

fn read(desk: &Desk, body: &Bytes) -> Result<Payload, Response> {
    let payload: Payload = serde_json::from_slice(body).map_err(|error| {
        (
            StatusCode::BAD_REQUEST,
            format!("the body is not a hook payload: {error}"),
        )
            .into_response()
    })?;
    if desk
        .namespaces
        .as_ref()
        .is_some_and(|allowed| !allowed.is_match(&payload.namespace))
    {
        let text = format!(
            "namespace {:?} is not served here (--namespace-regexp)",
            payload.namespace
        );
        return Err((StatusCode::FORBIDDEN, text).into_response());
    }
    Ok(payload)
}

fn check(desk: &Desk, body: &Bytes, door: Door) -> Response {
    match read(desk, body) {
        Err(refused) => refused,
        Ok(payload) if desk.gates.is_open(door, &payload.namespace, &payload.name) => {
            "Approved".into_response()
        }
        Ok(_) => (StatusCode::FORBIDDEN, "Forbidden").into_response(),
    }
}

fn set(desk: &Desk, body: &Bytes, door: Door, open: bool) -> Response {
    match read(desk, body) {
        Err(refused) => refused,
        Ok(payload) => {
            desk.gates.set(door, &payload.namespace, &payload.name, open);
            StatusCode::ACCEPTED.into_response()
        }
    }
}

async fn run(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    let payload = match read(&desk, &body) {
        Ok(payload) => payload,
        Err(refused) => return refused,
    };
    let task = match task::task(&payload) {
        Ok(task) => task,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match desk.runner.run(task, &payload).await {
        Outcome::Accepted => StatusCode::ACCEPTED.into_response(),
        Outcome::Done(output) => (StatusCode::OK, output).into_response(),
        Outcome::Failed(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use std::time::Duration;
    use tower::ServiceExt as _;

    async fn ask(router: &Router, path: &str, body: &str) -> (u16, String) {
        let request = Request::post(path).body(Body::from(body.to_owned())).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn desk(namespaces: Option<&str>) -> Router {
        router(Arc::new(Desk {
            gates: Gates::default(),
            runner: Runner::new(Duration::from_secs(5)),
            namespaces: namespaces.map(|text| Regex::new(text).unwrap()),
        }))
    }

    #[tokio::test]
    async fn gates_open_and_close_per_canary() {
        let router = desk(None);
        let me = r#"{"name":"a","namespace":"b"}"#;
        assert_eq!(ask(&router, "/gate/check", me).await, (403, "Forbidden".into()));
        assert_eq!(ask(&router, "/gate/open", me).await.0, 202);
        assert_eq!(ask(&router, "/gate/check", me).await, (200, "Approved".into()));
        assert_eq!(
            ask(&router, "/rollback/check", me).await.0,
            403,
            "the rollback gate is another"
        );
        assert_eq!(
            ask(&router, "/gate/check", r#"{"name":"a","namespace":"c"}"#)
                .await
                .0,
            403
        );
        assert_eq!(ask(&router, "/gate/close", me).await.0, 202);
        assert_eq!(ask(&router, "/gate/check", me).await.0, 403);
        assert_eq!(ask(&router, "/gate/check", "nonsense").await.0, 400);
        assert_eq!(ask(&router, "/gate/halt", "").await.0, 403);
        assert_eq!(ask(&router, "/gate/approve", "").await.0, 200);
    }

    #[tokio::test]
    async fn tasks_answer_as_flaggers_load_tester() {
        let router = desk(Some("^team-"));
        let task = |metadata: &str| format!(r#"{{"name":"a","namespace":"team-a","metadata":{metadata}}}"#);
        assert_eq!(
            ask(&router, "/", &task("{}")).await,
            (400, "metadata not found in payload".into())
        );
        assert_eq!(
            ask(&router, "/", &task(r#"{"type":"cmd"}"#)).await,
            (400, "cmd not found in metadata".into())
        );
        assert_eq!(ask(&router, "/", &task(r#"{"cmd":"true"}"#)).await.0, 202);
        let shown = task(r#"{"type":"bash","cmd":"echo hi","returnCmdOutput":"true"}"#);
        assert_eq!(ask(&router, "/", &shown).await, (200, "hi".into()));
        let failed = ask(
            &router,
            "/",
            &task(r#"{"type":"bash","cmd":"echo broken; exit 1"}"#),
        )
        .await;
        assert!(failed.0 == 500 && failed.1.contains("broken"), "{failed:?}");
        assert_eq!(
            ask(&router, "/", &task(r#"{"type":"what","cmd":"x"}"#)).await.0,
            400
        );
        assert_eq!(
            ask(
                &router,
                "/",
                r#"{"name":"a","namespace":"other","metadata":{"cmd":"x"}}"#
            )
            .await
            .0,
            403
        );
    }
}
