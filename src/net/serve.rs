//! The HTTPS listener: accept, handshake, HTTP/1.1, and a shutdown that loses no call.
//!
//! Owns: every socket that comes in. Promises: no peer holds a task longer than a deadline; the certificate is asked
//! of the resolver at each handshake, so it can change under load; after `stop` calls are served until nobody is
//! sent here any more, and only then does the listener close. Never looks into a request; who showed a client
//! certificate travels with it ([`Peer`]).
//!
//! HTTP/2 is not offered: the API server speaks HTTP/1.1 to webhooks, and rapid reset (CVE-2023-44487) stays out.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: deadlines of sockets run by the clock"
)]

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Deadlines and counts of the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its headers; also from the handshake to the first request.
    pub headers: Duration,
    /// A kept-alive connection between requests. Longer than the 90 s after which Go's client closes it, so that
    /// the API server never sends a request into a connection that is being closed.
    pub idle: Duration,
    /// Open connections; further ones wait in the backlog.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            connections: 1024,
        }
    }
}

/// How the listener ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// After `stop`: how long connections are still accepted, each answer saying `Connection: close`. Endpoints and
    /// kube-proxy need a few seconds to stop sending; a process outside a cluster needs none.
    pub lame_duck: Duration,
    /// After that: how long calls under way may take.
    pub drain: Duration,
}

impl Default for Farewell {
    /// For a pod behind a Service: 10 s, then 15 s; fits in a grace period of 40 s.
    fn default() -> Self {
        Self {
            lame_duck: Duration::from_secs(10),
            drain: Duration::from_secs(15),
        }
    }
}

impl Farewell {
    /// For a process registered by URL: nobody routes to it any more once that registration is taken back, so it
    /// stays only for calls that were already on their way.
    pub fn from_a_laptop() -> Self {
        Self {
            lame_duck: Duration::from_millis(500),
            drain: Duration::from_secs(10),
        }
    }
}

/// How the listener speaks TLS: 1.2 and 1.3 with ring's suites, which are all AEAD.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Asked for a certificate at each handshake.
    certificate: Arc<dyn ResolvesServerCert>,
    /// Refuse TLS 1.2.
    only_13: bool,
    /// Verifies client certificates where they are shown; without it none is asked for.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl<T: ResolvesServerCert + 'static> From<Arc<T>> for Tls {
    fn from(certificate: Arc<T>) -> Self {
        Self {
            certificate,
            only_13: false,
            clients: None,
        }
    }
}

impl Tls {
    /// Refuses TLS 1.2 when `only`.
    #[must_use]
    pub fn only_13(mut self, only: bool) -> Self {
        self.only_13 = only;
        self
    }

    /// Asks for client certificates and refuses those the verifier does.
    #[must_use]
    pub fn verifying(mut self, clients: Arc<dyn ClientCertVerifier>) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Only HTTP/1.1 is offered.
    fn config(self) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[&rustls::SupportedProtocolVersion] = if self.only_13 {
            &[&rustls::version::TLS13]
        } else {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        };
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        let verifies = self.clients.is_some();
        let builder = match self.clients {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(self.certificate);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if verifies {
            // A resumed session would be believed by an authority that is believed no more.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }
}

/// Who called, in the extensions of each request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The certificate the client showed; it was verified.
    pub certificate: Option<CertificateDer<'static>>,
}

/// What the end looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had to be cut at the drain deadline.
    pub cut: usize,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{0} is in use; choose another with --listen")]
    InUse(SocketAddr),
    /// Ports below 1024 and foreign addresses.
    #[error("{address} cannot be listened on: {source}; choose another with --listen")]
    Unusable {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// Why serving could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The TLS configuration is refused.
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
}

/// A socket that listens and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens on `address`; port 0 takes a free one.
pub async fn bind(address: SocketAddr) -> Result<Bound, BindError> {
    let unusable = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        _ => BindError::Unusable { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(unusable)?;
    let address = listener
        .local_addr()
        .map_err(|source| BindError::Unusable { address, source })?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// Where it listens, the port resolved.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` over TLS until `stop`, then as `farewell` says. Returns when the last connection is closed.
    pub async fn serve(
        self,
        router: Router,
        tls: impl Into<Tls>,
        stop: CancellationToken,
        limits: Limits,
        farewell: Farewell,
    ) -> Result<Drained, ServeError> {
        let acceptor = TlsAcceptor::from(Arc::new(tls.into().config()?));
        let slots = Arc::new(Semaphore::new(limits.connections));
        let graceful = GracefulShutdown::new();
        let mut connections: JoinSet<()> = JoinSet::new();
        let closing = async {
            stop.cancelled().await;
            sleep(farewell.lame_duck).await;
        };
        tokio::pin!(closing);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut closing => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = accept(&self.listener, &slots) => accepted,
            };
            let (stream, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or a peer that left while queueing: the next accept may succeed.
                    tracing::warn!(%error, "connection not accepted");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
            let watcher = graceful.watcher();
            connections.spawn(async move {
                let _slot = slot;
                if let Err(end) = connection(stream, acceptor, router, stop, limits, watcher).await {
                    tracing::debug!(%end, "connection ended");
                }
            });
        }
        drop(self.listener);
        if timeout(farewell.drain, graceful.shutdown()).await.is_ok() {
            return Ok(Drained { cut: 0 });
        }
        while connections.try_join_next().is_some() {}
        Ok(Drained {
            cut: connections.len(),
        })
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("no TLS handshake within {0:?}")]
    SlowHandshake(Duration),
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
    limits: Limits,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), End> {
    let stream = timeout(limits.handshake, acceptor.accept(stream))
        .await
        .map_err(|_| End::SlowHandshake(limits.handshake))?
        .map_err(End::Handshake)?;
    let shown = stream.get_ref().1.peer_certificates();
    let peer = Peer {
        certificate: shown
            .and_then(|chain| chain.first())
            .map(|first| first.clone().into_owned()),
    };
    let calls = Arc::new(Calls::default());
    let stream = Paced::new(stream, Arc::clone(&calls), limits.headers);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let router = router.clone();
        let call = Call::begin(&calls);
        let stop = stop.clone();
        async move {
            let answered = router.oneshot(request.map(Body::new)).await;
            drop(call);
            answered.map(|mut response| {
                if stop.is_cancelled() {
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    Ok(watcher.watch(connection).await?)
}

/// How many calls of a connection began and ended.
#[derive(Debug, Default)]
struct Calls {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A call under way; ends when dropped.
struct Call(Arc<Calls>);

impl Call {
    fn begin(calls: &Arc<Calls>) -> Self {
        calls.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(calls))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream whose reads fail once the headers of a request take too long.
///
/// hyper has one timer for "idle" and "reading headers"; a pool needs the first to be long, a slow peer the second
/// to be short.
struct Paced<S> {
    stream: S,
    calls: Arc<Calls>,
    allowed: Duration,
    /// The running deadline, and the number of calls begun when it was set.
    deadline: Option<(u64, Pin<Box<Sleep>>)>,
}

impl<S> Paced<S> {
    fn new(stream: S, calls: Arc<Calls>, allowed: Duration) -> Self {
        let deadline = Some((0, Box::pin(sleep(allowed))));
        Self {
            stream,
            calls,
            allowed,
            deadline,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begun = self.calls.begun.load(Ordering::Relaxed);
        let under_way = begun != self.calls.ended.load(Ordering::Relaxed);
        if under_way || self.deadline.as_ref().is_some_and(|(at, _)| *at != begun) {
            self.deadline = None;
        }
        if let Some((_, deadline)) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if !under_way && self.deadline.is_none() && buffer.filled().len() > before {
            let deadline = sleep_until(Instant::now() + self.allowed);
            self.deadline = Some((begun, Box::pin(deadline)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}
