//! Ready, annotated pods as Prometheus' `http_sd` targets, with the labels the usual Kubernetes scrape configuration
//! gives them. Pure.

use serde_json::{Map, Value, json};

use crate::controllers::object::{annotation, deleting, int, labels, list, name, namespace, pod_ready, text};

/// One target per ready pod with `prometheus.io/scrape: "true"`; `prometheus.io/port` and `prometheus.io/path` say
/// where, else the first container port and `/metrics`.
pub(crate) fn targets(pods: &[Value]) -> Value {
    pods.iter().filter_map(target).collect()
}

fn target(pod: &Value) -> Option<Value> {
    if annotation(pod, "prometheus.io/scrape") != Some("true") || !pod_ready(pod) || deleting(pod) {
        return None;
    }
    let declared = list(pod, "/spec/containers")
        .iter()
        .flat_map(|container| list(container, "/ports"))
        .find_map(|port| int(port, "/containerPort"));
    let port = match annotation(pod, "prometheus.io/port") {
        Some(port) => port.parse().ok(),
        None => declared,
    }?;
    let mut all: Map<String, Value> = labels(pod)
        .into_iter()
        .map(|(key, value)| (label(&key), json!(value)))
        .collect();
    let path = annotation(pod, "prometheus.io/path").unwrap_or("/metrics");
    all.insert("__metrics_path__".into(), json!(path));
    all.insert("kubernetes_namespace".into(), json!(namespace(pod)));
    all.insert("kubernetes_pod_name".into(), json!(name(pod)));
    Some(json!({"targets": [format!("{}:{port}", text(pod, "/status/podIP"))], "labels": all}))
}

/// A Kubernetes label key as a Prometheus label name.
fn label(key: &str) -> String {
    key.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_scraped() {
        let pod = |scrape: &str, ready: &str| {
            json!({
                "metadata": {
                    "name": "web-1",
                    "namespace": "test",
                    "labels": {"app.kubernetes.io/name": "web"},
                    "annotations": {"prometheus.io/scrape": scrape},
                },
                "spec": {"containers": [{"ports": [{"containerPort": 9898}]}]},
                "status": {"podIP": "127.1.0.1", "conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let mut placed = pod("true", "True");
        placed["metadata"]["annotations"]["prometheus.io/port"] = json!("9797");
        placed["metadata"]["annotations"]["prometheus.io/path"] = json!("/stats");
        let mut leaving = pod("true", "True");
        leaving["metadata"]["deletionTimestamp"] = json!("2024-05-01T10:00:00Z");
        let pods = [
            pod("true", "True"),
            pod("false", "True"),
            pod("true", "False"),
            leaving,
            placed,
        ];
        let target = |port: u16, path: &str| {
            json!({"targets": [format!("127.1.0.1:{port}")], "labels": {"app_kubernetes_io_name": "web",
                "__metrics_path__": path, "kubernetes_namespace": "test", "kubernetes_pod_name": "web-1"}})
        };
        assert_eq!(
            targets(&pods),
            json!([target(9898, "/metrics"), target(9797, "/stats")])
        );
    }
}
