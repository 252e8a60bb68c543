//! One watched kind: list and watch into its store, and word of what changed.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: watches through a client, waits by the clock"
)]

use std::time::Duration;

use futures::TryStreamExt as _;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde_json::Value;

use super::object::{Object, trimmed};
use super::{Caches, Kind, News};

/// How often an API server is asked whether it serves a kind by now.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Follows a kind for ever; the reason, when it ends all the same.
pub(super) async fn follow(caches: &Caches, kind: Kind, api: Api<Object>, config: watcher::Config) -> String {
    let mut followed = Follower::new(caches, kind, api, config);
    loop {
        if let Err(Lost::Ended) = followed.step().await {
            return format!("the watch of {} ended", kind.plural);
        }
    }
}

/// Follows a kind while it is served; before and after, it is known that there are no such objects.
pub(super) async fn follow_if_served(
    caches: &Caches,
    client: &Client,
    kind: Kind,
    api: Api<Object>,
    config: watcher::Config,
) -> String {
    loop {
        match serves(client, kind).await {
            Some(true) => {
                let mut followed = Follower::new(caches, kind, api.clone(), config.clone());
                loop {
                    match followed.step().await {
                        Err(Lost::Ended) => return format!("the watch of {} ended", kind.plural),
                        Err(Lost::Failed) if serves(client, kind).await == Some(false) => break,
                        Ok(()) | Err(Lost::Failed) => {}
                    }
                }
                tracing::info!(kind = kind.kind, "no longer served");
            }
            Some(false) => replace(caches, kind, Vec::new()),
            None => {}
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Whether the API server serves a resource; `None` when it does not say.
async fn serves(client: &Client, kind: Kind) -> Option<bool> {
    let version = format!("{}/{}", kind.group, kind.version);
    match client.list_api_group_resources(&version).await {
        Ok(list) => Some(list.resources.iter().any(|one| one.name == kind.plural)),
        Err(error) if is_unserved(&error) => Some(false),
        Err(error) => {
            tracing::warn!("{version} cannot be discovered, asking again: {error}");
            None
        }
    }
}

/// True when a whole API group is unknown. The API server says so in plain text, without a `Status` and its reason.
fn is_unserved(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// A step of a watch that brought nothing.
enum Lost {
    /// It will be tried again.
    Failed,
    /// There is no watch any more.
    Ended,
}

/// A watch, and the list it is reading.
struct Follower<'a> {
    caches: &'a Caches,
    kind: Kind,
    events: futures::stream::BoxStream<'static, watcher::Result<Event<Object>>>,
    listing: Vec<Value>,
    complained: String,
}

impl<'a> Follower<'a> {
    fn new(caches: &'a Caches, kind: Kind, api: Api<Object>, config: watcher::Config) -> Self {
        Self {
            caches,
            kind,
            events: Box::pin(watcher(api, config).default_backoff()),
            listing: Vec::new(),
            complained: String::new(),
        }
    }

    async fn step(&mut self) -> Result<(), Lost> {
        match self.events.try_next().await {
            Ok(Some(event)) => {
                self.note(event);
                Ok(())
            }
            Ok(None) => Err(Lost::Ended),
            Err(error) => {
                let text = error.to_string();
                if text != self.complained {
                    tracing::warn!(kind = self.kind.kind, "watch failed, trying again: {text}");
                    self.complained = text;
                }
                Err(Lost::Failed)
            }
        }
    }

    /// A list is taken over when it is complete, and is news no earlier.
    fn note(&mut self, event: Event<Object>) {
        let (caches, kind) = (self.caches, self.kind);
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => self.listing.push(trimmed(kind, object.value)),
            Event::InitDone => {
                self.complained.clear();
                replace(caches, kind, std::mem::take(&mut self.listing));
            }
            Event::Apply(object) => {
                let put = caches
                    .store(kind)
                    .map(|store| store.put(trimmed(kind, object.value)));
                if let Some(place) = put.flatten() {
                    caches.0.ear.tell(kind, News::Changed(&place));
                }
            }
            Event::Delete(object) => {
                if let Some(store) = caches.store(kind) {
                    let place = store.remove(&object.value);
                    caches.0.ear.tell(kind, News::Gone(&place, Some(&object.value)));
                }
            }
        }
    }
}

fn replace(caches: &Caches, kind: Kind, list: Vec<Value>) {
    let Some(store) = caches.store(kind) else { return };
    let difference = store.replace(list);
    for place in &difference.changed {
        caches.0.ear.tell(kind, News::Changed(place));
    }
    for place in &difference.gone {
        caches.0.ear.tell(kind, News::Gone(place, None));
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_group_nobody_serves_is_known_to_be_absent() {
        let said =
            |reason: &str, code| kube::Error::Api(Status::failure("said", reason).with_code(code).boxed());
        assert!(is_unserved(&said("Failed to parse error data", 404)));
        assert!(is_unserved(&said("NotFound", 404)));
        for (reason, code) in [("Forbidden", 403), ("Failed to parse error data", 503)] {
            assert!(!is_unserved(&said(reason, code)), "{reason}");
        }
    }
}
