//! kube helpers: dynamic resources, the one way objects are written, and what an API error means for a retry.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: talks to the API server, by the clock"
)]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::Value;

/// The field manager of everything the controller writes.
pub const FIELD_MANAGER: &str = "verdigris";

/// A resource type we read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// API group, `""` for core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural resource name.
    pub plural: &'static str,
}

impl Kind {
    /// `flagger.app/v1beta1` Canary.
    pub const CANARY: Kind = Kind {
        group: "flagger.app",
        version: "v1beta1",
        kind: "Canary",
        plural: "canaries",
    };
    /// `flagger.app/v1beta1` MetricTemplate.
    pub const METRIC_TEMPLATE: Kind = Kind {
        group: "flagger.app",
        version: "v1beta1",
        kind: "MetricTemplate",
        plural: "metrictemplates",
    };
    /// `flagger.app/v1beta1` AlertProvider.
    pub const ALERT_PROVIDER: Kind = Kind {
        group: "flagger.app",
        version: "v1beta1",
        kind: "AlertProvider",
        plural: "alertproviders",
    };
    /// `apps/v1` Deployment.
    pub const DEPLOYMENT: Kind = Kind {
        group: "apps",
        version: "v1",
        kind: "Deployment",
        plural: "deployments",
    };
    /// `apps/v1` DaemonSet.
    pub const DAEMON_SET: Kind = Kind {
        group: "apps",
        version: "v1",
        kind: "DaemonSet",
        plural: "daemonsets",
    };
    /// `apps/v1` ControllerRevision.
    pub const CONTROLLER_REVISION: Kind = Kind {
        group: "apps",
        version: "v1",
        kind: "ControllerRevision",
        plural: "controllerrevisions",
    };
    /// Core Service.
    pub const SERVICE: Kind = Kind {
        group: "",
        version: "v1",
        kind: "Service",
        plural: "services",
    };
    /// Core Event.
    pub const EVENT: Kind = Kind {
        group: "",
        version: "v1",
        kind: "Event",
        plural: "events",
    };
    /// Core Secret.
    pub const SECRET: Kind = Kind {
        group: "",
        version: "v1",
        kind: "Secret",
        plural: "secrets",
    };
    /// Core ConfigMap.
    pub const CONFIG_MAP: Kind = Kind {
        group: "",
        version: "v1",
        kind: "ConfigMap",
        plural: "configmaps",
    };
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    pub const HPA: Kind = Kind {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
    };

    /// `keda.sh/v1alpha1` ScaledObject.
    pub const SCALED_OBJECT: Kind = Kind {
        group: "keda.sh",
        version: "v1alpha1",
        kind: "ScaledObject",
        plural: "scaledobjects",
    };

    /// kube's description of the type.
    pub fn resource(self) -> ApiResource {
        ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(self.group, self.version, self.kind),
            self.plural,
        )
    }

    /// The API of one namespace.
    pub fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }

    /// The API of one namespace, or of all with `None`.
    pub fn api_in(self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => self.api(client, namespace),
            None => Api::all_with(client.clone(), &self.resource()),
        }
    }
}

/// A failed call to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Somebody else wrote first (409); reading again helps.
    #[error("{what}: changed meanwhile")]
    Conflict {
        /// The object.
        what: String,
    },
    /// The API server refused.
    #[error("{what}: {message}")]
    Refused {
        /// The object.
        what: String,
        /// HTTP status code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The API server could not be asked.
    #[error("{what}: {source}")]
    Unreachable {
        /// The object.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object is not what its type says.
    #[error("{what}: {source}")]
    Malformed {
        /// The object.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ClusterError {
    /// Sorts a kube error.
    pub fn of(what: impl Into<String>, error: kube::Error) -> Self {
        let what = what.into();
        match error {
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => {
                ClusterError::Conflict { what }
            }
            kube::Error::Api(status) => ClusterError::Refused {
                what,
                code: status.code,
                message: status.message.clone(),
            },
            other => ClusterError::Unreachable {
                what,
                source: Box::new(other),
            },
        }
    }

    /// True for 409.
    pub fn is_conflict(&self) -> bool {
        matches!(self, ClusterError::Conflict { .. })
    }
}

/// Writes and reads of one client, remembering what it wrote until the watches have caught up.
///
/// A watch cache lags behind our own writes by some milliseconds; a decision on the stale object would ask a hook
/// twice. [`Cluster::newest`] gives the newer of the cached object and our own last write.
pub struct Cluster {
    /// The client.
    pub client: Client,
    written: Mutex<HashMap<Key, (Instant, Value)>>,
}

/// How long an object of ours that no cache shows is believed to exist.
const UNSEEN: Duration = Duration::from_secs(3);

type Key = (&'static str, String, String);

impl Cluster {
    /// Wraps a client.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            written: Mutex::new(HashMap::new()),
        }
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

    fn remember(&self, kind: Kind, object: &Value) {
        let part = |field: &str| {
            object
                .pointer(&format!("/metadata/{field}"))
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let key = (kind.plural, part("namespace"), part("name"));
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, (Instant::now(), object.clone()));
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
        self.forget(kind, namespace, name);
        match kind
            .api(&self.client, namespace)
            .delete(name, &DeleteParams::background())
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(ClusterError::of(label(kind, namespace, name), error)),
        }
    }

    /// POST.
    pub async fn create(&self, kind: Kind, object: &Value) -> Result<Value, ClusterError> {
        let (namespace, name) = identity(object);
        let what = label(kind, &namespace, &name);
        let data: DynamicObject = from_value(&what, object)?;
        let made = kind
            .api(&self.client, &namespace)
            .create(&parameters(), &data)
            .await;
        let made = to_value(&what, &made.map_err(|error| ClusterError::of(&what, error))?)?;
        self.remember(kind, &made);
        Ok(made)
    }

    /// PUT with the object's resourceVersion.
    pub async fn replace(&self, kind: Kind, object: &Value) -> Result<Value, ClusterError> {
        let (namespace, name) = identity(object);
        let what = label(kind, &namespace, &name);
        let data: DynamicObject = from_value(&what, object)?;
        let made = kind
            .api(&self.client, &namespace)
            .replace(&name, &parameters(), &data)
            .await;
        self.settle(kind, &namespace, &name, &what, made)
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
fn version(object: &Value) -> u64 {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}
