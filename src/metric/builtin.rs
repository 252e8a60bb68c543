//! The built-in checks of provider `kubernetes` (flagger-behaviour §5.5): HTTP histograms the pods expose
//! themselves, labelled with `kubernetes_namespace` and `kubernetes_pod_name` by the scraper.

/// `request-success-rate`: percent of answers that are not 5xx.
pub fn success_rate(namespace: &str, target: &str, interval: &str) -> String {
    let pods = pods(namespace, target);
    format!(
        "100 * sum(rate(http_request_duration_seconds_count{{{pods},status!~\"5.*\"}}[{interval}])) \
         / sum(rate(http_request_duration_seconds_count{{{pods}}}[{interval}]))"
    )
}

/// `request-duration`: the 99th percentile, in seconds.
pub fn request_duration(namespace: &str, target: &str, interval: &str) -> String {
    let pods = pods(namespace, target);
    format!(
        "histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket{{{pods}}}[{interval}])) by (le))"
    )
}

/// The pods of a Deployment `target`, not those of `target-primary` (which have one segment more).
fn pods(namespace: &str, target: &str) -> String {
    format!(
        "kubernetes_namespace=\"{namespace}\",kubernetes_pod_name=~\"{target}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_select_the_canary_only() {
        let query = success_rate("test", "podinfo", "1m");
        assert!(query.contains("kubernetes_namespace=\"test\""), "{query}");
        assert!(query.contains("[1m]"), "{query}");
        let pattern = regex::Regex::new("^(?:podinfo-[0-9a-zA-Z]+(-[0-9a-zA-Z]+))$").unwrap();
        assert!(pattern.is_match("podinfo-6f7d9-x2x4z"));
        assert!(!pattern.is_match("podinfo-primary-6f7d9-x2x4z"));
    }
}
