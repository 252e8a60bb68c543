//! Where calls may go: hosts by name, schemes, and private addresses once names are resolved.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use url::{Host, Url};

use crate::model::parse::is_loopback;

use super::exemption::Spared;
use super::judge::Match;
use super::{Mode, Review, Set};

/// Who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// `analysis.webhooks[]`.
    Webhook,
    /// `spec.metricsServer`, and the provider of a MetricTemplate.
    MetricsServer,
    /// The address of an AlertProvider, and its proxy.
    Alert,
}

impl Destination {
    /// The rule that decides, as exemptions name it.
    pub fn rule(self) -> &'static str {
        match self {
            Destination::Webhook => "allowed.webhooks",
            Destination::MetricsServer => "allowed.metricsServers",
            Destination::Alert => "allowed.alerts",
        }
    }
}

/// `spec.allowed.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hosts {
    /// Empty: any.
    pub(super) patterns: Vec<Pattern>,
    /// Empty: any.
    pub(super) schemes: Vec<String>,
    /// False refuses addresses of private networks.
    pub(super) private: bool,
}

/// A host, `*.domain` or `*`, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    any: bool,
    /// Below the domain, never the domain itself.
    below: bool,
    host: String,
    port: Option<u16>,
}

impl Pattern {
    /// Reads a pattern; `None` when no host can match it.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
            None => None,
        };
        let (below, rest) = host.strip_prefix("*.").map_or((false, host), |rest| (true, rest));
        let any = host == "*";
        let rest = rest
            .trim_matches(['[', ']'])
            .trim_end_matches('.')
            .to_ascii_lowercase();
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let readable = any || rest.split('.').all(label) || (!below && rest.parse::<IpAddr>().is_ok());
        readable.then_some(Self {
            any,
            below,
            host: rest,
            port,
        })
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        if self.below {
            // On the border of a label: evil-example.com is not below example.com.
            return host
                .strip_suffix(self.host.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
        }
        self.any || host == self.host
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.below { "*." } else { "" };
        f.write_str(star)?;
        f.write_str(if self.any { "*" } else { &self.host })?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The host of a URL as patterns are compared with it.
fn host(url: &Url) -> String {
    match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.').to_ascii_lowercase(),
        Some(Host::Ipv4(four)) => four.to_string(),
        Some(Host::Ipv6(six)) => IpAddr::V6(six).to_canonical().to_string(),
        None => String::new(),
    }
}

impl Hosts {
    /// What is wrong with an address as it is written: what was found, and what is expected.
    pub(super) fn refuses(&self, url: &Url) -> Option<(String, String)> {
        if !self.schemes.is_empty() && !self.schemes.iter().any(|scheme| scheme == url.scheme()) {
            return Some((format!("scheme {}", url.scheme()), self.schemes.join(" or ")));
        }
        let name = host(url);
        let listed = |pattern: &&Pattern| pattern.matches(&name, url.port_or_known_default());
        if !self.patterns.is_empty() && !self.patterns.iter().any(|pattern| listed(&pattern)) {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            return Some((format!("host {name}{port}"), self.listed()));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(four)) => Some(IpAddr::V4(four)),
            Some(Host::Ipv6(six)) => Some(IpAddr::V6(six)),
            Some(Host::Domain(_)) | None => None,
        };
        let address = literal.filter(|address| !self.private && is_private(*address))?;
        Some((
            format!("private address {address}"),
            "a public address".to_owned(),
        ))
    }

    fn listed(&self) -> String {
        let mut shown: Vec<String> = self.patterns.iter().take(5).map(ToString::to_string).collect();
        if self.patterns.len() > 5 {
            shown.push(format!("{} more", self.patterns.len() - 5));
        }
        format!("one of {}", shown.join(", "))
    }
}

/// An address of a private network: RFC 1918, RFC 6598, RFC 4193, or this machine's own.
fn is_private(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let private = match address {
        IpAddr::V4(four) => four.is_private() || (four.octets()[0] == 100 && four.octets()[1] & 0xc0 == 64),
        IpAddr::V6(six) => six.is_unique_local(),
    };
    private || is_loopback(address)
}

/// Where the enforced policies let one kind of call of one object go: asked before the call, after its name is
/// resolved, and at every redirect. Metadata and link-local addresses are refused elsewhere, whatever this says.
#[derive(Debug, Clone, Default)]
pub struct Permit {
    rules: Vec<(String, Destination, Arc<Hosts>)>,
}

impl Permit {
    /// What the enforced policies say about one kind of call of the reviewed object. A namespace whose labels are not
    /// known counts as selected: a call is not a thing to be taken back.
    pub fn of(set: &Set, review: &Review<'_>, destination: Destination, now: Timestamp) -> Self {
        let mut rules = Vec::new();
        for policy in set.iter().filter(|policy| policy.mode == Mode::Enforce) {
            let hosts = match destination {
                Destination::Webhook => &policy.allowed.webhooks,
                Destination::MetricsServer => &policy.allowed.metrics_servers,
                Destination::Alert => &policy.allowed.alerts,
            };
            let Some(hosts) = hosts.as_ref().filter(|_| policy.concerns(review) != Match::No) else {
                continue;
            };
            let name = review.object["metadata"]["name"].as_str().unwrap_or_default();
            match policy.spares(review.namespace, name, destination.rule(), now) {
                Spared::Until(_) => {}
                Spared::No | Spared::Before(_) => {
                    rules.push((policy.name.clone(), destination, Arc::clone(hosts)));
                }
            }
        }
        Self { rules }
    }

    /// True when no policy has anything to say.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// Why a URL may not be called, if so.
    pub fn refuses_url(&self, url: &Url) -> Option<String> {
        self.rules.iter().find_map(|(policy, destination, hosts)| {
            let (found, expected) = hosts.refuses(url)?;
            Some(format!(
                "{found}: policy {policy:?} ({}) wants {expected}",
                destination.rule()
            ))
        })
    }

    /// Why an address that a name resolved to may not be called, if so.
    pub fn refuses_address(&self, address: IpAddr) -> Option<String> {
        self.rules.iter().find_map(|(policy, destination, hosts)| {
            (!hosts.private && is_private(address)).then(|| {
                format!(
                    "private address {address}: policy {policy:?} ({}) wants a public address",
                    destination.rule()
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, url: &str) -> bool {
        let url = Url::parse(url).unwrap();
        Pattern::read(pattern)
            .unwrap()
            .matches(&host(&url), url.port_or_known_default())
    }

    #[test]
    fn hosts_match_on_the_border_of_a_label() {
        for (pattern, url, expected) in [
            ("*.example.com", "https://a.example.com/", true),
            ("*.example.com", "https://a.b.example.com./", true),
            ("*.example.com", "https://evil-example.com/", false),
            ("*.example.com", "https://example.com/", false),
            ("*.example.com", "https://example.com.evil.org/", false),
            ("Example.com", "https://EXAMPLE.com/", true),
            ("example.com:443", "https://example.com/", true),
            ("example.com:443", "http://example.com/", false),
            ("example.com:8443", "https://example.com:8443/", true),
            ("*", "http://anything/", true),
            ("*:443", "http://anything/", false),
            ("10.0.0.1", "http://0x0a000001/", true),
            ("[fd00::1]:80", "http://[fd00::1]/", true),
            ("tester.test", "http://tester.test.svc/", false),
        ] {
            assert_eq!(matches(pattern, url), expected, "{pattern} {url}");
        }
        for pattern in [
            "", "*.", "*a.com", "a.*.com", "a b", "a:0", "a:99999", "a..b", "http://a", "*.*.com",
        ] {
            assert!(Pattern::read(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn private_addresses() {
        for (address, expected) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.0.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("127.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("fd12::1", true),
            ("2001:db8::1", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
        }
    }
}
