//! The resource types the controller reads and writes.
#![expect(clippy::disallowed_types, reason = "shell: makes APIs of a client")]

use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client};

/// A resource type we read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// API group, `""` for core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural resource name.
    pub plural: &'static str,
}

impl Kind {
    /// `flagger.app/v1beta1` Canary.
    pub const CANARY: Kind = Kind {
        group: "flagger.app",
        version: "v1beta1",
        kind: "Canary",
        plural: "canaries",
    };
    /// `flagger.app/v1beta1` MetricTemplate.
    pub const METRIC_TEMPLATE: Kind = Kind {
        group: "flagger.app",
        version: "v1beta1",
        kind: "MetricTemplate",
        plural: "metrictemplates",
    };
    /// `flagger.app/v1beta1` AlertProvider.
    pub const ALERT_PROVIDER: Kind = Kind {
        group: "flagger.app",
        version: "v1beta1",
        kind: "AlertProvider",
        plural: "alertproviders",
    };
    /// Core Namespace, cluster-scoped.
    pub const NAMESPACE: Kind = Kind {
        group: "",
        version: "v1",
        kind: "Namespace",
        plural: "namespaces",
    };
    /// `apps/v1` Deployment.
    pub const DEPLOYMENT: Kind = Kind {
        group: "apps",
        version: "v1",
        kind: "Deployment",
        plural: "deployments",
    };
    /// `apps/v1` DaemonSet.
    pub const DAEMON_SET: Kind = Kind {
        group: "apps",
        version: "v1",
        kind: "DaemonSet",
        plural: "daemonsets",
    };
    /// `apps/v1` ControllerRevision.
    pub const CONTROLLER_REVISION: Kind = Kind {
        group: "apps",
        version: "v1",
        kind: "ControllerRevision",
        plural: "controllerrevisions",
    };
    /// Core Service.
    pub const SERVICE: Kind = Kind {
        group: "",
        version: "v1",
        kind: "Service",
        plural: "services",
    };
    /// Core Event.
    pub const EVENT: Kind = Kind {
        group: "",
        version: "v1",
        kind: "Event",
        plural: "events",
    };
    /// Core Secret.
    pub const SECRET: Kind = Kind {
        group: "",
        version: "v1",
        kind: "Secret",
        plural: "secrets",
    };
    /// Core ConfigMap.
    pub const CONFIG_MAP: Kind = Kind {
        group: "",
        version: "v1",
        kind: "ConfigMap",
        plural: "configmaps",
    };
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    pub const HPA: Kind = Kind {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
    };
    /// `keda.sh/v1alpha1` ScaledObject.
    pub const SCALED_OBJECT: Kind = Kind {
        group: "keda.sh",
        version: "v1alpha1",
        kind: "ScaledObject",
        plural: "scaledobjects",
    };

    /// `coordination.k8s.io/v1` Lease.
    pub const LEASE: Kind = Kind {
        group: "coordination.k8s.io",
        version: "v1",
        kind: "Lease",
        plural: "leases",
    };

    /// kube's description of the type.
    pub fn resource(self) -> ApiResource {
        ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(self.group, self.version, self.kind),
            self.plural,
        )
    }

    /// The API of one namespace.
    pub fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }

    /// The API of one namespace, or of all with `None`.
    pub fn api_in(self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => self.api(client, namespace),
            None => Api::all_with(client.clone(), &self.resource()),
        }
    }
}
