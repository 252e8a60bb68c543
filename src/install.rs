//! Putting Verdigris into a cluster and taking it out: the CRDs and the webhook configurations.
//!
//! Owns: the text of both webhook configurations and the order of writes. Promises: v1alpha3 is served exactly while
//! its conversion webhook is in force (under strategy `None` a v1alpha3 write is stored without its analysis), both
//! in one write; everything can be repeated; leaving never blocks the cluster. Never touches a Canary.
//!
//! The webhooks must answer before [`install`] is called: from its first write on, the API server calls them.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: talks to the API server, waits by the clock"
)]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, ServiceReference, WebhookClientConfig,
};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::api::crd;
use crate::cluster::ClusterError;
use crate::pki::store;

pub mod trust;

/// The field manager of CRDs and webhook configurations.
pub const FIELD_MANAGER: &str = "verdigris-install";
/// The name of both webhook configurations.
pub const NAME: &str = "verdigris";
/// A namespace with this label set to `disabled` is not reviewed: the way out when all else fails.
pub const OPT_OUT_LABEL: &str = "verdigris.dev/admission";
/// How long the API server may be away, or a CRD may take to be established.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the API server finds the webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `https://host:port` without a path: a process outside the cluster.
    Url(String),
    /// A Service in the cluster.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
}

impl Endpoint {
    /// `clientConfig` of a webhook configuration, for one path.
    fn client_config(&self, path: &str, ca_pem: Option<&str>) -> Value {
        let mut config = match self {
            Endpoint::Url(url) => json!({ "url": format!("{}{path}", url.trim_end_matches('/')) }),
            Endpoint::Service {
                namespace,
                name,
                port,
            } => {
                json!({ "service": { "namespace": namespace, "name": name, "port": port, "path": path } })
            }
        };
        if let Some(pem) = ca_pem {
            config["caBundle"] = STANDARD.encode(pem).into();
        }
        config
    }

    /// The same for a CRD's conversion.
    fn conversion(&self, ca_pem: &str) -> WebhookClientConfig {
        let ca_bundle = Some(ByteString(ca_pem.as_bytes().to_vec()));
        match self {
            Endpoint::Url(url) => WebhookClientConfig {
                ca_bundle,
                service: None,
                url: Some(format!("{}/convert", url.trim_end_matches('/'))),
            },
            Endpoint::Service {
                namespace,
                name,
                port,
            } => WebhookClientConfig {
                ca_bundle,
                service: Some(ServiceReference {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    path: Some("/convert".to_owned()),
                    port: Some(i32::from(*port)),
                }),
                url: None,
            },
        }
    }
}

/// What is registered.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Where the webhooks are.
    pub endpoint: Endpoint,
    /// Whom the API server must trust there, PEM.
    pub ca_pem: String,
}

impl Registration {
    /// By URL when there is one (a process outside the cluster), else by Service, port 443.
    pub fn new(url: Option<Url>, namespace: &str, service: &str, ca_pem: &str) -> Self {
        let endpoint = match url {
            Some(url) => Endpoint::Url(url.into()),
            None => Endpoint::Service {
                namespace: namespace.to_owned(),
                name: service.to_owned(),
                port: 443,
            },
        };
        Self {
            endpoint,
            ca_pem: ca_pem.to_owned(),
        }
    }

    /// The same place, another bundle to trust.
    #[must_use]
    pub fn trusting(&self, ca_pem: String) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            ca_pem,
        }
    }
}

/// Why an installation or its removal failed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The API server refused a write or could not be reached.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// The CRD was accepted and is not served.
    #[error(
        "CustomResourceDefinition {name}: not established within {seconds} s; its conditions say: {conditions}"
    )]
    NotEstablished {
        /// Which.
        name: String,
        /// How long it was waited for.
        seconds: u64,
        /// Its conditions, in short.
        conditions: String,
    },
}

/// Applies the CRDs, waits until they are served, then applies both webhook configurations. Every object then trusts
/// `registration.ca_pem`, so this is also how a new authority is published.
///
/// Behind a Service other replicas may still serve certificates of authorities this one has never seen: what targets
/// trust already and has not expired stays trusted. By URL there is one process: what a killed one left is replaced.
pub async fn install(client: &Client, registration: &Registration) -> Result<(), InstallError> {
    let ca_pem = match &registration.endpoint {
        Endpoint::Url(_) => registration.ca_pem.clone(),
        Endpoint::Service { .. } => {
            let present = trusted(client).await?;
            store::unexpired(&format!("{}{present}", registration.ca_pem), Timestamp::now())
        }
    };
    let mut definitions = crd::all(Some(registration.endpoint.conversion(&ca_pem)));
    for definition in &mut definitions {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let present = Api::<CustomResourceDefinition>::all(client.clone())
            .get_opt(&name)
            .await
            .map_err(|error| ClusterError::of(label(&CRD, &name), error))?;
        let stored = present.and_then(|present| present.status?.stored_versions);
        crd::keep_stored(definition, &stored.unwrap_or_default());
    }
    if let Endpoint::Url(_) = registration.endpoint {
        make_room(client, registration, &ca_pem).await?;
    }
    for definition in &definitions {
        let name = definition.metadata.name.as_deref().unwrap_or_default();
        apply(client, &CRD, name, definition).await?;
    }
    for definition in &definitions {
        established(client, definition.metadata.name.as_deref().unwrap_or_default()).await?;
    }
    for (kind, object) in configurations(&registration.endpoint, Some(&ca_pem)) {
        apply(client, &kind, NAME, &object).await?;
    }
    Ok(())
}

/// Takes out the Service that manifests named where this process registers a URL: a server-side apply leaves what
/// others wrote, and both at once are refused.
async fn make_room(client: &Client, registration: &Registration, ca_pem: &str) -> Result<(), InstallError> {
    for (target, name, place) in [
        (CRD, "canaries.flagger.app", "/spec/conversion/webhook"),
        (MUTATING, NAME, "/webhooks/0"),
        (VALIDATING, NAME, "/webhooks/0"),
    ] {
        let api = target.api(client);
        let failed = |error| ClusterError::of(label(&target, name), error);
        let found = api.get_opt(name).await.map_err(failed)?;
        let service = format!("{place}/clientConfig/service");
        let Some(found) = found.filter(|found| found.data.pointer(&service).is_some()) else {
            continue;
        };
        let mut patch = if target == CRD {
            let mut there =
                serde_json::to_value(registration.endpoint.conversion(ca_pem)).unwrap_or_default();
            there["service"] = Value::Null;
            json!({ "spec": { "conversion": { "webhook": { "clientConfig": there } } } })
        } else {
            json!({ "webhooks": null })
        };
        patch["metadata"] = json!({ "resourceVersion": found.metadata.resource_version });
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch(name, &parameters, &Patch::Merge(patch))
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Applies one definition and waits until it is served.
pub async fn adopt(client: &Client, definition: &CustomResourceDefinition) -> Result<(), InstallError> {
    let name = definition.metadata.name.as_deref().unwrap_or_default();
    apply(client, &CRD, name, definition).await?;
    established(client, name).await
}

/// What the targets trust at present, all of it, PEM.
async fn trusted(client: &Client) -> Result<String, InstallError> {
    let places = [
        (CRD, "canaries.flagger.app", "/spec/conversion/webhook"),
        (MUTATING, NAME, "/webhooks/0"),
        (VALIDATING, NAME, "/webhooks/0"),
    ];
    let mut present = String::new();
    for (target, name, place) in places {
        let found = target
            .api(client)
            .get_opt(name)
            .await
            .map_err(|error| ClusterError::of(label(&target, name), error))?;
        let bundle = found
            .as_ref()
            .and_then(|object| object.data.pointer(&format!("{place}/clientConfig/caBundle")))
            .and_then(Value::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        present.push_str(&bundle.unwrap_or_default());
    }
    Ok(present)
}

/// Removes both webhook configurations, then stops serving v1alpha3 and sets the strategy to `None` in one patch.
/// What is not there is left alone, so it can be repeated.
pub async fn uninstall(client: &Client) -> Result<(), InstallError> {
    for kind in [MUTATING, VALIDATING] {
        let api = &kind.api(client);
        retried(&kind, NAME, || async move {
            match api.delete(NAME, &DeleteParams::default()).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                // The shipped rights allow to change the object, not to delete it. Without webhooks it does nothing.
                Err(kube::Error::Api(status)) if status.code == 403 => empty(api).await,
                Err(error) => Err(error),
            }
        })
        .await?;
    }
    let api = &CRD.api(client);
    retried(&CRD, "canaries.flagger.app", || async move {
        let Some(found) = api.get_opt("canaries.flagger.app").await? else {
            return Ok(());
        };
        let Some(patch) = closing(&found.data, found.metadata.resource_version.as_deref()) else {
            return Ok(());
        };
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch("canaries.flagger.app", &parameters, &Patch::<Value>::Merge(patch))
            .await?;
        Ok(())
    })
    .await?;
    Ok(())
}

/// Takes the webhooks out of a configuration.
async fn empty(api: &Api<DynamicObject>) -> Result<(), kube::Error> {
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let none = json!({ "webhooks": null });
    match api.patch(NAME, &parameters, &Patch::Merge(none)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The merge patch that ends conversion by webhook: v1alpha3 unserved and strategy `None` at once. `None` when there
/// is no webhook to end. Carries the resourceVersion it was computed from: lists are replaced whole.
fn closing(crd: &Value, resource_version: Option<&str>) -> Option<Value> {
    if crd.pointer("/spec/conversion/strategy")? != "Webhook" {
        return None;
    }
    let mut versions = crd.pointer("/spec/versions")?.clone();
    for version in versions.as_array_mut()? {
        if version["name"] == "v1alpha3" {
            version["served"] = false.into();
        }
    }
    Some(json!({
        "metadata": { "resourceVersion": resource_version },
        "spec": { "versions": versions, "conversion": { "strategy": "None", "webhook": null } },
    }))
}

/// The webhook configurations, every field said: what is left out, the API server fills in and GitOps tools show as
/// drift.
///
/// Mutation may fail open, since it only writes defaults down and validation refuses the same mistakes. DELETE is an
/// entry of its own that fails open: a dead webhook must never keep an object from being deleted.
pub fn configurations(endpoint: &Endpoint, ca_pem: Option<&str>) -> [(Target, Value); 2] {
    let entry = |name: &str, path: &str, operations: &[&str], failure_policy: &str, timeout: u8| {
        json!({
            "name": format!("{name}.verdigris.dev"),
            "clientConfig": endpoint.client_config(path, ca_pem),
            "rules": [{
                "apiGroups": ["flagger.app"],
                "apiVersions": ["v1beta1", "v1alpha3"],
                "operations": operations,
                "resources": ["canaries", "metrictemplates", "alertproviders"],
                "scope": "Namespaced",
            }],
            "failurePolicy": failure_policy,
            "matchPolicy": "Equivalent",
            "namespaceSelector": {
                "matchExpressions": [{ "key": OPT_OUT_LABEL, "operator": "NotIn", "values": ["disabled"] }],
            },
            "objectSelector": {},
            "sideEffects": "None",
            "timeoutSeconds": timeout,
            "admissionReviewVersions": ["v1"],
        })
    };
    let mut mutate = entry("mutate", "/mutate", &["CREATE", "UPDATE"], "Ignore", 10);
    mutate["reinvocationPolicy"] = "Never".into();
    let validate = entry("validate", "/validate", &["CREATE", "UPDATE"], "Fail", 10);
    // A delete waits for a dead webhook no longer than this.
    let deletes = entry("delete", "/validate", &["DELETE"], "Ignore", 2);
    let configuration = |target: &Target, webhooks: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": target.kind,
            "metadata": { "name": NAME, "labels": { "app.kubernetes.io/name": "verdigris" } },
            "webhooks": webhooks,
        })
    };
    [
        (MUTATING, configuration(&MUTATING, json!([mutate]))),
        (VALIDATING, configuration(&VALIDATING, json!([validate, deletes]))),
    ]
}

/// A cluster-scoped kind that carries a `caBundle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
}

const CRD: Target = Target {
    group: "apiextensions.k8s.io",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
};
const MUTATING: Target = Target {
    group: "admissionregistration.k8s.io",
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
};
const VALIDATING: Target = Target {
    group: "admissionregistration.k8s.io",
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
};

impl Target {
    fn api(&self, client: &Client) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(self.group, "v1", self.kind);
        Api::all_with(
            client.clone(),
            &ApiResource::from_gvk_with_plural(&kind, self.plural),
        )
    }
}

/// Server-side apply, by force: these objects are ours.
async fn apply<T: serde::Serialize + std::fmt::Debug>(
    client: &Client,
    target: &Target,
    name: &str,
    object: &T,
) -> Result<(), InstallError> {
    let api = &target.api(client);
    let parameters = &PatchParams::apply(FIELD_MANAGER).force();
    retried(target, name, || async move {
        api.patch(name, parameters, &Patch::Apply(object))
            .await
            .map(|_| ())
    })
    .await
}

/// Waits until the API server serves a CRD.
async fn established(client: &Client, name: &str) -> Result<(), InstallError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let end = Instant::now() + PATIENCE;
    loop {
        let found = api
            .get(name)
            .await
            .map_err(|error| ClusterError::of(label(&CRD, name), error))?;
        let conditions = found
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        if conditions
            .iter()
            .any(|condition| condition.type_ == "Established" && condition.status == "True")
        {
            return Ok(());
        }
        if Instant::now() >= end {
            let said: Vec<String> = conditions
                .iter()
                .map(|condition| {
                    let message = condition.message.as_deref().unwrap_or_default();
                    format!("{}={} {message}", condition.type_, condition.status)
                })
                .collect();
            return Err(InstallError::NotEstablished {
                name: name.to_owned(),
                seconds: PATIENCE.as_secs(),
                conditions: said.join(", "),
            });
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Calls until it succeeds, is refused for good, or [`PATIENCE`] is over: the API server may be restarting, and
/// somebody else may write the same object.
async fn retried<F: Future<Output = kube::Result<()>>>(
    target: &Target,
    name: &str,
    call: impl Fn() -> F,
) -> Result<(), InstallError> {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(100);
    loop {
        let error = match call().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let passes = match &error {
            kube::Error::Api(status) => status.is_conflict() || status.code == 429 || status.code >= 500,
            _ => true,
        };
        let what = label(target, name);
        if !passes || Instant::now() + pause >= end {
            return Err(ClusterError::of(what, error).into());
        }
        tracing::warn!(what, %error, "not written; trying again");
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

fn label(target: &Target, name: &str) -> String {
    format!("{} {name}", target.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_unserves_the_old_version_and_ends_conversion_in_one_patch() {
        let crd = json!({"spec": {
            "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://a/convert"}}},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": true},
                {"name": "v1alpha3", "served": true, "storage": false},
            ],
        }});
        let patch = closing(&crd, Some("7")).unwrap();
        assert_eq!(
            patch,
            json!({
                "metadata": {"resourceVersion": "7"},
                "spec": {
                    "conversion": {"strategy": "None", "webhook": null},
                    "versions": [
                        {"name": "v1beta1", "served": true, "storage": true},
                        {"name": "v1alpha3", "served": false, "storage": false},
                    ],
                },
            })
        );
    }

    #[test]
    fn leaving_twice_or_without_a_webhook_changes_nothing() {
        for crd in [
            json!({"spec": {"conversion": {"strategy": "None"}, "versions": []}}),
            json!({"spec": {"versions": [{"name": "v1beta1"}]}}),
        ] {
            assert_eq!(closing(&crd, None), None);
        }
    }

    #[test]
    fn the_url_is_registered_with_its_paths() {
        for url in ["https://127.0.0.1:9443", "https://127.0.0.1:9443/"] {
            let endpoint = Endpoint::Url(url.to_owned());
            let [(_, mutating), (_, validating)] = configurations(&endpoint, Some("PEM"));
            let at = |value: &Value, index: usize| value["webhooks"][index]["clientConfig"].clone();
            assert_eq!(
                at(&mutating, 0),
                json!({"url": "https://127.0.0.1:9443/mutate", "caBundle": "UEVN"})
            );
            assert_eq!(at(&validating, 0)["url"], "https://127.0.0.1:9443/validate");
            assert_eq!(
                endpoint.conversion("PEM").url.unwrap(),
                "https://127.0.0.1:9443/convert"
            );
        }
    }

    #[test]
    fn a_dead_webhook_never_blocks_a_delete() {
        let endpoint = Endpoint::Service {
            namespace: "verdigris-system".to_owned(),
            name: "verdigris-webhook".to_owned(),
            port: 443,
        };
        let mut deletions = 0;
        for (_, configuration) in configurations(&endpoint, None) {
            for webhook in configuration["webhooks"].as_array().unwrap() {
                let rules = webhook["rules"].as_array().unwrap();
                for rule in rules {
                    let operations = rule["operations"].as_array().unwrap();
                    if operations.contains(&"DELETE".into()) {
                        deletions += 1;
                        assert_eq!(operations.len(), 1, "an entry of its own");
                        assert_eq!(webhook["failurePolicy"], "Ignore");
                        // On DELETE `object` has no metadata: a condition on it fails the request.
                        assert!(webhook.get("matchConditions").is_none());
                    }
                    for resource in rule["resources"].as_array().unwrap() {
                        let resource = resource.as_str().unwrap();
                        assert!(
                            !resource.contains(['/', '*']),
                            "{resource}: status and scale are not reviewed"
                        );
                    }
                }
                assert_eq!(webhook["sideEffects"], "None");
            }
        }
        assert_eq!(deletions, 1);
    }
}
