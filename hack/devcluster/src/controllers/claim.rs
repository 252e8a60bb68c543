//! Which dependents belong to a controller: those it owns and selects; orphans it selects are adopted, owned ones it
//! no longer selects are released (the Kubernetes ControllerRef rules).

use serde_json::{Value, json};

use super::drive::found;
use super::object::{
    controller_of, deleting, labels, list, name, namespace, owner_reference, selects, text, uid, version,
};
use crate::client::{ApiError, Client, Resource};

/// A kind that owns pods or replica sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) object: &'a Value,
}

/// What a selector says about one object.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Adopt,
    Release,
    Leave,
}

fn judge(owner: &Value, object: &Value) -> Verdict {
    let selected = selects(owner.pointer("/spec/selector"), &labels(object));
    match controller_of(object) {
        Some(controller) if text(controller, "/uid") == uid(owner) => {
            if selected || deleting(owner) {
                Verdict::Keep
            } else {
                Verdict::Release
            }
        }
        None if selected && !deleting(owner) && !deleting(object) => Verdict::Adopt,
        Some(_) | None => Verdict::Leave,
    }
}

/// The objects of a kind that belong to `owner` now, after adopting and releasing.
pub(crate) async fn claim(
    client: &Client,
    owner: Owner<'_>,
    resource: Resource,
) -> Result<Vec<Value>, ApiError> {
    let mut claimed = Vec::new();
    for object in client.list(resource, namespace(owner.object), "").await? {
        let owners = list(&object, "/metadata/ownerReferences");
        let changed: Vec<Value> = match judge(owner.object, &object) {
            Verdict::Keep => {
                claimed.push(object);
                continue;
            }
            Verdict::Leave => continue,
            Verdict::Adopt => {
                let reference = owner_reference(owner.api_version, owner.kind, owner.object);
                owners.iter().cloned().chain([reference]).collect()
            }
            Verdict::Release => {
                let kept = owners
                    .iter()
                    .filter(|reference| text(reference, "/uid") != uid(owner.object));
                kept.cloned().collect()
            }
        };
        let adopted = changed.len() > owners.len();
        let patch = json!({"metadata": {"resourceVersion": version(&object), "ownerReferences": changed}});
        let answer = client
            .merge(resource, "", namespace(&object), name(&object), patch)
            .await;
        if let Some(object) = found(answer)?
            && adopted
        {
            claimed.push(object);
        }
    }
    Ok(claimed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let owner = json!({"metadata": {"uid": "me"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        let object = |app: &str, controller: Option<&str>| {
            let owners: Vec<_> = controller
                .iter()
                .map(|uid| json!({"uid": uid, "controller": true}))
                .collect();
            json!({"metadata": {"labels": {"app": app}, "ownerReferences": owners}})
        };
        assert_eq!(judge(&owner, &object("web", Some("me"))), Verdict::Keep);
        assert_eq!(judge(&owner, &object("api", Some("me"))), Verdict::Release);
        assert_eq!(judge(&owner, &object("web", Some("other"))), Verdict::Leave);
        assert_eq!(judge(&owner, &object("web", None)), Verdict::Adopt);
        assert_eq!(judge(&owner, &object("api", None)), Verdict::Leave);
        let mut gone = owner.clone();
        gone["metadata"]["deletionTimestamp"] = json!("2024-05-01T10:00:00Z");
        assert_eq!(judge(&gone, &object("web", None)), Verdict::Leave);
        assert_eq!(judge(&gone, &object("api", Some("me"))), Verdict::Keep);
    }
}
