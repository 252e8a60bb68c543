//! Logs and the metric registry.
//!
//! Owns: the one registry and the names of all series (`flagger_*` keep Flagger's names, everything new is
//! `verdigris_*`). Promises: labels are enum variants or the Canary's own name, never messages.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. `level` is a level or a tracing filter; `warning` means `warn`.
pub fn start_logging(level: &str, format: LogFormat) -> Result<(), String> {
    let level = if level.eq_ignore_ascii_case("warning") {
        "warn"
    } else {
        level
    };
    let filter = tracing_subscriber::EnvFilter::try_new(level).map_err(|error| {
        format!("--log-level {level:?} is not a level: {error}; use error, warn, info, debug or trace")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("logging could not start: {error}"))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    webhook: &'static str,
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConversionLabels {
    to: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CanaryLabels {
    name: String,
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuestionLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabels {
    policy: String,
    mode: &'static str,
}

/// Every series of the process.
pub struct Metrics {
    registry: Registry,
    policy_breaches: Family<PolicyLabels, Counter>,
    policy_violations: Family<PolicyLabels, Gauge<i64, AtomicI64>>,
    reviews: Family<ReviewLabels, Counter>,
    review_seconds: Histogram,
    conversions: Family<ConversionLabels, Counter>,
    conversion_objects: Counter,
    reconciles: Family<OutcomeLabels, Counter>,
    reconcile_seconds: Histogram,
    questions: Family<QuestionLabels, Counter>,
    canary_status: Family<CanaryLabels, Gauge<f64, AtomicU64>>,
    certificate_expiry: Gauge<i64, AtomicI64>,
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
        let policy_breaches = Family::<PolicyLabels, Counter>::default();
        registry.register(
            "verdigris_policy_breaches",
            "Rules of policies that reviewed objects broke, exempt ones left out",
            policy_breaches.clone(),
        );
        let policy_violations = Family::<PolicyLabels, Gauge<i64, AtomicI64>>::default();
        registry.register(
            "verdigris_policy_violations",
            "Objects in the cluster that break a policy, as the last audit found them",
            policy_violations.clone(),
        );
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
        let conversion_objects = Counter::default();
        registry.register(
            "verdigris_conversion_objects",
            "Objects converted",
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
        let canary_status = Family::<CanaryLabels, Gauge<f64, AtomicU64>>::default();
        registry.register(
            "flagger_canary_status",
            "Last known canary analysis status: 0 running, 1 successful, 2 failed",
            canary_status.clone(),
        );
        let certificate_expiry = Gauge::<i64, AtomicI64>::default();
        registry.register(
            "verdigris_tls_certificate_expiry_timestamp_seconds",
            "When the serving certificate expires, Unix time",
            certificate_expiry.clone(),
        );
        Self {
            registry,
            policy_breaches,
            policy_violations,
            reviews,
            review_seconds,
            conversions,
            conversion_objects,
            reconciles,
            reconcile_seconds,
            questions,
            canary_status,
            certificate_expiry,
        }
    }

    /// Counts an admission review: `webhook` is `validate` or `mutate`, `verdict` `allowed`, `denied` or `unreadable`.
    pub fn review(&self, webhook: &'static str, verdict: &'static str, seconds: f64) {
        self.reviews
            .get_or_create(&ReviewLabels { webhook, verdict })
            .inc();
        self.review_seconds.observe(seconds);
    }

    /// Counts a conversion review.
    pub fn conversion(&self, to: &'static str, result: &'static str, objects: u64) {
        self.conversions
            .get_or_create(&ConversionLabels { to, result })
            .inc();
        self.conversion_objects.inc_by(objects);
    }

    /// Counts a rule of a policy that a reviewed object broke.
    pub fn policy_breach(&self, policy: &str, mode: &'static str) {
        let labels = PolicyLabels {
            policy: policy.to_owned(),
            mode,
        };
        self.policy_breaches.get_or_create(&labels).inc();
    }

    /// What an audit found: policy, mode, objects that break it. Policies that are gone lose their series.
    pub fn policy_violations<'a>(&self, found: impl Iterator<Item = (&'a str, &'static str, u32)>) {
        self.policy_violations.clear();
        for (policy, mode, violations) in found {
            let labels = PolicyLabels {
                policy: policy.to_owned(),
                mode,
            };
            self.policy_violations
                .get_or_create(&labels)
                .set(violations.into());
        }
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

    /// Flagger's `flagger_canary_status`.
    pub fn canary_status(&self, namespace: &str, name: &str, value: f64) {
        let labels = CanaryLabels {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        };
        self.canary_status.get_or_create(&labels).set(value);
    }

    /// Drops the series of a deleted Canary.
    pub fn forget_canary(&self, namespace: &str, name: &str) {
        self.canary_status.remove(&CanaryLabels {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        });
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
