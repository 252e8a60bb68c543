//! What somebody else set on objects of ours since the bootstrap.
//!
//! Asks the API server only while something differs: caches lack `managedFields`, which tell who it was.

use serde_json::Value;

use crate::cluster::{FIELD_MANAGER, Kind};
use crate::model::canary::{Canary, TargetKind};
use crate::model::reconciler::{self, Reconciler};
use crate::model::status::Stage;
use crate::rollout::observed::{Changed, Interference};
use crate::workload::service::{self, Role};
use crate::workload::target;

use super::index::target_kind;
use super::observe::{Sight, find};
use super::{Context, Error};

/// Looks for it.
pub(super) async fn look(canary: &Canary, sight: &mut Sight, cx: &Context) -> Result<(), Error> {
    let past = match sight.observed.status.stage {
        Stage::New | Stage::Initializing | Stage::Terminating | Stage::Terminated => false,
        Stage::Failed => !sight.observed.status.last_promoted.is_empty(),
        Stage::Initialized
        | Stage::Waiting
        | Stage::Progressing
        | Stage::WaitingPromotion
        | Stage::Promoting
        | Stage::Finalising
        | Stage::Succeeded => true,
    };
    let routed = matches!(canary.target.kind, TargetKind::Deployment | TargetKind::DaemonSet);
    if !past || !routed || sight.observed.deleting || sight.observed.blocked.is_some() {
        return Ok(());
    }
    if !sight.observed.services_ready {
        sight.observed.interference = apex(canary, sight, cx).await?;
        return Ok(());
    }
    let resting = matches!(
        sight.observed.status.stage,
        Stage::Initialized | Stage::Succeeded | Stage::Failed
    );
    let up = sight
        .observed
        .target
        .workload()
        .is_some_and(|target| target.desired > 0);
    if resting && up {
        raised(canary, sight, cx).await?;
    }
    Ok(())
}

/// The apex is not as we left it, without an edit of the Canary (or, for its ports, of the target).
async fn apex(canary: &Canary, sight: &Sight, cx: &Context) -> Result<Option<Interference>, Error> {
    let (Some(target), Some(label)) = (&sight.target, &sight.label) else {
        return Ok(None);
    };
    let namespace = &canary.id.namespace;
    let name = service::name(canary, Role::Apex);
    let Some(live) = find(Kind::SERVICE, namespace, &name, cx).await? else {
        return Ok(None);
    };
    let Ok(Some(wanted)) = service::reconcile(canary, Role::Apex, label, target, Some(&live)) else {
        return Ok(None);
    };
    let status = &sight.observed.status;
    // An edited Canary asks for other Services, or for the same ones again.
    if status.observed_generation != canary.generation {
        return Ok(None);
    }
    let released = sight.observed.revision.as_ref();
    let edited = released.is_some_and(|current| current.template != status.last_applied);
    let turned = live["spec"]["selector"] != wanted["spec"]["selector"];
    let field = if turned {
        "/spec/selector"
    } else if !edited && reconciler::of(&live).is_some() {
        "/spec/ports"
    } else {
        return Ok(None);
    };
    let (manager, tool) = writer(Kind::SERVICE, namespace, &name, field, cx).await?;
    Ok(Some(Interference {
        changed: Changed::Service {
            to_target: turned && selects(&live["spec"]["selector"], target),
        },
        field: format!("Service {name}.{namespace}: {}", dotted(field)),
        found: brief(&live["spec"], field),
        expected: brief(&wanted["spec"], field),
        reconciled: tool.is_some(),
        reason: tool.map_or("Other", Reconciler::reason),
        cure: cure(tool, field),
        manager,
    }))
}

/// A parked target has pods: a program's doing, somebody's, or ours that was never undone.
async fn raised(canary: &Canary, sight: &mut Sight, cx: &Context) -> Result<(), Error> {
    let Some(kind) = target_kind(canary.target.kind) else {
        return Ok(());
    };
    let (namespace, name) = (&canary.id.namespace, &canary.target.name);
    let (field, expected) = match canary.target.kind {
        TargetKind::DaemonSet => (
            "/spec/template/spec/nodeSelector",
            format!("{}=true", target::PARKED),
        ),
        TargetKind::Deployment | TargetKind::Service | TargetKind::Knative => {
            ("/spec/replicas", "0".to_owned())
        }
    };
    let Some(live) = cx.cluster.get(kind, namespace, name).await? else {
        return Ok(());
    };
    // Its cache may lag behind our own scaling.
    let parked = match canary.target.kind {
        TargetKind::DaemonSet => target::is_parked(&live),
        TargetKind::Deployment | TargetKind::Service | TargetKind::Knative => live["spec"]["replicas"] == 0,
    };
    if parked {
        return Ok(());
    }
    let write = reconciler::last_write(&live, field);
    let writer = write.map_or("", |write| write.manager);
    let tool = reconciler::named(writer).or_else(|| reconciler::of(&live));
    // A node selector that is gone has no writer: without a program's mark, who but us takes it out?
    if writer == FIELD_MANAGER || (writer.is_empty() && tool.is_none()) {
        sight.observed.left_up = true;
        return Ok(());
    }
    sight.observed.interference = Some(Interference {
        changed: Changed::Replicas,
        field: format!("{} {name}.{namespace}: {}", kind.kind, dotted(field)),
        manager: told(writer, tool),
        // `kubectl scale` is somebody's wish to look at it; an apply brings a manifest's number along.
        reconciled: tool.is_some() || write.is_some_and(|write| !write.scaled),
        reason: tool.map_or("Other", Reconciler::reason),
        found: brief(&live["spec"], field),
        expected,
        cure: cure(tool, field),
    });
    Ok(())
}

/// Who wrote a field last, and the program that is.
async fn writer(
    kind: Kind,
    namespace: &str,
    name: &str,
    field: &str,
    cx: &Context,
) -> Result<(String, Option<Reconciler>), Error> {
    let Some(live) = cx.cluster.get(kind, namespace, name).await? else {
        return Ok((told("", None), None));
    };
    let writer = reconciler::last_write(&live, field)
        .map(|write| write.manager)
        .filter(|writer| *writer != FIELD_MANAGER)
        .unwrap_or_default();
    let tool = reconciler::named(writer).or_else(|| reconciler::of(&live));
    Ok((told(writer, tool), tool))
}

fn told(writer: &str, tool: Option<Reconciler>) -> String {
    match (tool, writer) {
        (Some(tool), "") => tool.as_str().to_owned(),
        (Some(tool), writer) => format!("{} ({writer})", tool.as_str()),
        (None, "") => "somebody".to_owned(),
        (None, writer) => writer.to_owned(),
    }
}

fn cure(tool: Option<Reconciler>, field: &str) -> String {
    match tool {
        Some(tool) => tool.cure(field),
        None => format!("leave {} to Verdigris", dotted(field)),
    }
}

fn dotted(field: &str) -> String {
    field.trim_start_matches('/').replace('/', ".")
}

/// A selector as `a=b,c=d`, ports as `http 80, …`, a number as it is.
fn brief(spec: &Value, field: &str) -> String {
    let pointer = field.strip_prefix("/spec").unwrap_or(field);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match spec.pointer(pointer) {
        None | Some(Value::Null) => "not set".to_owned(),
        Some(Value::Object(map)) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}={}", text(value)))
                .collect();
            pairs.join(",")
        }
        Some(Value::Array(ports)) => {
            let ports: Vec<String> = ports
                .iter()
                .map(|port| format!("{} {}", text(&port["name"]), port["port"]))
                .collect();
            ports.join(", ")
        }
        Some(value) => text(value),
    }
}

/// Whether a selector matches the target's pods.
fn selects(selector: &Value, target: &Value) -> bool {
    let labels = target.pointer("/spec/template/metadata/labels");
    let Some(selector) = selector.as_object().filter(|map| !map.is_empty()) else {
        return false;
    };
    selector
        .iter()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_told_in_short() {
        let spec = json!({
            "selector": {"app": "a", "tier": "web"}, "replicas": 2, "ports": [{"name": "http", "port": 80}],
        });
        let table = [
            ("/spec/selector", "app=a,tier=web"),
            ("/spec/replicas", "2"),
            ("/spec/ports", "http 80"),
            ("/spec/template/spec/nodeSelector", "not set"),
        ];
        for (field, text) in table {
            assert_eq!(brief(&spec, field), text);
        }
        assert_eq!(told("kapp-server", Some(Reconciler::Kapp)), "kapp (kapp-server)");
        assert_eq!(told("kubectl-edit", None), "kubectl-edit");
        assert_eq!(told("", None), "somebody");
    }

    #[test]
    fn a_selector_without_entries_reaches_nobody() {
        let target = json!({"spec": {"template": {"metadata": {"labels": {"app": "a", "x": "y"}}}}});
        for (selector, expected) in [
            (json!({"app": "a"}), true),
            (json!({"app": "b"}), false),
            (json!({}), false),
            (Value::Null, false),
        ] {
            assert_eq!(selects(&selector, &target), expected, "{selector}");
        }
    }
}
