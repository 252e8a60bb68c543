//! Recorded revisions: written at the start of a run, read when the target has moved on.

use serde_json::Value;

use crate::cluster::Kind;
use crate::model::canary::Canary;
use crate::model::revision::Revision;
use crate::model::status::Status;
use crate::workload::{CANARY_LABEL, record};

use super::observe::Sight;
use super::{Context, Error};

/// Recorded revisions kept beside the judged and the promoted one.
const KEPT_REVISIONS: usize = 2;

/// The recorded target, or the target itself while it still is that revision.
pub(super) async fn source(
    revision: &Revision,
    canary: &Canary,
    seen: &Sight,
    cx: &Context,
) -> Result<Value, Error> {
    if let Some(target) = &seen.target
        && seen
            .observed
            .revision
            .as_ref()
            .is_some_and(|current| current.template == revision.template)
    {
        return Ok(record::source(canary.target.kind, target));
    }
    recorded(revision, canary, cx)
        .await?
        .ok_or_else(|| Error::Unrecorded {
            revision: revision.template.clone(),
            target: format!("{}.{}", canary.target.name, canary.id.namespace),
        })
}

/// The same for a primary that is made anew: a parked target does not tell how many pods production had.
pub(super) async fn source_of_new(
    revision: &Revision,
    canary: &Canary,
    seen: &Sight,
    cx: &Context,
) -> Result<Value, Error> {
    let mut source = source(revision, canary, seen, cx).await?;
    if record::replicas(&source).is_none()
        && let Some(recorded) = recorded(revision, canary, cx).await?
        && let Some(replicas) = record::replicas(&recorded)
    {
        source["spec"]["replicas"] = replicas.into();
    }
    Ok(source)
}

async fn recorded(revision: &Revision, canary: &Canary, cx: &Context) -> Result<Option<Value>, Error> {
    let name = record::name(canary, revision);
    let found = cx
        .cluster
        .get(Kind::CONTROLLER_REVISION, &canary.id.namespace, &name)
        .await?;
    Ok(found.and_then(|object| record::read(&object, revision)))
}

/// Keeps the target as it is judged, and forgets revisions nobody can need any more.
pub(super) async fn keep(
    revision: &Revision,
    wanted: &Status,
    canary: &Canary,
    seen: &Sight,
    cx: &Context,
) -> Result<(), Error> {
    let Some(target) = &seen.target else { return Ok(()) };
    let namespace = &canary.id.namespace;
    let selector = format!("{CANARY_LABEL}={}", canary.id.uid);
    let records = cx
        .cluster
        .list(Kind::CONTROLLER_REVISION, namespace, &selector)
        .await?;
    if !records
        .iter()
        .any(|object| record::hash_of(object) == Some(&revision.template))
    {
        let rendered = record::render(canary, revision, target, seen.primary.as_ref());
        match cx.cluster.create(Kind::CONTROLLER_REVISION, &rendered).await {
            // Its name says what it holds, whatever became of its label.
            Err(error) if error.is_conflict() => {}
            made => drop(made?),
        }
    }
    let needed = [
        revision.template.as_str(),
        &wanted.last_applied,
        &wanted.last_promoted,
    ];
    for name in record::surplus(&records, &needed, KEPT_REVISIONS) {
        cx.cluster
            .delete(Kind::CONTROLLER_REVISION, namespace, &name)
            .await?;
    }
    Ok(())
}
