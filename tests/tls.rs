//! The listener on real sockets of loopback: certificates that change, peers that are slow, and an end without a lost
//! call.
#![expect(clippy::unwrap_used, reason = "a broken fixture fails the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use verdigris::model::parse::Settings;
use verdigris::net::probe;
use verdigris::net::serve::{self, Drained, Farewell, Limits, ServeError};
use verdigris::pki::{Bundle, Names, Slot};
use verdigris::telemetry::Metrics;
use verdigris::webhook::{self, Budgets, State};

/// A listener under test.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    slot: Arc<Slot>,
    bundle: Bundle,
    running: JoinSet<Result<Drained, ServeError>>,
}

/// What nobody waits for in a test that passes.
const LONG: Duration = Duration::from_mins(1);
/// What a test waits for.
const SHORT: Duration = Duration::from_millis(150);

const PATIENT: Limits = Limits {
    handshake: LONG,
    headers: LONG,
    idle: LONG,
    connections: 64,
};
const AT_ONCE: Farewell = Farewell {
    lame_duck: Duration::ZERO,
    drain: LONG,
};

fn bundle() -> Bundle {
    let now: Timestamp =
        Timestamp::from_second(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed()).unwrap();
    let names = Names::of_service("verdigris-webhook", "verdigris-system").and("127.0.0.1");
    Bundle::generate(&names, now).unwrap()
}

async fn start(router: Router, limits: Limits, farewell: Farewell) -> Server {
    let bundle = bundle();
    let slot = Slot::new();
    slot.put(&bundle.leaf);
    let bound = serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = bound.address();
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(bound.serve(router, slot.clone(), stop.clone(), limits, farewell));
    Server {
        address,
        stop,
        slot,
        bundle,
        running,
    }
}

impl Server {
    async fn end(mut self) -> Drained {
        self.stop.cancel();
        self.running.join_next().await.unwrap().unwrap().unwrap()
    }

    async fn tls(&self) -> std::io::Result<TlsStream<TcpStream>> {
        tls(
            self.address,
            &self.bundle.ca_pem,
            rustls::ALL_VERSIONS,
            &[b"http/1.1"],
        )
        .await
    }

    async fn client(&self) -> Client {
        Client::over(self.tls().await.unwrap()).await
    }
}

async fn tls(
    address: SocketAddr,
    ca_pem: &str,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("verdigris-webhook.verdigris-system.svc").unwrap();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// One keep-alive connection.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    _connection: JoinSet<hyper::Result<()>>,
}

impl Client {
    async fn over(stream: TlsStream<TcpStream>) -> Self {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let mut running = JoinSet::new();
        running.spawn(connection);
        Self {
            sender,
            _connection: running,
        }
    }

    async fn get(&mut self, path: &str) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        let request = Request::get(path)
            .header("host", "x")
            .body(Full::default())
            .unwrap();
        self.sender.send_request(request).await
    }
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// A router whose `/` answers only when let, and says when it was reached.
fn gated() -> (Router, Arc<Semaphore>, Arc<Semaphore>) {
    let (reached, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (at, gate) = (Arc::clone(&reached), Arc::clone(&open));
    let handler = move || {
        let (at, gate) = (Arc::clone(&at), Arc::clone(&gate));
        async move {
            at.add_permits(1);
            gate.acquire().await.unwrap().forget();
            "let through"
        }
    };
    (Router::new().route("/", get(handler)), reached, open)
}

/// Reads to the end; an aborted connection counts as ended.
async fn ended<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

#[tokio::test]
async fn both_tls_versions_speak_http_1_and_no_other_protocol() {
    let server = start(hello(), PATIENT, AT_ONCE).await;
    for versions in [[&rustls::version::TLS12], [&rustls::version::TLS13]] {
        let stream = tls(
            server.address,
            &server.bundle.ca_pem,
            &versions,
            &[b"h2", b"http/1.1"],
        )
        .await
        .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut client = Client::over(stream).await;
        assert_eq!(text(client.get("/").await.unwrap()).await, "hello");
    }
    let refused = tls(
        server.address,
        &server.bundle.ca_pem,
        rustls::ALL_VERSIONS,
        &[b"h2"],
    )
    .await;
    assert!(refused.is_err(), "HTTP/2 alone is not spoken");
    server.end().await;
}

#[tokio::test]
async fn a_new_certificate_is_served_at_once_and_open_connections_live_on() {
    let server = start(hello(), PATIENT, AT_ONCE).await;
    let mut before = server.client().await;
    assert_eq!(before.get("/").await.unwrap().status(), StatusCode::OK);

    let next = bundle();
    server.slot.put(&next.leaf);
    assert_eq!(
        text(before.get("/").await.unwrap()).await,
        "hello",
        "the open connection goes on"
    );
    assert!(
        server.tls().await.is_err(),
        "who trusts only the old authority is told"
    );
    let stream = tls(server.address, &next.ca_pem, rustls::ALL_VERSIONS, &[])
        .await
        .unwrap();
    assert_eq!(
        text(Client::over(stream).await.get("/").await.unwrap()).await,
        "hello"
    );
    drop(before);
    server.end().await;
}

#[tokio::test]
async fn a_bundle_of_two_authorities_trusts_leaves_of_either() {
    let (old, new) = (bundle(), bundle());
    let server = start(hello(), PATIENT, AT_ONCE).await;
    for signer in [&old, &new] {
        server.slot.put(&signer.leaf);
        let both = [&old.ca_pem, &new.ca_pem];
        let trusted = both.map(String::as_str).concat();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        assert_eq!(
            text(Client::over(stream).await.get("/").await.unwrap()).await,
            "hello"
        );
    }
    server.end().await;
}

#[tokio::test]
async fn silent_and_babbling_peers_are_cut_and_nobody_else_notices() {
    let limits = Limits {
        handshake: SHORT,
        ..PATIENT
    };
    let server = start(hello(), limits, AT_ONCE).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut babbling = TcpStream::connect(server.address).await.unwrap();
    babbling
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut client = server.client().await;
    assert_eq!(text(client.get("/").await.unwrap()).await, "hello");
    assert!(ended(&mut silent).await.is_empty());
    ended(&mut babbling).await;
    assert_eq!(text(client.get("/").await.unwrap()).await, "hello");
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn slow_headers_are_cut_while_idle_connections_stay() {
    let limits = Limits {
        headers: SHORT,
        ..PATIENT
    };
    let server = start(hello(), limits, AT_ONCE).await;
    let mut idle = server.client().await;
    assert_eq!(text(idle.get("/").await.unwrap()).await, "hello");

    let mut dripping = server.tls().await.unwrap();
    dripping.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let mut mute = server.tls().await.unwrap();
    assert!(
        ended(&mut dripping).await.is_empty(),
        "half a request is never answered"
    );
    assert!(ended(&mut mute).await.is_empty());

    // Both were cut, so the header deadline is over; the idle connection is not bound by it.
    assert_eq!(text(idle.get("/").await.unwrap()).await, "hello");
    // A second request that drips is cut as the first would be.
    let mut again = server.tls().await.unwrap();
    again
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert_ne!(again.read(&mut [0; 1024]).await.unwrap(), 0);
    again.write_all(b"GET / HT").await.unwrap();
    let rest = String::from_utf8(ended(&mut again).await).unwrap();
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
    drop(idle);
    server.end().await;
}

#[tokio::test]
async fn a_call_under_way_is_finished_before_the_end() {
    let (router, reached, open) = gated();
    let mut server = start(router, PATIENT, AT_ONCE).await;
    let mut client = server.client().await;
    let mut call = JoinSet::new();
    call.spawn(async move {
        let response = client.get("/").await.unwrap();
        let closing = response.headers().get("connection").cloned();
        (text(response).await, closing)
    });
    reached.acquire().await.unwrap().forget();
    server.stop.cancel();
    // The listener is closed as soon as nobody new is served; the call is still waiting.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(
        server.running.try_join_next().is_none(),
        "serving ends after its calls"
    );
    open.add_permits(1);
    let (answer, closing) = call.join_next().await.unwrap().unwrap();
    assert_eq!(answer, "let through");
    assert_eq!(closing.unwrap(), "close");
    assert_eq!(server.end().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_lame_duck_serves_newcomers_and_sends_them_away() {
    let farewell = Farewell {
        lame_duck: Duration::from_millis(500),
        drain: LONG,
    };
    let server = start(hello(), PATIENT, farewell).await;
    let mut kept = server.client().await;
    let response = kept.get("/").await.unwrap();
    assert_eq!(response.headers().get("connection"), None);
    text(response).await;
    server.stop.cancel();
    for client in [&mut kept, &mut server.client().await] {
        let response = client.get("/").await.unwrap();
        assert_eq!(response.headers()["connection"], "close");
        assert_eq!(text(response).await, "hello");
    }
    assert_eq!(server.end().await, Drained { cut: 0 });
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let (router, reached, _open) = gated();
    let farewell = Farewell {
        lame_duck: Duration::ZERO,
        drain: SHORT,
    };
    let server = start(router, PATIENT, farewell).await;
    let mut client = server.client().await;
    let mut call = JoinSet::new();
    call.spawn(async move { client.get("/").await.map(|response| response.status()) });
    reached.acquire().await.unwrap().forget();
    assert_eq!(server.end().await, Drained { cut: 1 });
    assert!(call.join_next().await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let server = start(hello(), PATIENT, AT_ONCE).await;
    let mut idle = server.client().await;
    text(idle.get("/").await.unwrap()).await;
    assert_eq!(server.end().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_hundred_callers_lose_nothing_when_the_server_ends() {
    let handler = || async {
        tokio::task::yield_now().await;
        "done"
    };
    let farewell = Farewell {
        lame_duck: SHORT,
        drain: LONG,
    };
    let server = start(
        Router::new().route("/", post(handler)),
        Limits::default(),
        farewell,
    )
    .await;
    let mut callers = JoinSet::new();
    let barrier = Arc::new(tokio::sync::Barrier::new(51));
    for _ in 0..50 {
        let stream = server.tls().await.unwrap();
        let (stop, barrier) = (server.stop.clone(), Arc::clone(&barrier));
        callers.spawn(async move {
            let mut client = Client::over(stream).await;
            let mut answered = 0;
            barrier.wait().await;
            // As Go's client does: one call after another on a connection, until it is told to close.
            loop {
                let request = Request::post("/")
                    .header("host", "x")
                    .body(Full::default())
                    .unwrap();
                let response = client.sender.send_request(request).await.unwrap();
                let closing = response.headers().contains_key("connection");
                assert_eq!(text(response).await, "done");
                answered += 1;
                if closing {
                    return answered;
                }
                assert!(!stop.is_cancelled() || answered < 1_000_000);
                client.sender.ready().await.unwrap();
            }
        });
    }
    barrier.wait().await;
    let drained = server.end().await;
    let mut answered = 0;
    while let Some(caller) = callers.join_next().await {
        answered += caller.unwrap();
    }
    assert_eq!(drained, Drained { cut: 0 });
    assert!(answered >= 50);
}

#[tokio::test]
async fn a_flood_is_shed_while_conversion_goes_on() {
    let state = State::new(Settings::default(), Arc::new(Metrics::new())).with_budgets(Budgets::of(1, 4, 1));
    let server = start(webhook::app(Arc::new(state)), PATIENT, AT_ONCE).await;
    // One review whose body never comes holds the only place; the headers are sent, so it has begun.
    let mut holding = server.tls().await.unwrap();
    let head =
        "POST /validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    holding.write_all(head.as_bytes()).await.unwrap();
    let mut client = server.client().await;
    let mut post = async |path: &str| {
        client.sender.ready().await.unwrap();
        let body = Full::new(Bytes::from_static(b"nonsense"));
        let request = Request::post(path)
            .header("host", "x")
            .header("content-type", "application/json")
            .header("content-length", 8)
            .body(body)
            .unwrap();
        let response = client.sender.send_request(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        text(response).await;
        (status, headers)
    };
    // Until the server has read those headers the place is free and nonsense is called nonsense.
    let headers = loop {
        match post("/mutate").await {
            (StatusCode::TOO_MANY_REQUESTS, headers) => break headers,
            (status, _) => assert_eq!(status, StatusCode::BAD_REQUEST),
        }
    };
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(
        post("/convert").await.0,
        StatusCode::BAD_REQUEST,
        "conversion has places of its own"
    );
    // The holder leaves; its place is free again.
    drop(holding);
    while post("/validate").await.0 == StatusCode::TOO_MANY_REQUESTS {}
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn the_self_call_succeeds_only_with_a_certificate_the_authority_vouches_for() {
    let server = start(hello(), PATIENT, AT_ONCE).await;
    let (name, ca_pem) = (
        "verdigris-webhook.verdigris-system.svc",
        server.bundle.ca_pem.clone(),
    );
    probe::call(server.address, name, &ca_pem).await.unwrap();
    assert!(
        probe::call(server.address, "elsewhere.svc", &ca_pem)
            .await
            .is_err(),
        "another name"
    );
    server.slot.put(&bundle().leaf);
    assert!(
        probe::call(server.address, name, &ca_pem).await.is_err(),
        "another authority"
    );
    let address = server.address;
    server.end().await;
    assert!(
        probe::call(address, name, &ca_pem).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn a_port_in_use_is_one_line_that_says_what_to_do() {
    let first = serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let second = serve::bind(first.address()).await.unwrap_err();
    assert_eq!(
        second.to_string(),
        format!("{} is in use; choose another with --listen", first.address())
    );
}
