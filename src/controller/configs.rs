//! Copies of ConfigMaps and Secrets for the primary, brought up to date before the primary is.

use serde_json::Value;

use crate::cluster::{ClusterError, Kind};
use crate::model::canary::{Canary, TargetKind};
use crate::model::revision::Revision;
use crate::workload::config::{self, Copies, Reference, Standing, Write};
use crate::workload::is_owned_by;

use super::index::config_kind;
use super::observe::Sight;
use super::{Context, Error};

/// The configs the pods of a workload read; `None` when they are not tracked.
pub(super) fn references(canary: &Canary, template: Option<&Value>, cx: &Context) -> Option<Vec<Reference>> {
    let tracked = match canary.target.kind {
        TargetKind::Deployment | TargetKind::DaemonSet => cx.config.track_configs,
        TargetKind::Service | TargetKind::Knative => false,
    };
    tracked.then(|| template.map_or_else(Vec::new, config::references))
}

/// What a Canary's mandatory config misses.
pub(super) fn missing(canary: &Canary, reference: &Reference) -> String {
    format!(
        "spec.targetRef: {} {}.{} reads {} {}, which does not exist; expected it in the same namespace; create it, \
         or mark the reference optional",
        canary.target.kind.as_str(),
        canary.target.name,
        canary.id.namespace,
        reference.kind.as_str(),
        reference.name
    )
}

/// Makes the copies that a primary rendered from `source` as `revision` reads, and tells their names.
///
/// A copy takes the content that was judged. Where the original was edited since, it takes what was kept of it; where
/// nothing was, the copy stays what it is: production runs it already.
pub(super) async fn ensure_copies(
    source: &Value,
    revision: &Revision,
    canary: &Canary,
    seen: &Sight,
    cx: &Context,
) -> Result<Copies, Error> {
    let mut copies = Copies::new();
    let template = source.pointer("/spec/template");
    for reference in references(canary, template, cx).unwrap_or_default() {
        if let Some(copy) = ensure_copy(&reference, revision, canary, seen, cx).await? {
            copies.insert((reference.kind, reference.name), copy);
        }
    }
    Ok(copies)
}

/// One copy; `None` when the primary reads the original.
async fn ensure_copy(
    reference: &Reference,
    revision: &Revision,
    canary: &Canary,
    seen: &Sight,
    cx: &Context,
) -> Result<Option<String>, Error> {
    let (kind, namespace) = (config_kind(reference.kind), canary.id.namespace.as_str());
    let original = cx.cluster.get(kind, namespace, &reference.name).await?;
    if let Some(original) = &original
        && !config::is_tracked(reference.kind, original)
    {
        return Ok(None);
    }
    let judged = revision
        .configs
        .as_ref()
        .and_then(|configs| configs.get(&reference.key()));
    let place = place(reference, canary, cx).await;
    let Some(original) = original else {
        return match place {
            Ok((name, live)) => {
                let there = restore(reference, judged, &name, live.as_ref(), canary, cx).await?;
                if there {
                    Ok(Some(name))
                } else if reference.optional {
                    Ok(None)
                } else {
                    Err(Error::Blocked(missing(canary, reference)))
                }
            }
            Err(Error::Blocked(_)) if reference.optional => Ok(None),
            Err(error) => Err(error),
        };
    };
    let (name, live) = place?;
    if judged.is_none_or(|judged| *judged != config::checksum(&original)) {
        if seen.observed.revision.as_ref() == Some(revision) {
            // It changed since this pass began: what is to be promoted is not what was judged.
            return Err(Error::Cluster(ClusterError::Conflict {
                what: format!("{} {namespace}/{}", kind.kind, reference.name),
            }));
        }
        if restore(reference, judged, &name, live.as_ref(), canary, cx).await? {
            return Ok(Some(name));
        }
    }
    if let Some(live) = &live {
        keep(reference, live, seen, canary, cx).await?;
    }
    let options = &cx.config.rendering;
    let write = config::copy(reference.kind, &original, &name, live.as_ref(), canary, options);
    carry_out(write, kind, namespace, &name, cx).await?;
    Ok(Some(name))
}

async fn carry_out(write: Write, kind: Kind, namespace: &str, name: &str, cx: &Context) -> Result<(), Error> {
    match write {
        Write::Nothing => {}
        Write::Create(copy) => drop(cx.cluster.create(kind, &copy).await?),
        Write::Patch(patch) => drop(cx.cluster.merge(kind, namespace, name, &patch).await?),
        Write::Recreate(copy) => {
            let deleted = cx.cluster.delete(kind, namespace, name).await;
            deleted.map_err(|error| may_not_replace(error, kind, name))?;
            cx.cluster.create(kind, &copy).await?;
        }
    }
    Ok(())
}

/// The rights that are shipped delete no Secret: then a person has to.
fn may_not_replace(error: ClusterError, kind: Kind, name: &str) -> Error {
    Error::Cluster(match error {
        ClusterError::Refused {
            what,
            code: 403,
            message,
        } => ClusterError::Refused {
            what,
            code: 403,
            message: format!(
                "{message}; what changed of the original cannot be edited in its copy; delete {} {name}, and it is made \
                 anew, or grant the right to (manifests/components/replace-secrets)",
                kind.kind
            ),
        },
        other => other,
    })
}

/// Gives a copy the content `judged` names, where it is kept; otherwise a copy stays what it is. False when there is
/// none.
async fn restore(
    reference: &Reference,
    judged: Option<&String>,
    name: &str,
    live: Option<&Value>,
    canary: &Canary,
    cx: &Context,
) -> Result<bool, Error> {
    let (kind, namespace) = (config_kind(reference.kind), canary.id.namespace.as_str());
    let holds = |object: Option<&Value>| {
        object.is_some_and(|object| judged.is_some_and(|judged| *judged == config::checksum(object)))
    };
    if judged.is_none() || holds(live) {
        return Ok(live.is_some());
    }
    let kept = config::kept_name(&reference.key(), canary);
    let kept = cx.cluster.get(kind, namespace, &kept).await?;
    let Some(kept) = kept.filter(|kept| holds(Some(kept)) && is_owned_by(kept, canary)) else {
        return Ok(live.is_some());
    };
    let original = config::as_original(&kept, live);
    let options = &cx.config.rendering;
    let write = config::copy(reference.kind, &original, name, live, canary, options);
    carry_out(write, kind, namespace, name, cx).await?;
    Ok(true)
}

/// A copy that holds what is promoted is about to get something else: what it holds is kept until that has proven
/// itself.
async fn keep(
    reference: &Reference,
    live: &Value,
    seen: &Sight,
    canary: &Canary,
    cx: &Context,
) -> Result<(), Error> {
    let status = &seen.observed.status;
    let promoted = status
        .promoted_configs
        .as_ref()
        .and_then(|configs| configs.get(&reference.key()));
    if promoted.is_none_or(|promoted| *promoted != config::checksum(live)) {
        return Ok(());
    }
    let judged = status
        .tracked_configs
        .as_ref()
        .and_then(|configs| configs.get(&reference.key()));
    if judged == promoted {
        return Ok(());
    }
    let (kind, namespace) = (config_kind(reference.kind), canary.id.namespace.as_str());
    let name = config::kept_name(&reference.key(), canary);
    let old = cx.cluster.get(kind, namespace, &name).await?;
    let write = config::keep(reference.kind, live, &name, old.as_ref(), canary);
    carry_out(write, kind, namespace, &name, cx).await
}

/// The promotion has proven itself: what only a failure would have needed goes. A Secret that was rotated is not kept
/// longer than that. The emptied objects stay for the next time: nothing here needs the right to delete a Secret.
pub(super) async fn forget(canary: &Canary, seen: &Sight, cx: &Context) -> Result<(), Error> {
    let status = &seen.observed.status;
    let namespace = canary.id.namespace.as_str();
    for (key, sum) in status.promoted_configs.iter().flatten() {
        let now = status
            .tracked_configs
            .as_ref()
            .and_then(|configs| configs.get(key));
        if now == Some(sum) {
            continue;
        }
        let kind = if key.starts_with("secret/") {
            Kind::SECRET
        } else {
            Kind::CONFIG_MAP
        };
        let name = config::kept_name(key, canary);
        let kept = cx.cluster.get(kind, namespace, &name).await?;
        if let Some(patch) = kept.as_ref().and_then(config::emptied) {
            cx.cluster.merge(kind, namespace, &name, &patch).await?;
        }
    }
    Ok(())
}

/// Where the copy of a config lives: under Flagger's name for it, or one of its own when another Canary's copy has
/// that.
async fn place(
    reference: &Reference,
    canary: &Canary,
    cx: &Context,
) -> Result<(String, Option<Value>), Error> {
    let kind = config_kind(reference.kind);
    let namespace = &canary.id.namespace;
    let mut name = config::usual_name(&reference.name);
    let mut live = cx.cluster.get(kind, namespace, &name).await?;
    if config::standing(live.as_ref(), canary) == Standing::Shared {
        name = config::own_name(&reference.name, canary);
        live = cx.cluster.get(kind, namespace, &name).await?;
    }
    match config::standing(live.as_ref(), canary) {
        Standing::Free => Ok((name, live)),
        Standing::Shared | Standing::Foreign => {
            let foreign = config::ForeignCopy {
                kind: reference.kind.as_str(),
                name: format!("{name}.{namespace}"),
                original: reference.name.clone(),
            };
            Err(Error::Blocked(foreign.to_string()))
        }
    }
}
