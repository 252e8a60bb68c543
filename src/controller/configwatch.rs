//! Watches of ConfigMaps and Secrets that carry metadata alone: content is read only where a target names it.
//!
//! To watch a kind is to be allowed to list it, and a list of all Secrets is a right few will give. Without it the
//! Secrets that targets read are asked for by name, every [`LOOK`].
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: watches through a client, waits between looks"
)]

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::workload::config::ConfigKind;

use super::index::config_kind;
use super::sums::Sums;
use super::watch::Alarm;

/// How often what may not be watched is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(30);

/// Tells `sums` every version, and wakes the Canaries that read what changed. Ends only with the watch.
pub(super) async fn follow(
    kind: ConfigKind,
    client: &Client,
    namespace: Option<&str>,
    sums: Arc<Sums>,
    alarm: Alarm,
) -> BoxFuture<'static, Result<(), String>> {
    let client = client.clone();
    let plural = config_kind(kind).plural;
    if !may_watch(&client, plural, namespace).await {
        tracing::info!("{plural} may not be watched; those that targets read are looked at every {LOOK:?}");
        sums.refuse(kind);
        return match kind {
            ConfigKind::ConfigMap => looked_at::<ConfigMap>(kind, client, sums, alarm),
            ConfigKind::Secret => looked_at::<Secret>(kind, client, sums, alarm),
        };
    }
    match kind {
        ConfigKind::ConfigMap => watched::<ConfigMap>(kind, client, namespace, sums, alarm),
        ConfigKind::Secret => watched::<Secret>(kind, client, namespace, sums, alarm),
    }
}

/// Asks the API server whether this process may list and watch a core resource. When it cannot say, the watch will.
async fn may_watch(client: &Client, plural: &str, namespace: Option<&str>) -> bool {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    for verb in ["list", "watch"] {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: namespace.map(str::to_owned),
                    resource: Some(plural.to_owned()),
                    verb: Some(verb.to_owned()),
                    version: Some("v1".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        match reviews.create(&PostParams::default(), &review).await {
            Ok(answer) => {
                if !answer.status.is_some_and(|status| status.allowed) {
                    return false;
                }
            }
            Err(error) => {
                tracing::debug!("the API server does not say whether {plural} may be watched: {error}");
                return true;
            }
        }
    }
    true
}

/// Looks at the metadata of what targets read, and wakes the Canaries that read what changed.
fn looked_at<K>(
    kind: ConfigKind,
    client: Client,
    sums: Arc<Sums>,
    alarm: Alarm,
) -> BoxFuture<'static, Result<(), String>>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let plural = config_kind(kind).plural;
    async move {
        let mut last: HashMap<(String, String), Option<u64>> = HashMap::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let read = alarm.read(plural);
            last.retain(|place, _| read.contains(place));
            for place in read {
                let (namespace, name) = &place;
                let api: Api<K> = Api::namespaced(client.clone(), namespace);
                let version = match api.get_metadata_opt(name).await {
                    Ok(found) => found.map(|found| version(&found.metadata)),
                    Err(error) => {
                        tracing::warn!(kind = kind.as_str(), "{name}.{namespace} cannot be read: {error}");
                        continue;
                    }
                };
                let changed = match last.insert(place.clone(), version) {
                    Some(before) => before != version,
                    None => sums.differs(kind, namespace, name, version),
                };
                if changed {
                    alarm.ring(plural, namespace, name);
                }
            }
        }
    }
    .boxed()
}

fn version(metadata: &ObjectMeta) -> u64 {
    let text = metadata.resource_version.as_deref();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
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
    let version = version(&object.metadata);
    let (namespace, name) = place(object.metadata);
    if sums.saw(kind, &namespace, &name, version, listing) {
        alarm.ring(plural, &namespace, &name);
    }
}
