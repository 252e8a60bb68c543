//! `metadata.managedFields`: who owns which field, as Update operations leave it (POST, PUT and the three older
//! patches).
//!
//! Owns the entries' form and order, and Update tracking. Server-side apply builds on it in [`super::apply`].

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::apply::Versions;
use super::fields::FieldSet;
use super::typed::{Comparison, Type, compare};
use crate::schema::{KindRef, builtin};

/// Update entries an object keeps; older ones become one of `ancient-changes` for each apiVersion.
const MAX_UPDATE_ENTRIES: usize = 10;

/// Who writes, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// Field manager: the `fieldManager` parameter, or the first part (to `/`) of the User-Agent; at most 128 bytes.
    pub manager: &'a str,
    /// `""`, `status` or `scale`.
    pub subresource: &'a str,
    /// The time of the request, RFC 3339 with whole seconds (`2026-01-02T03:04:05Z`).
    pub now: &'a str,
}

/// Apply or Update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells entries apart; the apiVersion only for Update entries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Owner {
    pub(super) fn new(writer: Writer<'_>, operation: Operation, api_version: &str) -> Self {
        let manager = if writer.manager.is_empty() {
            "unknown"
        } else {
            writer.manager
        };
        Self {
            manager: manager.to_owned(),
            operation,
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => api_version.to_owned(),
            },
            subresource: writer.subresource.to_owned(),
        }
    }

    /// As conflicts name it: `"kubectl" with subresource "status" using apps/v1`.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.subresource);
        }
        match self.operation {
            Operation::Apply => text,
            Operation::Update => format!("{text} using {}", self.api_version),
        }
    }
}

/// The fields of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) api_version: String,
    pub(super) fields: FieldSet,
    pub(super) time: Option<String>,
}

/// All entries of an object.
pub(super) type Managed = BTreeMap<Owner, Owned>;

/// Reads managedFields; `None` when they are malformed.
pub(super) fn decode(entries: Option<&Value>) -> Option<Managed> {
    let mut managed = Managed::new();
    let entries = match entries {
        None | Some(Value::Null) => return Some(managed),
        Some(Value::Array(entries)) => entries,
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => return None,
    };
    for entry in entries {
        let text = |name: &str| {
            entry
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() || text("fieldsType") != "FieldsV1" {
            return None;
        }
        let owner = Owner {
            manager: text("manager"),
            operation,
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => api_version.clone(),
            },
            subresource: text("subresource"),
        };
        let fields = FieldSet::from_fields_v1(entry.get("fieldsV1").unwrap_or(&Value::Null));
        let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
        managed.insert(
            owner,
            Owned {
                api_version,
                fields,
                time,
            },
        );
    }
    Some(managed)
}

/// Writes entries in Kubernetes' order: operation, time, manager, apiVersion, subresource.
fn encode(managed: &Managed) -> Value {
    let mut entries: Vec<(&Owner, &Owned)> = managed.iter().collect();
    entries.sort_by(|(a, x), (b, y)| {
        (a.operation, &x.time, &a.manager, &x.api_version, &a.subresource).cmp(&(
            b.operation,
            &y.time,
            &b.manager,
            &y.api_version,
            &b.subresource,
        ))
    });
    let entries = entries.into_iter().map(|(owner, owned)| {
        let mut entry = Map::new();
        entry.insert("manager".to_owned(), json!(owner.manager));
        entry.insert("operation".to_owned(), json!(owner.operation.text()));
        entry.insert("apiVersion".to_owned(), json!(owned.api_version));
        if let Some(time) = &owned.time {
            entry.insert("time".to_owned(), json!(time));
        }
        entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
        entry.insert("fieldsV1".to_owned(), owned.fields.to_fields_v1());
        if !owner.subresource.is_empty() {
            entry.insert("subresource".to_owned(), json!(owner.subresource));
        }
        Value::Object(entry)
    });
    Value::Array(entries.collect())
}

/// The managedFields of an object, as they are.
pub(super) fn entries(object: &Value) -> Option<&Value> {
    object.pointer("/metadata/managedFields")
}

/// A copy of an object without managedFields.
pub(super) fn without(object: &Value) -> Value {
    let mut copy = object.clone();
    strip(&mut copy);
    copy
}

fn strip(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
}

/// Writes managedFields into an object; none are no member.
pub(super) fn set(object: &mut Value, managed: &Managed) {
    let Some(members) = object.as_object_mut() else {
        return;
    };
    let metadata = members.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.shift_remove("managedFields");
        if !managed.is_empty() {
            metadata.insert("managedFields".to_owned(), encode(managed));
        }
    }
}

/// The object a creation starts from.
pub(super) fn empty(object: &Value) -> Value {
    KindRef::of(object).map_or_else(|| json!({}), |kind| builtin::empty(&kind))
}

/// Fields nobody owns.
pub(super) fn unowned() -> FieldSet {
    FieldSet::of(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}

/// Fields a write to a (sub)resource cannot set.
pub(super) fn reset_fields(subresource: &str, versions: &dyn Versions) -> FieldSet {
    match subresource {
        "status" => FieldSet::of(&[&["spec"]]),
        _ if versions.has_status() => FieldSet::of(&[&["status"]]),
        _ => FieldSet::default(),
    }
}

/// How `old` and `new` differ in `api_version`; `None` when that is served no more.
pub(super) fn compare_in(
    old: &Value,
    new: &Value,
    api_version: &str,
    ignored: &FieldSet,
    versions: &dyn Versions,
) -> Result<Option<Comparison>, String> {
    let Some(schema) = versions.schema(api_version) else {
        return Ok(None);
    };
    let old =
        convert(old, api_version, versions).map_err(|e| format!("failed to convert old object: {e}"))?;
    let new =
        convert(new, api_version, versions).map_err(|e| format!("failed to convert new object: {e}"))?;
    Ok(Some(compare(Type::of(schema), &old, &new).without(ignored)))
}

/// `object` in `api_version`; unchanged when it is already, or when it says nothing of its version.
pub(super) fn convert(object: &Value, api_version: &str, versions: &dyn Versions) -> Result<Value, String> {
    match object.get("apiVersion").and_then(Value::as_str) {
        Some(current) if current != api_version => versions.convert(object, api_version),
        _ => Ok(object.clone()),
    }
}

/// Conflicts of a write, and the change in the request's version.
pub(super) struct Effect {
    pub(super) conflicts: Vec<(Owner, FieldSet)>,
    pub(super) change: Comparison,
}

/// What changing `old` to `new` does to the managers other than `writer`: they lose what is gone and, once `settle`
/// is called with the conflicts, what was changed. Managers of versions no longer served disappear.
pub(super) fn others(
    old: &Value,
    new: &Value,
    api_version: &str,
    managed: &mut Managed,
    writer: Option<&Owner>,
    ignored: &FieldSet,
    versions: &dyn Versions,
) -> Result<Effect, String> {
    let mut comparisons: BTreeMap<String, Option<Comparison>> = BTreeMap::new();
    let change = compare_in(old, new, api_version, ignored, versions)?.unwrap_or_default();
    comparisons.insert(api_version.to_owned(), Some(change.clone()));
    let mut conflicts = Vec::new();
    let mut gone = Vec::new();
    for (owner, owned) in managed.iter_mut().filter(|(owner, _)| writer != Some(*owner)) {
        let comparison = if let Some(known) = comparisons.get(&owned.api_version) {
            known
        } else {
            let fresh = compare_in(old, new, &owned.api_version, ignored, versions)?;
            comparisons.entry(owned.api_version.clone()).or_insert(fresh)
        };
        let Some(comparison) = comparison else {
            gone.push(owner.clone());
            continue;
        };
        let conflict = owned
            .fields
            .intersection(&comparison.modified.union(&comparison.added));
        if !conflict.is_empty() {
            conflicts.push((owner.clone(), conflict));
        }
        owned.fields = owned.fields.difference(&comparison.removed);
    }
    for owner in gone {
        managed.remove(&owner);
    }
    Ok(Effect { conflicts, change })
}

/// Takes conflicting fields from their managers and drops managers without fields.
pub(super) fn settle(managed: &mut Managed, conflicts: &[(Owner, FieldSet)]) {
    for (owner, fields) in conflicts {
        if let Some(owned) = managed.get_mut(owner) {
            owned.fields = owned.fields.difference(fields);
        }
    }
    managed.retain(|_, owned| !owned.fields.is_empty());
}

/// Records an Update (POST, PUT, JSON, merge or strategic patch) in `new`'s managedFields and returns `new` with
/// them.
///
/// `old` is the stored object (`None` on create) and `new` the object about to be stored, both in the request's
/// apiVersion, `new` after decoding and defaulting, before mutating admission (Kubernetes tracks there; what
/// webhooks add has no owner). Call it for every write, also of subresources (a scale write hands in the parent,
/// before and after, with subresource `scale`) and of controllers. Managers lose the fields another one changed; an
/// entry that changed nothing keeps its time; a client that sent `managedFields: []` (or `[{}]`) clears them (this
/// write included). A `new` without `managedFields` keeps those of `old`; other entries sent by the client count
/// (kubectl moves its own from Update to Apply that way), except through a subresource.
pub fn track_update(old: Option<&Value>, new: Value, writer: Writer<'_>, versions: &dyn Versions) -> Value {
    let stored = old
        .map_or(Some(Managed::new()), |o| decode(entries(o)))
        .unwrap_or_default();
    let sent = entries(&new);
    let reset = match sent {
        Some(Value::Array(entries)) => entries.is_empty() || (entries.len() == 1 && entries[0] == json!({})),
        _ => false,
    };
    let managed = if writer.subresource.is_empty() {
        match decode(sent) {
            _ if reset => Managed::new(),
            Some(sent) if !sent.is_empty() => sent,
            Some(_) | None => stored.clone(),
        }
    } else {
        stored.clone()
    };
    let live = old.map_or_else(|| empty(&new), without);
    let mut object = new;
    strip(&mut object);
    if managed.is_empty() && old.is_some_and(|o| o.pointer("/metadata/uid").is_some()) {
        return object;
    }
    let tracked = track(&live, &object, managed, writer, versions).unwrap_or(stored);
    set(&mut object, &tracked);
    object
}

/// The entries after an Update of `live` to `object`.
pub(super) fn track(
    live: &Value,
    object: &Value,
    mut managed: Managed,
    writer: Writer<'_>,
    versions: &dyn Versions,
) -> Result<Managed, String> {
    let api_version = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let ignored = reset_fields(writer.subresource, versions);
    let effect = others(live, object, api_version, &mut managed, None, &ignored, versions)?;
    settle(&mut managed, &effect.conflicts);
    let mine = effect
        .change
        .modified
        .union(&effect.change.added)
        .difference(&unowned());
    if !mine.is_empty() {
        let owner = Owner::new(writer, Operation::Update, api_version);
        let before = managed
            .get(&owner)
            .map(|owned| owned.fields.clone())
            .unwrap_or_default();
        let time = Some(writer.now.to_owned());
        managed.insert(
            owner,
            Owned {
                api_version: api_version.to_owned(),
                fields: before.union(&mine),
                time,
            },
        );
    }
    cap(&mut managed);
    Ok(managed)
}

/// Merges the oldest Update entries of an apiVersion into `ancient-changes` while there are too many.
fn cap(managed: &mut Managed) {
    let mut updates: Vec<(Option<String>, Owner)> = managed
        .iter()
        .filter(|(owner, _)| owner.operation == Operation::Update && owner.subresource.is_empty())
        .map(|(owner, owned)| (owned.time.clone(), owner.clone()))
        .collect();
    updates.sort();
    let mut count = updates.len();
    let mut first: BTreeMap<String, Owner> = BTreeMap::new();
    for (_, owner) in updates {
        if count <= MAX_UPDATE_ENTRIES {
            break;
        }
        let bucket = Owner {
            manager: "ancient-changes".to_owned(),
            ..owner.clone()
        };
        let Some(earlier) = first.get(&owner.api_version) else {
            first.insert(owner.api_version.clone(), owner);
            continue;
        };
        if !managed.contains_key(&bucket)
            && let Some(owned) = managed.remove(earlier)
        {
            managed.insert(bucket.clone(), owned);
        }
        if let Some(owned) = managed.remove(&owner)
            && let Some(all) = managed.get_mut(&bucket)
        {
            all.fields = all.fields.union(&owned.fields);
            all.time = owned.time;
        }
        count -= 1;
    }
}

/// Whether a write changes nothing: the objects are equal but for the times in managedFields and for
/// resourceVersion. Such a write is not stored; the answer is the stored object.
pub fn is_noop(stored: &Value, new: &Value) -> bool {
    fn plain(object: &Value) -> Value {
        let mut copy = object.clone();
        if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("resourceVersion");
            if let Some(Value::Array(entries)) = metadata.get_mut("managedFields") {
                for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                    entry.shift_remove("time");
                }
                entries.sort_by_cached_key(|e| {
                    ["manager", "operation", "apiVersion", "subresource"]
                        .map(|n| e.get(n).map(Value::to_string))
                });
            }
        }
        copy
    }
    plain(stored) == plain(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::apply::tests::{Apps, CANARY, deployment};

    fn writer<'a>(manager: &'a str, subresource: &'a str, now: &'a str) -> Writer<'a> {
        Writer {
            manager,
            subresource,
            now,
        }
    }

    fn fields_of(object: &Value, manager: &str) -> Value {
        let entries = entries(object)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        entries
            .iter()
            .find(|e| e["manager"] == manager)
            .map_or(Value::Null, |e| e["fieldsV1"].clone())
    }

    #[test]
    fn creation_owns_what_was_sent() {
        let object = track_update(None, deployment(3), writer("kubectl-create", "", "t1"), &Apps);
        assert_eq!(
            object["metadata"]["managedFields"],
            json!([{
                "manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": "t1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:replicas": {}, "f:selector": {},
                        "f:template": {
                            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                            "f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {
                                ".": {}, "f:image": {}, "f:name": {},
                                "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}":
                                    {".": {}, "f:containerPort": {}, "f:protocol": {}}},
                            }}},
                        },
                    },
                },
            }])
        );
    }

    #[test]
    fn custom_resources_own_the_spec_itself() {
        let canary = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "c"},
            "spec": {"x": 1}});
        let object = track_update(None, canary, writer("m", "", "t1"), &CANARY);
        assert_eq!(fields_of(&object, "m"), json!({"f:spec": {".": {}, "f:x": {}}}));
    }

    #[test]
    fn updates() {
        let mut stored = track_update(None, deployment(3), writer("a", "", "t1"), &Apps);
        stored["metadata"]["uid"] = json!("u");
        // Nothing changed: nothing is recorded, times stay.
        let same = track_update(Some(&stored), stored.clone(), writer("b", "", "t2"), &Apps);
        assert_eq!(same, stored);
        // A changed field moves; the client sent no managedFields.
        let mut change = without(&stored);
        change["spec"]["replicas"] = json!(5);
        let changed = track_update(Some(&stored), change, writer("b", "", "t2"), &Apps);
        assert_eq!(fields_of(&changed, "b"), json!({"f:spec": {"f:replicas": {}}}));
        assert_eq!(fields_of(&changed, "a").pointer("/f:spec/f:replicas"), None);
        // A removed field is nobody's.
        let mut change = changed.clone();
        change["spec"].as_object_mut().unwrap().remove("replicas");
        let changed = track_update(Some(&changed), change, writer("c", "", "t3"), &Apps);
        assert_eq!(
            (fields_of(&changed, "b"), fields_of(&changed, "c")),
            (Value::Null, Value::Null)
        );
    }

    #[test]
    fn subresources_have_entries_of_their_own() {
        let mut stored = track_update(None, deployment(3), writer("a", "", "t1"), &Apps);
        stored["metadata"]["uid"] = json!("u");
        let mut status = stored.clone();
        status["status"] = json!({"replicas": 3});
        status["metadata"]["managedFields"] = json!([]);
        let written = track_update(Some(&stored), status, writer("kcm", "status", "t2"), &Apps);
        let entry = written["metadata"]["managedFields"][1].clone();
        assert_eq!(entry["subresource"], "status");
        assert_eq!(
            entry["fieldsV1"],
            json!({"f:status": {".": {}, "f:replicas": {}}})
        );
        let mut scaled = written.clone();
        scaled["spec"]["replicas"] = json!(9);
        let scaled = track_update(Some(&written), scaled, writer("hpa", "scale", "t3"), &Apps);
        assert_eq!(fields_of(&scaled, "hpa"), json!({"f:spec": {"f:replicas": {}}}));
    }

    #[test]
    fn clearing() {
        let mut stored = track_update(None, deployment(3), writer("a", "", "t1"), &Apps);
        stored["metadata"]["uid"] = json!("u");
        for empty in [json!([]), json!([{}])] {
            let mut change = stored.clone();
            change["metadata"]["managedFields"] = empty;
            change["spec"]["replicas"] = json!(4);
            let cleared = track_update(Some(&stored), change, writer("b", "", "t2"), &Apps);
            assert_eq!(entries(&cleared), None);
            // And stays untracked under later updates.
            let mut later = cleared.clone();
            later["spec"]["replicas"] = json!(6);
            assert_eq!(
                entries(&track_update(Some(&cleared), later, writer("c", "", "t3"), &Apps)),
                None
            );
        }
    }

    #[test]
    fn malformed_entries_count_as_absent() {
        let mut stored = track_update(None, deployment(3), writer("a", "", "t1"), &Apps);
        stored["metadata"]["uid"] = json!("u");
        let mut change = stored.clone();
        change["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Steal"}]);
        assert_eq!(
            track_update(Some(&stored), change, writer("b", "", "t2"), &Apps),
            stored
        );
    }

    #[test]
    fn sent_entries_count() {
        // kubectl's migration from client-side apply rewrites managedFields with a JSON patch.
        let mut stored = track_update(
            None,
            deployment(3),
            writer("kubectl-client-side-apply", "", "t1"),
            &Apps,
        );
        stored["metadata"]["uid"] = json!("u");
        let mut change = stored.clone();
        change["metadata"]["managedFields"][0]["manager"] = json!("kubectl");
        change["metadata"]["managedFields"][0]["operation"] = json!("Apply");
        let moved = track_update(Some(&stored), change, writer("kubectl", "", "t2"), &Apps);
        assert_eq!(moved["metadata"]["managedFields"][0]["operation"], "Apply");
        assert_eq!(moved["metadata"]["managedFields"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_mutated_field_leaves_apply_entries_too() {
        let stored = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "uid": "u",
            "managedFields": [{"manager": "ssa", "operation": "Apply", "apiVersion": "apps/v1", "time": "t1",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}}}]},
            "spec": {"replicas": 1, "paused": true}});
        let mut change = stored.clone();
        change["spec"]["replicas"] = json!(2);
        let changed = track_update(Some(&stored), change, writer("kubectl-scale", "", "t2"), &Apps);
        assert_eq!(fields_of(&changed, "ssa"), json!({"f:spec": {"f:paused": {}}}));
        assert_eq!(
            fields_of(&changed, "kubectl-scale"),
            json!({"f:spec": {"f:replicas": {}}})
        );
    }

    #[test]
    fn old_update_entries_become_ancient() {
        let mut stored = track_update(None, deployment(0), writer("m00", "", "t00"), &Apps);
        stored["metadata"]["uid"] = json!("u");
        for i in 1..15 {
            let mut change = stored.clone();
            change["metadata"]["labels"][format!("l{i}")] = json!("x");
            stored = track_update(
                Some(&stored),
                change,
                writer(&format!("m{i:02}"), "", &format!("t{i:02}")),
                &Apps,
            );
        }
        let managers: Vec<String> = stored["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["manager"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(managers.len(), 10);
        assert_eq!(managers[0], "ancient-changes");
    }

    #[test]
    fn versions_no_longer_served_disappear() {
        let stored = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "c", "uid": "u",
            "managedFields": [
                {"manager": "gone", "operation": "Update", "apiVersion": "flagger.app/v1alpha1", "time": "t0",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:x": {}}}},
                {"manager": "old", "operation": "Update", "apiVersion": "flagger.app/v1alpha3", "time": "t0",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:old": {}, "f:other": {}}}}]},
            "spec": {"x": 1}});
        let mut change = stored.clone();
        change["spec"]["x"] = json!(2);
        let changed = track_update(Some(&stored), change, writer("m", "", "t2"), &CANARY);
        assert_eq!(fields_of(&changed, "gone"), Value::Null);
        assert_eq!(
            fields_of(&changed, "old"),
            json!({"f:spec": {"f:other": {}}}),
            "compared in its own version"
        );
    }

    #[test]
    fn noop_ignores_times_only() {
        let a = track_update(None, deployment(3), writer("a", "", "t1"), &Apps);
        let b = track_update(None, deployment(3), writer("a", "", "t2"), &Apps);
        assert!(is_noop(&a, &b));
        assert!(!is_noop(
            &a,
            &track_update(None, deployment(3), writer("b", "", "t1"), &Apps)
        ));
        assert!(!is_noop(
            &a,
            &track_update(None, deployment(4), writer("a", "", "t1"), &Apps)
        ));
    }
}
