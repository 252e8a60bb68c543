//! One request, as the pipeline sees it: who wants what, and how.
//!
//! Owns: the values every stage reads, the warnings every stage may add. Never: performs anything.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::kinds::Kind;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
}

impl User {
    /// The holder of the kubeconfig's token.
    pub(crate) fn admin() -> Self {
        Self {
            name: "admin".to_owned(),
            uid: "admin".to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
        }
    }

    pub(crate) fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            uid: String::new(),
            groups: vec!["system:unauthenticated".to_owned()],
        }
    }

    /// A controller that lives in the cluster.
    pub(crate) fn controller() -> Self {
        Self {
            name: "system:kube-controller-manager".to_owned(),
            uid: String::new(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
        }
    }

    pub(crate) fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            uid: uid.to_owned(),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
        }
    }

    /// `userInfo` of reviews.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name});
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        info["groups"] = json!(self.groups);
        info
    }
}

/// What happens to unknown fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// A request for one resource type.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) kind: Arc<Kind>,
    /// Empty: cluster-scoped, or all namespaces.
    pub(crate) namespace: String,
    /// Empty: the collection.
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) user: Arc<User>,
    pub(crate) manager: String,
    pub(crate) dry_run: bool,
    pub(crate) force: bool,
    pub(crate) validation: FieldValidation,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Call {
    pub(crate) fn new(kind: Arc<Kind>, user: Arc<User>) -> Self {
        Self {
            kind,
            namespace: String::new(),
            name: String::new(),
            subresource: String::new(),
            user,
            manager: "unknown".to_owned(),
            dry_run: false,
            force: false,
            validation: FieldValidation::Warn,
            warnings: Arc::default(),
        }
    }

    /// The same request for one object.
    pub(crate) fn named(&self, namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// The same request for a subresource of its object, or with `""` for the object itself.
    pub(crate) fn of(&self, subresource: &str) -> Self {
        Self {
            subresource: subresource.to_owned(),
            ..self.clone()
        }
    }

    /// Adds a warning for the client; repeated ones and those no header can carry are dropped.
    pub(crate) fn warn(&self, text: &str) {
        if text.is_empty() || text.chars().any(char::is_control) {
            return;
        }
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.iter().any(|w| w == text) {
            warnings.push(text.to_owned());
        }
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// `request.options` of an AdmissionReview.
    pub(crate) fn options(&self, kind: &str) -> Value {
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        if kind != "DeleteOptions" && !self.manager.is_empty() {
            options["fieldManager"] = json!(self.manager);
        }
        options
    }
}
