//! A pod's status from the state of its containers. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::controllers::object::{condition, list, stamp, text, uid};

/// One container now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not started: reason and message.
    Waiting(&'static str, String),
    /// Started, ready or not.
    Running { ready: bool },
    /// Exited and waiting to be started again (`CrashLoopBackOff`).
    BackOff { wait: String },
    /// Exited for good, with this code.
    Exited { code: i32 },
}

/// What the pod's status is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) ip: String,
    pub(crate) started: Timestamp,
    /// By container, in the order of the spec.
    pub(crate) states: Vec<State>,
    /// How often crashing containers were started again.
    pub(crate) restarts: u32,
}

/// The status as merge-patched onto the pod; transition times that did not change are kept.
pub(crate) fn render(pod: &Value, sight: &Sight, now: Timestamp) -> Value {
    let ready = sight
        .states
        .iter()
        .all(|state| *state == State::Running { ready: true });
    let containers: Vec<Value> = list(pod, "/spec/containers")
        .iter()
        .zip(&sight.states)
        .map(|(spec, state)| container(pod, spec, state, sight))
        .collect();
    let unready: Vec<&str> = list(pod, "/spec/containers")
        .iter()
        .zip(&sight.states)
        .filter(|(_, state)| **state != State::Running { ready: true })
        .map(|(spec, _)| text(spec, "/name"))
        .collect();
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    let verdict = |kind: &str| {
        if ready {
            transition(pod, kind, "True", None, now)
        } else {
            transition(pod, kind, "False", Some(("ContainersNotReady", &message)), now)
        }
    };
    json!({"status": {
        "phase": phase(&sight.states),
        "conditions": [
            transition(pod, "PodReadyToStartContainers", "True", None, now),
            transition(pod, "Initialized", "True", None, now),
            verdict("Ready"),
            verdict("ContainersReady"),
            transition(pod, "PodScheduled", "True", None, now),
        ],
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": sight.ip,
        "podIPs": [{"ip": sight.ip}],
        "startTime": stamp(sight.started),
        "qosClass": "BestEffort",
        "containerStatuses": containers,
    }})
}

/// The status of a pod no node takes.
pub(crate) fn unschedulable(pod: &Value, message: &str, now: Timestamp) -> Value {
    let scheduled = transition(
        pod,
        "PodScheduled",
        "False",
        Some(("Unschedulable", message)),
        now,
    );
    json!({"status": {"phase": "Pending", "conditions": [scheduled]}})
}

fn phase(states: &[State]) -> &'static str {
    let exited = |state: &State| matches!(state, State::Exited { .. });
    if !states.is_empty() && states.iter().all(exited) {
        let failed = states.iter().any(|state| *state != State::Exited { code: 0 });
        return if failed { "Failed" } else { "Succeeded" };
    }
    if states.iter().any(|state| matches!(state, State::Waiting(..))) {
        "Pending"
    } else {
        "Running"
    }
}

fn transition(pod: &Value, kind: &str, status: &str, why: Option<(&str, &str)>, now: Timestamp) -> Value {
    let since = condition(pod, kind)
        .filter(|old| text(old, "/status") == status)
        .map_or_else(|| stamp(now), |old| text(old, "/lastTransitionTime").to_owned());
    let mut condition =
        json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since});
    if let Some((reason, message)) = why {
        condition["reason"] = json!(reason);
        condition["message"] = json!(message);
    }
    condition
}

fn container(pod: &Value, spec: &Value, state: &State, sight: &Sight) -> Value {
    let id = format!("devcluster://{}/{}", uid(pod), text(spec, "/name"));
    let started = stamp(sight.started);
    let terminated = |code: i32| {
        let reason = if code == 0 { "Completed" } else { "Error" };
        json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": started,
            "containerID": id}})
    };
    let (now, last, ready, running) = match state {
        State::Waiting(reason, message) => (
            json!({"waiting": {"reason": reason, "message": message}}),
            json!({}),
            false,
            false,
        ),
        State::Running { ready } => (
            json!({"running": {"startedAt": started}}),
            json!({}),
            *ready,
            true,
        ),
        State::BackOff { wait } => {
            let message = format!(
                "back-off {wait} restarting failed container={} pod={}_{}({})",
                text(spec, "/name"),
                text(pod, "/metadata/name"),
                text(pod, "/metadata/namespace"),
                uid(pod)
            );
            (
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}}),
                terminated(1),
                false,
                false,
            )
        }
        State::Exited { code } => (terminated(*code), json!({}), false, false),
    };
    let crashed = matches!(state, State::BackOff { .. });
    json!({
        "name": text(spec, "/name"),
        "image": text(spec, "/image"),
        "imageID": "",
        "containerID": id,
        "ready": ready,
        "started": running,
        "restartCount": if crashed { sight.restarts } else { 0 },
        "state": now,
        "lastState": last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"metadata": {"name": "web-1", "namespace": "test", "uid": "u"},
            "spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}})
    }

    fn seen(states: [State; 2]) -> Value {
        let at: Timestamp = "2024-05-01T10:00:00Z".parse().unwrap();
        let sight = Sight {
            ip: "127.1.0.1".into(),
            started: at,
            states: states.into(),
            restarts: 3,
        };
        render(&pod(), &sight, at)
    }

    #[test]
    fn phases_and_readiness() {
        let running = |ready| State::Running { ready };
        let back_off = || State::BackOff { wait: "1s".into() };
        let exited = |code| State::Exited { code };
        let waiting = || State::Waiting("ContainerCreating", String::new());
        let table = [
            ([running(true), running(true)], "Running", "True"),
            ([running(true), running(false)], "Running", "False"),
            ([running(true), back_off()], "Running", "False"),
            ([waiting(), running(true)], "Pending", "False"),
            ([exited(0), exited(0)], "Succeeded", "False"),
            ([exited(0), exited(1)], "Failed", "False"),
        ];
        for (states, phase, ready) in table {
            let status = seen(states.clone());
            assert_eq!(text(&status, "/status/phase"), phase, "{states:?}");
            assert_eq!(
                text(condition(&status, "Ready").unwrap(), "/status"),
                ready,
                "{states:?}"
            );
        }
    }

    #[test]
    fn a_crash_loop_shows_its_count() {
        let status = seen([
            State::Running { ready: true },
            State::BackOff { wait: "2s".into() },
        ]);
        let crashed = &list(&status, "/status/containerStatuses")[1];
        assert_eq!(crashed["restartCount"], json!(3));
        assert_eq!(text(crashed, "/state/waiting/reason"), "CrashLoopBackOff");
        assert_eq!(text(crashed, "/lastState/terminated/reason"), "Error");
        let message = text(condition(&status, "Ready").unwrap(), "/message").to_owned();
        assert_eq!(message, "containers with unready status: [b]");
    }

    #[test]
    fn transition_times_last() {
        let mut pod = pod();
        pod["status"] =
            seen([State::Running { ready: true }, State::Running { ready: true }])["status"].clone();
        let later: Timestamp = "2024-05-01T11:00:00Z".parse().unwrap();
        let sight = Sight {
            ip: "127.1.0.1".into(),
            started: later,
            states: vec![State::Running { ready: true }; 2],
            restarts: 0,
        };
        let status = render(&pod, &sight, later);
        assert_eq!(
            text(condition(&status, "Ready").unwrap(), "/lastTransitionTime"),
            "2024-05-01T10:00:00Z"
        );
    }
}
