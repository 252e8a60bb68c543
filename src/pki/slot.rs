//! Where the listener finds the certificate of the moment.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::issue::Leaf;

/// Holds the serving certificate; one atomic load per handshake, no parsing, no I/O.
#[derive(Debug, Default)]
pub struct Slot(ArcSwapOption<CertifiedKey>);

impl Slot {
    /// An empty slot; handshakes fail until a certificate is put in.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Serves `leaf` from the next handshake on. Open connections keep what they have.
    pub fn put(&self, leaf: &Leaf) {
        self.0.store(Some(Arc::clone(leaf.key())));
    }

    /// Whether exactly this pair is served.
    pub fn serves(&self, key: &Arc<CertifiedKey>) -> bool {
        self.0
            .load()
            .as_ref()
            .is_some_and(|served| Arc::ptr_eq(served, key))
    }
}

impl ResolvesServerCert for Slot {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}
