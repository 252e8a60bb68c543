//! Watches of ConfigMaps and Secrets that carry metadata alone: content is read only where a target names it.
#![expect(clippy::disallowed_types, reason = "shell: watches through a client")]

use std::fmt::Debug;
use std::sync::Arc;

use futures::TryStreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};

use crate::workload::config::ConfigKind;

use super::index::config_kind;
use super::sums::Sums;
use super::watch::Alarm;

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
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    async move {
        let mut stream = std::pin::pin!(stream);
        loop {
            match stream.try_next().await {
                Ok(Some(event)) => note(kind, event, &sums, &alarm),
                Ok(None) => return Err(format!("the watch of {}s ended", kind.as_str())),
                Err(error) => tracing::warn!(kind = kind.as_str(), "watch failed, trying again: {error}"),
            }
        }
    }
    .boxed()
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
    let version = object
        .metadata
        .resource_version
        .as_ref()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    let (namespace, name) = place(object.metadata);
    if sums.saw(kind, &namespace, &name, version, listing) {
        alarm.ring(plural, &namespace, &name);
    }
}
