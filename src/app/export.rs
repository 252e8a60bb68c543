//! Sends finished spans to a trace collector: OTLP over HTTP, JSON. Off unless asked for.
//!
//! Promises: one request at a time, each with a deadline; what a collector does not take is dropped and counted, so
//! that neither memory nor a review depends on it.
#![expect(clippy::disallowed_methods, reason = "shell: waits between batches")]

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::net::outbound::{Outbound, Outgoing};
use crate::telemetry::{Metrics, Outlet, VERSION, trace_request};

/// Spans gather this long before they are sent.
const PAUSE: Duration = Duration::from_secs(2);
/// Deadline of a request.
const DEADLINE: Duration = Duration::from_secs(5);

/// `--otlp-endpoint` with the path every collector serves, unless one is given.
pub(super) fn traces_url(endpoint: &Url) -> Url {
    let mut url = endpoint.clone();
    if !url.path().ends_with("/v1/traces") {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    url
}

/// Sends until nobody makes spans any more.
pub(super) async fn export(
    mut outlet: Outlet,
    endpoint: Url,
    instance: String,
    outbound: Outbound,
    metrics: Arc<Metrics>,
) {
    let url = traces_url(&endpoint);
    let mut complained = false;
    while let Some(batch) = outlet.batch().await {
        let outgoing = Outgoing {
            url: url.to_string(),
            body: Some(trace_request(&batch, VERSION, &instance)),
            headers: Vec::new(),
            timeout: DEADLINE,
            insecure: false,
        };
        let answered = outbound.send(&outgoing).await;
        let refused = match answered {
            Ok(incoming) if (200..300).contains(&incoming.status) => None,
            Ok(incoming) => Some(format!("HTTP {}", incoming.status)),
            Err(error) => Some(error.to_string()),
        };
        metrics.spans_dropped(outlet.dropped());
        match refused {
            None => complained = false,
            Some(reason) => {
                metrics.spans_dropped(batch.len() as u64);
                // Once until it works again: a collector that is down must not fill the log.
                if !complained {
                    tracing::warn!("spans are dropped: the trace collector does not take them: {reason}");
                }
                complained = true;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_once() {
        let table = [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://host/prefix", "https://host/prefix/v1/traces"),
            (
                "http://collector:4318/v1/traces",
                "http://collector:4318/v1/traces",
            ),
        ];
        for (endpoint, expected) in table {
            assert_eq!(traces_url(&endpoint.parse().unwrap()).as_str(), expected);
        }
    }
}
