//! The table of rules a manifest is judged by. `verdigris rules` prints it, the documentation is generated from it.
//!
//! Owns code, severity, reason and usual fix of every rule. Promises that a code, once published, keeps its
//! meaning. Never judges: [`super::parse`] does, and takes severity and code from here.

use super::violation::Code;

/// What breaking a rule leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Certain breakage: refused.
    Error,
    /// A likely mistake: admitted with a warning.
    Warning,
    /// Refused when the manifest names its provider; a warning while the process-wide default decides it.
    ErrorForProvider,
}

impl Severity {
    /// The word printed in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::ErrorForProvider => "error if spec.provider is set, else warning",
        }
    }
}

/// Which kind of object a rule judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A Canary by itself.
    Canary,
    /// A Canary among the other objects of its cluster.
    Surroundings,
    /// The change from one Canary to the next, its deletion, or that of what it refers to.
    Change,
    /// A query, inline or in a MetricTemplate.
    Query,
    /// A MetricTemplate.
    MetricTemplate,
    /// An AlertProvider.
    AlertProvider,
    /// A Canary, MetricTemplate or AlertProvider under the policies of its organisation.
    Organisation,
    /// A CanaryPolicy.
    Policy,
}

impl Scope {
    /// The word printed in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Canary => "Canary",
            Scope::Surroundings => "Canary and its surroundings",
            Scope::Change => "change of a Canary",
            Scope::Query => "query",
            Scope::MetricTemplate => "MetricTemplate",
            Scope::AlertProvider => "AlertProvider",
            Scope::Organisation => "object under policies",
            Scope::Policy => "CanaryPolicy",
        }
    }
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its stable kebab-case name.
    pub code: Code,
    /// The numbers `V-nnn` of the list of known misconfigurations it covers; empty for rules beyond that list.
    pub covers: &'static [u16],
    /// What it judges.
    pub scope: Scope,
    /// What breaking it leads to.
    pub severity: Severity,
    /// Why, in one line.
    pub reason: &'static str,
    /// The usual fix.
    pub fix: &'static str,
}

impl Rule {
    /// `V-001` and its like, for each of [`Self::covers`].
    pub fn numbers(&self) -> impl Iterator<Item = String> {
        self.covers.iter().map(|number| format!("V-{number:03}"))
    }
}

/// Declares each rule as a constant and all of them as [`ALL`].
macro_rules! rules {
    ($($scope:ident { $($name:ident = $code:literal [$($number:literal),*] $severity:ident: $reason:literal, $fix:literal;)* })*) => {
        $($(
            #[doc = concat!("`", $code, "`: ", $reason, ".")]
            pub const $name: Rule = Rule {
                code: Code($code),
                covers: &[$($number),*],
                scope: Scope::$scope,
                severity: Severity::$severity,
                reason: $reason,
                fix: $fix,
            };
        )*)*

        /// Every rule, grouped by what it judges.
        pub const ALL: &[Rule] = &[$($($name),*),*];
    };
}

rules! {
    Canary {
        // Shape.
        WRONG_TYPE = "wrong-type" [] Error: "a field of the wrong type cannot be read", "write a value of the expected type";
        REQUIRED = "required" [] Error: "without this field the object means nothing", "add the field";
        UNKNOWN_VALUE = "unknown-value" [] Error: "the field takes one of a few words", "use one of the listed words";
        UNKNOWN_FIELD = "unknown-field" [32, 46] Warning: "the API server drops fields it does not know", "remove or correct the field";
        NOT_AN_INTEGER = "not-an-integer" [7] Error: "a fraction in a whole-number field stops Flagger for every Canary of the cluster", "write a whole number";
        OUT_OF_RANGE = "out-of-range" [] Error: "the API server refuses a number outside the field's bounds", "write a number within the bounds";
        FIELD_FORMAT = "field-format" [] Error: "the API server refuses text of this form here", "write a name as Kubernetes has them";
        TOO_LONG = "too-long" [] Error: "the API server refuses more than the field holds", "shorten it";
        ONE_OF = "one-of" [] Error: "the API server takes exactly one of these", "keep one";
        NEGATIVE = "negative-number" [155] Error: "a count cannot be negative", "write zero or more";
        LEGACY_ANALYSIS = "legacy-analysis" [46] Error: "v1beta1 has no canaryAnalysis: the API server drops it and nothing is analysed", "rename canaryAnalysis to analysis";

        // Time.
        DURATION_FORMAT = "duration-format" [2, 3, 14] Error: "Go reads this duration, and Flagger falls back to 60 s or fails at run time", "write a number and a unit, such as 30s, 5m or 1h";
        DURATION_SIGN = "duration-not-positive" [] Error: "a zero or negative duration is never meant", "write a duration above zero";
        INTERVAL_SHORT = "interval-below-minimum" [1] Warning: "shorter intervals are raised to the minimum", "write the minimum or more";
        INTERVAL_LONG = "interval-long" [4] Warning: "gates, checks and rollback all wait that long", "use an interval of minutes";
        INTERVAL_ABSENT = "interval-absent" [] Warning: "without an interval the analysis runs every 60 s", "write analysis.interval";
        PROGRESS_DEADLINE = "progress-deadline" [8] Error: "pods that are not ready at once would roll back at once", "write a number of seconds above zero, or leave it out for 600";
        METRIC_INTERVAL = "metric-interval-format" [16] Error: "the interval is pasted into the query's range", "write a Prometheus duration such as 30s, 1m or 1h30m";
        METRIC_INTERVAL_ODD = "metric-interval-unusual" [17] Warning: "a range needs two scrapes, and one longer than the run counts the old version too", "use an interval of at least two scrapes and at most the run";
        HOOK_TIME = "hook-timeouts-exceed-interval" [15] Warning: "slow hooks make a check take longer than the interval", "shorten the timeouts or lengthen the interval";

        // Strategy.
        THRESHOLD_RANGE = "threshold-not-positive" [5] Error: "it would be read as 1: the first failed check rolls back", "write 1 or more";
        THRESHOLD_ABSENT = "threshold-absent" [] Warning: "without a threshold the first failed check rolls back", "write analysis.threshold";
        THRESHOLD_HIGH = "threshold-above-checks" [6] Warning: "a run with fewer failures than the threshold always ends in promotion", "use a threshold below the number of checks";
        ITERATIONS_RANGE = "iterations-not-positive" [18] Error: "without iterations or weights the run never ends as declared", "write 1 or more";
        STRATEGY_ABSENT = "strategy-absent" [18] ErrorForProvider: "no iterations and no weights: only provider kubernetes has a default, 10 iterations", "write analysis.iterations";
        STRATEGY_TWICE = "strategy-twice" [] Warning: "iterations win, weights are ignored", "keep iterations or weights, not both";
        STEP_WEIGHT_RANGE = "step-weight-not-positive" [19] Error: "a step of zero never advances", "write 1 to 100";
        STEP_WEIGHT_HIGH = "step-weight-above-maximum" [20] Warning: "the whole way is one step", "write a step below maxWeight";
        MAX_WEIGHT_RANGE = "max-weight-range" [21] Error: "a weight never passes 100, so the run never promotes", "write 1 to 100";
        MAX_WEIGHT_MULTIPLE = "max-weight-overshot" [22] Warning: "the last step overshoots maxWeight", "make maxWeight a multiple of stepWeight";
        MAX_WEIGHT_IGNORED = "max-weight-ignored" [23] Warning: "with stepWeights the last step is the maximum", "remove maxWeight";
        STEP_WEIGHTS = "step-weights" [24, 25] Error: "weights that do not rise from 1 to 100 jump or never advance", "list strictly rising weights between 1 and 100";
        PROMOTION_WEIGHT = "step-weight-promotion-range" [27] Error: "promotion would end at once or hang", "write 0 to 100";
        PROMOTION_IGNORED = "step-weight-promotion-ignored" [28] Warning: "provider kubernetes shifts traffic in one go", "remove stepWeightPromotion";
        MATCH_ALONE = "match-without-iterations" [29] Error: "the match is ignored and every user gets the canary by weight", "add analysis.iterations, or remove analysis.match";
        MATCH_UNSUPPORTED = "match-unsupported" [30, 33] ErrorForProvider: "this provider cannot route by header", "remove analysis.match, or use a provider with header routing";
        MATCH_OPERATOR = "match-operator-unsupported" [31] ErrorForProvider: "the provider drops this condition or matches all traffic", "use an operator the provider supports";
        MATCH_KEY = "match-key" [32] Error: "only headers, queryParams and sourceLabels exist here; anything else is dropped and the rule matches all traffic", "match on headers, queryParams or sourceLabels";
        WEIGHTS_UNSUPPORTED = "weights-unsupported" [34] ErrorForProvider: "provider kubernetes has no weights: the run becomes 10 iterations of blue/green", "write analysis.iterations instead";
        MIRROR_UNSUPPORTED = "mirror-unsupported" [35, 36, 37] ErrorForProvider: "the provider cannot mirror traffic", "remove mirror and mirrorWeight";
        MIRROR_WEIGHT = "mirror-weight-range" [37] Error: "a percentage lies between 0 and 100", "write 0 to 100";
        MIRROR_TCP = "mirror-tcp" [38] Warning: "TCP routes are not mirrored", "remove mirror, or use an HTTP appProtocol";
        AFFINITY_UNSUPPORTED = "session-affinity-unsupported" [39] ErrorForProvider: "only istio and gatewayapi keep sessions", "remove sessionAffinity";
        COOKIE_NAME = "cookie-name" [40] Error: "the cookie could not be set or told apart", "use two different names without spaces, = or ;";
        READY_RANGE = "ready-threshold-range" [12, 13] Error: "more than 100 percent is never ready, less than 0 means nothing", "write 0 to 100";
        READY_ZERO = "ready-threshold-zero" [13] Warning: "zero switches the readiness check off", "leave it out for 100";
        GATE_UNUSED = "traffic-gate-unused" [42] Error: "confirm-traffic-increase is asked between weights only: this gate is never asked", "use confirm-promotion";
        UNVERIFIED = "nothing-is-checked" [43] Warning: "no metric and no rollout hook: every version is promoted", "add a metric or a rollout webhook";
        ANALYSIS_ABSENT = "analysis-absent" [] Error: "without an analysis nothing is judged, and the API server refuses the object", "add spec.analysis; spec.skipAnalysis says that nothing shall be judged";
        SUSPENDED_AT_BIRTH = "suspended-at-creation" [45] Warning: "nothing is created while suspend is true", "set suspend to false to begin";

        // Provider.
        PROVIDER_NOT_ROUTED = "provider-not-supported" [] Warning: "Verdigris has no router for this provider yet and does not act on the Canary", "use provider kubernetes, or keep Flagger for this Canary";
        REF_MISSING = "provider-needs" [98] ErrorForProvider: "the provider cannot route without it", "add the field";
        REF_UNUSED = "reference-unused" [99] Warning: "the reference belongs to another provider and is ignored", "remove it";
        SERVICE_IGNORED = "service-fields-ignored" [97] Warning: "provider kubernetes has no routes to put these on", "remove them";

        // Target and names.
        TARGET_API = "target-api-version" [50] Warning: "the version is not what the kind has; it is ignored", "write apps/v1 (v1 for a Service)";
        TARGET_KNATIVE = "target-knative-typo" [51] Warning: "read as a core Service", "write serving.knative.dev/v1 for a Knative Service";
        TARGET_PROVIDER = "target-provider-mismatch" [] Error: "a Knative Service needs provider knative, and that provider needs one", "make provider and target agree";
        NAME_LENGTH = "name-too-long" [58] Error: "the API server refuses Services with names above 63 characters", "shorten service.name or the target's name";
        TARGET_NAME_LENGTH = "target-name-long" [58] Warning: "the primary's name is longer than a label value may be", "shorten the target's name";
        SERVICE_NAME = "service-name" [59] Error: "the API server refuses this Service name", "write lower-case letters, digits and dashes";
        SERVICE_NAME_DIGIT = "service-name-digit" [59] Warning: "clusters without relaxed Service names refuse a leading digit", "begin with a letter";
        OBJECT_NAME = "object-name" [] Error: "no object can have this name", "write lower-case letters, digits, dashes and dots";

        // Service.
        SERVICE_ABSENT = "service-absent" [81] Error: "without a port no Service can be created", "add spec.service.port";
        PORT_RANGE = "port-range" [82] Error: "a port lies between 1 and 65535", "write the port of the Service";
        TARGET_PORT_EMPTY = "target-port-empty" [85] Warning: "read as if absent: the number of service.port", "remove targetPort";
        TARGET_PORT_NAME = "target-port-name" [83] Error: "the API server refuses this port name", "write a port number, or the name of a container port";
        PORT_NAME = "port-name" [86] Error: "the API server refuses this port name", "write at most 63 lower-case letters, digits and dashes";
        PORT_NAME_LONG = "port-name-long" [86] Warning: "container and Ingress port names end at 15 characters, so nothing can refer to it", "write at most 15 characters";
        HEADLESS_PORT = "headless-port" [91] Warning: "a headless Service maps no ports: clients must use targetPort", "make port and targetPort equal";
        APP_PROTOCOL = "app-protocol" [94] Warning: "a protocol nobody knows switches features off", "write http, https, grpc, tcp or a prefixed name";
        METADATA_SYNTAX = "metadata-syntax" [95] Error: "the API server refuses this label or annotation", "correct the key or value";
        METADATA_UNMANAGED = "metadata-unmanaged" [96] Warning: "the key is set here and also declared unmanaged: it is never updated", "remove it from one of the two";
        DELEGATION = "delegation" [101] ErrorForProvider: "a delegate VirtualService has no hosts or gateways", "remove hosts and gateways, or delegation";
        GATEWAY_MESH = "gateway-mesh" [101] Warning: "without the gateway mesh traffic inside the mesh is not shifted", "add mesh to gateways";
        REWRITE_TYPE = "rewrite-type" [102] ErrorForProvider: "anything else replaces the full path", "write ReplacePrefixMatch or ReplaceFullPath";
        ROUTE_DURATION = "route-duration" [103] ErrorForProvider: "the router refuses or ignores this duration", "write a duration such as 15s";
        MIRROR_BACKEND = "mirror-backend" [104] Error: "a mirror without a backendRef is no valid HTTPRoute", "add backendRef";

        // Autoscaler.
        SCALER_API = "autoscaler-api-version" [110] Warning: "ignored: the HPA is read as autoscaling/v2, the ScaledObject as keda.sh/v1alpha1", "write autoscaling/v2 or keda.sh/v1alpha1";
        SCALER_TARGET_KIND = "autoscaler-target-kind" [114] Error: "only a Deployment has a primary that can be scaled", "remove autoscalerRef";
        SCALER_REPLICAS = "autoscaler-replicas" [115] Error: "the API server refuses an HPA with these bounds", "write 1 ≤ minReplicas ≤ maxReplicas";
        SCALER_QUERIES = "autoscaler-queries-ignored" [117] Warning: "queries belong to ScaledObjects; an HPA has none", "remove primaryScalerQueries";

        // Metrics.
        METRIC_UNUSABLE = "metric-unusable" [121] Error: "neither built in, nor with a query, nor with a template: every check fails", "correct the name, or add query or templateRef";
        METRIC_LEGACY = "metric-legacy-name" [121] Warning: "a name of Flagger before 0.14, read as the built-in it became", "use request-success-rate or request-duration";
        METRIC_TWICE = "metric-measured-twice" [122] Warning: "a built-in with a query or template runs both against one threshold", "give the query its own metric and name";
        BOUND_ABSENT = "bound-absent" [123] Error: "a built-in without a bound always passes or always fails", "add thresholdRange";
        BOUND_ZERO = "bound-absent-means-zero" [123] Warning: "without a bound any value above 0 fails", "write thresholdRange.max: 0 if that is meant";
        RANGE_EMPTY = "range-empty" [124] Error: "an empty range accepts every value", "add min or max";
        RANGE_INVERTED = "range-inverted" [125] Error: "no value is at least min and at most max", "swap min and max";
        THRESHOLD_IGNORED = "metric-threshold-ignored" [126] Warning: "thresholdRange decides alone", "remove threshold";
        RATE_BOUND = "success-rate-bound" [127] Error: "a success rate is a percentage that must not fall too low", "write thresholdRange.min as a percentage, such as 99";
        RATE_ZERO = "success-rate-zero" [127] Warning: "a minimum of zero always passes", "write thresholdRange.min as a percentage, such as 99";
        LATENCY_BOUND = "request-duration-bound" [128] Error: "the bound is in milliseconds; below 1 it is cut to 0 and always fails", "write milliseconds, such as 500";
        LATENCY_FRACTION = "request-duration-fraction" [128] Warning: "fractions of a millisecond are cut off", "write whole milliseconds";
        METRIC_DUPLICATE = "metric-name-twice" [132] Warning: "two metrics of one name overwrite each other's gauge and events", "give each metric its own name";
        METRICS_SERVER = "metrics-server-url" [136] Error: "no query could be sent", "write an address such as http://prometheus.monitoring:9090";
        DAEMON_SET_BUILT_IN = "built-in-for-daemon-set" [133] Warning: "Flagger's built-in queries measure the primary of a DaemonSet", "use a query of your own";
        SERVICE_BUILT_IN = "built-in-for-service" [134] Warning: "built-in queries select pods by the workload's name, and a Service has no pods of its own", "use a query of your own";

        // Hooks.
        URL_FORMAT = "url-format" [148] Error: "no request could be sent", "write an address such as http://flagger-loadtester.test/";
        URL_CREDENTIALS = "url-credentials" [] Warning: "credentials in an address are readable in the object and in logs", "keep credentials in a Secret";
        URL_FORBIDDEN = "url-forbidden-host" [] Error: "link-local and metadata addresses hand out credentials; loopback is Verdigris itself", "name a Service";
        HOOK_DUPLICATE = "hook-name-twice" [150] Warning: "events of the two cannot be told apart", "give each hook its own name";
        HOOK_TASK = "load-tester-task" [151] Error: "the load tester cannot run this, or reports success without running anything", "write metadata.type and metadata.cmd";
        HOOK_MISUSE = "hook-misuse" [152] Warning: "a task always answers yes to a gate, and a gate fails a check while closed", "point gates at /gate/check and rollout hooks at a task";
        ROLLBACK_ALWAYS = "rollback-always" [153] Error: "a rollback hook that always answers yes rolls back every run", "use /rollback/check";
        RETRIES_HIGH = "retries-high" [155] Warning: "waits of 1 s, 2 s, 4 s … up to 30 s hold the check", "use 5 retries or fewer";
        METADATA_RESERVED = "hook-metadata-reserved" [156] Warning: "event hooks overwrite this key", "use another key";
        MUTE_UNUSED = "mute-alert-unused" [157] Warning: "only confirm hooks raise alerts", "remove muteAlert";
        TASK_TIMEOUT = "task-longer-than-timeout" [159] Warning: "the hook fails although the command would succeed", "raise the timeout above the command's time";
    }
    Query {
        QUERY_EMPTY = "query-empty" [137, 138] Error: "an empty query is refused by every server", "write a query";
        PROMQL_SYNTAX = "promql-syntax" [137, 138] Error: "Prometheus cannot parse the query", "mend it at the caret";
        PROMQL_TYPE = "promql-type" [137, 138] Error: "the types do not fit, or the answer cannot be compared with a threshold", "let the query answer with an instant vector or a scalar";
        PROMQL_FUNCTION = "promql-function" [137, 138] Error: "Prometheus has no such function", "use a function Prometheus has";
        PROMQL_REGEX = "promql-regex" [137, 138] Error: "Prometheus cannot compile the expression", "write RE2 syntax";
        PROMQL_LIMIT = "promql-limit" [] Error: "a query this large is never meant and would slow every check", "simplify the query, or record parts of it by rules";
        PROMQL_EXPERIMENTAL = "promql-experimental" [] Warning: "only servers with the feature switched on understand it", "use stable syntax";
        PROMQL_QUANTILE = "promql-quantile" [] Warning: "a quantile lies between 0 and 1; others answer with infinity", "write a fraction, such as 0.99";
        PROMQL_UNCHECKED = "promql-unchecked" [] Warning: "the query cannot be judged before a variable has a value", "it is judged again with each Canary that refers to the template";
        TEMPLATE_SYNTAX = "template-syntax" [137, 138] Error: "a malformed or unclosed action cannot be rendered", "mend it at the caret";
        TEMPLATE_FUNCTION = "template-function" [137, 138] Error: "there is no such function", "use name, namespace, target, service, ingress, route, interval or variables";
        TEMPLATE_VARIABLE = "template-variable" [131] Error: "the template uses a variable the metric does not give", "add it to templateVariables";
        TEMPLATE_UNSUPPORTED = "template-unsupported" [] Warning: "Flagger runs this part of Go's templates, Verdigris does not: the metric fails its checks", "write the query without it";
        TEMPLATE_LIMIT = "template-limit" [] Error: "a template this large or deep is never meant", "simplify the template";
    }
    MetricTemplate {
        ADDRESS_ABSENT = "address-absent" [140] Error: "the provider cannot be asked without an address", "add provider.address";
        ADDRESS_FORMAT = "address-format" [140] Error: "no query could be sent", "write an http or https address";
        REGION_ABSENT = "region-absent" [141] Error: "CloudWatch needs a region", "add provider.region";
        SECRET_ABSENT = "secret-absent" [142] Error: "the provider refuses requests without credentials", "add provider.secretRef.name";
        OPTION_IGNORED = "provider-option-ignored" [143] Warning: "this provider ignores the option", "remove it";
        AUTHORIZATION_TWICE = "authorization-twice" [144] Warning: "the header and the Secret's token both claim Authorization; the Secret wins", "keep one of the two";
        TOKEN_LEAK = "own-token-leak" [145] Warning: "Flagger could send its own ServiceAccount token to that host", "remove address and secretRef";
        QUERY_SHAPE = "query-shape" [147] Error: "the provider cannot read the query", "write the query in the provider's form";
        NOT_ISOLATED = "query-not-isolated" [139] Warning: "the query names neither target nor namespace nor variable: every Canary gets the same value", "use {{ target }} and {{ namespace }}";
    }
    AlertProvider {
        ALERT_ADDRESS = "alert-address" [163] Error: "no alert could be sent", "write an http or https address";
        ALERT_DESTINATION = "alert-destination" [] Error: "exactly one of address and secretRef says where alerts go", "keep one of the two";
        ALERT_CHANNEL = "alert-channel" [163] Warning: "Slack's API needs a channel", "add spec.channel";
        ALERT_PROXY = "alert-proxy" [164] Error: "no alert could be sent through it", "write an http or https address";
    }
    Surroundings {
        TARGET_ABSENT = "target-absent" [49] Warning: "nothing happens until the target exists", "apply the target";
        TARGET_TAKEN = "target-taken" [47] Error: "two Canaries would fight over one workload", "delete one of the two";
        TARGET_IS_PRIMARY = "target-is-primary" [48] Error: "a primary cannot have a primary", "target the original workload";
        TARGET_SELECTOR = "target-selector" [52] Error: "no selector label tells primary and canary apart", "add app to spec.selector.matchLabels";
        TARGET_SELECTOR_SHARED = "target-selector-shared" [53] Error: "another workload has the same label: their pods would be mixed", "give the workload a label value of its own";
        TARGET_LABEL = "target-label-differs" [54] Warning: "affinity and spread rules name this label; Flagger rewrites only values equal to the name", "make the label value the workload's name";
        PRIMARY_FOREIGN = "primary-foreign" [55] Error: "it would be taken as the primary and overwritten", "rename or delete it";
        LEFTOVER = "left-by-deleted-canary" [78] Warning: "the garbage collector deletes what its Canary owned: this one starts once it is gone, and what it serves goes down with it", "wait, or keep the name of the Canary";
        APEX_TAKEN = "service-taken" [60] Error: "two Canaries would fight over one Service", "give each its own service.name";
        APEX_FOREIGN = "service-foreign" [61] Error: "another controller owns the Service and would fight over its selector", "rename the Service in spec.service.name";
        APEX_TYPE = "service-type" [61] Warning: "the type is kept; an ExternalName routes nowhere", "use a ClusterIP Service";
        APEX_WIDE = "service-selects-more" [62] Warning: "pods of other workloads drop out of the Service", "give them a Service of their own";
        SERVICE_STRANDED = "service-stranded" [63] Warning: "it selects the target's pods and loses all endpoints when the target is parked", "let it select the primary";
        PORTS_LOST = "service-ports-outside" [90] Warning: "Flagger would remove them; Verdigris keeps them but does not manage them", "set portDiscovery, or drop the ports";
        TARGET_PAUSED = "target-paused" [64] Warning: "a paused Deployment never rolls out", "unset spec.paused";
        TARGET_RECREATE = "target-recreate" [65] Error: "the primary would be recreated: production goes down at each promotion", "use strategy RollingUpdate";
        TARGET_UNAVAILABLE = "target-unavailable" [66] Warning: "the rollout may take every pod of production down at once", "lower maxUnavailable, or allow a surge";
        TARGET_ON_DELETE = "target-on-delete" [67] Error: "an OnDelete DaemonSet never rolls out", "use RollingUpdate";
        TARGET_SCALED_OUT = "target-without-nodes" [68] Warning: "the target runs on no node; Flagger would create the primary the same way", "remove the nodeSelector flagger.app/scale-to-zero";
        TARGET_ZERO = "target-at-zero" [69] Warning: "the primary starts with one replica", "scale the target up before";
        TARGET_OWNED = "target-owned" [71] Error: "its controller and the Canary would fight over replicas", "target a workload nobody else controls";
        REPLICAS_MANAGED = "replicas-managed" [70] Warning: "the next sync scales a parked target up again", "leave spec.replicas out of the source, or use an autoscaler";
        NO_PROBE = "no-readiness-probe" [72] Warning: "ready then only means started", "add a readinessProbe";
        NOT_SIDE_BY_SIDE = "not-side-by-side" [75, 76] Warning: "primary and canary may not run side by side", "avoid host ports and shared volumes";
        DEADLINE_SHORT = "deadline-below-probes" [9] Warning: "pods cannot be ready before the deadline", "raise progressDeadlineSeconds";
        DEADLINE_TARGET = "deadline-differs" [10] Warning: "the smaller of the two deadlines wins", "make both equal";
        SKIP_AT_BIRTH = "skip-analysis-at-creation" [44] Warning: "Flagger parks the target before the primary serves", "set skipAnalysis after initialisation";
        PORT_UNKNOWN = "target-port-unknown" [83] Error: "no container has a port of that name: the Service has no endpoints", "use the name or number of a container port";
        PORT_UNDECLARED = "target-port-undeclared" [84] Warning: "no container declares it; declaring is optional, so it may still be right", "check the number";
        PORT_CLASH = "discovered-port-clash" [87] Error: "the Service would have one port or name twice", "rename the container port, or switch portDiscovery off";
        PORT_UNNAMED = "discovered-port-unnamed" [88] Warning: "it gets the name tcp-CONTAINER-INDEX", "name the container port";
        PORT_NOT_TCP = "discovered-port-not-tcp" [89] Warning: "discovered ports are TCP", "expose it with a Service of its own";
        LABEL_OVERRIDDEN = "selector-label-overridden" [95] Warning: "the selector label of generated Services is ours", "remove the label";
        SCALER_ABSENT = "autoscaler-absent" [109] Warning: "initialisation waits for it", "apply the autoscaler";
        SCALER_OTHER = "autoscaler-of-another" [111] Error: "it scales another workload", "reference the target's own autoscaler";
        SCALER_UNNAMED = "autoscaler-not-referenced" [112] Warning: "it keeps scaling the target and fights parking", "add autoscalerRef";
        SCALER_TWICE = "autoscaler-of-primary" [57, 113] Error: "two autoscalers would scale production", "delete the one on the primary";
        SCALER_BOUND = "autoscaler-minimum" [115] Error: "minReplicas is above the autoscaler's maxReplicas", "lower it, or give maxReplicas too";
        SCALER_QUERY_NAME = "autoscaler-query-name" [117] Warning: "no trigger has this name: the query is ignored", "use a trigger's name";
        SCALER_IDLE = "autoscaler-idle" [116] Warning: "an autoscaler that may go to zero and bounds for the primary contradict each other", "give the autoscaler a minimum of 1, or drop primaryScalerReplicas";
        SCALER_SAME_QUERY = "autoscaler-same-query" [118] Warning: "the query does not name the target: primary and canary scale on the same series", "name the target in the query, or set primaryScalerQueries";
        SCALER_PAUSED = "autoscaler-paused" [119] Warning: "it is paused: the target does not scale while it is, and Flagger copies the pause to the primary", "remove the pause annotation";
        TEMPLATE_ABSENT = "template-absent" [129] Warning: "every check fails until it exists", "apply the MetricTemplate";
        TEMPLATE_VARIABLE_UNUSED = "template-variable-unused" [131] Warning: "the template does not use this variable", "remove it";
        ALERT_PROVIDER_ABSENT = "alert-provider-absent" [161] Warning: "alerts are lost until it exists", "apply the AlertProvider";
        HOOK_SERVICE_ABSENT = "hook-service-absent" [149] Warning: "no Service of that name exists in the namespace", "check the host";
        NOT_CHECKED = "surroundings-unknown" [] Warning: "the watch caches are not filled yet, or do not cover it", "apply again later to have these rules answer";
        UNFAIR = "unfair-comparison" [] Warning: "the canary runs smaller than its primary, so latencies cannot be compared", "reference an autoscaler, or scale the target like the primary";
        RECONCILED = "reconciled-elsewhere" [70] Warning: "another tool reconciles this object and reverts what a rollout changes", "let the tool ignore replicas and selector";
    }
    Organisation {
        POLICY_LIMITS = "policy-limits" [] Error: "a policy bounds this value", "keep within the bound, or ask for an exemption";
        POLICY_REQUIRES = "policy-requires" [] Error: "a policy asks every Canary for this", "add it, or ask for an exemption";
        POLICY_ALLOWS = "policy-allows" [] Error: "a policy lists the hosts and schemes that may be called", "call one of them, or ask for an exemption";
        POLICY_FORBIDS = "policy-forbids" [] Error: "a policy forbids this", "remove it, or ask for an exemption";
        POLICY_RULE = "policy-rule" [] Error: "a rule of a policy is not kept", "do as its message says, or ask for an exemption";
        POLICY_RULE_FAILED = "policy-rule-failed" [] Error: "a rule that cannot be evaluated proves nothing, so an enforced one refuses", "ask the policy's owners to mend the rule";
        POLICY_UNCHECKED = "policy-unchecked" [] Warning: "what the policy depends on is not known yet", "it is judged again before a run starts";
        POLICY_EXEMPT = "policy-exempt" [] Warning: "an exemption holds, and ends", "be ready for its end";
    }
    Policy {
        POLICY_EMPTY = "policy-empty" [] Warning: "it decides nothing", "add limits, rules or defaults";
        POLICY_BOUNDS = "policy-bounds" [] Error: "no value keeps within these bounds", "write min below max, in the unit of the field";
        POLICY_HOST = "policy-host" [] Error: "no host is ever matched by it", "write a host, host:port or *.domain";
        POLICY_SELECTOR = "policy-selector" [] Error: "the selector cannot be read as Kubernetes reads it", "write matchLabels or matchExpressions";
        POLICY_OBJECT_SELECTOR = "policy-object-selector" [] Warning: "who may label a Canary can label it out of an enforced policy", "select namespaces instead";
        POLICY_RULE_NAME = "policy-rule-name" [] Error: "messages and exemptions go by the name of a rule", "give each rule a name of its own";
        POLICY_CEL = "policy-cel" [] Error: "the rule could not be evaluated on any Canary", "mend it at the caret";
        POLICY_CEL_ABSENT = "policy-cel-absent" [] Warning: "the rule fails on Canaries like this one, and an enforced rule that fails refuses", "ask with has() first";
        POLICY_SIZE = "policy-size" [] Error: "every review pays for a policy this large", "split it into several policies";
        POLICY_DEFAULTS = "policy-defaults" [] Error: "no Canary may hold this default", "correct or remove it";
        POLICY_EXEMPTION = "policy-exemption" [] Error: "an exemption names whom, until when and why", "add namespace, until and reason";
        POLICY_EXEMPTION_OVER = "policy-exemption-over" [] Warning: "the exemption has ended and exempts nobody", "remove it, or move its end";
    }
    Change {
        TARGET_CHANGED = "target-changed" [77] Error: "the old primary stays and the old target stays parked", "delete the Canary and create a new one";
        WEIGHTS_CHANGED = "weights-changed-in-run" [26] Error: "the present weight may not be in the new list: traffic jumps to 100", "wait for the run to end";
        SERVICE_CHANGED_IN_RUN = "service-changed-in-run" [106] Warning: "routes are written anew and the analysis starts over", "wait for the run to end";
        SERVICE_RENAMED = "service-renamed" [93] Warning: "the old Services stay behind", "delete them by hand";
        SERVICE_FIXED = "service-fixed-at-creation" [92] Warning: "headless and trafficDistribution are set when a Service is created", "delete the Services to have them created anew";
        PROVIDER_CHANGED = "provider-changed" [107] Warning: "objects of the previous provider stay behind", "delete them by hand";
        SCALER_CHANGED = "autoscaler-changed" [120] Warning: "the primary's old autoscaler stays behind", "delete it by hand";
        DELETED_PARKED = "deleted-while-parked" [78, 79] Warning: "the target stays at zero and the primary goes with the Canary: the application goes down", "set revertOnDeletion to true before, or scale the target up";
        TEMPLATE_IN_USE = "template-in-use" [146] Warning: "every check of these Canaries fails until it exists again", "take the references out first";
        TEMPLATE_BREAKS = "template-breaks-canary" [] Warning: "the Canary's checks fail with the new template", "change the Canary with the template";
        ALERT_PROVIDER_IN_USE = "alert-provider-in-use" [] Warning: "alerts of these Canaries are lost until it exists again", "take the references out first";
        DELETED_BLOCKED = "deletion-waits" [80] Warning: "the finalizer waits for the target to serve again", "unset suspend, and see that the target exists";
    }
}

/// Known misconfigurations without a rule, and why.
pub const LEFT_OUT: &[(&str, &str)] = &[
    (
        "V-011",
        "the controller's deadline does not rest on the Deployment's own",
    ),
    (
        "V-041",
        "fixed: metrics are asked while the promotion gate is closed, after one iteration too",
    ),
    (
        "V-056",
        "copies of ConfigMaps and Secrets are the controller's to judge, so that admission reads neither",
    ),
    ("V-073", "quotas are the controller's to judge"),
    (
        "V-074",
        "disruption budgets and network policies are the controller's to judge",
    ),
    (
        "V-100",
        "Ingresses are not watched before there is a router for them",
    ),
    (
        "V-105",
        "TrafficRoutes are not watched before there is a router for them",
    ),
    (
        "V-108",
        "a provider Verdigris does not know is refused where it is configured",
    ),
    ("V-130", "fixed: the interval is 1m for every kind of metric"),
    (
        "V-135",
        "scrape configuration is rarely in annotations: any verdict would be a guess",
    ),
    (
        "V-147a",
        "fixed: an answer that is a native histogram fails its check, and what a query answers with cannot be seen in it",
    ),
    ("V-154", "a note on Flagger's documentation"),
    (
        "V-158",
        "whether there is a process-wide event webhook cannot be seen in a manifest",
    ),
    ("V-160", "fixed: an empty severity is info"),
    ("V-162", "Secrets are the controller's to judge"),
    ("V-165", "whether silence is meant cannot be seen in a manifest"),
    ("V-166", "ConfigMaps and Secrets are the controller's to judge"),
    ("V-167", "ConfigMaps are the controller's to judge"),
    ("V-168", "ConfigMaps and Secrets are the controller's to judge"),
    ("V-169", "ConfigMaps and Secrets are the controller's to judge"),
    ("V-170", "ConfigMaps and Secrets are the controller's to judge"),
    ("V-171", "Secrets are the controller's to judge"),
    ("V-172", "how often a config changes cannot be seen in a manifest"),
    (
        "V-173",
        "a note on literal names, which no rule can tell from other text",
    ),
];

/// The rule of this name.
pub fn find(code: &str) -> Option<&'static Rule> {
    ALL.iter().find(|rule| rule.code.0 == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_kebab_case() {
        let codes: BTreeSet<_> = ALL.iter().map(|rule| rule.code.0).collect();
        assert_eq!(codes.len(), ALL.len());
        for code in codes {
            assert!(
                code.split('-')
                    .all(|w| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase())),
                "{code}"
            );
        }
    }

    /// The list has 174 entries: V-001 … V-173, and V-147a.
    #[test]
    fn every_number_has_a_rule_or_a_reason() {
        let numbers: Vec<String> = (1..=173)
            .map(|number| format!("V-{number:03}"))
            .chain(["V-147a".to_owned()])
            .collect();
        assert_eq!(numbers.len(), 174);
        for number in &numbers {
            let covered = ALL
                .iter()
                .flat_map(Rule::numbers)
                .any(|covered| covered == *number);
            let left_out = LEFT_OUT.iter().any(|(left, _)| left == number);
            assert!(covered != left_out, "{number}");
        }
        for (number, why) in LEFT_OUT {
            assert!(
                numbers.iter().any(|known| known == number) && !why.is_empty(),
                "{number}"
            );
        }
    }

    #[test]
    fn every_rule_explains_itself() {
        for rule in ALL {
            assert!(!rule.reason.is_empty() && !rule.fix.is_empty(), "{}", rule.code);
            assert!(
                rule.covers.iter().all(|number| (1..=173).contains(number)),
                "{}",
                rule.code
            );
            assert_eq!(find(rule.code.0), Some(rule));
        }
    }
}
