//! Answer: calls hooks and metric servers, in parallel, each with its own deadline.
#![expect(clippy::disallowed_methods, reason = "shell: waits between attempts")]

use std::time::Duration;

use base64::Engine as _;
use futures::future::join_all;
use serde_json::Value;

use crate::cluster::Kind;
use crate::hook;
use crate::metric::{Missing, builtin, prometheus};
use crate::model::canary::{Canary, Check, Hook, Identity, Source};
use crate::model::notice;
use crate::model::status::Stage;
use crate::model::template::{self, Context as Variables, TemplateError};
use crate::net::outbound::Outgoing;
use crate::policy::Destination;
use crate::rollout::checksum;
use crate::rollout::observed::Observed;
use crate::rollout::question::{Answer, Question};

use super::{Context, guard};

/// Deadline of one metric query (Flagger's).
const QUERY_DEADLINE: Duration = Duration::from_secs(5);

/// Asks every question; none waits for another.
pub(crate) async fn answer(
    questions: &[Question],
    canary: &Canary,
    seen: &Observed,
    cx: &Context,
) -> Vec<(Question, Answer)> {
    let checksum = checksum(&seen.status);
    let asked = questions.iter().map(|question| async {
        let (kind, answer) = match question {
            Question::MetricsOnline => ("metrics-online", online(canary, cx).await),
            Question::Hook { hook, phase } => match canary.analysis.hooks.get(*hook) {
                Some(hook) => ("hook", call(hook, *phase, &checksum, canary, cx).await),
                None => ("hook", Answer::Refused("no such hook".to_owned())),
            },
            Question::Check { check } => match canary.analysis.checks.get(*check) {
                Some(check) => ("check", measure(check, canary, cx).await),
                None => ("check", Answer::Error("no such check".to_owned())),
            },
        };
        let result = match &answer {
            Answer::Passed | Answer::Value(_) => "answered",
            Answer::Refused(_) => "refused",
            Answer::NoValues(_) => "no_values",
            Answer::Error(_) => "error",
        };
        cx.metrics.question(kind, result);
        (question.clone(), answer)
    });
    join_all(asked).await
}

/// Calls a hook, again after passing faults as often as `retries` says (1 s, 2 s, 4 s … 30 s apart).
pub(crate) async fn call(hook: &Hook, phase: Stage, checksum: &str, canary: &Canary, cx: &Context) -> Answer {
    let body = hook::payload(&canary.id, phase, checksum, &hook.metadata);
    post(hook, body, Some(&canary.id), cx).await
}

/// POSTs a body to a hook's URL, on behalf of a Canary or of the process itself.
pub(crate) async fn post(hook: &Hook, body: Value, of: Option<&Identity>, cx: &Context) -> Answer {
    let outgoing = Outgoing {
        url: hook.url.clone(),
        body: Some(body),
        headers: Vec::new(),
        timeout: hook.timeout,
        insecure: hook.disable_tls,
    };
    let mut pause = Duration::from_secs(1);
    for attempt in 0..=hook.retries {
        let last = attempt == hook.retries;
        match guard::send(&outgoing, Destination::Webhook, of, cx).await {
            Ok(incoming) if hook::approves(incoming.status) => return Answer::Passed,
            Ok(incoming) if last || !hook::may_retry(incoming.status) => {
                return Answer::Refused(hook::refusal(incoming.status, &incoming.body));
            }
            Err(error) if last => return Answer::Refused(notice::printable(&error.to_string())),
            Ok(_) | Err(_) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
        }
    }
    Answer::Refused("no attempt was made".to_owned())
}

fn server<'a>(canary: &'a Canary, cx: &'a Context) -> &'a str {
    canary
        .metrics_server
        .as_deref()
        .unwrap_or(&cx.config.metrics_server)
}

/// Who answers for the Canary's own metric server; for the process-wide one nobody does.
fn own(canary: &Canary) -> Option<&Identity> {
    canary.metrics_server.as_ref().map(|_| &canary.id)
}

async fn query(
    server: &str,
    text: &str,
    headers: Vec<(String, String)>,
    insecure: bool,
    of: Option<&Identity>,
    cx: &Context,
) -> Result<f64, Missing> {
    let url = prometheus::request(server, text)?;
    let outgoing = Outgoing {
        url: url.to_string(),
        body: None,
        headers,
        timeout: QUERY_DEADLINE,
        insecure,
    };
    let incoming = guard::send(&outgoing, Destination::MetricsServer, of, cx)
        .await
        .map_err(|error| Missing::Unreadable(error.to_string()))?;
    prometheus::read(incoming.status, &incoming.body)
}

/// Is every metric server there that a check will need?
async fn online(canary: &Canary, cx: &Context) -> Answer {
    let built_in = canary
        .analysis
        .checks
        .iter()
        .any(|check| matches!(check.source, Source::SuccessRate | Source::RequestDuration));
    if built_in
        && let Err(error) = query(
            server(canary, cx),
            prometheus::PROBE,
            Vec::new(),
            false,
            own(canary),
            cx,
        )
        .await
    {
        return Answer::Refused(format!("prometheus not avaiable: {error}"));
    }
    for check in &canary.analysis.checks {
        if let Source::Template { namespace, name, .. } = &check.source {
            let probed = match load(namespace, name, cx).await {
                Ok(template) => {
                    let Loaded {
                        address,
                        headers,
                        insecure,
                        ..
                    } = template;
                    query(
                        &address,
                        prometheus::PROBE,
                        headers,
                        insecure,
                        Some(&canary.id),
                        cx,
                    )
                    .await
                    .map(drop)
                    .map_err(|error| {
                        format!("prometheus in metric template {name}.{namespace} not avaiable: {error}")
                    })
                }
                Err(error) => Err(format!("metric template {name}.{namespace} error: {error}")),
            };
            if let Err(error) = probed {
                return Answer::Refused(error);
            }
        }
    }
    Answer::Passed
}

async fn measure(check: &Check, canary: &Canary, cx: &Context) -> Answer {
    let (namespace, target) = (&canary.id.namespace, &canary.target);
    let outcome = match &check.source {
        Source::SuccessRate => {
            let text = builtin::success_rate(namespace, target, &check.interval);
            query(server(canary, cx), &text, Vec::new(), false, own(canary), cx).await
        }
        Source::RequestDuration => {
            let text = builtin::request_duration(namespace, target, &check.interval);
            query(server(canary, cx), &text, Vec::new(), false, own(canary), cx)
                .await
                .map(|seconds| seconds * 1000.0)
        }
        Source::Query(template) => match template::render(template, &variables(check, canary)) {
            Ok(rendered) => {
                query(
                    server(canary, cx),
                    &rendered.text,
                    Vec::new(),
                    false,
                    own(canary),
                    cx,
                )
                .await
            }
            Err(errors) => return Answer::Error(joined(&errors)),
        },
        Source::Template { namespace, name, .. } => {
            let template = match load(namespace, name, cx).await {
                Ok(template) => template,
                Err(error) => {
                    return Answer::Error(format!("Metric template {name}.{namespace} error: {error}"));
                }
            };
            match template::render(&template.query, &variables(check, canary)) {
                Ok(rendered) => {
                    query(
                        &template.address,
                        &rendered.text,
                        template.headers,
                        template.insecure,
                        Some(&canary.id),
                        cx,
                    )
                    .await
                }
                Err(errors) => {
                    return Answer::Error(format!(
                        "Metric template {name}.{namespace} query render error: {}",
                        joined(&errors)
                    ));
                }
            }
        }
    };
    match outcome {
        Ok(value) => Answer::Value(value),
        Err(missing @ (Missing::NoValues | Missing::MultipleValues)) => Answer::NoValues(missing.to_string()),
        Err(missing @ (Missing::Refused(_) | Missing::Unreadable(_))) => Answer::Error(missing.to_string()),
    }
}

fn joined(errors: &[TemplateError]) -> String {
    let said = errors
        .iter()
        .map(|error| format!("{}; {}; {}", error.found, error.expected, error.fix));
    said.collect::<Vec<_>>().join("; ")
}

fn variables(check: &Check, canary: &Canary) -> Variables {
    let own = match &check.source {
        Source::Template { variables, .. } => variables.clone(),
        Source::SuccessRate | Source::RequestDuration | Source::Query(_) => std::collections::BTreeMap::new(),
    };
    Variables {
        name: canary.id.name.clone(),
        namespace: canary.id.namespace.clone(),
        target: canary.target.name.clone(),
        service: canary.service.name.clone(),
        ingress: canary.target.name.clone(),
        route: canary.target.name.clone(),
        interval: check.interval.clone(),
        variables: own,
        any_variable: false,
    }
}

/// A MetricTemplate that can be asked.
struct Loaded {
    address: String,
    query: String,
    headers: Vec<(String, String)>,
    insecure: bool,
}

async fn load(namespace: &str, name: &str, cx: &Context) -> Result<Loaded, String> {
    let found = cx
        .cluster
        .get(Kind::METRIC_TEMPLATE, namespace, name)
        .await
        .map_err(|error| error.to_string())?;
    let object = found.ok_or("it does not exist; create it, or correct templateRef")?;
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let kind = text("/spec/provider/type");
    if kind != "prometheus" {
        return Err(format!(
            "spec.provider.type: {kind:?} has no client in this version; expected prometheus"
        ));
    }
    let mut headers: Vec<(String, String)> = object
        .pointer("/spec/provider/headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .flat_map(|(header, values)| {
            let values = values.as_array().cloned().unwrap_or_default();
            values
                .into_iter()
                .filter_map(|value| Some((header.clone(), value.as_str()?.to_owned())))
                .collect::<Vec<_>>()
        })
        .collect();
    let secret = text("/spec/provider/secretRef/name");
    if !secret.is_empty() {
        headers.push((
            "Authorization".to_owned(),
            credentials(namespace, &secret, cx).await?,
        ));
    }
    Ok(Loaded {
        address: text("/spec/provider/address"),
        query: text("/spec/query"),
        headers,
        insecure: object
            .pointer("/spec/provider/insecureSkipVerify")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
    })
}

/// The Authorization header of a Prometheus secret: `token`, else `username` and `password`.
async fn credentials(namespace: &str, secret: &str, cx: &Context) -> Result<String, String> {
    let found = cx
        .cluster
        .get(Kind::SECRET, namespace, secret)
        .await
        .map_err(|error| error.to_string())?;
    let object = found.ok_or_else(|| format!("secret {secret}.{namespace} does not exist"))?;
    let field = |key: &str| {
        let encoded = object.pointer("/data")?.get(key)?.as_str()?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
        String::from_utf8(bytes).ok()
    };
    if let Some(token) = field("token") {
        return Ok(format!("Bearer {}", token.trim()));
    }
    let username = field("username").ok_or("prometheus credentials does not contain a username")?;
    let password = field("password").ok_or("prometheus credentials does not contain a password")?;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    Ok(format!("Basic {pair}"))
}
