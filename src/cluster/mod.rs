//! kube helpers: dynamic resources, the one way objects are written, and what an API error means for a retry.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: talks to the API server, by the clock"
)]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::Value;

use crate::lease::Leadership;

mod error;
mod kind;

pub use error::ClusterError;
pub use kind::Kind;

/// The field manager of everything the controller writes.
pub const FIELD_MANAGER: &str = "verdigris";

/// Writes and reads of one client, remembering what it wrote until the watches have caught up.
///
/// A watch cache lags behind our own writes by some milliseconds; a decision on the stale object would ask a hook
/// twice. [`Cluster::newest`] gives the newer of the cached object and our own last write.
pub struct Cluster {
    /// The client.
    pub client: Client,
    leadership: Leadership,
    written: Mutex<HashMap<Key, (Instant, Value)>>,
}

/// How long an object of ours that no cache shows is believed to exist.
const UNSEEN: Duration = Duration::from_secs(3);

/// Kinds that caches are kept of; only their writes are remembered.
const CACHED: [Kind; 6] = [
    Kind::CANARY,
    Kind::DEPLOYMENT,
    Kind::DAEMON_SET,
    Kind::SERVICE,
    Kind::HPA,
    Kind::SCALED_OBJECT,
];

/// Remembered writes beyond which the old ones go; by then every cache has caught up.
const REMEMBERED: usize = 512;

type Key = (&'static str, String, String);

impl Cluster {
    /// Wraps a client, for a process that has no others.
    pub fn new(client: Client) -> Self {
        Self::led(client, Leadership::alone())
    }

    /// Wraps a client: whatever is to be written is written only while this process leads.
    pub fn led(client: Client, leadership: Leadership) -> Self {
        Self {
            client,
            leadership,
            written: Mutex::new(HashMap::new()),
        }
    }

    /// Asked right before each write (law 6).
    fn may_write(&self, what: &str) -> Result<(), ClusterError> {
        if self.leadership.leads() {
            return Ok(());
        }
        Err(ClusterError::NotLeading {
            what: what.to_owned(),
        })
    }

    /// The newer of the cached object and what we last wrote ourselves.
    pub fn newest(&self, kind: Kind, namespace: &str, name: &str, cached: Option<Value>) -> Option<Value> {
        let key = (kind.plural, namespace.to_owned(), name.to_owned());
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, ours)) = written.get(&key) else {
            return cached;
        };
        let ours_is_newer = match &cached {
            Some(cached) => version(cached) < version(ours),
            None => at.elapsed() < UNSEEN,
        };
        if ours_is_newer {
            return Some(ours.clone());
        }
        written.remove(&key);
        cached
    }

    /// Forgets what we wrote (after a conflict or a deletion).
    pub fn forget(&self, kind: Kind, namespace: &str, name: &str) {
        let key = (kind.plural, namespace.to_owned(), name.to_owned());
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
    }

    /// A watch saw the object go: what we wrote before that is no more.
    pub fn gone(&self, kind: Kind, object: &Value) {
        let (namespace, name) = identity(object);
        let key = (kind.plural, namespace, name);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written
            .get(&key)
            .is_some_and(|(_, ours)| version(ours) <= version(object))
        {
            written.remove(&key);
        }
    }

    fn remember(&self, kind: Kind, object: &Value) {
        if !CACHED.contains(&kind) {
            return;
        }
        let (namespace, name) = identity(object);
        let mut object = object.clone();
        trim(&mut object);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= REMEMBERED {
            written.retain(|_, (at, _)| at.elapsed() < UNSEEN);
        }
        written.insert((kind.plural, namespace, name), (Instant::now(), object));
    }

    /// GET; `None` when it does not exist.
    pub async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>, ClusterError> {
        let what = label(kind, namespace, name);
        let found = kind.api(&self.client, namespace).get_opt(name).await;
        found
            .map_err(|error| ClusterError::of(&what, error))?
            .map(|object| to_value(&what, &object))
            .transpose()
    }

    /// LIST by label selector.
    pub async fn list(
        &self,
        kind: Kind,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        let what = format!("{} {namespace}", kind.plural);
        let parameters = ListParams::default().labels(selector);
        let found = kind.api(&self.client, namespace).list(&parameters).await;
        let found = found.map_err(|error| ClusterError::of(&what, error))?;
        found.items.iter().map(|object| to_value(&what, object)).collect()
    }

    /// DELETE; an object that is gone already is no error.
    pub async fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<(), ClusterError> {
        let what = label(kind, namespace, name);
        self.may_write(&what)?;
        self.forget(kind, namespace, name);
        match kind
            .api(&self.client, namespace)
            .delete(name, &DeleteParams::background())
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(ClusterError::of(what, error)),
        }
    }

    /// POST.
    pub async fn create(&self, kind: Kind, object: &Value) -> Result<Value, ClusterError> {
        let (namespace, name) = identity(object);
        let what = label(kind, &namespace, &name);
        let data: DynamicObject = from_value(&what, object)?;
        self.may_write(&what)?;
        let made = kind
            .api(&self.client, &namespace)
            .create(&parameters(), &data)
            .await;
        let made = to_value(&what, &made.map_err(|error| ClusterError::of(&what, error))?)?;
        self.remember(kind, &made);
        Ok(made)
    }

    /// JSON merge patch.
    pub async fn merge(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ClusterError> {
        let what = label(kind, namespace, name);
        self.may_write(&what)?;
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let made = kind
            .api(&self.client, namespace)
            .patch(name, &parameters, &Patch::Merge(patch))
            .await;
        self.settle(kind, namespace, name, &what, made)
    }

    /// JSON merge patch of the status subresource.
    pub async fn merge_status(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ClusterError> {
        let what = label(kind, namespace, name);
        self.may_write(&what)?;
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let made = kind
            .api(&self.client, namespace)
            .patch_status(name, &parameters, &Patch::Merge(patch))
            .await;
        self.settle(kind, namespace, name, &what, made)
    }

    fn settle(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        what: &str,
        made: kube::Result<DynamicObject>,
    ) -> Result<Value, ClusterError> {
        match made {
            Ok(object) => {
                let object = to_value(what, &object)?;
                self.remember(kind, &object);
                Ok(object)
            }
            Err(error) => {
                let error = ClusterError::of(what, error);
                self.forget(kind, namespace, name);
                Err(error)
            }
        }
    }
}

/// Takes away what no decision reads: `managedFields`, and the manifest `kubectl apply` noted.
pub fn trim(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    metadata.remove("managedFields");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
}

/// Where `kubectl apply` keeps the manifest it applied.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as JSON.
pub fn to_value(what: &str, object: &DynamicObject) -> Result<Value, ClusterError> {
    serde_json::to_value(object).map_err(|source| ClusterError::Malformed {
        what: what.to_owned(),
        source,
    })
}

fn from_value(what: &str, object: &Value) -> Result<DynamicObject, ClusterError> {
    serde_json::from_value(object.clone()).map_err(|source| ClusterError::Malformed {
        what: what.to_owned(),
        source,
    })
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn identity(object: &Value) -> (String, String) {
    let part = |field: &str| {
        object
            .pointer(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    (part("/metadata/namespace"), part("/metadata/name"))
}

fn label(kind: Kind, namespace: &str, name: &str) -> String {
    format!("{} {namespace}/{name}", kind.kind)
}

/// The resourceVersion as a number (comparable since KEP-5504; etcd revisions always were).
pub fn version(object: &Value) -> u64 {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}
