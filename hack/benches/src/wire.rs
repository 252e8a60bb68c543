//! Calls over kept-alive TLS, to the listener and the router of the product.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use verdigris::net::serve::{self, Farewell, Limits};
use verdigris::pki::{Bundle, Names, Slot};
use verdigris::webhook::{self, State};

use crate::cpu;

/// One call, made again and again.
pub(crate) struct Call {
    /// Path and query.
    pub(crate) path: &'static str,
    /// What is sent.
    pub(crate) body: Bytes,
    /// What a good answer contains.
    pub(crate) expected: &'static [u8],
}

/// Latencies in ascending order, how long all calls took, and the processor time of the side that answers.
pub(crate) struct Measured {
    pub(crate) latencies: Vec<Duration>,
    pub(crate) took: Duration,
    #[allow(dead_code, reason = "not every measurement is about it")]
    pub(crate) busy: Duration,
}

/// Calls one after the other on each connection, `calls` in all.
pub(crate) fn measure(state: Arc<State>, call: &Call, connections: usize, calls: usize) -> Measured {
    // The API server is another process: the two sides share no runtime.
    let (server, client) = (runtime("server"), runtime("client"));
    let elapsed = UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
    let names = Names::of_service("verdigris-webhook", "verdigris-system").and("127.0.0.1");
    let bundle = Bundle::generate(&names, Timestamp::from_second(elapsed).unwrap()).unwrap();
    let slot = Slot::new();
    slot.put(&bundle.leaf);
    let stop = CancellationToken::new();
    let bound = server
        .block_on(serve::bind("127.0.0.1:0".parse().unwrap()))
        .unwrap();
    let address = bound.address();
    let router = webhook::app(state);
    let ended = server.spawn(bound.serve(
        router,
        slot,
        stop.clone(),
        Limits::default(),
        Farewell::from_a_laptop(),
    ));

    let measured = client.block_on(async {
        let each = calls / connections;
        // Handshakes and first calls are not what is measured.
        let mut lines = Vec::new();
        for _ in 0..connections {
            let mut line = Line::open(address, &bundle.ca_pem).await;
            for _ in 0..50 {
                line.call(call).await;
            }
            lines.push(line);
        }
        let busy = cpu::named("server");
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for mut line in lines {
            let call = Call {
                body: call.body.clone(),
                ..*call
            };
            tasks.spawn(async move {
                let mut latencies = Vec::with_capacity(each);
                for _ in 0..each {
                    let began = Instant::now();
                    line.call(&call).await;
                    latencies.push(began.elapsed());
                }
                latencies
            });
        }
        let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
        let took = began.elapsed();
        let busy = cpu::named("server").saturating_sub(busy);
        latencies.sort_unstable();
        Measured {
            latencies,
            took,
            busy,
        }
    });
    stop.cancel();
    drop(client);
    server.block_on(ended).unwrap().unwrap();
    measured
}

fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name(name)
        // A thread that ends takes its processor time with it.
        .thread_keep_alive(Duration::from_secs(3_600))
        .build()
        .unwrap()
}

/// A kept-alive connection.
struct Line(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Line {
    async fn open(address: SocketAddr, ca_pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
            .unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn call(&mut self, call: &Call) {
        let request = Request::post(call.path)
            .header(header::HOST, "127.0.0.1")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(call.body.clone()))
            .unwrap();
        self.0.ready().await.unwrap();
        let answer = self.0.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(
            bytes
                .windows(call.expected.len())
                .any(|part| part == call.expected),
            "{bytes:?}"
        );
    }
}
