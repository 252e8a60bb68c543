//! `verdigris status`: once, live, or until a release is over.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: reads through a client, by the clock, and draws on a terminal"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::verdict::{Goal, Target, Verdict, verdict};
use super::view::{self, View};
use super::{ConsoleError, canaries, canary, list, place, refused};
use crate::cluster::{ClusterError, Kind, to_value};
use crate::model::canary::TargetKind;
use crate::model::status::Stage;

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Which Canaries.
#[derive(Debug, Clone)]
pub struct Which {
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
    /// One of them.
    pub name: Option<String>,
}

/// Shows what there is, once.
pub async fn show(
    client: &Client,
    which: &Which,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<(), ConsoleError> {
    let now = Timestamp::now();
    if let (Some(namespace), Some(name)) = (&which.namespace, &which.name) {
        let object = canary(client, namespace, name).await?;
        let events = events(client, namespace, name).await?;
        let view = View::of(&object);
        return match format {
            Format::Text => print(out, &view.lines(&events, now)),
            Format::Json | Format::Yaml => document(out, format, &view.document(&events)),
        };
    }
    let all = list(client, which.namespace.as_deref()).await?;
    match format {
        Format::Text if all.is_empty() => print(out, &["no Canaries".to_owned()]),
        Format::Text => print(out, &view::table(&all, which.namespace.is_none(), now)),
        Format::Json | Format::Yaml => {
            let items: Vec<Value> = all.iter().map(|object| View::of(object).document(&[])).collect();
            document(out, format, &json!({"items": items}))
        }
    }
}

fn print(out: &mut (dyn Write + Send), lines: &[String]) -> Result<(), ConsoleError> {
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn document(out: &mut (dyn Write + Send), format: Format, value: &Value) -> Result<(), ConsoleError> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value).map_err(|error| error.to_string()),
        Format::Text | Format::Json => serde_json::to_string_pretty(value).map_err(|error| error.to_string()),
    };
    let text = text.map_err(ConsoleError::Unreadable)?;
    writeln!(out, "{}", text.trim_end())?;
    Ok(())
}

fn about(name: &str) -> String {
    format!("involvedObject.kind=Canary,involvedObject.name={name}")
}

/// The events of one Canary; who may not read them sees none.
async fn events(client: &Client, namespace: &str, name: &str) -> Result<Vec<Value>, ConsoleError> {
    let what = format!("events of {name}.{namespace}");
    let parameters = ListParams::default().fields(&about(name));
    match Kind::EVENT.api(client, namespace).list(&parameters).await {
        Ok(found) => {
            let objects = found.items.iter().map(|event| to_value(&what, event));
            Ok(objects.collect::<Result<_, ClusterError>>()?)
        }
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Vec::new()),
        Err(error) => Err(ClusterError::of(what, error).into()),
    }
}

/// Something a live view reacts to.
enum Change {
    Canary(Event<DynamicObject>),
    Event(Event<DynamicObject>),
    Tick,
}

/// What a live view knows.
#[derive(Default)]
struct Known {
    canaries: BTreeMap<(String, String), Value>,
    events: BTreeMap<String, Value>,
    /// Lines said so far, by Canary; words of events said so far.
    said: BTreeMap<(String, String), String>,
    heard: BTreeMap<String, i64>,
    complete: bool,
}

/// How a live view is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// A terminal: drawn over.
    Terminal,
    /// Anything else: one line for each change.
    Lines,
}

/// Shows what there is, live, until it is interrupted or the output is closed.
pub async fn watch(
    client: &Client,
    which: &Which,
    screen: Screen,
    out: &mut (dyn Write + Send),
) -> Result<(), ConsoleError> {
    if let (Some(namespace), Some(name)) = (&which.namespace, &which.name) {
        canary(client, namespace, name).await?;
    }
    let mut known = Known::default();
    let mut changes = changes(client, which);
    while let Some(change) = changes.next().await {
        let tick = matches!(change, Change::Tick);
        known.note(change);
        if !known.complete || (tick && screen == Screen::Lines) {
            continue;
        }
        known.draw(which, screen, out)?;
    }
    Ok(())
}

/// Waits for the end of a release of one Canary, saying each change. `None` when time is up; then the last line says
/// where it stands.
pub async fn wait(
    client: &Client,
    namespace: &str,
    name: &str,
    generation: Option<i64>,
    patience: Duration,
    out: &mut (dyn Write + Send),
) -> Result<(Option<Verdict>, String), ConsoleError> {
    let object = canary(client, namespace, name).await?;
    let goal = if let Some(generation) = generation {
        Goal::Generation(generation)
    } else {
        let Target { hash, generation } = target(client, namespace, &object).await?;
        Goal::Template { hash, generation }
    };
    let which = Which {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
    };
    let id = place(&object);
    let mut known = Known::default();
    let waited = async {
        let mut changes = changes(client, &which);
        while let Some(change) = changes.next().await {
            known.note(change);
            if !known.complete {
                continue;
            }
            known.draw(&which, Screen::Lines, out)?;
            let Some(object) = known.canaries.get(&id) else {
                let gone = format!("canary {name}.{namespace} was deleted while it was waited for");
                return Err(ConsoleError::NotFound(gone));
            };
            let status = View::of(object).status;
            let rests = matches!(
                status.stage,
                Stage::Initialized | Stage::Succeeded | Stage::Failed
            );
            // Read only where it can decide; who may not read it waits for the status alone.
            let now = match (rests, generation) {
                (true, Some(_)) => target(client, namespace, object).await.ok(),
                (_, _) => None,
            };
            if let Some(verdict) = verdict(&status, &goal, now.as_ref()) {
                return Ok(verdict);
            }
        }
        Err(ConsoleError::Unreadable("the watch ended".to_owned()))
    };
    let waited = tokio::time::timeout(patience, waited).await;
    let line = known
        .canaries
        .get(&id)
        .map_or_else(String::new, |object| View::of(object).line());
    match waited {
        Ok(verdict) => Ok((Some(verdict?), line)),
        Err(_) => Ok((None, line)),
    }
}

/// The workload a Canary controls, as it is now.
async fn target(client: &Client, namespace: &str, canary: &Value) -> Result<Target, ConsoleError> {
    let part = |key: &str| canary["spec"]["targetRef"][key].as_str().unwrap_or_default();
    let (kind, target_kind) = match part("kind") {
        "DaemonSet" => (Kind::DAEMON_SET, TargetKind::DaemonSet),
        "Service" => (Kind::SERVICE, TargetKind::Service),
        _ => (Kind::DEPLOYMENT, TargetKind::Deployment),
    };
    let name = part("name");
    let what = format!("{} {name}.{namespace}", kind.kind);
    match kind.api(client, namespace).get_opt(name).await {
        Ok(Some(object)) => Ok(Target::of(target_kind, &to_value(&what, &object)?)),
        Ok(None) => Err(ConsoleError::NotFound(format!(
            "{what}, the target, was not found; create it, or say what to wait for with --target-generation"
        ))),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(ConsoleError::NotFound(format!(
            "{what}, the target, may not be read by you; say what to wait for with --target-generation"
        ))),
        Err(error) => Err(refused(what, "get", namespace, error)),
    }
}

fn changes(client: &Client, which: &Which) -> BoxStream<'static, Change> {
    let namespace = which.namespace.as_deref();
    let mut config = watcher::Config::default();
    if let Some(name) = &which.name {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let canaries = listen(canaries(client, namespace), config, Change::Canary);
    let ticks = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Change::Tick, ()))
    });
    let all = stream::select(canaries, ticks);
    match (&which.name, namespace) {
        (Some(name), Some(namespace)) => {
            let config = watcher::Config::default().fields(&about(name));
            let events = listen(Kind::EVENT.api(client, namespace), config, Change::Event);
            stream::select(all, events).boxed()
        }
        _ => all.boxed(),
    }
}

/// A watch that begins anew when it breaks, a second later.
fn listen(
    api: Api<DynamicObject>,
    config: watcher::Config,
    change: fn(Event<DynamicObject>) -> Change,
) -> impl futures::Stream<Item = Change> + Send + 'static {
    watcher::watcher(api, config)
        .then(|news| async {
            if news.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            news.ok()
        })
        .filter_map(|news| async { news })
        .map(change)
}

impl Known {
    fn note(&mut self, change: Change) {
        let value = |object: &DynamicObject| to_value("canary", object).unwrap_or(Value::Null);
        match change {
            Change::Canary(Event::Init) => self.canaries.clear(),
            Change::Canary(Event::InitDone) => self.complete = true,
            Change::Canary(Event::Apply(object) | Event::InitApply(object)) => {
                let object = value(&object);
                self.canaries.insert(place(&object), object);
            }
            Change::Canary(Event::Delete(object)) => {
                self.canaries.remove(&place(&value(&object)));
            }
            Change::Event(Event::Apply(object) | Event::InitApply(object)) => {
                let event = value(&object);
                self.events.insert(place(&event).1, event);
            }
            Change::Event(Event::Delete(object)) => {
                self.events.remove(&place(&value(&object)).1);
            }
            Change::Tick | Change::Event(Event::Init | Event::InitDone) => {}
        }
    }

    fn draw(
        &mut self,
        which: &Which,
        screen: Screen,
        out: &mut (dyn Write + Send),
    ) -> Result<(), ConsoleError> {
        let now = Timestamp::now();
        match screen {
            Screen::Terminal => {
                let all: Vec<Value> = self.canaries.values().cloned().collect();
                let events: Vec<Value> = self.events.values().cloned().collect();
                let lines = match (&which.name, all.first()) {
                    (Some(_), Some(object)) => View::of(object).lines(&events, now),
                    (Some(name), None) => vec![format!("canary {name} is gone")],
                    (None, _) => view::table(&all, which.namespace.is_none(), now),
                };
                // Clear, then home: nothing of the last picture stays.
                write!(out, "\x1b[2J\x1b[H")?;
                print(out, &lines)?;
            }
            Screen::Lines => {
                let clock = now.strftime("%H:%M:%S").to_string();
                for (id, object) in &self.canaries {
                    let line = View::of(object).line();
                    if self.said.get(id) != Some(&line) {
                        writeln!(out, "{clock} {line}")?;
                        self.said.insert(id.clone(), line);
                    }
                }
                let gone: Vec<_> = self
                    .said
                    .keys()
                    .filter(|id| !self.canaries.contains_key(*id))
                    .cloned()
                    .collect();
                for id in gone {
                    writeln!(out, "{clock} {}.{} is gone", id.1, id.0)?;
                    self.said.remove(&id);
                }
                let events: Vec<Value> = self.events.values().cloned().collect();
                for event in view::sorted(&events) {
                    let count = event["count"].as_i64().unwrap_or(1);
                    if self.heard.insert(place(event).1, count) != Some(count) {
                        writeln!(out, "{clock}   {}", view::event_line(event, now).trim_start())?;
                    }
                }
            }
        }
        out.flush()?;
        Ok(())
    }
}
