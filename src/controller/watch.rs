//! Watches: which change wakes which Canary, and the caches decisions read.
#![expect(clippy::disallowed_types, reason = "shell: watches through a client")]

use std::future::Future;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::{StreamExt as _, future, stream};
use kube::Client;
use kube::api::DynamicObject;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, controller};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Kind, to_value};
use crate::lease::Leadership;
use crate::net::outbound::Outbound;
use crate::telemetry::Metrics;
use crate::workload::config::ConfigKind;

use super::cache::{self, News};
use super::complain::Complaints;
use super::index::{Id, Index};
use super::sums::Sums;
use super::{Config, Context, configwatch, flagger, reconcile, retry};

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

/// Wakes Canaries.
#[derive(Clone)]
pub(super) struct Alarm {
    index: Arc<Index>,
    wake: mpsc::UnboundedSender<ObjectRef<DynamicObject>>,
}

impl Alarm {
    /// Wakes the Canaries that read an object.
    pub(super) fn ring(&self, plural: &'static str, namespace: &str, name: &str) {
        for canary in self.index.interested(plural, namespace, name) {
            self.wake(&canary);
        }
    }

    fn wake(&self, (namespace, name): &Id) {
        let canary = ObjectRef::new_with(name, Kind::CANARY.resource()).within(namespace);
        // The other end closes when the controller stops.
        let _ = self.wake.unbounded_send(canary);
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

impl Watches {
    /// Keeps a cache of one kind, and wakes the Canaries an object matters to.
    fn keep(&mut self, kind: Kind) -> Store<DynamicObject> {
        let (alarm, cluster) = (self.alarm.clone(), Arc::clone(&self.cluster));
        let hear = move |news: News<'_>| {
            let (namespace, name) = match news {
                News::Changed(place) | News::Gone(place, None) => place,
                News::Gone(place, Some(object)) => {
                    if let Ok(object) = to_value(kind.kind, object) {
                        cluster.gone(kind, &object);
                    }
                    place
                }
            };
            alarm.ring(kind.plural, namespace, name);
        };
        let api = kind.api_in(&self.client, self.namespace.as_deref());
        let (store, task) = cache::keep(kind, api, hear);
        self.tasks.spawn(task);
        store
    }

    /// Keeps the Canaries, wakes each that changes and those that wait for it, and forgets those that are gone.
    fn keep_canaries(&mut self, metrics: Arc<Metrics>, complaints: Arc<Complaints>) -> Store<DynamicObject> {
        let kind = Kind::CANARY;
        let (alarm, cluster) = (self.alarm.clone(), Arc::clone(&self.cluster));
        let hear = move |news: News<'_>| {
            let place = match news {
                News::Changed(place) => {
                    alarm.wake(place);
                    place
                }
                News::Gone(place, _) => {
                    let (namespace, name) = place;
                    metrics.forget_canary(namespace, name);
                    complaints.settle(place);
                    cluster.forget(kind, namespace, name);
                    alarm.index.forget(place);
                    place
                }
            };
            alarm.ring(kind.plural, &place.0, &place.1);
        };
        let api = kind.api_in(&self.client, self.namespace.as_deref());
        let (store, task) = cache::keep(kind, api, hear);
        self.tasks.spawn(task);
        store
    }
}

/// Runs the controller until `stop` resolves; in-flight passes are finished. Caches are kept warm whoever leads; passes
/// are made while this replica does.
///
/// Ends early with a message only when a watch task dies, which is a broken invariant.
pub async fn run(
    client: Client,
    config: Config,
    outbound: Outbound,
    metrics: Arc<Metrics>,
    leadership: Leadership,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) -> Result<(), String> {
    let (wake, woken) = mpsc::unbounded::<ObjectRef<DynamicObject>>();
    let (index, sums) = (Arc::new(Index::default()), Arc::new(Sums::default()));
    let complaints = Arc::new(Complaints::default());
    let mut watches = Watches {
        client: client.clone(),
        namespace: config.namespace.clone(),
        cluster: Arc::new(Cluster::led(client.clone(), leadership.clone())),
        alarm: Alarm {
            index: Arc::clone(&index),
            wake,
        },
        tasks: JoinSet::new(),
    };
    let caches = Caches {
        canaries: watches.keep_canaries(Arc::clone(&metrics), Arc::clone(&complaints)),
        deployments: watches.keep(Kind::DEPLOYMENT),
        daemon_sets: watches.keep(Kind::DAEMON_SET),
        services: watches.keep(Kind::SERVICE),
        autoscalers: watches.keep(Kind::HPA),
        scaled_objects: serves(&client, Kind::SCALED_OBJECT)
            .await
            .then(|| watches.keep(Kind::SCALED_OBJECT)),
    };
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
        mut tasks,
        cluster,
        alarm,
        ..
    } = watches;
    tasks.spawn(take_office(leadership.clone(), alarm, caches.canaries.clone()));

    let (stopped, stop_twice) = watch::channel(false);
    tasks.spawn(async move {
        stop.await;
        let _ = stopped.send(true);
        future::pending().await
    });
    let mut stop_before_sync = stop_twice.clone();
    tokio::select! {
        () = warm(&caches) => {}
        _ = stop_before_sync.wait_for(|stopped| *stopped) => return Ok(()),
    }
    tracing::info!("caches are warm; the controller starts");

    let canaries = caches.canaries.clone();
    let loop_config = controller::Config::default().concurrency(config.concurrency);
    let context = Arc::new(Context {
        cluster,
        caches,
        outbound,
        config,
        metrics,
        leadership,
        index,
        sums,
        flagger: flagger::Check::default(),
        complaints,
    });
    let mut stop_loop = stop_twice.clone();
    let shutdown = async move {
        let _ = stop_loop.wait_for(|stopped| *stopped).await;
    };
    // Every wake, of Canaries themselves too, comes through the alarm.
    let running = Controller::for_stream_with(stream::pending(), canaries, Kind::CANARY.resource())
        .with_config(loop_config)
        .reconcile_on(woken)
        .graceful_shutdown_on(shutdown)
        .run(reconcile, |object, error, cx| retry(&object, error, &cx), context)
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

/// Looks at every Canary whenever this replica comes to lead: what woke them before then was not for it.
async fn take_office(
    leadership: Leadership,
    alarm: Alarm,
    canaries: Store<DynamicObject>,
) -> Result<(), String> {
    loop {
        leadership.gained().await;
        for canary in canaries.state() {
            let part = |text: &Option<String>| text.clone().unwrap_or_default();
            alarm.wake(&(part(&canary.metadata.namespace), part(&canary.metadata.name)));
        }
        leadership.lost().await;
    }
}

/// Waits until every cache holds what there is.
async fn warm(caches: &Caches) {
    let stores = [
        &caches.canaries,
        &caches.deployments,
        &caches.daemon_sets,
        &caches.services,
        &caches.autoscalers,
    ];
    for store in stores.into_iter().chain(&caches.scaled_objects) {
        // An error means that the watch is gone, which ends the controller elsewhere.
        let _ = store.wait_until_ready().await;
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
