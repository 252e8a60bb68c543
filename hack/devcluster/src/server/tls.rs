//! The cluster's certificate authority and serving certificate.
//!
//! Owns: keys and certificates, made anew for every cluster. Promises: the leaf is good for loopback names only.
//! Never: writes files.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A serving configuration and the CA to trust it by.
pub(crate) struct Identity {
    pub(crate) config: Arc<rustls::ServerConfig>,
    pub(crate) ca_pem: String,
}

/// Makes a CA and a leaf signed by it. Errors are rcgen's or rustls' own words.
pub(crate) fn identity() -> Result<Identity, Box<dyn std::error::Error + Send + Sync>> {
    let year = time::Duration::days(365);
    let now = time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(jiff_seconds());
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name.push(DnType::CommonName, "devcluster-ca");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    ca.not_before = now - time::Duration::hours(1);
    ca.not_after = now + year;
    let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let names = [
        "localhost",
        "127.0.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let mut leaf = CertificateParams::new(names.map(str::to_owned).to_vec())?;
    leaf.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    leaf.not_before = now - time::Duration::hours(1);
    leaf.not_after = now + year;
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Identity {
        config: Arc::new(config),
        ca_pem: issuer.pem(),
    })
}

#[expect(clippy::disallowed_methods, reason = "shell: certificates are valid from now")]
fn jiff_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A kubeconfig for the server at `url`; `ca_pem` as base64, one user with `token`.
pub(crate) fn kubeconfig(url: &str, ca_pem: &str, token: &str) -> String {
    use base64::Engine as _;
    let ca = base64::engine::general_purpose::STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: devcluster\n  cluster:\n    server: {url}\n    \
         certificate-authority-data: {ca}\nusers:\n- name: admin\n  user:\n    token: {token}\ncontexts:\n- name: \
         devcluster\n  context:\n    cluster: devcluster\n    user: admin\n    namespace: default\ncurrent-context: \
         devcluster\n"
    )
}
