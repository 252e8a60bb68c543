//! `flagger.app/v1beta1` Canary: the version that is stored.
//!
//! I own the shape of the object and what a schema can say about it (types, bounds, exclusive fields). The thirteen
//! v1alpha3 paths that Flagger's own schema prunes are declared here, so converted objects keep them. I never say
//! what a value means.

pub mod analysis;
pub mod mesh;
pub mod service;
pub mod status;

use std::collections::BTreeMap;

use kube::CustomResource;

pub use analysis::CanaryAnalysis;
pub use service::CanaryService;
pub use status::CanaryStatus;

/// The API version of this module.
pub const API_VERSION: &str = "flagger.app/v1beta1";

wire! {
    /// What a Canary controls and how its revisions are judged (Flagger `CanarySpec`).
    #[derive(CustomResource)]
    #[kube(
        group = "flagger.app",
        version = "v1beta1",
        kind = "Canary",
        plural = "canaries",
        singular = "canary",
        namespaced,
        status = "CanaryStatus",
        derive = "PartialEq",
        category = "all",
        doc = "A Canary releases new revisions of a workload step by step and takes bad ones back.",
        annotation("helm.sh/resource-policy", "keep"),
        printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.phase"}"#,
        printcolumn = r#"{"name": "Weight", "type": "string", "jsonPath": ".status.canaryWeight"}"#,
        printcolumn = r#"{"name": "Suspended", "type": "boolean", "jsonPath": ".spec.suspend", "priority": 1}"#,
        printcolumn = r#"{"name": "FailedChecks", "type": "string", "jsonPath": ".status.failedChecks", "priority": 1}"#,
        printcolumn = r#"{"name": "Interval", "type": "string", "jsonPath": ".spec.analysis.interval", "priority": 1}"#,
        printcolumn = r#"{"name": "Mirror", "type": "boolean", "jsonPath": ".spec.analysis.mirror", "priority": 1}"#,
        printcolumn = r#"{"name": "StepWeight", "type": "string", "jsonPath": ".spec.analysis.stepWeight", "priority": 1}"#,
        printcolumn = r#"{"name": "StepWeights", "type": "string", "jsonPath": ".spec.analysis.stepWeights", "priority": 1}"#,
        printcolumn = r#"{"name": "MaxWeight", "type": "string", "jsonPath": ".spec.analysis.maxWeight", "priority": 1}"#,
        printcolumn = r#"{"name": "LastTransitionTime", "type": "string", "jsonPath": ".status.lastTransitionTime"}"#
    )]
    #[schemars(extend(
        "required" = ["targetRef", "analysis"],
        "x-kubernetes-validations" = serde_json::json!([{
            "rule": "!has(self.provider) || has(self.analysis.iterations) || has(self.analysis.stepWeight) || \
                     has(self.analysis.stepWeights)",
            "message": "with a provider named, one of iterations (blue/green, A/B), stepWeight and stepWeights (canary) is \
                        expected in analysis"
        }])
    ))]
    CanarySpec {
        /// Traffic provider; the controller's `--mesh-provider` when absent.
        #[schemars(extend("enum" = [
            "apisix", "appmesh", "appmesh:v1beta2", "contour", "gatewayapi:v1", "gatewayapi:v1beta1", "gloo", "istio",
            "knative", "kubernetes", "kuma", "linkerd", "nginx", "osm", "skipper", "smi:v1alpha1", "smi:v1alpha2",
            "smi:v1alpha3", "traefik"
        ]))]
        provider: String,
        /// Prometheus address for built-in and inline queries; the controller's `--metrics-server` when absent.
        metrics_server: String,
        /// Seconds the canary may go without progress before it is rolled back (600 when absent).
        #[schemars(range(min = 0))]
        progress_deadline_seconds: i32,
        /// The workload under control, in the namespace of the Canary.
        target_ref: TargetRef,
        /// The autoscaler of the target.
        autoscaler_ref: AutoscalerRef,
        /// The Ingress of the target (nginx, skipper).
        ingress_ref: IngressRef,
        /// The ApisixRoute of the target (apisix).
        route_ref: RouteRef,
        /// The Gloo Upstream whose settings generated upstreams copy (gloo).
        upstream_ref: UpstreamRef,
        /// The Services and routing objects made for the target.
        service: CanaryService,
        /// How a new revision is judged.
        analysis: CanaryAnalysis,
        /// Promote new revisions without judging them.
        skip_analysis: bool,
        /// Give the target its traffic back when the Canary is deleted.
        revert_on_deletion: bool,
        /// Leave the target alone until this is false again.
        suspend: bool,
    }
}

wire! {
    /// A reference to the workload under control.
    #[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
    TargetRef {
        /// API version of the workload.
        api_version: String,
        /// Kind of the workload.
        #[schemars(extend("enum" = ["DaemonSet", "Deployment", "Service"]))]
        kind: String,
        /// Name of the workload.
        name: String,
    }
}

wire! {
    /// A reference to an autoscaler.
    #[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
    AutoscalerRef {
        /// API version of the autoscaler.
        api_version: String,
        /// Kind of the autoscaler.
        #[schemars(extend("enum" = ["HorizontalPodAutoscaler", "ScaledObject"]))]
        kind: String,
        /// Name of the autoscaler.
        name: String,
        /// Queries of the primary's ScaledObject, by trigger name.
        primary_scaler_queries: BTreeMap<String, String>,
        /// Replica bounds of the primary's autoscaler.
        primary_scaler_replicas: ScalerReplicas,
    }
}

wire! {
    /// Replica bounds of the primary's autoscaler.
    #[schemars(extend("x-kubernetes-validations" = serde_json::json!([{
        "rule": "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
        "message": "minReplicas must not be greater than maxReplicas"
    }])))]
    ScalerReplicas {
        /// Lower bound.
        #[schemars(range(min = 1))]
        min_replicas: i32,
        /// Upper bound.
        #[schemars(range(min = 1))]
        max_replicas: i32,
    }
}

wire! {
    /// A reference to an Ingress.
    #[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
    IngressRef {
        /// API version of the Ingress.
        api_version: String,
        /// Kind: Ingress.
        #[schemars(extend("enum" = ["Ingress"]))]
        kind: String,
        /// Name of the Ingress.
        name: String,
    }
}

wire! {
    /// A reference to an ApisixRoute.
    #[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
    RouteRef {
        /// API version of the route.
        api_version: String,
        /// Kind: ApisixRoute.
        #[schemars(extend("enum" = ["ApisixRoute"]))]
        kind: String,
        /// Name of the route.
        name: String,
    }
}

wire! {
    /// A reference to a Gloo Upstream.
    #[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
    UpstreamRef {
        /// API version of the upstream.
        api_version: String,
        /// Kind: Upstream.
        #[schemars(extend("enum" = ["Upstream"]))]
        kind: String,
        /// Name of the upstream.
        name: String,
        /// Namespace of the upstream.
        namespace: String,
    }
}
