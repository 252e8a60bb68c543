//! Every overlay renders and can be applied to a cluster, again and again, before and while a process runs.
//!
//! With the real kubectl; skipped, with a message, where none of 1.28 or newer is on PATH (`hack/test` finds one).
#![expect(clippy::print_stdout, reason = "says why it is skipped")]
#![expect(clippy::disallowed_types, reason = "talks to the embedded API server")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use devcluster::{Config, DevCluster};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use verdigris::install::{self, Registration};

use super::{folder, parsed};

#[path = "../support/rights.rs"]
mod rights;

const SYSTEM: &str = "verdigris-system";

/// kubectl 1.28 or newer.
fn kubectl() -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join("kubectl"))
        .find(|file| file.is_file());
    let recent = found.filter(|kubectl| {
        let asked = Command::new(kubectl)
            .args(["version", "--client", "-o", "json"])
            .output();
        let version: Option<Value> = asked
            .ok()
            .and_then(|asked| serde_json::from_slice(&asked.stdout).ok());
        version
            .as_ref()
            .and_then(|version| version["clientVersion"]["minor"].as_str())
            .and_then(|minor| minor.trim_end_matches('+').parse::<u32>().ok())
            .is_some_and(|minor| minor >= 28)
    });
    if recent.is_none() {
        println!("skipped: no kubectl of 1.28 or newer on PATH");
    }
    recent
}

/// What a folder renders to.
fn rendered(kubectl: &Path, place: &Path) -> Vec<Value> {
    let said = Command::new(kubectl)
        .arg("kustomize")
        .arg(place)
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}: {}",
        place.display(),
        String::from_utf8_lossy(&said.stderr)
    );
    parsed(&String::from_utf8(said.stdout).unwrap())
}

fn overlays() -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder().join("overlays")).unwrap();
    let mut all: Vec<PathBuf> = all.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(all.len() >= 5, "{all:?}");
    all
}

fn names(objects: &[Value]) -> BTreeSet<String> {
    let name = |object: &Value| {
        format!(
            "{}/{}",
            object["kind"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap()
        )
    };
    objects.iter().map(name).collect()
}

#[test]
fn the_default_is_two_replicas_and_every_overlay_has_the_whole() {
    let Some(kubectl) = kubectl() else { return };
    let default = rendered(&kubectl, &folder());
    let high = rendered(&kubectl, &folder().join("overlays/high-availability"));
    assert_eq!(default, high);
    for overlay in overlays() {
        let objects = rendered(&kubectl, &overlay);
        let found = names(&objects);
        for wanted in [
            "Namespace/verdigris-system",
            "CustomResourceDefinition/canaries.flagger.app",
            "Service/verdigris-webhook",
            "NetworkPolicy/verdigris",
            "MutatingWebhookConfiguration/verdigris",
            "ValidatingWebhookConfiguration/verdigris",
        ] {
            assert!(found.contains(wanted), "{}: {wanted}", overlay.display());
        }
        let deployments: Vec<&Value> = objects
            .iter()
            .filter(|object| object["kind"] == "Deployment")
            .collect();
        let replicas: i64 = deployments
            .iter()
            .map(|deployment| deployment["spec"]["replicas"].as_i64().unwrap())
            .max()
            .unwrap();
        let single = overlay.ends_with("single-replica");
        assert_eq!(replicas, if single { 1 } else { 2 }, "{}", overlay.display());
        assert_eq!(
            found.contains("PodDisruptionBudget/verdigris"),
            !single,
            "{}",
            overlay.display()
        );
        for deployment in deployments {
            let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
            let tag = format!("verdigris:{}", env!("CARGO_PKG_VERSION"));
            assert_eq!(image, &json!(tag), "{}", overlay.display());
        }
    }
}

#[test]
fn namespaced_rights_end_at_the_namespace() {
    let Some(kubectl) = kubectl() else { return };
    let objects = rendered(&kubectl, &folder().join("overlays/namespaced"));
    let found = names(&objects);
    assert!(!found.contains("ClusterRoleBinding/verdigris-controller"));
    assert!(found.contains("RoleBinding/verdigris-controller"));
    let deployment = objects
        .iter()
        .find(|object| object["kind"] == "Deployment")
        .unwrap();
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let binding = objects
        .iter()
        .find(|object| {
            object["kind"] == "RoleBinding" && object["metadata"]["name"] == "verdigris-controller"
        })
        .unwrap();
    let flag = format!(
        "--namespace={}",
        binding["metadata"]["namespace"].as_str().unwrap()
    );
    assert!(
        arguments.as_array().unwrap().contains(&json!(flag)),
        "{arguments}"
    );
}

/// A cluster without controllers, its admin, and a file with the admin's kubeconfig.
struct Ground {
    cluster: DevCluster,
    config: kube::Config,
    client: Client,
    folder: PathBuf,
}

impl Ground {
    async fn new(name: &str) -> Self {
        let cluster = DevCluster::start(Config {
            controllers: false,
            rbac: true,
            ..Config::default()
        })
        .await
        .unwrap();
        let kubeconfig = Kubeconfig::from_yaml(cluster.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap();
        let folder = std::env::temp_dir().join(format!("verdigris-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kubeconfig"), cluster.kubeconfig()).unwrap();
        Self {
            cluster,
            client: Client::try_from(config.clone()).unwrap(),
            config,
            folder,
        }
    }

    async fn kubectl(&self, kubectl: &Path, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(kubectl);
        command
            .arg("--kubeconfig")
            .arg(self.folder.join("kubeconfig"))
            .arg("--cache-dir")
            .arg(self.folder.join("cache"))
            .args(arguments);
        command.output().await.unwrap()
    }

    async fn apply(&self, kubectl: &Path, place: &Path) {
        let said = self
            .kubectl(kubectl, &["apply", "-k", place.to_str().unwrap()])
            .await;
        assert!(
            said.status.success(),
            "{}: {}",
            place.display(),
            String::from_utf8_lossy(&said.stderr)
        );
    }

    fn cluster_wide(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(group, "v1", kind);
        Api::all_with(self.client.clone(), &ApiResource::from_gvk(&kind))
    }

    async fn stop(self) {
        self.cluster.stop().await;
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A kind cert-manager brings.
fn issued(kind: &str) -> DynamicObject {
    let plural = format!("{}s", kind.to_lowercase());
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.cert-manager.io")},
        "spec": {
            "group": "cert-manager.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_overlay_can_be_applied_twice() {
    let Some(kubectl) = kubectl() else { return };
    let ground = Ground::new("overlays").await;
    let definitions = ground.cluster_wide("apiextensions.k8s.io", "CustomResourceDefinition");
    for kind in ["Issuer", "Certificate"] {
        definitions
            .create(&PostParams::default(), &issued(kind))
            .await
            .unwrap();
    }
    let mut places = overlays();
    places.push(folder());
    places.push(folder().join("monitoring"));
    for place in places {
        for _ in 0..2 {
            ground.apply(&kubectl, &place).await;
        }
    }
    ground.stop().await;
}

fn canary(interval: &str) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": format!("shop-{}", interval.len()), "namespace": "default"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "service": {"port": 8080},
            "analysis": {"interval": interval, "threshold": 2, "iterations": 3},
        },
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_never_blocks_the_cluster_and_needs_no_more_than_its_rights() {
    let Some(kubectl) = kubectl() else { return };
    let ground = Ground::new("lifecycle").await;
    ground.apply(&kubectl, &folder()).await;

    // From the first second: nobody serves yet, and writes go through.
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("flagger.app", "v1beta1", "Canary"),
        "canaries",
    );
    let canaries: Api<DynamicObject> = Api::namespaced_with(ground.client.clone(), "default", &kind);
    canaries
        .create(&PostParams::default(), &canary("30s"))
        .await
        .unwrap();

    // A process registers itself, with the rights that were applied and no others. Nobody answers behind the Service.
    let account = rights::token(&ground.client, ground.config.clone(), SYSTEM).await;
    let account = Client::try_from(account).unwrap();
    let names = verdigris::pki::Names::of_service("verdigris-webhook", SYSTEM);
    let ca = verdigris::pki::Bundle::generate(&names, now()).unwrap().ca_pem;
    let registration = Registration::new(None, SYSTEM, "verdigris-webhook", &ca);
    install::install(&account, &registration).await.unwrap();
    let validating = ground.cluster_wide("admissionregistration.k8s.io", "ValidatingWebhookConfiguration");
    let entries = |object: &DynamicObject| object.data["webhooks"].as_array().map_or(0, Vec::len);
    let registered = validating.get(install::NAME).await.unwrap();
    assert_eq!(entries(&registered), 2);
    canaries
        .create(&PostParams::default(), &canary("31 s"))
        .await
        .unwrap_err();

    // Applied again, by whom ever, the webhooks and the authority they trust stay.
    ground.apply(&kubectl, &folder()).await;
    let again = validating.get(install::NAME).await.unwrap();
    assert_eq!(again.data, registered.data);
    let definitions = ground.cluster_wide("apiextensions.k8s.io", "CustomResourceDefinition");
    let definition = definitions.get("canaries.flagger.app").await.unwrap();
    assert!(definition.data["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"].is_string());

    // The way out for one namespace, while nobody answers.
    let namespaces = ground.cluster_wide("", "Namespace");
    let opted_out = json!({"metadata": {"labels": {install::OPT_OUT_LABEL: "disabled"}}});
    namespaces
        .patch(
            "default",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(opted_out),
        )
        .await
        .unwrap();
    canaries
        .create(&PostParams::default(), &canary("300s"))
        .await
        .unwrap();

    // Taken back with the same rights; then again, by an admin.
    install::uninstall(&account).await.unwrap();
    let left = validating.get(install::NAME).await.unwrap();
    assert_eq!(
        entries(&left),
        0,
        "it may not delete the object, so it empties it"
    );
    let definition = definitions.get("canaries.flagger.app").await.unwrap();
    let spec = &definition.data["spec"];
    assert_eq!(spec["conversion"]["strategy"], "None");
    let old = spec["versions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|version| version["name"] == "v1alpha3")
        .unwrap();
    assert_eq!(old["served"], false);
    install::uninstall(&ground.client).await.unwrap();
    assert!(validating.get_opt(install::NAME).await.unwrap().is_none());
    for name in ["shop-3", "shop-4"] {
        canaries
            .delete(name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }
    ground.stop().await;
}

fn now() -> jiff::Timestamp {
    let elapsed = std::time::UNIX_EPOCH.elapsed().unwrap();
    jiff::Timestamp::from_second(elapsed.as_secs().cast_signed()).unwrap()
}
