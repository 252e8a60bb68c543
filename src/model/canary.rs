//! The parsed Canary: every deprecated spelling resolved, every default applied, every number in range.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Namespace, name and uid of the Canary object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty before the API server has assigned one.
    pub uid: String,
}

/// Prints `name.namespace`, the form Flagger's events use (`podinfo.test`).
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

/// A Canary as the controller obeys it (Flagger `Canary.spec`, v1beta1).
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// Which object this is.
    pub id: Identity,
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.provider`, or the process-wide default.
    pub provider: Provider,
    /// `spec.metricsServer`: Prometheus for built-in and inline queries; `None` means the process-wide one.
    pub metrics_server: Option<String>,
    /// `spec.targetRef`.
    pub target: Target,
    /// `spec.autoscalerRef`.
    pub autoscaler: Option<Autoscaler>,
    /// `spec.service`.
    pub service: Service,
    /// `spec.analysis`.
    pub analysis: Analysis,
    /// `spec.progressDeadlineSeconds` (default 600 s).
    pub progress_deadline: Duration,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `spec.revertOnDeletion`.
    pub revert_on_deletion: bool,
}

/// The traffic provider (`spec.provider`, flag `--mesh-provider`). Only `Kubernetes` has a router so far; the
/// others are admitted with a warning and get condition `Stalled` / `ProviderNotSupported`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// Blue/green on plain Services.
    Kubernetes,
    /// A provider Flagger knows and Verdigris does not route for yet; the text is as written.
    Other(String),
}

impl Provider {
    /// The provider's name as written in manifests.
    pub fn as_str(&self) -> &str {
        match self {
            Provider::Kubernetes => "kubernetes",
            Provider::Other(name) => name,
        }
    }
}

/// `spec.targetRef`: the workload under control, always in the Canary's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The kind of workload.
    pub kind: TargetKind,
    /// Its name.
    pub name: String,
}

/// Kinds a Canary can control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// Core `v1` Service.
    Service,
    /// `serving.knative.dev/v1` Service (not routed yet).
    Knative,
}

impl TargetKind {
    /// The Kubernetes kind.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetKind::Deployment => "Deployment",
            TargetKind::DaemonSet => "DaemonSet",
            TargetKind::Service | TargetKind::Knative => "Service",
        }
    }
}

/// `spec.autoscalerRef`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autoscaler {
    /// HPA or KEDA.
    pub kind: ScalerKind,
    /// Name of the scaler of the target.
    pub name: String,
    /// `primaryScalerQueries` (KEDA trigger name → query).
    pub primary_queries: BTreeMap<String, String>,
    /// `primaryScalerReplicas.minReplicas`.
    pub primary_min: Option<i32>,
    /// `primaryScalerReplicas.maxReplicas`.
    pub primary_max: Option<i32>,
}

/// Kinds of autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalerKind {
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    HorizontalPodAutoscaler,
    /// `keda.sh/v1alpha1` ScaledObject.
    ScaledObject,
}

/// `spec.service`: what the three Services look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Apex Service name (`service.name`, default `targetRef.name`).
    pub name: String,
    /// `service.port`.
    pub port: u16,
    /// `service.portName` (default `http`).
    pub port_name: String,
    /// `service.targetPort`; `None` when absent, `0` or `"0"` (then the number of `port`).
    pub target_port: Option<PortRef>,
    /// `service.appProtocol`.
    pub app_protocol: Option<String>,
    /// `service.trafficDistribution`.
    pub traffic_distribution: Option<String>,
    /// `service.portDiscovery`.
    pub port_discovery: bool,
    /// `service.headless`.
    pub headless: bool,
    /// `service.apex` labels and annotations.
    pub apex: Metadata,
    /// `service.primary` labels and annotations.
    pub primary: Metadata,
    /// `service.canary` labels and annotations.
    pub canary: Metadata,
    /// `service.unmanagedMetadata`: keys on the Services that are left alone.
    pub unmanaged: Unmanaged,
}

/// A port by number or by name (Kubernetes IntOrString).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortRef {
    /// A port number.
    Number(u16),
    /// The name of a container port.
    Name(String),
}

/// Labels and annotations for one generated Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Keys that belong to somebody else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unmanaged {
    /// Label keys.
    pub labels: Vec<String>,
    /// Annotation keys.
    pub annotations: Vec<String>,
}

/// `spec.analysis`: how a new revision is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// `spec.skipAnalysis` (also true when the manifest has no analysis at all).
    pub skip: bool,
    /// `analysis.interval`, raised to the process minimum (`--min-analysis-interval`).
    pub interval: Duration,
    /// `analysis.threshold`: failed checks that end the run (at least 1).
    pub threshold: NonZeroU32,
    /// How traffic or iterations advance.
    pub strategy: Strategy,
    /// The measurements, in the order they are asked (Flagger: built-in and inline first, templates second).
    pub checks: Vec<Check>,
    /// The hooks, in manifest order.
    pub hooks: Vec<Hook>,
    /// The alerts, in manifest order.
    pub alerts: Vec<Alert>,
    /// `analysis.primaryReadyThreshold`, percent of updated replicas (default 100; 0 disables).
    pub primary_ready: u8,
    /// `analysis.canaryReadyThreshold`, percent of updated replicas (default 100; 0 disables).
    pub canary_ready: u8,
}

impl Analysis {
    /// Hooks of one type, with their index in `hooks`, in manifest order.
    pub fn hooks_of(&self, kind: HookKind) -> impl Iterator<Item = (usize, &Hook)> {
        self.hooks
            .iter()
            .enumerate()
            .filter(move |(_, hook)| hook.kind == kind)
    }
}

/// The release strategy, inferred as Flagger does (`match` and `iterations` → A/B, `iterations` → blue/green,
/// otherwise weights).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Analysis in `iterations` steps; traffic moves when the primary is rolled.
    BlueGreen {
        /// Checks that must pass (they run `iterations + 1` times, Flagger Q-44).
        iterations: NonZeroU32,
        /// `analysis.mirror`.
        mirror: bool,
    },
    /// Weighted traffic shift. Needs a router.
    Progressive {
        /// Absolute canary weights in order, in percent.
        weights: Vec<u8>,
        /// `analysis.mirror`.
        mirror: bool,
        /// `analysis.stepWeightPromotion`, percent; `None` shifts in one go.
        promotion: Option<u8>,
    },
    /// Header or cookie routed iterations. Needs a router.
    AbTest {
        /// Checks that must pass.
        iterations: NonZeroU32,
    },
}

/// One measurement with the range it must lie in.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Index of the entry in `analysis.metrics` it came from.
    pub metric: usize,
    /// `metrics[].name`.
    pub name: String,
    /// Where the number comes from.
    pub source: Source,
    /// What it is compared with.
    pub bounds: Bounds,
    /// `metrics[].interval`, as written (PromQL duration text; default `1m`).
    pub interval: String,
}

/// Where a measurement comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Flagger's `request-success-rate`, percent.
    SuccessRate,
    /// Flagger's `request-duration`, milliseconds.
    RequestDuration,
    /// An inline PromQL template (`metrics[].query`).
    Query(String),
    /// A MetricTemplate.
    Template {
        /// Namespace of the template (default: the Canary's).
        namespace: String,
        /// Name of the template.
        name: String,
        /// `templateVariables`.
        variables: BTreeMap<String, String>,
    },
}

/// The closed range a value must lie in (`thresholdRange`); comparisons are strict, equality passes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// Lowest good value.
    pub min: Option<f64>,
    /// Highest good value.
    pub max: Option<f64>,
}

/// A canary webhook (`analysis.webhooks[]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When it is called.
    pub kind: HookKind,
    /// `webhooks[].name`.
    pub name: String,
    /// `webhooks[].url`.
    pub url: String,
    /// Deadline of one attempt (default 10 s).
    pub timeout: Duration,
    /// Further attempts after a transport error, 429 or 5xx.
    pub retries: u32,
    /// `muteAlert`.
    pub mute_alert: bool,
    /// `disableTLS`: skip certificate verification.
    pub disable_tls: bool,
    /// `metadata`, sent verbatim.
    pub metadata: BTreeMap<String, String>,
}

/// Flagger's hook types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HookKind {
    /// Before the target is scaled up.
    ConfirmRollout,
    /// Before the first iteration.
    PreRollout,
    /// At every check (also the empty type).
    Rollout,
    /// Before a weight step.
    ConfirmTrafficIncrease,
    /// Before promotion.
    ConfirmPromotion,
    /// After success or failure.
    PostRollout,
    /// A 2xx answer means: roll back.
    Rollback,
    /// Called with every event.
    Event,
}

impl HookKind {
    /// The `type` as written in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            HookKind::ConfirmRollout => "confirm-rollout",
            HookKind::PreRollout => "pre-rollout",
            HookKind::Rollout => "rollout",
            HookKind::ConfirmTrafficIncrease => "confirm-traffic-increase",
            HookKind::ConfirmPromotion => "confirm-promotion",
            HookKind::PostRollout => "post-rollout",
            HookKind::Rollback => "rollback",
            HookKind::Event => "event",
        }
    }
}

/// An alert destination (`analysis.alerts[]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `alerts[].name`.
    pub name: String,
    /// Lowest severity that is sent (default info).
    pub severity: crate::model::notice::Severity,
    /// Namespace of the AlertProvider (default: the Canary's).
    pub provider_namespace: String,
    /// Name of the AlertProvider.
    pub provider: String,
}
