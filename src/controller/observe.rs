//! Gather: caches and a few GETs become the facts a decision looks at.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::Kind;
use crate::model::canary::{Canary, Provider, TargetKind};
use crate::model::order;
use crate::model::revision::{self, Revision};
use crate::model::status::{self, Status};
use crate::rollout::observed::{Block, Observed, Seen, Workload};
use crate::workload::config::{ConfigKind, Copied, Copies, Reference};
use crate::workload::service::{self, Role};
use crate::workload::{self, Rendering, SelectorLabel, mirror, primary_name, record, same, target, template};

use super::index::{self, target_kind};
use super::sums::{self, Content};
use super::{Context, Error, block, configs, contest, scaling};

/// The finalizer of `revertOnDeletion` (Flagger's name).
pub(crate) const FINALIZER: &str = "finalizer.flagger.app";

/// The facts, and the objects they were read from, so that steps act on exactly what was judged.
pub(crate) struct Sight {
    pub(crate) observed: Observed,
    pub(crate) target: Option<Value>,
    pub(crate) primary: Option<Value>,
    pub(crate) label: Option<SelectorLabel>,
}

/// Looks around one Canary.
pub(crate) async fn observe(wire: &Value, canary: &Canary, cx: &Context) -> Result<Sight, Error> {
    let namespace = &canary.id.namespace;
    let deleting = wire.pointer("/metadata/deletionTimestamp").is_some();
    let has_finalizer = wire
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|one| one.as_str() == Some(FINALIZER)));
    let stored = status::read(wire.get("status"))?;
    let id = (namespace.clone(), canary.id.name.clone());
    let mut interests = index::named(canary);
    cx.index.add(&id, interests.iter().cloned());

    let kind = target_kind(canary.target.kind).filter(|_| canary.provider == Provider::Kubernetes);
    let mut sight = Sight {
        observed: Observed {
            status: stored,
            target: Seen::Absent,
            primary: Seen::Absent,
            revision: None,
            target_equals_primary: false,
            services_ready: false,
            // Only provider kubernetes gets here; a router reports what it can do and does.
            routing: None,
            blocked: None,
            interference: None,
            left_up: false,
            stale_scalers: false,
            polled: None,
            deleting,
            has_finalizer,
            order: wire
                .pointer("/metadata/annotations")
                .and_then(|annotations| annotations.get(order::ANNOTATION))
                .and_then(Value::as_str)
                .map(order::read),
            skip_forbidden: None,
        },
        target: None,
        primary: None,
        label: None,
    };
    let Some(kind) = kind else {
        cx.index.set(&id, interests);
        return Ok(sight);
    };
    sight.target = find(kind, namespace, &canary.target.name, cx).await?;
    sight.primary = find(kind, namespace, &primary_name(canary), cx).await?;
    sight.label = sight
        .target
        .as_ref()
        .and_then(|target| workload::selector_label(target, &cx.config.rendering));
    let pods = sight
        .target
        .as_ref()
        .and_then(|target| target.pointer("/spec/template"));
    // A deletion needs none of them, and must not fail over them.
    let references = configs::references(canary, pods, cx).filter(|_| !deleting);
    interests.extend(index::configs(canary, references.as_deref().unwrap_or_default()));
    let blocked = block::first(wire, canary, &sight, cx).await?;
    interests.extend(blocked.interest);
    cx.index.set(&id, interests);
    sight.observed.blocked = blocked.block;

    let seen = |object: &Option<Value>| {
        object.as_ref().map_or(Seen::Absent, |object| {
            Seen::Present(numbers(canary.target.kind, object))
        })
    };
    sight.observed.target = seen(&sight.target);
    sight.observed.primary = seen(&sight.primary);
    services(&mut sight, canary, cx).await?;
    if let Some(target) = &sight.target {
        let configs = match &references {
            Some(references) => Some(checksums(references, canary, &mut sight.observed, cx).await?),
            None => None,
        };
        sight.observed.revision = Some(Revision {
            template: revision::hash(&target::released(canary.target.kind, target)),
            configs,
        });
        if !deleting {
            sight.observed.target_equals_primary = runs_the_same(&sight, canary, cx).await?;
        }
    }
    sight.observed.stale_scalers = !scaling::stale(canary, cx).is_empty();
    sight.observed.polled = cx.sums.unwatched(references.as_deref().unwrap_or_default());
    contest::look(canary, &mut sight, cx).await?;
    Ok(sight)
}

/// An object from the cache or our own newer write of it; of a kind without a cache, from the API server.
pub(super) async fn find(
    kind: Kind,
    namespace: &str,
    name: &str,
    cx: &Context,
) -> Result<Option<Value>, Error> {
    if !cx.caches.keeps(kind) {
        return Ok(cx.cluster.get(kind, namespace, name).await?);
    }
    let found = cx.caches.get(kind, namespace, name);
    let found = found.map(|object| Value::clone(&object));
    Ok(cx.cluster.newest(kind, namespace, name, found))
}

/// Whether the Services are as rendered; one that may not be touched blocks.
async fn services(sight: &mut Sight, canary: &Canary, cx: &Context) -> Result<(), Error> {
    let Some(target) = &sight.target else {
        return Ok(());
    };
    let namespace = &canary.id.namespace;
    let mut outcomes = Vec::new();
    if canary.target.kind == TargetKind::Service {
        let live = find(Kind::SERVICE, namespace, &mirror::canary_name(canary), cx).await?;
        outcomes.push(mirror::follow(canary, target, live.as_ref()));
    } else if let Some(label) = &sight.label {
        for role in [Role::Canary, Role::Primary, Role::Apex] {
            let live = find(Kind::SERVICE, namespace, &service::name(canary, role), cx).await?;
            outcomes.push(service::reconcile(canary, role, label, target, live.as_ref()));
        }
    }
    sight.observed.services_ready =
        !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome == &Ok(None));
    if let Some(error) = outcomes.into_iter().find_map(Result::err)
        && sight.observed.blocked.is_none()
    {
        sight.observed.blocked = Some(Block {
            reason: error.reason().to_owned(),
            message: error.to_string(),
        });
    }
    Ok(())
}

/// What the target's configs hold; a mandatory one that is missing blocks.
async fn checksums(
    references: &[Reference],
    canary: &Canary,
    observed: &mut Observed,
    cx: &Context,
) -> Result<BTreeMap<String, String>, Error> {
    let mut sums = BTreeMap::new();
    for reference in references {
        let namespace = &canary.id.namespace;
        let content = sums::content(
            reference.kind,
            namespace,
            &reference.name,
            !reference.optional,
            cx,
        )
        .await?;
        match content {
            Content::Tracked { all, .. } => drop(sums.insert(reference.key(), all)),
            Content::Missing if !reference.optional && observed.blocked.is_none() => {
                observed.blocked = Some(Block {
                    reason: "ConfigNotFound".to_owned(),
                    message: configs::missing(canary, reference),
                });
            }
            Content::Missing | Content::Untracked => {}
        }
    }
    Ok(sums)
}

/// Does the primary run what the target is, the rewrites undone? Copies of configs are compared only where the
/// answer will be used: the status does not know, or the primary does not say.
async fn runs_the_same(sight: &Sight, canary: &Canary, cx: &Context) -> Result<bool, Error> {
    let (Some(target), Some(primary)) = (&sight.target, &sight.primary) else {
        return Ok(false);
    };
    if canary.target.kind == TargetKind::Service {
        let source = record::source(canary.target.kind, target);
        let rendered = mirror::primary(
            &source,
            Some(primary),
            &Revision::default(),
            canary,
            &cx.config.rendering,
        );
        return Ok(same(rendered.get("spec"), primary.get("spec")));
    }
    let Some(label) = &sight.label else {
        return Ok(false);
    };
    let rendering = Rendering {
        canary,
        label,
        options: &cx.config.rendering,
        copies: &Copies::new(),
    };
    let Some(copied) = template::runs_the_same(target, primary, &rendering) else {
        return Ok(false);
    };
    let says = sight
        .observed
        .primary
        .workload()
        .is_some_and(|primary| primary.revision.is_some());
    if says && knows(&sight.observed.status) {
        return Ok(true);
    }
    let namespace = &canary.id.namespace;
    for Copied { kind, name, copy } in &copied {
        let content = |kind: ConfigKind, name: &str| {
            let name = name.to_owned();
            async move { sums::content(kind, namespace, &name, true, cx).await }
        };
        if !content(*kind, name)
            .await?
            .is_copied_by(&content(*kind, copy).await?)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True when the status names revisions by our hashes.
fn knows(status: &Status) -> bool {
    [&status.last_applied, &status.last_promoted]
        .iter()
        .all(|hash| !hash.is_empty() && !revision::is_foreign(hash))
}

/// The numbers of a workload. A core Service has none: it is ready when it exists.
fn numbers(kind: TargetKind, object: &Value) -> Workload {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let count = |pointer: &str| number(pointer).unwrap_or_default() as i32;
    let annotations = object.pointer("/metadata/annotations");
    let revision = annotations.and_then(|annotations| annotations.get(workload::REVISION_ANNOTATION));
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    let generation = number("/metadata/generation").unwrap_or_default();
    let base = Workload {
        name: name.unwrap_or_default().to_owned(),
        generation,
        observed_generation: number("/status/observedGeneration").unwrap_or_default(),
        desired: 1,
        total: 1,
        updated: 1,
        available: 1,
        ready: 1,
        deadline_exceeded: false,
        own_deadline: None,
        revision: revision.and_then(Value::as_str).map(str::to_owned),
    };
    match kind {
        TargetKind::Deployment => Workload {
            desired: number("/spec/replicas").unwrap_or(1) as i32,
            total: count("/status/replicas"),
            updated: count("/status/updatedReplicas"),
            available: count("/status/availableReplicas"),
            ready: count("/status/readyReplicas"),
            deadline_exceeded: has_condition(object, "Progressing", "ProgressDeadlineExceeded"),
            own_deadline: number("/spec/progressDeadlineSeconds")
                .and_then(|seconds| u32::try_from(seconds).ok()),
            ..base
        },
        TargetKind::DaemonSet => Workload {
            desired: if target::is_parked(object) {
                0
            } else {
                count("/status/desiredNumberScheduled")
            },
            total: count("/status/currentNumberScheduled"),
            updated: count("/status/updatedNumberScheduled"),
            available: count("/status/numberAvailable"),
            ready: count("/status/numberReady"),
            ..base
        },
        TargetKind::Service | TargetKind::Knative => Workload {
            observed_generation: generation,
            ..base
        },
    }
}

fn has_condition(object: &Value, kind: &str, reason: &str) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let text = |one: &Value, key: &str| one.get(key).and_then(Value::as_str).map(str::to_owned);
    conditions.into_iter().flatten().any(|one| {
        text(one, "type").as_deref() == Some(kind) && text(one, "reason").as_deref() == Some(reason)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workload::target::PARKED;

    #[test]
    fn a_daemon_set_counts_pods_and_a_parked_one_wants_none() {
        let mut object = json!({
            "metadata": {"name": "agent", "generation": 4},
            "spec": {"template": {"spec": {}}},
            "status": {
                "observedGeneration": 3, "desiredNumberScheduled": 5, "currentNumberScheduled": 5,
                "updatedNumberScheduled": 2, "numberAvailable": 4, "numberReady": 4,
            },
        });
        let seen = numbers(TargetKind::DaemonSet, &object);
        assert_eq!((seen.generation, seen.observed_generation), (4, 3));
        assert_eq!(
            (seen.desired, seen.total, seen.updated, seen.available),
            (5, 5, 2, 4)
        );
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({PARKED: "true"});
        assert_eq!(numbers(TargetKind::DaemonSet, &object).desired, 0);
    }

    #[test]
    fn a_deployment_counts_replicas() {
        let object = json!({
            "metadata": {"name": "podinfo", "generation": 2, "annotations": {workload::REVISION_ANNOTATION: "v1:a"}},
            "spec": {"progressDeadlineSeconds": 30},
            "status": {
                "observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 1, "readyReplicas": 1,
                "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}],
            },
        });
        let seen = numbers(TargetKind::Deployment, &object);
        assert_eq!(
            (seen.desired, seen.total, seen.updated, seen.available),
            (1, 3, 2, 1)
        );
        assert_eq!(
            (
                seen.deadline_exceeded,
                seen.own_deadline,
                seen.revision.as_deref()
            ),
            (true, Some(30), Some("v1:a"))
        );
    }

    #[test]
    fn a_service_is_there() {
        let seen = numbers(TargetKind::Service, &json!({"metadata": {"name": "x"}}));
        assert_eq!(
            (
                seen.desired,
                seen.available,
                seen.generation,
                seen.observed_generation
            ),
            (1, 1, 0, 0)
        );
    }
}
