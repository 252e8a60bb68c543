//! Addresses: well-formed, and not pointing where no hook, query or alert may go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::fields::{Field, Findings};
use crate::model::rules::{self, Rule};

/// Whether calls to this process' own machine are refused (true inside a cluster).
pub(super) type RefuseLoopback = bool;

/// Why no call may ever go to this address: link-local ranges and the metadata services of clouds. The same answer
/// is asked again for what a name resolves to, when a connection is made.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(v4)
            if v4 == Ipv4Addr::new(169, 254, 169, 254) || v4 == Ipv4Addr::new(100, 100, 100, 200) =>
        {
            Some("a cloud's metadata service")
        }
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() => Some("a multicast address"),
        IpAddr::V6(v6) if v6 == METADATA_V6 => Some("a cloud's metadata service"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Whether an address is this machine itself (`127.0.0.0/8`, `::1`, and the unspecified addresses that mean it).
pub fn is_loopback(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// Reads an address; `rule` is what a malformed one breaks.
pub(super) fn read(
    field: &Field<'_>,
    rule: &Rule,
    refuse_loopback: RefuseLoopback,
    findings: &mut Findings,
) -> Option<Url> {
    let text = field.text(findings)?;
    let Some(url) = parse(text) else {
        let found = format!(
            "{} is not an address",
            super::fields::show(&serde_json::Value::from(text))
        );
        let guess = parse(&format!("http://{text}")).filter(|_| text.contains('.') && !text.contains(':'));
        let fix = guess.map_or_else(|| rule.fix.to_owned(), |_| format!("write http://{text}"));
        findings
            .add(rule, &field.path, found)
            .expecting("expected http:// or https://, a host and a valid port")
            .fixed_by(fix);
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        findings.add(&rules::URL_CREDENTIALS, &field.path, "credentials in the address");
    }
    let why = match url.host() {
        Some(Host::Ipv4(v4)) => refusal(IpAddr::V4(v4), refuse_loopback),
        Some(Host::Ipv6(v6)) => refusal(IpAddr::V6(v6), refuse_loopback),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            if matches!(
                name,
                "metadata.google.internal" | "metadata.goog" | "instance-data.ec2.internal"
            ) {
                Some("a cloud's metadata service")
            } else if refuse_loopback && (name == "localhost" || name.ends_with(".localhost")) {
                Some("this machine")
            } else {
                None
            }
        }
        None => None,
    };
    if let Some(why) = why {
        let host = url.host_str().unwrap_or_default().to_owned();
        findings.add(&rules::URL_FORBIDDEN, &field.path, format!("{host} is {why}"));
        return None;
    }
    Some(url)
}

fn refusal(address: IpAddr, refuse_loopback: RefuseLoopback) -> Option<&'static str> {
    forbidden(address).or((refuse_loopback && is_loopback(address)).then_some("this machine"))
}

/// What Go's `net/url` and its HTTP client would accept too: the `url` crate alone forgives `http:host` and blanks.
fn parse(text: &str) -> Option<Url> {
    let after = ["http://", "https://"].iter().find_map(|scheme| {
        text.get(..scheme.len())
            .filter(|head| head.eq_ignore_ascii_case(scheme))
            .map(|head| &text[head.len()..])
    })?;
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty()
        || text.chars().any(char::is_control)
        || text.trim() != text
        || authority.contains('\\')
    {
        return None;
    }
    Url::parse(text)
        .ok()
        .filter(|url| url.host_str().is_some_and(|host| !host.is_empty()) && url.port() != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judge(text: &str, refuse_loopback: bool) -> Vec<&'static str> {
        let (value, mut findings) = (json!(text), Findings::default());
        read(
            &Field::root(&value),
            &rules::URL_FORMAT,
            refuse_loopback,
            &mut findings,
        );
        findings
            .report
            .violations
            .iter()
            .chain(&findings.report.warnings)
            .map(|found| found.code.0)
            .collect()
    }

    #[test]
    fn addresses() {
        for text in [
            "http://a",
            "https://a.b:8443/c?d=e",
            "HTTP://a/",
            "http://[fd00::1]:80/",
            "http://10.0.0.1/x y",
        ] {
            assert_eq!(judge(text, true), [""; 0], "{text}");
        }
        for text in [
            "",
            "not a url",
            "a.b/c",
            "http://",
            "http:///a",
            "http:a",
            "ftp://a",
            "http://a:99999",
            " http://a",
            "http://a:0/",
            "http://a b/",
            "http://a\n/",
            "https//a",
            "http://\\a",
        ] {
            assert_eq!(judge(text, false), ["url-format"], "{text}");
        }
        assert_eq!(judge("http://u:p@a/", false), ["url-credentials"]);
    }

    #[test]
    fn forbidden_hosts() {
        for text in [
            "http://169.254.169.254/latest",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://[::ffff:169.254.1.1]/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://metadata.google.internal./",
            "http://100.100.100.200/",
        ] {
            assert_eq!(judge(text, false), ["url-forbidden-host"], "{text}");
        }
        for text in [
            "http://127.0.0.1:28080/x",
            "http://localhost/",
            "http://[::1]/",
            "http://0.0.0.0/",
        ] {
            assert_eq!(judge(text, false), [""; 0], "{text}");
            assert_eq!(judge(text, true), ["url-forbidden-host"], "{text}");
        }
    }

    #[test]
    fn a_missing_scheme_is_guessed() {
        let (value, mut findings) = (json!("flagger-loadtester.test/"), Findings::default());
        read(&Field::root(&value), &rules::URL_FORMAT, false, &mut findings);
        assert_eq!(
            findings.report.violations[0].fix,
            "write http://flagger-loadtester.test/"
        );
    }
}
