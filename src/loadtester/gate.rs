//! Gates: open or closed per Canary, closed until opened, kept in memory (as Flagger's load tester).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// `/gate/*`: confirm-rollout, confirm-promotion, confirm-traffic-increase hooks.
    Gate,
    /// `/rollback/*`: rollback hooks.
    Rollback,
}

/// Every gate of the process.
#[derive(Debug, Default)]
pub struct Gates {
    open: Mutex<HashSet<(Door, String, String)>>,
}

impl Gates {
    /// Opens or closes the gate of a Canary.
    pub fn set(&self, door: Door, namespace: &str, name: &str, open: bool) {
        let key = (door, namespace.to_owned(), name.to_owned());
        let mut gates = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open {
            gates.insert(key);
        } else {
            gates.remove(&key);
        }
    }

    /// Whether the gate of a Canary is open.
    pub fn is_open(&self, door: Door, namespace: &str, name: &str) -> bool {
        let key = (door, namespace.to_owned(), name.to_owned());
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&key)
    }
}
