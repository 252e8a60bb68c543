//! Alerts to chats, after the fact and best effort: one attempt each, all at once, none waits for another.

use std::time::Duration;

use futures::future::join_all;

use crate::cluster::Kind;
use crate::model::canary::{Alert, Canary};
use crate::model::notice::{AlertText, printable};
use crate::net::outbound::Outgoing;
use crate::notify::{self, Destination, Message};

use super::Context;

/// Deadline of one message (Flagger's).
const DEADLINE: Duration = Duration::from_secs(5);

/// Tells everybody who wants to know: the alerts of the Canary, and without any the process's own destination. What
/// could not be told, one line each.
pub(super) async fn raise(alert: &AlertText, canary: &Canary, cx: &Context) -> Vec<String> {
    let message = notify::message(alert, canary, cx.config.cluster_name.as_deref());
    let alerts = &canary.analysis.alerts;
    if alerts.is_empty() {
        let Some(destination) = &cx.config.notifier else {
            return Vec::new();
        };
        let told = tell(&message, destination, cx).await;
        count(told.is_ok(), cx);
        return told.err().into_iter().collect();
    }
    let wanted = alerts
        .iter()
        .filter(|one| notify::is_wanted(one.severity, alert.severity));
    let told = join_all(wanted.map(|one| async {
        let told = match destination(one, cx).await {
            Ok(destination) => tell(&message, &destination, cx).await,
            Err(error) => Err(error),
        };
        count(told.is_ok(), cx);
        told.map_err(|error| {
            format!(
                "alert provider {}.{}: {error}",
                one.provider, one.provider_namespace
            )
        })
    }));
    told.await.into_iter().filter_map(Result::err).collect()
}

fn count(told: bool, cx: &Context) {
    cx.metrics
        .question("alert", if told { "answered" } else { "error" });
}

/// Read when it is needed: alerts are rare.
async fn destination(alert: &Alert, cx: &Context) -> Result<Destination, String> {
    let (namespace, name) = (&alert.provider_namespace, &alert.provider);
    let found = cx.cluster.get(Kind::ALERT_PROVIDER, namespace, name).await;
    let provider = found
        .map_err(|error| error.to_string())?
        .ok_or("it does not exist; create it, or correct providerRef")?;
    let secret = provider
        .pointer("/spec/secretRef/name")
        .and_then(serde_json::Value::as_str)
        .filter(|name| !name.is_empty());
    let secret = match secret {
        None => None,
        Some(name) => {
            let found = cx.cluster.get(Kind::SECRET, namespace, name).await;
            let found = found.map_err(|error| error.to_string())?;
            Some(found.ok_or_else(|| format!("Secret {name}.{namespace} does not exist; create it"))?)
        }
    };
    notify::read(&provider, secret.as_ref())
}

/// Errors never show the address.
async fn tell(message: &Message, destination: &Destination, cx: &Context) -> Result<(), String> {
    let request = notify::render(message, destination).map_err(|error| error.to_string())?;
    let outgoing = Outgoing {
        url: request.url,
        body: Some(request.body),
        headers: request.headers,
        timeout: DEADLINE,
        insecure: false,
    };
    let sent = match request.proxy.as_deref().filter(|proxy| !proxy.is_empty()) {
        Some(proxy) => cx.outbound.send_through(&outgoing, proxy).await,
        None => cx.outbound.send(&outgoing).await,
    };
    let incoming = sent.map_err(|error| error.to_string())?;
    if (200..300).contains(&incoming.status) {
        return Ok(());
    }
    let said = printable(&String::from_utf8_lossy(&incoming.body));
    Err(format!(
        "sending notification bad response {}: {said}",
        incoming.status
    ))
}
