//! The only HTTP client: deadline, size cap, redirect and address policy in one place.
//!
//! Owns: connections to user-supplied URLs (hooks, metric servers). Promises: no call outlives its deadline, no
//! answer is read past its cap, no link-local or metadata address is ever dialled, whatever a name resolves to.
#![expect(clippy::disallowed_types, reason = "shell: the only HTTP client")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Which addresses may be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Everything but link-local and metadata addresses (outside a cluster).
    Anywhere,
    /// Neither link-local, metadata nor loopback addresses (inside a cluster).
    InCluster,
}

impl Reach {
    /// Why `address` may not be dialled, if so.
    fn refuses(self, address: IpAddr) -> Option<&'static str> {
        let address = match address {
            IpAddr::V6(six) => six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4),
            IpAddr::V4(four) => IpAddr::V4(four),
        };
        let link_local = match address {
            IpAddr::V4(four) => four.is_link_local() || four.octets() == [100, 100, 100, 200],
            IpAddr::V6(six) => {
                six.is_unicast_link_local() || six.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
            }
        };
        if link_local {
            return Some("is a link-local or metadata address");
        }
        if self == Reach::InCluster && (address.is_loopback() || address.is_unspecified()) {
            return Some("is a loopback address");
        }
        None
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to.
    pub url: String,
    /// A JSON body makes it a POST; without one it is a GET.
    pub body: Option<serde_json::Value>,
    /// Extra headers (credentials of a metric server); names and values as sent.
    pub headers: Vec<(String, String)>,
    /// Deadline of the whole exchange.
    pub timeout: Duration,
    /// Skip certificate verification (`disableTLS`).
    pub insecure: bool,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// HTTP status.
    pub status: u16,
    /// The body, cut at [`MAX_BODY`].
    pub body: Bytes,
}

/// Longest answer read, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// A call without an answer. Never shows credentials of the URL.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboundError {
    /// The URL cannot be called.
    #[error("{0}")]
    Refused(String),
    /// Nothing came back in time.
    #[error("no answer from {host} within {seconds} s")]
    Deadline {
        /// Host called.
        host: String,
        /// Deadline in seconds.
        seconds: f64,
    },
    /// The connection failed.
    #[error("{host}: {cause}")]
    Transport {
        /// Host called.
        host: String,
        /// The innermost cause.
        cause: String,
    },
}

/// The client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    strict: reqwest::Client,
    insecure: reqwest::Client,
    reach: Reach,
}

impl Outbound {
    /// Builds the client. Proxies are taken from the environment (`http_proxy`, `no_proxy`).
    pub fn new(reach: Reach) -> Result<Self, OutboundError> {
        Ok(Self {
            strict: client(reach, false, None)?,
            insecure: client(reach, true, None)?,
            reach,
        })
    }

    /// Sends through an HTTP proxy, which resolves the host's name itself; the proxy's own address is checked as any
    /// other. A client is made for the call: this is for what is sent rarely.
    pub async fn send_through(&self, outgoing: &Outgoing, proxy: &str) -> Result<Incoming, OutboundError> {
        let url = Url::parse(proxy)
            .map_err(|error| OutboundError::Refused(format!("the proxy is not a URL: {error}")))?;
        guard(&url, self.reach)?;
        let client = client(self.reach, outgoing.insecure, Some(url))?;
        self.exchange(&client, outgoing).await
    }

    /// Sends and reads the answer, both within `outgoing.timeout`.
    pub async fn send(&self, outgoing: &Outgoing) -> Result<Incoming, OutboundError> {
        let client = if outgoing.insecure {
            &self.insecure
        } else {
            &self.strict
        };
        self.exchange(client, outgoing).await
    }

    async fn exchange(
        &self,
        client: &reqwest::Client,
        outgoing: &Outgoing,
    ) -> Result<Incoming, OutboundError> {
        let url = Url::parse(&outgoing.url)
            .map_err(|error| OutboundError::Refused(format!("{:?} is not a URL: {error}", outgoing.url)))?;
        let host = guard(&url, self.reach)?;
        let request = match &outgoing.body {
            Some(body) => client.post(url).json(body),
            None => client.get(url),
        };
        let request = outgoing
            .headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value));
        let exchange = async {
            let mut response = request.send().await?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                let room = MAX_BODY - body.len();
                body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
                if body.len() >= MAX_BODY {
                    break;
                }
            }
            Ok::<_, reqwest::Error>(Incoming {
                status,
                body: body.into(),
            })
        };
        match tokio::time::timeout(outgoing.timeout, exchange).await {
            Ok(Ok(incoming)) => Ok(incoming),
            Ok(Err(error)) => Err(OutboundError::Transport {
                host,
                cause: innermost(&error),
            }),
            Err(_) => Err(OutboundError::Deadline {
                host,
                seconds: outgoing.timeout.as_secs_f64(),
            }),
        }
    }
}

/// A client that keeps to `reach`. Without a `proxy` of its own it takes those of the environment.
fn client(reach: Reach, insecure: bool, proxy: Option<Url>) -> Result<reqwest::Client, OutboundError> {
    let refused = |error: reqwest::Error| OutboundError::Refused(innermost(&error));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("verdigris/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(60))
        .dns_resolver(Arc::new(GuardedResolver { reach }))
        .redirect(reqwest::redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() >= 5 {
                return attempt.error("more than five redirects");
            }
            match guard(attempt.url(), reach) {
                Ok(_) => attempt.follow(),
                Err(refusal) => attempt.error(refusal.to_string()),
            }
        }))
        .tls_danger_accept_invalid_certs(insecure);
    if let Some(proxy) = proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(refused)?);
    }
    builder.build().map_err(refused)
}

/// Checks scheme and literal address; names are checked when they resolve.
fn guard(url: &Url, reach: Reach) -> Result<String, OutboundError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OutboundError::Refused(format!(
            "scheme {:?} is not called; use http or https",
            url.scheme()
        )));
    }
    let literal = match url.host() {
        None => return Err(OutboundError::Refused("the URL has no host".to_owned())),
        Some(Host::Domain(name)) => return Ok(name.to_owned()),
        Some(Host::Ipv4(four)) => IpAddr::V4(four),
        Some(Host::Ipv6(six)) => IpAddr::V6(six),
    };
    match reach.refuses(literal) {
        Some(reason) => Err(OutboundError::Refused(format!(
            "{literal} {reason} and is never called"
        ))),
        None => Ok(literal.to_string()),
    }
}

/// Resolves names with the system's resolver and drops addresses that may not be dialled.
#[derive(Debug)]
struct GuardedResolver {
    reach: Reach,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found
                .filter(|address| reach.refuses(address.ip()).is_none())
                .collect();
            if allowed.is_empty() {
                return Err(format!("{host} resolves to no address that may be called").into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The innermost cause in words; the outer layers repeat the URL.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_link_local_addresses_are_never_called() {
        for (url, reach, refused) in [
            ("http://169.254.169.254/latest", Reach::Anywhere, true),
            ("http://[fe80::1]/", Reach::Anywhere, true),
            ("http://[::ffff:169.254.169.254]/", Reach::Anywhere, true),
            ("http://100.100.100.200/", Reach::Anywhere, true),
            ("http://127.0.0.1:8080/", Reach::Anywhere, false),
            ("http://127.0.0.1:8080/", Reach::InCluster, true),
            ("http://0.0.0.0/", Reach::InCluster, true),
            ("http://10.0.0.1/", Reach::InCluster, false),
            ("ftp://example.com/", Reach::Anywhere, true),
            ("http://name.test/", Reach::InCluster, false),
        ] {
            assert_eq!(
                guard(&Url::parse(url).unwrap(), reach).is_err(),
                refused,
                "{url} {reach:?}"
            );
        }
    }
}
