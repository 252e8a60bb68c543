//! The `request` of an AdmissionReview.
//!
//! Owns: its fields. Promises: the object is shown at the version the webhook registered for. Never: sends it.

use serde_json::{Value, json};

use super::{Hook, Subject};
use crate::kinds::Kind;
use crate::server::Cluster;
use crate::server::call::Call;

impl Cluster {
    /// What a webhook is asked, at the version it registered for.
    pub(super) async fn admission_request(
        &self,
        call: &Call,
        hook: &Hook,
        subject: Subject<'_>,
    ) -> Result<Value, String> {
        let uid = uuid::Uuid::new_v4().to_string();
        let mut request = json!({"uid": uid});
        let scale = call.subresource == "scale";
        let gvk = |kind: &Kind| {
            if scale {
                json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
            } else {
                json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
            }
        };
        let gvr =
            |kind: &Kind| json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
        request["kind"] = gvk(&hook.kind);
        request["resource"] = gvr(&hook.kind);
        if !call.subresource.is_empty() {
            request["subResource"] = json!(call.subresource);
        }
        request["requestKind"] = gvk(&call.kind);
        request["requestResource"] = gvr(&call.kind);
        if !call.subresource.is_empty() {
            request["requestSubResource"] = json!(call.subresource);
        }
        let name = if call.name.is_empty() {
            subject
                .object
                .and_then(|o| o["metadata"]["name"].as_str())
                .unwrap_or_default()
        } else {
            &call.name
        };
        if !name.is_empty() {
            request["name"] = json!(name);
        }
        if !call.namespace.is_empty() {
            request["namespace"] = json!(call.namespace);
        } else if call.kind.is("", "namespaces") {
            request["namespace"] = json!(name);
        }
        request["operation"] = json!(subject.operation.name());
        request["userInfo"] = call.user.info();
        for (key, value) in [("object", subject.object), ("oldObject", subject.old)] {
            request[key] = match value {
                Some(object) if scale => object.clone(),
                Some(object) => self
                    .convert(&hook.kind, object.clone())
                    .await
                    .map_err(|f| f.message)?,
                None => Value::Null,
            };
        }
        request["dryRun"] = json!(call.dry_run);
        request["options"] = call.options(subject.operation.options());
        Ok(request)
    }
}
