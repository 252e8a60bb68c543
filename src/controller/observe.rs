//! Gather: caches and a few GETs become the facts a decision looks at.

use serde_json::Value;

use crate::cluster::{Kind, to_value};
use crate::model::canary::{Canary, Provider, TargetKind};
use crate::model::revision::{self, Revision};
use crate::model::status;
use crate::rollout::observed::{Block, Observed, Seen, Workload};
use crate::workload::service::Role;
use crate::workload::{self, SelectorLabel, deployment, service};

use super::{Caches, Context, Error};

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
pub(crate) fn observe(wire: &Value, canary: &Canary, cx: &Context) -> Result<Sight, Error> {
    let namespace = &canary.id.namespace;
    let deleting = wire.pointer("/metadata/deletionTimestamp").is_some();
    let has_finalizer = wire
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|one| one.as_str() == Some(FINALIZER)));
    let stored = status::read(wire.get("status"))?;
    let mut block = None;
    let routed = canary.provider == Provider::Kubernetes && canary.target.kind == TargetKind::Deployment;
    let target = if routed {
        cached(Kind::DEPLOYMENT, namespace, &canary.target.name, cx)?
    } else {
        None
    };
    let primary_name = format!("{}-primary", canary.target.name);
    let primary = if routed {
        cached(Kind::DEPLOYMENT, namespace, &primary_name, cx)?
    } else {
        None
    };
    let options = &cx.config.rendering;
    let label = target
        .as_ref()
        .and_then(|target| workload::selector_label(target, options));
    if routed {
        block = first_block(
            canary,
            wire,
            target.as_ref(),
            primary.as_ref(),
            label.as_ref(),
            cx,
        );
    } else if canary.provider == Provider::Kubernetes {
        block = Some(Block {
            reason: "TargetKindNotSupported".to_owned(),
            message: format!(
                "spec.targetRef.kind: {} is not released by this version; expected Deployment; nothing is written",
                canary.target.kind.as_str()
            ),
        });
    }
    let mut services_ready = false;
    if let (Some(target), Some(label)) = (&target, &label) {
        services_ready = true;
        for role in [Role::Canary, Role::Primary, Role::Apex] {
            let live = cached(Kind::SERVICE, namespace, &service::name(canary, role), cx)?;
            match service::reconcile(canary, role, label, target, live.as_ref()) {
                Ok(None) => {}
                Ok(Some(_)) => services_ready = false,
                Err(owned) => {
                    services_ready = false;
                    block = block.or(Some(Block {
                        reason: "ServiceOwned".to_owned(),
                        message: owned.to_string(),
                    }));
                }
            }
        }
    }
    let revision = target.as_ref().map(|target| Revision {
        template: revision::hash(target.pointer("/spec/template").unwrap_or(&Value::Null)),
        configs: None,
    });
    let same = match (&target, &primary, &label) {
        (Some(target), Some(primary), Some(label)) => {
            deployment::runs_the_same(target, primary, label, canary, options)
        }
        (Some(_) | None, Some(_) | None, Some(_) | None) => false,
    };
    let observed = Observed {
        status: stored,
        target: target
            .as_ref()
            .map_or(Seen::Absent, |object| Seen::Present(numbers(object))),
        primary: primary
            .as_ref()
            .map_or(Seen::Absent, |object| Seen::Present(numbers(object))),
        revision,
        target_equals_primary: same,
        services_ready,
        blocked: block,
        deleting,
        has_finalizer,
    };
    Ok(Sight {
        observed,
        target,
        primary,
        label,
    })
}

/// An object from the cache, or our own newer write of it.
pub(crate) fn cached(kind: Kind, namespace: &str, name: &str, cx: &Context) -> Result<Option<Value>, Error> {
    let store = if kind == Kind::SERVICE {
        &cx.caches.services
    } else {
        &cx.caches.deployments
    };
    let found = Caches::find(store, kind, namespace, name)
        .map(|object| to_value(name, &object))
        .transpose()?;
    Ok(cx.cluster.newest(kind, namespace, name, found))
}

/// The first reason not to touch anything.
fn first_block(
    canary: &Canary,
    wire: &Value,
    target: Option<&Value>,
    primary: Option<&Value>,
    label: Option<&SelectorLabel>,
    cx: &Context,
) -> Option<Block> {
    let block = |reason: &str, message: String| {
        Some(Block {
            reason: reason.to_owned(),
            message,
        })
    };
    if target.is_none() {
        return block(
            "TargetNotFound",
            format!(
                "spec.targetRef: {} {}.{} does not exist; create it, or correct the name",
                canary.target.kind.as_str(),
                canary.target.name,
                canary.id.namespace
            ),
        );
    }
    if label.is_none() {
        return block(
            "SelectorLabelMissing",
            format!(
                "spec.targetRef: deployment {}.{} spec.selector.matchLabels must contain one of [{}]; add one of them \
                 to the selector and the pod template, or start with --selector-labels",
                canary.target.name,
                canary.id.namespace,
                cx.config.rendering.selector_labels.join(" ")
            ),
        );
    }
    if let Some(primary) = primary
        && !workload::is_owned_by(primary, canary)
    {
        return block(
            "ForeignPrimary",
            format!(
                "Deployment {0}-primary.{1} exists and is not controlled by this Canary; expected none, or ours; \
                 rename or delete it, or rename the target",
                canary.target.name, canary.id.namespace
            ),
        );
    }
    elder(canary, wire, cx).and_then(|other| {
        block(
            "TargetTaken",
            format!(
                "spec.targetRef: {} {} is already released by Canary {other}; one target has one Canary; delete one of them",
                canary.target.kind.as_str(),
                canary.target.name
            ),
        )
    })
}

/// Another, older Canary with the same target: the first one wins.
fn elder(canary: &Canary, wire: &Value, cx: &Context) -> Option<String> {
    let age = |object: &Value| {
        let part = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        (part("/metadata/creationTimestamp"), part("/metadata/uid"))
    };
    let mine = age(wire);
    cx.caches.canaries.state().iter().find_map(|other| {
        if other.metadata.namespace.as_deref() != Some(canary.id.namespace.as_str())
            || other.metadata.name.as_deref() == Some(canary.id.name.as_str())
            || other.metadata.deletion_timestamp.is_some()
        {
            return None;
        }
        let text = |pointer: &str| other.data.pointer(pointer).and_then(Value::as_str);
        if text("/spec/targetRef/name") != Some(canary.target.name.as_str())
            || text("/spec/targetRef/kind") != Some(canary.target.kind.as_str())
        {
            return None;
        }
        let theirs = age(&to_value("Canary", other).ok()?);
        (theirs < mine).then(|| other.metadata.name.clone().unwrap_or_default())
    })
}

/// The numbers of a Deployment.
fn numbers(object: &Value) -> Workload {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let count = |pointer: &str| number(pointer).unwrap_or_default() as i32;
    let deadline_exceeded = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|list| {
            list.iter().any(|one| {
                one.get("type").and_then(Value::as_str) == Some("Progressing")
                    && one.get("reason").and_then(Value::as_str) == Some("ProgressDeadlineExceeded")
            })
        });
    Workload {
        name: object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        generation: number("/metadata/generation").unwrap_or_default(),
        observed_generation: number("/status/observedGeneration").unwrap_or_default(),
        desired: number("/spec/replicas").unwrap_or(1) as i32,
        total: count("/status/replicas"),
        updated: count("/status/updatedReplicas"),
        available: count("/status/availableReplicas"),
        ready: count("/status/readyReplicas"),
        deadline_exceeded,
        own_deadline: number("/spec/progressDeadlineSeconds").and_then(|seconds| u32::try_from(seconds).ok()),
        revision: object
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(workload::REVISION_ANNOTATION))
            .and_then(Value::as_str)
            .map(str::to_owned),
    }
}
