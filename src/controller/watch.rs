//! Wakes: which change wakes which Canary.
#![expect(clippy::disallowed_types, reason = "shell: runs on a client")]

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc;
use futures::{StreamExt as _, future, stream};
use kube::Client;
use kube::api::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use kube::runtime::{Controller, controller};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cache::{Caches, News};
use crate::cluster::{Cluster, Kind};
use crate::lease::Leadership;
use crate::net::outbound::Outbound;
use crate::telemetry::Metrics;
use crate::workload::config::ConfigKind;

use super::complain::Complaints;
use super::index::{Id, Index};
use super::sums::Sums;
use super::{Config, Context, configwatch, flagger, reconcile, retry};

/// What must be known before the first pass.
const NEEDED: [Kind; 6] = [
    Kind::CANARY,
    Kind::DEPLOYMENT,
    Kind::DAEMON_SET,
    Kind::SERVICE,
    Kind::HPA,
    Kind::SCALED_OBJECT,
];

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

    /// Namespace and name of every object of a resource that some Canary reads.
    pub(super) fn read(&self, plural: &'static str) -> Vec<(String, String)> {
        self.index.all(plural)
    }

    fn wake(&self, (namespace, name): &Id) {
        let canary = ObjectRef::new_with(name, Kind::CANARY.resource()).within(namespace);
        // The other end closes when the controller stops.
        let _ = self.wake.unbounded_send(canary);
    }
}

/// The names of the Canaries there are: kube's queue runs what it finds here. A pass reads the Canary itself from the
/// caches.
struct Names(Mutex<Writer<DynamicObject>>);

impl Names {
    fn new() -> Self {
        Self(Mutex::new(Writer::new(Kind::CANARY.resource())))
    }

    fn named((namespace, name): &Id) -> DynamicObject {
        DynamicObject::new(name, &Kind::CANARY.resource()).within(namespace)
    }

    /// All there are; news wait meanwhile.
    fn list(&self, all: impl FnOnce() -> Vec<Id>) -> Vec<Id> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all();
        writer.apply_watcher_event(&Event::Init);
        for canary in &all {
            writer.apply_watcher_event(&Event::InitApply(Self::named(canary)));
        }
        writer.apply_watcher_event(&Event::InitDone);
        all
    }

    fn note(&self, event: &Event<DynamicObject>) {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writer.apply_watcher_event(event);
    }
}

/// What the controller does with the news.
struct Ears {
    alarm: Alarm,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    complaints: Arc<Complaints>,
    names: Arc<Names>,
}

impl Ears {
    fn hear(&self, kind: Kind, news: News<'_>) {
        let place = match (kind, news) {
            (Kind::CANARY, News::Changed(place)) => {
                self.names.note(&Event::Apply(Names::named(place)));
                self.metrics.canary_seen(&place.0, &place.1);
                self.alarm.wake(place);
                place
            }
            (Kind::CANARY, News::Gone(place, _)) => {
                let (namespace, name) = place;
                self.names.note(&Event::Delete(Names::named(place)));
                self.metrics.forget_canary(namespace, name);
                self.complaints.settle(place);
                self.cluster.forget(kind, namespace, name);
                self.alarm.index.forget(place);
                place
            }
            (_, News::Changed(place) | News::Gone(place, None)) => place,
            (_, News::Gone(place, Some(object))) => {
                self.cluster.gone(kind, object);
                place
            }
        };
        self.alarm.ring(kind.plural, &place.0, &place.1);
    }
}

/// Runs the controller on caches that somebody else keeps, until `stop` resolves; in-flight passes are finished. Passes
/// are made while this replica leads.
///
/// Ends early with a message only when a watch task dies, which is a broken invariant.
pub async fn run(
    client: Client,
    caches: Caches,
    config: Config,
    outbound: Outbound,
    metrics: Arc<Metrics>,
    leadership: Leadership,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) -> Result<(), String> {
    let (wake, woken) = mpsc::unbounded::<ObjectRef<DynamicObject>>();
    let (index, sums) = (Arc::new(Index::default()), Arc::new(Sums::default()));
    let complaints = Arc::new(Complaints::default());
    let cluster = Arc::new(Cluster::led(client.clone(), leadership.clone()));
    let names = Arc::new(Names::new());
    let alarm = Alarm {
        index: Arc::clone(&index),
        wake,
    };
    let mut tasks: JoinSet<Result<(), String>> = JoinSet::new();
    if config.track_configs {
        for kind in [ConfigKind::ConfigMap, ConfigKind::Secret] {
            let watched = configwatch::follow(
                kind,
                &client,
                config.namespace.as_deref(),
                Arc::clone(&sums),
                alarm.clone(),
            )
            .await;
            tasks.spawn(watched);
        }
    }

    tasks.spawn(take_office(leadership.clone(), alarm.clone(), caches.clone()));

    let (stopped, stop_twice) = watch::channel(false);
    tasks.spawn(async move {
        stop.await;
        let _ = stopped.send(true);
        future::pending().await
    });
    let mut stop_before_sync = stop_twice.clone();
    tokio::select! {
        () = caches.warm(&NEEDED) => {}
        _ = stop_before_sync.wait_for(|stopped| *stopped) => return Ok(()),
    }
    tracing::info!("caches are warm; the controller starts");

    let ears = Ears {
        alarm: alarm.clone(),
        cluster: Arc::clone(&cluster),
        metrics: Arc::clone(&metrics),
        complaints: Arc::clone(&complaints),
        names: Arc::clone(&names),
    };
    let canaries = names.0.lock().unwrap_or_else(PoisonError::into_inner).as_reader();
    // Whoever listens before looking misses nothing.
    let _listening = caches.listen(move |kind, news| ears.hear(kind, news));
    for canary in names.list(|| places(&caches)) {
        metrics.canary_seen(&canary.0, &canary.1);
        alarm.wake(&canary);
    }
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
async fn take_office(leadership: Leadership, alarm: Alarm, caches: Caches) -> Result<(), String> {
    loop {
        leadership.gained().await;
        for canary in places(&caches) {
            alarm.wake(&canary);
        }
        leadership.lost().await;
    }
}

/// Where the Canaries are.
fn places(caches: &Caches) -> Vec<Id> {
    let part = |canary: &Value, key: &str| canary["metadata"][key].as_str().unwrap_or_default().to_owned();
    let all = caches.all(Kind::CANARY);
    all.iter()
        .map(|canary| (part(canary, "namespace"), part(canary, "name")))
        .collect()
}
