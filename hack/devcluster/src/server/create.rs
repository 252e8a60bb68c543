//! POST: the first write of an object.
//!
//! Owns: names, identity and first state. Promises: an object is stored whole and valid or not at all. Never: knows
//! one type from another (see [`super::strategy`]).

use serde_json::{Value, json};

use super::admission::{Operation, Subject};
use super::call::Call;
use super::decode::{decode, metadata};
use super::status::Failure;
use super::write::now;
use super::{Cluster, meta, ownership, strategy};
use crate::kinds::NameRule;
use crate::store::Refused;

impl Cluster {
    /// POST.
    pub(crate) async fn create(&self, call: &Call, body: Value) -> Result<Value, Failure> {
        if body["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|r| !r.is_empty())
        {
            return Err(Failure::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let mut body = body;
        meta::place(call, &mut body)?;
        let object = decode(call, body)?;
        self.create_decoded(call, object, false).await
    }

    /// Creates a decoded object; `owned` when server-side apply has already recorded its owners.
    pub(crate) async fn create_decoded(
        &self,
        call: &Call,
        mut object: Value,
        owned: bool,
    ) -> Result<Value, Failure> {
        let kind = &call.kind;
        let named = object["metadata"]["name"].as_str().is_some_and(|n| !n.is_empty());
        if !named && let Some(prefix) = object["metadata"]["generateName"].as_str() {
            let name = meta::generated_name(prefix);
            metadata(&mut object).insert("name".to_owned(), json!(name));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let call = &call.named(&call.namespace, &name);
        self.check_namespace(call)?;
        strategy::drop_on_create(kind, &mut object);
        let now = now();
        if !owned {
            object = ownership::track(self, call, None, object, &now).await;
        }
        // What admission adds belongs to nobody.
        let before = object.clone();
        object = self.mutate(call, Operation::Create, object, None).await?;
        if object != before {
            super::decode::shape(kind, &mut object, None)?;
            strategy::drop_on_create(kind, &mut object);
        }
        let fields = metadata(&mut object);
        fields.insert("uid".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
        fields.insert("creationTimestamp".to_owned(), json!(now));
        for key in [
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generation",
        ] {
            fields.shift_remove(key);
        }
        if kind.generation {
            fields.insert("generation".to_owned(), json!(1));
        }
        strategy::prepare_create(self, call, &mut object);
        let mut errors = meta::check(kind, &object);
        errors.extend(strategy::check(kind, &object, None));
        if !errors.is_empty() {
            return Err(Failure::invalid(kind, &name, &errors));
        }
        let subject = Subject {
            operation: Operation::Create,
            object: Some(&object),
            old: None,
        };
        self.validate(call, subject).await?;
        meta::order(&mut object);
        if call.dry_run {
            if self.store.get(&kind.table, &call.namespace, &name).is_some() {
                return Err(Failure::already_exists(kind, &name));
            }
            return Ok(object);
        }
        let stored = self.to_storage(kind, object).await?;
        let stored = match self.store.create(&kind.table, stored) {
            Ok(stored) => stored,
            Err(Refused::Exists | Refused::Missing | Refused::Changed) => {
                return Err(Failure::already_exists(kind, &name));
            }
        };
        let stored = self.after_write(call, stored);
        self.read_value(kind, &stored).await
    }

    /// Refuses new objects in namespaces that do not exist or are going away.
    fn check_namespace(&self, call: &Call) -> Result<(), Failure> {
        if !call.kind.namespaced {
            return Ok(());
        }
        let namespaces = self
            .registry
            .find("", "v1", "namespaces")
            .ok_or_else(Failure::no_such_path)?;
        debug_assert!(namespaces.names == NameRule::Label, "namespaces are DNS labels");
        let Some(namespace) = self.store.get(&namespaces.table, "", &call.namespace) else {
            return Err(Failure::not_found(&namespaces, &call.namespace));
        };
        if namespace.value["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let detail = format!(
            "unable to create new content in namespace {} because it is being terminated",
            call.namespace
        );
        let mut failure = Failure::forbidden(&call.kind, &call.name, &detail);
        if let Some(details) = &mut failure.details {
            details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {} is being terminated", call.namespace),
                "field": "metadata.namespace",
            }]);
        }
        Err(failure)
    }
}
