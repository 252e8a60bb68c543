//! Deployments: replica sets by template, rolled by [`super::rollout`], reported by [`super::conditions`].

use futures::FutureExt;
use serde_json::{Value, json};

use super::claim::{Owner, claim};
use super::conditions::{self, Condition, Counts};
use super::drive::{Outcome, Trigger, drive, found, now};
use super::event::Recorder;
use super::object::{
    DEPLOYMENTS, Key, PODS, REPLICA_SETS, annotation, controlled_by, controller_of, count, deleting,
    generation, hash, int, labels, list, name, namespace, owner_key, owner_reference, pod_finished, strings,
    text, uid, until, version,
};
use super::rollout::{self, Size, Sizes, Step, Strategy};
use crate::client::{ApiError, Client};

const KIND: (&str, &str) = ("apps/v1", "Deployment");
const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Runs the controller.
pub(crate) async fn run(client: Client) {
    let triggers = vec![
        Trigger::own(DEPLOYMENTS),
        Trigger {
            resource: REPLICA_SETS,
            keys: |set| owner_key(set, "Deployment"),
        },
        Trigger {
            resource: PODS,
            keys: |pod| deployment_of(pod).into_iter().collect(),
        },
    ];
    let events = Recorder::new(client.clone(), "deployment-controller");
    drive(client.clone(), DEPLOYMENTS, triggers, move |key| {
        let (client, events) = (client.clone(), events.clone());
        async move { reconcile(&client, &events, key).await }.boxed()
    })
    .await;
}

/// A pod's replica set is named after its Deployment and template hash.
fn deployment_of(pod: &Value) -> Option<Key> {
    let set = controller_of(pod).filter(|owner| text(owner, "/kind") == "ReplicaSet")?;
    let hash = labels(pod).remove(HASH)?;
    let deployment = text(set, "/name").strip_suffix(&hash)?.strip_suffix('-')?;
    Some(Key::new(namespace(pod), deployment))
}

/// A Deployment and its replica sets in the middle of a reconciliation.
struct Rollout<'a> {
    client: &'a Client,
    events: &'a Recorder,
    deployment: Value,
    desired: i32,
    strategy: Strategy,
    /// `spec.progressDeadlineSeconds`.
    deadline: Option<i64>,
    new: Option<Value>,
    old: Vec<Value>,
    /// The status to be written, starting from the stored one.
    status: Value,
}

async fn reconcile(client: &Client, events: &Recorder, key: Key) -> Outcome {
    let Some(deployment) = found(client.get(DEPLOYMENTS, &key.namespace, &key.name).await)? else {
        return Ok(None);
    };
    let owner = Owner {
        api_version: KIND.0,
        kind: KIND.1,
        object: &deployment,
    };
    let mut sets = claim(client, owner, REPLICA_SETS).await?;
    sets.sort_by(|a, b| age(a).cmp(&age(b)));
    let desired = count(&deployment, "/spec/replicas", 1);
    let (wanted, label) = (hash(template(&deployment)), label_of(&deployment));
    let at = sets
        .iter()
        .position(|set| template_hash(set) == wanted || labels(set).get(HASH) == Some(&label));
    let new = at.map(|at| sets.remove(at));
    let mut rollout = Rollout {
        client,
        events,
        desired,
        strategy: Strategy::of(deployment.pointer("/spec/strategy"), desired),
        deadline: int(&deployment, "/spec/progressDeadlineSeconds")
            .filter(|seconds| *seconds < i64::from(i32::MAX)),
        status: deployment.get("status").cloned().unwrap_or_else(|| json!({})),
        deployment,
        new,
        old: sets,
    };
    rollout.run().await
}

fn age(set: &Value) -> (&str, &str) {
    (text(set, "/metadata/creationTimestamp"), name(set))
}

fn template(object: &Value) -> &Value {
    object.pointer("/spec/template").unwrap_or(&Value::Null)
}

/// The hash of a replica set's template as its Deployment wrote it, without the label that the hash itself became.
fn template_hash(set: &Value) -> String {
    let mut template = template(set).clone();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.shift_remove(HASH);
    }
    hash(&template)
}

/// What the new replica set of a Deployment is labelled and named with.
fn label_of(deployment: &Value) -> String {
    let mut seed = template(deployment).clone();
    if let Some(collisions) = int(deployment, "/status/collisionCount") {
        seed["collisions"] = json!(collisions);
    }
    hash(&seed)
}

fn revision(object: &Value) -> i64 {
    annotation(object, REVISION)
        .and_then(|revision| revision.parse().ok())
        .unwrap_or_default()
}

impl Rollout<'_> {
    async fn run(&mut self) -> Outcome {
        if deleting(&self.deployment) {
            return self.finish(false).await;
        }
        let paused = self
            .deployment
            .pointer("/spec/paused")
            .and_then(Value::as_bool)
            .unwrap_or_default();
        if self.deadline.is_some() {
            let mut conditions = self.conditions();
            if conditions::paused(paused, &mut conditions, now()) {
                self.status["conditions"] = Value::Array(conditions);
            }
        }
        let resized = self.sets().any(|set| {
            count(set, "/spec/replicas", 0) > 0
                && annotation(set, DESIRED).is_some_and(|desired| desired != self.desired.to_string())
        });
        self.adopt_revision().await?;
        if paused || resized {
            let step = rollout::scale(self.desired, self.strategy, &self.sizes());
            self.apply(step).await?;
            self.annotate_sizes().await?;
            return self.finish(false).await;
        }
        if self.new.is_none() && self.may_create().await? {
            self.create().await?;
        }
        let step = rollout::roll(self.desired, self.strategy, &self.sizes());
        let settled = step.is_empty();
        self.apply(step).await?;
        if settled {
            self.forget_history().await?;
        }
        self.finish(true).await
    }

    fn sets(&self) -> impl Iterator<Item = &Value> {
        self.new.iter().chain(&self.old)
    }

    fn conditions(&self) -> Vec<Value> {
        list(&self.status, "/conditions").to_vec()
    }

    fn sizes(&self) -> Sizes {
        let size = |set: &Value| Size {
            replicas: count(set, "/spec/replicas", 1),
            available: count(set, "/status/availableReplicas", 0),
            bound: annotation(set, MOST).and_then(|most| most.parse().ok()),
        };
        Sizes {
            new: self.new.as_ref().map(size),
            old: self.old.iter().map(size).collect(),
        }
    }

    /// Under `Recreate` the new replica set waits until no old pod runs any more.
    async fn may_create(&self) -> Result<bool, ApiError> {
        if self.strategy != Strategy::Recreate {
            return Ok(true);
        }
        if self.old.iter().any(|set| count(set, "/spec/replicas", 1) > 0) {
            return Ok(false);
        }
        let pods = self.client.list(PODS, namespace(&self.deployment), "").await?;
        let running =
            |pod: &Value| !pod_finished(pod) && self.old.iter().any(|set| controlled_by(pod, uid(set)));
        Ok(!pods.iter().any(running))
    }

    fn next_revision(&self) -> i64 {
        self.old.iter().map(revision).max().unwrap_or_default() + 1
    }

    /// Annotations a replica set carries: the Deployment's, its revision and its sizes.
    fn annotations(&self, revision: i64) -> Value {
        let mut all = strings(&self.deployment, "/metadata/annotations");
        all.remove(LAST_APPLIED);
        all.insert(REVISION.into(), revision.to_string());
        all.insert(DESIRED.into(), self.desired.to_string());
        all.insert(MOST.into(), self.strategy.most(self.desired).to_string());
        json!(all)
    }

    /// An existing replica set that became the new one (a rollback) gets the newest revision.
    async fn adopt_revision(&mut self) -> Result<(), ApiError> {
        let Some(set) = self.new.clone() else {
            return Ok(());
        };
        let newest = self.next_revision();
        if revision(&set) < newest {
            let patch = json!({"metadata": {"annotations": {REVISION: newest.to_string()}}});
            self.new = Some(
                self.client
                    .merge(REPLICA_SETS, "", namespace(&set), name(&set), patch)
                    .await?,
            );
        }
        if self.deadline.is_some() && conditions_lack_progress(&self.status) {
            let message = format!("Found new replica set \"{}\"", name(&set));
            self.progressing("FoundNewReplicaSet", message);
        }
        self.stamp_revision(revision(&set).max(newest)).await
    }

    async fn stamp_revision(&mut self, revision: i64) -> Result<(), ApiError> {
        let revision = revision.to_string();
        if annotation(&self.deployment, REVISION) == Some(&revision) {
            return Ok(());
        }
        let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
        let (space, name) = (namespace(&self.deployment), name(&self.deployment));
        // Through the status: another write of the annotations would count as a new generation.
        self.deployment = self
            .client
            .merge(DEPLOYMENTS, "status", space, name, patch)
            .await?;
        Ok(())
    }

    fn progressing(&mut self, reason: &'static str, message: String) {
        let mut conditions = self.conditions();
        conditions::set(
            &mut conditions,
            &Condition::progressing("True", reason, message),
            now(),
        );
        self.status["conditions"] = Value::Array(conditions);
    }

    async fn create(&mut self) -> Result<(), ApiError> {
        let revision = self.next_revision();
        let replicas = rollout::initial(self.desired, self.strategy, &self.sizes());
        let hash = label_of(&self.deployment);
        let mut template = template(&self.deployment).clone();
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut selector = self
            .deployment
            .pointer("/spec/selector")
            .cloned()
            .unwrap_or_else(|| json!({}));
        selector["matchLabels"][HASH] = json!(hash);
        let mut spec = json!({"replicas": replicas, "selector": selector, "template": template});
        if let Some(seconds) = int(&self.deployment, "/spec/minReadySeconds") {
            spec["minReadySeconds"] = json!(seconds);
        }
        let set = format!("{}-{hash}", name(&self.deployment));
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": set,
                "namespace": namespace(&self.deployment),
                "labels": template["metadata"]["labels"],
                "annotations": self.annotations(revision),
                "ownerReferences": [owner_reference(KIND.0, KIND.1, &self.deployment)],
            },
            "spec": spec,
        });
        match self
            .client
            .create(REPLICA_SETS, namespace(&self.deployment), object)
            .await
        {
            Ok(created) => self.new = Some(created),
            Err(error) if error.code == 409 => return self.collided(&set, error).await,
            Err(error) => {
                if self.deadline.is_some() {
                    let mut conditions = self.conditions();
                    let reason = "ReplicaSetCreateError";
                    let condition = Condition::progressing("False", reason, error.message.clone());
                    conditions::set(&mut conditions, &condition, now());
                    self.status["conditions"] = Value::Array(conditions);
                    self.finish(false).await?;
                }
                return Err(error);
            }
        }
        if replicas > 0 {
            self.scaled(&set, 0, replicas).await;
        }
        if self.deadline.is_some() {
            self.progressing(
                "NewReplicaSetCreated",
                format!("Created new replica set \"{set}\""),
            );
        }
        self.stamp_revision(revision).await
    }

    /// The name is taken: by our own from a moment ago (try again), or by somebody else's (choose another).
    async fn collided(&mut self, set: &str, error: ApiError) -> Result<(), ApiError> {
        let space = namespace(&self.deployment);
        if let Some(taken) = found(self.client.get(REPLICA_SETS, space, set).await)?
            && !controlled_by(&taken, uid(&self.deployment))
        {
            let collisions = int(&self.status, "/collisionCount").unwrap_or_default();
            self.status["collisionCount"] = json!(collisions + 1);
            self.finish(false).await?;
        }
        Err(error)
    }

    async fn apply(&mut self, step: Step) -> Result<(), ApiError> {
        for (at, replicas) in step.old {
            self.old[at] = self.resize(&self.old[at], replicas).await?;
        }
        if let (Some(replicas), Some(set)) = (step.new, &self.new) {
            self.new = Some(self.resize(set, replicas).await?);
        }
        Ok(())
    }

    fn sized(&self) -> Value {
        json!({DESIRED: self.desired.to_string(), MOST: self.strategy.most(self.desired).to_string()})
    }

    async fn resize(&self, set: &Value, replicas: i32) -> Result<Value, ApiError> {
        let patch = json!({
            "metadata": {"resourceVersion": version(set), "annotations": self.sized()},
            "spec": {"replicas": replicas},
        });
        let resized = self
            .client
            .merge(REPLICA_SETS, "", namespace(set), name(set), patch)
            .await?;
        self.scaled(name(set), count(set, "/spec/replicas", 1), replicas)
            .await;
        Ok(resized)
    }

    async fn scaled(&self, set: &str, from: i32, to: i32) {
        let way = if to > from { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {set} from {from} to {to}");
        self.events
            .normal(KIND, &self.deployment, "ScalingReplicaSet", &message)
            .await;
    }

    /// Active replica sets that kept their size still learn the Deployment's.
    async fn annotate_sizes(&mut self) -> Result<(), ApiError> {
        let desired = self.desired.to_string();
        let stale = |set: &Value| {
            count(set, "/spec/replicas", 0) > 0
                && annotation(set, DESIRED).is_some_and(|found| found != desired)
        };
        let patch = json!({"metadata": {"annotations": self.sized()}});
        for set in self.new.iter_mut().chain(&mut self.old) {
            if stale(set) {
                *set = self
                    .client
                    .merge(REPLICA_SETS, "", namespace(set), name(set), patch.clone())
                    .await?;
            }
        }
        Ok(())
    }

    /// Deletes the oldest finished replica sets beyond `spec.revisionHistoryLimit`.
    async fn forget_history(&self) -> Result<(), ApiError> {
        let limit = count(&self.deployment, "/spec/revisionHistoryLimit", 10).max(0) as usize;
        let mut finished: Vec<&Value> = self
            .old
            .iter()
            .filter(|set| {
                count(set, "/spec/replicas", 1) == 0
                    && count(set, "/status/replicas", 0) == 0
                    && generation(set) <= int(set, "/status/observedGeneration").unwrap_or_default()
                    && !deleting(set)
            })
            .collect();
        finished.sort_by_key(|set| revision(set));
        for set in finished.iter().take(self.old.len().saturating_sub(limit)) {
            found(
                self.client
                    .delete(REPLICA_SETS, namespace(set), name(set), None)
                    .await,
            )?;
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        let sum = |pointer: &str| self.sets().map(|set| count(set, pointer, 0)).sum();
        Counts {
            generation: generation(&self.deployment),
            desired: self.desired,
            unavailable: self.strategy.unavailable(self.desired),
            asked: sum("/spec/replicas"),
            replicas: sum("/status/replicas"),
            updated: self
                .new
                .as_ref()
                .map_or(0, |set| count(set, "/status/replicas", 0)),
            ready: sum("/status/readyReplicas"),
            available: sum("/status/availableReplicas"),
        }
    }

    /// Writes the status if it changed; `rolling` also judges the progress.
    async fn finish(&mut self, rolling: bool) -> Outcome {
        let (now, counts) = (now(), self.counts());
        let mut status = conditions::status(&self.status, &counts, now);
        if rolling {
            let new = self.new.as_ref().map(name);
            let title = name(&self.deployment);
            conditions::progress(title, new, self.deadline, &self.status, &mut status, &counts, now);
        }
        let again = match self.deadline {
            Some(_) => conditions::deadline_at(self.deadline, &status, &counts),
            None => None,
        };
        if self.deployment.get("status") != Some(&status) {
            let mut written = self.deployment.clone();
            written["status"] = status;
            self.deployment = self.client.update(DEPLOYMENTS, "status", written).await?;
        }
        Ok(again.map(|at| until(at, now)))
    }
}

fn conditions_lack_progress(status: &Value) -> bool {
    !list(status, "/conditions")
        .iter()
        .any(|condition| text(condition, "/type") == "Progressing")
}
