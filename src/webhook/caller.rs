//! Who may ask for reviews, where client certificates are checked.
//!
//! Admission can tell more than conversion (it knows policies and other objects), and the API server can be given a
//! certificate for it; for conversions it never shows one, and probes do not either.

use http::StatusCode;

use crate::net::serve::Peer;
use crate::pki::clients;

use super::answer::Refusal;

/// Who may ask `/validate` and `/mutate`; by default anybody.
#[derive(Debug, Clone, Default)]
pub struct Callers {
    /// `None`: no certificate is asked for. Empty: any certificate the authority signed will do.
    allowed: Option<Vec<String>>,
}

impl Callers {
    /// Only who shows a certificate that was verified and bears one of these names; without names, any such
    /// certificate.
    pub fn named(allowed: Vec<String>) -> Self {
        Self {
            allowed: Some(allowed),
        }
    }

    /// Why this caller may not ask; `None` when it may.
    pub(super) fn refuse(&self, peer: Option<&Peer>) -> Option<Refusal> {
        let allowed = self.allowed.as_ref()?;
        let Some(certificate) = peer.and_then(|peer| peer.certificate.as_ref()) else {
            return Some(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "no client certificate was shown; give the API server one for this webhook \
                 (--admission-control-config-file), or start without --client-ca-file",
            ));
        };
        let names = clients::names(certificate);
        if allowed.is_empty() || names.iter().any(|name| allowed.contains(name)) {
            return None;
        }
        Some(Refusal::new(
            StatusCode::FORBIDDEN,
            format!(
                "the client certificate is for {}; expected one of {} (--client-allowed-names)",
                names.join(", "),
                allowed.join(", ")
            ),
        ))
    }
}
