//! The CustomResourceDefinitions: every version of every kind, the conversion stanza, and the YAML that is committed
//! as `manifests/base/crd.yaml`.
//!
//! I own what is applied to a cluster. I promise structural schemas without formats the API server does not know.
//! I never talk to a cluster.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionVersion,
    CustomResourceValidation, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ServiceReference, WebhookClientConfig, WebhookConversion,
};
use kube::CustomResourceExt as _;

use super::alert_provider::AlertProvider;
use super::metric_template::MetricTemplate;
use super::{v1alpha3, v1beta1};

/// Where `/convert` is found when Verdigris runs in the cluster it serves.
pub fn service_client_config() -> WebhookClientConfig {
    WebhookClientConfig {
        ca_bundle: None,
        service: Some(ServiceReference {
            namespace: "verdigris-system".to_owned(),
            name: "verdigris-webhook".to_owned(),
            path: Some("/convert".to_owned()),
            port: Some(443),
        }),
        url: None,
    }
}

/// The CRDs of Canary, MetricTemplate and AlertProvider.
///
/// With a client config the Canary is converted by webhook and v1alpha3 is served. Without one the strategy is None
/// and v1alpha3 is not served: a write at v1alpha3 would be stored with its analysis pruned away.
pub fn all(webhook: Option<WebhookClientConfig>) -> Vec<CustomResourceDefinition> {
    vec![
        canary(webhook),
        closed(MetricTemplate::crd()),
        closed(AlertProvider::crd()),
    ]
}

/// The CRD of Canary (see [`all`]).
fn canary(webhook: Option<WebhookClientConfig>) -> CustomResourceDefinition {
    let mut crd = closed(v1beta1::Canary::crd());
    let served = webhook.is_some();
    crd.spec.versions.extend(old_versions(served));
    crd.spec.conversion = Some(match webhook {
        Some(client_config) => CustomResourceConversion {
            strategy: "Webhook".to_owned(),
            webhook: Some(WebhookConversion {
                client_config: Some(client_config),
                conversion_review_versions: vec!["v1".to_owned()],
            }),
        },
        None => CustomResourceConversion {
            strategy: "None".to_owned(),
            webhook: None,
        },
    });
    crd
}

/// v1alpha3, with its open schema.
fn old_versions(served: bool) -> impl Iterator<Item = CustomResourceDefinitionVersion> {
    v1alpha3::Canary::crd()
        .spec
        .versions
        .into_iter()
        .map(move |version| CustomResourceDefinitionVersion {
            served,
            storage: false,
            deprecation_warning: Some(v1alpha3::DEPRECATION_WARNING.to_owned()),
            schema: Some(v1alpha3::open_schema()),
            ..version
        })
}

/// Lists, unserved, the versions of Flagger 0.x that objects may still be stored at (from `status.storedVersions`):
/// the API server refuses a CRD that drops one. Canaries get the open schema of v1alpha3; the other kinds never
/// changed their shape.
pub fn keep_stored(crd: &mut CustomResourceDefinition, stored_versions: &[String]) {
    let versions = &mut crd.spec.versions;
    let alike = |name: &str| versions.iter().find(|version| version.name == name).cloned();
    let Some(old) = alike("v1alpha3").or_else(|| alike("v1beta1")) else {
        return;
    };
    for name in ["v1alpha3", "v1alpha2", "v1alpha1"] {
        let listed = versions.iter().any(|version| version.name == name);
        if !listed && stored_versions.iter().any(|stored| stored == name) {
            versions.push(CustomResourceDefinitionVersion {
                name: name.to_owned(),
                served: false,
                storage: false,
                ..old.clone()
            });
        }
    }
}

/// Finishes a derived CRD: `preserveUnknownFields: false` written out (a CRD born under apiextensions/v1beta1 keeps
/// `true`, which forbids conversion webhooks), and schemas brought to the form the API server keeps.
fn closed(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.spec.preserve_unknown_fields = Some(false);
    for version in &mut crd.spec.versions {
        if let Some(CustomResourceValidation {
            open_api_v3_schema: Some(schema),
        }) = &mut version.schema
        {
            normalise(schema);
        }
    }
    crd
}

/// Formats the API server knows and we use; others make it warn and mean nothing.
const FORMATS: [&str; 3] = ["int32", "int64", "date-time"];

/// Drops `nullable` (Flagger's schema has none: a null is dropped on write) and formats nobody checks.
fn normalise(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if schema
        .format
        .as_deref()
        .is_some_and(|format| !FORMATS.contains(&format))
    {
        schema.format = None;
    }
    for property in schema.properties.iter_mut().flat_map(|map| map.values_mut()) {
        normalise(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        normalise(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        normalise(values);
    }
}

/// All CRDs (see [`all`]) as YAML documents. With [`service_client_config`] this is `manifests/base/crd.yaml`.
pub fn yaml(webhook: Option<WebhookClientConfig>) -> String {
    let mut out = String::from("# Printed by `verdigris crds`; do not edit.\n");
    for crd in all(webhook) {
        out.push_str("---\n");
        // A CRD is plain data; a failure to print it would be a bug in the serializer.
        out.push_str(&serde_saphyr::to_string(&crd).unwrap_or_default());
    }
    out
}

/// The schema v1beta1 Canaries are pruned and judged by.
pub(crate) fn v1beta1_schema() -> Option<JSONSchemaProps> {
    let crd = closed(v1beta1::Canary::crd());
    crd.spec.versions.into_iter().next()?.schema?.open_api_v3_schema
}
