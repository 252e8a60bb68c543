//! The policies in force and the namespaces they select by, as the whole process sees them.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::Value;

use super::Set;

/// What is in force: one value, replaced as a whole, so that no review sees half a change.
#[derive(Debug, Clone, Default)]
pub struct Current {
    /// The policies; `None` until they have been listed.
    pub set: Option<Arc<Set>>,
    /// Namespaces by name, labels and name only; `None` until they have been listed.
    pub namespaces: Option<Arc<HashMap<String, Arc<Value>>>>,
}

impl Current {
    /// A namespace's object, when it is known.
    pub fn namespace(&self, name: &str) -> Option<&Value> {
        self.namespaces.as_ref()?.get(name).map(Arc::as_ref)
    }

    /// True once policies and namespaces have been listed.
    pub fn is_complete(&self) -> bool {
        self.set.is_some() && self.namespaces.is_some()
    }
}

/// Where [`Current`] is kept; cheap to read, by any thread.
#[derive(Debug, Default)]
pub struct Shared(ArcSwap<Current>);

impl Shared {
    /// Policies of a process that watches none.
    pub fn fixed(set: Set) -> Self {
        let shared = Self::default();
        shared.replace(Current {
            set: Some(Arc::new(set)),
            namespaces: Some(Arc::default()),
        });
        shared
    }

    /// What is in force now.
    pub fn current(&self) -> Arc<Current> {
        self.0.load_full()
    }

    /// Puts something else in force.
    pub fn replace(&self, current: Current) {
        self.0.store(Arc::new(current));
    }
}
