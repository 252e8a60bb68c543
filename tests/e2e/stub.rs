//! Hooks and a metric server on loopback, a room of their own for every namespace.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

/// Answers every hook and query; tells what it was asked.
#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) url: String,
    rooms: Arc<Mutex<HashMap<String, Room>>>,
}

/// What one namespace is answered.
#[derive(Default)]
struct Room {
    /// What a query yields; nothing is no sample at all.
    value: Option<f64>,
    down: bool,
    closed: BTreeSet<String>,
    called: Vec<(String, Value)>,
    queries: Vec<String>,
}

impl Stub {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            rooms: Arc::default(),
        };
        let router = axum::Router::new()
            .route("/{room}/hook/{name}", post(hook))
            .route("/{room}/metrics/api/v1/query", get(query).post(query))
            .with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stub
    }

    fn room<T>(&self, name: &str, use_it: impl FnOnce(&mut Room) -> T) -> T {
        use_it(self.rooms.lock().unwrap().entry(name.to_owned()).or_default())
    }

    /// What every query of a room yields from now on.
    pub(crate) fn measure(&self, room: &str, value: Option<f64>) {
        self.room(room, |room| room.value = value);
    }

    /// Whether the metric server of a room fails.
    pub(crate) fn fail(&self, room: &str, down: bool) {
        self.room(room, |room| room.down = down);
    }

    pub(crate) fn close(&self, room: &str, hook: &str) {
        self.room(room, |room| room.closed.insert(hook.to_owned()));
    }

    pub(crate) fn open(&self, room: &str, hook: &str) {
        self.room(room, |room| room.closed.remove(hook));
    }

    /// The payloads a hook was called with.
    pub(crate) fn calls(&self, room: &str, hook: &str) -> Vec<Value> {
        self.room(room, |room| {
            let calls = room.called.iter().filter(|(name, _)| name == hook);
            calls.map(|(_, body)| body.clone()).collect()
        })
    }

    pub(crate) fn queries(&self, room: &str) -> Vec<String> {
        self.room(room, |room| room.queries.clone())
    }
}

async fn hook(State(stub): State<Stub>, Path((room, name)): Path<(String, String)>, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let closed = stub.room(&room, |room| {
        room.called.push((name.clone(), body));
        room.closed.contains(&name)
    });
    if closed {
        (StatusCode::FORBIDDEN, "closed").into_response()
    } else {
        Json(json!({"ok": true})).into_response()
    }
}

async fn query(
    State(stub): State<Stub>,
    Path(room): Path<String>,
    RawQuery(asked): RawQuery,
    body: Bytes,
) -> Response {
    let asked = asked.unwrap_or_default() + &String::from_utf8_lossy(&body);
    let asked = url::form_urlencoded::parse(asked.as_bytes())
        .find(|(key, _)| key == "query")
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default();
    let (down, value) = stub.room(&room, |room| {
        let value = room.value;
        room.queries.push(asked.clone());
        (room.down, value)
    });
    if down {
        return (StatusCode::SERVICE_UNAVAILABLE, "down").into_response();
    }
    // How the controller asks whether anybody is there.
    let value = if asked.replace(' ', "") == "vector(1)" {
        Some(1.0)
    } else {
        value
    };
    let samples: Vec<Value> = value
        .iter()
        .map(|value| json!({"metric": {}, "value": [1.0, value.to_string()]}))
        .collect();
    Json(json!({"status": "success", "data": {"resultType": "vector", "result": samples}})).into_response()
}
