//! What readiness is made of. Each part is latched once true: degradation shows in `/healthz` and in metrics, it does
//! not take a serving process out of the Service.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// One part of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latch {
    /// A serving certificate is loaded.
    Certificate,
    /// A TLS call to the own port succeeded, verified by the published authority.
    SelfCall,
    /// Every target (webhook configurations, CRDs) trusts our authority.
    Trusted,
    /// Policies and namespaces have been listed.
    Policies,
}

impl Latch {
    /// Every part, in the order they usually come true.
    pub const ALL: [Latch; 4] = [
        Latch::Certificate,
        Latch::SelfCall,
        Latch::Trusted,
        Latch::Policies,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Latch::Certificate => "certificate",
            Latch::SelfCall => "self-call",
            Latch::Trusted => "trusted-by-targets",
            Latch::Policies => "policies-listed",
        }
    }
}

/// The parts that came true so far.
#[derive(Debug, Default)]
pub struct Readiness([AtomicBool; 4]);

impl Readiness {
    /// Says that a part is true, from now on.
    pub fn latch(&self, part: Latch) {
        self.of(part).store(true, Ordering::Release);
    }

    /// Whether a part came true.
    pub fn has(&self, part: Latch) -> bool {
        self.of(part).load(Ordering::Acquire)
    }

    /// Whether every part came true.
    pub fn is_ready(&self) -> bool {
        Latch::ALL.into_iter().all(|part| self.has(part))
    }

    fn of(&self, part: Latch) -> &AtomicBool {
        let [certificate, self_call, trusted, policies] = &self.0;
        match part {
            Latch::Certificate => certificate,
            Latch::SelfCall => self_call,
            Latch::Trusted => trusted,
            Latch::Policies => policies,
        }
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
