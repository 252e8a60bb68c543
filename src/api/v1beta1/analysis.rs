//! `spec.analysis`: how a new revision is judged.

use std::collections::BTreeMap;

use serde_json::Number;

use super::mesh::AnalysisMatch;

/// Go durations (`30s`, `1m30s`, `1.5h`), not negative. Sharper judgement (zero, too short) is admission's.
const GO_DURATION: &str = r"^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$";

/// The same or nothing: an empty timeout is the default, as Flagger 0.x wrote it.
const TIMEOUT: &str = r"^$|^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$";

/// Go or Prometheus durations (`1m`, `1h30m`, `1d`), as a metric's interval is put into a query.
const RANGE_DURATION: &str = r"^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w|y))+$";

wire! {
    /// How a new revision is judged (Flagger `CanaryAnalysis`).
    ///
    /// One of `iterations`, `stepWeight` and `stepWeights` names the strategy; iterations win. What is absent has a
    /// default and a warning: objects of Flagger 0.x hold neither, or both.
    CanaryAnalysis {
        /// Time between two checks.
        #[schemars(extend("pattern" = GO_DURATION))]
        interval: String,
        /// Number of checks of a blue/green release or an A/B test.
        #[schemars(range(min = 0))]
        iterations: i32,
        /// Failed checks that roll back (at least 1).
        #[schemars(range(min = 0))]
        threshold: i32,
        /// Percentage of traffic at which a canary release is promoted (100 when absent).
        #[schemars(range(min = 0, max = 100))]
        max_weight: i32,
        /// Percentage of traffic added at each check.
        #[schemars(range(min = 0))]
        step_weight: i32,
        /// Percentages of traffic, check by check.
        #[schemars(length(max = 256), inner(range(min = 0, max = 100)))]
        step_weights: Vec<i32>,
        /// Percentage of traffic given back at each step of the promotion; all at once when absent.
        #[schemars(range(min = 0, max = 100))]
        step_weight_promotion: i32,
        /// Copy requests to the canary before it gets any.
        mirror: bool,
        /// Percentage of requests that are copied.
        #[schemars(range(min = 0, max = 100))]
        mirror_weight: i32,
        /// Percentage of the primary's pods that must be ready (100 when absent).
        #[schemars(range(min = 0, max = 100))]
        primary_ready_threshold: i32,
        /// Percentage of the canary's pods that must be ready (100 when absent).
        #[schemars(range(min = 0, max = 100))]
        canary_ready_threshold: i32,
        /// Conditions that send a request to the canary of an A/B test.
        #[schemars(length(max = 256))]
        r#match: Vec<AnalysisMatch>,
        /// Measurements taken at each check.
        #[schemars(length(max = 256))]
        metrics: Vec<Metric>,
        /// Who is told about the release.
        #[schemars(length(max = 256))]
        alerts: Vec<Alert>,
        /// Hooks that are called.
        #[schemars(length(max = 256))]
        webhooks: Vec<Webhook>,
        /// Cookie that keeps a user on the canary.
        session_affinity: SessionAffinity,
    }
}

wire! {
    /// A measurement (Flagger `CanaryMetric`).
    #[schemars(extend("required" = ["name"]))]
    Metric {
        /// Name; `request-success-rate` and `request-duration` are built in.
        name: String,
        /// Time range of the query (1m when absent).
        #[schemars(extend("pattern" = RANGE_DURATION))]
        interval: String,
        /// Bound of the value (deprecated: `thresholdRange`).
        threshold: Number,
        /// Bounds of the value.
        threshold_range: ThresholdRange,
        /// PromQL (deprecated: a MetricTemplate).
        query: String,
        /// The MetricTemplate that measures.
        template_ref: NamespacedRef,
        /// Values for `{{ variables.NAME }}` in the template's query.
        template_variables: BTreeMap<String, String>,
    }
}

wire! {
    /// Bounds of a value; the value passes when it lies between them.
    #[schemars(extend("x-kubernetes-validations" = serde_json::json!([{
        "rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
        "message": "min must not be greater than max, or no value can pass"
    }])))]
    ThresholdRange {
        /// Least value that passes.
        min: Number,
        /// Greatest value that passes.
        max: Number,
    }
}

wire! {
    /// A reference to an object of Flagger's, by default in the namespace of the Canary.
    #[schemars(extend("required" = ["name"]))]
    NamespacedRef {
        /// API version (ignored).
        api_version: String,
        /// Kind (ignored).
        kind: String,
        /// Name.
        name: String,
        /// Namespace.
        namespace: String,
    }
}

wire! {
    /// Who is told about the release (Flagger `CanaryAlert`).
    #[schemars(extend("required" = ["name", "providerRef"]))]
    Alert {
        /// Name.
        name: String,
        /// Least severity that is sent.
        #[schemars(extend("enum" = ["", "info", "warn", "error"]))]
        severity: String,
        /// The AlertProvider.
        provider_ref: NamespacedRef,
    }
}

wire! {
    /// A hook (Flagger `CanaryWebhook`).
    #[schemars(extend("required" = ["name", "url"]))]
    Webhook {
        /// When it is called (`rollout` when absent or empty).
        #[schemars(extend("enum" = [
            "", "confirm-rollout", "pre-rollout", "rollout", "confirm-promotion", "post-rollout", "event", "rollback",
            "confirm-traffic-increase"
        ]))]
        r#type: String,
        /// Name.
        name: String,
        /// Address.
        url: String,
        /// Send no alert about its failures.
        mute_alert: bool,
        /// Timeout of one call (10s when absent or empty).
        #[schemars(extend("pattern" = TIMEOUT))]
        timeout: String,
        /// Further calls after a failure.
        #[schemars(range(min = 0))]
        retries: i32,
        /// Accept any certificate.
        #[serde(rename = "disableTLS")]
        disable_tls: bool,
        /// Sent along with each call.
        metadata: BTreeMap<String, String>,
    }
}

wire! {
    /// Cookie that keeps a user on the canary.
    #[schemars(extend("required" = ["cookieName"]))]
    SessionAffinity {
        /// Name of the cookie.
        cookie_name: String,
        /// Name of the cookie of the primary.
        primary_cookie_name: String,
        /// Domain of the cookie.
        domain: String,
        /// Hide the cookie from scripts.
        http_only: bool,
        /// Lifetime of the cookie in seconds.
        #[schemars(range(min = 0), extend("default" = 86400))]
        max_age: i32,
        /// Partition the cookie by site.
        partitioned: bool,
        /// Path of the cookie.
        path: String,
        /// `SameSite` of the cookie.
        #[schemars(extend("enum" = ["Strict", "Lax", "None"]))]
        same_site: String,
        /// Send the cookie over TLS only.
        secure: bool,
    }
}
