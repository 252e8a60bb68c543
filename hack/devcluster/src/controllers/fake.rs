//! An in-memory API for tests of controllers and pods: storage, watches, optimistic locking, finalizers, graceful
//! deletion of pods. No admission, no defaulting, no validation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::drive::now;
use super::object::{
    AUTOSCALERS, CONFIG_MAPS, CONTROLLER_REVISIONS, DAEMON_SETS, DEFINITIONS, DEPLOYMENTS, ENDPOINTS, EVENTS,
    NAMESPACES, NODES, PODS, REPLICA_SETS, SECRETS, SERVICE_ACCOUNTS, SERVICES, SLICES, deleting, list, name,
    namespace, stamp, text, uid, version,
};
use crate::client::{ApiError, Backend, Change, Client, Resource};

type Id = (Resource, String, String);

#[derive(Default)]
struct State {
    objects: BTreeMap<Id, Value>,
    watches: Vec<(Resource, mpsc::UnboundedSender<Change>)>,
    clock: u64,
    writes: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

fn refusal(code: u16, reason: &str, message: String) -> ApiError {
    ApiError {
        code,
        reason: reason.to_owned(),
        message,
    }
}

fn missing((resource, space, name): &Id) -> ApiError {
    refusal(
        404,
        "NotFound",
        format!("{} \"{space}/{name}\" not found", resource.plural),
    )
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().shift_remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

impl State {
    fn tell(&mut self, resource: Resource, change: &Change) {
        self.watches
            .retain(|(watched, to)| *watched != resource || to.send(change.clone()).is_ok());
    }

    /// Stores a changed object, or drops it when nothing holds it any more.
    fn store(&mut self, id: &Id, mut object: Value) -> Value {
        if self.objects.get(id) == Some(&object) {
            return object;
        }
        self.clock += 1;
        object["metadata"]["resourceVersion"] = json!(self.clock.to_string());
        let held = !list(&object, "/metadata/finalizers").is_empty()
            || !list(&object, "/spec/finalizers").is_empty()
            || (id.0 == PODS && object["metadata"]["deletionGracePeriodSeconds"] != json!(0));
        self.writes.push(format!("{} {}", id.0.plural, id.2));
        if deleting(&object) && !held {
            self.objects.remove(id);
            self.tell(id.0, &Change::Deleted(object.clone()));
        } else {
            self.objects.insert(id.clone(), object.clone());
            self.tell(id.0, &Change::Applied(object.clone()));
        }
        object
    }
}

impl Fake {
    pub(crate) fn client(&self) -> Client {
        Arc::new(self.clone())
    }

    fn id(resource: Resource, space: &str, name: &str) -> Id {
        let space = if matches!(
            resource.plural,
            "namespaces" | "nodes" | "customresourcedefinitions"
        ) {
            ""
        } else {
            space
        };
        (resource, space.to_owned(), name.to_owned())
    }

    pub(crate) fn writes(&self) -> Vec<String> {
        self.0.lock().unwrap().writes.clone()
    }

    fn change(&self, resource: Resource, sub: &str, mut object: Value) -> Result<Value, ApiError> {
        let mut state = self.0.lock().unwrap();
        let id = Self::id(resource, namespace(&object), name(&object));
        let current = state.objects.get(&id).ok_or_else(|| missing(&id))?.clone();
        if !version(&object).is_empty() && version(&object) != version(&current) {
            return Err(refusal(
                409,
                "Conflict",
                format!("{} has been modified", name(&object)),
            ));
        }
        let mut next = current.clone();
        match sub {
            "status" => {
                next["status"] = object["status"].take();
                if let Some(annotations) = object["metadata"].get_mut("annotations") {
                    next["metadata"]["annotations"] = annotations.take();
                }
            }
            "finalize" => next["spec"]["finalizers"] = object["spec"]["finalizers"].take(),
            "scale" => next["spec"]["replicas"] = object["spec"]["replicas"].take(),
            _ => {
                next = object;
                for key in ["status"] {
                    match current.get(key) {
                        Some(kept) if resource != PODS => next[key] = kept.clone(),
                        _ => {}
                    }
                }
            }
        }
        next["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
        if next.get("spec") != current.get("spec") {
            next["metadata"]["generation"] =
                json!(current["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        Ok(state.store(&id, next))
    }

    /// Waits until an object of a kind satisfies a predicate; panics with what it last was.
    pub(crate) async fn until(
        &self,
        resource: Resource,
        (space, title): (&str, &str),
        what: &str,
        holds: impl Fn(Option<&Value>) -> bool,
    ) {
        let mut changes = self.watch(resource);
        let wait = async {
            loop {
                let current = self.get(resource, space, title).await.ok();
                if holds(current.as_ref()) {
                    return;
                }
                changes.next().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), wait).await.is_err() {
            let current = self.get(resource, space, title).await;
            panic!("{what}: {} {title} is {current:#?}", resource.plural);
        }
    }
}

impl Backend for Fake {
    fn get<'a>(
        &'a self,
        resource: Resource,
        space: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        let id = Self::id(resource, space, name);
        async move {
            self.0
                .lock()
                .unwrap()
                .objects
                .get(&id)
                .cloned()
                .ok_or_else(|| missing(&id))
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        resource: Resource,
        space: &'a str,
        selector: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Value>, ApiError>> {
        assert_eq!(selector, "", "the controllers select by themselves");
        async move {
            let state = self.0.lock().unwrap();
            let all = state
                .objects
                .iter()
                .filter(|(id, _)| id.0 == resource && (space.is_empty() || id.1 == space));
            Ok(all.map(|(_, object)| object.clone()).collect())
        }
        .boxed()
    }

    fn create<'a>(
        &'a self,
        resource: Resource,
        space: &'a str,
        mut object: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        async move {
            let mut state = self.0.lock().unwrap();
            state.clock += 1;
            if name(&object).is_empty() {
                let title = format!("{}{:05}", text(&object, "/metadata/generateName"), state.clock);
                object["metadata"]["name"] = json!(title);
            }
            let id = Self::id(resource, space, name(&object));
            if state.objects.contains_key(&id) {
                return Err(refusal(409, "AlreadyExists", format!("{} already exists", id.2)));
            }
            if !id.1.is_empty() {
                object["metadata"]["namespace"] = json!(space);
            }
            object["metadata"]["uid"] = json!(uuid::Uuid::new_v4().to_string());
            object["metadata"]["creationTimestamp"] = json!(stamp(now()));
            object["metadata"]["generation"] = json!(1);
            Ok(state.store(&id, object))
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        resource: Resource,
        sub: &'a str,
        object: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        async move { self.change(resource, sub, object) }.boxed()
    }

    fn merge<'a>(
        &'a self,
        resource: Resource,
        sub: &'a str,
        space: &'a str,
        name: &'a str,
        patch: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        async move {
            let mut object = self.get(resource, space, name).await?;
            if text(&patch, "/metadata/resourceVersion").is_empty() {
                object["metadata"]
                    .as_object_mut()
                    .unwrap()
                    .shift_remove("resourceVersion");
            }
            merge(&mut object, &patch);
            self.change(resource, sub, object)
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        resource: Resource,
        space: &'a str,
        name: &'a str,
        grace: Option<i64>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        async move {
            let mut state = self.0.lock().unwrap();
            let id = Self::id(resource, space, name);
            let mut object = state.objects.get(&id).ok_or_else(|| missing(&id))?.clone();
            if !deleting(&object) {
                object["metadata"]["deletionTimestamp"] = json!(stamp(now()));
            }
            if resource == PODS {
                let grace = grace.unwrap_or(30);
                let grace = object["metadata"]["deletionGracePeriodSeconds"]
                    .as_i64()
                    .map_or(grace, |old| old.min(grace));
                object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            }
            state.store(&id, object);
            Ok(())
        }
        .boxed()
    }

    fn watch(&self, resource: Resource) -> BoxStream<'static, Change> {
        let (to, mut from) = mpsc::unbounded_channel();
        let mut state = self.0.lock().unwrap();
        for (id, object) in &state.objects {
            if id.0 == resource {
                to.send(Change::Applied(object.clone())).unwrap();
            }
        }
        state.watches.push((resource, to));
        futures::stream::poll_fn(move |context| from.poll_recv(context)).boxed()
    }

    fn resources(&self) -> Vec<(String, String, String, String, bool)> {
        let table = [
            (PODS, "Pod", true),
            (SERVICES, "Service", true),
            (ENDPOINTS, "Endpoints", true),
            (SLICES, "EndpointSlice", true),
            (CONFIG_MAPS, "ConfigMap", true),
            (SECRETS, "Secret", true),
            (EVENTS, "Event", true),
            (SERVICE_ACCOUNTS, "ServiceAccount", true),
            (NAMESPACES, "Namespace", false),
            (NODES, "Node", false),
            (DEPLOYMENTS, "Deployment", true),
            (REPLICA_SETS, "ReplicaSet", true),
            (DAEMON_SETS, "DaemonSet", true),
            (CONTROLLER_REVISIONS, "ControllerRevision", true),
            (AUTOSCALERS, "HorizontalPodAutoscaler", true),
            (DEFINITIONS, "CustomResourceDefinition", false),
            (
                Resource::new("flagger.app", "v1beta1", "canaries"),
                "Canary",
                true,
            ),
        ];
        let row = |(r, kind, namespaced): (Resource, &str, bool)| {
            (
                r.group.to_owned(),
                r.version.to_owned(),
                r.plural.to_owned(),
                kind.to_owned(),
                namespaced,
            )
        };
        let custom = self
            .0
            .lock()
            .unwrap()
            .objects
            .iter()
            .any(|(id, _)| id.0 == DEFINITIONS);
        table
            .into_iter()
            .filter(|(r, ..)| custom || r.group != "flagger.app")
            .map(row)
            .collect()
    }
}

/// The uid of a stored object.
pub(crate) async fn uid_of(fake: &Fake, resource: Resource, space: &str, name: &str) -> String {
    uid(&fake.get(resource, space, name).await.unwrap()).to_owned()
}
