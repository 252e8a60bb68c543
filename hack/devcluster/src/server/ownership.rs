//! Field ownership for the write pipeline: the bridge to [`crate::patch`].
//!
//! Owns: schemas and conversions server-side apply asks for. Promises: a converter that must be asked over the
//! network does not block the runtime. Never: decides who owns what.

use std::sync::Arc;

use serde_json::Value;

use super::Cluster;
use super::call::Call;
use super::conversion::without_asking;
use super::status::Failure;
use crate::kinds::{Kind, split_api_version};
use crate::patch::apply::{self, Request, Versions};
use crate::patch::managed::{self, Writer};
use crate::schema::{KindRef, Schema, builtin};

/// The versions of one type, as a running cluster knows them.
struct Served {
    cluster: Cluster,
    kind: Arc<Kind>,
    runtime: tokio::runtime::Handle,
}

impl Versions for Served {
    fn schema(&self, api_version: &str) -> Option<Schema<'_>> {
        let (group, version) = split_api_version(api_version);
        match &self.kind.custom {
            Some(custom) if group == custom.group() => {
                if custom.version(version).is_null() {
                    return None;
                }
                Some(custom.typed(version).map_or(Schema::UNKNOWN, Schema::new))
            }
            Some(_) => None,
            None => builtin::schema(&KindRef::new(group, version, &self.kind.kind)),
        }
    }

    fn convert(&self, object: &Value, api_version: &str) -> Result<Value, String> {
        let converted = match without_asking(&self.kind, object, api_version) {
            Ok(Some(converted)) => Ok(converted),
            // Reached on a blocking thread only (see `off_runtime`).
            Ok(None) => {
                self.runtime
                    .block_on(self.cluster.convert_to(&self.kind, object.clone(), api_version))
            }
            Err(failure) => Err(failure),
        };
        converted.map_err(|f| f.message)
    }
}

/// Runs `work`, on a blocking thread when it may ask a converter.
async fn off_runtime<T: Send + 'static>(
    cluster: &Cluster,
    kind: &Arc<Kind>,
    work: impl FnOnce(&Served) -> T + Send + 'static,
) -> Option<T> {
    let served = Served {
        cluster: cluster.clone(),
        kind: Arc::clone(kind),
        runtime: tokio::runtime::Handle::current(),
    };
    let waits = kind
        .custom
        .as_ref()
        .is_some_and(|c| c.conversion_webhook().is_some());
    if waits {
        tokio::task::spawn_blocking(move || work(&served)).await.ok()
    } else {
        Some(work(&served))
    }
}

/// Records an update's owners in `new`.
pub(crate) async fn track(
    cluster: &Cluster,
    call: &Call,
    old: Option<&Value>,
    new: Value,
    now: &str,
) -> Value {
    let (manager, subresource, now) = (call.manager.clone(), call.subresource.clone(), now.to_owned());
    let old = old.cloned();
    let untracked = new.clone();
    let tracked = off_runtime(cluster, &call.kind, move |served| {
        let writer = Writer {
            manager: &manager,
            subresource: &subresource,
            now: &now,
        };
        managed::track_update(old.as_ref(), new, writer, served)
    })
    .await;
    tracked.unwrap_or(untracked)
}

/// Server-side apply of `config`.
pub(crate) async fn apply(
    cluster: &Cluster,
    call: &Call,
    live: Option<&Value>,
    config: &Value,
    now: &str,
) -> Result<Value, Failure> {
    let (manager, subresource, now) = (call.manager.clone(), call.subresource.clone(), now.to_owned());
    let (live, config, force) = (live.cloned(), config.clone(), call.force);
    let applied = off_runtime(cluster, &call.kind, move |served| {
        let writer = Writer {
            manager: &manager,
            subresource: &subresource,
            now: &now,
        };
        apply::apply(
            Request {
                live: live.as_ref(),
                config: &config,
                writer,
                force,
            },
            served,
        )
    })
    .await;
    let applied = applied.ok_or_else(|| Failure::internal("server-side apply did not finish"))?;
    applied.map_err(|e| Failure::refused(&call.kind, &call.name, e))
}
