//! What a migration has to do, decided from the definitions and the metadata of objects. Pure.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Value, json};

use crate::api::convert::GROUP;
use crate::api::crd;

/// The version everything is stored at in the end.
pub(super) const STORAGE: &str = "v1beta1";
/// The versions a definition lists when nothing older is stored any more.
const LISTED: [&str; 2] = [STORAGE, "v1alpha3"];

/// How things stand with one CustomResourceDefinition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Survey {
    /// Name of the definition, such as `canaries.flagger.app`.
    pub(super) name: String,
    /// Kind of its objects.
    pub(super) kind: String,
    /// Plural of its objects.
    pub(super) plural: String,
    /// The version objects are read at: v1beta1, or in a dry run before the definition is taken over, what there is.
    pub(super) read_at: String,
    /// `status.storedVersions`.
    pub(super) stored: Vec<String>,
    /// `flagger.app/v1beta1` and the others that are served.
    pub(super) served: BTreeSet<String>,
    /// What has to be applied first, where the definition is not of our making.
    pub(super) adopt: Option<Box<CustomResourceDefinition>>,
}

/// Why a migration cannot begin. Nothing has been touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Objects are stored at versions that only the webhook can read.
    #[error(
        "CustomResourceDefinition {name}: objects are stored at {stored} and its conversion strategy is {strategy}; \
         expected the conversion webhook; start `verdigris run --install`, then migrate"
    )]
    NoConverter {
        /// The definition.
        name: String,
        /// Versions in `status.storedVersions`.
        stored: String,
        /// `spec.conversion.strategy`.
        strategy: String,
    },
    /// The definition is on its way out, with everything in it.
    #[error(
        "CustomResourceDefinition {name}: it is being deleted, its objects with it; nothing can be written; wait until \
         it is gone"
    )]
    Terminating {
        /// The definition.
        name: String,
    },
}

/// Looks at a definition of ours or of Flagger's.
pub(super) fn survey(found: &CustomResourceDefinition) -> Result<Survey, Obstacle> {
    let name = found.metadata.name.clone().unwrap_or_default();
    if found.metadata.deletion_timestamp.is_some() {
        return Err(Obstacle::Terminating { name });
    }
    let status = found.status.as_ref();
    let stored = status
        .and_then(|status| status.stored_versions.clone())
        .unwrap_or_default();
    let strategy = found
        .spec
        .conversion
        .as_ref()
        .map_or("None", |conversion| conversion.strategy.as_str());
    let ours = crd::all(client_config(found))
        .into_iter()
        .find(|one| one.metadata.name == found.metadata.name);
    let is_converted = ours.as_ref().is_some_and(|ours| ours.spec.versions.len() > 1);
    if is_converted && strategy != "Webhook" && stored.iter().any(|version| version != STORAGE) {
        return Err(Obstacle::NoConverter {
            name,
            stored: stored.join(", "),
            strategy: strategy.to_owned(),
        });
    }
    let adopt = ours.filter(|_| is_foreign(found, &stored)).map(|mut ours| {
        crd::keep_stored(&mut ours, &stored);
        Box::new(ours)
    });
    let after = adopt.as_deref().unwrap_or(found);
    let served = after.spec.versions.iter().filter(|version| version.served);
    let served = served
        .map(|version| format!("{GROUP}/{}", version.name))
        .collect();
    let readable: Vec<&str> = found
        .spec
        .versions
        .iter()
        .filter(|version| version.served)
        .map(|version| version.name.as_str())
        .collect();
    let read_at = if readable.contains(&STORAGE) {
        STORAGE
    } else {
        readable.first().copied().unwrap_or(STORAGE)
    };
    Ok(Survey {
        name,
        kind: found.spec.names.kind.clone(),
        plural: found.spec.names.plural.clone(),
        read_at: read_at.to_owned(),
        stored,
        served,
        adopt,
    })
}

/// Where the conversion webhook of a definition is.
fn client_config(found: &CustomResourceDefinition) -> Option<WebhookClientConfig> {
    found
        .spec
        .conversion
        .as_ref()?
        .webhook
        .as_ref()?
        .client_config
        .clone()
}

/// True when new objects would not be stored at v1beta1, or would be kept with anything in them, when there is no
/// `/status` to write through, or when a version that objects may be stored at is not listed.
fn is_foreign(found: &CustomResourceDefinition, stored: &[String]) -> bool {
    let versions = &found.spec.versions;
    found.spec.preserve_unknown_fields == Some(true)
        || !versions.iter().any(|version| {
            let has_status = version
                .subresources
                .as_ref()
                .is_some_and(|all| all.status.is_some());
            version.name == STORAGE && version.storage && version.served && has_status
        })
        || stored
            .iter()
            .any(|stored| !versions.iter().any(|version| version.name == *stored))
}

/// The managedFields an object keeps: entries written at versions that are no longer served would block server-side
/// apply as soon as the version is gone. `None` when all are kept. `[{}]` is the API server's word for none at all.
pub(super) fn kept_fields(entries: &[ManagedFieldsEntry], served: &BTreeSet<String>) -> Option<Value> {
    let is_kept = |entry: &&ManagedFieldsEntry| {
        entry
            .api_version
            .as_ref()
            .is_none_or(|version| served.contains(version) || !version.starts_with(GROUP))
    };
    let kept: Vec<&ManagedFieldsEntry> = entries.iter().filter(is_kept).collect();
    if kept.len() == entries.len() {
        return None;
    }
    Some(if kept.is_empty() { json!([{}]) } else { json!(kept) })
}

/// The merge patch that gives an object these owners, over the state they were read from.
pub(super) fn owned(fields: &Value, resource_version: Option<&str>) -> Value {
    json!({"metadata": {"resourceVersion": resource_version, "managedFields": fields}})
}

/// The merge patch of a definition's `/status` after every object was rewritten; `None` when it says so already.
///
/// # Errors
/// The versions have changed since `before`: objects may have been stored elsewhere meanwhile.
pub(super) fn trim(
    before: &CustomResourceDefinition,
    now: &CustomResourceDefinition,
) -> Result<Option<Value>, &'static str> {
    let storage = |crd: &CustomResourceDefinition| -> Vec<(String, bool)> {
        crd.spec
            .versions
            .iter()
            .map(|version| (version.name.clone(), version.storage))
            .collect()
    };
    if before.metadata.uid != now.metadata.uid || storage(before) != storage(now) {
        return Err("its versions changed while objects were rewritten; run verdigris migrate again");
    }
    let stored = now
        .status
        .as_ref()
        .and_then(|status| status.stored_versions.as_deref())
        .unwrap_or_default();
    if stored == [STORAGE] {
        return Ok(None);
    }
    Ok(Some(json!({
        "metadata": {"resourceVersion": now.metadata.resource_version},
        "status": {"storedVersions": [STORAGE]},
    })))
}

/// The merge patch that takes out versions kept for stored objects only, and their names; `None` when there are none.
pub(super) fn retire(now: &CustomResourceDefinition) -> Option<(Value, Vec<String>)> {
    let (kept, gone): (Vec<_>, Vec<_>) =
        now.spec.versions.iter().partition(|version| {
            version.served || version.storage || LISTED.contains(&version.name.as_str())
        });
    if gone.is_empty() {
        return None;
    }
    let patch = json!({
        "metadata": {"resourceVersion": now.metadata.resource_version},
        "spec": {"versions": kept},
    });
    Some((
        patch,
        gone.into_iter().map(|version| version.name.clone()).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A definition of a kind as somebody else made it.
    fn found(
        kind: &str,
        versions: &[(&str, bool, bool)],
        stored: &[&str],
        strategy: &str,
    ) -> CustomResourceDefinition {
        let plural = format!("{}s", kind.to_lowercase()).replace("canarys", "canaries");
        let versions: Vec<Value> = versions
            .iter()
            .map(|(name, served, storage)| json!({"name": name, "served": served, "storage": storage, "subresources": {"status": {}}}))
            .collect();
        let conversion = if strategy == "Webhook" {
            json!({"strategy": "Webhook", "webhook": {
                "clientConfig": {"url": "https://here/convert"}, "conversionReviewVersions": ["v1"]}})
        } else {
            json!({"strategy": strategy})
        };
        serde_json::from_value(json!({
            "metadata": {"name": format!("{plural}.flagger.app"), "uid": "u", "resourceVersion": "7"},
            "spec": {
                "group": "flagger.app", "scope": "Namespaced", "versions": versions, "conversion": conversion,
                "names": {"kind": kind, "plural": plural},
            },
            "status": {"storedVersions": stored, "conditions": [], "acceptedNames": {"kind": kind, "plural": plural}},
        }))
        .unwrap()
    }

    fn versions(crd: &CustomResourceDefinition) -> Vec<(&str, bool, bool)> {
        crd.spec
            .versions
            .iter()
            .map(|one| (one.name.as_str(), one.served, one.storage))
            .collect()
    }

    #[test]
    fn definitions_are_taken_over_when_they_are_not_ours() {
        let (beta, alpha) = (("v1beta1", true, true), ("v1alpha3", true, false));
        let rows = [
            (
                "ours",
                found("Canary", &[beta, alpha], &["v1beta1"], "Webhook"),
                false,
            ),
            (
                "Flagger 1.6 and later",
                found("Canary", &[beta], &["v1beta1"], "None"),
                false,
            ),
            (
                "old storage",
                found(
                    "Canary",
                    &[("v1beta1", true, false), ("v1alpha3", true, true)],
                    &["v1alpha3"],
                    "Webhook",
                ),
                true,
            ),
            (
                "unlisted",
                found("Canary", &[beta], &["v1alpha2", "v1beta1"], "Webhook"),
                true,
            ),
            (
                "one shape",
                found(
                    "MetricTemplate",
                    &[("v1alpha1", true, true)],
                    &["v1alpha1"],
                    "None",
                ),
                true,
            ),
        ];
        for (row, crd, adopted) in rows {
            let survey = survey(&crd).unwrap();
            assert_eq!(survey.adopt.is_some(), adopted, "{row}");
            let after = survey.adopt.as_deref().unwrap_or(&crd);
            assert!(versions(after).contains(&beta), "{row}");
            for stored in &survey.stored {
                assert!(
                    versions(after).iter().any(|version| version.0 == stored),
                    "{row}: {stored} stays listed"
                );
            }
            if adopted {
                assert_eq!(after.spec.preserve_unknown_fields, Some(false), "{row}");
                let strategy = |crd: &CustomResourceDefinition| crd.spec.conversion.clone().unwrap().strategy;
                assert!(
                    strategy(&crd) != "Webhook" || after.spec.conversion == crd.spec.conversion,
                    "{row}"
                );
            }
        }
    }

    #[test]
    fn a_definition_that_preserves_unknown_fields_is_taken_over() {
        let mut crd = found("Canary", &[("v1beta1", true, true)], &["v1beta1"], "None");
        assert_eq!(survey(&crd).unwrap().adopt, None);
        let mut without = crd.clone();
        without.spec.versions[0].subresources = None;
        assert!(survey(&without).unwrap().adopt.is_some());
        crd.spec.preserve_unknown_fields = Some(true);
        let adopted = survey(&crd).unwrap().adopt.unwrap();
        assert_eq!(adopted.spec.preserve_unknown_fields, Some(false));
        assert_eq!(
            versions(&adopted),
            [("v1beta1", true, true), ("v1alpha3", false, false)]
        );
    }

    #[test]
    fn without_a_converter_old_canaries_are_left_alone() {
        let versions = [("v1beta1", true, true), ("v1alpha3", true, false)];
        let obstacle = survey(&found("Canary", &versions, &["v1alpha3", "v1beta1"], "None")).unwrap_err();
        assert!(
            obstacle.to_string().contains("verdigris run --install"),
            "{obstacle}"
        );
        let mut leaving = found("Canary", &versions, &["v1beta1"], "None");
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(
            survey(&leaving),
            Err(Obstacle::Terminating {
                name: "canaries.flagger.app".to_owned()
            })
        );
    }

    #[test]
    fn owners_at_versions_nobody_serves_are_dropped() {
        let entry = |manager: &str, version: &str| ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            api_version: Some(version.to_owned()),
            operation: Some("Apply".to_owned()),
            ..ManagedFieldsEntry::default()
        };
        let served: BTreeSet<String> = ["flagger.app/v1beta1", "flagger.app/v1alpha3"]
            .map(str::to_owned)
            .into();
        let (new, old, older) = (
            entry("a", "flagger.app/v1beta1"),
            entry("b", "flagger.app/v1alpha3"),
            entry("c", "flagger.app/v1alpha1"),
        );
        assert_eq!(kept_fields(&[new.clone(), old.clone()], &served), None);
        assert_eq!(kept_fields(&[], &served), None);
        assert_eq!(
            kept_fields(&[older.clone(), new.clone(), old.clone()], &served),
            Some(json!([new, old]))
        );
        assert_eq!(
            kept_fields(std::slice::from_ref(&older), &served),
            Some(json!([{}]))
        );
        assert_eq!(owned(&json!([{}]), Some("7"))["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn stored_versions_are_trimmed_while_the_definition_stays_as_it_was() {
        let list = [
            ("v1beta1", true, true),
            ("v1alpha3", true, false),
            ("v1alpha1", false, false),
        ];
        let before = found("Canary", &list, &["v1alpha1", "v1beta1"], "Webhook");
        let mut now = before.clone();
        now.metadata.resource_version = Some("9".to_owned());
        let patch = trim(&before, &now).unwrap().unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"resourceVersion": "9"}, "status": {"storedVersions": ["v1beta1"]}})
        );
        now.spec.versions[0].storage = false;
        now.spec.versions[1].storage = true;
        assert!(trim(&before, &now).is_err());
        let done = found("Canary", &list, &["v1beta1"], "Webhook");
        assert_eq!(trim(&done, &done), Ok(None));

        let (patch, gone) = retire(&before).unwrap();
        assert_eq!(gone, ["v1alpha1"]);
        assert_eq!(patch["spec"]["versions"].as_array().unwrap().len(), 2);
        let unserved = found(
            "Canary",
            &[("v1beta1", true, true), ("v1alpha3", false, false)],
            &["v1beta1"],
            "None",
        );
        assert_eq!(retire(&unserved), None);
    }
}
