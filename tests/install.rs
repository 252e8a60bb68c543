//! Installation and the shared authority, on the embedded API server with the real webhooks behind it.
#![expect(clippy::unwrap_used, reason = "a broken fixture fails the test")]
#![expect(clippy::disallowed_types, reason = "talks to the embedded API server")]

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use devcluster::{Config, DevCluster};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use verdigris::install::{self, Registration};
use verdigris::model::parse::Settings;
use verdigris::net::serve::{self, Farewell, Limits};
use verdigris::pki::store::{self, Store};
use verdigris::pki::{Bundle, Keeper, Names};
use verdigris::telemetry::Metrics;
use verdigris::webhook::{self, State};

const SYSTEM: &str = "verdigris-system";

async fn cluster() -> (DevCluster, Client) {
    // A second installation is refused and harmless: the provider is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = DevCluster::start(Config::default()).await.unwrap();
    let kubeconfig = Kubeconfig::from_yaml(cluster.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let client = Client::try_from(config).unwrap();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": SYSTEM}})).unwrap();
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    (cluster, client)
}

fn now() -> Timestamp {
    let elapsed = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_second(elapsed.as_secs().cast_signed()).unwrap()
}

fn names() -> Names {
    Names::of_service("verdigris-webhook", SYSTEM).and("127.0.0.1")
}

fn dynamic(client: &Client, group: &str, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(group, version, kind);
    Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural))
}

fn canaries(client: &Client, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("flagger.app", version, "Canary");
    let resource = ApiResource::from_gvk_with_plural(&kind, "canaries");
    Api::namespaced_with(client.clone(), "default", &resource)
}

async fn definition(client: &Client) -> Value {
    let api = dynamic(
        client,
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    );
    api.get("canaries.flagger.app").await.unwrap().data
}

async fn configurations(client: &Client) -> usize {
    let mut found = 0;
    for (kind, plural) in [
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
        (
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
        ),
    ] {
        let api = dynamic(client, "admissionregistration.k8s.io", "v1", kind, plural);
        found += usize::from(api.get_opt(install::NAME).await.unwrap().is_some());
    }
    found
}

fn served(definition: &Value) -> Vec<(String, bool)> {
    let versions = definition["spec"]["versions"].as_array().unwrap();
    let one = |version: &Value| {
        let name = version["name"].as_str().unwrap().to_owned();
        (name, version["served"].as_bool().unwrap())
    };
    versions.iter().map(one).collect()
}

fn canary(version: &str, interval: &str) -> DynamicObject {
    let analysis = if version == "v1alpha3" {
        "canaryAnalysis"
    } else {
        "analysis"
    };
    serde_json::from_value(json!({
        "apiVersion": format!("flagger.app/{version}"),
        "kind": "Canary",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "service": {"port": 8080},
            analysis: {"interval": interval, "threshold": 2, "iterations": 3},
        },
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn installed_it_judges_and_converts_and_uninstalled_it_leaves_a_working_cluster() {
    let (cluster, client) = cluster().await;
    let bundle = Bundle::generate(&names(), now()).unwrap();
    let slot = verdigris::pki::Slot::new();
    slot.put(&bundle.leaf);
    let bound = serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("https://{}", bound.address()).parse().unwrap();
    let stop = CancellationToken::new();
    let state = State::new(Settings::default(), Arc::new(Metrics::new()));
    let mut serving = JoinSet::new();
    serving.spawn(bound.serve(
        webhook::app(Arc::new(state)),
        slot,
        stop.clone(),
        Limits::default(),
        Farewell::from_a_laptop(),
    ));
    let registration = Registration::new(Some(url), SYSTEM, "verdigris-webhook", &bundle.ca_pem);

    // Twice: a restart finds everything there. The first time somebody else's authority was left behind.
    let stale = Registration {
        ca_pem: Bundle::generate(&names(), now()).unwrap().ca_pem,
        ..registration.clone()
    };
    install::install(&client, &stale).await.unwrap();
    install::install(&client, &registration).await.unwrap();
    assert_eq!(configurations(&client).await, 2);
    let both = [("v1beta1".to_owned(), true), ("v1alpha3".to_owned(), true)];
    assert_eq!(served(&definition(&client).await), both);

    let old = canaries(&client, "v1alpha3");
    let refused = old
        .create(&PostParams::default(), &canary("v1alpha3", "2 seconds"))
        .await;
    let Err(kube::Error::Api(status)) = refused else {
        panic!("admitted: {refused:?}")
    };
    assert_eq!(status.code, 422);
    let causes = &status.details.as_ref().unwrap().causes;
    assert_eq!(causes[0].field, "spec.canaryAnalysis.interval");
    old.create(&PostParams::default(), &canary("v1alpha3", "30s"))
        .await
        .unwrap();
    let stored = canaries(&client, "v1beta1").get("shop").await.unwrap();
    assert_eq!(stored.data["spec"]["analysis"]["interval"], "30s");
    assert_eq!(stored.data["spec"]["progressDeadlineSeconds"], 600, "defaulted");

    // Twice again; then the webhooks are gone and everything stored can be read and deleted.
    for _ in 0..2 {
        install::uninstall(&client).await.unwrap();
        assert_eq!(configurations(&client).await, 0);
        let left = definition(&client).await;
        assert_eq!(left["spec"]["conversion"]["strategy"], "None");
        assert_eq!(
            served(&left),
            [("v1beta1".to_owned(), true), ("v1alpha3".to_owned(), false)]
        );
    }
    stop.cancel();
    serving.join_next().await.unwrap().unwrap().unwrap();
    let current = canaries(&client, "v1beta1");
    assert_eq!(
        current.get("shop").await.unwrap().data["spec"]["analysis"]["interval"],
        "30s"
    );
    current
        .delete("shop", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_on_a_cluster_that_never_saw_us_changes_nothing() {
    let (cluster, client) = cluster().await;
    install::uninstall(&client).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_share_one_authority() {
    let (cluster, client) = cluster().await;
    let mut starting = JoinSet::new();
    for _ in 0..8 {
        starting.spawn(Keeper::shared(names(), now(), Store::new(client.clone(), SYSTEM)));
    }
    let mut bundles = Vec::new();
    while let Some(started) = starting.join_next().await {
        bundles.push(started.unwrap().unwrap().bundle_pem().to_owned());
    }
    bundles.dedup();
    assert_eq!(bundles.len(), 1, "one authority for all");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_secret_is_mended_and_what_is_trusted_stays() {
    let (cluster, client) = cluster().await;
    let store = Store::new(client.clone(), SYSTEM);
    let first = store.adopt(now()).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    let mut secret = secrets.get(store::NAME).await.unwrap();
    secret
        .data
        .as_mut()
        .unwrap()
        .get_mut("tls.key")
        .unwrap()
        .0
        .truncate(30);
    secrets
        .replace(store::NAME, &PostParams::default(), &secret)
        .await
        .unwrap();
    let second = store.adopt(now()).await.unwrap();
    let signer = second.authority.unwrap().certificate_pem().to_owned();
    assert_ne!(signer, first.authority.unwrap().certificate_pem());
    assert_eq!(second.bundle_pem.matches("BEGIN CERTIFICATE").count(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_is_published_before_anything_it_signed_is_served() {
    let (cluster, client) = cluster().await;
    let mut keeper = Keeper::shared(names(), now(), Store::new(client.clone(), SYSTEM))
        .await
        .unwrap();
    keeper.published(now());
    let (slot, before) = (keeper.slot(), keeper.bundle_pem().to_owned());
    let leaf = Arc::clone(keeper.leaf().key());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    secrets
        .delete(store::NAME, &kube::api::DeleteParams::default())
        .await
        .unwrap();

    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let published = CancellationToken::new();
    let publish = |bundle: String| {
        said.lock().unwrap().push(bundle);
        published.cancel();
        async { Ok::<(), std::convert::Infallible>(()) }
    };
    tokio::select! {
        never = keeper.keep(publish, |_| panic!("nothing new may be served yet")) => match never {},
        () = published.cancelled() => {}
    }
    let said = said.lock().unwrap().clone();
    let authority = before.lines().nth(1).unwrap();
    assert!(said[0].contains(authority), "the old one is still trusted");
    assert_eq!(said[0].matches("BEGIN CERTIFICATE").count(), 2);
    assert!(slot.serves(&leaf), "the old certificate is still served");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_service_what_targets_trust_stays_trusted() {
    let (cluster, client) = cluster().await;
    let bundles = [0, 1].map(|_| Bundle::generate(&names(), now()).unwrap().ca_pem);
    for ca_pem in &bundles {
        let registration = Registration::new(None, SYSTEM, "verdigris-webhook", ca_pem);
        install::install(&client, &registration).await.unwrap();
    }
    let trusted = definition(&client).await;
    let trusted = &trusted["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"];
    let pem = base64::engine::general_purpose::STANDARD
        .decode(trusted.as_str().unwrap())
        .unwrap();
    let pem = String::from_utf8(pem).unwrap();
    for bundle in &bundles {
        assert!(pem.contains(bundle.lines().nth(1).unwrap()));
    }
    cluster.stop().await;
}
