//! Authorities and the certificates they sign (rcgen, P-256).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::lifecycle::{EPHEMERAL_AUTHORITY_LIFE, LEAF_LIFE, Validity};

/// Longest PEM that is parsed, bytes: parsers of hostile input get bounded input.
pub const MAX_PEM: usize = 64 << 10;

/// A certificate that could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Generation or signing failed.
    #[error("certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The pair is refused by the TLS library.
    #[error("certificate and key: {0}")]
    Pair(#[from] rustls::Error),
    /// What should be an authority is none.
    #[error("certificate authority: {0}")]
    Authority(String),
    /// What should be a certificate and a key is none.
    #[error("{0}")]
    Malformed(String),
    /// The clock is outside what X.509 can say.
    #[error("the clock says {0}, which no certificate can carry; set the clock")]
    Clock(Timestamp),
}

/// The names a serving certificate is valid for: DNS names and IP addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// The names of a Service as the API server and people call it, and `localhost`.
    pub fn of_service(service: &str, namespace: &str) -> Self {
        Self(vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
            service.to_owned(),
            "localhost".to_owned(),
        ])
    }

    /// These names and one more: a host of a URL or a listening address. An unspecified address (`0.0.0.0`, `::`)
    /// stands for loopback; brackets of an IPv6 host are taken off.
    #[must_use]
    pub fn and(mut self, host: &str) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let names: &[&str] = match host {
            "" => &[],
            "0.0.0.0" | "::" => &["127.0.0.1", "::1"],
            other => &[other],
        };
        for name in names {
            if !self.0.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                self.0.push((*name).to_owned());
            }
        }
        self
    }

    /// The names, the Service's first.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// A certificate authority of ours, with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    key_pem: String,
    validity: Validity,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority. Its common name carries the second it was made, so that verifiers holding two roots choose
    /// between them without guessing.
    pub fn generate(now: Timestamp, life: Duration) -> Result<Self, PkiError> {
        let validity = Validity::starting(now, life);
        let mut params = params(
            Vec::new(),
            &format!("verdigris-ca-{}", now.as_second()),
            &validity,
        )?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            key_pem: key.serialize_pem(),
            issuer: Issuer::new(params, key),
            certificate_pem,
            validity,
        })
    }

    /// Reads an authority back: its certificate and its key (PKCS#8, SEC1 or PKCS#1), PEM of at most [`MAX_PEM`]
    /// bytes each. The pair must belong together and be an authority.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let bad = |what: &str| PkiError::Authority(what.to_owned());
        if certificate_pem.len() > MAX_PEM || key_pem.len() > MAX_PEM {
            return Err(bad("larger than 64 KiB"));
        }
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| bad("no PEM certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| bad("no PEM private key"))?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(vec![certificate.clone()], key.clone_key(), &provider)?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|_| bad("no X.509 certificate"))?;
        if !parsed.is_ca() {
            return Err(bad("the certificate is not an authority's"));
        }
        let validity = validity(&parsed)?;
        let key = KeyPair::try_from(&key)?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key.serialize_pem(),
            issuer: Issuer::from_ca_cert_der(&certificate, key)?,
            validity,
        })
    }

    /// The private key, PEM (PKCS#8). For the Secret replicas share, and nowhere else.
    pub(super) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The certificate, PEM: what verifiers trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// From when to when it may sign.
    pub fn validity(&self) -> &Validity {
        &self.validity
    }

    /// Signs a serving certificate with a key of its own that never leaves the process.
    pub fn sign(&self, names: &Names, now: Timestamp) -> Result<Leaf, PkiError> {
        let validity = Validity::starting(now, LEAF_LIFE).within(&self.validity);
        let common = names.0.iter().find(|name| name.len() <= 64);
        let mut params = params(
            names.0.clone(),
            common.map_or("verdigris", String::as_str),
            &validity,
        )?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider)?;
        Ok(Leaf {
            key: Arc::new(key),
            validity,
        })
    }
}

/// A serving certificate and its key.
#[derive(Debug, Clone)]
pub struct Leaf {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

impl Leaf {
    /// Reads a certificate, what leads from it to an authority, and its key (PKCS#8, SEC1 or PKCS#1); PEM of at most
    /// [`MAX_PEM`] bytes each. The pair must belong together.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let bad = |what: &str| PkiError::Malformed(what.to_owned());
        if chain_pem.len() > MAX_PEM || key_pem.len() > MAX_PEM {
            return Err(bad("larger than 64 KiB"));
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).collect();
        let chain = chain.map_err(|_| bad("a PEM block is cut off or damaged"))?;
        let leaf = chain.first().ok_or_else(|| bad("no PEM certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| bad("no PEM private key"))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).map_err(|_| bad("no X.509 certificate"))?;
        let validity = validity(&parsed)?;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider)?;
        Ok(Self {
            key: Arc::new(key),
            validity,
        })
    }

    /// Whether both are the same certificate.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    /// The pair, checked to belong together.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// From when to when it may be served.
    pub fn validity(&self) -> &Validity {
        &self.validity
    }
}

/// What a process starts with: an authority and the first certificate it signed.
#[derive(Debug)]
pub struct Bundle {
    /// What targets (webhook configurations, CRDs) must trust, PEM; may hold several certificates.
    pub ca_pem: String,
    /// The certificate to serve.
    pub leaf: Leaf,
    /// Who signs the next one.
    pub authority: Authority,
}

impl Bundle {
    /// An authority that lives and dies with this process, and its first certificate.
    pub fn generate(names: &Names, now: Timestamp) -> Result<Self, PkiError> {
        Self::of(Authority::generate(now, EPHEMERAL_AUTHORITY_LIFE)?, names, now)
    }

    /// The first certificate of an authority there is already.
    pub fn of(authority: Authority, names: &Names, now: Timestamp) -> Result<Self, PkiError> {
        Ok(Self {
            ca_pem: authority.certificate_pem.clone(),
            leaf: authority.sign(names, now)?,
            authority,
        })
    }
}

fn params(names: Vec<String>, common: &str, validity: &Validity) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(names)?;
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, common);
    params.distinguished_name = distinguished;
    params.not_before = moment(validity.since)?;
    params.not_after = moment(validity.until)?;
    Ok(params)
}

fn validity(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Result<Validity, PkiError> {
    let at = |time: &x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp())
            .map_err(|_| PkiError::Malformed("its validity is out of range".to_owned()))
    };
    Ok(Validity {
        since: at(&certificate.validity().not_before)?,
        until: at(&certificate.validity().not_after)?,
    })
}

fn moment(at: Timestamp) -> Result<OffsetDateTime, PkiError> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| PkiError::Clock(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn verifies(bundle: &Bundle, name: &str, at: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(bundle.ca_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().cast_unsigned()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier
            .verify_server_cert(&bundle.leaf.key().cert[0], &[], &name, &[], at)
            .is_ok()
    }

    #[test]
    fn every_name_is_covered_and_no_other() {
        let names = Names::of_service("verdigris-webhook", "verdigris-system")
            .and("127.0.0.1")
            .and("[::1]");
        let bundle = Bundle::generate(&names, now()).unwrap();
        for (name, expected) in [
            ("verdigris-webhook.verdigris-system.svc", true),
            ("verdigris-webhook.verdigris-system.svc.cluster.local", true),
            ("verdigris-webhook.verdigris-system", true),
            ("verdigris-webhook", true),
            ("localhost", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("10.0.0.1", false),
            ("other.verdigris-system.svc", false),
        ] {
            assert_eq!(verifies(&bundle, name, now()), expected, "{name}");
        }
    }

    #[test]
    fn validity_is_what_the_lifecycle_says() {
        let bundle = Bundle::generate(&Names::of_service("a", "b"), now()).unwrap();
        let after = |seconds: i64| Timestamp::from_second(now().as_second() + seconds).unwrap();
        for (at, expected) in [
            (after(-3500), true),
            (after(-3700), false),
            (after(7 * 86400 - 10), true),
            (after(7 * 86400 + 10), false),
        ] {
            assert_eq!(verifies(&bundle, "a", at), expected, "{at}");
        }
    }

    #[test]
    fn an_authority_read_back_signs_what_the_first_one_would() {
        let made = Authority::generate(now(), Duration::from_hours(24)).unwrap();
        let read = Authority::from_pem(made.certificate_pem(), made.key_pem()).unwrap();
        assert_eq!(read.validity(), made.validity());
        let names = Names::of_service("a", "b");
        let mut bundle = Bundle::of(made, &names, now()).unwrap();
        bundle.leaf = read.sign(&names, now()).unwrap();
        assert!(verifies(&bundle, "a.b.svc", now()));
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let one = Authority::generate(now(), Duration::from_hours(24)).unwrap();
        let other = Authority::generate(now(), Duration::from_hours(24)).unwrap();
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["a".to_owned()])
            .unwrap()
            .self_signed(&leaf_key)
            .unwrap();
        let huge = format!("{}{}", one.certificate_pem(), " ".repeat(MAX_PEM));
        for (name, certificate, key) in [
            ("nothing", "", ""),
            ("key of another", one.certificate_pem(), other.key_pem()),
            ("truncated", &one.certificate_pem()[..200], one.key_pem()),
            ("no key", one.certificate_pem(), one.certificate_pem()),
            ("not an authority", &leaf.pem(), &leaf_key.serialize_pem()),
            ("too large", &huge, one.key_pem()),
        ] {
            assert!(Authority::from_pem(certificate, key).is_err(), "{name}");
        }
    }

    #[test]
    fn an_unspecified_address_stands_for_loopback() {
        let names = Names::of_service("a", "b")
            .and("0.0.0.0")
            .and("127.0.0.1")
            .and("");
        assert_eq!(&names.as_slice()[5..], ["127.0.0.1", "::1"]);
    }
}
