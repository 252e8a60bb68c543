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
use verdigris::net::serve::{self, Drained, Farewell, Limits, ServeError, Tls};
use verdigris::pki::clients::Clients;
use verdigris::pki::files::Files;
use verdigris::pki::{Bundle, Carried, Leaf, Names, Slot};
use verdigris::telemetry::Metrics;
use verdigris::webhook::{self, Budgets, Callers, State};

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
    start_speaking(router, limits, farewell, |tls| tls).await
}

async fn start_speaking(
    router: Router,
    limits: Limits,
    farewell: Farewell,
    speaking: impl FnOnce(Tls) -> Tls,
) -> Server {
    let bundle = bundle();
    let slot = Slot::new();
    slot.put(&bundle.leaf);
    let bound = serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = bound.address();
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    let tls = speaking(Tls::from(slot.clone()));
    running.spawn(bound.serve(router, tls, stop.clone(), limits, farewell));
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

#[tokio::test]
async fn tls_1_2_is_refused_where_only_1_3_is_wanted() {
    let server = start_speaking(hello(), PATIENT, AT_ONCE, |tls| tls.only_13(true)).await;
    for (versions, expected) in [
        (&[&rustls::version::TLS13][..], true),
        (&[&rustls::version::TLS12][..], false),
    ] {
        let met = tls(server.address, &server.bundle.ca_pem, versions, &[]).await;
        assert_eq!(met.is_ok(), expected, "{versions:?}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_waiting() {
    let state = State::new(Settings::default(), Arc::new(Metrics::new()));
    let server = start(webhook::app(Arc::new(state)), Limits::default(), AT_ONCE).await;
    let mut idle = Vec::new();
    for _ in 0..900 {
        let silent = TcpStream::connect(server.address).await;
        idle.push(silent.expect("2 000 sockets; raise ulimit -n"));
    }
    let mut met = Vec::new();
    for _ in 0..100 {
        met.push(server.tls().await.unwrap());
    }
    let answered = tokio::time::timeout(Duration::from_secs(8), async {
        let mut client = server.client().await;
        text(client.get("/healthz").await.unwrap()).await
    });
    assert!(answered.await.unwrap().starts_with("ok"));
    drop((idle, met));
    server.end().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_and_a_large_one_refused() {
    let mut budgets = Budgets::of(4, 4, 2);
    budgets.admission_body = 1000;
    budgets.admission_read = SHORT;
    budgets.conversion_read = SHORT;
    let state = State::new(Settings::default(), Arc::new(Metrics::new())).with_budgets(budgets);
    let server = start(webhook::app(Arc::new(state)), PATIENT, AT_ONCE).await;
    for (path, length, sent, expected) in [
        ("/validate", 900, "{", "408"),
        ("/mutate", 900, "{", "408"),
        ("/convert", 900, "{", "408"),
        ("/validate", 2000, "{", "413"),
    ] {
        let mut stream = server.tls().await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{sent}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(
            std::str::from_utf8(&answer).unwrap(),
            format!("HTTP/1.1 {expected}"),
            "{path}"
        );
    }
    // Chunks that go on for ever are cut at the limit, whatever was announced.
    let mut stream = server.tls().await.unwrap();
    let head = "POST /validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    for _ in 0..3 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    drop(stream);
    server.end().await;
}

/// Signs client certificates, as whoever runs the API server does.
struct ClientAuthority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl ClientAuthority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: rcgen::Issuer::new(params, key),
            pem,
        }
    }

    async fn connect(&self, server: &Server, name: &str) -> TlsStream<TcpStream> {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(server.bundle.ca_pem.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let host = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(host, stream)
            .await
            .unwrap()
    }
}

/// The status of a nonsensical POST; `None` when the server hangs up.
async fn status_of(stream: TlsStream<TcpStream>, path: &str) -> Option<u16> {
    let mut stream = stream;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.ok()?;
    std::str::from_utf8(&answer[9..]).ok()?.parse().ok()
}

#[tokio::test]
async fn reviews_can_be_kept_for_callers_with_a_certificate() {
    let (ours, other) = (ClientAuthority::new(), ClientAuthority::new());
    let folder = tempfile();
    let file = folder.join("ca.crt");
    std::fs::write(&file, &ours.pem).unwrap();
    let clients = Clients::read(&file).await.unwrap();
    let callers = Callers::named(vec!["kube-apiserver".to_owned()]);
    let state = State::new(Settings::default(), Arc::new(Metrics::new())).with_callers(callers);
    let verifying = Arc::clone(&clients);
    let server = start_speaking(webhook::app(Arc::new(state)), PATIENT, AT_ONCE, |tls| {
        tls.verifying(verifying)
    })
    .await;

    for path in ["/validate", "/mutate"] {
        assert_eq!(
            status_of(server.tls().await.unwrap(), path).await,
            Some(401),
            "{path}"
        );
        let known = ours.connect(&server, "kube-apiserver").await;
        assert_eq!(
            status_of(known, path).await,
            Some(400),
            "let in, and nonsense: {path}"
        );
        let strange = ours.connect(&server, "somebody").await;
        assert_eq!(status_of(strange, path).await, Some(403), "{path}");
        let forged = other.connect(&server, "kube-apiserver").await;
        assert_eq!(status_of(forged, path).await, None, "not verified: {path}");
    }
    assert_eq!(
        status_of(server.tls().await.unwrap(), "/convert").await,
        Some(400),
        "conversions never show a certificate"
    );
    let mut probe = server.client().await;
    assert_eq!(probe.get("/healthz").await.unwrap().status(), StatusCode::OK);
    drop(probe);

    std::fs::write(&file, "-----BEGIN CERT").unwrap();
    assert!(clients.renew(&file).await.is_err());
    let known = ours.connect(&server, "kube-apiserver").await;
    assert_eq!(
        status_of(known, "/validate").await,
        Some(400),
        "a broken file changes nothing"
    );
    std::fs::write(&file, &other.pem).unwrap();
    assert!(clients.renew(&file).await.unwrap());
    let known = other.connect(&server, "kube-apiserver").await;
    assert_eq!(status_of(known, "/validate").await, Some(400));
    let former = ours.connect(&server, "kube-apiserver").await;
    assert_eq!(status_of(former, "/validate").await, None, "believed no more");
    server.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// A folder of this test alone.
fn tempfile() -> std::path::PathBuf {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("verdigris-tls-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A self-signed certificate and its key, PEM.
fn pair() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["hook.sys.svc".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A Secret's volume: files behind a symlink that is swapped in one step, as kubelet does.
struct Volume {
    folder: std::path::PathBuf,
    versions: usize,
}

impl Volume {
    fn swap(&mut self, certificate: &str, key: &str) {
        self.versions += 1;
        let version = format!("v{}", self.versions);
        let files = self.folder.join(&version);
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join("tls.crt"), certificate).unwrap();
        std::fs::write(files.join("tls.key"), key).unwrap();
        let (next, data) = (self.folder.join("..next"), self.folder.join("..data"));
        std::os::unix::fs::symlink(&version, &next).unwrap();
        std::fs::rename(next, data).unwrap();
    }
}

#[tokio::test]
async fn files_are_followed_and_the_last_good_pair_stays() {
    let mut volume = Volume {
        folder: tempfile(),
        versions: 0,
    };
    let (first, second, third) = (pair(), pair(), pair());
    volume.swap(&first.0, &first.1);
    let files = Files {
        certificate: volume.folder.join("..data/tls.crt"),
        key: volume.folder.join("..data/tls.key"),
        authority: None,
    };
    let slot = Slot::new();
    let (looks, mut looked) = tokio::sync::watch::channel((0_u32, None::<Leaf>));
    let (_nobody, carried) = tokio::sync::watch::channel(Carried::default());
    let following = Arc::clone(&slot);
    let mut keeping = JoinSet::new();
    keeping.spawn(async move {
        let told = |look: verdigris::pki::keeper::Look<'_>| {
            looks.send_modify(|(count, leaf)| {
                *count += 1;
                *leaf = Some(look.leaf.clone());
            });
        };
        let publish = |_: String| async { Ok::<(), std::convert::Infallible>(()) };
        let every = Duration::from_millis(20);
        match files
            .keep(following, every, carried, || true, publish, told)
            .await {}
    });
    // Two whole looks later whatever was to be found has been.
    let mut settled = async |expected: &str, name: &str| {
        let before = looked.borrow().0;
        let after = looked
            .wait_for(|(count, _)| *count >= before + 3)
            .await
            .unwrap()
            .clone();
        let served = after.1.unwrap();
        let expected = CertificateDer::from_pem_slice(expected.as_bytes()).unwrap();
        assert_eq!(served.key().cert[0], expected, "{name}");
        assert!(slot.serves(served.key()), "{name}");
    };
    settled(&first.0, "at first").await;
    volume.swap(&second.0, &second.1);
    settled(&second.0, "swapped").await;
    volume.swap(&third.0[..third.0.len() / 2], &third.1);
    settled(&second.0, "half a certificate").await;
    volume.swap(&third.0, &third.1[..40]);
    settled(&second.0, "half a key").await;
    volume.swap(&third.0, &second.1);
    settled(&second.0, "a key of another certificate").await;
    volume.swap("", "");
    settled(&second.0, "empty").await;
    std::fs::remove_file(volume.folder.join("..data")).unwrap();
    settled(&second.0, "gone").await;
    volume.swap(&third.0, &third.1);
    settled(&third.0, "good again").await;
    keeping.abort_all();
    std::fs::remove_dir_all(volume.folder).unwrap();
}

#[test]
fn keys_are_read_in_every_usual_format() {
    use base64::Engine as _;
    let (certificate, pkcs8) = pair();
    assert!(Leaf::from_pem(&certificate, &pkcs8).is_ok());
    // PKCS#8 of a P-256 key holds the SEC1 structure as an octet string of 109 bytes (RFC 5915, RFC 5958).
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from_pem_slice(pkcs8.as_bytes()).unwrap();
    let der = der.secret_pkcs8_der();
    let at = der
        .windows(3)
        .position(|bytes| bytes == [0x04, 0x6d, 0x30])
        .unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(&der[at + 2..at + 2 + 0x6d]);
    let sec1 = format!(
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n\
         -----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n"
    );
    assert!(
        Leaf::from_pem(&certificate, &sec1).is_ok(),
        "as openssl ecparam writes it"
    );

    // Nothing here makes RSA keys.
    let openssl = |arguments: &[&str]| {
        let made = std::process::Command::new("openssl")
            .args(arguments)
            .output()
            .ok()?;
        made.status
            .success()
            .then(|| String::from_utf8(made.stdout).unwrap())
    };
    let Some(rsa) = openssl(&["genrsa", "-traditional", "2048"]) else {
        eprintln!("no openssl: PKCS#1 is not tried");
        return;
    };
    assert!(rsa.contains("BEGIN RSA PRIVATE KEY"), "PKCS#1");
    let folder = tempfile();
    let key = folder.join("key.pem");
    std::fs::write(&key, &rsa).unwrap();
    let key = key.to_str().unwrap();
    let signed = openssl(&[
        "req", "-x509", "-new", "-key", key, "-subj", "/CN=x", "-days", "30",
    ])
    .unwrap();
    assert!(Leaf::from_pem(&signed, &rsa).is_ok());
    assert!(Leaf::from_pem(&certificate, &rsa).is_err(), "another key");
    std::fs::remove_dir_all(folder).unwrap();
}
