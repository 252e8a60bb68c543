//! Server-side apply (KEP-555), content type `application/apply-patch+yaml`.
//!
//! Owns the merge of an applied configuration, conflicts, removal of what a manager stopped applying, and the move
//! from client-side to server-side apply. Promises kube-apiserver's words for every refusal.

use serde_json::{Value, json};

use super::fields::{FieldSet, PathElement, path_text};
use super::managed::{self, Managed, Operation, Owned, Owner, Writer};
use super::typed::{self, Type};
use super::{Cause, KindRef, PatchError};
use crate::schema::Schema;

/// The annotation of client-side `kubectl apply`.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What server-side apply must know of an object's API versions. Implemented by the API server.
pub trait Versions {
    /// Schema of the kind in `api_version`: for built-in kinds [`crate::schema::builtin::schema`]; for custom
    /// resources [`crate::schema::crd::typed`]'s value of that version. [`Schema::UNKNOWN`] makes everything
    /// deduced (maps granular, lists atomic). `None`: the version is not served any more.
    fn schema(&self, api_version: &str) -> Option<Schema<'_>>;

    /// `object` converted to `api_version`; objects handed in can be partial (only some fields set). Called only
    /// when the versions differ.
    fn convert(&self, object: &Value, api_version: &str) -> Result<Value, String>;

    /// Whether the kind has a status subresource: then `status` is not owned through the main resource.
    fn has_status(&self) -> bool {
        true
    }
}

/// One apply request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The stored object with its managedFields, in the apiVersion of `config`; `None` creates.
    pub live: Option<&'a Value>,
    /// The applied configuration, as decoded from the body.
    pub config: &'a Value,
    /// Who applies.
    pub writer: Writer<'a>,
    /// `force=true`.
    pub force: bool,
}

/// A refused merge.
enum Stop {
    Conflicts(Vec<(Owner, FieldSet)>),
    Error(PatchError),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Error(plain_error(why))
    }
}

/// kube-apiserver's answer to an error of its own: 500 without a reason.
fn plain_error(message: String) -> PatchError {
    PatchError {
        code: 500,
        reason: "",
        message,
        causes: Vec::new(),
    }
}

/// Merges an applied configuration into the live object and records ownership.
///
/// The result has its managedFields set; store it unless [`managed::is_noop`] says that nothing changed (a repeated
/// apply keeps times and resourceVersion). Refuses with 400 for a configuration that carries managedFields, 409
/// with `FieldManagerConflict` causes, 500 (as kube-apiserver) for undeclared fields, wrong types, and lists whose
/// items lack their keys or repeat them.
///
/// Afterwards the API server defaults, admits and validates as for an update; it does not call
/// [`managed::track_update`].
pub fn apply(request: Request<'_>, versions: &dyn Versions) -> Result<Value, PatchError> {
    let config = request.config;
    let api_version = config
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if managed::entries(config).is_some_and(|m| !m.is_null()) {
        return Err(PatchError::bad_request("metadata.managedFields must be nil"));
    }
    let Some(schema) = versions.schema(api_version) else {
        return Err(PatchError::bad_request(format!(
            "invalid object type: {}",
            gvk(config)
        )));
    };
    let ty = Type::of(schema);
    let problems = typed::problems(ty, config);
    if !problems.is_empty() {
        return Err(plain_error(format!(
            "failed to create typed patch object ({}; {}): {}",
            namespaced_name(config),
            gvk(config),
            joined(&problems)
        )));
    }
    let empty = managed::empty(config);
    let live = request.live.map_or_else(|| stub(config), managed::without);
    let mut before = match request.live {
        Some(stored) => managed::decode(managed::entries(stored))
            .ok_or_else(|| plain_error("failed to decode managed fields".to_owned()))?,
        None => Managed::new(),
    };
    if before.is_empty() && request.live.is_some() {
        let writer = Writer {
            manager: "before-first-apply",
            ..request.writer
        };
        before = managed::track(&empty, &live, before, writer, versions).map_err(plain_error)?;
    }
    let config = without_nulls(ty, config);
    let merge = Merge {
        live: &live,
        config: &config,
        ty,
        api_version,
        writer: request.writer,
        versions,
    };
    let outcome = match merge.run(before.clone(), request.force) {
        Err(Stop::Conflicts(conflicts)) if request.writer.manager == "kubectl" => {
            let allowed = merge.last_applied_fields();
            let left: Vec<(Owner, FieldSet)> = conflicts
                .into_iter()
                .map(|(owner, fields)| (owner, fields.difference(&allowed)))
                .filter(|(_, fields)| !fields.is_empty())
                .collect();
            if left.is_empty() {
                merge.run(before, true)
            } else {
                Err(Stop::Conflicts(left))
            }
        }
        other => other,
    };
    match outcome {
        Ok(object) => Ok(object),
        Err(Stop::Conflicts(conflicts)) => Err(conflict_error(&conflicts)),
        Err(Stop::Error(error)) => Err(error),
    }
}

struct Merge<'a> {
    live: &'a Value,
    config: &'a Value,
    ty: Type<'a>,
    api_version: &'a str,
    writer: Writer<'a>,
    versions: &'a dyn Versions,
}

impl Merge<'_> {
    fn run(&self, mut managed: Managed, force: bool) -> Result<Value, Stop> {
        let owner = Owner::new(self.writer, Operation::Apply, self.api_version);
        let ignored = managed::reset_fields(self.writer.subresource, self.versions);
        let merged = typed::merge(self.ty, self.live, self.config);
        let last = managed.get(&owner).cloned();
        let fields = typed::field_set(self.ty, self.config).recursive_difference(&ignored);
        let time = last.as_ref().and_then(|l| l.time.clone());
        managed.insert(
            owner.clone(),
            Owned {
                api_version: self.api_version.to_owned(),
                fields,
                time,
            },
        );
        let new = match last.filter(|l| !l.fields.is_empty()) {
            Some(last) => self.prune(&merged, &managed, &last)?,
            None => merged,
        };
        let effect = managed::others(
            self.live,
            &new,
            self.api_version,
            &mut managed,
            Some(&owner),
            &ignored,
            self.versions,
        )?;
        if !force && !effect.conflicts.is_empty() {
            return Err(Stop::Conflicts(effect.conflicts));
        }
        managed::settle(&mut managed, &effect.conflicts);
        if let Some(owned) = managed.get_mut(&owner) {
            owned.fields = owned.fields.difference(&managed::unowned());
            if new != *self.live {
                owned.time = Some(self.writer.now.to_owned());
            }
        }
        managed.retain(|_, owned| !owned.fields.is_empty());
        let mut object = new;
        self.refresh_last_applied(&mut object);
        managed::set(&mut object, &managed);
        Ok(object)
    }

    /// Removes what the manager applied last time and nobody owns now.
    fn prune(&self, merged: &Value, managed: &Managed, last: &Owned) -> Result<Value, Stop> {
        let version = &last.api_version;
        let Some(schema) = self.versions.schema(version) else {
            return Ok(merged.clone());
        };
        let ty = Type::of(schema);
        let converted = managed::convert(merged, version, self.versions)
            .map_err(|e| format!("failed to convert merged object to last applied version: {e}"))?;
        let last_fields = typed::with_named_fields(ty, &last.fields);
        let bare = typed::remove(ty, &converted, &last_fields).unwrap_or_else(|| stub(&converted));
        let pruned = self.add_back_owned(&converted, bare, version, managed)?;
        // Only what was applied last time may go: give back everything else.
        let pruned = managed::convert(&pruned, version, self.versions)
            .map_err(|e| format!("failed to convert pruned object to last applied version: {e}"))?;
        let left = typed::with_named_fields(ty, &typed::field_set(ty, &pruned));
        let all = typed::with_named_fields(ty, &typed::field_set(ty, &converted));
        let going = all.difference(&left).intersection(&last_fields);
        let pruned = typed::remove(ty, &converted, &going).unwrap_or_else(|| stub(&converted));
        managed::convert(&pruned, self.api_version, self.versions).map_err(Stop::from)
    }

    /// Gives back what any manager owns, version by version, the last applied one first.
    fn add_back_owned(
        &self,
        merged: &Value,
        pruned: Value,
        first: &str,
        managed: &Managed,
    ) -> Result<Value, Stop> {
        let mut versions: Vec<&str> = vec![first];
        for owned in managed.values() {
            if !versions.contains(&owned.api_version.as_str()) {
                versions.push(&owned.api_version);
            }
        }
        let mut merged = merged.clone();
        let mut pruned = pruned;
        for version in versions {
            let owned = managed
                .values()
                .filter(|o| o.api_version == version)
                .fold(FieldSet::default(), |all, o| all.union(&o.fields));
            let Some(schema) = self.versions.schema(version) else {
                continue;
            };
            let ty = Type::of(schema);
            merged = managed::convert(&merged, version, self.versions)
                .map_err(|e| format!("failed to convert merged object at version {version}: {e}"))?;
            pruned = managed::convert(&pruned, version, self.versions)
                .map_err(|e| format!("failed to convert pruned object at version {version}: {e}"))?;
            let all = typed::with_named_fields(ty, &typed::field_set(ty, &merged));
            let kept = typed::with_named_fields(ty, &typed::field_set(ty, &pruned))
                .union(&typed::with_named_fields(ty, &owned));
            pruned = typed::remove(ty, &merged, &all.difference(&kept)).unwrap_or_else(|| stub(&merged));
        }
        Ok(pruned)
    }

    /// Fields of the client-side applied configuration that still have its values: `kubectl apply --server-side` may
    /// take them over without a conflict.
    fn last_applied_fields(&self) -> FieldSet {
        let text = self
            .live
            .pointer("/metadata/annotations")
            .and_then(|a| a.get(LAST_APPLIED))
            .and_then(Value::as_str);
        let Some(applied) = text.and_then(|t| serde_json::from_str::<Value>(t).ok()) else {
            return FieldSet::default();
        };
        if applied.get("apiVersion").and_then(Value::as_str) != Some(self.api_version) {
            return FieldSet::default();
        }
        let change = typed::compare(self.ty, &applied, self.live);
        typed::field_set(self.ty, &applied)
            .difference(&change.modified)
            .difference(&change.added)
            .difference(&change.removed)
    }

    /// Keeps the annotation of client-side apply fresh, so that a user can go back to it.
    fn refresh_last_applied(&self, object: &mut Value) {
        if self.writer.manager != "kubectl" {
            return;
        }
        let annotation = object
            .pointer_mut("/metadata/annotations")
            .and_then(|a| a.get_mut(LAST_APPLIED));
        let Some(annotation) = annotation.filter(|a| a.as_str().is_some_and(|t| !t.is_empty())) else {
            return;
        };
        let mut applied = self.config.clone();
        if let Some(annotations) = applied
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.shift_remove(LAST_APPLIED);
        }
        applied.sort_all_objects();
        *annotation = json!(format!("{applied}\n"));
    }
}

/// What is left of an object when everything is taken away.
fn stub(object: &Value) -> Value {
    json!({"apiVersion": object.get("apiVersion"), "kind": object.get("kind")})
}

/// A configuration without `null`s where the type does not allow them: Kubernetes' decoder drops them.
fn without_nulls(ty: Type<'_>, config: &Value) -> Value {
    fn walk(schema: Schema<'_>, value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|name, value| {
                    let member = schema.member(name);
                    !value.is_null() || member.node().is_none() || member.flag("nullable")
                });
                for (name, value) in members {
                    walk(schema.member(name), value);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| walk(schema.items(), item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut copy = config.clone();
    if let Type::Known(schema) = ty {
        walk(schema, &mut copy);
    }
    copy
}

fn gvk(object: &Value) -> String {
    KindRef::of(object).map_or_else(String::new, |k| format!("{}, Kind={}", k.api_version(), k.kind))
}

fn namespaced_name(object: &Value) -> String {
    let part = |name: &str| object.pointer(name).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", part("/metadata/namespace"), part("/metadata/name"))
}

fn joined(problems: &[String]) -> String {
    match problems {
        [only] => only.clone(),
        several => {
            let lines: Vec<String> = several.iter().map(|p| format!("  {p}")).collect();
            format!("errors:\n{}", lines.join("\n"))
        }
    }
}

fn conflict_error(conflicts: &[(Owner, FieldSet)]) -> PatchError {
    let paths: Vec<(&Owner, Vec<PathElement>)> = conflicts
        .iter()
        .flat_map(|(owner, fields)| fields.paths().into_iter().map(move |p| (owner, p)))
        .collect();
    let causes = paths
        .iter()
        .map(|(owner, path)| Cause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {}", owner.text()),
            field: path_text(path),
        })
        .collect();
    let message = if let [(owner, path)] = paths.as_slice() {
        format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            owner.text(),
            path_text(path)
        )
    } else {
        let mut lines = Vec::new();
        for (owner, fields) in conflicts {
            lines.push(format!("conflicts with {}:", owner.text()));
            lines.extend(fields.paths().iter().map(|p| format!("- {}", path_text(p))));
        }
        format!(
            "Apply failed with {} conflicts: {}",
            paths.len(),
            lines.join("\n")
        )
    };
    PatchError {
        code: 409,
        reason: "Conflict",
        message,
        causes,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::schema::builtin;

    /// Built-in kinds.
    pub(crate) struct Apps;

    impl Versions for Apps {
        fn schema(&self, api_version: &str) -> Option<Schema<'_>> {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            ["Deployment", "Service", "Pod", "ConfigMap"]
                .iter()
                .find_map(|kind| builtin::schema(&KindRef::new(group, version, kind)))
        }

        fn convert(&self, _: &Value, api_version: &str) -> Result<Value, String> {
            Err(format!("no conversion to {api_version}"))
        }
    }

    /// A custom kind with two versions: `spec.old` of v1alpha3 is `spec.x` of v1beta1.
    pub(crate) struct Canary;
    pub(crate) const CANARY: Canary = Canary;

    impl Versions for Canary {
        fn schema(&self, api_version: &str) -> Option<Schema<'_>> {
            matches!(api_version, "flagger.app/v1alpha3" | "flagger.app/v1beta1").then_some(Schema::UNKNOWN)
        }

        fn convert(&self, object: &Value, api_version: &str) -> Result<Value, String> {
            let mut copy = object.clone();
            copy["apiVersion"] = json!(api_version);
            let (from, to) = if api_version.ends_with("v1alpha3") {
                ("x", "old")
            } else {
                ("old", "x")
            };
            if let Some(spec) = copy.get_mut("spec").and_then(Value::as_object_mut)
                && let Some(value) = spec.remove(from)
            {
                spec.insert(to.to_owned(), value);
            }
            Ok(copy)
        }
    }

    pub(crate) fn deployment(replicas: i64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "podinfo", "namespace": "test", "labels": {"app": "podinfo"}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "podinfo"}},
                "template": {
                    "metadata": {"labels": {"app": "podinfo"}},
                    "spec": {"containers": [{"name": "app", "image": "podinfo:1",
                        "ports": [{"containerPort": 80, "protocol": "TCP"}]}]},
                },
            },
        })
    }

    fn request<'a>(
        live: Option<&'a Value>,
        config: &'a Value,
        manager: &'a str,
        now: &'a str,
    ) -> Request<'a> {
        Request {
            live,
            config,
            writer: Writer {
                manager,
                subresource: "",
                now,
            },
            force: false,
        }
    }

    fn applied(live: Option<&Value>, config: &Value, manager: &str) -> Value {
        let mut object = apply(request(live, config, manager, "t1"), &Apps).unwrap();
        object["metadata"]["uid"] = json!("u");
        object
    }

    /// A partial Deployment with this spec.
    fn spec(spec: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "podinfo", "namespace": "test"},
            "spec": spec})
    }

    fn containers(items: &Value) -> Value {
        spec(&json!({"template": {"spec": {"containers": items}}}))
    }

    fn names(object: &Value) -> Vec<&str> {
        object["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap())
            .collect()
    }

    fn owned(object: &Value, manager: &str) -> Value {
        object["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["manager"] == manager && e["operation"] == "Apply")
            .map_or(Value::Null, |e| e["fieldsV1"].clone())
    }

    #[test]
    fn creation() {
        let object = applied(None, &spec(&json!({"replicas": 1})), "me");
        assert_eq!(object["spec"], json!({"replicas": 1}));
        assert_eq!(
            object["metadata"]["managedFields"],
            json!([{"manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "time": "t1",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}])
        );
    }

    #[test]
    fn conflicts() {
        let live = applied(None, &deployment(3), "me");
        let other = spec(&json!({"replicas": 5, "paused": true}));
        let refusal = apply(request(Some(&live), &other, "you", "t2"), &Apps).unwrap_err();
        assert_eq!((refusal.code, refusal.reason), (409, "Conflict"));
        assert_eq!(
            refusal.message,
            r#"Apply failed with 1 conflict: conflict with "me": .spec.replicas"#
        );
        assert_eq!(
            refusal.causes,
            [Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: r#"conflict with "me""#.to_owned(),
                field: ".spec.replicas".to_owned()
            }]
        );
        let two = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "podinfo", "labels": {"app": "other"}},
            "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "podinfo:2"}]}}}});
        let refusal = apply(request(Some(&live), &two, "you", "t2"), &Apps).unwrap_err();
        assert_eq!(
            refusal.message,
            "Apply failed with 2 conflicts: conflicts with \"me\":\n- .metadata.labels.app\n\
             - .spec.template.spec.containers[name=\"app\"].image"
        );
        let forced = apply(
            Request {
                force: true,
                ..request(Some(&live), &other, "you", "t2")
            },
            &Apps,
        )
        .unwrap();
        assert_eq!(forced["spec"]["replicas"], 5);
        assert_eq!(
            owned(&forced, "you"),
            json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})
        );
        assert_eq!(owned(&forced, "me").pointer("/f:spec/f:replicas"), None);
    }

    #[test]
    fn conflicts_with_update_entries_name_version_and_subresource() {
        let created = managed::track_update(
            None,
            deployment(3),
            Writer {
                manager: "kubectl",
                subresource: "",
                now: "t1",
            },
            &Apps,
        );
        let other = spec(&json!({"replicas": 5}));
        let refusal = apply(request(Some(&created), &other, "you", "t2"), &Apps).unwrap_err();
        assert_eq!(
            refusal.message,
            r#"Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas"#
        );
        let mut scaled = created.clone();
        scaled["spec"]["replicas"] = json!(4);
        let scaled = managed::track_update(
            Some(&created),
            scaled,
            Writer {
                manager: "hpa",
                subresource: "scale",
                now: "t1",
            },
            &Apps,
        );
        let refusal = apply(request(Some(&scaled), &other, "you", "t2"), &Apps).unwrap_err();
        assert_eq!(
            refusal.message,
            r#"Apply failed with 1 conflict: conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas"#
        );
    }

    #[test]
    fn equal_values_are_shared_and_outlive_one_owner() {
        let live = applied(None, &spec(&json!({"replicas": 1, "paused": true})), "a");
        let live = applied(Some(&live), &spec(&json!({"replicas": 1})), "b");
        assert_eq!(
            owned(&live, "a"),
            json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})
        );
        assert_eq!(owned(&live, "b"), json!({"f:spec": {"f:replicas": {}}}));
        // a stops applying both: paused goes, replicas stays, b owns it.
        let live = applied(Some(&live), &spec(&json!({"minReadySeconds": 1})), "a");
        assert_eq!(live["spec"], json!({"replicas": 1, "minReadySeconds": 1}));
        // b stops too: nobody owns replicas.
        let live = applied(
            Some(&live),
            &json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "podinfo", "labels": {"b": "1"}}}),
            "b",
        );
        assert_eq!(live["spec"], json!({"minReadySeconds": 1}));
    }

    #[test]
    fn repeated_apply_changes_nothing() {
        let live = applied(None, &deployment(3), "me");
        let again = apply(request(Some(&live), &deployment(3), "me", "t9"), &Apps).unwrap();
        assert_eq!(again, live);
        assert!(managed::is_noop(&live, &again));
        let changed = apply(request(Some(&live), &deployment(4), "me", "t9"), &Apps).unwrap();
        assert_eq!(changed["metadata"]["managedFields"][0]["time"], "t9");
    }

    #[test]
    fn fields_that_nobody_owned_stay() {
        let mut live = applied(None, &spec(&json!({"replicas": 1, "paused": true})), "a");
        live["spec"]["progressDeadlineSeconds"] = json!(600);
        let live = applied(Some(&live), &spec(&json!({"replicas": 1})), "a");
        assert_eq!(
            live["spec"],
            json!({"replicas": 1, "progressDeadlineSeconds": 600})
        );
    }

    #[test]
    fn list_items_by_key() {
        let live = applied(
            None,
            &containers(&json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])),
            "me",
        );
        // Another manager adds one and a field of another.
        let live = applied(
            Some(&live),
            &containers(&json!([{"name": "c", "image": "1"}, {"name": "b", "tty": true}])),
            "you",
        );
        assert_eq!(names(&live), ["a", "c", "b"]);
        // The first manager drops both of its items: the one with another's field stays, without its own fields.
        let live = applied(
            Some(&live),
            &containers(&json!([{"name": "d", "image": "1"}])),
            "me",
        );
        assert_eq!(names(&live), ["c", "b", "d"]);
        assert_eq!(
            live["spec"]["template"]["spec"]["containers"][1],
            json!({"name": "b", "tty": true})
        );
    }

    #[test]
    fn order_of_list_items_follows_the_applied() {
        let live = applied(
            None,
            &containers(&json!([{"name": "a"}, {"name": "b"}, {"name": "c"}])),
            "me",
        );
        for (order, expected) in [
            (vec!["c", "b", "a"], vec!["c", "b", "a"]),
            (vec!["b", "a", "c"], vec!["b", "a", "c"]),
            (vec!["x", "a", "b", "c"], vec!["x", "a", "b", "c"]),
        ] {
            let items: Vec<Value> = order.iter().map(|n| json!({"name": n})).collect();
            let next = applied(Some(&live), &containers(&json!(items)), "me");
            assert_eq!(names(&next), expected);
        }
        let other = applied(
            Some(&live),
            &containers(&json!([{"name": "c"}, {"name": "x"}])),
            "you",
        );
        assert_eq!(names(&other), ["a", "b", "c", "x"]);
    }

    #[test]
    fn ports_default_their_protocol_key() {
        let one = |port: Value| containers(&json!([{"name": "a", "ports": [port]}]));
        let live = applied(None, &one(json!({"containerPort": 80, "protocol": "TCP"})), "me");
        let live = applied(
            Some(&live),
            &one(json!({"containerPort": 80, "name": "http"})),
            "you",
        );
        let ports = &live["spec"]["template"]["spec"]["containers"][0]["ports"];
        assert_eq!(
            ports,
            &json!([{"containerPort": 80, "protocol": "TCP", "name": "http"}])
        );
        let live = applied(
            Some(&live),
            &one(json!({"containerPort": 80, "protocol": "UDP"})),
            "you",
        );
        let ports = &live["spec"]["template"]["spec"]["containers"][0]["ports"];
        assert_eq!(ports.as_array().unwrap().len(), 2);
    }

    #[test]
    fn atomic_values_have_one_owner() {
        let tolerate = |key: &str| spec(&json!({"template": {"spec": {"tolerations": [{"key": key}]}}}));
        let live = applied(None, &tolerate("a"), "me");
        let refusal = apply(request(Some(&live), &tolerate("b"), "you", "t2"), &Apps).unwrap_err();
        assert!(
            refusal.message.ends_with(".spec.template.spec.tolerations"),
            "{refusal}"
        );
        let selector = |value: &str| spec(&json!({"selector": {"matchLabels": {"app": value}}}));
        let live = applied(None, &selector("a"), "me");
        let refusal = apply(request(Some(&live), &selector("b"), "you", "t2"), &Apps).unwrap_err();
        assert!(refusal.message.ends_with(".spec.selector"), "{refusal}");
    }

    #[test]
    fn sets_are_shared_by_value() {
        let finalizers = |items: &[&str]| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "podinfo", "finalizers": items}})
        };
        let live = applied(None, &finalizers(&["a/1"]), "me");
        let live = applied(Some(&live), &finalizers(&["b/1"]), "you");
        assert_eq!(live["metadata"]["finalizers"], json!(["a/1", "b/1"]));
        let live = applied(Some(&live), &finalizers(&["c/1"]), "me");
        assert_eq!(live["metadata"]["finalizers"], json!(["b/1", "c/1"]));
    }

    #[test]
    fn label_removal_leaves_others_labels() {
        let labels = |labels: &Value| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "podinfo", "labels": labels}})
        };
        let live = applied(None, &labels(&json!({"a": "1", "b": "1"})), "me");
        let live = applied(Some(&live), &labels(&json!({"c": "1"})), "you");
        let live = applied(Some(&live), &labels(&json!({"a": "1"})), "me");
        assert_eq!(live["metadata"]["labels"], json!({"a": "1", "c": "1"}));
        let live = applied(
            Some(&live),
            &json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "podinfo", "annotations": {"x": "y"}}}),
            "me",
        );
        assert_eq!(live["metadata"]["labels"], json!({"c": "1"}));
    }

    #[test]
    fn status_is_not_owned_through_the_main_resource() {
        let mut config = spec(&json!({"replicas": 1}));
        config["status"] = json!({"replicas": 1});
        let live = applied(None, &config, "me");
        assert_eq!(owned(&live, "me"), json!({"f:spec": {"f:replicas": {}}}));
    }

    #[test]
    fn refusals() {
        let rows = [
            (
                spec(&json!({"foo": 1})),
                ".spec.foo: field not declared in schema",
            ),
            (
                containers(&json!([{"name": "a"}, {"name": "a"}])),
                r#".spec.template.spec.containers: duplicate entries for key [name="a"]"#,
            ),
            (
                containers(&json!([{"image": "a"}])),
                r#".spec.template.spec.containers: element 0: associative list with keys has an element that omits all key fields ["name"] (and doesn't have default values for any key fields)"#,
            ),
            (
                containers(&json!({"name": "a"})),
                ".spec.template.spec.containers: expected list, got &{map[name:a]}",
            ),
            (
                spec(&json!({"replicas": "3"})),
                ".spec.replicas: expected numeric (int or float), got string",
            ),
            (
                spec(&json!({"paused": 3})),
                ".spec.paused: expected boolean, got &{3}",
            ),
            (
                containers(&json!([{"name": "a", "env": [{"name": "X", "value": true}]}])),
                r#".spec.template.spec.containers[name="a"].env[name="X"].value: expected string, got &value.valueUnstructured{Value:true}"#,
            ),
        ];
        for (config, expected) in rows {
            let refusal = apply(request(None, &config, "me", "t1"), &Apps).unwrap_err();
            assert_eq!(
                refusal.message,
                format!(
                    "failed to create typed patch object (test/podinfo; apps/v1, Kind=Deployment): {expected}"
                )
            );
            assert_eq!(refusal.code, 500);
        }
        let mut config = spec(&json!({}));
        config["metadata"]["managedFields"] = json!([]);
        let refusal = apply(request(None, &config, "me", "t1"), &Apps).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.message.as_str()),
            (400, "metadata.managedFields must be nil")
        );
    }

    #[test]
    fn untracked_objects_get_before_first_apply() {
        let mut live = deployment(3);
        live["metadata"]["uid"] = json!("u");
        let refusal = apply(
            request(Some(&live), &spec(&json!({"replicas": 4})), "me", "t1"),
            &Apps,
        )
        .unwrap_err();
        assert_eq!(
            refusal.message,
            r#"Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas"#
        );
        let same = apply(
            request(Some(&live), &spec(&json!({"replicas": 3})), "me", "t1"),
            &Apps,
        )
        .unwrap();
        assert_eq!(same["metadata"]["managedFields"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn client_side_applied_fields_may_be_taken_over() {
        let mut live = deployment(3);
        live["metadata"]["annotations"] = json!({LAST_APPLIED: deployment(3).to_string()});
        let live = managed::track_update(
            None,
            live,
            Writer {
                manager: "kubectl-client-side-apply",
                subresource: "",
                now: "t1",
            },
            &Apps,
        );
        let taken = apply(request(Some(&live), &deployment(5), "kubectl", "t2"), &Apps).unwrap();
        assert_eq!(taken["spec"]["replicas"], 5);
        let annotation = taken["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
        assert!(
            annotation.contains(r#""replicas":5"#) && annotation.ends_with('\n'),
            "{annotation}"
        );
        // Another manager may not, and a value changed since is a conflict.
        assert_eq!(
            apply(request(Some(&live), &deployment(5), "argo", "t2"), &Apps)
                .unwrap_err()
                .code,
            409
        );
        let mut scaled = live.clone();
        scaled["spec"]["replicas"] = json!(8);
        let scaled = managed::track_update(
            Some(&live),
            scaled,
            Writer {
                manager: "hpa",
                subresource: "scale",
                now: "t2",
            },
            &Apps,
        );
        let refusal = apply(request(Some(&scaled), &deployment(5), "kubectl", "t3"), &Apps).unwrap_err();
        assert!(refusal.message.contains(r#"conflict with "hpa""#), "{refusal}");
    }

    #[test]
    fn versions_are_compared_each_in_its_own() {
        let canary = |version: &str, spec: &Value| {
            json!({"apiVersion": format!("flagger.app/{version}"),
            "kind": "Canary", "metadata": {"name": "c", "namespace": "test"}, "spec": spec})
        };
        let live = apply(
            request(
                None,
                &canary("v1alpha3", &json!({"old": 1, "kept": 1})),
                "me",
                "t1",
            ),
            &CANARY,
        )
        .unwrap();
        let mut live = CANARY.convert(&live, "flagger.app/v1beta1").unwrap();
        live["metadata"]["uid"] = json!("u");
        let config = canary("v1beta1", &json!({"x": 2}));
        let refusal = apply(request(Some(&live), &config, "you", "t2"), &CANARY).unwrap_err();
        assert_eq!(
            refusal.message, r#"Apply failed with 1 conflict: conflict with "me": .spec.old"#,
            "the path in its version"
        );
        // The same manager in the newer version drops a field it applied in the older one.
        let next = apply(request(Some(&live), &config, "me", "t2"), &CANARY).unwrap();
        assert_eq!(next["spec"], json!({"x": 2}));
        assert_eq!(
            next["metadata"]["managedFields"][0]["apiVersion"],
            "flagger.app/v1beta1"
        );
    }

    #[test]
    fn nulls_are_dropped_where_the_type_has_none() {
        let mut config = spec(&json!({"replicas": 1, "paused": null}));
        config["metadata"]["creationTimestamp"] = Value::Null;
        let live = applied(None, &config, "me");
        assert_eq!(live["spec"], json!({"replicas": 1}));
        assert_eq!(owned(&live, "me"), json!({"f:spec": {"f:replicas": {}}}));
    }
}
