//! A webhook server on loopback for one row: it answers with a function and remembers what it was asked.
#![expect(clippy::disallowed_methods, reason = "shell: a server of the test")]

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What a path answers: HTTP code and body.
type Answer = dyn Fn(&str, &Value) -> (u16, Value) + Send + Sync;

/// The running server; it ends with the row.
pub(crate) struct Hooks {
    port: u16,
    ca: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Hooks {
    /// Starts it. `answer` gets the path (with its query) and the review.
    pub(crate) async fn start(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let log = Arc::clone(&seen);
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, answer, log) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&log));
                connections.spawn(async move {
                    let Ok(tls) = acceptor.accept(socket).await else {
                        return;
                    };
                    let service = hyper::service::service_fn(move |request| {
                        respond(request, Arc::clone(&answer), Arc::clone(&log))
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection
                        .serve_connection(hyper_util::rt::TokioIo::new(tls), service)
                        .await;
                });
            }
        });
        Self {
            port,
            ca: STANDARD.encode(issuer.pem()),
            seen,
            server,
        }
    }

    /// `clientConfig` for a path.
    pub(crate) fn client_config(&self, path: &str) -> Value {
        json!({"url": format!("https://127.0.0.1:{}{path}", self.port), "caBundle": self.ca})
    }

    /// The reviews seen so far, with their paths.
    pub(crate) fn seen(&self) -> Vec<(String, Value)> {
        self.seen.lock().unwrap().clone()
    }

    /// The last review of an object at a path.
    pub(crate) fn last(&self, path: &str, name: &str) -> Value {
        let of = |(p, review): &(String, Value)| {
            let request = &review["request"];
            p.starts_with(path) && (request["name"] == name || request["object"]["metadata"]["name"] == name)
        };
        self.seen()
            .into_iter()
            .rev()
            .find(of)
            .map(|(_, review)| review)
            .unwrap_or_default()
    }
}

async fn respond(
    request: http::Request<hyper::body::Incoming>,
    answer: Arc<Answer>,
    log: Arc<Mutex<Vec<(String, Value)>>>,
) -> Result<http::Response<String>, hyper::Error> {
    use http_body_util::BodyExt as _;
    let path = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    log.lock().unwrap().push((path.clone(), review.clone()));
    let (code, body) = answer(&path, &review);
    let response = http::Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(body.to_string());
    Ok(response.unwrap())
}

/// An admission answer around `response`, which gets the request's uid.
pub(crate) fn admission(review: &Value, mut response: Value) -> (u16, Value) {
    response["uid"] = review["request"]["uid"].clone();
    (
        200,
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}),
    )
}

/// A JSON patch as an answer carries it.
pub(crate) fn patch(operations: &Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

/// A conversion answer: every object through `convert`.
pub(crate) fn conversion(review: &Value, convert: impl Fn(&mut Value, &str)) -> (u16, Value) {
    let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap();
    let objects: Vec<Value> = review["request"]["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let mut object = object.clone();
            convert(&mut object, wanted);
            object["apiVersion"] = json!(wanted);
            object
        })
        .collect();
    let response = json!({"uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects});
    (
        200,
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}),
    )
}
