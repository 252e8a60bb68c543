//! One look through the cluster: every object the policies concern, judged as it stands.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::Client;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{ClusterError, FIELD_MANAGER, Kind, to_value};
use crate::policy::{self, Current, Mode, Review, Set};
use crate::telemetry::Metrics;

use super::status::{Tally, status};

/// Objects asked for at once.
const PAGE: u32 = 500;

/// Judges everything, and writes what came of it to every policy.
pub(super) async fn sweep(
    client: &Client,
    set: &Set,
    current: &Current,
    provider: &str,
    metrics: &Metrics,
) -> Result<(), ClusterError> {
    let now = Timestamp::now();
    let mut tallies: BTreeMap<String, Tally> = set
        .iter()
        .map(|policy| (policy.name.clone(), Tally::default()))
        .collect();
    if !set.is_empty() {
        for kind in [Kind::CANARY, Kind::METRIC_TEMPLATE, Kind::ALERT_PROVIDER] {
            look(client, kind, |object| {
                count(object, set, current, provider, now, &mut tallies);
            })
            .await?;
        }
    }
    let seen: Vec<(&str, Mode, u32)> = set
        .iter()
        .map(|policy| {
            let violations = tallies.get(&policy.name).map_or(0, Tally::violations);
            (policy.name.as_str(), policy.mode, violations)
        })
        .collect();
    metrics.policy_violations(
        seen.into_iter()
            .map(|(name, mode, violations)| (name, mode.as_str(), violations)),
    );
    look_at_policies(client, &tallies, now).await
}

fn count(
    object: &Value,
    set: &Set,
    current: &Current,
    provider: &str,
    now: Timestamp,
    tallies: &mut BTreeMap<String, Tally>,
) {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let review = Review::of(object, namespace, current.namespace(namespace), provider);
    let whole = policy::defaulted(set, &review);
    let judgement = policy::judge(
        set,
        &Review {
            object: &whole,
            ..review
        },
        now,
    );
    for name in &judgement.concerned {
        let hits: Vec<_> = judgement.hits.iter().filter(|hit| hit.policy == *name).collect();
        if let Some(tally) = tallies.get_mut(name) {
            tally.count(object, &hits);
        }
    }
}

/// Every object of a kind, page by page; a kind nobody serves has none.
async fn look(client: &Client, kind: Kind, mut see: impl FnMut(&Value)) -> Result<(), ClusterError> {
    let api = kind.api_in(client, None);
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = match api.list(&parameters).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(error) => return Err(ClusterError::of(kind.plural, error)),
        };
        for object in &page.items {
            let mut object = to_value(kind.kind, object)?;
            // Items of a list say neither.
            object["apiVersion"] = format!("{}/{}", kind.group, kind.version).into();
            object["kind"] = kind.kind.into();
            see(&object);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Writes the status of every policy that is still there. One that changed meanwhile is looked at again by itself.
async fn look_at_policies(
    client: &Client,
    tallies: &BTreeMap<String, Tally>,
    now: Timestamp,
) -> Result<(), ClusterError> {
    let mut stored: Vec<Value> = Vec::new();
    look(client, Kind::CANARY_POLICY, |object| stored.push(object.clone())).await?;
    let api: kube::Api<DynamicObject> = Kind::CANARY_POLICY.api_in(client, None);
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    for object in &stored {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let Some(tally) = tallies.get(name) else { continue };
        let body = json!({
            "metadata": { "resourceVersion": object["metadata"]["resourceVersion"] },
            "status": status(object, &policy::validate(object, now), tally, now),
        });
        match api.patch_status(name, &parameters, &Patch::Merge(&body)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(error) => return Err(ClusterError::of(format!("CanaryPolicy {name}"), error)),
        }
    }
    Ok(())
}
