//! Replicas and autoscalers: parking the target, waking it, the primary's own autoscaler.

use serde_json::Value;

use crate::cluster::Kind;
use crate::model::canary::{Autoscaler, Canary, TargetKind};
use crate::workload::{is_owned_by, scaler, target};

use super::apply::write;
use super::index::{scaler_kind, target_kind};
use super::observe::{Sight, find};
use super::{Context, Error};

/// Gives the target as many pods; 0 parks it.
pub(super) async fn scale(canary: &Canary, replicas: i64, cx: &Context) -> Result<(), Error> {
    let (namespace, name) = (&canary.id.namespace, &canary.target.name);
    let Some(kind) = target_kind(canary.target.kind) else {
        return Ok(());
    };
    let Some(live) = find(kind, namespace, name, cx).await? else {
        return Ok(());
    };
    if let Some(patch) = target::scale(canary.target.kind, &live, replicas) {
        cx.cluster.merge(kind, namespace, name, &patch).await?;
    }
    Ok(())
}

/// Wakes the target.
pub(super) async fn unpark(canary: &Canary, seen: &Sight, cx: &Context) -> Result<(), Error> {
    let replicas = unparked(canary, seen, cx).await?;
    scale(canary, replicas, cx).await
}

/// How many pods an unparked target gets: its own wish, else its autoscaler's minimum or as many as the primary,
/// else one.
async fn unparked(canary: &Canary, seen: &Sight, cx: &Context) -> Result<i64, Error> {
    if canary.target.kind != TargetKind::Deployment {
        return Ok(1);
    }
    let replicas = |object: Option<&Value>| {
        object
            .and_then(|object| object.pointer("/spec/replicas"))
            .and_then(Value::as_i64)
            .filter(|count| *count > 0)
    };
    if let Some(own) = replicas(seen.target.as_ref()) {
        return Ok(own);
    }
    let other = match &canary.autoscaler {
        None => replicas(seen.primary.as_ref()),
        Some(reference) => users(reference, canary, cx)
            .await?
            .and_then(|source| scaler::minimum(reference, &source)),
    };
    Ok(other.unwrap_or(1))
}

/// The user's autoscaler.
pub(super) async fn users(
    reference: &Autoscaler,
    canary: &Canary,
    cx: &Context,
) -> Result<Option<Value>, Error> {
    find(
        scaler_kind(reference.kind),
        &canary.id.namespace,
        &reference.name,
        cx,
    )
    .await
}

/// Makes or refreshes the primary's autoscaler.
pub(super) async fn ensure(canary: &Canary, cx: &Context) -> Result<(), Error> {
    let Some(reference) = &canary.autoscaler else {
        return Ok(());
    };
    let source = users(reference, canary, cx).await?;
    let blocked = |error: scaler::ScalerError| Error::Blocked(error.to_string());
    let source = scaler::check(reference, source.as_ref(), canary).map_err(blocked)?;
    let kind = scaler_kind(reference.kind);
    let live = find(kind, &canary.id.namespace, &scaler::primary_name(reference), cx).await?;
    let wanted = scaler::primary(reference, source, live.as_ref(), canary).map_err(blocked)?;
    match wanted {
        Some(wanted) => write(kind, live.as_ref(), &wanted, cx).await,
        None => Ok(()),
    }
}

/// The Canary's own autoscalers that its manifest asks for no more: kind and name.
pub(super) fn stale(canary: &Canary, cx: &Context) -> Vec<(Kind, String)> {
    let wanted = canary
        .autoscaler
        .as_ref()
        .map(|reference| (scaler_kind(reference.kind), scaler::primary_name(reference)));
    let mut stale = Vec::new();
    for kind in [Kind::HPA, Kind::SCALED_OBJECT] {
        if !cx.caches.keeps(kind) {
            continue;
        }
        for object in cx.caches.within(kind, &canary.id.namespace) {
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            let found = (kind, name.unwrap_or_default().to_owned());
            let leaving = object.pointer("/metadata/deletionTimestamp").is_some();
            if is_owned_by(&object, canary) && !leaving && wanted.as_ref() != Some(&found) {
                stale.push(found);
            }
        }
    }
    stale
}

/// Deletes them, and takes back the pause of a ScaledObject that one was made from.
pub(super) async fn drop_stale(canary: &Canary, cx: &Context) -> Result<(), Error> {
    let namespace = &canary.id.namespace;
    for (kind, name) in stale(canary, cx) {
        let source = name.strip_suffix("-primary").unwrap_or_default();
        if kind == Kind::SCALED_OBJECT
            && let Some(object) = find(kind, namespace, source, cx).await?
            && let Some(patch) = scaler::resume(&object, canary)
        {
            cx.cluster.merge(kind, namespace, source, &patch).await?;
        }
        cx.cluster.delete(kind, namespace, &name).await?;
    }
    Ok(())
}

/// Keeps the user's autoscaler from acting while the target is parked, or lets it act again. One that is gone needs
/// neither.
pub(super) async fn pause(canary: &Canary, paused: bool, cx: &Context) -> Result<(), Error> {
    let Some(reference) = &canary.autoscaler else {
        return Ok(());
    };
    let Some(source) = users(reference, canary, cx).await? else {
        return Ok(());
    };
    if let Some(patch) = scaler::pause(reference, &source, paused) {
        cx.cluster
            .merge(
                scaler_kind(reference.kind),
                &canary.id.namespace,
                &reference.name,
                &patch,
            )
            .await?;
    }
    Ok(())
}
