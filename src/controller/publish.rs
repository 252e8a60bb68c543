//! Publish: events, log lines, event hooks and alerts, after the fact and best effort.
#![expect(clippy::disallowed_methods, reason = "shell: stamps events with the time")]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::{ClusterError, Kind};
use crate::hook;
use crate::model::canary::{Canary, Hook, HookKind};
use crate::model::notice::{Notice, Reason, Severity};
use crate::model::revision;
use crate::model::status::{Stage, Status, seconds};
use crate::rollout::checksum;
use crate::rollout::plan::Announcement;
use crate::rollout::question::Answer;

use super::{Context, alert, answer};

/// Longest event message Kubernetes takes, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Says everything, in order.
pub(crate) async fn publish(
    said: &[Announcement],
    canary: &Canary,
    status: &Status,
    wire: &Value,
    cx: &Context,
) {
    let checksum = checksum(status);
    let mut hooks_go_on = true;
    for announcement in said {
        match announcement {
            Announcement::Notice(notice) => say(notice, canary, status.stage, &checksum, wire, cx).await,
            Announcement::PostRollout { hook, phase } => {
                let Some(hook) = canary.analysis.hooks.get(*hook).filter(|_| hooks_go_on) else {
                    continue;
                };
                let notice = match answer::call(hook, *phase, &checksum, canary, cx).await {
                    Answer::Refused(text) | Answer::Error(text) | Answer::NoValues(text) => {
                        hooks_go_on = false;
                        Notice::warning(
                            Reason::HookFailed,
                            format!("Post-rollout hook {} failed {text}", hook.name),
                        )
                    }
                    Answer::Passed | Answer::Value(_) => Notice::info(
                        Reason::HookPassed,
                        format!("Post-rollout check {} passed", hook.name),
                    ),
                };
                say(
                    &notice.in_phase(*phase),
                    canary,
                    status.stage,
                    &checksum,
                    wire,
                    cx,
                )
                .await;
            }
        }
    }
}

/// An event, a log line, a call of every event hook, and the alert that goes with it.
async fn say(notice: &Notice, canary: &Canary, stage: Stage, checksum: &str, wire: &Value, cx: &Context) {
    tell(notice, wire, cx).await;
    let phase = notice.phase.unwrap_or(stage);
    let own: Vec<&Hook> = canary
        .analysis
        .hooks_of(HookKind::Event)
        .map(|(_, hook)| hook)
        .collect();
    let global = cx.config.event_webhook.as_deref().filter(|_| own.is_empty());
    let global = global.map(global_hook);
    for one in own.into_iter().chain(&global) {
        let metadata = hook::event_metadata(
            one,
            &notice.text,
            notice.severity,
            Timestamp::now().as_millisecond(),
        );
        let body = hook::payload(&canary.id, phase, checksum, &metadata);
        match answer::post(one, body, cx).await {
            Answer::Passed | Answer::Value(_) => {}
            Answer::Refused(text) | Answer::Error(text) | Answer::NoValues(text) => {
                tracing::warn!(canary = %canary.id, hook = one.name, "event hook failed: {text}");
            }
        }
    }
    if let Some(alert) = &notice.alert {
        for failure in alert::raise(alert, canary, cx).await {
            tell(&Notice::warning(Reason::AlertFailed, failure), wire, cx).await;
        }
    }
}

/// `--event-webhook`, as the hook it stands for.
fn global_hook(url: &str) -> Hook {
    Hook {
        kind: HookKind::Event,
        name: "events".to_owned(),
        url: url.to_owned(),
        timeout: Duration::from_secs(10),
        retries: 0,
        mute_alert: false,
        disable_tls: false,
        metadata: BTreeMap::new(),
    }
}

/// A log line and a Kubernetes Event. The same words about the same Canary count up one Event.
pub(crate) async fn tell(notice: &Notice, wire: &Value, cx: &Context) {
    let text = |pointer: &str| wire.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name, uid) = (
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/metadata/uid"),
    );
    let canary = format!("{name}.{namespace}");
    match notice.severity {
        Severity::Info | Severity::Warning => {
            tracing::info!(canary, reason = notice.reason.as_str(), "{}", notice.text);
        }
        Severity::Error => tracing::error!(canary, reason = notice.reason.as_str(), "{}", notice.text),
    }
    if let Err(error) = record(notice, namespace, name, uid, cx).await {
        tracing::warn!(canary, "event not recorded: {error}");
    }
}

async fn record(
    notice: &Notice,
    namespace: &str,
    name: &str,
    uid: &str,
    cx: &Context,
) -> Result<(), ClusterError> {
    let now = Timestamp::now();
    let kind = match notice.severity {
        Severity::Info => "Normal",
        Severity::Warning | Severity::Error => "Warning",
    };
    let mut message = notice.text.clone();
    if message.len() > MAX_MESSAGE {
        let cut = (0..=MAX_MESSAGE - 4)
            .rev()
            .find(|at| message.is_char_boundary(*at))
            .unwrap_or_default();
        message.truncate(cut);
        message.push('…');
    }
    let digest = revision::hash(&json!([uid, kind, message]));
    let short: String = digest.chars().skip(revision::VERSION.len()).take(16).collect();
    let event_name = format!("{name}.{short}");
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": event_name, "namespace": namespace },
        "involvedObject": {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "namespace": namespace,
            "name": name,
            "uid": uid,
        },
        "type": kind,
        "reason": notice.reason.as_str(),
        "message": message,
        "source": { "component": "verdigris" },
        "reportingComponent": "verdigris",
        "reportingInstance": "",
        "count": 1,
        "firstTimestamp": seconds(now),
        "lastTimestamp": seconds(now),
    });
    match cx.cluster.create(Kind::EVENT, &event).await {
        Ok(_) => Ok(()),
        Err(ClusterError::Conflict { .. }) => {
            let known = cx.cluster.get(Kind::EVENT, namespace, &event_name).await?;
            let count = known
                .as_ref()
                .and_then(|event| event.get("count"))
                .and_then(Value::as_i64)
                .unwrap_or(1);
            let patch = json!({ "count": count + 1, "lastTimestamp": seconds(now) });
            cx.cluster
                .merge(Kind::EVENT, namespace, &event_name, &patch)
                .await
                .map(drop)
        }
        Err(
            error @ (ClusterError::Refused { .. }
            | ClusterError::NotLeading { .. }
            | ClusterError::Unreachable { .. }
            | ClusterError::Malformed { .. }),
        ) => Err(error),
    }
}
