//! CustomResourceDefinitions: what their own life needs.
//!
//! Owns: conditions, accepted names, stored versions, the registry entries and the removal of objects with their
//! CRD. Promises: when the write of a CRD returns, its type is served. Never: reads custom resources' content.
#![expect(clippy::disallowed_methods, reason = "shell: cleans up behind deleted CRDs")]

use std::sync::Arc;

use serde_json::{Value, json};

use super::Cluster;
use super::call::{Call, User};
use super::custom::{self, Custom};
use super::decode::metadata;
use super::delete::DeleteOptions;
use super::write::now;
use crate::schema::FieldError;
use crate::schema::error::ErrorKind;
use crate::store::{Refused, Stored, Table};

const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(crate) fn table() -> Table {
    Table {
        group: "apiextensions.k8s.io".to_owned(),
        plural: "customresourcedefinitions".to_owned(),
    }
}

fn storage_version(crd: &Value) -> Option<&str> {
    crd["spec"]["versions"]
        .as_array()?
        .iter()
        .find(|v| v["storage"] == true)?["name"]
        .as_str()
}

/// The status of a CRD before its names are accepted.
pub(crate) fn prepare_create(crd: &mut Value) {
    let stored: Vec<String> = storage_version(crd).map(str::to_owned).into_iter().collect();
    crd["status"] =
        json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
    let finalizers = metadata(crd).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|f| f == FINALIZER)
    {
        list.push(json!(FINALIZER));
    }
}

/// A new storage version is remembered: objects may be stored at it from now on.
pub(crate) fn prepare_update(crd: &mut Value) {
    let Some(version) = storage_version(crd).map(str::to_owned) else {
        return;
    };
    if let Some(stored) = crd["status"]["storedVersions"].as_array_mut()
        && !stored.iter().any(|v| *v == version)
    {
        stored.push(json!(version));
    }
}

/// Versions that objects may be stored at cannot go; scope and names are for ever.
pub(crate) fn check_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    for (index, version) in new["status"]["storedVersions"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let listed = new["spec"]["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|v| v["name"] == *version);
        if !listed {
            errors.push(FieldError::invalid(
                &format!("status.storedVersions[{index}]"),
                version,
                format!(
                    "missing from spec.versions; {} was previously a storage version, and must remain in spec.versions \
                     until a storage migration ensures no data remains persisted in {0} and removes {0} from \
                     status.storedVersions",
                    version.as_str().unwrap_or_default()
                ),
            ));
        }
    }
    for (pointer, field) in [
        ("/spec/group", "spec.group"),
        ("/spec/names/plural", "spec.names.plural"),
        ("/spec/scope", "spec.scope"),
        ("/spec/names/kind", "spec.names.kind"),
    ] {
        if old.pointer(pointer) != new.pointer(pointer) {
            let value = new.pointer(pointer).cloned().unwrap_or_default();
            errors.push(FieldError::invalid(field, &value, "field is immutable"));
        }
    }
    if new["status"]["storedVersions"]
        .as_array()
        .is_some_and(Vec::is_empty)
    {
        errors.push(FieldError::new(
            ErrorKind::Invalid,
            "status.storedVersions",
            Some(&json!([])),
            "must have at least one stored version",
        ));
    }
}

fn set_condition(crd: &mut Value, kind: &str, status: &str, reason: &str, message: &str) {
    let condition = json!({"lastTransitionTime": now(), "message": message, "reason": reason, "status": status, "type": kind});
    let conditions = &mut crd["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else {
        return;
    };
    match list.iter_mut().find(|c| c["type"] == kind) {
        Some(found)
            if found["status"] == status && found["reason"] == reason && found["message"] == message => {}
        Some(found) => *found = condition,
        None => list.push(condition),
    }
}

pub(crate) fn mark_terminating(crd: &mut Value) {
    let message = "CustomResource deletion is in progress";
    set_condition(crd, "Terminating", "True", "InstanceDeletionInProgress", message);
}

/// The other CRD that already has one of the names.
fn name_conflict(cluster: &Cluster, crd: &Value) -> Option<String> {
    let spec = &crd["spec"];
    let (all, _) = cluster.store.list(&table(), None);
    let others = all.iter().filter(|o| {
        o.value["spec"]["group"] == spec["group"] && o.value["metadata"]["name"] != crd["metadata"]["name"]
    });
    for other in others {
        for key in ["kind", "plural", "singular", "listKind"] {
            let name = &spec["names"][key];
            if name.is_string() && other.value["status"]["acceptedNames"][key] == *name {
                return Some(format!("{name} is already in use"));
            }
        }
    }
    None
}

impl Cluster {
    /// Accepts the names of a written CRD, serves its versions, answers its new state.
    pub(crate) fn crd_written(&self, written: &Arc<Value>) -> Arc<Value> {
        let mut crd = Value::clone(written);
        if let Some(message) = name_conflict(self, &crd) {
            set_condition(&mut crd, "NamesAccepted", "False", "NameConflict", &message);
        } else {
            crd["status"]["acceptedNames"] = crd["spec"]["names"].clone();
            set_condition(
                &mut crd,
                "NamesAccepted",
                "True",
                "NoConflicts",
                "no conflicts found",
            );
            let message = "the initial names have been accepted";
            set_condition(&mut crd, "Established", "True", "InitialNamesAccepted", message);
        }
        let mut latest = Arc::clone(written);
        if crd != **written {
            let revision = written["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|r| r.parse().ok())
                .unwrap_or(0);
            if let Ok(updated) = self.store.update(&table(), revision, crd) {
                latest = updated;
            }
        }
        self.serve_custom(&latest);
        if !latest["metadata"]["deletionTimestamp"].is_null() {
            let cluster = self.clone();
            let crd = Arc::clone(&latest);
            self.spawn(async move { cluster.clean_up(&crd).await });
        }
        latest
    }

    /// Puts a CRD's versions into the registry.
    pub(crate) fn serve_custom(&self, crd: &Value) {
        let established = crd["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Established" && c["status"] == "True");
        let custom = Arc::new(Custom::new(crd));
        let kinds = if established {
            custom::kinds(&custom)
        } else {
            Vec::new()
        };
        let plural = crd["spec"]["names"]["plural"].as_str().unwrap_or_default();
        self.registry.replace(custom.group(), plural, kinds);
    }

    /// Removes a deleted CRD's objects, then the finalizer that holds it.
    async fn clean_up(&self, crd: &Value) {
        let custom = Arc::new(Custom::new(crd));
        let name = crd["metadata"]["name"].as_str().unwrap_or_default();
        if let Some(kind) = custom::kinds(&custom).into_iter().next() {
            let kind = Arc::new(kind);
            let call = Call::new(Arc::clone(&kind), Arc::new(User::controller()));
            let mut changes = self.store.changes(&kind.table);
            loop {
                let (objects, _) = self.store.list(&kind.table, None);
                if objects.is_empty() {
                    break;
                }
                for object in &objects {
                    let text = |key: &str| object.value["metadata"][key].as_str().unwrap_or_default();
                    if object.value["metadata"]["deletionTimestamp"].is_null() {
                        let one = call.named(text("namespace"), text("name"));
                        if let Err(failure) = self.delete(&one, &DeleteOptions::default()).await {
                            tracing::warn!(crd = name, error = failure.message, "an object stays");
                        }
                    }
                }
                if self.store.list(&kind.table, None).0.is_empty() {
                    break;
                }
                let pause = tokio::time::sleep(std::time::Duration::from_secs(1));
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = pause => {}
                }
            }
        }
        self.release(name);
    }

    fn release(&self, name: &str) {
        while let Some(Stored { revision, value }) = self.store.get(&table(), "", name) {
            let mut crd = Value::clone(&value);
            if let Some(list) = metadata(&mut crd)
                .get_mut("finalizers")
                .and_then(Value::as_array_mut)
            {
                list.retain(|f| f != FINALIZER);
            }
            let left = crd["metadata"]["finalizers"]
                .as_array()
                .is_some_and(|f| !f.is_empty());
            let done = if left {
                self.store.update(&table(), revision, crd)
            } else {
                self.store
                    .delete(&table(), "", name, revision)
                    .inspect(|gone| self.crd_deleted(gone))
            };
            match done {
                Ok(_) | Err(Refused::Missing | Refused::Exists) => return,
                Err(Refused::Changed) => {}
            }
        }
    }

    /// Stops serving a CRD's type.
    pub(crate) fn crd_deleted(&self, crd: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.registry.replace(
            &text(&crd["spec"]["group"]),
            &text(&crd["spec"]["names"]["plural"]),
            Vec::new(),
        );
    }
}
