//! Kept-alive connections to whichever replicas are ready.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::replica::Replica;

/// The name an API server expects.
const NAME: &str = "verdigris-webhook.verdigris-system.svc";

type Line = SendRequest<Full<Bytes>>;

/// Every connection there is, and whom they trust.
#[derive(Default)]
pub(crate) struct Lines {
    ready: Mutex<Vec<SocketAddr>>,
    idle: Mutex<HashMap<SocketAddr, Vec<Line>>>,
    bundle_pem: Mutex<Arc<str>>,
    turn: AtomicUsize,
}

impl Lines {
    /// A ready replica is called from now on.
    pub(crate) fn add(&self, address: SocketAddr) {
        self.ready.lock().unwrap().push(address);
    }

    /// A replica is called until its readiness probe fails, as kubelet asks: every two seconds.
    pub(crate) async fn leave(&self, address: SocketAddr, replica: &Replica) {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if !replica.is_ready().await {
                break;
            }
        }
        self.ready.lock().unwrap().retain(|one| *one != address);
    }

    /// Another bundle means other connections: an API server keeps a client per configuration.
    pub(crate) fn trust(&self, bundle_pem: &str) {
        let mut trusted = self.bundle_pem.lock().unwrap();
        if **trusted != *bundle_pem {
            *trusted = bundle_pem.into();
            self.idle.lock().unwrap().clear();
        }
    }

    /// Whether there is anybody to call, and a bundle to do it with.
    pub(crate) fn is_open(&self) -> bool {
        !self.bundle_pem.lock().unwrap().is_empty() && !self.ready.lock().unwrap().is_empty()
    }

    /// One call, as often as the API server would try it.
    pub(crate) async fn call(&self, path: &str, body: &Bytes) -> Result<(), String> {
        for _ in 0..10 {
            if let Some(after) = self.once(path, body).await? {
                tokio::time::sleep(after).await;
                continue;
            }
            return Ok(());
        }
        Err("shed ten times".to_owned())
    }

    async fn once(&self, path: &str, body: &Bytes) -> Result<Option<Duration>, String> {
        let address = {
            let ready = self.ready.lock().unwrap();
            ready[self.turn.fetch_add(1, Ordering::Relaxed) % ready.len()]
        };
        let trusted = Arc::clone(&self.bundle_pem.lock().unwrap());
        let kept = self.idle.lock().unwrap().get_mut(&address).and_then(Vec::pop);
        // One that was closed while it was idle is no failed call: nothing was sent.
        let alive = match kept {
            Some(mut line) => line.ready().await.is_ok().then_some(line),
            None => None,
        };
        let mut line = match alive {
            Some(line) => line,
            None => open(address, &trusted).await?,
        };
        let request = Request::post(path)
            .header(header::HOST, NAME)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
            .map_err(|error| error.to_string())?;
        let answered = tokio::time::timeout(Duration::from_secs(10), line.send_request(request)).await;
        let answer = answered
            .map_err(|_| "no answer within 10 s".to_owned())?
            .map_err(|error| format!("call: {error}"))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| format!("answer: {error}"))?;
        let bytes = bytes.to_bytes();
        let closing = headers
            .get(header::CONNECTION)
            .is_some_and(|value| value == "close");
        if !closing && *trusted == **self.bundle_pem.lock().unwrap() {
            self.idle.lock().unwrap().entry(address).or_default().push(line);
        }
        if headers.contains_key(header::RETRY_AFTER) {
            return Ok(Some(Duration::from_secs(1)));
        }
        let text = String::from_utf8_lossy(&bytes);
        let good = text.contains(r#""allowed":true"#) || text.contains(r#"{"status":"Success"}"#);
        if status == 200 && good {
            return Ok(None);
        }
        Err(format!(
            "{status}: {}",
            text.chars().take(300).collect::<String>()
        ))
    }
}

/// A new connection to a replica that proves to be the webhook.
pub(crate) async fn open(address: SocketAddr, bundle_pem: &str) -> Result<Line, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle_pem.as_bytes()).flatten());
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    connect(address, config).await
}

async fn connect(address: SocketAddr, config: ClientConfig) -> Result<Line, String> {
    let socket = TcpStream::connect(address)
        .await
        .map_err(|error| format!("connect: {error}"))?;
    socket.set_nodelay(true).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(|error| format!("TLS: {error}"))?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("HTTP: {error}"))?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A readiness probe, which as kubelet's verifies nothing.
pub(crate) async fn probe(address: SocketAddr) -> bool {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let Ok(mut line) = connect(address, config).await else {
        return false;
    };
    let request = Request::get("/readyz")
        .header(header::HOST, NAME)
        .body(Full::default())
        .unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(2), line.send_request(request)).await;
    matches!(answered, Ok(Ok(answer)) if answer.status() == 200)
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
