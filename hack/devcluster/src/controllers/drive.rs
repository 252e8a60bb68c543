//! The loop every controller runs in: watches wake keys, one key is reconciled at a time, a failure is tried
//! again later and later.
//!
//! Owns: the queue, the timers, the retries. Promises: a key woken while it is being reconciled is reconciled
//! once more; many wakes of a waiting key are one. Never: polls, or reads the clock for a decision.

#![expect(
    clippy::disallowed_methods,
    reason = "shell: the clock, and the wait until the next key is due"
)]

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, SelectAll};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::object::Key;
use crate::client::{ApiError, Change, Client, Resource};

/// What one reconciliation asks for: to be called again after a while, or not.
pub(crate) type Outcome = Result<Option<Duration>, ApiError>;

/// Which keys a changed object of a kind wakes.
pub(crate) struct Trigger {
    pub(crate) resource: Resource,
    pub(crate) keys: fn(&Value) -> Vec<Key>,
}

impl Trigger {
    /// The object wakes itself.
    pub(crate) fn own(resource: Resource) -> Self {
        Self {
            resource,
            keys: |object| vec![Key::of(object)],
        }
    }
}

const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Runs the controller of a kind for as long as its watches live.
pub(crate) async fn drive(
    client: Client,
    resource: Resource,
    triggers: Vec<Trigger>,
    reconcile: impl Fn(Key) -> BoxFuture<'static, Outcome> + Send,
) {
    let mut changes: SelectAll<BoxStream<'static, Vec<Key>>> = triggers
        .into_iter()
        .map(|Trigger { resource, keys }| {
            client
                .watch(resource)
                .map(move |change| match change {
                    Change::Applied(object) | Change::Deleted(object) => keys(&object),
                })
                .boxed()
        })
        .collect();
    let (wake, woken) = mpsc::unbounded_channel();
    let pump = async move {
        while let Some(keys) = changes.next().await {
            for key in keys {
                if wake.send(key).is_err() {
                    return;
                }
            }
        }
    };
    tokio::join!(pump, work(&client, resource, woken, reconcile));
}

async fn work(
    client: &Client,
    resource: Resource,
    mut woken: mpsc::UnboundedReceiver<Key>,
    reconcile: impl Fn(Key) -> BoxFuture<'static, Outcome> + Send,
) {
    let mut due: BTreeMap<Key, Instant> = BTreeMap::new();
    let mut failures: HashMap<Key, u32> = HashMap::new();
    loop {
        let next = due
            .iter()
            .min_by_key(|(_, at)| **at)
            .map(|(key, at)| (key.clone(), *at));
        let key = tokio::select! {
            biased;
            key = woken.recv() => {
                let Some(key) = key else { return };
                let now = Instant::now();
                let at = due.entry(key).or_insert(now);
                *at = now.min(*at);
                continue;
            }
            key = async {
                match next {
                    Some((key, at)) => {
                        tokio::time::sleep_until(at).await;
                        key
                    }
                    None => std::future::pending().await,
                }
            } => key,
        };
        due.remove(&key);
        let outcome = if key.is_all() {
            let all = client.list(resource, &key.namespace, "").await;
            all.map(|all| {
                due.extend(all.iter().map(|object| (Key::of(object), Instant::now())));
                None
            })
        } else {
            reconcile(key.clone()).await
        };
        match outcome {
            Ok(again) => {
                failures.remove(&key);
                if let Some(after) = again {
                    due.insert(key, Instant::now() + after);
                }
            }
            Err(error) => {
                let failed = failures.entry(key.clone()).or_default();
                let wait = FIRST_RETRY.saturating_mul(1 << (*failed).min(16)).min(LAST_RETRY);
                *failed += 1;
                tracing::debug!(controller = resource.plural, ?key, %error, ?wait, "reconcile failed");
                due.insert(key, Instant::now() + wait);
            }
        }
    }
}

/// A missing object is no error: what was asked of it has no object any more.
pub(crate) fn found<T>(result: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The wall clock, for times that are written into objects.
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::super::object::PODS;
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn failures_are_retried_and_wakes_are_merged() {
        let client: Client = Arc::new(super::super::fake::Fake::default());
        let (wake, woken) = mpsc::unbounded_channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        for key in ["a", "b", "a", "a"] {
            wake.send(Key::new("ns", key)).unwrap();
        }
        drop(wake);
        // The queue closes only after everything already woken was taken in; `a` fails once.
        let (done, finished) = tokio::sync::oneshot::channel::<()>();
        let done = Mutex::new(Some(done));
        let (again, woken_again) = mpsc::unbounded_channel();
        let mut woken = woken;
        while let Some(key) = woken.recv().await {
            again.send(key).unwrap();
        }
        let worker = work(&client, PODS, woken_again, move |key| {
            let mut log = log.lock().unwrap();
            log.push(key.name.clone());
            let outcome = match (key.name.as_str(), log.len()) {
                ("a", 1) => Err(ApiError {
                    code: 409,
                    reason: "Conflict".into(),
                    message: String::new(),
                }),
                _ => Ok(None),
            };
            if log.len() == 3 {
                done.lock().unwrap().take().unwrap().send(()).unwrap();
            }
            Box::pin(async { outcome })
        });
        tokio::select! {
            () = worker => {}
            _ = finished => {}
        }
        assert_eq!(*seen.lock().unwrap(), ["a", "b", "a"]);
    }
}
