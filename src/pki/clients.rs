//! Whose client certificates are believed: an authority from a file, renewed without a restart.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::files::{FileError, text};
use super::issue::PkiError;

/// Verifies client certificates, where one is shown, by the authority of the moment. Who shows none is let in: probes
/// and conversion calls never do; what they may ask is decided per request.
#[derive(Debug)]
pub struct Clients(ArcSwap<Believed>);

#[derive(Debug)]
struct Believed {
    authority_pem: String,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    /// Believes what this authority signed.
    pub fn of(authority_pem: &str) -> Result<Arc<Self>, PkiError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(believed(authority_pem)?))))
    }

    /// Reads the authority from its file.
    pub async fn read(path: &Path) -> Result<Arc<Self>, FileError> {
        Self::of(&text(path).await?).map_err(|_| FileError::Malformed {
            path: path.to_owned(),
        })
    }

    /// Reads the file again; what cannot be read changes nothing. True when somebody else is believed from now on.
    pub async fn renew(&self, path: &Path) -> Result<bool, FileError> {
        let pem = text(path).await?;
        if pem == self.0.load().authority_pem {
            return Ok(false);
        }
        let believed = believed(&pem).map_err(|_| FileError::Malformed {
            path: path.to_owned(),
        })?;
        self.0.store(Arc::new(believed));
        Ok(true)
    }
}

fn believed(authority_pem: &str) -> Result<Believed, PkiError> {
    let bad = |what: String| PkiError::Malformed(what);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| bad(error.to_string()))?;
    Ok(Believed {
        authority_pem: authority_pem.to_owned(),
        verifier,
    })
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints are optional (RFC 8446 §4.2.4), and these may change while they are lent.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0
            .load()
            .verifier
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().verifier.supported_verify_schemes()
    }
}

/// The names a client certificate gives: its common name and its DNS names.
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let common = parsed.subject().iter_common_name();
    let mut names: Vec<String> = common
        .filter_map(|name| name.as_str().ok().map(str::to_owned))
        .collect();
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            if let x509_parser::extensions::GeneralName::DNSName(name) = name {
                names.push((*name).to_owned());
            }
        }
    }
    names
}
