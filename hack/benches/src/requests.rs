//! Requests as the API server sees them. Whoever else works on the cluster here does so without the socket.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Where the API server says what it answered.
const SOURCE: &str = "devcluster::server::route";

/// All but watches and the lease.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<Vec<(Instant, String)>>>);

impl Requests {
    /// Counts from now on, for the whole process.
    pub(crate) fn count() -> Self {
        let requests = Self::default();
        let only = Targets::new().with_target(SOURCE, tracing::Level::TRACE);
        tracing_subscriber::registry()
            .with(requests.clone().with_filter(only))
            .init();
        requests
    }

    /// Begins anew.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    /// Method and path of each since.
    pub(crate) fn others(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|(_, what)| what.clone())
            .collect()
    }

    /// The most within any second.
    pub(crate) fn busiest_second(&self) -> usize {
        let times: Vec<Instant> = self.0.lock().unwrap().iter().map(|(at, _)| *at).collect();
        let within = |first: &Instant| {
            times
                .iter()
                .filter(|at| **at >= *first && (**at - *first).as_millis() < 1000)
                .count()
        };
        times.iter().map(within).max().unwrap_or_default()
    }
}

/// The most frequent, for whoever has to find out.
pub(crate) fn most_frequent(requests: &[String]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for request in requests {
        *counts.entry(request).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map_or_else(String::new, |(what, count)| format!("({count} × {what})"))
}

#[derive(Default)]
struct Answered {
    method: String,
    path: String,
    watch: bool,
}

impl Visit for Answered {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "path" => value.clone_into(&mut self.path),
            "method" => value.clone_into(&mut self.method),
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.watch |= field.name() == "watch" && value;
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "method" {
            self.method = format!("{value:?}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Requests {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut answered = Answered::default();
        event.record(&mut answered);
        if !answered.watch && !answered.path.contains("/leases/") {
            let what = format!("{} {}", answered.method, answered.path);
            self.0.lock().unwrap().push((Instant::now(), what));
        }
    }
}
