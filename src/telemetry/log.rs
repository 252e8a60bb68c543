//! Log lines on standard error: text for people, JSON for machines.
//!
//! Owns: the subscriber and its level. Promises: the level can be changed while the process runs; the last warnings
//! and errors are remembered, bounded. Never: prints spans (they are for the trace collector).
#![expect(clippy::disallowed_methods, reason = "shell: stamps what it remembers")]

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use super::trace::{Spans, Traces};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Warnings and errors that are remembered.
const REMEMBERED: usize = 20;
/// Longest text remembered of each, bytes.
const LONGEST: usize = 512;

/// The running log.
#[derive(Clone)]
pub struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
    last: Arc<LastErrors>,
    level: Arc<Mutex<String>>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("level", &self.level()).finish()
    }
}

impl Logs {
    /// The level, as it was set.
    pub fn level(&self) -> String {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the level from now on.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = filter("level", level)?;
        self.filter.reload(filter).map_err(|error| error.to_string())?;
        level.clone_into(&mut self.level.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// The last warnings and errors, the newest first.
    pub fn last_errors(&self) -> Vec<Value> {
        let last = self.last.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().rev().cloned().collect()
    }
}

/// Starts logging to standard error. `level` is a level or a tracing filter; `warning` means `warn`.
pub fn start_logging(level: &str, format: LogFormat) -> Result<Logs, String> {
    start_logging_and_tracing(level, format, None)
}

/// The same, with spans that go to a collector.
pub fn start_logging_and_tracing(
    level: &str,
    format: LogFormat,
    traces: Option<&Traces>,
) -> Result<Logs, String> {
    let (filter, handle) = reload::Layer::new(filter("--log-level", level)?);
    let events = filter.and(filter_fn(is_event));
    let last = Arc::new(LastErrors::default());
    let builder = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let lines = match format {
        LogFormat::Text => builder.boxed(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    let spans = traces.map(|traces| {
        Spans::new(traces).with_filter(filter_fn(|about| {
            *about.level() <= Level::INFO && about.target().starts_with("verdigris")
        }))
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(events))
        .with(Remember(Arc::clone(&last)).with_filter(LevelFilter::WARN))
        .with(spans)
        .try_init()
        .map_err(|error| format!("logging could not start: {error}"))?;
    Ok(Logs {
        filter: handle,
        last,
        level: Arc::new(Mutex::new(level.to_owned())),
    })
}

/// Spans are not printed, whatever the filter says.
fn is_event(about: &tracing::Metadata<'_>) -> bool {
    about.is_event()
}

fn filter(what: &str, level: &str) -> Result<EnvFilter, String> {
    let level = if level.eq_ignore_ascii_case("warning") {
        "warn"
    } else {
        level
    };
    EnvFilter::try_new(level).map_err(|error| {
        format!("{what} {level:?} is not a level: {error}; use error, warn, info, debug or trace")
    })
}

/// The last warnings and errors.
#[derive(Default)]
struct LastErrors(Mutex<VecDeque<Value>>);

/// Keeps them. What a log line may say, memory may hold: neither has objects or secrets.
struct Remember(Arc<LastErrors>);

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let mut one = json!({
            "at": Timestamp::now().to_string(),
            "level": event.metadata().level().as_str().to_lowercase(),
            "message": shortened(said.message),
        });
        for (key, value) in said.fields {
            one[key] = shortened(value).into();
        }
        let mut last = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= REMEMBERED {
            last.pop_front();
        }
        last.push_back(one);
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST {
        let cut = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or_default());
        text.push('…');
    }
    text
}

/// An event's message and fields as text.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}
