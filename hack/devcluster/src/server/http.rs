//! Connections: TLS, HTTP/1.1 or h2, one task each.
//!
//! Owns: accepting and ending them. Promises: a connection that misbehaves affects no other. Never: reads requests
//! (see [`super::route`]).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Cluster;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until the cluster stops; the connections end with it.
pub(crate) async fn serve(cluster: Cluster, listener: TcpListener, config: Arc<rustls::ServerConfig>) {
    let acceptor = TlsAcceptor::from(config);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = cluster.stopped() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(connection(cluster.clone(), acceptor.clone(), socket));
                }
                Err(error) => tracing::debug!(%error, "a connection was not accepted"),
            },
        }
    }
    connections.shutdown().await;
}

async fn connection(cluster: Cluster, acceptor: TlsAcceptor, socket: TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let tls = match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let service = service_fn(move |request: http::Request<Incoming>| {
        let cluster = cluster.clone();
        async move { Ok::<http::Response<Body>, Infallible>(cluster.handle(request).await) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = server.serve_connection(TokioIo::new(tls), service).await {
        tracing::debug!(error, "connection ended");
    }
}
