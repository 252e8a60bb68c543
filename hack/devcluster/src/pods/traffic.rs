//! Traffic through Services while the pods behind them change: nothing is lost.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::Backend;
use crate::controllers::object::{DEPLOYMENTS, ENDPOINTS, SERVICES, list};
use crate::controllers::scenarios::{Cluster, cluster, deployment, image};

const PORT: u16 = 9898;

/// Sends a request on a connection of its own and reads the answer to its end.
async fn ask(mut stream: TcpStream, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn fetch(to: SocketAddr, path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n");
    ask(TcpStream::connect(to).await?, &request).await
}

fn service(cluster: &Cluster, title: &str, app: &str, index: u16) -> (Value, SocketAddr) {
    let ip = IpAddr::from(cluster.network.service(index).unwrap());
    let service = json!({"metadata": {"name": title},
        "spec": {"clusterIP": ip.to_string(), "selector": {"app": app}, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]}});
    (service, SocketAddr::new(ip, PORT))
}

fn named(title: &str, image: &str) -> Value {
    let mut named = deployment(2, image);
    named["metadata"]["name"] = json!(title);
    named["spec"]["selector"]["matchLabels"]["app"] = json!(title);
    named["spec"]["template"]["metadata"]["labels"]["app"] = json!(title);
    named
}

async fn endpoints(cluster: &Cluster, title: &str, number: usize) {
    let ready = |found: Option<&Value>| {
        found.is_some_and(|found| list(found, "/subsets/0/addresses").len() == number)
    };
    cluster
        .api
        .until(ENDPOINTS, ("test", title), "endpoints", ready)
        .await;
}

/// Waits until a Service leads to a version: pods that are ending may still answer for a moment.
async fn version(of: SocketAddr, wanted: &str) {
    let wanted = format!("\"version\": \"{wanted}\"");
    let seen = async { while !fetch(of, "/version").await.unwrap().contains(&wanted) {} };
    tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
}

/// Clients that ask without a pause until told to stop: new connections and kept ones. Counts good and bad answers.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<(usize, Vec<String>)>,
}

impl Load {
    fn start(to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..2 {
            let ended = Arc::clone(&stop);
            clients.spawn(async move {
                let (mut good, mut bad) = (0, Vec::new());
                while !ended.load(Ordering::Relaxed) {
                    match fetch(to, "/").await {
                        Ok(answer) if answer.starts_with("HTTP/1.1 200") => good += 1,
                        other => bad.push(format!("{other:?}")),
                    }
                }
                (good, bad)
            });
            let ended = Arc::clone(&stop);
            clients.spawn(async move {
                let (mut good, mut bad) = (0, Vec::new());
                while !ended.load(Ordering::Relaxed) {
                    if let Err(error) = keep(to, &ended, &mut good).await {
                        bad.push(error.to_string());
                    }
                }
                (good, bad)
            });
        }
        Self { stop, clients }
    }

    async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = 0;
        while let Some(client) = self.clients.join_next().await {
            let (good, bad) = client.unwrap();
            assert!(
                bad.is_empty(),
                "{} failed after {good}: {:?}",
                bad.len(),
                &bad[..bad.len().min(3)]
            );
            sum += good;
        }
        sum
    }
}

/// Asks on one connection until the server says that it closes it.
async fn keep(
    to: SocketAddr,
    stop: &AtomicBool,
    good: &mut usize,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(to).await?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    while !stop.load(Ordering::Relaxed) {
        let request = http::Request::get("/")
            .header("host", "web.test")
            .body(http_body_util::Empty::<bytes::Bytes>::new())?;
        let response = sender.send_request(request).await?;
        if response.status() != 200 {
            return Err(response.status().to_string().into());
        }
        let closes = response
            .headers()
            .get("connection")
            .is_some_and(|value| value == "close");
        http_body_util::BodyExt::collect(response.into_body()).await?;
        *good += 1;
        if closes {
            return Ok(());
        }
        sender.ready().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_a_rolling_update() {
    let cluster = cluster().await;
    cluster.create(DEPLOYMENTS, deployment(2, "podinfo:1")).await;
    let (web, address) = service(&cluster, "web", "web", 0);
    cluster.create(SERVICES, web).await;
    cluster.rolled().await;
    endpoints(&cluster, "web", 2).await;
    let load = Load::start(address);
    for version in 2..5 {
        cluster
            .patch(DEPLOYMENTS, ("test", "web"), image(&format!("podinfo:{version}")))
            .await;
        cluster.rolled().await;
    }
    let answered = load.end().await;
    assert!(answered > 50, "{answered} answers are no load");
    version(address, "4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_of_selector_loses_nothing_and_takes_new_connections_along() {
    let cluster = cluster().await;
    cluster.create(DEPLOYMENTS, named("blue", "podinfo:blue")).await;
    cluster.create(DEPLOYMENTS, named("green", "podinfo:green")).await;
    let (web, address) = service(&cluster, "web", "blue", 1);
    cluster.create(SERVICES, web).await;
    let (other, green) = service(&cluster, "green", "green", 2);
    cluster.create(SERVICES, other).await;
    endpoints(&cluster, "web", 2).await;
    endpoints(&cluster, "green", 2).await;
    assert!(fetch(green, "/version").await.unwrap().contains("green"));
    let load = Load::start(address);
    // A connection that a blue pod has taken up, with a request under way on it.
    let mut held = TcpStream::connect(address).await.unwrap();
    held.write_all(b"GET /version HTTP/1.1\r\nHost: web.test\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 12];
    held.read_exact(&mut head).await.unwrap();
    let slow = "GET /delay/0.5 HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n";
    held.write_all(slow.as_bytes()).await.unwrap();
    cluster
        .patch(
            SERVICES,
            ("test", "web"),
            json!({"spec": {"selector": {"app": "green"}}}),
        )
        .await;
    version(address, "green").await;
    cluster
        .api
        .delete(DEPLOYMENTS, "test", "blue", None)
        .await
        .unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains("blue") && answer.contains("\"delay\": 0.5"),
        "{answer}"
    );
    let gone = |found: Option<&Value>| found.is_none();
    cluster
        .api
        .until(DEPLOYMENTS, ("test", "blue"), "blue gone", gone)
        .await;
    load.end().await;
}

#[tokio::test]
async fn the_gateway_knows_names_and_targets() {
    let cluster = cluster().await;
    let mut failing = deployment(1, "podinfo:7-errors50");
    failing["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "VERSION", "value": "seven"}]);
    cluster.create(DEPLOYMENTS, failing).await;
    let (web, address) = service(&cluster, "web", "web", 3);
    cluster.create(SERVICES, web).await;
    endpoints(&cluster, "web", 1).await;
    // Endpoints are known to the API before the proxy has taken them in; a connection waits for that.
    let gateway = cluster.pods.gateway();
    let via = async |request: &str| {
        ask(TcpStream::connect(gateway).await.unwrap(), request)
            .await
            .unwrap()
    };

    let answer =
        via("GET http://web.test:9898/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("seven"),
        "{answer}"
    );
    assert_eq!(
        cluster.pods.resolve("web.test.svc.cluster.local"),
        Some(address.ip())
    );
    let tunnel = "CONNECT web.test:9898 HTTP/1.1\r\nHost: web.test:9898\r\n\r\n";
    let inner = "GET /version HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(tunnel.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let answer = ask(stream, inner).await.unwrap();
    assert!(answer.contains("seven"), "{answer}");

    let mut failed = 0;
    for _ in 0..10 {
        failed += usize::from(fetch(address, "/").await.unwrap().starts_with("HTTP/1.1 500"));
    }
    assert_eq!(failed, 5);
    let metrics = fetch(address, "/metrics").await.unwrap();
    let series = "http_request_duration_seconds_count{method=\"GET\",path=\"root\",status=\"500\"} 5";
    assert!(metrics.contains(series), "{metrics}");
    assert!(
        fetch(address, "/status/418")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 418")
    );
    assert!(
        fetch(address, "/readyz")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        fetch(address, "/nowhere")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 404")
    );

    let targets = via("GET /sd/pods HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(targets.contains("\"kubernetes_namespace\":\"test\""), "{targets}");
    let unknown = via("GET http://none.test:1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(
        unknown.starts_with("HTTP/1.1 502") && unknown.contains("none.test"),
        "{unknown}"
    );
    let foreign = via("GET http://192.0.2.1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(foreign.starts_with("HTTP/1.1 502"), "{foreign}");
}

#[tokio::test]
async fn no_endpoints_means_a_reset_after_a_while_and_patience_before() {
    let cluster = cluster().await;
    let (web, address) = service(&cluster, "web", "web", 4);
    cluster.create(SERVICES, web).await;
    endpoints_exist(&cluster).await;
    while TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(fetch(address, "/").await.is_err(), "nobody answers");
    // A request that comes first waits for the pods.
    let mut early = JoinSet::new();
    cluster.create(DEPLOYMENTS, deployment(1, "podinfo:1")).await;
    early.spawn(async move { fetch(address, "/").await });
    assert!(
        early
            .join_next()
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
}

async fn endpoints_exist(cluster: &Cluster) {
    cluster
        .api
        .until(ENDPOINTS, ("test", "web"), "endpoints", |found| found.is_some())
        .await;
}
