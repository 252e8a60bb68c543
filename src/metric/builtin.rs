//! The built-in checks of provider `kubernetes` (flagger-behaviour §5.5): HTTP histograms the pods expose
//! themselves, labelled with `kubernetes_namespace` and `kubernetes_pod_name` by the scraper.

use crate::model::canary::{Target, TargetKind};

/// `request-success-rate`: percent of answers that are not 5xx.
pub fn success_rate(namespace: &str, target: &Target, interval: &str) -> String {
    let pods = pods(namespace, target);
    format!(
        "100 * sum(rate(http_request_duration_seconds_count{{{pods},status!~\"5.*\"}}[{interval}])) \
         / sum(rate(http_request_duration_seconds_count{{{pods}}}[{interval}]))"
    )
}

/// `request-duration`: the 99th percentile, in seconds.
pub fn request_duration(namespace: &str, target: &Target, interval: &str) -> String {
    let pods = pods(namespace, target);
    format!(
        "histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket{{{pods}}}[{interval}])) by (le))"
    )
}

/// The pods of a target, not those of `<target>-primary`, which have one segment more: a pod of a Deployment is named
/// after its ReplicaSet, one of a DaemonSet after the DaemonSet (Flagger asks about two segments for both, which are
/// the primary's on a DaemonSet, Q-20).
fn pods(namespace: &str, target: &Target) -> String {
    let segments = match target.kind {
        TargetKind::Deployment | TargetKind::Service | TargetKind::Knative => "[0-9a-zA-Z]+(-[0-9a-zA-Z]+)",
        TargetKind::DaemonSet => "[0-9a-zA-Z]+",
    };
    let name = &target.name;
    format!("kubernetes_namespace=\"{namespace}\",kubernetes_pod_name=~\"{name}-{segments}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: TargetKind) -> Target {
        Target {
            kind,
            name: "podinfo".to_owned(),
        }
    }

    #[test]
    fn q20_queries_select_the_canary_only() {
        let table = [
            (
                TargetKind::Deployment,
                "podinfo-6f7d9-x2x4z",
                "podinfo-primary-6f7d9-x2x4z",
            ),
            (TargetKind::DaemonSet, "podinfo-x2x4z", "podinfo-primary-x2x4z"),
        ];
        for (kind, ours, primarys) in table {
            for query in [
                success_rate("test", &target(kind), "1m"),
                request_duration("test", &target(kind), "1m"),
            ] {
                assert!(query.contains("kubernetes_namespace=\"test\""), "{query}");
                assert!(query.contains("[1m]"), "{query}");
                let (_, rest) = query.split_once("kubernetes_pod_name=~\"").unwrap();
                let (pattern, _) = rest.split_once('"').unwrap();
                // Prometheus anchors patterns.
                let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
                assert!(pattern.is_match(ours) && !pattern.is_match(primarys), "{query}");
            }
        }
    }
}
