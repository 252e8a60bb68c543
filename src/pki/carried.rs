//! What the targets trust, as read: pure, but for the verifier of the TLS library.
//!
//! A target is a webhook entry or a CRD's conversion that names us as the server to call. Whether it trusts us is not
//! what was written there but what stands there.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

use super::store::{is_stale, unexpired};

/// One place that names us, and whom it trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// For people: kind, name and entry.
    pub label: String,
    /// The name the API server expects in our certificate.
    pub host: String,
    /// Its `caBundle`, PEM; empty when there is none.
    pub bundle_pem: String,
}

/// Every place that names us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Everything that can name us has been read.
    pub complete: bool,
    /// The places that do.
    pub targets: Vec<Target>,
}

impl Carried {
    /// Everything was read, something names us, and all of it is so.
    fn all(&self, is_so: impl Fn(&Target) -> bool) -> bool {
        self.complete && !self.targets.is_empty() && self.targets.iter().all(is_so)
    }

    /// Whether every target trusts this authority.
    pub fn trusts(&self, authority_pem: &str) -> bool {
        self.all(|target| holds(&target.bundle_pem, authority_pem))
    }

    /// Whether every target accepts this serving certificate under the name it calls it by.
    pub fn accepts(&self, served: &CertifiedKey, now: Timestamp) -> bool {
        self.all(|target| accepts(served, &target.bundle_pem, &target.host, now))
    }

    /// Whether every target that names us trusts the whole bundle and nothing that has expired. True when nothing
    /// names us: there is nothing to write.
    pub fn is_up_to_date(&self, bundle_pem: &str, now: Timestamp) -> bool {
        let current = |target: &Target| {
            holds(&target.bundle_pem, &unexpired(bundle_pem, now)) && !is_stale(&target.bundle_pem, now)
        };
        self.complete && self.targets.iter().all(current)
    }
}

/// Whether a bundle holds every certificate of another, which is not empty.
pub fn holds(bundle_pem: &str, wanted_pem: &str) -> bool {
    let read = |pem: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().collect()
    };
    let (held, wanted) = (read(bundle_pem), read(wanted_pem));
    !wanted.is_empty() && wanted.iter().all(|one| held.contains(one))
}

/// What a target that carries `present` should carry: ours, and what else it trusts and has not expired.
pub fn merged(ours: &str, present: &str, now: Timestamp) -> String {
    unexpired(&format!("{ours}{present}"), now)
}

/// Verifies as the API server does.
fn accepts(served: &CertifiedKey, bundle_pem: &str, host: &str, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle_pem.as_bytes()).flatten());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // Without a root there is no verifier.
    let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() else {
        return false;
    };
    let Some((leaf, between)) = served.cert.split_first() else {
        return false;
    };
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        return false;
    };
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().max(0).cast_unsigned()));
    verifier.verify_server_cert(leaf, between, &name, &[], at).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Bundle, Names};

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn target(bundle_pem: &str) -> Target {
        Target {
            label: String::new(),
            host: "hook.sys.svc".to_owned(),
            bundle_pem: bundle_pem.to_owned(),
        }
    }

    fn carried(bundles: &[&str]) -> Carried {
        Carried {
            complete: true,
            targets: bundles.iter().map(|pem| target(pem)).collect(),
        }
    }

    #[test]
    fn what_is_trusted_is_what_every_target_carries() {
        let names = Names::of_service("hook", "sys");
        let (ours, other) = (
            Bundle::generate(&names, now()).unwrap(),
            Bundle::generate(&names, now()).unwrap(),
        );
        let both = format!("{}{}", other.ca_pem, ours.ca_pem);
        for (name, seen, expected) in [
            ("all", carried(&[&ours.ca_pem, &both]), true),
            ("one was wiped", carried(&[&ours.ca_pem, ""]), false),
            (
                "one trusts somebody else",
                carried(&[&both, &other.ca_pem]),
                false,
            ),
            (
                "one is cut off",
                carried(&[&ours.ca_pem, &ours.ca_pem[..90]]),
                false,
            ),
            ("nothing names us", carried(&[]), false),
            (
                "not everything was read",
                Carried {
                    complete: false,
                    ..carried(&[&ours.ca_pem])
                },
                false,
            ),
        ] {
            assert_eq!(seen.trusts(&ours.ca_pem), expected, "{name}");
            assert_eq!(seen.accepts(ours.leaf.key(), now()), expected, "{name}");
        }
        let mut elsewhere = carried(&[&ours.ca_pem]);
        elsewhere.targets[0].host = "other.sys.svc".to_owned();
        assert!(elsewhere.trusts(&ours.ca_pem));
        assert!(
            !elsewhere.accepts(ours.leaf.key(), now()),
            "called by another name"
        );
        assert!(
            carried(&[]).is_up_to_date(&ours.ca_pem, now()),
            "nothing to write"
        );
        assert!(carried(&[&both]).is_up_to_date(&ours.ca_pem, now()));
        assert!(!carried(&[&ours.ca_pem]).is_up_to_date(&both, now()));
        assert!(!carried(&[&both, ""]).is_up_to_date(&ours.ca_pem, now()));
    }

    #[test]
    fn what_others_put_there_stays_until_it_expires() {
        let names = Names::of_service("hook", "sys");
        let (ours, other) = (
            Bundle::generate(&names, now()).unwrap().ca_pem,
            Bundle::generate(&names, now()).unwrap().ca_pem,
        );
        let bundle = merged(&ours, &other, now());
        assert!(holds(&bundle, &ours) && holds(&bundle, &other));
        assert_eq!(
            merged(&ours, &bundle, now()).matches("BEGIN").count(),
            2,
            "nothing twice"
        );
        let later: Timestamp = "2096-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(merged(&ours, &other, later), "");
    }
}
