//! One plain HTTP listener for processes outside the cluster: a forward proxy that knows the names of Services, and
//! Prometheus' service discovery of pods.
//!
//! `http_proxy=http://<gateway>` lets any program reach `http://web.test:9898/`; `CONNECT` tunnels any protocol.
//! `GET /sd/pods` answers Prometheus' `http_sd` format; `GET /resolve/<name>` the address of a Service. Only
//! Services and loopback addresses are ever dialled.

#![expect(clippy::disallowed_methods, reason = "shell: a task per connection")]

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::balance::Balancer;
use super::discovery;
use crate::client::Client;
use crate::controllers::object::PODS;

type Body = BoxBody<Bytes, hyper::Error>;

/// What the gateway answers from.
pub(crate) struct Gateway {
    pub(crate) client: Client,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) end: CancellationToken,
}

impl Gateway {
    /// Serves until the cluster ends.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let gateway = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = gateway.end.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "connection not accepted");
                    continue;
                }
            };
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                let end = gateway.end.clone();
                let service = hyper::service::service_fn(move |request| {
                    let gateway = Arc::clone(&gateway);
                    async move { Ok::<_, std::convert::Infallible>(gateway.answer(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .preserve_header_case(true)
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                tokio::select! {
                    outcome = connection => if let Err(error) = outcome {
                        tracing::debug!(%error, "gateway connection ended");
                    },
                    () = end.cancelled() => {}
                }
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.method() == Method::CONNECT {
            return self.tunnel(request).await;
        }
        if request.uri().authority().is_some() {
            return self.forward(request).await;
        }
        let path = request.uri().path();
        if path == "/sd/pods" {
            return match self.client.list(PODS, "", "").await {
                Ok(pods) => document(StatusCode::OK, &discovery::targets(&pods)),
                Err(error) => sentence(StatusCode::BAD_GATEWAY, &error.to_string()),
            };
        }
        if let Some(name) = path.strip_prefix("/resolve/") {
            return match self.balancer.resolve(name) {
                Some(ip) => document(StatusCode::OK, &json!({"name": name, "ip": ip})),
                None => sentence(
                    StatusCode::NOT_FOUND,
                    &format!("{name}: no Service with an address"),
                ),
            };
        }
        let help = format!("{path}: not found; expected /sd/pods, /resolve/<name>, or a proxied http:// URL");
        sentence(StatusCode::NOT_FOUND, &help)
    }

    async fn tunnel(&self, request: Request<Incoming>) -> Response<Body> {
        let target = request
            .uri()
            .authority()
            .and_then(|to| Some((to.host().to_owned(), to.port_u16()?)));
        let Some((host, port)) = target else {
            let found = request.uri().to_string();
            return sentence(
                StatusCode::BAD_REQUEST,
                &format!("CONNECT: found {found}; expected <host>:<port>"),
            );
        };
        let mut server = match self.balancer.dial(&host, port).await {
            Ok(server) => server,
            Err(error) => return sentence(StatusCode::BAD_GATEWAY, &error.to_string()),
        };
        let end = self.end.clone();
        tokio::spawn(async move {
            let copy = async {
                let upgraded = hyper::upgrade::on(request).await.map_err(std::io::Error::other)?;
                tokio::io::copy_bidirectional(&mut TokioIo::new(upgraded), &mut server).await
            };
            tokio::select! {
                outcome = copy => if let Err(error) = outcome {
                    tracing::debug!(%error, "tunnel ended");
                },
                () = end.cancelled() => {}
            }
        });
        Response::new(empty())
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<Body> {
        match self.exchange(request).await {
            Ok(response) => response.map(BodyExt::boxed),
            Err(error) => sentence(StatusCode::BAD_GATEWAY, &error.to_string()),
        }
    }

    /// Sends a request on, over a connection of its own, so that every request is balanced by itself.
    async fn exchange(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, std::io::Error> {
        let uri = request.uri().clone();
        if uri.scheme_str() != Some("http") {
            return Err(std::io::Error::other(format!(
                "{uri}: expected an http:// URL; use CONNECT for others"
            )));
        }
        let host = uri.host().unwrap_or_default();
        let server = self.balancer.dial(host, uri.port_u16().unwrap_or(80)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(server))
            .await
            .map_err(std::io::Error::other)?;
        let end = self.end.clone();
        tokio::spawn(async move {
            tokio::select! {
                outcome = connection => if let Err(error) = outcome {
                    tracing::debug!(%error, "proxied connection ended");
                },
                () = end.cancelled() => {}
            }
        });
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = path.parse().map_err(std::io::Error::other)?;
        let authority = uri
            .authority()
            .map(|to| to.as_str().to_owned())
            .unwrap_or_default();
        request
            .headers_mut()
            .insert(HOST, authority.parse().map_err(std::io::Error::other)?);
        leave_hop(request.headers_mut());
        let mut response = sender
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?;
        leave_hop(response.headers_mut());
        Ok(response)
    }
}

/// Removes what concerns one connection only (RFC 9110, 7.6.1).
fn leave_hop(headers: &mut hyper::HeaderMap) {
    headers.remove(CONNECTION);
    for name in [
        "proxy-connection",
        "keep-alive",
        "proxy-authorization",
        "te",
        "upgrade",
    ] {
        headers.remove(HeaderName::from_static(name));
    }
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

fn document(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn sentence(status: StatusCode, words: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{words}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
