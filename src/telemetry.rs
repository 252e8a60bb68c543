//! Logs and the metric registry.
//!
//! Owns: the one registry and the names of all series (`flagger_*` keep Flagger's names, everything new is
//! `verdigris_*`). Promises: labels are enum variants or the Canary's own name, never messages.
#![expect(clippy::disallowed_methods, reason = "shell: notes when the process started")]

mod canaries;
mod log;
mod process;
mod trace;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use canaries::{CanaryPass, EndedRun};
pub use log::{LogFormat, Logs, start_logging, start_logging_and_tracing};
pub use trace::{Outlet, TraceParent, Traces, request as trace_request};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    webhook: &'static str,
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConversionLabels {
    from: &'static str,
    to: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuestionLabels {
    kind: &'static str,
    result: &'static str,
}

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The kinds caches are kept of.
const CACHES: [&str; 9] = [
    "Canary",
    "MetricTemplate",
    "AlertProvider",
    "Namespace",
    "Deployment",
    "DaemonSet",
    "Service",
    "HorizontalPodAutoscaler",
    "ScaledObject",
];

/// Every series of the process.
pub struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Counter>,
    review_seconds: Histogram,
    conversions: Family<ConversionLabels, Counter>,
    conversion_objects: Histogram,
    reconciles: Family<OutcomeLabels, Counter>,
    reconcile_seconds: Histogram,
    questions: Family<QuestionLabels, Counter>,
    canaries: canaries::Canaries,
    caches: Family<CacheLabels, Gauge>,
    certificate_expiry: Gauge<i64, AtomicI64>,
    leader: Gauge,
    spans_dropped: Counter,
    started: f64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty registry with every series declared.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let reviews = Family::<ReviewLabels, Counter>::default();
        registry.register(
            "verdigris_admission_reviews",
            "Admission reviews answered",
            reviews.clone(),
        );
        let review_seconds = Histogram::new(exponential_buckets(0.000_25, 2.0, 14));
        registry.register(
            "verdigris_admission_seconds",
            "Time to answer an admission review",
            review_seconds.clone(),
        );
        let conversions = Family::<ConversionLabels, Counter>::default();
        registry.register(
            "verdigris_conversions",
            "Conversion reviews answered",
            conversions.clone(),
        );
        let conversion_objects = Histogram::new([0.0, 1.0, 10.0, 100.0, 500.0, 1500.0, 5000.0, 10_000.0]);
        registry.register(
            "verdigris_conversion_objects",
            "Objects of a conversion review",
            conversion_objects.clone(),
        );
        let reconciles = Family::<OutcomeLabels, Counter>::default();
        registry.register(
            "verdigris_reconciles",
            "Passes of the controller",
            reconciles.clone(),
        );
        let reconcile_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 16));
        registry.register(
            "verdigris_reconcile_seconds",
            "Time of a pass",
            reconcile_seconds.clone(),
        );
        let questions = Family::<QuestionLabels, Counter>::default();
        registry.register(
            "verdigris_questions",
            "Hooks and metric servers asked",
            questions.clone(),
        );
        let canaries = canaries::Canaries::register(&mut registry);
        let caches = Family::<CacheLabels, Gauge>::default();
        registry.register(
            "verdigris_cache_synced",
            "Whether a kind has been listed: 1 or 0",
            caches.clone(),
        );
        let leader = Gauge::default();
        registry.register(
            "verdigris_leader",
            "Whether this replica writes: 1 or 0",
            leader.clone(),
        );
        let spans_dropped = Counter::default();
        registry.register(
            "verdigris_trace_spans_dropped",
            "Spans the trace collector did not get",
            spans_dropped.clone(),
        );
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: VERSION }).set(1);
        registry.register("verdigris_build_info", "Version; always 1", build);
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        let started = started.map_or(0.0, |elapsed| elapsed.as_secs_f64());
        registry.register_collector(Box::new(process::Process::new(started)));
        let certificate_expiry = Gauge::<i64, AtomicI64>::default();
        registry.register(
            "verdigris_tls_certificate_expiry_timestamp_seconds",
            "When the serving certificate expires, Unix time",
            certificate_expiry.clone(),
        );
        Self {
            registry,
            reviews,
            review_seconds,
            conversions,
            conversion_objects,
            reconciles,
            reconcile_seconds,
            questions,
            canaries,
            caches,
            certificate_expiry,
            leader,
            spans_dropped,
            started,
        }
    }

    /// Counts an admission review: `webhook` is `validate` or `mutate`, `verdict` `allowed`, `denied` or `unreadable`.
    pub fn review(&self, webhook: &'static str, verdict: &'static str, seconds: f64) {
        self.reviews
            .get_or_create(&ReviewLabels { webhook, verdict })
            .inc();
        self.review_seconds.observe(seconds);
    }

    /// Counts a conversion review of so many objects.
    pub fn conversion(&self, from: &'static str, to: &'static str, result: &'static str, objects: u64) {
        self.conversions
            .get_or_create(&ConversionLabels { from, to, result })
            .inc();
        self.conversion_objects.observe(objects as f64);
    }

    /// Counts a pass of the controller.
    pub fn reconcile(&self, outcome: &'static str, seconds: f64) {
        self.reconciles.get_or_create(&OutcomeLabels { outcome }).inc();
        self.reconcile_seconds.observe(seconds);
    }

    /// Counts a question asked.
    pub fn question(&self, kind: &'static str, result: &'static str) {
        self.questions
            .get_or_create(&QuestionLabels { kind, result })
            .inc();
    }

    /// Flagger's `flagger_info`.
    pub fn info(&self, mesh_provider: &str) {
        self.canaries.info(VERSION, mesh_provider);
    }

    /// A Canary exists (`flagger_canary_total`).
    pub fn canary_seen(&self, namespace: &str, name: &str) {
        self.canaries.seen(namespace, name);
    }

    /// A pass over a Canary came through.
    pub fn canary_passed(&self, pass: &CanaryPass<'_>) {
        self.canaries.passed(pass);
    }

    /// Flagger's `flagger_canary_metric_analysis`.
    pub fn canary_measured(&self, namespace: &str, name: &str, target: &str, metric: &str, value: f64) {
        self.canaries.measured(namespace, name, target, metric, value);
    }

    /// Drops the series of a deleted Canary.
    pub fn forget_canary(&self, namespace: &str, name: &str) {
        self.canaries.forget(namespace, name);
    }

    /// Canaries by namespace.
    pub fn canaries(&self) -> BTreeMap<String, usize> {
        self.canaries.counts()
    }

    /// Says whether the cache of a kind holds what there is.
    pub fn cache_synced(&self, kind: &'static str, synced: bool) {
        self.caches
            .get_or_create(&CacheLabels { kind })
            .set(i64::from(synced));
    }

    /// Which caches there are, and whether they hold what there is.
    pub fn caches(&self) -> BTreeMap<&'static str, bool> {
        let mut known = BTreeMap::new();
        for kind in CACHES {
            if let Some(gauge) = self.caches.get(&CacheLabels { kind }) {
                known.insert(kind, gauge.get() == 1);
            }
        }
        known
    }

    /// Says whether this replica writes.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Whether this replica writes.
    pub fn leads(&self) -> bool {
        self.leader.get() == 1
    }

    /// Counts spans that went nowhere.
    pub fn spans_dropped(&self, count: u64) {
        self.spans_dropped.inc_by(count);
    }

    /// When the process started, Unix seconds.
    pub fn started(&self) -> f64 {
        self.started
    }

    /// When the serving certificate expires, Unix seconds; 0 before there is one.
    pub fn certificate_expires(&self) -> i64 {
        self.certificate_expiry.get()
    }

    /// Sets the expiry of the serving certificate, Unix seconds.
    pub fn certificate_expiry(&self, unix: i64) {
        self.certificate_expiry.set(unix);
    }

    /// OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
