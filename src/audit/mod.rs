//! SHELL of policies: keeps what is in force ([`watch`]), and what the cluster as it is makes of it (`sweep`).
//!
//! Owns: the watches of CanaryPolicies and Namespaces, and `status` of every CanaryPolicy. Promises: a change of a
//! policy is in force as soon as the watch tells it; a cluster without the CRD has no policies, and that is an answer;
//! the same code judges here as at admission. Never: a write to anything but that status.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: talks to the API server, by the clock"
)]

mod status;
mod sweep;
mod table;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::watch;

use crate::cluster::Kind;
use crate::lease::Leadership;
use crate::policy::{Current, Set, Shared};
use crate::telemetry::Metrics;

use table::Table;

/// How long the cluster goes without being looked through.
const PERIOD: Duration = Duration::from_mins(10);
/// Changes within this are one change.
const QUIET: Duration = Duration::from_secs(1);
/// After a sweep that failed.
const AGAIN: Duration = Duration::from_secs(30);

/// Policies in force, and word of their changes.
pub struct Keeper {
    client: Client,
    shared: Arc<Shared>,
    news: watch::Sender<u64>,
}

/// Who looks the cluster through, and how.
pub struct Auditor {
    client: Client,
    shared: Arc<Shared>,
    news: watch::Receiver<u64>,
    metrics: Arc<Metrics>,
    /// The provider of Canaries that name none.
    provider: String,
}

/// A keeper of `shared`, and the auditor that hears its news.
pub fn pair(
    client: &Client,
    shared: &Arc<Shared>,
    metrics: Arc<Metrics>,
    provider: &str,
) -> (Keeper, Auditor) {
    let (sender, news) = watch::channel(0);
    let keeper = Keeper {
        client: client.clone(),
        shared: Arc::clone(shared),
        news: sender,
    };
    let auditor = Auditor {
        client: client.clone(),
        shared: Arc::clone(shared),
        news,
        metrics,
        provider: provider.to_owned(),
    };
    (keeper, auditor)
}

impl Keeper {
    /// Watches until the process ends; `listed` is called once policies and namespaces have been listed. Ends only
    /// when a watch does, which is a broken invariant.
    pub async fn keep(self, listed: impl FnOnce() + Send) -> Result<(), String> {
        let stream = |kind: Kind| {
            let api: Api<DynamicObject> = kind.api_in(&self.client, None);
            watcher(api, watcher::Config::default()).default_backoff().boxed()
        };
        let (mut policies, mut namespaces) = (stream(Kind::CANARY_POLICY), stream(Kind::NAMESPACE));
        let (mut rules, mut places) = (Table::of_policies(), Table::of_namespaces());
        let mut set: Option<Arc<Set>> = None;
        let mut listed = Some(listed);
        loop {
            let changed = tokio::select! {
                Some(event) = policies.next() => {
                    let changed = heard(event, &mut rules, Kind::CANARY_POLICY);
                    if changed && rules.is_complete() {
                        let objects: Vec<Value> = rules.objects().map(|object| (**object).clone()).collect();
                        set = Some(Arc::new(Set::lenient(&objects)));
                    }
                    changed
                }
                Some(event) = namespaces.next() => heard(event, &mut places, Kind::NAMESPACE),
                else => return Err("the watches of policies ended".to_owned()),
            };
            if !changed {
                continue;
            }
            let current = Current {
                set: set.clone(),
                namespaces: places.is_complete().then(|| Arc::new(places.by_name())),
            };
            let complete = current.is_complete();
            self.shared.replace(current);
            if complete {
                if let Some(listed) = listed.take() {
                    listed();
                }
                self.news.send_modify(|count| *count += 1);
            }
        }
    }
}

/// Takes an event in; true when something that matters changed.
fn heard(event: watcher::Result<watcher::Event<DynamicObject>>, table: &mut Table, kind: Kind) -> bool {
    match event {
        Ok(event) => table.note(event),
        Err(error) => {
            // Nobody installed the CRD: there are no policies.
            if let watcher::Error::InitialListFailed(kube::Error::Api(status)) = &error
                && status.is_not_found()
            {
                tracing::debug!(kind = kind.kind, "not served: {error}");
                return table.nothing();
            }
            tracing::warn!(kind = kind.kind, "watch failed, trying again: {error}");
            false
        }
    }
}

impl Auditor {
    /// Looks the cluster through after each change of a policy or of a namespace's labels, and every ten minutes, while
    /// this process leads; until the process ends.
    pub async fn audit(mut self, leadership: Leadership) {
        loop {
            leadership.gained().await;
            tokio::select! {
                biased;
                () = leadership.lost() => {}
                () = self.lead() => return,
            }
        }
    }

    /// Ends when nobody keeps the policies any more.
    async fn lead(&mut self) {
        loop {
            self.news.mark_unchanged();
            let current = self.shared.current();
            let mut pause = PERIOD;
            if let Some(set) = current.set.as_ref().filter(|_| current.is_complete())
                && let Err(error) =
                    sweep::sweep(&self.client, set, &current, &self.provider, &self.metrics).await
            {
                tracing::warn!("the audit of policies failed, trying again: {error}");
                pause = AGAIN;
            }
            match tokio::time::timeout(pause, self.news.changed()).await {
                Ok(Ok(())) => tokio::time::sleep(QUIET).await,
                Ok(Err(_)) => return,
                Err(_) => {}
            }
        }
    }
}
