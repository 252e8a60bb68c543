//! Cells of pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::value::{condition, count, duration, items, of_text};

pub(super) fn pod_ready(pod: &Value) -> Value {
    let ready = items(pod, "/status/containerStatuses")
        .iter()
        .filter(|s| s["ready"] == true)
        .count();
    json!(format!("{ready}/{}", items(pod, "/spec/containers").len()))
}

/// Init container states that are not over tell before the main containers do.
fn init_status(pod: &Value) -> Option<String> {
    let total = items(pod, "/spec/initContainers").len();
    for (index, status) in items(pod, "/status/initContainerStatuses").iter().enumerate() {
        let state = &status["state"];
        if let Some(ended) = state.get("terminated") {
            if ended["exitCode"] == 0 {
                continue;
            }
            let reason = of_text(ended, "/reason");
            return Some(if reason.is_empty() {
                format!("Init:ExitCode:{}", ended["exitCode"])
            } else {
                format!("Init:{reason}")
            });
        }
        let restartable = items(pod, "/spec/initContainers")
            .iter()
            .any(|c| c["name"] == status["name"] && c["restartPolicy"] == "Always");
        if restartable && status["started"] == true {
            continue;
        }
        let waiting = of_text(state, "/waiting/reason");
        return Some(if waiting.is_empty() || waiting == "PodInitializing" {
            format!("Init:{index}/{total}")
        } else {
            format!("Init:{waiting}")
        });
    }
    None
}

pub(super) fn pod_status(pod: &Value) -> String {
    let phase = of_text(pod, "/status/phase");
    let own = of_text(pod, "/status/reason");
    let mut reason = if own.is_empty() {
        phase.to_owned()
    } else {
        own.to_owned()
    };
    if items(pod, "/status/conditions")
        .iter()
        .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated")
    {
        "SchedulingGated".clone_into(&mut reason);
    }
    if let Some(init) = init_status(pod) {
        reason = init;
    } else {
        let mut running = false;
        for status in items(pod, "/status/containerStatuses").iter().rev() {
            let state = &status["state"];
            let waiting = of_text(state, "/waiting/reason");
            let ended = of_text(state, "/terminated/reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut reason);
            } else if !ended.is_empty() {
                ended.clone_into(&mut reason);
            } else if let Some(ended) = state.get("terminated") {
                reason = match ended["signal"].as_i64().filter(|s| *s != 0) {
                    Some(signal) => format!("Signal:{signal}"),
                    None => format!("ExitCode:{}", ended["exitCode"]),
                };
            } else if status["ready"] == true && state.get("running").is_some() {
                running = true;
            }
        }
        if reason == "Completed" && running {
            let ready = condition(pod, "Ready") == Some("True");
            (if ready { "Running" } else { "NotReady" }).clone_into(&mut reason);
        }
    }
    if pod
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|d| !d.is_null())
    {
        let over = matches!(phase, "Succeeded" | "Failed");
        if own == "NodeLost" {
            "Unknown".clone_into(&mut reason);
        } else if !over {
            "Terminating".clone_into(&mut reason);
        }
    }
    reason
}

pub(super) fn pod_restarts(pod: &Value, now: Timestamp) -> Value {
    let statuses = items(pod, "/status/containerStatuses");
    let restarts: i64 = statuses.iter().map(|s| count(s, "/restartCount")).sum();
    let last = statuses
        .iter()
        .filter_map(|s| {
            s.pointer("/lastState/terminated/finishedAt")?
                .as_str()?
                .parse::<Timestamp>()
                .ok()
        })
        .max();
    json!(match last.filter(|_| restarts > 0) {
        Some(last) => format!(
            "{restarts} ({} ago)",
            duration(now.as_second() - last.as_second())
        ),
        None => restarts.to_string(),
    })
}

pub(super) fn readiness_gates(pod: &Value) -> Value {
    let gates = items(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return json!("<none>");
    }
    let open = gates
        .iter()
        .filter(|g| condition(pod, of_text(g, "/conditionType")) == Some("True"))
        .count();
    json!(format!("{open}/{}", gates.len()))
}
