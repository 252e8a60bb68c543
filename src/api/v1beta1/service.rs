//! `spec.service`: the Services and routing objects made for the target.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::mesh::{CorsPolicy, HeaderOperations, HttpMatch, Retries, Rewrite, TrafficPolicy};

wire! {
    /// The Services and routing objects made for the target (Flagger `CanaryService`).
    #[schemars(extend("required" = ["port"]))]
    CanaryService {
        /// Name of the apex Service; the target's name when absent.
        name: String,
        /// Port of the Services.
        #[schemars(range(min = 1, max = 65535))]
        port: i32,
        /// Name of the port (`http` when absent).
        port_name: String,
        /// `appProtocol` of the port.
        app_protocol: String,
        /// `trafficDistribution` of the Services.
        #[schemars(extend("enum" = ["PreferClose", "PreferSameZone", "PreferSameNode"]))]
        traffic_distribution: String,
        /// Container port, by number or name; the number of `port` when absent, 0 or "0".
        target_port: IntOrString,
        /// Publish the other container ports of the target too.
        port_discovery: bool,
        /// Create the Services without a cluster IP.
        headless: bool,
        /// Request timeout of the generated routes.
        timeout: String,
        /// Backend request timeout of the generated routes (gatewayapi:v1).
        backend_timeout: String,
        /// App Mesh mesh name.
        mesh_name: String,
        /// App Mesh backends.
        backends: Vec<String>,
        /// Hosts of the generated routes.
        hosts: Vec<String>,
        /// Generate an Istio delegate VirtualService.
        delegation: bool,
        /// Conditions of the generated routes.
        #[schemars(length(max = 256))]
        r#match: Vec<HttpMatch>,
        /// Retries of the generated routes.
        retries: Retries,
        /// Path and authority rewrite of the generated routes.
        rewrite: Rewrite,
        /// Where requests are copied to as well (gatewayapi).
        #[schemars(length(max = 64))]
        mirror: Vec<MirrorFilter>,
        /// Header operations of the generated routes.
        headers: HeaderOperations,
        /// Istio gateways of the generated routes (`mesh` when empty).
        gateways: Vec<String>,
        /// Gateway API parents of the generated routes.
        #[schemars(length(max = 32))]
        gateway_refs: Vec<GatewayRef>,
        /// Cross-origin policy of the generated routes.
        cors_policy: CorsPolicy,
        /// Istio traffic policy of the generated DestinationRules.
        traffic_policy: TrafficPolicy,
        /// Metadata of the apex Service.
        apex: ServiceMetadata,
        /// Metadata of the primary Service.
        primary: ServiceMetadata,
        /// Metadata of the canary Service.
        canary: ServiceMetadata,
        /// Metadata keys on the Services that are left alone.
        unmanaged_metadata: UnmanagedMetadata,
    }
}

wire! {
    /// Labels and annotations of one Service.
    ServiceMetadata {
        /// Labels.
        labels: BTreeMap<String, String>,
        /// Annotations.
        annotations: BTreeMap<String, String>,
    }
}

wire! {
    /// Metadata keys that belong to somebody else.
    UnmanagedMetadata {
        /// Annotation keys.
        annotations: Vec<String>,
        /// Label keys.
        labels: Vec<String>,
    }
}

wire! {
    /// A Gateway API `ParentReference`.
    #[schemars(extend("required" = ["name"]))]
    GatewayRef {
        /// API group of the parent.
        #[schemars(extend(
            "default" = "gateway.networking.k8s.io",
            "maxLength" = 253,
            "pattern" = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
        ))]
        group: String,
        /// Kind of the parent.
        #[schemars(extend(
            "default" = "Gateway",
            "minLength" = 1,
            "maxLength" = 63,
            "pattern" = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"
        ))]
        kind: String,
        /// Name of the parent.
        #[schemars(extend("minLength" = 1, "maxLength" = 253))]
        name: String,
        /// Namespace of the parent.
        #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
        namespace: String,
        /// Listener of the parent.
        #[schemars(extend(
            "minLength" = 1,
            "maxLength" = 253,
            "pattern" = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
        ))]
        section_name: String,
        /// Port of the parent.
        #[schemars(range(min = 1, max = 65535))]
        port: i32,
    }
}

wire! {
    /// A Gateway API `HTTPRequestMirrorFilter`.
    #[schemars(extend("required" = ["backendRef"]))]
    MirrorFilter {
        /// Where requests are copied to.
        backend_ref: BackendRef,
    }
}

wire! {
    /// A Gateway API `BackendObjectReference`.
    #[schemars(extend(
        "required" = ["name"],
        "x-kubernetes-validations" = serde_json::json!([{
            "rule": "size(self.group) == 0 && self.kind == 'Service' ? has(self.port) : true",
            "message": "a Service needs a port"
        }])
    ))]
    BackendRef {
        /// API group of the backend; empty for core.
        #[schemars(extend(
            "default" = "",
            "maxLength" = 253,
            "pattern" = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
        ))]
        group: String,
        /// Kind of the backend.
        #[schemars(extend(
            "default" = "Service",
            "minLength" = 1,
            "maxLength" = 63,
            "pattern" = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"
        ))]
        kind: String,
        /// Name of the backend.
        #[schemars(extend("minLength" = 1, "maxLength" = 253))]
        name: String,
        /// Namespace of the backend.
        #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
        namespace: String,
        /// Port of the backend.
        #[schemars(range(min = 1, max = 65535))]
        port: i32,
    }
}
