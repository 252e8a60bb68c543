//! Webhook configurations.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{duplicate, not_supported};
use crate::kinds::NameRule;
use crate::schema::FieldError;
use crate::server::meta::name_problems;

pub(super) fn webhooks(new: &Value, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    for (index, entry) in new["webhooks"].as_array().into_iter().flatten().enumerate() {
        let field = |key: &str| format!("webhooks[{index}].{key}");
        let name = entry["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(&field("name"), ""));
        } else if name.split('.').count() < 3 || !name_problems(name, NameRule::Subdomain).is_empty() {
            errors.push(FieldError::invalid(
                &field("name"),
                &entry["name"],
                "should be a domain with at least three segments separated by dots",
            ));
        }
        if !names.insert(name.to_owned()) {
            errors.push(duplicate(&field("name"), &entry["name"]));
        }
        let effects = &entry["sideEffects"];
        if effects.is_null() {
            errors.push(FieldError::required(
                &field("sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        } else if !matches!(effects.as_str(), Some("None" | "NoneOnDryRun")) {
            errors.push(not_supported(
                &field("sideEffects"),
                effects,
                &["None", "NoneOnDryRun"],
            ));
        }
        let versions = entry["admissionReviewVersions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if versions.is_empty() {
            errors.push(FieldError::required(
                &field("admissionReviewVersions"),
                "must specify one of v1, v1beta1",
            ));
        } else if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
            errors.push(FieldError::invalid(
                &field("admissionReviewVersions"),
                &entry["admissionReviewVersions"],
                "must include at least one of v1, v1beta1",
            ));
        }
        if let Some(seconds) = entry["timeoutSeconds"].as_i64()
            && !(1..=30).contains(&seconds)
        {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(
                &field("timeoutSeconds"),
                &entry["timeoutSeconds"],
                detail,
            ));
        }
        client_config(&entry["clientConfig"], &field("clientConfig"), errors);
    }
}

fn client_config(config: &Value, base: &str, errors: &mut Vec<FieldError>) {
    match (config["url"].as_str(), config["service"].is_object()) {
        (Some(_), true) | (None, false) => {
            errors.push(FieldError::required(
                base,
                "exactly one of url or service is required",
            ));
        }
        (Some(url), false) => {
            if !url.starts_with("https://") {
                errors.push(FieldError::invalid(
                    &format!("{base}.url"),
                    &config["url"],
                    "'https' is the only allowed URL scheme; desired format: https://host[/path]",
                ));
            }
        }
        (None, true) => {
            for key in ["name", "namespace"] {
                if config["service"][key].as_str().unwrap_or_default().is_empty() {
                    errors.push(FieldError::required(
                        &format!("{base}.service.{key}"),
                        format!("service {key} is required"),
                    ));
                }
            }
        }
    }
}
