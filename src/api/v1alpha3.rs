//! `flagger.app/v1alpha3` Canary: the version of Flagger 0.x, served (deprecated) while the conversion webhook is in
//! force, never stored.
//!
//! I own the shape Flagger 0.23 gave it. Its schema is open: 0.x validated almost nothing, so stored objects hold
//! unknown keys, nulls and wrong types, and none of them may be lost on the way to v1beta1.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceValidation, JSONSchemaProps,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use serde_json::{Number, Value, json};

use super::v1beta1::mesh::{HeaderOperations, HttpMatch, Retries, TrafficPolicy};
use super::v1beta1::{IngressRef, TargetRef};

/// The API version of this module.
pub const API_VERSION: &str = "flagger.app/v1alpha3";

/// What `kubectl` prints when a manifest of this version is used.
pub const DEPRECATION_WARNING: &str = "flagger.app/v1alpha3 Canary is deprecated; use flagger.app/v1beta1 Canary \
     (`verdigris convert` rewrites manifests)";

wire! {
    /// What a Canary controls and how its revisions are judged (Flagger 0.23 `CanarySpec`).
    #[derive(CustomResource)]
    #[kube(
        group = "flagger.app",
        version = "v1alpha3",
        kind = "Canary",
        plural = "canaries",
        singular = "canary",
        namespaced,
        status = "CanaryStatus",
        derive = "PartialEq",
        schema = "disabled",
        category = "all",
        storage = false,
        deprecated = "flagger.app/v1alpha3 Canary is deprecated; use flagger.app/v1beta1 Canary (`verdigris convert` rewrites manifests)",
        printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.phase"}"#,
        printcolumn = r#"{"name": "Weight", "type": "string", "jsonPath": ".status.canaryWeight"}"#,
        printcolumn = r#"{"name": "FailedChecks", "type": "string", "jsonPath": ".status.failedChecks", "priority": 1}"#,
        printcolumn = r#"{"name": "Interval", "type": "string", "jsonPath": ".spec.canaryAnalysis.interval", "priority": 1}"#,
        printcolumn = r#"{"name": "Mirror", "type": "boolean", "jsonPath": ".spec.canaryAnalysis.mirror", "priority": 1}"#,
        printcolumn = r#"{"name": "StepWeight", "type": "string", "jsonPath": ".spec.canaryAnalysis.stepWeight", "priority": 1}"#,
        printcolumn = r#"{"name": "MaxWeight", "type": "string", "jsonPath": ".spec.canaryAnalysis.maxWeight", "priority": 1}"#,
        printcolumn = r#"{"name": "LastTransitionTime", "type": "string", "jsonPath": ".status.lastTransitionTime"}"#
    )]
    CanarySpec {
        /// Traffic provider, a free string.
        provider: String,
        /// Prometheus address.
        metrics_server: String,
        /// The workload under control.
        target_ref: TargetRef,
        /// The autoscaler of the target: an object, or (legal in 0.x) a string.
        autoscaler_ref: Value,
        /// The Ingress of the target.
        ingress_ref: IngressRef,
        /// The Services and routing objects made for the target.
        service: CanaryService,
        /// How a new revision is judged.
        canary_analysis: CanaryAnalysis,
        /// The v1beta1 spelling, which Flagger 1.x already obeyed in objects of this version.
        analysis: Value,
        /// Seconds the canary may go without progress.
        progress_deadline_seconds: i32,
        /// Promote new revisions without judging them.
        skip_analysis: bool,
    }
}

wire! {
    /// The Services and routing objects made for the target (Flagger 0.23 `CanaryService`).
    CanaryService {
        /// Name of the apex Service.
        name: String,
        /// Port of the Services.
        port: i32,
        /// Name of the port.
        port_name: String,
        /// Container port, by number or name.
        target_port: IntOrString,
        /// Publish the other container ports too.
        port_discovery: bool,
        /// Request timeout.
        timeout: String,
        /// Istio gateways.
        gateways: Vec<String>,
        /// Hosts of the generated routes.
        hosts: Vec<String>,
        /// Istio traffic policy.
        traffic_policy: TrafficPolicy,
        /// Conditions of the generated routes.
        r#match: Vec<HttpMatch>,
        /// Rewrite of requests.
        rewrite: Rewrite,
        /// Retries.
        retries: Retries,
        /// Header operations.
        headers: HeaderOperations,
        /// Cross-origin policy.
        cors_policy: CorsPolicy,
        /// App Mesh mesh name.
        mesh_name: String,
        /// App Mesh backends.
        backends: Vec<String>,
    }
}

wire! {
    /// Rewrite of a request.
    Rewrite {
        /// New path.
        uri: String,
        /// New authority.
        authority: String,
    }
}

wire! {
    /// Cross-origin policy.
    CorsPolicy {
        /// Origins, verbatim.
        allow_origin: Vec<String>,
        /// Methods a caller may use.
        allow_methods: Vec<String>,
        /// Headers a caller may send.
        allow_headers: Vec<String>,
        /// Headers a browser may read.
        expose_headers: Vec<String>,
        /// How long a preflight may be cached.
        max_age: String,
        /// Allow credentials.
        allow_credentials: bool,
    }
}

wire! {
    /// How a new revision is judged (Flagger 0.23 `CanaryAnalysis`).
    CanaryAnalysis {
        /// Time between two checks.
        interval: String,
        /// Failed checks that roll back.
        threshold: i32,
        /// Percentage of traffic at which a canary release is promoted.
        max_weight: i32,
        /// Percentage of traffic added at each check.
        step_weight: i32,
        /// Number of checks of a blue/green release or an A/B test.
        iterations: i32,
        /// Copy requests to the canary.
        mirror: bool,
        /// Conditions of an A/B test.
        r#match: Vec<HttpMatch>,
        /// Measurements.
        metrics: Vec<Metric>,
        /// Hooks.
        webhooks: Vec<Webhook>,
    }
}

wire! {
    /// A measurement (Flagger 0.23 `CanaryMetric`).
    Metric {
        /// Name.
        name: String,
        /// Time range of the query.
        interval: String,
        /// Least success rate, greatest duration in milliseconds, or greatest value of the query.
        threshold: Number,
        /// PromQL.
        query: String,
    }
}

wire! {
    /// A hook (Flagger 0.23 `CanaryWebhook`).
    Webhook {
        /// When it is called.
        r#type: String,
        /// Name.
        name: String,
        /// Address.
        url: String,
        /// Timeout of one call.
        timeout: String,
        /// Sent along with each call.
        metadata: BTreeMap<String, String>,
    }
}

wire! {
    /// Where the release stands (Flagger 0.23 `CanaryStatus`).
    CanaryStatus {
        /// Phase of the release.
        phase: String,
        /// Failed checks of this run.
        failed_checks: i32,
        /// Percentage of traffic on the canary.
        canary_weight: i32,
        /// Checks done in this run.
        iterations: i32,
        /// Checksums of tracked configs.
        tracked_configs: BTreeMap<String, String>,
        /// The revision that is or was last judged.
        last_applied_spec: String,
        /// The revision the primary runs.
        last_promoted_spec: String,
        /// When this status was last written.
        last_transition_time: String,
        /// What is true of the release.
        conditions: Vec<super::v1beta1::status::CanaryCondition>,
    }
}

/// The open schema of this version: everything is preserved, only what makes the object a Canary is required.
///
/// No field below `spec` has a type, so that nothing an older API server stored is refused or dropped.
pub fn open_schema() -> CustomResourceValidation {
    let any = json!({"x-kubernetes-preserve-unknown-fields": true});
    let described = |text: &str| json!({"description": text, "x-kubernetes-preserve-unknown-fields": true});
    let root = json!({
        "description": "A Canary releases new revisions of a workload step by step and takes bad ones back.",
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["spec"],
        "properties": {
            "spec": {
                "description": "What the Canary controls and how its revisions are judged.",
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "required": ["targetRef"],
                "anyOf": [{"required": ["canaryAnalysis"]}, {"required": ["analysis"]}],
                "properties": {
                    "targetRef": described("The workload under control, in the namespace of the Canary."),
                    "autoscalerRef": any,
                    "canaryAnalysis": described("How a new revision is judged."),
                    "analysis": described("The v1beta1 spelling of canaryAnalysis; wins when both are present."),
                },
            },
            "status": {
                "description": "Where the release stands.",
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
            },
        },
    });
    CustomResourceValidation {
        open_api_v3_schema: serde_json::from_value::<JSONSchemaProps>(root).ok(),
    }
}
