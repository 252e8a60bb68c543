//! The process's own series, by the names every Prometheus client uses, read from `/proc` when they are asked for.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Kernel clock ticks a second and bytes a page: fixed parts of Linux's interface on the platforms we build for.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// Reads `/proc/self`.
#[derive(Debug)]
pub(super) struct Process {
    /// Unix seconds.
    started: f64,
}

impl Process {
    pub(super) fn new(started: f64) -> Self {
        Self { started }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge.encode(metric)
        };
        gauge(
            "process_start_time_seconds",
            "Start time of the process, Unix time",
            self.started,
        )?;
        if let Some(bytes) = resident() {
            gauge(
                "process_resident_memory_bytes",
                "Resident memory size",
                bytes as f64,
            )?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            gauge("process_open_fds", "Open file descriptors", open.count() as f64)?;
        }
        if let Some(seconds) = cpu() {
            let counter = ConstCounter::new(seconds);
            let metric =
                encoder.encode_descriptor("process_cpu_seconds", "CPU time", None, MetricType::Counter)?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

/// User and system time; the name of the process, in brackets, may hold blanks.
fn cpu() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}
