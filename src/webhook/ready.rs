//! What readiness is made of. Each part is latched once true: degradation shows in `/healthz` and in metrics, it does
//! not take a serving process out of the Service.

use std::fmt;
use tokio::sync::watch;

/// One part of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latch {
    /// A serving certificate is loaded.
    Certificate,
    /// A TLS call to the own port succeeded, verified by the published authority.
    SelfCall,
    /// Every target (webhook configurations, CRDs) trusts our authority.
    Trusted,
}

impl Latch {
    /// Every part, in the order they usually come true.
    pub const ALL: [Latch; 3] = [Latch::Certificate, Latch::SelfCall, Latch::Trusted];

    /// The name in probes and status pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Latch::Certificate => "certificate",
            Latch::SelfCall => "self-call",
            Latch::Trusted => "trusted-by-targets",
        }
    }
}

/// The parts that came true so far.
#[derive(Debug)]
pub struct Readiness(watch::Sender<[bool; Latch::ALL.len()]>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::channel([false; Latch::ALL.len()]).0)
    }
}

impl Readiness {
    /// Says that a part is true, from now on.
    pub fn latch(&self, part: Latch) {
        self.0
            .send_if_modified(|parts| !std::mem::replace(&mut parts[part as usize], true));
    }

    /// Whether a part came true.
    pub fn has(&self, part: Latch) -> bool {
        self.0.borrow()[part as usize]
    }

    /// Whether every part came true.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().iter().all(|part| *part)
    }

    /// Waits until a part is true.
    pub async fn wait_for(&self, part: Latch) {
        // The sender is here: it cannot be gone.
        let _ = self.0.subscribe().wait_for(|parts| parts[part as usize]).await;
    }
}

/// One line a part, as `kubectl get --raw /readyz?verbose` prints them.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in Latch::ALL {
            let (mark, word) = if self.has(part) {
                ('+', "ok")
            } else {
                ('-', "not yet")
            };
            writeln!(f, "[{mark}]{} {word}", part.as_str())?;
        }
        Ok(())
    }
}
