//! Why the surroundings of a Canary cannot be acted on.
//!
//! Owns: the order of the reasons. Promises: a deletion is held up by none of those that only a run needs.

use serde_json::Value;

use crate::cluster::Kind;
use crate::model::canary::{Canary, TargetKind};
use crate::rollout::observed::Block;
use crate::workload::{self, scaler, target};

use super::index::{Object, scaler_kind};
use super::observe::{Sight, find};
use super::{Context, Error, flagger, scaling};

/// The first reason, and what must change for another look, where the manifest does not name it.
#[derive(Default)]
pub(super) struct Blocked {
    pub(super) block: Option<Block>,
    pub(super) interest: Option<Object>,
}

impl Blocked {
    fn by(reason: &str, message: String) -> Self {
        Self {
            block: Some(Block {
                reason: reason.to_owned(),
                message,
            }),
            interest: None,
        }
    }
}

/// The first reason not to touch anything.
pub(super) async fn first(
    wire: &Value,
    canary: &Canary,
    sight: &Sight,
    cx: &Context,
) -> Result<Blocked, Error> {
    let (kind, name, namespace) = (
        canary.target.kind.as_str(),
        &canary.target.name,
        &canary.id.namespace,
    );
    if let Some(flagger) = flagger::alive(cx).await {
        return Ok(Blocked::by(
            Block::FLAGGER_ACTIVE,
            format!(
                "a Flagger controller is alive ({flagger}); expected none beside Verdigris; scale it to zero, and \
                 Verdigris goes on where it stopped"
            ),
        ));
    }
    let Some(target) = &sight.target else {
        return Ok(Blocked::by(
            "TargetNotFound",
            format!(
                "spec.targetRef: {kind} {name}.{namespace} does not exist; expected the workload to release; create it, \
                 or correct the name"
            ),
        ));
    };
    if sight.label.is_none() && canary.target.kind != TargetKind::Service {
        return Ok(Blocked::by(
            "SelectorLabelMissing",
            format!(
                "spec.targetRef: {} {name}.{namespace} spec.selector.matchLabels must contain one of [{}]; add one of \
                 them to the selector and the pod template, or start with --selector-labels",
                kind.to_lowercase(),
                cx.config.rendering.selector_labels.join(" ")
            ),
        ));
    }
    if let Some(strategy) = target::unsuitable_strategy(canary.target.kind, target) {
        return Ok(Blocked::by(
            "UpdateStrategyNotSupported",
            format!(
                "spec.targetRef: daemonset {name}.{namespace} must have RollingUpdate strategy but have {strategy}; set \
                 spec.updateStrategy.type to RollingUpdate"
            ),
        ));
    }
    if let Some(other) = elder(canary, wire, cx) {
        let mut blocked = Blocked::by(
            "TargetTaken",
            format!(
                "spec.targetRef: {kind} {name} is already released by Canary {other}; expected one Canary for one \
                 target; delete one of them"
            ),
        );
        blocked.interest = Some((Kind::CANARY.plural, namespace.clone(), other));
        return Ok(blocked);
    }
    if let Some(primary) = &sight.primary
        && !workload::is_owned_by(primary, canary)
    {
        return Ok(Blocked::by(
            "ForeignPrimary",
            format!(
                "{kind} {name}-primary.{namespace} exists and is not controlled by this Canary; expected none, or ours; \
                 rename or delete it, or rename the target"
            ),
        ));
    }
    if sight.observed.deleting {
        return Ok(Blocked::default());
    }
    autoscaler(canary, cx).await
}

/// An autoscaler that is missing, scales something else, or has a namesake where the primary's should be.
async fn autoscaler(canary: &Canary, cx: &Context) -> Result<Blocked, Error> {
    let Some(reference) = &canary.autoscaler else {
        return Ok(Blocked::default());
    };
    let source = scaling::users(reference, canary, cx).await?;
    let outcome = match scaler::check(reference, source.as_ref(), canary) {
        Ok(source) => {
            let (kind, name) = (scaler_kind(reference.kind), scaler::primary_name(reference));
            let live = find(kind, &canary.id.namespace, &name, cx).await?;
            scaler::primary(reference, source, live.as_ref(), canary).map(drop)
        }
        Err(error) => Err(error),
    };
    Ok(match outcome {
        Ok(()) => Blocked::default(),
        Err(error) => Blocked::by(error.reason(), error.to_string()),
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
        // Creation has whole seconds: whoever acts already is the elder, and names settle what is left.
        let idle = part("/status/phase").is_empty();
        (idle, part("/metadata/creationTimestamp"), part("/metadata/name"))
    };
    let mine = age(wire);
    let others = cx.caches.within(Kind::CANARY, &canary.id.namespace);
    others.iter().find_map(|other| {
        let text = |pointer: &str| other.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").unwrap_or_default();
        if name == canary.id.name || text("/metadata/deletionTimestamp").is_some() {
            return None;
        }
        if text("/spec/targetRef/name") != Some(canary.target.name.as_str())
            || text("/spec/targetRef/kind") != Some(canary.target.kind.as_str())
        {
            return None;
        }
        (age(other) < mine).then(|| name.to_owned())
    })
}
