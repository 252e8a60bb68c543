//! `verdigris.dev/v1alpha1` CanaryPolicy: what an organisation asks of every Canary.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// The API version of this module.
pub const API_VERSION: &str = "verdigris.dev/v1alpha1";

wire! {
    /// What is asked, of whom, and what becomes of a Canary that does not comply.
    #[derive(CustomResource)]
    #[kube(
        group = "verdigris.dev",
        version = "v1alpha1",
        kind = "CanaryPolicy",
        plural = "canarypolicies",
        singular = "canarypolicy",
        status = "CanaryPolicyStatus",
        derive = "PartialEq",
        doc = "A CanaryPolicy is what an organisation asks of every Canary. Policies are ANDed: one more only tightens.",
        printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}"#,
        printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
        printcolumn = r#"{"name": "Matched", "type": "integer", "jsonPath": ".status.matched"}"#,
        printcolumn = r#"{"name": "Violations", "type": "integer", "jsonPath": ".status.violations"}"#,
        printcolumn = r#"{"name": "Exempt", "type": "integer", "jsonPath": ".status.exempt", "priority": 1}"#,
        printcolumn = r#"{"name": "LastRun", "type": "date", "jsonPath": ".status.lastRun"}"#
    )]
    #[schemars(extend("required" = ["mode"]))]
    CanaryPolicySpec {
        /// What becomes of an object that does not comply: refused, warned about, or only counted.
        #[schemars(extend("enum" = ["Enforce", "Warn", "Audit"]))]
        mode: String,
        /// Whom the policy concerns; everything when absent.
        r#match: PolicyMatch,
        /// Bounds of numbers. What is absent is judged by the default it means.
        limits: PolicyLimits,
        /// What every Canary must have.
        require: PolicyRequirements,
        /// Where calls may go.
        allowed: PolicyDestinations,
        /// What no Canary may have.
        forbid: PolicyProhibitions,
        /// Rules in CEL, over object, oldObject, namespaceObject and request.
        #[schemars(length(max = 32))]
        rules: Vec<PolicyRule>,
        /// Members of a Canary's spec that are added where its author wrote nothing.
        #[schemars(schema_with = "open")]
        defaults: BTreeMap<String, Value>,
        /// Whom the policy spares, until when, and why.
        #[schemars(length(max = 256))]
        exemptions: Vec<PolicyExemption>,
    }
}

/// An object of any shape.
fn open(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Members of a Canary's spec that are added where its author wrote nothing.",
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

wire! {
    /// Whom a policy concerns: all parts must match, and an absent part matches everything.
    PolicyMatch {
        /// Labels of the namespace.
        namespace_selector: Selector,
        /// Labels of the object. With mode Enforce, who may label a Canary can label it out.
        object_selector: Selector,
        /// Providers of Canaries; those that name none have the controller's.
        #[schemars(length(max = 32))]
        providers: Vec<String>,
    }
}

wire! {
    /// A label selector: all requirements must hold.
    Selector {
        /// Labels with these values.
        match_labels: BTreeMap<String, String>,
        /// Requirements.
        #[schemars(length(max = 64))]
        match_expressions: Vec<Requirement>,
    }
}

wire! {
    /// A requirement of a label.
    #[schemars(extend("required" = ["key", "operator"]))]
    Requirement {
        /// The label.
        key: String,
        /// What is required.
        #[schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
        operator: String,
        /// For In and NotIn.
        #[schemars(length(max = 256))]
        values: Vec<String>,
    }
}

wire! {
    /// Bounds of numbers.
    PolicyLimits {
        /// `analysis.interval`.
        interval: DurationBounds,
        /// `analysis.iterations`.
        iterations: NumberBounds,
        /// `analysis.threshold`.
        threshold: NumberBounds,
        /// `analysis.stepWeight`, and each step of `analysis.stepWeights`.
        step_weight: NumberBounds,
        /// `analysis.maxWeight`, or the last of `analysis.stepWeights`.
        max_weight: NumberBounds,
        /// `progressDeadlineSeconds`.
        progress_deadline_seconds: NumberBounds,
    }
}

wire! {
    /// Least and most, both allowed themselves.
    DurationBounds {
        /// Least, such as 30s.
        min: String,
        /// Most, such as 10m.
        max: String,
    }
}

wire! {
    /// Least and most, both allowed themselves.
    NumberBounds {
        /// Least.
        min: i32,
        /// Most.
        max: i32,
    }
}

wire! {
    /// What every Canary must have.
    PolicyRequirements {
        /// Webhooks.
        #[schemars(length(max = 256))]
        webhooks: Vec<RequiredWebhook>,
        /// Metrics.
        #[schemars(length(max = 256))]
        metrics: Vec<RequiredMetric>,
        /// Alerts.
        #[schemars(length(max = 256))]
        alerts: Vec<RequiredAlert>,
    }
}

wire! {
    /// A webhook that must be there.
    #[schemars(extend("required" = ["type"]))]
    RequiredWebhook {
        /// Its type.
        #[schemars(extend("enum" = [
            "confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "post-rollout",
            "rollback", "event"
        ]))]
        r#type: String,
        /// Its name, or a pattern with *.
        name: String,
    }
}

wire! {
    /// A metric that must be there.
    RequiredMetric {
        /// Its name, or a pattern with *.
        name: String,
        /// The name of its MetricTemplate, or a pattern with *.
        template_ref: String,
    }
}

wire! {
    /// An alert that must be there.
    #[schemars(extend("required" = ["severity"]))]
    RequiredAlert {
        /// A severity it must tell of.
        #[schemars(extend("enum" = ["info", "warn", "error"]))]
        severity: String,
        /// The name of its AlertProvider, or a pattern with *.
        provider: String,
    }
}

wire! {
    /// Where calls may go.
    PolicyDestinations {
        /// `analysis.webhooks[].url`.
        webhooks: PolicyHosts,
        /// `metricsServer`, and the addresses of MetricTemplates.
        metrics_servers: PolicyHosts,
        /// Addresses and proxies of AlertProviders.
        alerts: PolicyHosts,
    }
}

wire! {
    /// Hosts that may be called.
    PolicyHosts {
        /// `host`, `host:port`, `*.domain` (below it, not itself) or `*`; any when absent.
        #[schemars(length(max = 256))]
        hosts: Vec<String>,
        /// Schemes; any when absent.
        #[schemars(length(max = 2))]
        schemes: Vec<String>,
        /// False refuses addresses of private networks, also when a name resolves to one. In-cluster Services are
        /// private (true when absent).
        private_addresses: bool,
    }
}

wire! {
    /// What no Canary may have.
    PolicyProhibitions {
        /// `skipAnalysis: true`, or no analysis at all.
        skip_analysis: bool,
        /// `analysis.metrics[].query`.
        inline_queries: bool,
        /// References to MetricTemplates, AlertProviders and Upstreams of other namespaces.
        cross_namespace_references: bool,
        /// `disableTLS` of webhooks, `insecureSkipVerify` of MetricTemplates.
        #[serde(rename = "disableTLS")]
        disable_tls: bool,
        /// Writes at `flagger.app/v1alpha3`.
        v1alpha3: bool,
    }
}

wire! {
    /// A rule in CEL.
    #[schemars(extend("required" = ["name", "expression"]))]
    PolicyRule {
        /// What messages and exemptions call it.
        #[schemars(length(max = 63))]
        name: String,
        /// True for what complies.
        #[schemars(length(max = 2048))]
        expression: String,
        /// What people read when it is false.
        #[schemars(length(max = 1024))]
        message: String,
        /// A text in CEL; wins over `message`.
        #[schemars(length(max = 2048))]
        message_expression: String,
        /// The field it is about, such as .spec.analysis.
        #[schemars(length(max = 256))]
        field_path: String,
    }
}

wire! {
    /// Whom a policy spares.
    #[schemars(extend("required" = ["namespace", "until", "reason"]))]
    PolicyExemption {
        /// Namespace, or a pattern with *.
        namespace: String,
        /// Name of the object, or a pattern with * (all when absent).
        name: String,
        /// Names of rules, such as limits.interval (all when absent).
        #[schemars(length(max = 64))]
        rules: Vec<String>,
        /// A date, which counts to its end in UTC, or a moment (RFC 3339).
        until: String,
        /// Why.
        #[schemars(length(max = 1024))]
        reason: String,
    }
}

wire! {
    /// What the policy finds in the cluster as it is.
    CanaryPolicyStatus {
        /// Generation of the policy this was computed from.
        observed_generation: i64,
        /// `Ready` and `Compiled`.
        conditions: Vec<PolicyCondition>,
        /// Objects the policy concerns.
        matched: i32,
        /// Objects that do not comply and are not exempt.
        violations: i32,
        /// Objects that do not comply and are exempt.
        exempt: i32,
        /// Objects that do not comply by namespace, most first.
        namespaces: Vec<NamespaceViolations>,
        /// Some of the objects that do not comply.
        sample: Vec<Violator>,
        /// When the cluster was last looked through.
        #[schemars(extend("format" = "date-time"))]
        last_run: String,
    }
}

wire! {
    /// What is true of the policy.
    #[schemars(extend("required" = ["type", "status", "reason"]))]
    PolicyCondition {
        /// What is said.
        r#type: String,
        /// True or False.
        status: String,
        /// Why, in one word.
        reason: String,
        /// Why, for people.
        message: String,
        /// Generation of the policy this was said about.
        observed_generation: i64,
        /// When `status` last changed.
        #[schemars(extend("format" = "date-time"))]
        last_transition_time: String,
    }
}

wire! {
    /// A namespace with objects that do not comply.
    NamespaceViolations {
        /// Its name.
        namespace: String,
        /// How many.
        violations: i32,
    }
}

wire! {
    /// An object that does not comply.
    Violator {
        /// Its kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The rules it does not keep.
        rules: Vec<String>,
    }
}
