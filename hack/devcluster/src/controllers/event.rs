//! Events about objects, as `kubectl describe` shows them; the same words again raise the count of the first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::drive::now;
use super::object::{EVENTS, name, namespace, stamp, uid, version};
use crate::client::Client;

/// Writes events in the name of one component.
#[derive(Clone)]
pub(crate) struct Recorder {
    client: Client,
    component: &'static str,
    seen: Arc<Mutex<HashMap<String, (String, u64)>>>,
}

/// Remembered repetitions before the memory starts afresh.
const MEMORY: usize = 4096;

impl Recorder {
    pub(crate) fn new(client: Client, component: &'static str) -> Self {
        Self {
            client,
            component,
            seen: Arc::default(),
        }
    }

    pub(crate) async fn normal(
        &self,
        (api_version, kind): (&str, &str),
        object: &Value,
        reason: &str,
        message: &str,
    ) {
        self.record((api_version, kind), object, "Normal", reason, message)
            .await;
    }

    pub(crate) async fn warning(
        &self,
        (api_version, kind): (&str, &str),
        object: &Value,
        reason: &str,
        message: &str,
    ) {
        self.record((api_version, kind), object, "Warning", reason, message)
            .await;
    }

    async fn record(
        &self,
        (api_version, kind): (&str, &str),
        object: &Value,
        level: &str,
        reason: &str,
        message: &str,
    ) {
        let time = stamp(now());
        let space = match namespace(object) {
            "" => "default",
            space => space,
        };
        let words = format!("{}/{level}/{reason}/{message}", uid(object));
        let (event, count) = self.remember(words, name(object));
        let answer = if count > 1 {
            let patch = json!({"count": count, "lastTimestamp": time});
            self.client.merge(EVENTS, "", space, &event, patch).await
        } else {
            let event = json!({
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": event, "namespace": space},
                "involvedObject": {
                    "apiVersion": api_version,
                    "kind": kind,
                    "namespace": namespace(object),
                    "name": name(object),
                    "uid": uid(object),
                    "resourceVersion": version(object),
                },
                "type": level,
                "reason": reason,
                "message": message,
                "source": {"component": self.component},
                "reportingComponent": self.component,
                "reportingInstance": "",
                "firstTimestamp": time,
                "lastTimestamp": time,
                "count": 1,
                "eventTime": null,
            });
            self.client.create(EVENTS, space, event).await
        };
        if let Err(error) = answer {
            tracing::debug!(%error, reason, "event not written");
        }
    }

    fn remember(&self, words: String, subject: &str) -> (String, u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MEMORY {
            seen.clear();
        }
        let (event, count) = seen.entry(words).or_insert_with(|| {
            let suffix = uuid::Uuid::new_v4().simple().to_string();
            (format!("{subject}.{}", &suffix[..16]), 0)
        });
        *count += 1;
        (event.clone(), *count)
    }
}
