//! The organisation's policies as they concern one Canary: what they write into it, whether a run of it may start, and
//! where its calls may go.
#![expect(clippy::disallowed_methods, reason = "shell: reads the clock")]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::cluster::Kind;
use crate::model::canary::Identity;
use crate::net::outbound::{Gate, Incoming, OutboundError, Outgoing};
use crate::policy::{self, Current, Destination, Permit, Review};
use crate::rollout::POLICY_VIOLATION;
use crate::rollout::observed::Block;

use super::Context;
use super::observe::find;

/// How often a Canary that no run may start of is looked at again: exemptions come and end, policies change.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(15);

fn review<'a>(wire: &'a Value, current: &'a Current, cx: &'a Context) -> Review<'a> {
    let namespace = wire["metadata"]["namespace"].as_str().unwrap_or_default();
    Review::of(
        wire,
        namespace,
        current.namespace(namespace),
        cx.config.settings.provider.as_str(),
    )
}

/// The Canary with the defaults of the policies in it, as admission writes them down: where admission was not there,
/// it means the same.
pub(super) fn whole(wire: Value, cx: &Context) -> Value {
    let current = cx.policies.current();
    let Some(set) = current.set.as_ref().filter(|set| !set.is_empty()) else {
        return wire;
    };
    let made = match policy::defaulted(set, &review(&wire, &current, cx)) {
        std::borrow::Cow::Borrowed(_) => None,
        std::borrow::Cow::Owned(made) => Some(made),
    };
    made.unwrap_or(wire)
}

/// Why no run of this Canary may start.
pub(super) fn forbidden(wire: &Value, cx: &Context) -> Option<Block> {
    let current = cx.policies.current();
    let set = current.set.as_ref().filter(|set| !set.is_empty())?;
    let judgement = policy::judge(set, &review(wire, &current, cx), Timestamp::now());
    let said: Vec<String> = judgement
        .report
        .violations
        .iter()
        .map(ToString::to_string)
        .collect();
    (!said.is_empty()).then(|| Block {
        reason: POLICY_VIOLATION.to_owned(),
        message: format!("no run may start: {}", said.join("\n")),
    })
}

/// Sends where the policies let a Canary's calls go; `of` is `None` for what the process itself calls.
pub(super) async fn send(
    outgoing: &Outgoing,
    destination: Destination,
    of: Option<&Identity>,
    cx: &Context,
) -> Result<Incoming, OutboundError> {
    match gate(destination, of, cx).await {
        Some(gate) => cx.outbound.send_within(outgoing, gate).await,
        None => cx.outbound.send(outgoing).await,
    }
}

/// What the policies say about a Canary's calls, if anything.
pub(super) async fn gate(
    destination: Destination,
    of: Option<&Identity>,
    cx: &Context,
) -> Option<Arc<dyn Gate>> {
    let current = cx.policies.current();
    let set = current.set.as_ref().filter(|set| !set.is_empty())?;
    let id = of?;
    // Without the object its namespace still says which policies select it.
    let found = find(Kind::CANARY, &id.namespace, &id.name, cx)
        .await
        .ok()
        .flatten();
    let wire = found.unwrap_or_else(
        || serde_json::json!({"kind": "Canary", "metadata": {"name": id.name, "namespace": id.namespace}}),
    );
    let permit = Permit::of(set, &review(&wire, &current, cx), destination, Timestamp::now());
    (!permit.is_open()).then(|| Arc::new(permit) as Arc<dyn Gate>)
}

impl Gate for Permit {
    fn refuses_url(&self, url: &Url) -> Option<String> {
        Permit::refuses_url(self, url)
    }

    fn refuses_address(&self, address: IpAddr) -> Option<String> {
        Permit::refuses_address(self, address)
    }
}
