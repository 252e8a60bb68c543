//! [`Backend`] on the pipeline: what controllers and pods in the process use.
//!
//! Owns: the translation of its calls. Promises: a watch survives gaps in the history by starting over. Never:
//! skips admission.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::Value;

use super::Cluster;
use super::call::{Call, FieldValidation, User};
use super::delete::DeleteOptions;
use super::read::ListOptions;
use super::status::Failure;
use super::watch::{Seen, WatchOptions};
use super::write::Change;
use crate::client::{self, ApiError, Backend, Resource};
use crate::kinds::Verbs;

/// The cluster as its controllers see it.
pub(crate) struct Local {
    cluster: Cluster,
    user: Arc<User>,
}

impl Local {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            user: Arc::new(User::controller()),
        }
    }

    fn call(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
    ) -> Result<Call, Failure> {
        let kind = self
            .cluster
            .registry
            .find(resource.group, resource.version, resource.plural)
            .ok_or_else(Failure::no_such_path)?;
        let mut call = Call::new(kind, Arc::clone(&self.user));
        if call.kind.namespaced {
            namespace.clone_into(&mut call.namespace);
        }
        name.clone_into(&mut call.name);
        subresource.clone_into(&mut call.subresource);
        "kube-controller-manager".clone_into(&mut call.manager);
        call.validation = FieldValidation::Ignore;
        Ok(call)
    }
}

impl Backend for Local {
    fn get<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        Box::pin(async move {
            let call = self.call(resource, namespace, name, "")?;
            Ok(self.cluster.get(&call).await?)
        })
    }

    fn list<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
        selector: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Value>, ApiError>> {
        Box::pin(async move {
            let call = self.call(resource, namespace, "", "")?;
            let options = ListOptions {
                labels: selector.to_owned(),
                ..ListOptions::default()
            };
            Ok(self.cluster.list(&call, &options).await?.items)
        })
    }

    fn create<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
        object: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        Box::pin(async move {
            let call = self.call(resource, namespace, "", "")?;
            Ok(self.cluster.create(&call, object).await?)
        })
    }

    fn update<'a>(
        &'a self,
        resource: Resource,
        subresource: &'a str,
        object: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        Box::pin(async move {
            let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
            let call = self.call(resource, text("namespace"), text("name"), subresource)?;
            Ok(self.cluster.change(&call, Change::Replace(&object)).await?.object)
        })
    }

    fn merge<'a>(
        &'a self,
        resource: Resource,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
        patch: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        Box::pin(async move {
            let call = self.call(resource, namespace, name, subresource)?;
            Ok(self.cluster.change(&call, Change::Merge(&patch)).await?.object)
        })
    }

    fn delete<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
        name: &'a str,
        grace: Option<i64>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let call = self.call(resource, namespace, name, "")?;
            let options = DeleteOptions {
                grace,
                ..DeleteOptions::default()
            };
            self.cluster.delete(&call, &options).await?;
            Ok(())
        })
    }

    fn watch(&self, resource: Resource) -> BoxStream<'static, client::Change> {
        let Ok(call) = self.call(resource, "", "", "") else {
            return stream::empty().boxed();
        };
        let cluster = self.cluster.clone();
        let rounds = stream::unfold((cluster, call), |(cluster, call)| async move {
            if cluster.is_stopped() {
                return None;
            }
            let seen = cluster.watch(&call, &WatchOptions::default()).ok()?;
            Some((seen, (cluster, call)))
        });
        rounds
            .flatten()
            .filter_map(|seen| std::future::ready(change(seen)))
            .boxed()
    }

    fn resources(&self) -> Vec<(String, String, String, String, bool)> {
        let kinds = self.cluster.registry.all();
        kinds
            .iter()
            .filter(|k| k.verbs == Verbs::All)
            .map(|k| {
                (
                    k.group.clone(),
                    k.version.clone(),
                    k.plural.clone(),
                    k.kind.clone(),
                    k.namespaced,
                )
            })
            .collect()
    }
}

fn change(seen: Seen) -> Option<client::Change> {
    match seen.kind {
        "ADDED" | "MODIFIED" => Some(client::Change::Applied(seen.object)),
        "DELETED" => Some(client::Change::Deleted(seen.object)),
        _ => None,
    }
}
