//! Flagger's series, by its names, types and labels (Flagger `pkg/metrics/recorder.go`).
//!
//! Owns: what is known of each Canary's series. Promises: when a Canary goes, or gets another target, its series go
//! too. The label `name` is the target's name, not the Canary's, as dashboards expect.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Buckets of the Prometheus client that Flagger uses, seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Values of the label `deployment_strategy`.
const STRATEGIES: [&str; 3] = ["canary", "blue-green", "ab-testing"];
/// Values of the label `analysis_status`.
const ANALYSES: [&str; 2] = ["completed", "skipped"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    version: &'static str,
    mesh_provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NamespaceLabels {
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabels {
    name: String,
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkloadLabels {
    workload: String,
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MetricLabels {
    name: String,
    namespace: String,
    metric: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    name: String,
    namespace: String,
    deployment_strategy: &'static str,
    analysis_status: &'static str,
}

/// What a pass over a Canary came to.
#[derive(Debug, Clone, Copy)]
pub struct CanaryPass<'a> {
    /// Namespace of the Canary.
    pub namespace: &'a str,
    /// Name of the Canary.
    pub canary: &'a str,
    /// Name of its target.
    pub target: &'a str,
    /// Its phase: 0 Progressing, 2 Failed, 1 any other.
    pub status: f64,
    /// Percent of traffic on the target; the rest is on the primary.
    pub weight: u8,
    /// How long the pass took, seconds, if it judged the canary.
    pub judged_for: Option<f64>,
    /// The run that ended with this pass.
    pub ended: Option<EndedRun>,
}

/// A run that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedRun {
    /// Promoted, or failed.
    pub promoted: bool,
    /// `canary`, `blue-green` or `ab-testing`, as written in the manifest.
    pub strategy: &'static str,
    /// `spec.skipAnalysis`.
    pub skipped: bool,
}

/// What is known of one Canary.
#[derive(Debug, Default)]
struct Known {
    target: Option<String>,
    metrics: BTreeSet<String>,
}

type Id = (String, String);

/// Flagger's series.
pub(super) struct Canaries {
    info: Family<InfoLabels, Gauge>,
    durations: Family<TargetLabels, Histogram, fn() -> Histogram>,
    total: Family<NamespaceLabels, Gauge>,
    status: Family<TargetLabels, Gauge<f64, AtomicU64>>,
    weight: Family<WorkloadLabels, Gauge>,
    analysis: Family<MetricLabels, Gauge<f64, AtomicU64>>,
    successes: Family<RunLabels, Counter>,
    failures: Family<RunLabels, Counter>,
    known: Mutex<HashMap<Id, Known>>,
}

impl Canaries {
    /// Declares the series.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let canaries = Self {
            info: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            total: Family::default(),
            status: Family::default(),
            weight: Family::default(),
            analysis: Family::default(),
            successes: Family::default(),
            failures: Family::default(),
            known: Mutex::default(),
        };
        registry.register(
            "flagger_info",
            "Version and provider; always 1",
            canaries.info.clone(),
        );
        registry.register(
            "flagger_canary_duration_seconds",
            "Seconds a pass took that judged a canary",
            canaries.durations.clone(),
        );
        registry.register(
            "flagger_canary_total",
            "Canaries of a namespace",
            canaries.total.clone(),
        );
        registry.register(
            "flagger_canary_status",
            "Last known canary analysis status: 0 running, 1 successful, 2 failed",
            canaries.status.clone(),
        );
        registry.register(
            "flagger_canary_weight",
            "Percent of traffic a workload receives",
            canaries.weight.clone(),
        );
        registry.register(
            "flagger_canary_metric_analysis",
            "Last value measured for a metric of the analysis",
            canaries.analysis.clone(),
        );
        registry.register(
            "flagger_canary_successes",
            "Runs that were promoted",
            canaries.successes.clone(),
        );
        registry.register(
            "flagger_canary_failures",
            "Runs that failed",
            canaries.failures.clone(),
        );
        canaries
    }

    pub(super) fn info(&self, version: &'static str, mesh_provider: &str) {
        let labels = InfoLabels {
            version,
            mesh_provider: mesh_provider.to_owned(),
        };
        self.info.get_or_create(&labels).set(1);
    }

    /// A Canary exists.
    pub(super) fn seen(&self, namespace: &str, canary: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .entry((namespace.to_owned(), canary.to_owned()))
            .or_default();
        self.count(&known, namespace);
    }

    /// A pass came through.
    pub(super) fn passed(&self, pass: &CanaryPass<'_>) {
        self.aim(pass.namespace, pass.canary, pass.target);
        let labels = TargetLabels {
            name: pass.target.to_owned(),
            namespace: pass.namespace.to_owned(),
        };
        self.status.get_or_create(&labels).set(pass.status);
        let primary = format!("{}-primary", pass.target);
        let canary_weight = i64::from(pass.weight.min(100));
        for (workload, weight) in [
            (pass.target, canary_weight),
            (primary.as_str(), 100 - canary_weight),
        ] {
            let labels = WorkloadLabels {
                workload: workload.to_owned(),
                namespace: pass.namespace.to_owned(),
            };
            self.weight.get_or_create(&labels).set(weight);
        }
        if let Some(seconds) = pass.judged_for {
            self.durations.get_or_create(&labels).observe(seconds);
        }
        if let Some(ended) = pass.ended {
            let family = if ended.promoted {
                &self.successes
            } else {
                &self.failures
            };
            let [completed, skipped] = ANALYSES;
            let labels = RunLabels {
                name: labels.name,
                namespace: labels.namespace,
                deployment_strategy: ended.strategy,
                analysis_status: if ended.skipped { skipped } else { completed },
            };
            family.get_or_create(&labels).inc();
        }
    }

    /// A metric of the analysis had a value.
    pub(super) fn measured(&self, namespace: &str, canary: &str, target: &str, metric: &str, value: f64) {
        self.aim(namespace, canary, target);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(&(namespace.to_owned(), canary.to_owned())) {
            known.metrics.insert(metric.to_owned());
            let labels = MetricLabels {
                name: target.to_owned(),
                namespace: namespace.to_owned(),
                metric: metric.to_owned(),
            };
            self.analysis.get_or_create(&labels).set(value);
        }
    }

    /// A Canary is gone.
    pub(super) fn forget(&self, namespace: &str, canary: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = known.remove(&(namespace.to_owned(), canary.to_owned())) {
            self.drop_series(&known, namespace, gone);
        }
        self.count(&known, namespace);
    }

    /// Notes the target; the series of another one go.
    fn aim(&self, namespace: &str, canary: &str, target: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (namespace.to_owned(), canary.to_owned());
        let entry = known.entry(id).or_default();
        if entry.target.as_deref() == Some(target) {
            return;
        }
        let old = std::mem::replace(
            entry,
            Known {
                target: Some(target.to_owned()),
                metrics: BTreeSet::new(),
            },
        );
        self.drop_series(&known, namespace, old);
        self.count(&known, namespace);
    }

    fn drop_series(&self, known: &HashMap<Id, Known>, namespace: &str, gone: Known) {
        let Some(name) = gone.target else { return };
        // A Deployment and a DaemonSet may share a name: the series are those of both.
        let shared = known
            .iter()
            .any(|((place, _), other)| place == namespace && other.target.as_deref() == Some(name.as_str()));
        if shared {
            return;
        }
        let namespace = namespace.to_owned();
        for metric in gone.metrics {
            self.analysis.remove(&MetricLabels {
                name: name.clone(),
                namespace: namespace.clone(),
                metric,
            });
        }
        for workload in [name.clone(), format!("{name}-primary")] {
            self.weight.remove(&WorkloadLabels {
                workload,
                namespace: namespace.clone(),
            });
        }
        for family in [&self.successes, &self.failures] {
            for (deployment_strategy, analysis_status) in STRATEGIES
                .into_iter()
                .flat_map(|one| ANALYSES.map(|two| (one, two)))
            {
                family.remove(&RunLabels {
                    name: name.clone(),
                    namespace: namespace.clone(),
                    deployment_strategy,
                    analysis_status,
                });
            }
        }
        let labels = TargetLabels { name, namespace };
        self.durations.remove(&labels);
        self.status.remove(&labels);
    }

    fn count(&self, known: &HashMap<Id, Known>, namespace: &str) {
        let found = known.keys().filter(|(place, _)| place == namespace).count();
        let labels = NamespaceLabels {
            namespace: namespace.to_owned(),
        };
        if found == 0 {
            self.total.remove(&labels);
        } else {
            self.total
                .get_or_create(&labels)
                .set(i64::try_from(found).unwrap_or(i64::MAX));
        }
    }

    /// How many Canaries each namespace has.
    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = BTreeMap::new();
        for (namespace, _) in known.keys() {
            *counts.entry(namespace.clone()).or_default() += 1;
        }
        counts
    }
}
