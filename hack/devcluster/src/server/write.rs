//! PUT and PATCH: the write pipeline.
//!
//! Owns: its order (shape, ownership, mutating admission, preparation, validation, validating admission, storage)
//! and optimistic locking. Promises: the same order for HTTP clients and controllers; nothing is stored that was
//! refused at any stage. Never: knows one type from another (see [`super::strategy`]).
#![expect(
    clippy::disallowed_methods,
    reason = "shell: stamps creation times and the times of field owners"
)]

use std::sync::Arc;

use serde_json::{Value, json};

use super::admission::{Operation, Subject};
use super::call::Call;
use super::decode::{decode, decode_as, metadata};
use super::status::Failure;
use super::{Cluster, meta, ownership, scale, strategy};
use crate::patch;
use crate::store::{Refused, Stored};

/// How often a write that names no revision is tried again when another one came first.
const ATTEMPTS: usize = 16;

/// A change of an existing object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// PUT.
    Replace(&'a Value),
    /// JSON patch: a list of operations.
    Json(&'a Value),
    /// Merge patch.
    Merge(&'a Value),
    /// Strategic merge patch.
    Strategic(&'a Value),
    /// Server-side apply.
    Apply(&'a Value),
}

/// What a write left behind, and whether it made a new object.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Value,
    pub(crate) created: bool,
}

/// The time now, as Kubernetes writes it.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Cluster {
    /// PUT and PATCH, of objects and their subresources.
    pub(crate) async fn change(&self, call: &Call, change: Change<'_>) -> Result<Written, Failure> {
        let kind = &call.kind;
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.store.get(&kind.table, &call.namespace, &call.name) else {
                return self.change_missing(call, change).await;
            };
            match self.change_once(call, change, &stored).await? {
                Some(object) => {
                    return Ok(Written {
                        object,
                        created: false,
                    });
                }
                None => tokio::task::yield_now().await,
            }
        }
        Err(Failure::modified(kind, &call.name))
    }

    async fn change_missing(&self, call: &Call, change: Change<'_>) -> Result<Written, Failure> {
        let kind = &call.kind;
        let main = call.subresource.is_empty();
        match change {
            Change::Apply(config) if main => {
                if config["metadata"]["uid"].as_str().is_some_and(|u| !u.is_empty()) {
                    return Err(Failure::conflict(
                        kind,
                        &call.name,
                        "uid mismatch: the provided object specified uid, and no existing object was found",
                    ));
                }
                let mut object = ownership::apply(self, call, None, config, &now()).await?;
                meta::place(call, &mut object)?;
                let object = decode(call, object)?;
                let object = self.create_decoded(call, object, true).await?;
                Ok(Written {
                    object,
                    created: true,
                })
            }
            Change::Replace(body) if main && kind.create_on_update => {
                let mut body = body.clone();
                metadata(&mut body).shift_remove("resourceVersion");
                let object = self.create(call, body).await?;
                Ok(Written {
                    object,
                    created: true,
                })
            }
            Change::Replace(_)
            | Change::Json(_)
            | Change::Merge(_)
            | Change::Strategic(_)
            | Change::Apply(_) => Err(Failure::not_found(kind, &call.name)),
        }
    }

    /// One attempt; `None` when another write came between and this one may be tried again.
    async fn change_once(
        &self,
        call: &Call,
        change: Change<'_>,
        stored: &Stored,
    ) -> Result<Option<Value>, Failure> {
        let kind = &call.kind;
        let old = self.read(kind, stored).await?;
        let now = now();
        let mut new = if call.subresource == "scale" {
            Self::scaled(call, change, &old)?
        } else {
            self.changed(call, change, &old, &now).await?
        };
        let wanted = new["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let current = stored.revision.to_string();
        if matches!(change, Change::Replace(_))
            && wanted.is_empty()
            && kind.locked_updates
            && call.subresource.is_empty()
        {
            return Err(Failure::unlocked(kind, &call.name));
        }
        if !wanted.is_empty() && wanted != current {
            return Err(Failure::modified(kind, &call.name));
        }
        meta::same_uid(call, &old, &new, matches!(change, Change::Replace(_)))?;
        meta::keep_system_fields(&old, &mut new);
        strategy::isolate(kind, &call.subresource, &old, &mut new);
        if !matches!(change, Change::Apply(_)) {
            new = ownership::track(self, call, Some(&old), new, &now).await;
        }
        let before = new.clone();
        new = self.admit_update(call, new, &old).await?;
        if new != before {
            super::decode::shape(kind, &mut new)?;
            meta::keep_system_fields(&old, &mut new);
            strategy::isolate(kind, &call.subresource, &old, &mut new);
        }
        strategy::prepare_update(self, call, &old, &mut new);
        if kind.generation && strategy::desired_changed(kind, &old, &new) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            metadata(&mut new).insert("generation".to_owned(), json!(generation));
        }
        let mut errors = meta::check(kind, &new);
        errors.extend(meta::check_update(&old, &new));
        errors.extend(strategy::check(kind, &new, Some(&old)));
        if !errors.is_empty() {
            return Err(Failure::invalid(kind, &call.name, &errors));
        }
        self.validate_update(call, &new, &old).await?;
        meta::order(&mut new);
        let object = if call.dry_run {
            new
        } else {
            let written = self.to_storage(kind, new.clone()).await?;
            match self.commit(call, stored, written) {
                Ok(Some(value)) => self.read_value(kind, &value).await?,
                Ok(None) => new,
                Err(Refused::Missing | Refused::Exists) => return Err(Failure::not_found(kind, &call.name)),
                Err(Refused::Changed) if wanted.is_empty() => return Ok(None),
                Err(Refused::Changed) if matches!(change, Change::Replace(_)) => {
                    return Err(Failure::modified(kind, &call.name));
                }
                // A patched object carries the revision it was read at; try again on the new state.
                Err(Refused::Changed) => return Ok(None),
            }
        };
        if call.subresource == "scale" {
            scale::of(kind, &object).map(Some)
        } else {
            Ok(Some(object))
        }
    }

    /// Stores the new state, or removes the object when this write took its last finalizer. `None`: nothing
    /// changed, nothing was written.
    fn commit(&self, call: &Call, stored: &Stored, mut new: Value) -> Result<Option<Arc<Value>>, Refused> {
        let table = &call.kind.table;
        if strategy::finished(&call.kind, &new) {
            let value = self
                .store
                .delete(table, &call.namespace, &call.name, stored.revision)?;
            self.after_delete(call, &value);
            return Ok(Some(value));
        }
        metadata(&mut new).insert("resourceVersion".to_owned(), json!(stored.revision.to_string()));
        if new == *stored.value {
            return Ok(None);
        }
        let value = self.store.update(table, stored.revision, new)?;
        Ok(Some(self.after_write(call, value)))
    }

    /// The object as the change wants it, shaped but not yet prepared.
    async fn changed(
        &self,
        call: &Call,
        change: Change<'_>,
        old: &Value,
        now: &str,
    ) -> Result<Value, Failure> {
        let kind = &call.kind;
        let refused = |e| Failure::refused(kind, &call.name, e);
        let new = match change {
            Change::Replace(body) => {
                let mut body = body.clone();
                meta::place(call, &mut body)?;
                body
            }
            Change::Json(operations) => {
                let patched = patch::json::apply(old, operations).map_err(refused)?;
                let shown = patched.to_string();
                return Self::decode_patched(call, patched, &shown);
            }
            Change::Merge(fragment) => {
                let patched = patch::merge::apply(old, fragment);
                let shown = patched.to_string();
                return Self::decode_patched(call, patched, &shown);
            }
            Change::Strategic(fragment) => {
                let patched = patch::strategic::apply(&kind.reference(), old, fragment).map_err(refused)?;
                return Self::decode_patched(call, patched, &super::status::go_text(fragment));
            }
            Change::Apply(config) => {
                let mut object = ownership::apply(self, call, Some(old), config, now).await?;
                meta::place(call, &mut object)?;
                object
            }
        };
        decode(call, new)
    }

    /// The whole object after a change of its Scale.
    fn scaled(call: &Call, change: Change<'_>, old: &Value) -> Result<Value, Failure> {
        let kind = &call.kind;
        let shown = scale::of(kind, old)?;
        let wanted = match change {
            Change::Replace(body) => body.clone(),
            Change::Json(operations) => {
                patch::json::apply(&shown, operations).map_err(|e| Failure::refused(kind, &call.name, e))?
            }
            Change::Merge(fragment) | Change::Strategic(fragment) | Change::Apply(fragment) => {
                patch::merge::apply(&shown, fragment)
            }
        };
        let replaced = matches!(change, Change::Replace(_));
        let mut new = scale::write(kind, old, &wanted)?;
        if replaced
            && wanted["metadata"]["resourceVersion"]
                .as_str()
                .is_none_or(str::is_empty)
        {
            metadata(&mut new).shift_remove("resourceVersion");
        }
        decode(&call.of(""), new)
    }

    /// Decodes a patched object; unknown fields are the patch's mistake, which is shown as `shown`.
    fn decode_patched(call: &Call, mut patched: Value, shown: &str) -> Result<Value, Failure> {
        meta::place(call, &mut patched)?;
        decode_as(call, patched, Some(shown))
    }

    async fn admit_update(&self, call: &Call, new: Value, old: &Value) -> Result<Value, Failure> {
        if call.subresource != "scale" {
            return self.mutate(call, Operation::Update, new, Some(old)).await;
        }
        let (shown, before) = (scale::of(&call.kind, &new)?, scale::of(&call.kind, old)?);
        let admitted = self
            .mutate(call, Operation::Update, shown.clone(), Some(&before))
            .await?;
        if admitted == shown {
            Ok(new)
        } else {
            scale::write(&call.kind, &new, &admitted)
        }
    }

    async fn validate_update(&self, call: &Call, new: &Value, old: &Value) -> Result<(), Failure> {
        if call.subresource != "scale" {
            let subject = Subject {
                operation: Operation::Update,
                object: Some(new),
                old: Some(old),
            };
            return self.validate(call, subject).await;
        }
        let (new, old) = (scale::of(&call.kind, new)?, scale::of(&call.kind, old)?);
        self.validate(
            call,
            Subject {
                operation: Operation::Update,
                object: Some(&new),
                old: Some(&old),
            },
        )
        .await
    }
}
