//! AlertProvider objects.

use serde_json::Value;

use crate::model::rules;
use crate::model::violation::Report;

use super::fields::{Field, Findings};
use super::{Settings, object_name, url};

/// Judges an AlertProvider.
pub(super) fn judge(object: &Value, settings: &Settings) -> Report {
    let mut findings = Findings {
        unknown_fields: settings.unknown_fields,
        provider_is_certain: true,
        ..Findings::default()
    };
    let root = Field::root(object);
    super::envelope(&root, &mut findings);
    let spec = root.get("spec");
    if !spec.is_set() {
        findings
            .add(&rules::REQUIRED, &spec.path, "missing")
            .expecting("expected an object");
        return findings.report;
    }
    if spec.object(&mut findings).is_none() {
        return findings.report;
    }
    spec.only(
        &["type", "channel", "username", "address", "proxy", "secretRef"],
        &mut findings,
    );
    let kind_field = spec.get("type");
    let kinds = ["slack", "msteams", "discord", "rocket", "gchat"];
    let kind = kind_field
        .required("slack, msteams, discord, rocket or gchat", &mut findings)
        .and_then(|_| kind_field.word(&kinds, &mut findings));
    let address_field = spec.get("address");
    let address = match address_field.text(&mut findings).filter(|text| !text.is_empty()) {
        Some(_) => url::read(
            &address_field,
            &rules::ALERT_ADDRESS,
            settings.refuse_loopback,
            &mut findings,
        ),
        None => None,
    };
    let secret = spec.get("secretRef");
    secret.object(&mut findings);
    secret.only(&["name"], &mut findings);
    if secret.is_set() {
        let name_field = secret.get("name");
        let name = name_field
            .required("the Secret's name", &mut findings)
            .unwrap_or_default();
        object_name(&name_field, name, &mut findings);
    }
    match (address_field.is_set(), secret.is_set()) {
        (true, true) => {
            findings.add(
                &rules::ALERT_DESTINATION,
                &address_field.path,
                "set together with secretRef",
            );
        }
        (false, false) => {
            findings
                .add(
                    &rules::ALERT_DESTINATION,
                    &spec.path,
                    "neither address nor secretRef",
                )
                .fixed_by("add one of the two");
        }
        (true, false) | (false, true) => {}
    }
    let channel = spec.get("channel").text(&mut findings).unwrap_or_default();
    let through_api = address.is_some_and(|address| address.path().starts_with("/api/"));
    if kind == Some("slack") && through_api && channel.is_empty() {
        findings.add(&rules::ALERT_CHANNEL, &spec.path.key("channel"), "missing");
    }
    spec.get("username").text(&mut findings);
    let proxy = spec.get("proxy");
    if proxy.text(&mut findings).is_some_and(|text| !text.is_empty()) {
        url::read(
            &proxy,
            &rules::ALERT_PROXY,
            settings.refuse_loopback,
            &mut findings,
        );
    }
    findings.report
}
