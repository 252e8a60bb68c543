//! DELETE, of one object or many.
//!
//! Owns: preconditions, grace periods, finalizers, propagation policies. Promises: an object with finalizers stays
//! until they are gone. Never: removes dependents (the garbage collector does).
#![expect(clippy::disallowed_methods, reason = "shell: stamps deletion times")]

use std::sync::Arc;

use serde_json::{Value, json};

use super::Cluster;
use super::admission::{Operation, Subject};
use super::call::Call;
use super::decode::metadata;
use super::read::ListOptions;
use super::status::Failure;
use super::strategy;
use crate::kinds::Kind;
use crate::store::{Refused, Stored};

/// DeleteOptions, from the body and the query.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    pub(crate) propagation: Option<String>,
    pub(crate) uid: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) dry_run: Option<bool>,
}

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

impl Cluster {
    /// Deletes the object or marks it; answers the object while it stays, a Status when it is gone.
    pub(crate) async fn delete(&self, call: &Call, options: &DeleteOptions) -> Result<Value, Failure> {
        let kind = &call.kind;
        if let Some(policy) = options.propagation.as_deref()
            && !matches!(policy, "Foreground" | "Background" | "Orphan")
        {
            return Err(Failure::invalid_options(
                "DeleteOptions",
                "propagationPolicy",
                "FieldValueNotSupported",
                &format!(
                    "Unsupported value: {policy:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                ),
            ));
        }
        loop {
            let stored = self.stored(call)?;
            check_preconditions(call, options, &stored)?;
            let old = self.read(kind, &stored).await?;
            strategy::check_delete(kind, &call.name)?;
            self.mutate_delete(call, &old).await?;
            self.validate(
                call,
                Subject {
                    operation: Operation::Delete,
                    object: None,
                    old: Some(&old),
                },
            )
            .await?;
            if call.dry_run {
                return Ok(done(call, &old));
            }
            match self.delete_once(call, options, &stored) {
                Ok(Some(marked)) => return self.read_value(kind, &marked).await,
                Ok(None) => return Ok(done(call, &old)),
                Err(Refused::Missing | Refused::Exists) => return Err(Failure::not_found(kind, &call.name)),
                Err(Refused::Changed) => tokio::task::yield_now().await,
            }
        }
    }

    /// The marked object, or `None` when it is gone.
    fn delete_once(
        &self,
        call: &Call,
        options: &DeleteOptions,
        stored: &Stored,
    ) -> Result<Option<Arc<Value>>, Refused> {
        let mut object = Value::clone(&stored.value);
        set_finalizers(&mut object, options.propagation.as_deref());
        let grace = Self::grace(call, options, &object);
        let waiting = strategy::holds(&call.kind, &object) || grace > 0;
        let table = &call.kind.table;
        if !waiting {
            let removed = self
                .store
                .delete(table, &call.namespace, &call.name, stored.revision)?;
            self.after_delete(call, &removed);
            return Ok(None);
        }
        mark(&mut object, (!call.kind.is("", "namespaces")).then_some(grace));
        strategy::mark_terminating(&call.kind, &mut object);
        if object == *stored.value {
            return Ok(Some(Arc::clone(&stored.value)));
        }
        let marked = self.store.update(table, stored.revision, object)?;
        Ok(Some(self.after_write(call, marked)))
    }

    /// Seconds until the object goes, for types that are stopped first.
    fn grace(call: &Call, options: &DeleteOptions, object: &Value) -> i64 {
        if !call.kind.graceful {
            return 0;
        }
        let scheduled = object["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty());
        let over = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if !scheduled || over {
            return 0;
        }
        let own = object["spec"]["terminationGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(30);
        let wanted = options.grace.unwrap_or(own).max(0);
        match object["metadata"]["deletionGracePeriodSeconds"].as_i64() {
            Some(running) => wanted.min(running),
            None => wanted,
        }
    }

    /// DELETE of a collection; answers the list of what was there.
    pub(crate) async fn delete_all(
        &self,
        call: &Call,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<super::read::Listed, Failure> {
        let listed = self.list(call, list).await?;
        for item in &listed.items {
            let text = |key: &str| item["metadata"][key].as_str().unwrap_or_default();
            let one = call.named(text("namespace"), text("name"));
            match self.delete(&one, options).await {
                Ok(_) => {}
                Err(failure) if failure.code == 404 => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(listed)
    }
}

fn check_preconditions(call: &Call, options: &DeleteOptions, stored: &Stored) -> Result<(), Failure> {
    let meta = &stored.value["metadata"];
    let rows = [
        ("UID", &options.uid, &meta["uid"]),
        ("ResourceVersion", &options.revision, &meta["resourceVersion"]),
    ];
    for (what, wanted, found) in rows {
        if let Some(wanted) = wanted
            && found != wanted.as_str()
        {
            let found = found.as_str().unwrap_or_default();
            let why = if what == "UID" {
                "deleted and then recreated"
            } else {
                "modified"
            };
            let detail = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object \
                 might have been {why}"
            );
            let kind = Kind {
                plural: call.kind.kind.clone(),
                ..Kind::clone(&call.kind)
            };
            return Err(Failure::conflict(&kind, &call.name, &detail));
        }
    }
    Ok(())
}

/// The finalizers a propagation policy stands for.
fn set_finalizers(object: &mut Value, policy: Option<&str>) {
    let Some(policy) = policy else { return };
    let wanted = match policy {
        "Foreground" => Some(FOREGROUND),
        "Orphan" => Some(ORPHAN),
        _ => None,
    };
    let fields = metadata(object);
    let mut finalizers: Vec<Value> = fields
        .get("finalizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    finalizers.retain(|f| f != FOREGROUND && f != ORPHAN);
    finalizers.extend(wanted.map(|f| json!(f)));
    if finalizers.is_empty() {
        fields.shift_remove("finalizers");
    } else {
        fields.insert("finalizers".to_owned(), Value::Array(finalizers));
    }
}

/// Sets the deletion time and period (`None` for types without one); a second deletion can only shorten the wait.
fn mark(object: &mut Value, grace: Option<i64>) {
    let fields = metadata(object);
    let running = fields.get("deletionGracePeriodSeconds").and_then(Value::as_i64);
    if fields.contains_key("deletionTimestamp") && running == grace {
        return;
    }
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace.unwrap_or(0));
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let first = !fields.contains_key("deletionTimestamp");
    fields.insert("deletionTimestamp".to_owned(), json!(at));
    if let Some(grace) = grace {
        fields.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    }
    if first && let Some(generation) = fields.get("generation").and_then(Value::as_i64) {
        fields.insert("generation".to_owned(), json!(generation + 1));
    }
}

/// The Status of a finished deletion.
fn done(call: &Call, old: &Value) -> Value {
    let mut details = json!({"name": call.name});
    if !call.kind.group.is_empty() {
        details["group"] = json!(call.kind.group);
    }
    details["kind"] = json!(call.kind.plural);
    details["uid"] = old["metadata"]["uid"].clone();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn propagation_sets_finalizers() {
        let rows = [
            (None, json!(["a", "orphan"])),
            (Some("Background"), json!(["a"])),
            (Some("Foreground"), json!(["a", "foregroundDeletion"])),
            (Some("Orphan"), json!(["a", "orphan"])),
        ];
        for (policy, expected) in rows {
            let mut object = json!({"metadata": {"finalizers": ["a", "orphan"]}});
            set_finalizers(&mut object, policy);
            assert_eq!(object["metadata"]["finalizers"], expected, "{policy:?}");
        }
    }

    #[test]
    fn marking_again_changes_nothing() {
        let mut object = json!({"metadata": {"generation": 1}});
        mark(&mut object, Some(30));
        let first = object.clone();
        assert_eq!(first["metadata"]["generation"], 2);
        mark(&mut object, Some(30));
        assert_eq!(object, first);
    }
}
