//! Installation and the shared authority, on the embedded API server with the real webhooks behind it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken fixture fails the test"
)]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "talks to the embedded API server and to processes, waits for them"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use devcluster::{Config, DevCluster};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use verdigris::install::{self, Endpoint, Registration, trust};
use verdigris::model::parse::Settings;
use verdigris::net::serve::{self, Farewell, Limits};
use verdigris::pki::store::{self, Store};
use verdigris::pki::{Authority, Bundle, Carried, Keeper, Leaf, Names, Slot, carried};
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
        let store = Store::new(client.clone(), SYSTEM);
        starting.spawn(Keeper::shared(names(), now(), Slot::new(), store));
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

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long targets must trust a new authority in these tests.
const SETTLE: Duration = Duration::from_secs(1);

/// The certificates of one replica, and what it serves and sees.
struct Replica {
    slot: Arc<Slot>,
    leads: Arc<AtomicBool>,
    /// The certificate it serves, and whether every target accepts it.
    served: watch::Receiver<Option<(Leaf, bool)>>,
    tasks: JoinSet<()>,
}

fn service() -> Endpoint {
    Registration::new(None, SYSTEM, "verdigris-webhook", "").endpoint
}

impl Replica {
    async fn start(client: &Client, leads: bool, settle: Duration) -> Self {
        let (slot, leads) = (Slot::new(), Arc::new(AtomicBool::new(leads)));
        let keeper = Keeper::shared(
            names(),
            now(),
            Arc::clone(&slot),
            Store::new(client.clone(), SYSTEM),
        )
        .await
        .unwrap()
        .settling(settle);
        let (told, seen) = watch::channel(Carried::default());
        let (serves, served) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let following = trust::follow(client.clone(), service(), told);
        tasks.spawn(async move { following.await.unwrap() });
        let (client, leading) = (client.clone(), Arc::clone(&leads));
        tasks.spawn(async move {
            let publish = |bundle: String| {
                let client = client.clone();
                async move { trust::inject(&client, &service(), &bundle, now()).await }
            };
            let told = |look: verdigris::pki::keeper::Look<'_>| {
                serves.send_replace(Some((look.leaf.clone(), look.accepted)));
            };
            let leads = || leading.load(Ordering::Acquire);
            match keeper.keep(seen, leads, publish, told).await {}
        });
        Self {
            slot,
            leads,
            served,
            tasks,
        }
    }

    /// Waits until it serves something as expected; never before or meanwhile something a target refuses, once one
    /// was accepted.
    async fn until(&mut self, expected: impl Fn(&Leaf, bool) -> bool) -> Leaf {
        let found = timeout(PATIENCE, async {
            loop {
                self.served.changed().await.unwrap();
                let (leaf, accepted) = self.served.borrow_and_update().clone().unwrap();
                if expected(&leaf, accepted) {
                    return leaf;
                }
            }
        });
        found.await.expect("it never served what was expected")
    }

    async fn accepted(&mut self) -> Leaf {
        self.until(|_, accepted| accepted).await
    }

    /// Waits for another certificate, of an authority every target trusts at that moment.
    async fn renewed(&mut self, old: &Leaf) -> Leaf {
        let leaf = self
            .until(|leaf, accepted| {
                assert!(accepted, "something is served that a target refuses");
                !leaf.is_same(old)
            })
            .await;
        assert!(self.slot.serves(leaf.key()));
        leaf
    }
}

async fn register(client: &Client) -> String {
    let bundle = Store::new(client.clone(), SYSTEM)
        .adopt(now())
        .await
        .unwrap()
        .bundle_pem;
    let registration = Registration::new(None, SYSTEM, "verdigris-webhook", &bundle);
    install::install(client, &registration).await.unwrap();
    bundle
}

async fn secret(client: &Client) -> Secret {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    secrets.get(store::NAME).await.unwrap()
}

fn part(secret: &Secret, key: &str) -> Option<String> {
    let data = secret.data.as_ref()?;
    data.get(key)
        .map(|bytes| String::from_utf8(bytes.0.clone()).unwrap())
}

async fn until_secret(client: &Client, expected: impl Fn(&Secret) -> bool) -> Secret {
    timeout(PATIENCE, async {
        loop {
            let found = secret(client).await;
            if expected(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the Secret never became as expected")
}

async fn ask_for_rotation(client: &Client) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    let patch = json!({"metadata": {"annotations": {store::ROTATE: "now"}}});
    secrets
        .patch(store::NAME, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

/// The leaf is one of this authority's.
fn is_of(leaf: &Leaf, authority_pem: &str) -> bool {
    let target = carried::Target {
        label: String::new(),
        host: names().as_slice()[0].clone(),
        bundle_pem: authority_pem.to_owned(),
    };
    let only = Carried {
        complete: true,
        targets: vec![target],
    };
    only.accepts(leaf.key(), now())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_asked_for_reaches_every_replica_and_none_serves_too_early() {
    let (cluster, client) = cluster().await;
    let old = register(&client).await;
    let mut leader = Replica::start(&client, true, SETTLE).await;
    let mut other = Replica::start(&client, false, SETTLE).await;
    let before = [leader.accepted().await, other.accepted().await];
    ask_for_rotation(&client).await;
    let after = [leader.renewed(&before[0]).await, other.renewed(&before[1]).await];
    let stored = secret(&client).await;
    let signer = part(&stored, "tls.crt").unwrap();
    assert!(part(&stored, "next.crt").is_none());
    assert!(
        stored
            .metadata
            .annotations
            .as_ref()
            .is_none_or(|all| !all.contains_key(store::ROTATE))
    );
    assert!(!carried::holds(&old, &signer));
    for leaf in &after {
        assert!(is_of(leaf, &signer));
    }
    let bundle = part(&stored, "ca.crt").unwrap();
    assert!(
        carried::holds(&bundle, &signer) && carried::holds(&bundle, &old),
        "the old one stays trusted"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_in_a_rotation_is_followed_by_one_that_finishes_it() {
    let (cluster, client) = cluster().await;
    let old = register(&client).await;
    // This one would wait for an hour once everybody trusts the new authority.
    let mut leader = Replica::start(&client, true, Duration::from_hours(1)).await;
    let mut other = Replica::start(&client, false, SETTLE).await;
    leader.accepted().await;
    let before = other.accepted().await;
    ask_for_rotation(&client).await;
    let prepared = until_secret(&client, |secret| part(secret, "next.crt").is_some()).await;
    let next = part(&prepared, "next.crt").unwrap();
    leader.tasks.shutdown().await;

    // Whoever starts now signs with what is trusted already, and is accepted.
    let mut third = Replica::start(&client, false, SETTLE).await;
    let young = third.accepted().await;
    assert!(is_of(&young, &old));

    other.leads.store(true, Ordering::Release);
    let after = other.renewed(&before).await;
    assert!(is_of(&after, &next), "the rotation that was begun, not another");
    let after = third.renewed(&young).await;
    assert!(is_of(&after, &next));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_wiped_is_back_within_seconds() {
    let (cluster, client) = cluster().await;
    register(&client).await;
    let mut leader = Replica::start(&client, true, SETTLE).await;
    leader.accepted().await;
    for (group, kind, plural, name, wiped) in [
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            install::NAME,
            json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]),
        ),
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
            install::NAME,
            json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]),
        ),
        (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            "canaries.flagger.app",
            json!([{"op": "remove", "path": "/spec/conversion/webhook/clientConfig/caBundle"}]),
        ),
    ] {
        let api = dynamic(&client, group, "v1", kind, plural);
        let before = api.get(name).await.unwrap();
        let patch = Patch::<()>::Json(serde_json::from_value(wiped).unwrap());
        api.patch(name, &PatchParams::default(), &patch).await.unwrap();
        let began = std::time::Instant::now();
        leader.until(|_, accepted| !accepted).await;
        leader.accepted().await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{kind}: {:?}",
            began.elapsed()
        );
        let after = api.get(name).await.unwrap();
        assert_eq!(before.data, after.data, "nothing else of {kind} changes");
        let owner = |field: &str| {
            let managers = after.metadata.managed_fields.clone().unwrap();
            let of = |one: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
                serde_json::to_string(&one.fields_v1).unwrap().contains(field)
            };
            managers
                .iter()
                .any(|one| one.manager.as_deref() == Some(trust::INJECTOR) && of(one))
        };
        assert!(owner("f:caBundle") && !owner("f:failurePolicy") && !owner("f:names"));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_deleted_truncated_or_foreign_costs_no_trust() {
    let (cluster, client) = cluster().await;
    register(&client).await;
    let mut leader = Replica::start(&client, true, SETTLE).await;
    let mut other = Replica::start(&client, false, SETTLE).await;
    let mut before = [leader.accepted().await, other.accepted().await];
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    for fault in ["deleted", "truncated", "foreign"] {
        let mut stored = secret(&client).await;
        let signer = part(&stored, "tls.crt").unwrap();
        match fault {
            "deleted" => drop(
                secrets
                    .delete(store::NAME, &kube::api::DeleteParams::default())
                    .await
                    .unwrap(),
            ),
            "truncated" => {
                for bytes in stored.data.as_mut().unwrap().values_mut() {
                    bytes.0.truncate(60);
                }
                secrets
                    .replace(store::NAME, &PostParams::default(), &stored)
                    .await
                    .unwrap();
            }
            _ => {
                // Somebody puts an authority of theirs there, and nothing of ours.
                let key = rcgen::KeyPair::generate().unwrap();
                let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
                params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
                let pem = params.self_signed(&key).unwrap().pem();
                let data = stored.data.as_mut().unwrap();
                for (name, text) in [
                    ("tls.crt", pem.clone()),
                    ("ca.crt", pem),
                    ("tls.key", key.serialize_pem()),
                ] {
                    data.insert(name.to_owned(), k8s_openapi::ByteString(text.into_bytes()));
                }
                secrets
                    .replace(store::NAME, &PostParams::default(), &stored)
                    .await
                    .unwrap();
            }
        }
        let after = [leader.renewed(&before[0]).await, other.renewed(&before[1]).await];
        let stored = until_secret(&client, |secret| part(secret, "tls.crt").is_some()).await;
        let now_signing = part(&stored, "tls.crt").unwrap();
        assert_ne!(now_signing, signer, "{fault}");
        for leaf in &after {
            assert!(is_of(leaf, &now_signing), "{fault}");
        }
        let crd = definition(&client).await;
        let carried_now = crd["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"]
            .as_str()
            .unwrap();
        let pem = base64::engine::general_purpose::STANDARD
            .decode(carried_now)
            .unwrap();
        let pem = String::from_utf8(pem).unwrap();
        assert!(
            carried::holds(&pem, &signer),
            "{fault}: what was in use stays trusted"
        );
        before = after;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_register_is_left_alone() {
    let (cluster, client) = cluster().await;
    let elsewhere = Registration::new(
        Some("https://127.0.0.1:1".parse().unwrap()),
        SYSTEM,
        "verdigris-webhook",
        Authority::generate(now(), Duration::from_hours(1))
            .unwrap()
            .certificate_pem(),
    );
    install::install(&client, &elsewhere).await.unwrap();
    let before = definition(&client).await;
    let bundle = Store::new(client.clone(), SYSTEM)
        .adopt(now())
        .await
        .unwrap()
        .bundle_pem;
    trust::inject(&client, &service(), &bundle, now()).await.unwrap();
    assert_eq!(definition(&client).await, before);
    cluster.stop().await;
}

/// A way to the API server that can be closed.
struct Gate {
    address: std::net::SocketAddr,
    open: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Gate {
    async fn to(upstream: std::net::SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, is_open) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut lines = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut is_open = is_open.clone();
                if !*is_open.borrow_and_update() {
                    continue;
                }
                lines.spawn(async move {
                    let mut far = tokio::net::TcpStream::connect(upstream).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self {
            address,
            open,
            _task: task,
        }
    }
}

/// `verdigris run`, behind a Service as in a pod.
struct Process {
    child: tokio::process::Child,
    url: String,
    http: reqwest::Client,
}

impl Process {
    fn start(kubeconfig: &std::path::Path, more: &[&str]) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_verdigris"))
            .args([
                "run",
                "--metrics-server",
                "http://127.0.0.1:1",
                "--system-namespace",
                SYSTEM,
            ])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg(format!("--listen={address}"))
            .args(more)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // As kubelet, which verifies nothing.
        let http = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        Self {
            child,
            url: format!("https://{address}"),
            http,
        }
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    async fn until(&self, path: &str, status: u16) -> String {
        let mut last = None;
        let reached = async {
            loop {
                match self.get(path).await {
                    Some((found, text)) if found == status => return text,
                    other => last = other,
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let reached = timeout(PATIENCE, reached).await;
        reached.unwrap_or_else(|_| panic!("{path} never answered {status}: {last:?}"))
    }

    /// A review is answered, whatever it says.
    async fn assert_serves(&self) {
        let object = canary("v1beta1", "2 seconds");
        let kind = json!({"group": "flagger.app", "version": "v1beta1", "kind": "Canary"});
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "1", "kind": kind, "requestKind": kind, "operation": "CREATE",
                "resource": {"group": "flagger.app", "version": "v1beta1", "resource": "canaries"},
                "name": "shop", "namespace": "default", "object": object, "dryRun": false},
        });
        let url = format!("{}/validate?timeout=10s", self.url);
        let sent = self.http.post(url).json(&review).send().await;
        let answer: Value = sent.unwrap().json().await.unwrap();
        assert_eq!(answer["response"]["status"]["code"], 422, "{answer}");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &id])
            .status()
            .unwrap();
        assert!(sent.success());
    }
}

async fn lease(client: &Client) -> Value {
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::namespaced(client.clone(), SYSTEM);
    let found = leases.get_opt(verdigris::lease::NAME).await.unwrap();
    found.map_or(Value::Null, |lease| serde_json::to_value(lease.spec).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_costs_no_probe_and_no_review() {
    let (cluster, client) = cluster().await;
    let kubeconfig = cluster.kubeconfig().to_owned();
    let start = kubeconfig.find("https://127.0.0.1:").unwrap();
    let real: String = kubeconfig[start + 8..]
        .chars()
        .take_while(|char| !char.is_whitespace() && *char != '"')
        .collect();
    let gate = Gate::to(real.parse().unwrap()).await;
    let folder = std::env::temp_dir().join(format!("verdigris-away-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("kubeconfig");
    std::fs::write(&file, kubeconfig.replace(&real, &gate.address.to_string())).unwrap();

    // Away at the start: it waits, answers probes, and is not ready.
    let mut process = Process::start(&file, &["--install", "--leader-elect-lease-duration=4s"]);
    process.until("/healthz", 200).await;
    let said = process.until("/readyz", 503).await;
    assert!(said.contains("[-]certificate"), "{said}");
    process.assert_serves().await;
    gate.open.send_replace(true);
    process.until("/readyz", 200).await;
    let mut held = lease(&client).await;
    while held["holderIdentity"].is_null() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        held = lease(&client).await;
    }

    // Away in the middle, for longer than the Lease lasts.
    gate.open.send_replace(false);
    for _ in 0..60 {
        process.assert_serves().await;
        assert_eq!(
            process.get("/readyz").await.unwrap().0,
            200,
            "readiness is latched"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let silent = lease(&client).await;
    gate.open.send_replace(true);
    let renewed = timeout(PATIENCE, async {
        loop {
            let now = lease(&client).await;
            if now["renewTime"] != silent["renewTime"] {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let renewed = renewed.await.expect("it never led again");
    assert_eq!(renewed["holderIdentity"], held["holderIdentity"]);

    // The end: not ready at once, answering still; the Lease goes back; a second signal does not wait.
    process.signal("-TERM");
    process.until("/readyz", 503).await;
    process.assert_serves().await;
    timeout(Duration::from_secs(9), async {
        while !lease(&client).await["holderIdentity"].is_null() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the Lease is not given back");
    process.assert_serves().await;
    process.signal("-TERM");
    let status = timeout(Duration::from_secs(5), process.child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(130));
    std::fs::remove_dir_all(folder).unwrap();
    cluster.stop().await;
}
