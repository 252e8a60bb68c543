//! How controllers and pods inside the cluster reach the API: the same pipeline as HTTP (admission, defaulting,
//! managed fields), without the socket.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::Value;

/// A resource type: `("apps", "v1", "deployments")`; the core group is `""`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group, `""` for core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Plural resource name.
    pub plural: &'static str,
}

impl Resource {
    /// A resource type.
    pub const fn new(group: &'static str, version: &'static str, plural: &'static str) -> Self {
        Self {
            group,
            version,
            plural,
        }
    }
}

/// A refused call: HTTP code and the `reason` and `message` of the Status object.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code} {reason}: {message}")]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// `status.reason` (`NotFound`, `Conflict`, …).
    pub reason: String,
    /// `status.message`.
    pub message: String,
}

/// A change seen by a watch.
#[derive(Debug, Clone)]
pub enum Change {
    /// Created or modified (also every object that existed when the watch began).
    Applied(Value),
    /// Deleted; the last state.
    Deleted(Value),
}

/// The calls a controller makes. Implemented by the API server.
pub trait Backend: Send + Sync + 'static {
    /// GET one object.
    fn get<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Value, ApiError>>;
    /// LIST a namespace, or all with `""`; `selector` is a label selector in its text form, `""` for all.
    fn list<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
        selector: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Value>, ApiError>>;
    /// POST.
    fn create<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
        object: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>>;
    /// PUT (optimistic locking by the object's resourceVersion); `subresource` is `""`, `status` or `scale`.
    fn update<'a>(
        &'a self,
        resource: Resource,
        subresource: &'a str,
        object: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>>;
    /// JSON merge patch; `subresource` as in `update`.
    fn merge<'a>(
        &'a self,
        resource: Resource,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
        patch: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>>;
    /// DELETE; `grace` in seconds, `None` for the kind's default.
    fn delete<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
        name: &'a str,
        grace: Option<i64>,
    ) -> BoxFuture<'a, Result<(), ApiError>>;
    /// WATCH all namespaces: first every existing object, then changes. Never ends while the cluster lives.
    fn watch(&self, resource: Resource) -> BoxStream<'static, Change>;
    /// Every resource type that is served now, custom ones too (for the garbage collector and namespaces):
    /// group, version, plural, kind, namespaced.
    fn resources(&self) -> Vec<(String, String, String, String, bool)>;
}

/// A cloneable handle.
pub type Client = Arc<dyn Backend>;
