//! The API server: HTTPS on loopback, one pipeline for HTTP clients and for controllers inside the process.
//!
//! Owns: the pipeline's stages, one file each, and the life of the cluster. Promises: every stage is reached in
//! kube-apiserver's order, whoever asks. Never: runs controllers (see [`crate::controllers`]).

mod admission;
mod asked;
mod asks;
mod backend;
mod call;
mod checks;
mod conversion;
mod crd;
mod create;
pub(crate) mod custom;
mod decode;
mod defaults;
mod delete;
mod discovery;
mod http;
mod meta;
mod ownership;
mod protobuf;
mod quantity;
mod rbac;
mod read;
mod render;
mod route;
mod scale;
mod selector;
mod status;
mod strategy;
mod tls;
mod versions;
mod watch;
mod webhook;
mod write;

use std::collections::HashMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client;
use crate::kinds::{Kind, Registry};
use crate::pods::{Network, Pods, Timing};
use crate::store::Store;
use call::User;

/// How a cluster is started.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port on 127.0.0.1; `None` lets the system choose.
    pub port: Option<u16>,
    /// Enforce RBAC for service account tokens (the kubeconfig's user is always a cluster admin).
    pub rbac: bool,
    /// Run controllers and pods; without them objects stay as they are written.
    pub controllers: bool,
    /// How fast pods live.
    pub timing: Timing,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: None,
            rbac: false,
            controllers: true,
            timing: Timing::default(),
        }
    }
}

/// Why a cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port cannot be listened on.
    #[error(
        "127.0.0.1:{port}: {source}; expected a free port; choose another one or end the process that has it"
    )]
    Port {
        /// The port asked for, 0 for any.
        port: u16,
        /// The system's words.
        source: std::io::Error,
    },
    /// Loopback addresses for pods and Services cannot be had.
    #[error("pods: {0}; expected free addresses in 127.0.0.0/8; end other clusters on this machine")]
    Network(std::io::Error),
    /// No certificates could be made.
    #[error("certificates: {0}; expected keys and certificates to be generated")]
    Certificates(Box<dyn std::error::Error + Send + Sync>),
    /// The namespaces every cluster has could not be made.
    #[error("namespaces: {0}; expected an empty cluster")]
    Namespaces(client::ApiError),
}

/// What every stage of the pipeline shares.
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    webhooks: webhook::Caller,
    tokens: Mutex<HashMap<String, Arc<User>>>,
    config: Config,
    /// First two octets of cluster IPs, as `10.96.`.
    service_prefix: String,
    url: OnceLock<String>,
    stop: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

/// A cheap handle on the cluster.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Inner>);

impl Deref for Cluster {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Cluster {
    fn new(config: Config, service_prefix: String) -> Self {
        Self(Arc::new(Inner {
            store: Store::new(),
            registry: Registry::new(),
            webhooks: webhook::Caller::default(),
            tokens: Mutex::default(),
            config,
            service_prefix,
            url: OnceLock::new(),
            stop: CancellationToken::new(),
            tasks: Mutex::new(JoinSet::new()),
        }))
    }

    /// Runs a task that ends with the cluster.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        if !self.stop.is_cancelled() {
            tasks.spawn(task);
        }
    }

    /// Ready when the cluster stops.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(crate) fn service_prefix(&self) -> &str {
        &self.service_prefix
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.url
            .get()
            .map_or("", |url| url.trim_start_matches("https://"))
    }

    /// Lets a token stand for a user.
    pub(crate) fn add_token(&self, token: &str, user: User) {
        self.tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(token.to_owned(), Arc::new(user));
    }

    pub(crate) fn user_of(&self, token: &str) -> Option<Arc<User>> {
        self.tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(token)
            .cloned()
    }

    /// What a write means beyond its object; answers the object's newest state.
    pub(crate) fn after_write(&self, call: &call::Call, value: Arc<Value>) -> Arc<Value> {
        if is_crd(&call.kind) {
            self.crd_written(&value)
        } else {
            value
        }
    }

    /// What a deletion means beyond its object.
    pub(crate) fn after_delete(&self, call: &call::Call, value: &Value) {
        if is_crd(&call.kind) {
            self.crd_deleted(value);
        }
    }
}

fn is_crd(kind: &Kind) -> bool {
    kind.is("apiextensions.k8s.io", "customresourcedefinitions")
}

/// A running cluster. Dropping it stops its pods and controllers; [`DevCluster::stop`] ends all of it in order.
pub struct DevCluster {
    cluster: Cluster,
    pods: Option<Pods>,
    controllers: JoinSet<()>,
    kubeconfig: String,
    url: String,
}

impl std::fmt::Debug for DevCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevCluster")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl DevCluster {
    /// Starts the API server on loopback, with the namespaces every cluster has.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // Outbound TLS needs a process-wide provider; a second cluster finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let port = config.port.unwrap_or(0);
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .await
            .map_err(|source| StartError::Port { port, source })?;
        let port = listener
            .local_addr()
            .map_err(|source| StartError::Port { port, source })?
            .port();
        let network = if config.controllers {
            Some(Arc::new(Network::claim().map_err(StartError::Network)?))
        } else {
            None
        };
        // `127.96.0.0/16` → `127.96.`
        let prefix = network
            .as_ref()
            .and_then(|n| Some(n.service_cidr().strip_suffix("0.0/16")?.to_owned()));
        let timing = config.timing;
        let identity = tls::identity().map_err(StartError::Certificates)?;
        let url = format!("https://127.0.0.1:{port}");
        let cluster = Cluster::new(config, prefix.unwrap_or_else(|| "10.96.".to_owned()));
        let _ = cluster.url.set(url.clone());
        let token = uuid::Uuid::new_v4().simple().to_string();
        cluster.add_token(&token, User::admin());
        let kubeconfig = tls::kubeconfig(&url, &identity.ca_pem, &token);
        cluster
            .found(&identity.ca_pem, port)
            .await
            .map_err(StartError::Namespaces)?;
        let server = http::serve(cluster.clone(), listener, identity.config);
        cluster.spawn(server);
        let client: client::Client = Arc::new(backend::Local::new(cluster.clone()));
        let (mut controllers, mut pods) = (JoinSet::new(), None);
        if let Some(network) = network {
            controllers = crate::controllers::run(&client);
            pods = Some(
                crate::pods::run(&client, network, timing)
                    .await
                    .map_err(StartError::Network)?,
            );
        }
        Ok(Self {
            cluster,
            pods,
            controllers,
            kubeconfig,
            url,
        })
    }

    /// A kubeconfig for a cluster admin, as YAML.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Access without the socket, through the same pipeline.
    pub fn client(&self) -> client::Client {
        Arc::new(backend::Local::new(self.cluster.clone()))
    }

    /// The running pods and the way to them; `None` without controllers.
    pub fn pods(&self) -> Option<&Pods> {
        self.pods.as_ref()
    }

    /// Ends pods, controllers, the server, its connections and its watches.
    pub async fn stop(mut self) {
        self.controllers.shutdown().await;
        drop(self.pods.take());
        self.cluster.stop.cancel();
        let mut tasks =
            std::mem::take(&mut *self.cluster.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

impl Cluster {
    /// What a new cluster contains.
    async fn found(&self, ca_pem: &str, port: u16) -> Result<(), client::ApiError> {
        use client::Resource;
        let client: client::Client = Arc::new(backend::Local::new(self.clone()));
        let namespaces = Resource::new("", "v1", "namespaces");
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            client.create(namespaces, "", object).await?;
        }
        let ca = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"},
            "data": {"ca.crt": ca_pem}});
        client
            .create(Resource::new("", "v1", "configmaps"), "kube-public", ca)
            .await?;
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {"clusterIP": format!("{}0.1", self.service_prefix()),
                "ports": [{"name": "https", "port": 443, "targetPort": port}]}});
        client
            .create(Resource::new("", "v1", "services"), "default", service)
            .await?;
        let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "kubernetes"},
            "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"name": "https", "port": port}]}]});
        client
            .create(Resource::new("", "v1", "endpoints"), "default", endpoints)
            .await?;
        let admin = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "cluster-admin", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]});
        client
            .create(
                Resource::new("rbac.authorization.k8s.io", "v1", "clusterroles"),
                "",
                admin,
            )
            .await?;
        Ok(())
    }
}
