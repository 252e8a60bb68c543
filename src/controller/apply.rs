//! Apply: steps one after another, then the status under the resourceVersion that was read.

use serde_json::{Value, json};

use crate::cluster::Kind;
use crate::model::canary::{Autoscaler, Canary, ScalerKind};
use crate::model::revision::Revision;
use crate::model::status::{self, Status};
use crate::rollout::plan::{Plan, Step};
use crate::workload::service::{self, Role};
use crate::workload::{CANARY_LABEL, deployment, record, scaler};

use super::observe::{FINALIZER, Sight, cached};
use super::{Context, Error};

/// Recorded revisions kept beside the judged and the promoted one.
const KEPT_REVISIONS: usize = 2;

/// Takes every step of a plan. Each is absolute: taking it twice writes once.
pub(crate) async fn steps(
    plan: &Plan,
    canary: &Canary,
    seen: &Sight,
    wire: &Value,
    cx: &Context,
) -> Result<(), Error> {
    for step in &plan.steps {
        match step {
            Step::EnsureServices => {
                ensure_service(Role::Canary, canary, seen, cx).await?;
                ensure_service(Role::Primary, canary, seen, cx).await?;
            }
            Step::EnsureApex => ensure_service(Role::Apex, canary, seen, cx).await?,
            Step::EnsurePrimary(revision) => ensure_primary(revision, canary, seen, cx).await?,
            Step::Record(revision) => record_revision(revision, &plan.status, canary, seen, cx).await?,
            Step::Promote(revision) => promote(revision, canary, seen, cx).await?,
            Step::Park => scale(canary, 0, cx).await?,
            Step::Unpark => scale(canary, unparked(canary, seen, cx).await?, cx).await?,
            Step::EnsurePrimaryScaler => ensure_scaler(canary, cx).await?,
            Step::PauseScaler => pause(canary, true, cx).await?,
            Step::ResumeScaler => pause(canary, false, cx).await?,
            Step::AddFinalizer => finalizer(wire, true, cx).await?,
            Step::Restore => restore(canary, seen, cx).await?,
            Step::RemoveFinalizer => finalizer(wire, false, cx).await?,
        }
    }
    Ok(())
}

/// Stores a status, if it differs from the stored one. 409 means: somebody wrote meanwhile, look again.
pub(crate) async fn status(
    wanted: &Status,
    stored: &Status,
    wire: &Value,
    cx: &Context,
) -> Result<Value, Error> {
    if wanted == stored {
        return Ok(wire.clone());
    }
    let text = |pointer: &str| wire.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let newest = cx
        .cluster
        .newest(Kind::CANARY, namespace, name, Some(wire.clone()));
    let version = newest
        .as_ref()
        .and_then(|object| object.pointer("/metadata/resourceVersion"))
        .cloned();
    let patch = json!({ "metadata": { "resourceVersion": version }, "status": status::write(wanted) });
    Ok(cx
        .cluster
        .merge_status(Kind::CANARY, namespace, name, &patch)
        .await?)
}

async fn ensure_service(role: Role, canary: &Canary, seen: &Sight, cx: &Context) -> Result<(), Error> {
    let (Some(target), Some(label)) = (&seen.target, &seen.label) else {
        return Ok(());
    };
    let live = cached(
        Kind::SERVICE,
        &canary.id.namespace,
        &service::name(canary, role),
        cx,
    )?;
    let wanted = service::reconcile(canary, role, label, target, live.as_ref())
        .map_err(|owned| Error::Blocked(owned.to_string()))?;
    match (wanted, live) {
        (None, Some(_) | None) => {}
        (Some(wanted), Some(_)) => drop(cx.cluster.replace(Kind::SERVICE, &wanted).await?),
        (Some(wanted), None) => drop(cx.cluster.create(Kind::SERVICE, &wanted).await?),
    }
    Ok(())
}

/// The recorded target, or the target itself while it still is that revision.
async fn source(revision: &Revision, canary: &Canary, seen: &Sight, cx: &Context) -> Result<Value, Error> {
    if let Some(target) = &seen.target
        && seen
            .observed
            .revision
            .as_ref()
            .is_some_and(|current| current.template == revision.template)
    {
        return Ok(record::source(target));
    }
    let name = record::name(canary, revision);
    let recorded = cx
        .cluster
        .get(Kind::CONTROLLER_REVISION, &canary.id.namespace, &name)
        .await?;
    recorded
        .and_then(|object| record::read(&object, revision))
        .ok_or_else(|| Error::Unrecorded {
            revision: revision.template.clone(),
            target: format!("{}.{}", canary.target.name, canary.id.namespace),
        })
}

async fn ensure_primary(
    revision: &Revision,
    canary: &Canary,
    seen: &Sight,
    cx: &Context,
) -> Result<(), Error> {
    let name = format!("{}-primary", canary.target.name);
    let Some(label) = &seen.label else { return Ok(()) };
    if seen.primary.is_some() || cached(Kind::DEPLOYMENT, &canary.id.namespace, &name, cx)?.is_some() {
        return Ok(());
    }
    let source = source(revision, canary, seen, cx).await?;
    let primary = deployment::primary(&source, None, revision, label, canary, &cx.config.rendering);
    cx.cluster.create(Kind::DEPLOYMENT, &primary).await?;
    Ok(())
}

async fn promote(revision: &Revision, canary: &Canary, seen: &Sight, cx: &Context) -> Result<(), Error> {
    let (Some(primary), Some(label)) = (&seen.primary, &seen.label) else {
        return ensure_primary(revision, canary, seen, cx).await;
    };
    let mut source = source(revision, canary, seen, cx).await?;
    // Replicas are the user's wish of today, not of the day the revision was recorded.
    if let Some(replicas) = seen
        .target
        .as_ref()
        .and_then(|target| target.pointer("/spec/replicas"))
    {
        source["spec"]["replicas"] = replicas.clone();
    }
    let wanted = deployment::primary(
        &source,
        Some(primary),
        revision,
        label,
        canary,
        &cx.config.rendering,
    );
    let same = ["/spec", "/metadata/labels", "/metadata/annotations"]
        .iter()
        .all(|pointer| wanted.pointer(pointer) == primary.pointer(pointer));
    if !same {
        cx.cluster.replace(Kind::DEPLOYMENT, &wanted).await?;
    }
    Ok(())
}

/// Keeps the target as it is judged, and forgets revisions nobody can need any more.
async fn record_revision(
    revision: &Revision,
    wanted: &Status,
    canary: &Canary,
    seen: &Sight,
    cx: &Context,
) -> Result<(), Error> {
    let Some(target) = &seen.target else { return Ok(()) };
    let namespace = &canary.id.namespace;
    let name = record::name(canary, revision);
    if cx
        .cluster
        .get(Kind::CONTROLLER_REVISION, namespace, &name)
        .await?
        .is_none()
    {
        cx.cluster
            .create(
                Kind::CONTROLLER_REVISION,
                &record::render(canary, revision, target),
            )
            .await?;
    }
    let needed = [
        revision.template.as_str(),
        &wanted.last_applied,
        &wanted.last_promoted,
    ];
    let selector = format!("{CANARY_LABEL}={}", canary.id.uid);
    let mut old: Vec<(i64, String)> = cx
        .cluster
        .list(Kind::CONTROLLER_REVISION, namespace, &selector)
        .await?
        .iter()
        .filter(|object| record::hash_of(object).is_none_or(|hash| !needed.contains(&hash)))
        .filter_map(|object| {
            let number = object.get("revision").and_then(Value::as_i64).unwrap_or_default();
            Some((number, object.pointer("/metadata/name")?.as_str()?.to_owned()))
        })
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(KEPT_REVISIONS);
    for (_, name) in old.into_iter().take(surplus) {
        cx.cluster
            .delete(Kind::CONTROLLER_REVISION, namespace, &name)
            .await?;
    }
    Ok(())
}

async fn scale(canary: &Canary, replicas: i64, cx: &Context) -> Result<(), Error> {
    let (namespace, name) = (&canary.id.namespace, &canary.target.name);
    let live = cached(Kind::DEPLOYMENT, namespace, name, cx)?;
    let now = live
        .as_ref()
        .and_then(|object| object.pointer("/spec/replicas"))
        .and_then(Value::as_i64);
    if live.is_none() || now == Some(replicas) {
        return Ok(());
    }
    cx.cluster
        .merge(
            Kind::DEPLOYMENT,
            namespace,
            name,
            &json!({ "spec": { "replicas": replicas } }),
        )
        .await?;
    Ok(())
}

/// How many pods an unparked target gets: its own wish, else its autoscaler's minimum or as many as the primary,
/// else one.
async fn unparked(canary: &Canary, seen: &Sight, cx: &Context) -> Result<i64, Error> {
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
        Some(reference) => {
            let source = cx
                .cluster
                .get(scaler_kind(reference), &canary.id.namespace, &reference.name)
                .await?;
            source.and_then(|source| scaler::minimum(reference, &source))
        }
    };
    Ok(other.unwrap_or(1))
}

fn scaler_kind(reference: &Autoscaler) -> Kind {
    match reference.kind {
        ScalerKind::HorizontalPodAutoscaler => Kind::HPA,
        ScalerKind::ScaledObject => Kind::SCALED_OBJECT,
    }
}

/// The user's autoscaler; its absence blocks, since the primary would run without one.
async fn user_scaler(reference: &Autoscaler, canary: &Canary, cx: &Context) -> Result<Value, Error> {
    let found = cx
        .cluster
        .get(scaler_kind(reference), &canary.id.namespace, &reference.name)
        .await?;
    found.ok_or_else(|| {
        Error::Blocked(format!(
            "spec.autoscalerRef: {} {}.{} does not exist; create it, or correct the reference",
            scaler::kind(reference),
            reference.name,
            canary.id.namespace
        ))
    })
}

async fn ensure_scaler(canary: &Canary, cx: &Context) -> Result<(), Error> {
    let Some(reference) = &canary.autoscaler else {
        return Ok(());
    };
    let source = user_scaler(reference, canary, cx).await?;
    let kind = scaler_kind(reference);
    let live = cx
        .cluster
        .get(kind, &canary.id.namespace, &scaler::primary_name(reference))
        .await?;
    let wanted = scaler::primary(reference, &source, live.as_ref(), canary)
        .map_err(|error| Error::Blocked(error.to_string()))?;
    match (wanted, live) {
        (None, Some(_) | None) => {}
        (Some(wanted), Some(_)) => drop(cx.cluster.replace(kind, &wanted).await?),
        (Some(wanted), None) => drop(cx.cluster.create(kind, &wanted).await?),
    }
    Ok(())
}

async fn pause(canary: &Canary, paused: bool, cx: &Context) -> Result<(), Error> {
    let Some(reference) = &canary.autoscaler else {
        return Ok(());
    };
    let source = user_scaler(reference, canary, cx).await?;
    if let Some(patch) = scaler::pause(reference, &source, paused) {
        cx.cluster
            .merge(
                scaler_kind(reference),
                &canary.id.namespace,
                &reference.name,
                &patch,
            )
            .await?;
    }
    Ok(())
}

/// Gives replicas and traffic back to the target (`revertOnDeletion`).
async fn restore(canary: &Canary, seen: &Sight, cx: &Context) -> Result<(), Error> {
    scale(canary, unparked(canary, seen, cx).await?, cx).await?;
    let Some(label) = &seen.label else { return Ok(()) };
    let name = service::name(canary, Role::Apex);
    let Some(mut apex) = cached(Kind::SERVICE, &canary.id.namespace, &name, cx)? else {
        return Ok(());
    };
    let selector = json!({ label.key.as_str(): label.value });
    if apex.pointer("/spec/selector") != Some(&selector) {
        apex["spec"]["selector"] = selector;
        cx.cluster.replace(Kind::SERVICE, &apex).await?;
    }
    Ok(())
}

async fn finalizer(wire: &Value, wanted: bool, cx: &Context) -> Result<(), Error> {
    let text = |pointer: &str| wire.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let mut list: Vec<Value> = wire
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let present = list.iter().any(|one| one.as_str() == Some(FINALIZER));
    if present == wanted {
        return Ok(());
    }
    if wanted {
        list.push(json!(FINALIZER));
    } else {
        list.retain(|one| one.as_str() != Some(FINALIZER));
    }
    let patch = json!({ "metadata": {
        "resourceVersion": wire.pointer("/metadata/resourceVersion"),
        "finalizers": list,
    }});
    cx.cluster
        .merge(
            Kind::CANARY,
            text("/metadata/namespace"),
            text("/metadata/name"),
            &patch,
        )
        .await?;
    Ok(())
}
