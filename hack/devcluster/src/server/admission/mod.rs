//! Admission webhooks: which are called, with what, and what their answers do.
//!
//! Owns: matching (rules, selectors, `matchPolicy: Equivalent`), the order (mutating one after another by name,
//! validating all at once), `failurePolicy`, warnings, dry run. Promises: webhook configurations themselves are
//! never sent to webhooks. Never: reinvokes (`reinvocationPolicy` counts as `Never`).

mod conditions;
mod request;
mod review;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use super::Cluster;
use super::call::Call;
use super::selector::object_selector;
use super::status::Failure;
use crate::kinds::Kind;
use crate::patch;
use review::{call_failure, check_answer, denial, patch_of, rule_matches};

/// What happens to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    pub(super) fn options(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Delete => "DeleteOptions",
        }
    }
}

/// What is admitted: the state wanted and the state before, both at the request's version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) operation: Operation,
    pub(crate) object: Option<&'a Value>,
    pub(crate) old: Option<&'a Value>,
}

/// One webhook entry that wants to see the request, at the version of the type it registered for.
struct Hook {
    entry: Value,
    kind: Arc<Kind>,
}

const GROUP: &str = "admissionregistration.k8s.io";

impl Cluster {
    /// Runs the mutating webhooks; answers the object as they leave it.
    pub(crate) async fn mutate(
        &self,
        call: &Call,
        operation: Operation,
        object: Value,
        old: Option<&Value>,
    ) -> Result<Value, Failure> {
        let mut object = object;
        for hook in self.hooks(
            "mutatingwebhookconfigurations",
            call,
            Subject {
                operation,
                object: Some(&object),
                old,
            },
        ) {
            let subject = Subject {
                operation,
                object: Some(&object),
                old,
            };
            let Some(response) = self.ask(call, &hook, subject).await? else {
                continue;
            };
            let name = hook.entry["name"].as_str().unwrap_or_default();
            match self.apply_answer(call, &hook, &object, &response).await {
                Ok(Some(changed)) => object = changed,
                Ok(None) => {}
                Err(detail) if hook.entry["failurePolicy"] == "Ignore" => {
                    tracing::warn!(webhook = name, detail, "failed open");
                }
                Err(detail) => return Err(call_failure(name, &detail)),
            }
        }
        Ok(object)
    }

    /// Runs the mutating webhooks registered for DELETE, which can only refuse.
    pub(crate) async fn mutate_delete(&self, call: &Call, old: &Value) -> Result<(), Failure> {
        let subject = Subject {
            operation: Operation::Delete,
            object: None,
            old: Some(old),
        };
        for hook in self.hooks("mutatingwebhookconfigurations", call, subject) {
            self.ask(call, &hook, subject).await?;
        }
        Ok(())
    }

    /// Runs the validating webhooks, all at once; the first refusal in configuration order wins.
    pub(crate) async fn validate(&self, call: &Call, subject: Subject<'_>) -> Result<(), Failure> {
        let hooks = self.hooks("validatingwebhookconfigurations", call, subject);
        let answers = join_all(hooks.iter().map(|hook| async move {
            let response = self.ask(call, hook, subject).await?;
            let name = hook.entry["name"].as_str().unwrap_or_default();
            match response {
                Some(r) if !r["patch"].is_null() && hook.entry["failurePolicy"] != "Ignore" => Err(
                    call_failure(name, "a validating webhook must not answer with a patch"),
                ),
                Some(_) | None => Ok(()),
            }
        }))
        .await;
        answers.into_iter().collect()
    }

    /// The webhooks of one sort that want to see the request, by configuration name.
    fn hooks(&self, plural: &str, call: &Call, subject: Subject<'_>) -> Vec<Hook> {
        if call.kind.group == GROUP || call.kind.verbs == crate::kinds::Verbs::Ask {
            return Vec::new();
        }
        let table = crate::store::Table {
            group: GROUP.to_owned(),
            plural: plural.to_owned(),
        };
        let (configurations, _) = self.store.list(&table, None);
        let mut hooks = Vec::new();
        for configuration in &configurations {
            for entry in configuration.value["webhooks"].as_array().into_iter().flatten() {
                if let Some(kind) = self.matching_kind(entry, call, subject.operation)
                    && self.selected(entry, call, subject)
                {
                    hooks.push(Hook {
                        entry: entry.clone(),
                        kind,
                    });
                }
            }
        }
        hooks
    }

    /// The version of the request's type the webhook asked for, if its rules match.
    fn matching_kind(&self, entry: &Value, call: &Call, operation: Operation) -> Option<Arc<Kind>> {
        let wants = |kind: &Kind| {
            let rules = entry["rules"].as_array();
            rules
                .into_iter()
                .flatten()
                .any(|rule| rule_matches(rule, kind, &call.subresource, operation))
        };
        if wants(&call.kind) {
            return Some(Arc::clone(&call.kind));
        }
        if entry["matchPolicy"] == "Exact" {
            return None;
        }
        self.registry
            .versions(&call.kind.group, &call.kind.plural)
            .into_iter()
            .find(|kind| wants(kind))
    }

    fn selected(&self, entry: &Value, call: &Call, subject: Subject<'_>) -> bool {
        let objects = object_selector(&entry["objectSelector"]);
        let object_matches = [subject.object, subject.old]
            .into_iter()
            .flatten()
            .any(|object| objects.matches(object));
        if !object_matches {
            return false;
        }
        let namespaces = object_selector(&entry["namespaceSelector"]);
        if namespaces.is_empty() {
            return true;
        }
        if call.kind.is("", "namespaces") {
            return [subject.object, subject.old]
                .into_iter()
                .flatten()
                .next()
                .is_some_and(|o| namespaces.matches(o));
        }
        if !call.kind.namespaced {
            return true;
        }
        let table = crate::store::Table {
            group: String::new(),
            plural: "namespaces".to_owned(),
        };
        self.store
            .get(&table, "", &call.namespace)
            .is_some_and(|ns| namespaces.matches(&ns.value))
    }

    /// Calls one webhook. `None`: it failed and its policy is to go on. `Err`: it denied, or failed.
    async fn ask(&self, call: &Call, hook: &Hook, subject: Subject<'_>) -> Result<Option<Value>, Failure> {
        let name = hook.entry["name"].as_str().unwrap_or_default();
        let request = match self.admission_request(call, hook, subject).await {
            Ok(request) => request,
            Err(_) if hook.entry["failurePolicy"] == "Ignore" => return Ok(None),
            Err(detail) => return Err(call_failure(name, &detail)),
        };
        match conditions::hold(&hook.entry["matchConditions"], &request) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(_) if hook.entry["failurePolicy"] == "Ignore" => return Ok(None),
            Err(detail) => return Err(Failure::forbidden(&call.kind, &call.name, &detail)),
        }
        let quiet = matches!(hook.entry["sideEffects"].as_str(), Some("None" | "NoneOnDryRun"));
        if call.dry_run && !quiet {
            return Err(Failure::bad_request(format!(
                "admission webhook {name:?} does not support dry run"
            )));
        }
        let response = match self.review(hook, request).await {
            Ok(response) => response,
            Err(detail) if hook.entry["failurePolicy"] == "Ignore" => {
                tracing::warn!(webhook = name, detail, "failed open");
                return Ok(None);
            }
            Err(detail) => return Err(call_failure(name, &detail)),
        };
        for warning in response["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            call.warn(warning);
        }
        if response["allowed"] == true {
            Ok(Some(response))
        } else {
            Err(denial(name, &response["status"]))
        }
    }

    /// Sends the review; answers its checked `response`.
    async fn review(&self, hook: &Hook, request: Value) -> Result<Value, String> {
        let uid = request["uid"].as_str().unwrap_or_default().to_owned();
        let review =
            json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request});
        let timeout = Duration::from_secs(hook.entry["timeoutSeconds"].as_u64().unwrap_or(10));
        let config = &hook.entry["clientConfig"];
        let agent = "kube-apiserver-admission";
        let answer = self
            .webhooks
            .call(&self.store, config, timeout, agent, &review)
            .await;
        check_answer(answer.map_err(|e| format!("failed to call webhook: {e}"))?, &uid)
    }

    /// The object after a mutating webhook's patch, at the request's version.
    async fn apply_answer(
        &self,
        call: &Call,
        hook: &Hook,
        object: &Value,
        response: &Value,
    ) -> Result<Option<Value>, String> {
        let Some(operations) = patch_of(response)? else {
            return Ok(None);
        };
        let shown = self
            .convert(&hook.kind, object.clone())
            .await
            .map_err(|f| f.message)?;
        let changed = patch::json::apply(&shown, &operations).map_err(|e| match e.causes.first() {
            Some(cause) => cause.message.clone(),
            None => e.message,
        })?;
        self.convert(&call.kind, changed)
            .await
            .map(Some)
            .map_err(|f| f.message)
    }
}
