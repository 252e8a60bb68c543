//! Spans: continued from the caller's `traceparent`, handed to whoever exports them. Off unless asked for.
//!
//! Owns: ids, the bounded queue, the OTLP form. Promises: a span never waits for a collector; what does not fit is
//! dropped and counted. Never: sends anything itself, puts an object into an attribute.
//!
//! OTLP is written by hand, as JSON over HTTP (opentelemetry-proto 1.x, "OTLP/HTTP"): three messages are needed,
//! and the OpenTelemetry crates would add nineteen to the tree, among them a second HTTP client configuration beside
//! the only one.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: spans begin and end by the clock"
)]

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Spans that may wait for the collector.
const QUEUE: usize = 2048;
/// Spans in one request.
const BATCH: usize = 256;
/// Longest attribute, bytes.
const LONGEST: usize = 256;

/// `traceparent` of W3C Trace Context: who called, and whether that call is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: u128,
    /// The caller's span.
    pub span: u64,
    /// The caller records.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the header; whatever breaks the rules of the recommendation counts as absent.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !lower(version, 2) || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        if !lower(trace, 32) || !lower(span, 16) || !lower(flags, 2) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self { trace, span, sampled })
    }
}

/// One finished span.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedSpan {
    trace: u128,
    span: u64,
    parent: Option<u64>,
    name: &'static str,
    began: u128,
    ended: u128,
    attributes: Vec<(&'static str, Value)>,
    failed: bool,
}

/// Where finished spans wait.
#[derive(Debug)]
pub struct Traces {
    queue: mpsc::Sender<FinishedSpan>,
    waiting: Option<mpsc::Receiver<FinishedSpan>>,
    dropped: Arc<AtomicU64>,
}

impl Default for Traces {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        Self {
            queue,
            waiting: Some(waiting),
            dropped: Arc::default(),
        }
    }
}

impl Traces {
    /// The other end, once.
    pub fn outlet(&mut self) -> Option<Outlet> {
        Some(Outlet {
            waiting: self.waiting.take()?,
            dropped: Arc::clone(&self.dropped),
        })
    }
}

/// Takes finished spans out of the queue.
#[derive(Debug)]
pub struct Outlet {
    waiting: mpsc::Receiver<FinishedSpan>,
    dropped: Arc<AtomicU64>,
}

impl Outlet {
    /// The next batch, at least one span; `None` when there will be no more.
    pub async fn batch(&mut self) -> Option<Vec<FinishedSpan>> {
        let mut batch = Vec::new();
        let taken = self.waiting.recv_many(&mut batch, BATCH).await;
        (taken > 0).then_some(batch)
    }

    /// Spans that found the queue full, since this was asked last.
    pub fn dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// An `ExportTraceServiceRequest` as JSON.
pub fn request(spans: &[FinishedSpan], version: &str, instance: &str) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let spans: Vec<Value> = spans.iter().map(otlp).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            text("service.name", "verdigris"),
            text("service.version", version),
            text("service.instance.id", instance),
        ]},
        "scopeSpans": [{"scope": {"name": "verdigris", "version": version}, "spans": spans}],
    }]})
}

fn otlp(span: &FinishedSpan) -> Value {
    // 2 is SERVER, 1 is INTERNAL.
    let kind = if span.name == "review" || span.name == "conversion" {
        2
    } else {
        1
    };
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Value::Bool(value) => json!({"boolValue": value}),
                Value::Number(value) => json!({"intValue": value.to_string()}),
                other => json!({"stringValue": other.as_str().unwrap_or_default()}),
            };
            json!({"key": key, "value": value})
        })
        .collect();
    let mut out = json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.span),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": span.began.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
        "attributes": attributes,
        // 2 is ERROR; 0, unset, is what a server says of a call that went well.
        "status": {"code": if span.failed { 2 } else { 0 }},
    });
    if let Some(parent) = span.parent {
        out["parentSpanId"] = format!("{parent:016x}").into();
    }
    out
}

/// Ids nobody else makes: a random start, and a bijection of a counter.
#[derive(Debug)]
struct Ids {
    next: AtomicU64,
    high: u64,
}

impl Ids {
    fn new() -> Self {
        let random = |salt: u8| RandomState::new().hash_one((salt, std::process::id(), nanoseconds()));
        Self {
            next: AtomicU64::new(random(1)),
            high: random(2) | 1,
        }
    }

    fn span(&self) -> u64 {
        // SplitMix64.
        let mut z = self.next.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    }

    fn trace(&self) -> u128 {
        (u128::from(self.high ^ self.span()) << 64) | u128::from(self.span())
    }
}

fn nanoseconds() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |elapsed| elapsed.as_nanos())
}

/// The layer that makes [`FinishedSpan`]s of spans.
pub(super) struct Spans {
    queue: mpsc::Sender<FinishedSpan>,
    dropped: Arc<AtomicU64>,
    ids: Ids,
}

impl Spans {
    pub(super) fn new(traces: &Traces) -> Self {
        Self {
            queue: traces.queue.clone(),
            dropped: Arc::clone(&traces.dropped),
            ids: Ids::new(),
        }
    }
}

/// A span under way; `None` of it when the caller's trace is not recorded.
struct Open {
    finished: FinishedSpan,
    sampled: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let above = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            let open = extensions.get::<Open>()?;
            Some((open.finished.trace, open.finished.span, open.sampled))
        });
        let remote = fields.traceparent.as_deref().and_then(TraceParent::parse);
        let (trace, parent, sampled) = match (above, remote) {
            (Some((trace, span, sampled)), _) => (trace, Some(span), sampled),
            (None, Some(remote)) => (remote.trace, Some(remote.span), remote.sampled),
            (None, None) => (self.ids.trace(), None, true),
        };
        span.extensions_mut().insert(Open {
            finished: FinishedSpan {
                trace,
                span: self.ids.span(),
                parent,
                name: attributes.metadata().name(),
                began: nanoseconds(),
                ended: 0,
                attributes: fields.attributes,
                failed: false,
            },
            sampled,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.finished.attributes.extend(fields.attributes);
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        if *event.metadata().level() > Level::WARN {
            return;
        }
        if let Some(span) = cx.event_span(event)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            open.finished.failed = true;
        }
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        let Some(span) = cx.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        if !open.sampled {
            return;
        }
        let mut finished = open.finished;
        finished.ended = nanoseconds();
        if self.queue.try_send(finished).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A span's fields; `traceparent` is read, not exported.
#[derive(Default)]
struct Fields {
    traceparent: Option<String>,
    attributes: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.attributes.push((field.name(), value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "traceparent" {
            self.traceparent = Some(value.to_owned());
            return;
        }
        let cut = (0..=LONGEST.min(value.len()))
            .rev()
            .find(|at| value.is_char_boundary(*at));
        let value = &value[..cut.unwrap_or_default()];
        self.attributes.push((field.name(), value.into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_traceparent_is_read_by_the_rules() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = TraceParent::parse(good).unwrap();
        assert_eq!(parent.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((parent.span, parent.sampled), (0xb7ad_6b71_6920_3331, true));
        let table = [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true),
            (
                "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later",
                true,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
                false,
            ),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false),
            ("", false),
        ];
        for (header, expected) in table {
            assert_eq!(TraceParent::parse(header).is_some(), expected, "{header}");
        }
    }

    /// The OTLP spans that `work` makes.
    fn spans_of(work: impl FnOnce()) -> Vec<Value> {
        let mut traces = Traces::default();
        let mut outlet = traces.outlet().unwrap();
        let subscriber = tracing_subscriber::registry().with(Spans::new(&traces));
        tracing::subscriber::with_default(subscriber, work);
        let mut found = Vec::new();
        while let Ok(span) = outlet.waiting.try_recv() {
            found.push(span);
        }
        let request = request(&found, "0", "test");
        request["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap()
            .clone()
    }

    #[test]
    fn spans_continue_the_callers_trace() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let spans = spans_of(|| {
            let review = tracing::info_span!("review", traceparent = header, verdict = tracing::field::Empty);
            review.in_scope(|| {
                tracing::info_span!("parse").in_scope(|| tracing::warn!("odd"));
                review.record("verdict", "denied");
            });
        });
        let [parse, review] = spans.as_slice() else {
            panic!("{spans:?}")
        };
        for span in [parse, review] {
            assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
        }
        assert_eq!(review["parentSpanId"], "b7ad6b7169203331");
        assert_eq!(parse["parentSpanId"], review["spanId"]);
        assert_eq!(
            review["attributes"],
            json!([{"key": "verdict", "value": {"stringValue": "denied"}}])
        );
        assert_eq!((&review["kind"], &parse["kind"]), (&json!(2), &json!(1)));
        assert_eq!(parse["status"]["code"], 2, "a warning was told in it");
        assert_eq!(review["status"]["code"], 0);
    }

    #[test]
    fn what_the_caller_does_not_record_is_not_recorded() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let spans = spans_of(|| {
            tracing::info_span!("review", traceparent = header)
                .in_scope(|| drop(tracing::info_span!("parse")));
        });
        assert!(spans.is_empty(), "{spans:?}");
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let mut traces = Traces::default();
        let outlet = traces.outlet().unwrap();
        let subscriber = tracing_subscriber::registry().with(Spans::new(&traces));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..QUEUE + 7 {
                drop(tracing::info_span!("reconcile"));
            }
        });
        assert_eq!(outlet.dropped(), 7);
        assert_eq!(outlet.dropped(), 0, "told once");
        assert_eq!(outlet.waiting.len(), QUEUE);
    }
}
