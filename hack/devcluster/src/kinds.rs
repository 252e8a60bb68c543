//! The resource types a cluster serves: built-in ones as rows of a table, custom ones added from their CRDs.
//!
//! Owns: names, versions, scope, subresources and the few switches by which types differ. Promises: one row is all
//! a built-in type needs to be stored, listed, watched, patched and discovered. Never: defaults or validates.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::schema::KindRef;
use crate::server::custom::Custom;
use crate::store::Table;

/// What can be done with a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbs {
    /// Stored objects: get, list, watch, create, update, patch, delete, deletecollection.
    All,
    /// Questions that are answered and not stored (SelfSubjectAccessReview).
    Ask,
}

/// How an object's name must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// RFC 1123 subdomain.
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// Anything that is one path segment (RBAC).
    Path,
}

/// A served resource type at one version.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    #[expect(clippy::struct_field_names, reason = "Kubernetes' word")]
    pub(crate) kind: String,
    #[expect(clippy::struct_field_names, reason = "Kubernetes' word")]
    pub(crate) list_kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) subresources: Vec<String>,
    pub(crate) verbs: Verbs,
    pub(crate) names: NameRule,
    /// `metadata.generation` counts changes of the desired state.
    pub(crate) generation: bool,
    /// Deletion waits for the object's own grace period (Pods).
    pub(crate) graceful: bool,
    /// A PUT must carry the resourceVersion.
    pub(crate) locked_updates: bool,
    /// A PUT to a name that does not exist creates it.
    pub(crate) create_on_update: bool,
    /// The group and plural it is stored under (core and events.k8s.io events share theirs).
    pub(crate) table: Table,
    /// The apiVersion objects are stored at.
    pub(crate) storage: String,
    /// The CRD behind it; `None` for built-in types.
    pub(crate) custom: Option<Arc<Custom>>,
}

impl Kind {
    /// `apps/v1`, or `v1` for the core group.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// `deployments.apps`, or `pods` for the core group: as error messages name it.
    pub(crate) fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The kind as patches and schemas name it.
    pub(crate) fn reference(&self) -> KindRef<'_> {
        KindRef::new(&self.group, &self.version, &self.kind)
    }

    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|s| s == subresource)
    }

    /// Whether this is `plural` of `group`, at any version.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }
}

/// `group/version`, or the version alone for the core group.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Splits `apps/v1` into group and version; `v1` has the empty group.
pub(crate) fn split_api_version(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("", text))
}

const CORE: &str = "";
const APPS: &str = "apps";
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";

struct Row(Kind);

fn row(group: &str, version: &str, plural: &str, kind: &str) -> Row {
    Row(Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        subresources: Vec::new(),
        verbs: Verbs::All,
        names: NameRule::Subdomain,
        generation: false,
        graceful: false,
        locked_updates: false,
        create_on_update: false,
        table: Table {
            group: group.to_owned(),
            plural: plural.to_owned(),
        },
        storage: api_version(group, version),
        custom: None,
    })
}

impl Row {
    fn cluster(mut self) -> Self {
        self.0.namespaced = false;
        self
    }
    fn short(mut self, names: &[&str]) -> Self {
        self.0.short_names = names.iter().map(|&s| s.to_owned()).collect();
        self
    }
    fn all(mut self) -> Self {
        self.0.categories.push("all".to_owned());
        self
    }
    fn category(mut self, name: &str) -> Self {
        self.0.categories.push(name.to_owned());
        self
    }
    fn sub(mut self, names: &[&str]) -> Self {
        self.0.subresources = names.iter().map(|&s| s.to_owned()).collect();
        self
    }
    fn ask(mut self) -> Self {
        self.0.verbs = Verbs::Ask;
        self
    }
    fn names(mut self, rule: NameRule) -> Self {
        self.0.names = rule;
        self
    }
    fn generation(mut self) -> Self {
        self.0.generation = true;
        self
    }
    fn graceful(mut self) -> Self {
        self.0.graceful = true;
        self
    }
    fn locked(mut self) -> Self {
        self.0.locked_updates = true;
        self
    }
    fn create_on_update(mut self) -> Self {
        self.0.create_on_update = true;
        self
    }
    fn stored_as(mut self, group: &str, version: &str) -> Self {
        group.clone_into(&mut self.0.table.group);
        self.0.storage = api_version(group, version);
        self
    }
}

/// Built-in types, as kube-apiserver 1.36 declares them.
fn builtin() -> Vec<Row> {
    vec![
        row(CORE, "v1", "namespaces", "Namespace")
            .cluster()
            .short(&["ns"])
            .sub(&["status", "finalize"])
            .names(NameRule::Label),
        row(CORE, "v1", "pods", "Pod")
            .short(&["po"])
            .all()
            .sub(&["status", "binding", "eviction", "log"])
            .generation()
            .graceful(),
        row(CORE, "v1", "services", "Service")
            .short(&["svc"])
            .all()
            .sub(&["status"])
            .names(NameRule::Label),
        row(CORE, "v1", "endpoints", "Endpoints")
            .short(&["ep"])
            .create_on_update(),
        row(CORE, "v1", "configmaps", "ConfigMap").short(&["cm"]),
        row(CORE, "v1", "secrets", "Secret"),
        row(CORE, "v1", "events", "Event")
            .short(&["ev"])
            .create_on_update(),
        row(CORE, "v1", "serviceaccounts", "ServiceAccount")
            .short(&["sa"])
            .sub(&["token"]),
        row(CORE, "v1", "nodes", "Node")
            .cluster()
            .short(&["no"])
            .sub(&["status"]),
        row(CORE, "v1", "persistentvolumes", "PersistentVolume")
            .cluster()
            .short(&["pv"])
            .sub(&["status"])
            .create_on_update(),
        row(CORE, "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
            .short(&["pvc"])
            .sub(&["status"]),
        row(CORE, "v1", "replicationcontrollers", "ReplicationController")
            .short(&["rc"])
            .all()
            .sub(&["status", "scale"])
            .generation(),
        row(CORE, "v1", "resourcequotas", "ResourceQuota")
            .short(&["quota"])
            .sub(&["status"])
            .create_on_update(),
        row(CORE, "v1", "limitranges", "LimitRange")
            .short(&["limits"])
            .create_on_update(),
        row(CORE, "v1", "podtemplates", "PodTemplate")
            .generation()
            .create_on_update(),
        row(CORE, "v1", "bindings", "Binding").ask(),
        row(APPS, "v1", "deployments", "Deployment")
            .short(&["deploy"])
            .all()
            .sub(&["status", "scale"])
            .generation(),
        row(APPS, "v1", "replicasets", "ReplicaSet")
            .short(&["rs"])
            .all()
            .sub(&["status", "scale"])
            .generation(),
        row(APPS, "v1", "daemonsets", "DaemonSet")
            .short(&["ds"])
            .all()
            .sub(&["status"])
            .generation(),
        row(APPS, "v1", "statefulsets", "StatefulSet")
            .short(&["sts"])
            .all()
            .sub(&["status", "scale"])
            .generation(),
        row(APPS, "v1", "controllerrevisions", "ControllerRevision"),
        row("batch", "v1", "jobs", "Job")
            .all()
            .sub(&["status"])
            .generation(),
        row("batch", "v1", "cronjobs", "CronJob")
            .short(&["cj"])
            .all()
            .sub(&["status"])
            .generation(),
        row(
            "autoscaling",
            "v2",
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
        )
        .short(&["hpa"])
        .all()
        .sub(&["status"]),
        row(
            "autoscaling",
            "v1",
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
        )
        .short(&["hpa"])
        .all()
        .sub(&["status"])
        .stored_as("autoscaling", "v2"),
        row("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
            .short(&["pdb"])
            .sub(&["status"])
            .generation(),
        row("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
            .short(&["netpol"])
            .generation(),
        row("networking.k8s.io", "v1", "ingresses", "Ingress")
            .short(&["ing"])
            .sub(&["status"])
            .generation(),
        row("networking.k8s.io", "v1", "ingressclasses", "IngressClass")
            .cluster()
            .generation(),
        row("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice").generation(),
        row("events.k8s.io", "v1", "events", "Event")
            .short(&["ev"])
            .create_on_update()
            .stored_as(CORE, "v1"),
        row("coordination.k8s.io", "v1", "leases", "Lease")
            .create_on_update()
            .locked(),
        row("storage.k8s.io", "v1", "storageclasses", "StorageClass")
            .cluster()
            .short(&["sc"]),
        row("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass")
            .cluster()
            .short(&["pc"])
            .generation(),
        row(RBAC, "v1", "roles", "Role")
            .names(NameRule::Path)
            .create_on_update(),
        row(RBAC, "v1", "rolebindings", "RoleBinding")
            .names(NameRule::Path)
            .create_on_update(),
        row(RBAC, "v1", "clusterroles", "ClusterRole")
            .cluster()
            .names(NameRule::Path)
            .create_on_update(),
        row(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding")
            .cluster()
            .names(NameRule::Path)
            .create_on_update(),
        row(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
        )
        .cluster()
        .short(&["crd", "crds"])
        .category("api-extensions")
        .sub(&["status"])
        .generation()
        .locked(),
        row(
            ADMISSION,
            "v1",
            "validatingwebhookconfigurations",
            "ValidatingWebhookConfiguration",
        )
        .cluster()
        .category("api-extensions")
        .generation(),
        row(
            ADMISSION,
            "v1",
            "mutatingwebhookconfigurations",
            "MutatingWebhookConfiguration",
        )
        .cluster()
        .category("api-extensions")
        .generation(),
        row(
            AUTHORIZATION,
            "v1",
            "selfsubjectaccessreviews",
            "SelfSubjectAccessReview",
        )
        .cluster()
        .ask(),
        row(
            AUTHORIZATION,
            "v1",
            "selfsubjectrulesreviews",
            "SelfSubjectRulesReview",
        )
        .cluster()
        .ask(),
        row(AUTHORIZATION, "v1", "subjectaccessreviews", "SubjectAccessReview")
            .cluster()
            .ask(),
        row(
            AUTHORIZATION,
            "v1",
            "localsubjectaccessreviews",
            "LocalSubjectAccessReview",
        )
        .ask(),
        row(AUTHENTICATION, "v1", "tokenreviews", "TokenReview")
            .cluster()
            .ask(),
        row(AUTHENTICATION, "v1", "selfsubjectreviews", "SelfSubjectReview")
            .cluster()
            .ask(),
    ]
}

type Key = (String, String, String);

/// The types served now.
#[derive(Debug)]
pub(crate) struct Registry {
    kinds: RwLock<BTreeMap<Key, Arc<Kind>>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        let kinds = builtin()
            .into_iter()
            .map(|row| (key(&row.0), Arc::new(row.0)))
            .collect();
        Self {
            kinds: RwLock::new(kinds),
        }
    }

    /// The type behind a path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.kinds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned()
    }

    /// Every version of a resource type.
    pub(crate) fn versions(&self, group: &str, plural: &str) -> Vec<Arc<Kind>> {
        self.all().into_iter().filter(|k| k.is(group, plural)).collect()
    }

    /// Every served type, by group, version and plural.
    pub(crate) fn all(&self) -> Vec<Arc<Kind>> {
        self.kinds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Replaces what a CRD serves (nothing, when it is gone).
    pub(crate) fn replace(&self, group: &str, plural: &str, versions: Vec<Kind>) {
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        kinds.retain(|_, k| !k.is(group, plural));
        kinds.extend(versions.into_iter().map(|k| (key(&k), Arc::new(k))));
    }
}

fn key(kind: &Kind) -> Key {
    (kind.group.clone(), kind.version.clone(), kind.plural.clone())
}

/// The order in which Kubernetes prefers versions: GA before beta before alpha, then the higher number; names that
/// are no versions last, by alphabet (KEP-1111, `k8s.io/apimachinery/pkg/version`).
pub(crate) fn version_order(a: &str, b: &str) -> std::cmp::Ordering {
    match (parse_version(a), parse_version(b)) {
        (Some(left), Some(right)) => right.cmp(&left),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// (stability, major, minor), greater is preferred.
fn parse_version(text: &str) -> Option<(u8, u64, u64)> {
    let rest = text.strip_prefix('v')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..digits].parse().ok()?;
    let rest = &rest[digits..];
    if rest.is_empty() {
        return Some((2, major, 0));
    }
    let (stability, minor) = rest
        .strip_prefix("beta")
        .map(|minor| (1, minor))
        .or_else(|| rest.strip_prefix("alpha").map(|minor| (0, minor)))?;
    Some((stability, major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_kubernetes_prefers_them() {
        let mut versions = ["foo", "v1alpha3", "v10", "v1beta1", "v2", "v11beta2", "bar", "v1"];
        versions.sort_by(|a, b| version_order(a, b));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v11beta2", "v1beta1", "v1alpha3", "bar", "foo"]
        );
    }

    #[test]
    fn rows_are_unique() {
        let rows = builtin();
        assert_eq!(Registry::new().all().len(), rows.len());
    }
}
