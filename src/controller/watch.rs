//! Watches: which change wakes which Canary, and the caches decisions read.
#![expect(clippy::disallowed_types, reason = "shell: watches through a client")]

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::future::Future;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use futures::channel::mpsc;
use futures::{StreamExt as _, TryStreamExt as _, future};
use kube::Client;
use kube::api::DynamicObject;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{Controller, WatchStreamExt as _, controller, reflector, watcher};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Kind, LAST_APPLIED, to_value};
use crate::net::outbound::Outbound;
use crate::telemetry::Metrics;
use crate::workload::config::ConfigKind;

use super::index::{Id, Index};
use super::sums::Sums;
use super::{Config, Context, configwatch, reconcile, retry};

/// The watched objects, without `managedFields` and what `kubectl apply` noted. Reads never block and may lag by
/// milliseconds.
pub struct Caches {
    /// Canaries.
    pub canaries: Store<DynamicObject>,
    /// Deployments.
    pub deployments: Store<DynamicObject>,
    /// DaemonSets.
    pub daemon_sets: Store<DynamicObject>,
    /// Services.
    pub services: Store<DynamicObject>,
    /// HorizontalPodAutoscalers, without status.
    pub autoscalers: Store<DynamicObject>,
    /// KEDA ScaledObjects, without status; `None` where KEDA is not installed.
    pub scaled_objects: Option<Store<DynamicObject>>,
}

impl Caches {
    /// The cache of a kind, if one is kept.
    pub(crate) fn store(&self, kind: Kind) -> Option<&Store<DynamicObject>> {
        match kind {
            Kind::CANARY => Some(&self.canaries),
            Kind::DEPLOYMENT => Some(&self.deployments),
            Kind::DAEMON_SET => Some(&self.daemon_sets),
            Kind::SERVICE => Some(&self.services),
            Kind::HPA => Some(&self.autoscalers),
            Kind::SCALED_OBJECT => self.scaled_objects.as_ref(),
            _ => None,
        }
    }

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

/// What every watch needs to wake the Canaries an object matters to.
#[derive(Clone)]
pub(super) struct Alarm {
    pub(super) index: Arc<Index>,
    wake: mpsc::UnboundedSender<ObjectRef<DynamicObject>>,
}

impl Alarm {
    /// Wakes the Canaries that read an object.
    pub(super) fn ring(&self, plural: &'static str, namespace: &str, name: &str) {
        for (namespace, name) in self.index.interested(plural, namespace, name) {
            let canary = ObjectRef::new_with(&name, Kind::CANARY.resource()).within(&namespace);
            // The other end closes when the controller stops.
            let _ = self.wake.unbounded_send(canary);
        }
    }
}

/// Where watches live, and what they need.
struct Watches {
    client: Client,
    namespace: Option<String>,
    cluster: Arc<Cluster>,
    alarm: Alarm,
    tasks: JoinSet<Result<(), String>>,
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
    let (wake, woken) = mpsc::unbounded::<ObjectRef<DynamicObject>>();
    let (index, sums) = (Arc::new(Index::default()), Arc::new(Sums::default()));
    let mut watches = Watches {
        client: client.clone(),
        namespace: config.namespace.clone(),
        cluster: Arc::new(Cluster::new(client.clone())),
        alarm: Alarm {
            index: Arc::clone(&index),
            wake,
        },
        tasks: JoinSet::new(),
    };
    let deployments = watches.keep(Kind::DEPLOYMENT);
    let daemon_sets = watches.keep(Kind::DAEMON_SET);
    let services = watches.keep(Kind::SERVICE);
    let autoscalers = watches.keep(Kind::HPA);
    let scaled_objects = serves(&client, Kind::SCALED_OBJECT)
        .await
        .then(|| watches.keep(Kind::SCALED_OBJECT));
    if config.track_configs {
        for kind in [ConfigKind::ConfigMap, ConfigKind::Secret] {
            let watched = configwatch::follow(
                kind,
                &client,
                config.namespace.as_deref(),
                Arc::clone(&sums),
                watches.alarm.clone(),
            );
            watches.tasks.spawn(watched);
        }
    }
    let Watches {
        alarm,
        mut tasks,
        cluster,
        ..
    } = watches;

    let (stopped, stop_twice) = watch::channel(false);
    tasks.spawn(async move {
        stop.await;
        let _ = stopped.send(true);
        future::pending().await
    });
    let synced = async {
        let mut needed = vec![&deployments, &daemon_sets, &services, &autoscalers];
        needed.extend(scaled_objects.as_ref());
        for store in needed {
            let _ = store.wait_until_ready().await;
        }
    };
    let mut stop_before_sync = stop_twice.clone();
    tokio::select! {
        () = synced => {}
        _ = stop_before_sync.wait_for(|stopped| *stopped) => return Ok(()),
    }
    tracing::info!("caches are warm; the controller starts");

    let writer = reflector::store::Writer::new(Kind::CANARY.resource());
    let canaries = writer.as_reader();
    let context = Arc::new(Context {
        cluster,
        caches: Caches {
            canaries: canaries.clone(),
            deployments,
            daemon_sets,
            services,
            autoscalers,
            scaled_objects,
        },
        outbound,
        config,
        metrics,
        index,
        sums,
        flagger: super::flagger::Check::default(),
        complaints: super::complain::Complaints::default(),
    });
    let api = Kind::CANARY.api_in(&client, context.config.namespace.as_deref());
    let watched = {
        let context = Arc::clone(&context);
        watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(trim)
            .reflect(writer)
            .inspect_ok(move |event| track(event, &alarm, &context))
            .applied_objects()
    };
    let mut stop_loop = stop_twice.clone();
    let shutdown = async move {
        let _ = stop_loop.wait_for(|stopped| *stopped).await;
    };
    let running = Controller::for_stream_with(watched, canaries, Kind::CANARY.resource())
        .with_config(controller::Config::default().concurrency(context.config.concurrency))
        .reconcile_on(woken)
        .graceful_shutdown_on(shutdown)
        .run(
            reconcile,
            |object, error, cx| retry(&object, error, &cx),
            Arc::clone(&context),
        )
        .for_each(|_| future::ready(()));
    tokio::select! {
        () = running => {}
        Some(ended) = tasks.join_next() => {
            return Err(ended.map_or_else(|died| died.to_string(), |ended| ended.err().unwrap_or_default()));
        }
    }
    if *stop_twice.borrow() {
        Ok(())
    } else {
        Err("the controller's watches ended".to_owned())
    }
}

/// Keeps the tables right as Canaries come and go, and wakes those that wait for another Canary to change.
fn track(event: &Event<DynamicObject>, alarm: &Alarm, cx: &Context) {
    let (object, gone) = match event {
        Event::Apply(object) => (object, false),
        Event::Delete(object) => (object, true),
        Event::Init | Event::InitApply(_) | Event::InitDone => return,
    };
    let (namespace, name) = place(object);
    alarm.ring(Kind::CANARY.plural, &namespace, &name);
    if !gone {
        return;
    }
    cx.metrics.forget_canary(&namespace, &name);
    cx.complaints
        .settle(object.metadata.uid.as_deref().unwrap_or_default());
    cx.cluster.forget(Kind::CANARY, &namespace, &name);
    cx.index.forget(&(namespace, name));
}

fn place(object: &DynamicObject) -> Id {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    (part(&object.metadata.namespace), part(&object.metadata.name))
}

/// Takes away what no decision reads.
fn trim(object: &mut DynamicObject) {
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// True when the API server serves a resource.
async fn serves(client: &Client, kind: Kind) -> bool {
    let version = format!("{}/{}", kind.group, kind.version);
    match client.list_api_group_resources(&version).await {
        Ok(list) => list.resources.iter().any(|one| one.name == kind.plural),
        Err(error) => {
            tracing::debug!("{version} is not served: {error}");
            false
        }
    }
}

impl Watches {
    /// Keeps a cache of one kind, and wakes the Canaries an object belongs to whenever it changes.
    fn keep(&mut self, kind: Kind) -> Store<DynamicObject> {
        let api = kind.api_in(&self.client, self.namespace.as_deref());
        let writer = reflector::store::Writer::new(kind.resource());
        let reader = writer.as_reader();
        let stream = watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(move |object| {
                trim(object);
                if matches!(kind, Kind::HPA | Kind::SCALED_OBJECT)
                    && let Some(data) = object.data.as_object_mut()
                {
                    // Written every few seconds, read by no decision.
                    data.remove("status");
                }
            })
            .reflect(writer);
        let (alarm, cluster) = (self.alarm.clone(), Arc::clone(&self.cluster));
        self.tasks.spawn(async move {
            let mut stream = std::pin::pin!(stream);
            let mut seen = Seen::default();
            loop {
                match stream.try_next().await {
                    Ok(Some(event)) => {
                        if let Event::Delete(object) = &event
                            && let Ok(object) = to_value(kind.kind, object)
                        {
                            cluster.gone(kind, &object);
                        }
                        for (namespace, name) in seen.changed(&event) {
                            alarm.ring(kind.plural, &namespace, &name);
                        }
                    }
                    Ok(None) => return Err(format!("the watch of {} ended", kind.plural)),
                    Err(error) => tracing::warn!(kind = kind.kind, "watch failed, trying again: {error}"),
                }
            }
        });
        reader
    }
}

/// Digests of what was seen, so that an event that changes nothing we keep wakes nobody.
#[derive(Default)]
struct Seen {
    digests: HashMap<Id, u64>,
    listing: HashMap<Id, u64>,
}

impl Seen {
    /// The objects an event changes.
    fn changed(&mut self, event: &Event<DynamicObject>) -> Vec<Id> {
        match event {
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                let (place, digest) = (place(object), digest(object));
                let news = self.digests.get(&place) != Some(&digest);
                self.listing.insert(place.clone(), digest);
                if news { vec![place] } else { Vec::new() }
            }
            Event::InitDone => {
                let fresh = std::mem::take(&mut self.listing);
                let old = std::mem::replace(&mut self.digests, fresh);
                old.into_keys()
                    .filter(|place| !self.digests.contains_key(place))
                    .collect()
            }
            Event::Apply(object) => {
                let (place, digest) = (place(object), digest(object));
                let news = self.digests.insert(place.clone(), digest) != Some(digest);
                if news { vec![place] } else { Vec::new() }
            }
            Event::Delete(object) => {
                let place = place(object);
                self.digests.remove(&place);
                vec![place]
            }
        }
    }
}

/// A digest of an object but for its resourceVersion.
fn digest(object: &DynamicObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut metadata = object.metadata.clone();
    metadata.resource_version = None;
    let metadata = serde_json::to_string(&metadata).unwrap_or_default();
    metadata.hash(&mut hasher);
    object.data.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: &str, data: i64) -> DynamicObject {
        let value = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "ns", "name": name, "resourceVersion": version},
            "spec": {"n": data},
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_event_that_changes_nothing_wakes_nobody() {
        let mut seen = Seen::default();
        let id = |name: &str| ("ns".to_owned(), name.to_owned());
        let table = [
            (Event::Init, vec![]),
            (Event::InitApply(object("a", "1", 1)), vec![id("a")]),
            (Event::InitApply(object("b", "1", 1)), vec![id("b")]),
            (Event::InitDone, vec![]),
            (Event::Apply(object("a", "2", 1)), vec![]),
            (Event::Apply(object("a", "3", 2)), vec![id("a")]),
            (Event::Delete(object("a", "4", 2)), vec![id("a")]),
            (Event::Apply(object("a", "5", 2)), vec![id("a")]),
            (Event::Init, vec![]),
            (Event::InitApply(object("a", "5", 2)), vec![]),
            // `b` vanished while nobody watched.
            (Event::InitDone, vec![id("b")]),
        ];
        for (event, expected) in table {
            assert_eq!(seen.changed(&event), expected, "{event:?}");
        }
    }

    #[test]
    fn caches_keep_what_is_read() {
        let mut object = object("a", "1", 1);
        object.metadata.managed_fields = Some(Vec::new());
        object.metadata.annotations = Some(
            [
                (LAST_APPLIED.to_owned(), "{}".to_owned()),
                ("kept".to_owned(), "x".to_owned()),
            ]
            .into(),
        );
        trim(&mut object);
        assert!(object.metadata.managed_fields.is_none());
        assert_eq!(object.metadata.annotations.unwrap().len(), 1);
    }
}
