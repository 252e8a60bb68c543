//! Schemas of the built-in kinds: k8s-openapi's types, and the markers their JSON shape does not show
//! (`markers.txt`: list types and keys, merge keys, atomic structs).
//!
//! Owns the definitions everything else resolves `$ref`s against. Custom kinds never get in.

mod decode;

use std::sync::LazyLock;

use k8s_openapi::api::{
    admissionregistration::v1 as admissionregistration, apps::v1 as apps,
    authentication::v1 as authentication, authorization::v1 as authorization, autoscaling,
    batch::v1 as batch, coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
    events::v1 as events, networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac,
    scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;
use k8s_openapi::schemars::generate::{SchemaGenerator, SchemaSettings};
use k8s_openapi::{ListableResource, Resource};
use serde_json::{Map, Value, json};

use super::{KindRef, Schema};
pub use decode::{Decoded, decode, decoded};

/// Package of the shared metadata types.
pub const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

const MARKERS: &str = include_str!("markers.txt");

/// Any JSON value, not only objects.
const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";

/// Types that hold any JSON.
const OPAQUE: [&str; 3] = [
    JSON,
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
];

static BUILTIN: LazyLock<Builtin> = LazyLock::new(Builtin::load);

struct Builtin {
    definitions: Map<String, Value>,
    /// Group, version, kind and definition name.
    kinds: Vec<(String, String, String, String)>,
}

/// Collects definitions and the kinds they are of.
struct Collector {
    generator: SchemaGenerator,
    kinds: Vec<(String, String, String, String)>,
    lists: Vec<(String, String)>,
}

impl Collector {
    /// A kind without a list (a subresource or a review).
    fn kind<T: Resource + k8s_openapi::schemars::JsonSchema>(&mut self) {
        self.generator.subschema_for::<T>();
        self.kinds.push((
            T::GROUP.to_owned(),
            T::VERSION.to_owned(),
            T::KIND.to_owned(),
            T::schema_name().into_owned(),
        ));
    }

    /// A kind and its list.
    fn listed<T: ListableResource + k8s_openapi::schemars::JsonSchema>(&mut self) {
        self.kind::<T>();
        let item = T::schema_name().into_owned();
        let package = item.rsplit_once('.').map_or("", |(package, _)| package);
        let list = format!("{package}.{}", T::LIST_KIND);
        self.kinds.push((
            T::GROUP.to_owned(),
            T::VERSION.to_owned(),
            T::LIST_KIND.to_owned(),
            list.clone(),
        ));
        self.lists.push((list, item));
    }
}

impl Builtin {
    fn load() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/definitions".into();
        let mut all = Collector {
            generator: settings.into_generator(),
            kinds: Vec::new(),
            lists: Vec::new(),
        };
        core_kinds(&mut all);
        group_kinds(&mut all);
        all.generator.subschema_for::<meta::DeleteOptions>();
        let mut definitions = all.generator.take_definitions(false);
        for (name, item) in &all.lists {
            definitions.insert(name.clone(), list_definition(name, item));
        }
        for name in OPAQUE {
            if let Some(node) = definitions.get_mut(name).and_then(Value::as_object_mut) {
                node.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
                if name == JSON {
                    // Texts and numbers too: the values of `enum` and `default`.
                    node.shift_remove("type");
                }
            }
        }
        for (group, version, kind, name) in &all.kinds {
            if let Some(definition) = definitions.get_mut(name) {
                definition["x-kubernetes-group-version-kind"] =
                    json!([{"group": group, "kind": kind, "version": version}]);
            }
        }
        mark(&mut definitions);
        Self {
            definitions,
            kinds: all.kinds,
        }
    }
}

fn core_kinds(all: &mut Collector) {
    all.kind::<core::Binding>();
    all.listed::<core::ConfigMap>();
    all.listed::<core::Endpoints>();
    all.listed::<core::Event>();
    all.listed::<core::LimitRange>();
    all.listed::<core::Namespace>();
    all.listed::<core::Node>();
    all.listed::<core::PersistentVolume>();
    all.listed::<core::PersistentVolumeClaim>();
    all.listed::<core::Pod>();
    all.listed::<core::PodTemplate>();
    all.listed::<core::ReplicationController>();
    all.listed::<core::ResourceQuota>();
    all.listed::<core::Secret>();
    all.listed::<core::Service>();
    all.listed::<core::ServiceAccount>();
    all.kind::<meta::Status>();
}

fn group_kinds(all: &mut Collector) {
    all.listed::<admissionregistration::MutatingWebhookConfiguration>();
    all.listed::<admissionregistration::ValidatingWebhookConfiguration>();
    all.listed::<admissionregistration::ValidatingAdmissionPolicy>();
    all.listed::<admissionregistration::ValidatingAdmissionPolicyBinding>();
    all.listed::<apiextensions::CustomResourceDefinition>();
    all.listed::<apiregistration::APIService>();
    all.listed::<apps::ControllerRevision>();
    all.listed::<apps::DaemonSet>();
    all.listed::<apps::Deployment>();
    all.listed::<apps::ReplicaSet>();
    all.listed::<apps::StatefulSet>();
    all.kind::<authentication::SelfSubjectReview>();
    all.kind::<authentication::TokenRequest>();
    all.kind::<authentication::TokenReview>();
    all.kind::<authorization::LocalSubjectAccessReview>();
    all.kind::<authorization::SelfSubjectAccessReview>();
    all.kind::<authorization::SelfSubjectRulesReview>();
    all.kind::<authorization::SubjectAccessReview>();
    all.listed::<autoscaling::v1::HorizontalPodAutoscaler>();
    all.kind::<autoscaling::v1::Scale>();
    all.listed::<autoscaling::v2::HorizontalPodAutoscaler>();
    all.listed::<batch::CronJob>();
    all.listed::<batch::Job>();
    all.listed::<coordination::Lease>();
    all.listed::<discovery::EndpointSlice>();
    all.listed::<events::Event>();
    all.listed::<networking::Ingress>();
    all.listed::<networking::IngressClass>();
    all.listed::<networking::NetworkPolicy>();
    all.kind::<policy::Eviction>();
    all.listed::<policy::PodDisruptionBudget>();
    all.listed::<rbac::ClusterRole>();
    all.listed::<rbac::ClusterRoleBinding>();
    all.listed::<rbac::Role>();
    all.listed::<rbac::RoleBinding>();
    all.listed::<scheduling::PriorityClass>();
    all.listed::<storage::StorageClass>();
}

fn list_definition(name: &str, item: &str) -> Value {
    let kind = name.rsplit('.').next().unwrap_or(name);
    let item_kind = item.rsplit('.').next().unwrap_or(item);
    json!({
        "description": format!("{kind} is a list of {item_kind}."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the representation of this object."},
            "items": {
                "type": "array", "description": format!("List of {item_kind}."),
                "items": {"$ref": format!("#/definitions/{item}")},
            },
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"$ref": format!("#/definitions/{META}.ListMeta")},
        },
    })
}

/// Adds the `x-kubernetes-*` extensions and defaults of `markers.txt`.
fn mark(definitions: &mut Map<String, Value>) {
    let mut package = "";
    for line in MARKERS.lines().filter(|l| !l.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            package = name.trim_end_matches(']');
            continue;
        }
        let Some((place, words)) = line.split_once(' ') else {
            continue;
        };
        let (kind, field) = place.split_once('.').unwrap_or((place, ""));
        let Some(definition) = definitions.get_mut(&format!("{package}.{kind}")) else {
            continue;
        };
        let node = if field.is_empty() {
            Some(definition)
        } else {
            definition["properties"].get_mut(field)
        };
        if let Some(node) = node.and_then(Value::as_object_mut) {
            words.split(' ').for_each(|word| mark_word(node, word));
        }
    }
}

fn mark_word(node: &mut Map<String, Value>, word: &str) {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let mut strategy = |name: &str| {
        let entry = node
            .entry("x-kubernetes-patch-strategy")
            .or_insert_with(|| json!(""));
        let before = entry.as_str().unwrap_or("");
        *entry = json!(if before.is_empty() {
            name.to_owned()
        } else {
            format!("{before},{name}")
        });
    };
    match key {
        "merge" => {
            strategy("merge");
            if !value.is_empty() {
                node.insert("x-kubernetes-patch-merge-key".to_owned(), json!(value));
            }
        }
        "retain" => strategy("retainKeys"),
        "replace" => strategy("replace"),
        "list" => {
            let (list_type, keys) = value.split_once(':').unwrap_or((value, ""));
            node.insert("x-kubernetes-list-type".to_owned(), json!(list_type));
            if !keys.is_empty() {
                let keys: Vec<&str> = keys.split(',').collect();
                node.insert("x-kubernetes-list-map-keys".to_owned(), json!(keys));
            }
        }
        "struct" | "map" => {
            node.insert("x-kubernetes-map-type".to_owned(), json!(value));
        }
        "default" => {
            node.insert(
                "default".to_owned(),
                serde_json::from_str(value).unwrap_or(Value::Null),
            );
        }
        _ => debug_assert!(false, "marker {word}"),
    }
}

/// OpenAPI definitions by name (`io.k8s.api.apps.v1.Deployment`), their `$ref`s `#/definitions/…`, with
/// `x-kubernetes-*` extensions.
pub fn definitions() -> &'static Map<String, Value> {
    &BUILTIN.definitions
}

/// Name of a built-in kind's definition (`io.k8s.api.apps.v1.Deployment`).
pub fn definition_name(kind: &KindRef<'_>) -> Option<&'static str> {
    BUILTIN
        .kinds
        .iter()
        .find(|(g, v, k, _)| g == kind.group && v == kind.version && k == kind.kind)
        .map(|(_, _, _, name)| name.as_str())
}

/// Schema of a built-in kind; `None` when there is none of that name.
pub fn schema(kind: &KindRef<'_>) -> Option<Schema<'static>> {
    definitions().get(definition_name(kind)?).map(Schema::new)
}

/// A built-in kind's empty object as Go encodes it: struct fields that are no pointers are there, empty. Field
/// ownership on create is told against it. Any other kind has only `apiVersion` and `kind`.
pub fn empty(kind: &KindRef<'_>) -> Value {
    const EMBEDDED: [&str; 8] = [
        "metadata",
        "spec",
        "status",
        "template",
        "strategy",
        "updateStrategy",
        "jobTemplate",
        "scaleTargetRef",
    ];
    fn embedded(schema: Schema<'_>) -> Map<String, Value> {
        let mut members: Map<String, Value> = EMBEDDED
            .iter()
            .filter_map(|name| {
                let below = schema.property(name).filter(|s| s.properties().is_some())?;
                Some(((*name).to_owned(), Value::Object(embedded(below))))
            })
            .collect();
        if schema.property("containers").is_some() {
            members.insert("containers".to_owned(), Value::Null);
        }
        members
    }
    let mut object = schema(kind).map(embedded).unwrap_or_default();
    object.insert("apiVersion".to_owned(), json!(kind.api_version()));
    object.insert("kind".to_owned(), json!(kind.kind));
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: KindRef<'_> = KindRef::new("apps", "v1", "Deployment");

    #[test]
    fn every_reference_resolves() {
        fn walk(node: &Value, broken: &mut Vec<String>) {
            match node {
                Value::Object(members) => {
                    if let Some(path) = members.get("$ref").and_then(Value::as_str) {
                        let name = path.trim_start_matches("#/definitions/");
                        if !definitions().contains_key(name) {
                            broken.push(path.to_owned());
                        }
                    }
                    members.values().for_each(|m| walk(m, broken));
                }
                Value::Array(items) => items.iter().for_each(|i| walk(i, broken)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let mut broken = Vec::new();
        definitions().values().for_each(|d| walk(d, &mut broken));
        assert_eq!(broken, Vec::<String>::new());
        assert!(definitions().len() > 300, "{}", definitions().len());
    }

    #[test]
    fn every_marker_names_a_field_that_exists_or_a_type_not_served() {
        let mut package = "";
        for line in MARKERS.lines().filter(|l| !l.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[') {
                package = name.trim_end_matches(']');
                continue;
            }
            let place = line.split(' ').next().unwrap();
            let (kind, field) = place.split_once('.').unwrap_or((place, ""));
            if let Some(definition) = definitions().get(&format!("{package}.{kind}")) {
                assert!(
                    field.is_empty() || definition["properties"].get(field).is_some(),
                    "{package} {place}"
                );
            }
        }
    }

    #[test]
    fn markers_reach_their_place() {
        let containers = schema(&DEPLOYMENT)
            .and_then(|s| {
                s.property("spec")?
                    .property("template")?
                    .property("spec")?
                    .property("containers")
            })
            .unwrap();
        assert_eq!(containers.text("x-kubernetes-list-type"), Some("map"));
        assert_eq!(containers.text("x-kubernetes-patch-merge-key"), Some("name"));
        let ports = containers.items().property("ports").unwrap();
        assert_eq!(
            ports.attribute("x-kubernetes-list-map-keys"),
            Some(&json!(["containerPort", "protocol"]))
        );
        let selector = schema(&DEPLOYMENT)
            .and_then(|s| s.property("spec")?.property("selector"))
            .unwrap();
        assert_eq!(selector.text("x-kubernetes-map-type"), Some("atomic"));
    }

    #[test]
    fn decoding() {
        let rows = [
            (json!({"spec": {"foo": 1}}), vec!["spec.foo"], vec![]),
            (
                json!({"spec": {"replicas": "3"}}),
                vec![],
                vec![
                    "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
                ],
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "imagee": "b"}]}}}}),
                vec!["spec.template.spec.containers[0].imagee"],
                vec![],
            ),
            (
                json!({"metadata": {"labels": {"a": 1}}}),
                vec![],
                vec![
                    "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
                ],
            ),
            (
                json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}}}),
                vec![],
                vec![],
            ),
            (
                json!({"spec": {"replicas": 3_000_000_000_u32}}),
                vec![],
                vec![
                    "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
                ],
            ),
            (
                json!({"metadata": {"managedFields": [{"fieldsV1": {"f:a": {}}}]}, "spec": null}),
                vec![],
                vec![],
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": {"name": "a"}}}}}),
                vec![],
                vec![
                    "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
                ],
            ),
        ];
        for (object, unknown, mistyped) in rows {
            let found = decode(&DEPLOYMENT, &object);
            assert_eq!(found.unknown, unknown, "{object}");
            assert_eq!(found.mistyped, mistyped, "{object}");
        }
    }

    #[test]
    fn decoded_drops_what_go_drops() {
        let (object, _) = decoded(
            &DEPLOYMENT,
            &json!({"kind": "Deployment", "spec": {"foo": 1, "replicas": null, "paused": true}}),
        );
        assert_eq!(object, json!({"kind": "Deployment", "spec": {"paused": true}}));
    }
}
