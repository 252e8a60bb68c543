//! Watches of ConfigMaps and Secrets that carry metadata alone: content is read only where a target names it.
//!
//! Where they may not be watched, those that Canaries read are asked about one by one, again metadata alone.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: watches through a client, and waits between polls"
)]

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};

use crate::workload::config::ConfigKind;

use super::index::{Id, config_kind};
use super::sums::{POLL, Sums};
use super::watch::Alarm;

/// Objects asked about in a second.
const RATE: usize = 20;

/// Tells `sums` every version, and wakes the Canaries that read what changed. Ends only with the watch.
pub(super) fn follow(
    kind: ConfigKind,
    client: &Client,
    namespace: Option<&str>,
    sums: Arc<Sums>,
    alarm: Alarm,
) -> BoxFuture<'static, Result<(), String>> {
    let client = client.clone();
    match kind {
        ConfigKind::ConfigMap => watched::<ConfigMap>(kind, client, namespace, sums, alarm),
        ConfigKind::Secret => watched::<Secret>(kind, client, namespace, sums, alarm),
    }
}

fn watched<K>(
    kind: ConfigKind,
    client: Client,
    namespace: Option<&str>,
    sums: Arc<Sums>,
    alarm: Alarm,
) -> BoxFuture<'static, Result<(), String>>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + Send
        + 'static,
{
    let api: Api<PartialObjectMeta<K>> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    async move {
        let mut stream = std::pin::pin!(stream);
        let mut refused = false;
        let mut polled = Polled::new();
        // The watch is tried again all the while: rights may be granted later.
        let mut next_poll = tokio::time::Instant::now() + POLL;
        loop {
            let event = tokio::select! {
                event = stream.try_next() => event,
                () = tokio::time::sleep_until(next_poll), if refused => {
                    polled = poll::<K>(kind, &client, &polled, &sums, &alarm).await;
                    next_poll = tokio::time::Instant::now() + POLL;
                    continue;
                }
            };
            match event {
                Ok(Some(event)) => {
                    refused &= !matches!(event, Event::InitDone);
                    note(kind, event, &sums, &alarm);
                }
                Ok(None) => return Err(format!("the watch of {}s ended", kind.as_str())),
                Err(error) => {
                    let Some(why) = refusal(&error) else {
                        tracing::warn!(kind = kind.as_str(), "watch failed, trying again: {error}");
                        continue;
                    };
                    refused = true;
                    if sums.refuse(kind, &why) {
                        tracing::warn!(kind = kind.as_str(), "not watched, polled instead: {why}");
                        next_poll = tokio::time::Instant::now() + POLL;
                        // Those that read one say so in their status.
                        for (namespace, name) in alarm.all_of(config_kind(kind).plural) {
                            alarm.ring(config_kind(kind).plural, &namespace, &name);
                        }
                    }
                }
            }
        }
    }
    .boxed()
}

/// What the API server says when it does not let us watch.
fn refusal(error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
            if status.code == 403 =>
        {
            Some(status.message.clone())
        }
        watcher::Error::WatchError(status) if status.code == 403 => Some(status.message.clone()),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchError(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}

/// The versions a poll found; `None` is an object that does not exist.
type Polled = HashMap<Id, Option<u64>>;

/// Asks about what Canaries read, a few at a time and at most [`RATE`] a second, and wakes those whose config changed
/// since it was `polled` last; on first sight, since it was read.
async fn poll<K>(kind: ConfigKind, client: &Client, polled: &Polled, sums: &Sums, alarm: &Alarm) -> Polled
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + Send
        + 'static,
{
    let plural = config_kind(kind).plural;
    let mut fresh = Polled::new();
    for few in alarm.all_of(plural).chunks(RATE) {
        let asked = few.iter().map(|(namespace, name)| async move {
            let api: Api<PartialObjectMeta<K>> = Api::namespaced(client.clone(), namespace);
            (namespace, name, api.get_opt(name).await)
        });
        for (namespace, name, answer) in join_all(asked).await {
            match answer {
                Ok(found) => {
                    let version = found.map(|object| version(&object.metadata));
                    let place = (namespace.clone(), name.clone());
                    let changed = match polled.get(&place) {
                        Some(last) => *last != version,
                        None => sums.differs(kind, namespace, name, version),
                    };
                    fresh.insert(place, version);
                    if changed {
                        alarm.ring(plural, namespace, name);
                    }
                }
                Err(error) => tracing::debug!(kind = kind.as_str(), "{namespace}/{name} not read: {error}"),
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    fresh
}

fn version(metadata: &ObjectMeta) -> u64 {
    let version = metadata.resource_version.as_ref();
    version.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn note<K>(kind: ConfigKind, event: Event<PartialObjectMeta<K>>, sums: &Sums, alarm: &Alarm) {
    let plural = config_kind(kind).plural;
    let part = |text: Option<String>| text.unwrap_or_default();
    let place = |metadata: ObjectMeta| (part(metadata.namespace), part(metadata.name));
    let (object, listing) = match event {
        Event::Init => return sums.list(kind),
        Event::InitDone => {
            for (namespace, name) in sums.listed(kind) {
                alarm.ring(plural, &namespace, &name);
            }
            return;
        }
        Event::Delete(object) => {
            let (namespace, name) = place(object.metadata);
            sums.gone(kind, &namespace, &name);
            return alarm.ring(plural, &namespace, &name);
        }
        Event::InitApply(object) => (object, true),
        Event::Apply(object) => (object, false),
    };
    let version = version(&object.metadata);
    let (namespace, name) = place(object.metadata);
    if sums.saw(kind, &namespace, &name, version, listing) {
        alarm.ring(plural, &namespace, &name);
    }
}
