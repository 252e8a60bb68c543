//! The life of namespaces: a new one gets its `default` service account and the cluster's CA; one that is deleted
//! loses everything in it, then its finalizer.

use futures::FutureExt;
use serde_json::{Value, json};

use super::census::{Census, Seen, served};
use super::drive::{Outcome, Trigger, drive, found, now};
use super::object::{
    CONFIG_MAPS, Key, NAMESPACES, SERVICE_ACCOUNTS, deleting, list, name, namespace, stamp, text,
};
use crate::client::{ApiError, Client};

/// Runs the end of namespaces on a census of everything: what leaves a namespace may have been its last.
pub(crate) async fn run(client: Client, mut census: Census) {
    let retry = std::time::Duration::from_millis(200);
    loop {
        let mut due: Vec<String> = match census.next().await {
            Some(seen) => concerned(&seen).into_iter().collect(),
            None => census.expired(),
        };
        due.dedup();
        for space in due {
            if let Err(error) = empty(&client, &space).await {
                tracing::debug!(%error, space, "namespace not emptied yet");
                census.later(retry, space);
            }
        }
    }
}

/// The namespace a change may bring nearer to its end.
fn concerned(seen: &Seen) -> Option<String> {
    if seen.resource == NAMESPACES {
        return (deleting(&seen.object) && !seen.deleted).then(|| name(&seen.object).to_owned());
    }
    let space = namespace(&seen.object);
    (seen.deleted && !space.is_empty()).then(|| space.to_owned())
}

/// Deletes what is in a namespace that is being deleted, and the namespace once nothing is.
async fn empty(client: &Client, space: &str) -> Result<(), ApiError> {
    let Some(object) = found(client.get(NAMESPACES, "", space).await)? else {
        return Ok(());
    };
    if !deleting(&object) {
        return Ok(());
    }
    let mut left = Vec::new();
    for (resource, namespaced) in served(client).into_values() {
        if !namespaced {
            continue;
        }
        let objects = match client.list(resource, space, "").await {
            Ok(objects) => objects,
            // Kinds without a list (reviews) hold nothing.
            Err(error) if matches!(error.code, 404 | 405) => continue,
            Err(error) => return Err(error),
        };
        for one in objects {
            if !deleting(&one) {
                found(client.delete(resource, space, name(&one), None).await)?;
            }
        }
        let remaining = client.list(resource, space, "").await?;
        if !remaining.is_empty() {
            let kind = if resource.group.is_empty() {
                resource.plural.to_owned()
            } else {
                format!("{}.{}", resource.plural, resource.group)
            };
            left.push(format!("{kind} has {} resource instances", remaining.len()));
        }
    }
    if left.is_empty() {
        return finalize(client, object).await;
    }
    report(client, &object, &left).await
}

async fn report(client: &Client, object: &Value, left: &[String]) -> Result<(), ApiError> {
    let message = format!("Some resources are remaining: {}", left.join(", "));
    let old = super::object::condition(object, "NamespaceContentRemaining");
    if old.is_some_and(|old| text(old, "/message") == message) {
        return Ok(());
    }
    let condition = json!({"type": "NamespaceContentRemaining", "status": "True", "reason": "SomeResourcesRemain",
        "message": message, "lastTransitionTime": stamp(now())});
    let status = json!({"status": {"phase": "Terminating", "conditions": [condition]}});
    found(client.merge(NAMESPACES, "status", "", name(object), status).await)?;
    Ok(())
}

/// Takes the `kubernetes` finalizer off `spec.finalizers`, through the subresource made for it.
async fn finalize(client: &Client, mut object: Value) -> Result<(), ApiError> {
    let kept: Vec<Value> = list(&object, "/spec/finalizers")
        .iter()
        .filter(|finalizer| finalizer.as_str() != Some("kubernetes"))
        .cloned()
        .collect();
    let title = name(&object).to_owned();
    object["spec"]["finalizers"] = json!(kept);
    found(client.update(NAMESPACES, "finalize", object).await)?;
    // The API drops it when this was the last finalizer; asking again is what the namespace controller does too.
    if let Some(rest) = found(client.get(NAMESPACES, "", &title).await)?
        && deleting(&rest)
        && kept.is_empty()
    {
        found(client.delete(NAMESPACES, "", &title, None).await)?;
    }
    Ok(())
}

/// Runs the beginning of namespaces.
pub(crate) async fn furnish(client: Client) {
    let triggers = vec![
        Trigger::own(NAMESPACES),
        Trigger {
            resource: SERVICE_ACCOUNTS,
            keys: |account| vec![Key::new("", namespace(account))],
        },
    ];
    drive(client.clone(), NAMESPACES, triggers, move |key| {
        let client = client.clone();
        async move { furnished(&client, &key.name).await }.boxed()
    })
    .await;
}

async fn furnished(client: &Client, space: &str) -> Outcome {
    let Some(object) = found(client.get(NAMESPACES, "", space).await)? else {
        return Ok(None);
    };
    if deleting(&object) {
        return Ok(None);
    }
    if found(client.get(SERVICE_ACCOUNTS, space, "default").await)?.is_none() {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": space}});
        client.create(SERVICE_ACCOUNTS, space, account).await?;
    }
    // Every namespace gets the CA that `default` was given by whoever started the cluster.
    let ca = found(client.get(CONFIG_MAPS, "default", "kube-root-ca.crt").await)?;
    if let Some(ca) = ca
        && found(client.get(CONFIG_MAPS, space, "kube-root-ca.crt").await)?.is_none()
    {
        let copy = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "kube-root-ca.crt", "namespace": space}, "data": ca["data"]});
        client.create(CONFIG_MAPS, space, copy).await?;
    }
    Ok(None)
}
