//! The running process as operators see it: its status page, its log and its traces.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: talks to the process as an API server does, and waits for it"
)]

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devcluster::{Config, DevCluster};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SECRET: &str = "hunter2";

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Takes whatever spans are sent.
async fn collector() -> (u16, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken: Arc<Mutex<Vec<Value>>> = Arc::default();
    let keep = Arc::clone(&taken);
    let take = move |axum::Json(body): axum::Json<Value>| async move {
        keep.lock().unwrap().push(body);
        axum::Json(json!({}))
    };
    let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
    tokio::task::spawn(async move { axum::serve(listener, router).await });
    (port, taken)
}

/// A plain HTTP exchange; status and body.
async fn ask(port: u16, method: &str, path: &str, host: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

struct Running {
    child: Child,
    folder: PathBuf,
    webhook: u16,
    admin: u16,
}

impl Running {
    async fn start(cluster: &DevCluster, collector: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("verdigris-operate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kubeconfig"), cluster.kubeconfig()).unwrap();
        let (webhook, admin) = (free_port().await, free_port().await);
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_verdigris"))
            .args(["run", "--install", "--controller=false", "--log-format=json"])
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"))
            .arg(format!("--listen=127.0.0.1:{webhook}"))
            .arg(format!("--webhook-url=https://127.0.0.1:{webhook}"))
            .arg(format!("--admin-listen=127.0.0.1:{admin}"))
            .arg(format!("--otlp-endpoint=http://127.0.0.1:{collector}"))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            child,
            folder,
            webhook,
            admin,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// The status page, once it says that everything is ready.
    async fn ready(&mut self) -> Value {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "it ended: {}",
                self.log()
            );
            assert!(std::time::Instant::now() < end, "never ready: {}", self.log());
            if TcpStream::connect(("127.0.0.1", self.admin)).await.is_ok() {
                let (status, body) = ask(self.admin, "GET", "/statusz", "localhost", "").await;
                assert_eq!(status, 200, "{body}");
                let page: Value = serde_json::from_str(&body).unwrap();
                if page["ready"] == true {
                    return page;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1234",
            "kind": {"group": "flagger.app", "version": "v1beta1", "kind": "Canary"},
            "resource": {"group": "flagger.app", "version": "v1beta1", "resource": "canaries"},
            "name": "shop", "namespace": "default", "operation": "CREATE",
            "userInfo": {"username": "alice"},
            "object": {
                "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "shop", "namespace": "default"},
                "spec": {
                    "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
                    "service": {"port": 8080},
                    "analysis": {
                        "interval": SECRET, "threshold": 2, "iterations": 3,
                        "webhooks": [{"name": "a", "url": "http://a.default/", "metadata": {"token": SECRET}}],
                    },
                },
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_log_and_traces_say_what_happens_and_no_more() {
    let cluster = DevCluster::start(Config {
        controllers: false,
        ..Config::default()
    })
    .await
    .unwrap();
    let (port, spans) = collector().await;
    let mut running = Running::start(&cluster, port).await;
    let page = running.ready().await;
    assert_eq!(page["build"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(page["controller"], false);
    assert!(
        page["certificate"]["secondsLeft"].as_i64().unwrap() > 86_400,
        "{page}"
    );
    for part in ["certificate", "self-call", "trusted-by-targets"] {
        assert_eq!(page["readiness"][part], true, "{page}");
    }
    let admin = running.admin;
    for host in ["example.com", "10.0.0.1"] {
        assert_eq!(ask(admin, "GET", "/statusz", host, "").await.0, 421, "{host}");
    }

    // One line for a denied review, with its trace, and with nothing its author wrote.
    let client = reqwest::Client::builder()
        .danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let answer: Value = client
        .post(format!("https://127.0.0.1:{}/validate", running.webhook))
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .header("content-type", "application/json")
        .body(review().to_string())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answer["response"]["allowed"], false);
    let log = running.log();
    let denied: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("review denied"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [line] = denied.as_slice() else {
        panic!("{log}")
    };
    assert_eq!(line["user"], "alice");
    assert_eq!(line["fields"], "spec.analysis.interval");
    assert_eq!(line["trace"], TRACE);
    assert!(!log.contains(SECRET), "{log}");

    // The span arrives, as part of the API server's trace.
    let arrived = async {
        loop {
            let found = spans
                .lock()
                .unwrap()
                .iter()
                .flat_map(|batch| {
                    batch["resourceSpans"][0]["scopeSpans"][0]["spans"]
                        .as_array()
                        .unwrap()
                        .clone()
                })
                .find(|span| span["traceId"] == TRACE);
            if let Some(span) = found {
                return span;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let span = tokio::time::timeout(PATIENCE, arrived).await.unwrap();
    assert_eq!(span["name"], "review");
    assert_eq!(span["parentSpanId"], "b7ad6b7169203331");
    let attributes = span["attributes"].to_string();
    assert!(
        attributes.contains("denied") && !attributes.contains(SECRET),
        "{attributes}"
    );

    // The level changes while it runs; what is no level is refused.
    assert_eq!(
        ask(admin, "GET", "/log-level", "localhost", "").await,
        (200, "info\n".to_owned())
    );
    let refused = ask(admin, "PUT", "/log-level", "localhost", "verdigris=loud").await;
    assert_eq!(refused.0, 400, "{refused:?}");
    assert_eq!(ask(admin, "PUT", "/log-level", "localhost", "debug").await.0, 200);
    let page = running.ready().await;
    assert_eq!(page["logLevel"], "debug");
    let last = page["lastErrors"].to_string();
    assert!(last.contains("the log level was changed"), "{last}");
    running.child.kill().await.unwrap();
    std::fs::remove_dir_all(&running.folder).unwrap();
    cluster.stop().await;
}
