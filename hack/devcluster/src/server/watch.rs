//! WATCH: a stream of changes from a revision on.
//!
//! Owns: initial events, bookmarks, what a selector makes of a change, the end of the stream. Promises: no change is
//! lost or repeated; a revision that is too old ends with 410 Gone. Never: renders.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: bookmarks and deadlines take time"
)]

use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Cluster;
use super::call::Call;
use super::read::parse_revision;
use super::selector::{Fields, Labels};
use super::status::Failure;
use crate::store::{Event, EventKind, Stored};

/// Seconds between bookmarks; kube-apiserver sends one about every minute.
const BOOKMARK: Duration = Duration::from_secs(30);

/// Query parameters of a WATCH.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatchOptions {
    pub(crate) labels: String,
    pub(crate) fields: String,
    pub(crate) revision: String,
    pub(crate) bookmarks: bool,
    pub(crate) initial: Option<bool>,
    pub(crate) timeout: Option<u64>,
}

/// One line of a watch: `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`, and its object.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) kind: &'static str,
    pub(crate) object: Value,
}

struct Watcher {
    cluster: Cluster,
    call: Call,
    labels: Labels,
    fields: Fields,
    bookmarks: bool,
    /// The end of the initial events is announced with a bookmark.
    announce: bool,
    revision: u64,
    queue: std::collections::VecDeque<Seen>,
    changes: watch::Receiver<u64>,
    deadline: tokio::time::Instant,
    over: bool,
}

impl Cluster {
    pub(crate) fn watch(
        &self,
        call: &Call,
        options: &WatchOptions,
    ) -> Result<BoxStream<'static, Seen>, Failure> {
        let labels = Labels::parse(&options.labels).map_err(Failure::bad_request)?;
        let fields = Fields::parse(&options.fields, &call.kind).map_err(Failure::bad_request)?;
        let from = parse_revision(&options.revision)?;
        // Subscribed before reading, so that nothing falls between.
        let changes = self.store.changes(&call.kind.table);
        let initial = options.initial.unwrap_or(from == 0);
        let seconds = options.timeout.filter(|s| *s > 0).unwrap_or(3600);
        let mut watcher = Watcher {
            cluster: self.clone(),
            call: call.clone(),
            labels,
            fields,
            bookmarks: options.bookmarks,
            announce: options.initial == Some(true) && options.bookmarks,
            revision: from,
            queue: std::collections::VecDeque::new(),
            changes,
            deadline: tokio::time::Instant::now() + Duration::from_secs(seconds),
            over: false,
        };
        let mut existing = Vec::new();
        if initial {
            let namespace = (!call.namespace.is_empty()).then_some(call.namespace.as_str());
            let (objects, revision) = self.store.list(&call.kind.table, namespace);
            existing = objects;
            watcher.revision = revision;
        } else if from == 0 {
            watcher.revision = self.store.revision();
        }
        Ok(stream::once(watcher.start(existing)).flatten().boxed())
    }
}

impl Watcher {
    async fn start(mut self, existing: Vec<Stored>) -> BoxStream<'static, Seen> {
        for stored in &existing {
            if !self.labels.matches(&stored.value) {
                continue;
            }
            match self.cluster.read(&self.call.kind, stored).await {
                Ok(object) if self.fields.matches(&object) => {
                    self.queue.push_back(Seen {
                        kind: "ADDED",
                        object,
                    });
                }
                Ok(_) => {}
                Err(failure) => {
                    self.fail(&failure);
                    break;
                }
            }
        }
        if self.announce && !self.over {
            let mut bookmark = self.bookmark();
            bookmark.object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
            self.queue.push_back(bookmark);
        }
        stream::unfold(self, |mut watcher| async move {
            watcher.next().await.map(|seen| (seen, watcher))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some(seen) = self.queue.pop_front() {
                return Some(seen);
            }
            if self.over {
                return None;
            }
            self.changes.borrow_and_update();
            match self.cluster.store.since(&self.call.kind.table, self.revision) {
                Ok((events, newest)) => {
                    for event in &events {
                        self.take(event).await;
                    }
                    self.revision = self.revision.max(newest);
                }
                Err(compacted) => {
                    let message = format!(
                        "too old resource version: {} ({})",
                        self.revision, compacted.oldest
                    );
                    self.fail(&Failure::expired(message));
                }
            }
            if !self.queue.is_empty() || self.over {
                continue;
            }
            let pause = tokio::time::sleep(BOOKMARK);
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { return None },
                () = pause => if self.bookmarks { return Some(self.bookmark()) },
                () = tokio::time::sleep_until(self.deadline) => {
                    self.over = true;
                    return self.bookmarks.then(|| self.bookmark());
                }
                () = self.cluster.stopped() => return None,
            }
        }
    }

    /// Queues what a change is to this watch.
    async fn take(&mut self, event: &Event) {
        if self.over || event.revision <= self.revision {
            return;
        }
        if !self.call.namespace.is_empty()
            && event.value["metadata"]["namespace"] != self.call.namespace.as_str()
        {
            return;
        }
        let object = match self.cluster.read_value(&self.call.kind, &event.value).await {
            Ok(object) => object,
            Err(failure) => return self.fail(&failure),
        };
        let after = event.kind != EventKind::Deleted && self.matches(&object);
        let before = match &event.previous {
            None => false,
            Some(_) if self.labels.is_empty() && self.fields.is_empty() => true,
            Some(previous) => match self.cluster.read_value(&self.call.kind, &previous.value).await {
                Ok(previous) => self.matches(&previous),
                Err(failure) => return self.fail(&failure),
            },
        };
        let kind = match (before, after) {
            (false, false) => return,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        self.queue.push_back(Seen { kind, object });
    }

    fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    fn bookmark(&self) -> Seen {
        let kind = &self.call.kind;
        Seen {
            kind: "BOOKMARK",
            object: json!({
                "kind": kind.kind,
                "apiVersion": kind.api_version(),
                "metadata": {"resourceVersion": self.revision.to_string(), "creationTimestamp": null},
            }),
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.queue.push_back(Seen {
            kind: "ERROR",
            object: failure.to_value(),
        });
        self.over = true;
    }
}
