//! An order: written as an annotation, answered in the status.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: writes through a client, by the clock"
)]

use std::time::Duration;

use futures::TryStreamExt as _;
use jiff::Timestamp;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};

use super::{ConsoleError, canaries, canary, refused};
use crate::model::order::{ANNOTATION, Order, Verb, write};
use crate::model::status::{self, LastOrder, Reply};
use crate::rollout::given_for;

/// The field manager of orders.
const FIELD_MANAGER: &str = "verdigris-order";

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// The controller said so.
    Said(LastOrder),
    /// Nobody said anything in time; the order stays on the object.
    Silence,
    /// Nobody was waited for.
    Given,
}

impl Answered {
    /// True when the order was taken.
    pub fn is_taken(&self) -> bool {
        match self {
            Answered::Said(answer) => match answer.outcome {
                Reply::Accepted | Reply::Honoured => true,
                Reply::Refused => false,
            },
            Answered::Given => true,
            Answered::Silence => false,
        }
    }
}

/// Orders `verb`, for the run that is there now and no other; waits for the answer for `patience`, if that is not
/// zero.
pub async fn order(
    client: &Client,
    namespace: &str,
    name: &str,
    verb: Verb,
    patience: Duration,
) -> Result<Answered, ConsoleError> {
    let object = canary(client, namespace, name).await?;
    let status =
        status::read(object.get("status")).map_err(|error| ConsoleError::Unreadable(error.to_string()))?;
    let order = Order {
        run: given_for(&status, verb),
        uid: object
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .map(str::to_owned),
        // New whenever it is given, and it says when.
        id: Timestamp::now().to_string(),
        verb,
    };
    let patch = json!({"metadata": {"annotations": {ANNOTATION: write(&order)}}});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let what = format!("canary {name}.{namespace}");
    canaries(client, Some(namespace))
        .patch(name, &parameters, &Patch::Merge(&patch))
        .await
        .map_err(|error| refused(what, "patch", namespace, error))?;
    if patience.is_zero() {
        return Ok(Answered::Given);
    }
    let heard = answer(client, namespace, name, &order.id);
    Ok(tokio::time::timeout(patience, heard)
        .await
        .map_or(Answered::Silence, Answered::Said))
}

async fn answer(client: &Client, namespace: &str, name: &str, id: &str) -> LastOrder {
    let mut changes = std::pin::pin!(watcher::watch_object(canaries(client, Some(namespace)), name));
    loop {
        // A watch that breaks begins anew, after a pause of its own.
        let Ok(Some(Some(object))) = changes.try_next().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let status = status::read(object.data.get("status")).unwrap_or_default();
        if let Some(answer) = status.last_order.filter(|answer| answer.id == id) {
            return answer;
        }
    }
}
