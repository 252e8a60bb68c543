//! The Secret through which replicas share one authority: create it or adopt what another replica created.
//!
//! Layout: `tls.crt` and `tls.key` are the authority that signs; `next.crt` and `next.key`, during a renewal, the one
//! that will; `ca.crt` is the bundle targets must trust: both, and predecessors until they expire. So a replica that
//! starts in the middle of a renewal signs with what is trusted already, and a new leader goes on where the old one was.
#![expect(clippy::disallowed_types, reason = "shell: reads and writes the Secret")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::issue::{Authority, MAX_PEM, PkiError};
use super::lifecycle::AUTHORITY_LIFE;

/// The Secret's name.
pub const NAME: &str = "verdigris-ca";
/// The annotation that asks for a new authority now, whatever its value; gone once that is stored.
pub const ROTATE: &str = "verdigris.dev/rotate";
/// Races are settled by the API server; this many lost in a row mean something else is wrong.
const ATTEMPTS: usize = 5;

/// Where the authority is kept.
#[derive(Clone)]
pub struct Store {
    api: Api<Secret>,
    namespace: String,
}

/// What is kept.
#[derive(Debug)]
pub struct Stored {
    /// Who signs; `None` when the Secret holds no authority that can be read.
    pub authority: Option<Authority>,
    /// Who signs once every target trusts it.
    pub next: Option<Authority>,
    /// What targets must trust, PEM.
    pub bundle_pem: String,
    /// Somebody asked for a new authority ([`ROTATE`]).
    pub forced: bool,
    version: Option<String>,
}

/// Why the Secret could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The API server refused or could not be reached.
    #[error("Secret {namespace}/{NAME}: {source}")]
    Cluster {
        /// Its namespace.
        namespace: String,
        /// What went wrong.
        source: Box<kube::Error>,
    },
    /// Somebody else wrote each time.
    #[error("Secret {namespace}/{NAME}: changed by others {ATTEMPTS} times in a row; see who else writes it")]
    Contended {
        /// Its namespace.
        namespace: String,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl Store {
    /// The Secret [`NAME`] of a namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
        }
    }

    /// What is kept now; `None` when there is no Secret.
    pub async fn read(&self) -> Result<Option<Stored>, StoreError> {
        let secret = self.api.get_opt(NAME).await.map_err(|error| self.failed(error))?;
        Ok(secret.as_ref().map(stored))
    }

    /// Creates an authority where there is none that can be read, or adopts the one there is.
    pub async fn adopt(&self, now: Timestamp) -> Result<Stored, StoreError> {
        let mut found = self.read().await?;
        for _ in 0..ATTEMPTS {
            match found {
                Some(usable)
                    if usable
                        .authority
                        .as_ref()
                        .is_some_and(|one| one.validity().holds(now)) =>
                {
                    return Ok(usable);
                }
                Some(damaged) => found = self.replace(&damaged, now).await?,
                None => found = self.create(now).await?,
            }
        }
        Err(StoreError::Contended {
            namespace: self.namespace.clone(),
        })
    }

    /// Puts a new authority in the place of one that cannot sign, beside what `old` says is trusted. `None`: somebody
    /// else was first and has been removed again meanwhile.
    pub async fn replace(&self, old: &Stored, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        let authority = Authority::generate(now, AUTHORITY_LIFE)?;
        let bundle = beside(&authority, &old.bundle_pem, now);
        self.write(self.secret(&authority, None, bundle, old.version.clone()))
            .await
    }

    /// Stores the next authority, which everybody trusts from then on; the current one goes on signing.
    pub async fn prepare(&self, old: &Stored, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        let Some(current) = &old.authority else {
            return self.replace(old, now).await;
        };
        let next = Authority::generate(now, AUTHORITY_LIFE)?;
        let bundle = beside(&next, &old.bundle_pem, now);
        self.write(self.secret(current, Some(&next), bundle, old.version.clone()))
            .await
    }

    /// The next authority becomes the one that signs; its predecessor stays trusted until it expires.
    pub async fn promote(&self, old: &Stored, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        let Some(next) = &old.next else {
            return self.read().await;
        };
        let bundle = beside(next, &old.bundle_pem, now);
        self.write(self.secret(next, None, bundle, old.version.clone()))
            .await
    }

    /// Drops what expired from the bundle.
    pub async fn prune(&self, old: &Stored, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        let Some(current) = &old.authority else {
            return self.read().await;
        };
        let bundle = unexpired(&old.bundle_pem, now);
        self.write(self.secret(current, old.next.as_ref(), bundle, old.version.clone()))
            .await
    }

    /// Makes the Secret anew, trusting `known` besides (what is in use while somebody deleted the Secret).
    pub async fn create_beside(&self, known: &str, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        let authority = Authority::generate(now, AUTHORITY_LIFE)?;
        let bundle = beside(&authority, known, now);
        let secret = self.secret(&authority, None, bundle, None);
        match self.api.create(&PostParams::default(), &secret).await {
            Ok(written) => Ok(Some(stored(&written))),
            Err(kube::Error::Api(status)) if status.is_already_exists() || status.is_conflict() => {
                self.read().await
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn create(&self, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        self.create_beside("", now).await
    }

    /// Writes under the resourceVersion that was read; what somebody else wrote first stands.
    async fn write(&self, secret: Secret) -> Result<Option<Stored>, StoreError> {
        match self.api.replace(NAME, &PostParams::default(), &secret).await {
            Ok(written) => Ok(Some(stored(&written))),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                self.read().await
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn secret(
        &self,
        authority: &Authority,
        next: Option<&Authority>,
        bundle: String,
        version: Option<String>,
    ) -> Secret {
        let mut data = vec![
            ("ca.crt", bundle),
            ("tls.crt", authority.certificate_pem().to_owned()),
            ("tls.key", authority.key_pem().to_owned()),
        ];
        if let Some(next) = next {
            data.push(("next.crt", next.certificate_pem().to_owned()));
            data.push(("next.key", next.key_pem().to_owned()));
        }
        Secret {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                namespace: Some(self.namespace.clone()),
                resource_version: version,
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/name".to_owned(),
                    "verdigris".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(
                data.into_iter()
                    .map(|(key, pem)| (key.to_owned(), ByteString(pem.into_bytes())))
                    .collect(),
            ),
            ..Secret::default()
        }
    }

    fn failed(&self, error: kube::Error) -> StoreError {
        StoreError::Cluster {
            namespace: self.namespace.clone(),
            source: Box::new(error),
        }
    }
}

/// Reads a Secret, however damaged.
fn stored(secret: &Secret) -> Stored {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key))?;
        std::str::from_utf8(&bytes.0)
            .ok()
            .filter(|pem| pem.len() <= MAX_PEM)
    };
    let pair = |certificate: &str, key: &str| {
        let (certificate, key) = text(certificate).zip(text(key))?;
        Authority::from_pem(certificate, key).ok()
    };
    let (authority, next) = (pair("tls.crt", "tls.key"), pair("next.crt", "next.key"));
    let mut bundle_pem = text("ca.crt").unwrap_or_default().to_owned();
    for signer in [&authority, &next].into_iter().flatten() {
        if !super::carried::holds(&bundle_pem, signer.certificate_pem()) {
            bundle_pem.insert_str(0, signer.certificate_pem());
        }
    }
    let annotations = secret.metadata.annotations.as_ref();
    Stored {
        authority,
        next,
        bundle_pem,
        forced: annotations.is_some_and(|all| all.contains_key(ROTATE)),
        version: secret.metadata.resource_version.clone(),
    }
}

/// A bundle that trusts `authority` and what `known` holds and has not expired.
fn beside(authority: &Authority, known: &str, now: Timestamp) -> String {
    unexpired(&format!("{}{known}", authority.certificate_pem()), now)
}

/// Whether a bundle holds certificates that are valid no longer, or twice the same.
pub fn is_stale(bundle_pem: &str, now: Timestamp) -> bool {
    let held = CertificateDer::pem_slice_iter(bundle_pem.as_bytes())
        .flatten()
        .count();
    let kept = unexpired(bundle_pem, now);
    held != CertificateDer::pem_slice_iter(kept.as_bytes()).flatten().count()
}

/// The certificates of a bundle that are valid beyond `now`, without doubles; what cannot be read is left out.
pub fn unexpired(bundle_pem: &str, now: Timestamp) -> String {
    let mut kept: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bundle_pem.as_bytes()).flatten() {
        let valid = x509_parser::parse_x509_certificate(&certificate)
            .is_ok_and(|(_, parsed)| parsed.validity().not_after.timestamp() > now.as_second());
        if valid && !kept.contains(&certificate) {
            kept.push(certificate);
        }
    }
    kept.iter().map(|certificate| to_pem(certificate)).collect()
}

/// RFC 7468: base64 in lines of 64.
fn to_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).unwrap_or_default());
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn of(authority: &Authority, bundle: &str) -> Secret {
        let data = [
            ("ca.crt", bundle),
            ("tls.crt", authority.certificate_pem()),
            ("tls.key", authority.key_pem()),
        ];
        Secret {
            data: Some(
                data.into_iter()
                    .map(|(key, pem)| (key.to_owned(), ByteString(pem.as_bytes().to_vec())))
                    .collect(),
            ),
            ..Secret::default()
        }
    }

    #[test]
    fn a_damaged_secret_is_read_as_far_as_it_goes() {
        let one = Authority::generate(now(), AUTHORITY_LIFE).unwrap();
        let whole = of(&one, one.certificate_pem());
        assert_eq!(stored(&whole).bundle_pem, one.certificate_pem());
        let without = |key: &str| {
            let mut secret = whole.clone();
            secret.data.as_mut().unwrap().remove(key);
            stored(&secret)
        };
        assert!(without("tls.key").authority.is_none());
        assert!(without("tls.crt").authority.is_none());
        let unsaid = without("ca.crt");
        assert!(unsaid.authority.is_some());
        assert_eq!(
            unsaid.bundle_pem,
            one.certificate_pem(),
            "who signs is always trusted"
        );
        assert!(stored(&Secret::default()).authority.is_none());
    }

    #[test]
    fn a_bundle_sheds_what_expired_and_what_it_says_twice() {
        let short = Authority::generate(now(), Duration::from_mins(1)).unwrap();
        let long = Authority::generate(now(), AUTHORITY_LIFE).unwrap();
        let (short, long) = (short.certificate_pem(), long.certificate_pem());
        let later = Timestamp::from_second(now().as_second() + 120).unwrap();
        let normal = |pem: &str| pem.replace("\r\n", "\n");
        assert_eq!(
            unexpired(&format!("{short}{long}{short}"), now()),
            normal(&format!("{short}{long}"))
        );
        assert_eq!(unexpired(&format!("{short}{long}"), later), normal(long));
        assert!(!is_stale(&format!("{short}{long}"), now()));
        assert!(is_stale(&format!("{short}{long}"), later));
        assert!(is_stale(&format!("{long}{long}"), now()), "twice the same");
        assert_eq!(unexpired("nonsense", now()), "");
    }
}
