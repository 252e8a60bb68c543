//! The demo application's Prometheus series, with podinfo's names: `http_request_duration_seconds` by method, path
//! and status, and `http_requests_total` by status.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds in seconds (Prometheus' default buckets).
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Clone, Default)]
struct Histogram {
    /// Observations per bucket, not cumulative; the last is past every bound.
    buckets: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

/// What one pod has answered.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    series: Mutex<BTreeMap<(String, String, u16), Histogram>>,
}

impl Metrics {
    /// Counts one answered request.
    pub(crate) fn observe(&self, method: &str, path: &str, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BOUNDS.len());
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = series
            .entry((method.to_owned(), path.to_owned(), status))
            .or_default();
        histogram.buckets[bucket] += 1;
        histogram.seconds += seconds;
    }

    /// The text exposition format, version 0.0.4.
    pub(crate) fn expose(&self) -> String {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = String::from(
            "# HELP http_request_duration_seconds Seconds spent serving HTTP requests.\n\
             # TYPE http_request_duration_seconds histogram\n",
        );
        let mut totals: BTreeMap<u16, u64> = BTreeMap::new();
        for ((method, path, status), histogram) in &*series {
            let labels = format!("method=\"{method}\",path=\"{path}\",status=\"{status}\"");
            let mut below = 0;
            let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(histogram.buckets) {
                below += count;
                line(&mut page, &format!("_bucket{{{labels},le=\"{bound}\"}} {below}"));
            }
            line(&mut page, &format!("_sum{{{labels}}} {}", histogram.seconds));
            line(&mut page, &format!("_count{{{labels}}} {below}"));
            *totals.entry(*status).or_default() += below;
        }
        page.push_str("# HELP http_requests_total The total number of HTTP requests.\n");
        page.push_str("# TYPE http_requests_total counter\n");
        for (status, total) in totals {
            let _infallible = writeln!(page, "http_requests_total{{status=\"{status}\"}} {total}");
        }
        page
    }
}

fn line(page: &mut String, rest: &str) {
    page.push_str("http_request_duration_seconds");
    page.push_str(rest);
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        for (status, millis) in [(200, 3), (200, 40), (200, 20_000), (500, 1)] {
            metrics.observe("GET", "root", status, Duration::from_millis(millis));
        }
        let page = metrics.expose();
        let ok = "method=\"GET\",path=\"root\",status=\"200\"";
        let expected = [
            format!("http_request_duration_seconds_bucket{{{ok},le=\"0.005\"}} 1\n"),
            format!("http_request_duration_seconds_bucket{{{ok},le=\"0.05\"}} 2\n"),
            format!("http_request_duration_seconds_bucket{{{ok},le=\"1\"}} 2\n"),
            format!("http_request_duration_seconds_bucket{{{ok},le=\"+Inf\"}} 3\n"),
            format!("http_request_duration_seconds_sum{{{ok}}} 20.043\n"),
            format!("http_request_duration_seconds_count{{{ok}}} 3\n"),
            "http_requests_total{status=\"200\"} 3\n".to_owned(),
            "http_requests_total{status=\"500\"} 1\n".to_owned(),
        ];
        for line in expected {
            assert!(page.contains(&line), "{line} in\n{page}");
        }
    }
}
