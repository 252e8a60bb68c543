//! Requests that are answered and not stored: access reviews, bindings, evictions, tokens.
//!
//! Owns: their answers. Promises: reviews agree with what [`super::rbac`] enforces. Never: keeps a review.
#![expect(clippy::disallowed_methods, reason = "shell: tokens expire")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Cluster;
use super::call::{Call, User};
use super::delete::DeleteOptions;
use super::rbac::Question;
use super::status::Failure;
use super::write::Change;

impl Cluster {
    /// Answers a review.
    pub(crate) fn ask_review(&self, call: &Call, mut review: Value) -> Result<Value, Failure> {
        let decision = |allowed: bool| {
            if allowed {
                json!({"allowed": true, "reason": ""})
            } else {
                json!({"allowed": false})
            }
        };
        match call.kind.kind.as_str() {
            "SelfSubjectAccessReview" => {
                review["status"] = decision(self.allowed(&call.user, &Question::of(&review["spec"])));
            }
            "SubjectAccessReview" | "LocalSubjectAccessReview" => {
                let user = subject(&review["spec"]);
                review["status"] = decision(self.allowed(&user, &Question::of(&review["spec"])));
            }
            "SelfSubjectRulesReview" => {
                let (resources, paths) = self.rules_of(
                    &call.user,
                    review["spec"]["namespace"].as_str().unwrap_or_default(),
                );
                review["status"] =
                    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
            }
            "SelfSubjectReview" => review["status"] = json!({"userInfo": call.user.info()}),
            "TokenReview" => {
                let token = review["spec"]["token"].as_str().unwrap_or_default();
                review["status"] = match self.user_of(token) {
                    Some(user) => json!({"authenticated": true, "user": user.info()}),
                    None => json!({"authenticated": false, "error": "invalid bearer token"}),
                };
            }
            _ => return Err(Failure::method_not_allowed()),
        }
        if review["metadata"].is_null() {
            review["metadata"] = json!({});
        }
        Ok(review)
    }

    /// POST to a pod's binding or eviction, or to a service account's token.
    pub(crate) async fn post_subresource(&self, call: &Call, body: Value) -> Result<Value, Failure> {
        let main = call.of("");
        let stored = self.stored(&main)?;
        match call.subresource.as_str() {
            "binding" => {
                let node = body["target"]["name"].as_str().unwrap_or_default();
                let bound = stored.value["spec"]["nodeName"].as_str().unwrap_or_default();
                if !bound.is_empty() {
                    let detail = format!("pod {} is already assigned to node {bound:?}", call.name);
                    return Err(Failure::conflict(&call.kind, &call.name, &detail));
                }
                self.change(&main, Change::Merge(&json!({"spec": {"nodeName": node}})))
                    .await?;
                let now = super::write::now();
                let status = main.of("status");
                let condition = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "True",
                    "lastProbeTime": null, "lastTransitionTime": now}]}});
                self.change(&status, Change::Strategic(&condition)).await?;
                Ok(
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
                )
            }
            "eviction" => {
                let grace = body["deleteOptions"]["gracePeriodSeconds"].as_i64();
                self.delete(
                    &main,
                    &DeleteOptions {
                        grace,
                        ..DeleteOptions::default()
                    },
                )
                .await?;
                Ok(
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
                )
            }
            _ => Ok(self.new_token(call, &stored.value, body)),
        }
    }

    /// A token for a service account, good until the cluster stops.
    fn new_token(&self, call: &Call, account: &Value, mut request: Value) -> Value {
        let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let uid = account["metadata"]["uid"].as_str().unwrap_or_default();
        let claims = json!({
            "iss": "https://kubernetes.default.svc", "exp": expires.as_second(),
            "sub": format!("system:serviceaccount:{}:{}", call.namespace, call.name),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!(
            "{}.{}.{}",
            part(&json!({"alg": "none", "typ": "JWT"})),
            part(&claims),
            URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes())
        );
        self.add_token(&token, User::service_account(&call.namespace, &call.name, uid));
        request["status"] = json!({"token": token,
            "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()});
        request["metadata"] = json!({"name": call.name, "namespace": call.namespace});
        request
    }
}

/// The user a SubjectAccessReview asks about.
fn subject(spec: &Value) -> User {
    let groups = spec["groups"].as_array();
    User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: groups
            .into_iter()
            .flatten()
            .filter_map(|g| g.as_str().map(str::to_owned))
            .collect(),
    }
}
