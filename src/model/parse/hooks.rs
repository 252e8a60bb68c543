//! `analysis.webhooks[]`: what is called when, and what a load tester would make of it.

use std::collections::BTreeMap;
use std::time::Duration;

use ::url::Url;

use crate::model::canary::{Hook, HookKind};
use crate::model::default;
use crate::model::duration;
use crate::model::names::nearest;
use crate::model::rules;

use super::analysis::{go_duration, seconds};
use super::fields::{Field, Findings};
use super::{Context, url};

const KINDS: [(&str, HookKind); 9] = [
    ("", HookKind::Rollout),
    ("confirm-rollout", HookKind::ConfirmRollout),
    ("pre-rollout", HookKind::PreRollout),
    ("rollout", HookKind::Rollout),
    ("confirm-traffic-increase", HookKind::ConfirmTrafficIncrease),
    ("confirm-promotion", HookKind::ConfirmPromotion),
    ("post-rollout", HookKind::PostRollout),
    ("rollback", HookKind::Rollback),
    ("event", HookKind::Event),
];

const FIELDS: [&str; 8] = [
    "type",
    "name",
    "url",
    "timeout",
    "retries",
    "muteAlert",
    "disableTLS",
    "metadata",
];

/// Reads the hooks, one for each entry, so that indexes stay those of the manifest.
pub(super) fn read(
    field: &Field<'_>,
    interval: Duration,
    context: &Context<'_>,
    findings: &mut Findings,
) -> Vec<Hook> {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut hooks = Vec::new();
    for (index, item) in field.objects(findings).into_iter().enumerate() {
        if !item.is_set() {
            continue;
        }
        item.only(&FIELDS, findings);
        let name = item.get("name").required("a name", findings).unwrap_or_default();
        if let Some(before) = names.insert(name, index)
            && !name.is_empty()
        {
            let found = format!("{name:?} is also the name of webhooks[{before}]");
            findings.add(&rules::HOOK_DUPLICATE, &item.path.key("name"), found);
        }
        hooks.push(hook(&item, name, context, findings));
    }
    let whole: Duration = hooks
        .iter()
        .filter(|hook| hook.kind == HookKind::Rollout)
        .fold(Duration::ZERO, |sum, hook| sum.saturating_add(longest(hook)));
    if whole > interval {
        let found = format!(
            "rollout hooks may take {}, the interval is {}",
            seconds(whole),
            seconds(interval)
        );
        findings.add(&rules::HOOK_TIME, &field.path, found);
    }
    hooks
}

/// All attempts at their timeout, and the waits of 1 s, 2 s, 4 s … 30 s between them.
fn longest(hook: &Hook) -> Duration {
    let waits: u64 = (0..hook.retries.min(64))
        .map(|n| 1u64.checked_shl(n).unwrap_or(30).min(30))
        .sum();
    hook.timeout
        .saturating_mul(hook.retries.saturating_add(1))
        .saturating_add(Duration::from_secs(waits))
}

fn hook(item: &Field<'_>, name: &str, context: &Context<'_>, findings: &mut Findings) -> Hook {
    let type_field = item.get("type");
    let word = type_field
        .value
        .and_then(|_| type_field.word(&KINDS.map(|(word, _)| word), findings));
    let kind = KINDS
        .iter()
        .find(|(known, _)| Some(*known) == word)
        .map_or(HookKind::Rollout, |(_, kind)| *kind);

    let url_field = item.get("url");
    let written = url_field.required("an http or https address", findings);
    let address = written.and_then(|_| {
        url::read(
            &url_field,
            &rules::URL_FORMAT,
            context.settings.refuse_loopback,
            findings,
        )
    });

    let timeout_field = item.get("timeout");
    // Flagger reads an empty timeout as absent; typed writers of v1alpha3 wrote it out.
    let timeout = match timeout_field.value.and_then(serde_json::Value::as_str) {
        Some("") => default::HOOK_TIMEOUT,
        Some(_) | None => go_duration(&timeout_field, findings).unwrap_or(default::HOOK_TIMEOUT),
    };
    let retries_field = item.get("retries");
    let retries = match retries_field.integer(findings) {
        None => 0,
        Some(number) if number < 0 => {
            findings.add(&rules::NEGATIVE, &retries_field.path, number.to_string());
            0
        }
        Some(number) => {
            if number > 5 && kind == HookKind::Rollout {
                findings.add(&rules::RETRIES_HIGH, &retries_field.path, number.to_string());
            }
            u32::try_from(number).unwrap_or(u32::MAX)
        }
    };
    let metadata_field = item.get("metadata");
    let metadata = metadata_field.text_map(findings);
    if kind == HookKind::Event {
        for key in ["eventMessage", "eventType", "timestamp"]
            .into_iter()
            .filter(|key| metadata.contains_key(*key))
        {
            findings.add(
                &rules::METADATA_RESERVED,
                &metadata_field.path.key(key),
                "reserved",
            );
        }
    }
    let mute_field = item.get("muteAlert");
    let mute_alert = mute_field.flag(findings);
    let alerts = match kind {
        HookKind::ConfirmRollout | HookKind::ConfirmTrafficIncrease | HookKind::ConfirmPromotion => true,
        HookKind::PreRollout
        | HookKind::Rollout
        | HookKind::PostRollout
        | HookKind::Rollback
        | HookKind::Event => false,
    };
    if mute_alert && !alerts {
        findings.add(
            &rules::MUTE_UNUSED,
            &mute_field.path,
            format!("true on a {} hook", kind.as_str()),
        );
    }
    let hook = Hook {
        kind,
        name: name.to_owned(),
        url: written.unwrap_or_default().to_owned(),
        timeout,
        retries,
        mute_alert,
        disable_tls: item.get("disableTLS").flag(findings),
        metadata,
    };
    if let Some(address) = address {
        load_tester(item, &hook, &address, findings);
    }
    hook
}

/// Rules about Flagger's load tester, whose endpoints are part of the manifests people write.
fn load_tester(item: &Field<'_>, hook: &Hook, address: &Url, findings: &mut Findings) {
    let url = item.get("url");
    let path = address.path().trim_end_matches('/');
    let gate = matches!(
        path,
        "/gate/approve" | "/gate/check" | "/gate/halt" | "/rollback/check"
    );
    match hook.kind {
        HookKind::Rollback if path == "/gate/approve" => {
            findings.add(
                &rules::ROLLBACK_ALWAYS,
                &url.path,
                "/gate/approve always answers yes",
            );
        }
        HookKind::Rollout if matches!(path, "/gate/check" | "/gate/halt") => {
            findings
                .add(
                    &rules::HOOK_MISUSE,
                    &url.path,
                    format!("{path} on a rollout hook"),
                )
                .fixed_by("use type confirm-promotion");
        }
        HookKind::ConfirmRollout
        | HookKind::PreRollout
        | HookKind::Rollout
        | HookKind::ConfirmTrafficIncrease
        | HookKind::ConfirmPromotion
        | HookKind::PostRollout
        | HookKind::Rollback
        | HookKind::Event => {}
    }
    let host = address.host_str().unwrap_or_default();
    let is_tester = host
        .split('.')
        .next()
        .is_some_and(|label| label.contains("loadtester") || label.contains("load-tester"));
    if gate || !path.is_empty() || !is_tester || hook.kind == HookKind::Event {
        return;
    }
    match hook.kind {
        HookKind::ConfirmRollout
        | HookKind::ConfirmPromotion
        | HookKind::ConfirmTrafficIncrease
        | HookKind::Rollback
            if hook.metadata.get("type").is_none_or(|kind| kind == "cmd") =>
        {
            let found = format!("a {} hook on the load tester's task endpoint", hook.kind.as_str());
            findings.add(&rules::HOOK_MISUSE, &url.path, found);
        }
        HookKind::ConfirmRollout
        | HookKind::PreRollout
        | HookKind::Rollout
        | HookKind::ConfirmTrafficIncrease
        | HookKind::ConfirmPromotion
        | HookKind::PostRollout
        | HookKind::Rollback
        | HookKind::Event => {}
    }
    task(item, hook, findings);
}

fn task(item: &Field<'_>, hook: &Hook, findings: &mut Findings) {
    const TASKS: [&str; 7] = ["cmd", "bash", "helm", "helmv3", "kubectl", "concord", "ngrinder"];
    let metadata = item.get("metadata");
    if hook.metadata.is_empty() {
        findings
            .add(&rules::HOOK_TASK, &metadata.path, "missing")
            .expecting("expected the task the load tester is to run");
        return;
    }
    let kind = hook.metadata.get("type").map_or("cmd", String::as_str);
    if !TASKS.contains(&kind) {
        let near = nearest(kind, TASKS).map(|word| format!("did you mean {word}?"));
        findings
            .add(
                &rules::HOOK_TASK,
                &metadata.path.key("type"),
                format!("{kind:?} is no task"),
            )
            .expecting(format!("expected {}", super::fields::one_of(&TASKS)))
            .fixed_by(near.unwrap_or_default());
        return;
    }
    let needed: &[&str] = match kind {
        "concord" => &[
            "server",
            "org",
            "project",
            "repo",
            "entrypoint",
            "apiKeyPath",
            "endpoint",
        ],
        "ngrinder" => &["server", "clone", "username", "passwd"],
        _ => &["cmd"],
    };
    for key in needed
        .iter()
        .filter(|key| hook.metadata.get(**key).is_none_or(|text| text.trim().is_empty()))
    {
        findings
            .add(&rules::HOOK_TASK, &metadata.path.key(key), "missing")
            .expecting(format!("expected for a {kind} task"))
            .fixed_by(format!("add metadata.{key}"));
    }
    // Only bash, helm and kubectl hold the call open; `-z` is the duration flag of hey.
    let command = hook.metadata.get("cmd").map(String::as_str).unwrap_or_default();
    let mut words = command
        .split_whitespace()
        .skip_while(|word| *word != "-z")
        .skip(1);
    if kind == "bash"
        && let Some(length) = words.next().and_then(duration::go_positive)
        && length >= hook.timeout
    {
        let found = format!(
            "the command runs {}, the timeout is {}",
            seconds(length),
            seconds(hook.timeout)
        );
        findings.add(&rules::TASK_TIMEOUT, &item.path.key("timeout"), found);
    }
}
