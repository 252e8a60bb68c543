//! Apply: steps one after another, then the status under the resourceVersion that was read.

use serde_json::{Value, json};

use crate::cluster::Kind;
use crate::model::canary::{Canary, TargetKind};
use crate::model::revision::Revision;
use crate::model::status::{self, Status};
use crate::rollout::plan::{Plan, Step};
use crate::workload::service::{self, Role, Untouchable};
use crate::workload::{Rendering, mirror, patch, primary, primary_name};

use super::index::target_kind;
use super::observe::{FINALIZER, Sight, find};
use super::{Context, Error, configs, record, scaling};

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
            Step::EnsureServices => ensure_services(canary, seen, cx).await?,
            Step::EnsureApex => ensure_service(Role::Apex, canary, seen, cx).await?,
            Step::EnsurePrimary(revision) => ensure_primary(revision, canary, seen, cx).await?,
            Step::Record(revision) => record::keep(revision, &plan.status, canary, seen, cx).await?,
            Step::Promote(revision) => promote(revision, canary, seen, cx).await?,
            Step::Park => scaling::scale(canary, 0, cx).await?,
            Step::Unpark => scaling::unpark(canary, seen, cx).await?,
            Step::EnsurePrimaryScaler => scaling::ensure(canary, cx).await?,
            // Observed for no provider that is routed today: such a plan is a fault, and nothing of it is done.
            Step::Route(split) => {
                return Err(Error::Blocked(format!(
                    "provider {} has no router to send {} % to the canary",
                    canary.provider.as_str(),
                    split.canary
                )));
            }
            Step::DropScalers => scaling::drop_stale(canary, cx).await?,
            Step::ForgetConfigs => configs::forget(canary, seen, cx).await?,
            Step::PauseScaler => scaling::pause(canary, true, cx).await?,
            Step::ResumeScaler => scaling::pause(canary, false, cx).await?,
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
    let mut body = status::write(wanted);
    if let Some(live) = newest.as_ref().and_then(|object| object.get("status")) {
        forget_configs(&mut body, live);
    }
    let patch = json!({ "metadata": { "resourceVersion": version }, "status": body });
    Ok(cx
        .cluster
        .merge_status(Kind::CANARY, namespace, name, &patch)
        .await?)
}

/// A merge patch adds to maps: what is tracked no longer must be named to go.
fn forget_configs(body: &mut Value, live: &Value) {
    for field in ["trackedConfigs", "promotedConfigs"] {
        let (Some(wanted), Some(live)) = (
            body.get_mut(field).and_then(Value::as_object_mut),
            live.get(field).and_then(Value::as_object),
        ) else {
            continue;
        };
        for key in live.keys() {
            if !wanted.contains_key(key) {
                wanted.insert(key.clone(), Value::Null);
            }
        }
    }
}

/// Turns a live object into the wanted one, unless somebody wrote it since it was read.
async fn update(kind: Kind, live: &Value, wanted: &Value, cx: &Context) -> Result<(), Error> {
    let mut patch = patch::merge(live, wanted).unwrap_or_else(|| json!({}));
    if let Some(map) = patch.as_object_mut() {
        // What is observed is not ours to write.
        map.remove("status");
        if map.is_empty() {
            return Ok(());
        }
    }
    patch["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    cx.cluster.merge(kind, namespace, name, &patch).await?;
    Ok(())
}

pub(super) async fn write(
    kind: Kind,
    live: Option<&Value>,
    wanted: &Value,
    cx: &Context,
) -> Result<(), Error> {
    let Some(live) = live else {
        cx.cluster.create(kind, wanted).await?;
        return Ok(());
    };
    update(kind, live, wanted, cx).await
}

async fn ensure_services(canary: &Canary, seen: &Sight, cx: &Context) -> Result<(), Error> {
    if canary.target.kind != TargetKind::Service {
        ensure_service(Role::Canary, canary, seen, cx).await?;
        return ensure_service(Role::Primary, canary, seen, cx).await;
    }
    let Some(target) = &seen.target else { return Ok(()) };
    let name = mirror::canary_name(canary);
    let live = find(Kind::SERVICE, &canary.id.namespace, &name, cx).await?;
    let refused = |error: Untouchable| Error::Blocked(error.to_string());
    match mirror::follow(canary, target, live.as_ref()).map_err(refused)? {
        Some(wanted) => write(Kind::SERVICE, live.as_ref(), &wanted, cx).await,
        None => Ok(()),
    }
}

async fn ensure_service(role: Role, canary: &Canary, seen: &Sight, cx: &Context) -> Result<(), Error> {
    // A core Service as target is what clients use: nothing turns it.
    let (Some(target), Some(label)) = (&seen.target, &seen.label) else {
        return Ok(());
    };
    let name = service::name(canary, role);
    let live = find(Kind::SERVICE, &canary.id.namespace, &name, cx).await?;
    let refused = |error: Untouchable| Error::Blocked(error.to_string());
    match service::reconcile(canary, role, label, target, live.as_ref()).map_err(refused)? {
        Some(wanted) => write(Kind::SERVICE, live.as_ref(), &wanted, cx).await,
        None => Ok(()),
    }
}

async fn ensure_primary(
    revision: &Revision,
    canary: &Canary,
    seen: &Sight,
    cx: &Context,
) -> Result<(), Error> {
    let Some(kind) = target_kind(canary.target.kind) else {
        return Ok(());
    };
    let name = primary_name(canary);
    if seen.primary.is_some() || find(kind, &canary.id.namespace, &name, cx).await?.is_some() {
        return Ok(());
    }
    let source = record::source_of_new(revision, canary, seen, cx).await?;
    render_primary(&source, None, revision, canary, seen, cx).await
}

async fn promote(revision: &Revision, canary: &Canary, seen: &Sight, cx: &Context) -> Result<(), Error> {
    let Some(primary) = &seen.primary else {
        return ensure_primary(revision, canary, seen, cx).await;
    };
    let mut source = record::source(revision, canary, seen, cx).await?;
    // Replicas are the user's wish of today, not of the day the revision was recorded.
    if let Some(replicas) = seen
        .target
        .as_ref()
        .and_then(|target| target.pointer("/spec/replicas"))
    {
        source["spec"]["replicas"] = replicas.clone();
    }
    render_primary(&source, Some(primary), revision, canary, seen, cx).await
}

/// Configs first: a primary never names a copy that is not there.
async fn render_primary(
    source: &Value,
    live: Option<&Value>,
    revision: &Revision,
    canary: &Canary,
    seen: &Sight,
    cx: &Context,
) -> Result<(), Error> {
    let options = &cx.config.rendering;
    if canary.target.kind == TargetKind::Service {
        let wanted = mirror::primary(source, live, revision, canary, options);
        return write(Kind::SERVICE, live, &wanted, cx).await;
    }
    let (Some(label), Some(kind)) = (&seen.label, target_kind(canary.target.kind)) else {
        return Ok(());
    };
    let copies = configs::ensure_copies(source, revision, canary, seen, cx).await?;
    let rendering = Rendering {
        canary,
        label,
        options,
        copies: &copies,
    };
    let wanted = primary::render(source, live, revision, &rendering);
    write(kind, live, &wanted, cx).await
}

/// Gives replicas and traffic back to the target (`revertOnDeletion`).
async fn restore(canary: &Canary, seen: &Sight, cx: &Context) -> Result<(), Error> {
    scaling::unpark(canary, seen, cx).await?;
    let Some(label) = &seen.label else { return Ok(()) };
    let name = service::name(canary, Role::Apex);
    // Caches lack what `kubectl apply` noted.
    let Some(apex) = cx.cluster.get(Kind::SERVICE, &canary.id.namespace, &name).await? else {
        return Ok(());
    };
    let mut wanted = apex.clone();
    wanted["spec"]["selector"] = service::restored(canary, &apex, label);
    update(Kind::SERVICE, &apex, &wanted, cx).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_is_tracked_no_longer_leaves_the_status() {
        let live = json!({"trackedConfigs": {"configmap/a": "1", "secret/b": "2"}, "promotedConfigs": {"secret/b": "2"}});
        let mut body = json!({"trackedConfigs": {"configmap/a": "3"}, "promotedConfigs": null});
        forget_configs(&mut body, &live);
        assert_eq!(
            body,
            json!({"trackedConfigs": {"configmap/a": "3", "secret/b": null}, "promotedConfigs": null})
        );
    }
}
