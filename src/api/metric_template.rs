//! `flagger.app/v1beta1` MetricTemplate: a query and the backend that answers it.

use std::collections::BTreeMap;

use kube::CustomResource;

wire! {
    /// A query and the backend that answers it (Flagger `MetricTemplateSpec`).
    #[derive(CustomResource)]
    #[kube(
        group = "flagger.app",
        version = "v1beta1",
        kind = "MetricTemplate",
        plural = "metrictemplates",
        singular = "metrictemplate",
        namespaced,
        status = "MetricTemplateStatus",
        derive = "PartialEq",
        category = "all",
        doc = "A MetricTemplate is a query that Canaries share.",
        annotation("helm.sh/resource-policy", "keep"),
        printcolumn = r#"{"name": "Provider", "type": "string", "jsonPath": ".spec.provider.type"}"#
    )]
    #[schemars(extend("required" = ["provider", "query"]))]
    MetricTemplateSpec {
        /// The backend.
        provider: MetricProvider,
        /// The query, a Go template.
        query: String,
    }
}

wire! {
    /// The backend that answers a query.
    #[schemars(extend("required" = ["type"]))]
    MetricProvider {
        /// Kind of backend.
        #[schemars(extend("enum" = [
            "prometheus", "influxdb", "datadog", "externalmetrics", "stackdriver", "cloudwatch", "newrelic", "graphite",
            "dynatrace", "keptn", "splunk"
        ]))]
        r#type: String,
        /// Address of the backend.
        address: String,
        /// Headers sent with each query (prometheus).
        headers: BTreeMap<String, Vec<String>>,
        /// Secret with credentials, in the namespace of the template.
        secret_ref: LocalRef,
        /// Region (cloudwatch).
        region: String,
        /// Accept any certificate (prometheus, graphite, externalmetrics).
        insecure_skip_verify: bool,
    }
}

wire! {
    /// A reference to an object of the same namespace.
    #[schemars(extend("required" = ["name"]))]
    LocalRef {
        /// Name.
        name: String,
    }
}

wire! {
    /// Nothing yet: Flagger declares the status subresource without fields.
    MetricTemplateStatus {}
}
