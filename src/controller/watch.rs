//! Watches: which change wakes which Canary, and the caches decisions read.
#![expect(clippy::disallowed_types, reason = "shell: watches through a client")]

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Client;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, controller, reflector, watcher};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Kind};
use crate::net::outbound::Outbound;
use crate::telemetry::Metrics;

use super::{Config, Context, reconcile, retry};

/// The watched objects. Reads never block and may lag by milliseconds.
pub struct Caches {
    /// Canaries.
    pub canaries: Store<DynamicObject>,
    /// Deployments, without managed fields.
    pub deployments: Store<DynamicObject>,
    /// Services, without managed fields.
    pub services: Store<DynamicObject>,
}

impl Caches {
    /// One cached object.
    pub(crate) fn find(
        store: &Store<DynamicObject>,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<DynamicObject>> {
        store.get(&ObjectRef::new_with(name, kind.resource()).within(namespace))
    }
}

/// Runs the controller until `stop` resolves; in-flight passes are finished.
///
/// Ends early with a message only when a watch task dies, which is a broken invariant.
pub async fn run(
    client: Client,
    config: Config,
    outbound: Outbound,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) -> Result<(), String> {
    let canary_api = Kind::CANARY.api_in(&client, config.namespace.as_deref());
    let mut loop_config = controller::Config::default();
    loop_config = loop_config.concurrency(config.concurrency);
    let controller =
        kube::runtime::Controller::new_with(canary_api, watcher::Config::default(), Kind::CANARY.resource())
            .with_config(loop_config);
    let canaries = controller.store();

    let (wake, woken) = mpsc::unbounded::<ObjectRef<DynamicObject>>();
    let mut tasks = JoinSet::new();
    let deployments = reflect(
        &client,
        &config,
        Kind::DEPLOYMENT,
        canaries.clone(),
        wake.clone(),
        &mut tasks,
    );
    let services = reflect(
        &client,
        &config,
        Kind::SERVICE,
        canaries.clone(),
        wake.clone(),
        &mut tasks,
    );
    drop(wake);
    let synced = async {
        let _ = deployments.wait_until_ready().await;
        let _ = services.wait_until_ready().await;
    };
    let (stopped, stop_twice) = tokio::sync::watch::channel(false);
    let mut stop_before_sync = stop_twice.clone();
    tasks.spawn(async move {
        stop.await;
        let _ = stopped.send(true);
        Ok(())
    });
    tokio::select! {
        () = synced => {}
        _ = stop_before_sync.wait_for(|stopped| *stopped) => return Ok(()),
    }
    tracing::info!("caches are warm; the controller starts");

    let context = Arc::new(Context {
        cluster: Cluster::new(client),
        caches: Caches {
            canaries,
            deployments,
            services,
        },
        outbound,
        config,
        metrics: Arc::clone(&metrics),
    });
    let mut stop_loop = stop_twice.clone();
    let shutdown = async move {
        let _ = stop_loop.wait_for(|stopped| *stopped).await;
    };
    controller
        .reconcile_on(woken)
        .graceful_shutdown_on(shutdown)
        .run(reconcile, |object, error, cx| retry(&object, error, &cx), context)
        .for_each(|done| {
            if let Err(controller::Error::ObjectNotFound(gone)) = &done {
                metrics.forget_canary(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
            }
            std::future::ready(())
        })
        .await;
    if *stop_twice.borrow() {
        Ok(())
    } else {
        Err("the controller's watches ended".to_owned())
    }
}

/// Keeps a cache of one kind, and wakes the Canaries an object belongs to whenever it changes.
fn reflect(
    client: &Client,
    config: &Config,
    kind: Kind,
    canaries: Store<DynamicObject>,
    wake: mpsc::UnboundedSender<ObjectRef<DynamicObject>>,
    tasks: &mut JoinSet<Result<(), String>>,
) -> Store<DynamicObject> {
    let api = kind.api_in(client, config.namespace.as_deref());
    let writer = reflector::store::Writer::new(kind.resource());
    let reader = writer.as_reader();
    let stream = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.metadata.managed_fields = None)
        .reflect(writer)
        .touched_objects();
    tasks.spawn(async move {
        let mut stream = std::pin::pin!(stream);
        loop {
            match stream.try_next().await {
                Ok(Some(object)) => {
                    for canary in interested(&canaries, &object, &Kind::CANARY.resource()) {
                        let _ = wake.unbounded_send(canary);
                    }
                }
                Ok(None) => return Err(format!("the watch of {} ended", kind.plural)),
                Err(error) => tracing::warn!(kind = kind.kind, "watch failed, trying again: {error}"),
            }
        }
    });
    reader
}

/// The Canaries an object matters to: those it is the target, primary or Service of, by name, and its owner.
fn interested(
    canaries: &Store<DynamicObject>,
    object: &DynamicObject,
    ar: &ApiResource,
) -> HashSet<ObjectRef<DynamicObject>> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let stem = name
        .strip_suffix("-primary")
        .or_else(|| name.strip_suffix("-canary"))
        .unwrap_or(name);
    let owners: HashSet<&str> = object
        .metadata
        .owner_references
        .iter()
        .flatten()
        .map(|owner| owner.uid.as_str())
        .collect();
    canaries
        .state()
        .iter()
        .filter(|canary| canary.metadata.namespace.as_deref().unwrap_or_default() == namespace)
        .filter(|canary| {
            let text = |pointer: &str| canary.data.pointer(pointer).and_then(serde_json::Value::as_str);
            let named = [text("/spec/targetRef/name"), text("/spec/service/name")];
            named
                .into_iter()
                .flatten()
                .any(|known| known == name || known == stem)
                || canary
                    .metadata
                    .uid
                    .as_deref()
                    .is_some_and(|uid| owners.contains(uid))
        })
        .map(|canary| ObjectRef::from_obj_with(canary.as_ref(), ar.clone()))
        .collect()
}
