//! Composition root: start order, stop order, the only place that starts long-lived tasks.
//!
//! Start: TLS server first, then certificates, registration (`--install`), caches and controller: the API server may
//! call the webhooks before anything of ours has been listed, and probes are answered while it is away. Stop: readiness
//! fails at once, passes are finished, the Lease is given back, and the server answers until nobody calls any more; by
//! URL the registration is taken back before that. Every long-lived task is supervised: any of them ending ends
//! the process with its reason.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: makes the client, starts tasks and waits for them"
)]

mod admin;
mod export;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use regex::Regex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::cache::Caches;
use crate::controller;
use crate::install::{self, Endpoint, Registration, trust};
use crate::lease::{self, Election, Leadership};
use crate::loadtester::gate::Gates;
use crate::loadtester::runner::Runner;
use crate::loadtester::server::{self, Desk};
use crate::migrate;
use crate::net::outbound::{Outbound, Reach};
use crate::net::serve::{self, Farewell, Limits, Tls};
use crate::pki::clients::Clients;
use crate::pki::{Carried, Names, Slot, files};
use crate::telemetry::{Logs, Metrics, Outlet};
use crate::webhook::{self, Callers};

pub use certificates::Source;
use certificates::{Certificates, Trusted};

mod certificates;

/// How a process ends badly.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was asked wrongly: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// It died: exit status 1.
    #[error("{0}")]
    Died(String),
}

/// `verdigris run`, decided.
#[derive(Debug, Clone)]
pub struct Config {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--listen`.
    pub listen: SocketAddr,
    /// `--webhook-url`.
    pub webhook_url: Option<Url>,
    /// `--system-namespace`.
    pub system_namespace: String,
    /// `--service-name`.
    pub service_name: String,
    /// `--install`.
    pub install: bool,
    /// How to take part in the election of the replica that writes; `None` to lead always.
    pub election: Option<lease::Config>,
    /// Which addresses hooks and metric servers may have.
    pub reach: Reach,
    /// Where the certificates come from.
    pub certificates: Source,
    /// `--tls-min-version 1.3`.
    pub tls_13_only: bool,
    /// Whose client certificates `/validate` and `/mutate` ask for.
    pub clients: Option<ClientCheck>,
    /// The controller's part.
    pub controller: controller::Config,
    /// `--controller`: release Canaries, not only serve the webhooks.
    pub releases: bool,
    /// The running log.
    pub logs: Logs,
    /// `--admin-listen`.
    pub admin_listen: Option<SocketAddr>,
    /// `--otlp-endpoint`.
    pub otlp_endpoint: Option<Url>,
}

/// Whose client certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCheck {
    /// `--client-ca-file`.
    pub authority: PathBuf,
    /// `--client-allowed-names`; empty for every name.
    pub names: Vec<String>,
}

/// How long passes that are under way may take after a signal.
const PASSES: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT; a second signal aborts. `spans` are those to be exported.
pub fn run(config: Config, spans: Option<Outlet>) -> Result<(), Failure> {
    runtime()?.block_on(serve_and_control(config, spans))
}

/// Takes the webhooks out of the cluster: after a crash, or for good.
pub fn uninstall(kubeconfig: Option<&Path>) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let client = client(kubeconfig).await?;
        install::uninstall(&client)
            .await
            .map_err(|error| Failure::Died(error.to_string()))
    })
}

/// Rewrites everything of Flagger's at v1beta1.
pub fn migrate(
    kubeconfig: Option<&Path>,
    options: &migrate::Options,
    report: &mut (dyn FnMut(migrate::Event) + Send),
) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let client = client(kubeconfig).await?;
        migrate::migrate(&client, options, report)
            .await
            .map_err(|error| Failure::Died(error.to_string()))
    })
}

/// Does what a person at a terminal asks, with a client of the context they named.
pub fn at_a_terminal<T>(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    work: impl AsyncFnOnce(Client) -> T,
) -> Result<T, Failure> {
    runtime()?.block_on(async { Ok(work(client_of(kubeconfig, context).await?).await) })
}

/// Serves the load tester until SIGTERM or SIGINT.
pub fn loadtester(listen: SocketAddr, timeout: Duration, namespaces: Option<Regex>) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .map_err(|error| Failure::Usage(format!("--listen {listen}: {error}; choose another address")))?;
        tracing::info!("the load tester listens on {listen}");
        let desk = Desk {
            gates: Gates::default(),
            runner: Runner::new(timeout),
            namespaces,
        };
        let stop = stop_on_signal()?;
        axum::serve(listener, server::router(Arc::new(desk)))
            .with_graceful_shutdown(async move { stop.cancelled().await })
            .await
            .map_err(|error| Failure::Died(format!("the load tester's server ended: {error}")))
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // A second installation is refused and harmless: the provider is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Died(format!("no runtime: {error}")))
}

/// A token that is cancelled by the first SIGTERM or SIGINT; the second ends the process at once.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let deaf = |error: std::io::Error| Failure::Died(format!("signals cannot be heard: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(deaf)?;
    let stop = CancellationToken::new();
    let heard = stop.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first {
                tracing::info!("stopping; a second signal aborts");
                heard.cancel();
            } else {
                std::process::exit(130);
            }
        }
    });
    Ok(stop)
}

async fn client(kubeconfig: Option<&Path>) -> Result<Client, Failure> {
    client_of(kubeconfig, None).await
}

/// A client, and the API server it talks to; nothing is asked yet.
async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<(http::Uri, Client), Failure> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let found = match kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(file) => kube::Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|error| {
                    format!(
                        "--kubeconfig {}: {error}; check its current context",
                        path.display()
                    )
                }),
            Err(error) => Err(format!(
                "--kubeconfig {}: {error}; name a readable kubeconfig",
                path.display()
            )),
        },
        None if context.is_some() => kube::Config::from_kubeconfig(&options)
            .await
            .map_err(|error| format!("--context: {error}; kubectl config get-contexts lists them")),
        None => kube::Config::infer()
            .await
            .map_err(|error| format!("no cluster: {error}; pass --kubeconfig, or run in a pod")),
    };
    let kube_config = found.map_err(Failure::Usage)?;
    let server = kube_config.cluster_url.clone();
    let client =
        Client::try_from(kube_config).map_err(|error| Failure::Usage(format!("{server}: {error}")))?;
    Ok((server, client))
}

/// A client of an API server that answers.
async fn client_of(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, Failure> {
    let (server, client) = connect(kubeconfig, context).await?;
    let asked = tokio::time::timeout(Duration::from_secs(10), client.apiserver_version()).await;
    match asked {
        Ok(Ok(version)) => {
            tracing::info!("connected to {server}, Kubernetes {}", version.git_version);
            Ok(client)
        }
        Ok(Err(error)) => Err(Failure::Usage(format!(
            "{server}: {error}; is the cluster up, and are you allowed in?"
        ))),
        Err(_) => Err(Failure::Usage(format!(
            "{server}: no answer within 10 s; is the cluster up?"
        ))),
    }
}

async fn serve_and_control(config: Config, spans: Option<Outlet>) -> Result<(), Failure> {
    let died = |what: &str, error: &dyn std::fmt::Display| Failure::Died(format!("{what}: {error}"));
    let stop = stop_on_signal()?;
    let client = if config.webhook_url.is_some() {
        client(config.kubeconfig.as_deref()).await?
    } else {
        // Behind a Service nobody watches the start: the API server may be away, and nothing that is served waits for it.
        connect(config.kubeconfig.as_deref(), None).await?.1
    };
    let bound = serve::bind(config.listen)
        .await
        .map_err(|error| Failure::Usage(error.to_string()))?;

    let metrics = Arc::new(Metrics::new());
    metrics.info(config.controller.settings.provider.as_str());
    let mut names = Names::of_service(&config.service_name, &config.system_namespace);
    names = names.and(&config.listen.ip().to_string());
    if let Some(host) = config.webhook_url.as_ref().and_then(Url::host_str) {
        names = names.and(host);
    }
    let (slot, address) = (Slot::new(), bound.address());
    certificates::provisional(&slot, &names).map_err(|error| died("certificates", &error))?;

    let stop_serving = CancellationToken::new();
    let caches = Caches::new(config.controller.namespace.clone());
    let mut state = webhook::State::new(config.controller.settings.clone(), Arc::clone(&metrics))
        .looking_around(
            caches.clone(),
            config.controller.rendering.selector_labels.clone(),
        )
        .stopping_with(stop_serving.clone());
    let mut tls = Tls::from(Arc::clone(&slot)).only_13(config.tls_13_only);
    let mut tasks: JoinSet<Result<(), String>> = JoinSet::new();
    if let Some(ClientCheck { authority, names }) = config.clients.clone() {
        let clients = Clients::read(&authority)
            .await
            .map_err(|error| Failure::Usage(format!("--client-ca-file {error}")))?;
        tls = tls.verifying(Arc::clone(&clients) as Arc<_>);
        state = state.with_callers(Callers::named(names));
        tasks.spawn(renew_clients(clients, authority));
    }
    let state = Arc::new(state);
    beside(&config, spans, &metrics, &state, &mut tasks).await?;
    let farewell = if config.webhook_url.is_some() {
        Farewell::from_a_laptop()
    } else {
        Farewell::default()
    };
    let mut serving: JoinSet<Result<(), String>> = JoinSet::new();
    let router = webhook::app(Arc::clone(&state));
    let served = bound.serve(router, tls, stop_serving.clone(), Limits::default(), farewell);
    serving.spawn(async move {
        served
            .await
            .map(drop)
            .map_err(|error| format!("the webhook server ended: {error}"))
    });
    tracing::info!("webhooks are served on {}", config.listen);

    let (retire, mut electing) = (CancellationToken::new(), JoinSet::new());
    let leadership = match config.election.clone() {
        None => Leadership::alone(),
        Some(taking_part) => {
            let (election, leadership) = Election::new(client.clone(), taking_part);
            electing.spawn(election.run(retire.clone()));
            leadership
        }
    };
    tasks.spawn(tell(leadership.clone(), Arc::clone(&metrics)));
    tasks.spawn(tell_caches(caches.clone(), Arc::clone(&metrics)));
    let registration = Registration::new(
        config.webhook_url.clone(),
        &config.system_namespace,
        &config.service_name,
        "",
    );
    let (told, carried) = watch::channel(Carried::default());
    tasks.spawn(trust::follow(client.clone(), registration.endpoint.clone(), told));
    let (bundle, mut bundle_known) = watch::channel(None);
    let trusted = Trusted::new(Arc::clone(&state), !config.install);
    let certificates = Certificates {
        source: config.certificates.clone(),
        names,
        address,
        slot,
        client: client.clone(),
        endpoint: registration.endpoint.clone(),
        leadership: leadership.clone(),
        carried,
        state: Arc::clone(&state),
        trusted: Arc::clone(&trusted),
        metrics: Arc::clone(&metrics),
        bundle,
    };
    tasks.spawn(certificates.keep());

    let outbound = Outbound::new(config.reach).map_err(|error| died("HTTP client", &error))?;
    let (installer, caching, install) = (client.clone(), client.clone(), config.install);
    let (controlled, stop_controller) = (config.controller.clone(), stop.clone());
    let controller = controller::run(
        client.clone(),
        caches.clone(),
        controlled,
        outbound,
        Arc::clone(&metrics),
        leadership,
        async move { stop_controller.cancelled().await },
    );
    let (releases, stop_serving_alone) = (config.releases, stop.clone());
    let controller = async move {
        if releases {
            return controller.await;
        }
        stop_serving_alone.cancelled().await;
        Ok(())
    };
    let mut control: JoinSet<Result<(), String>> = JoinSet::new();
    control.spawn(async move {
        if install {
            let known = bundle_known
                .wait_for(Option::is_some)
                .await
                .map(|known| known.clone());
            let bundle = known.ok().flatten().unwrap_or_default();
            register(&installer, &registration.trusting(bundle)).await?;
            trusted.registered();
        }
        // Admission reads the caches whoever runs the controller.
        tokio::select! {
            ended = caches.keep(caching) => ended,
            ended = controller => ended,
        }
    });
    let outcome = tokio::select! {
        () = stop.cancelled() => Ok(()),
        Some(ended) = control.join_next() => flatten(ended),
        Some(ended) = electing.join_next() => flatten(ended.map(|()| Err("the election ended".to_owned()))),
        Some(ended) = tasks.join_next() => flatten(ended).and(Err("a task ended".to_owned())),
        Some(ended) = serving.join_next() => flatten(ended).and(Err("the webhook server ended".to_owned())),
    };

    // Behind a Service calls go on arriving: say at once that others should get them. By URL there are no others, so
    // the registration goes first.
    let leaves = config.install && config.webhook_url.is_some();
    if !leaves {
        stop_serving.cancel();
    }
    match timeout(PASSES, join(&mut control)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("{error}"),
        Err(_) => tracing::info!("a pass was cut short; the next leader takes the same steps"),
    }
    control.shutdown().await;
    tasks.shutdown().await;
    if leaves {
        match timeout(Duration::from_secs(15), install::uninstall(&client)).await {
            Ok(Ok(())) => tracing::info!("webhook configurations are removed, v1alpha3 is no longer served"),
            Ok(Err(error)) => {
                tracing::warn!("not everything was taken back: {error}; run verdigris uninstall");
            }
            Err(_) => tracing::warn!("the API server did not answer; run verdigris uninstall"),
        }
    }
    // Nothing is written any more: the next leader may begin while this process still serves.
    retire.cancel();
    stop_serving.cancel();
    while let Some(ended) = electing.join_next().await {
        flatten(ended.map(Ok)).map_err(Failure::Died)?;
    }
    join(&mut serving).await.map_err(Failure::Died)?;
    outcome.map_err(Failure::Died)
}

/// Tells the series who leads, whenever that changes.
async fn tell(leadership: Leadership, metrics: Arc<Metrics>) -> Result<(), String> {
    loop {
        leadership.gained().await;
        metrics.leader(true);
        leadership.lost().await;
        metrics.leader(false);
    }
}

/// Tells the series which caches hold what there is.
async fn tell_caches(caches: Caches, metrics: Arc<Metrics>) -> Result<(), String> {
    let known = Caches::kinds().map(|kind| {
        let (caches, metrics) = (&caches, &metrics);
        async move {
            metrics.cache_synced(kind.kind, false);
            caches.warm(&[kind]).await;
            metrics.cache_synced(kind.kind, true);
        }
    });
    futures::future::join_all(known).await;
    std::future::pending().await
}

/// What operators look at: the admin port and exported spans, where asked for.
async fn beside(
    config: &Config,
    spans: Option<Outlet>,
    metrics: &Arc<Metrics>,
    webhook: &Arc<webhook::State>,
    tasks: &mut JoinSet<Result<(), String>>,
) -> Result<(), Failure> {
    if let Some(address) = config.admin_listen {
        let listener = admin::bind(address).await.map_err(Failure::Usage)?;
        let desk = Arc::new(admin::Desk {
            logs: config.logs.clone(),
            metrics: Arc::clone(metrics),
            webhook: Arc::clone(webhook),
            releases: config.releases,
        });
        tracing::info!("status and log level are served on {address}");
        tasks.spawn(admin::serve(listener, desk));
    }
    if let (Some(endpoint), Some(outlet)) = (config.otlp_endpoint.clone(), spans) {
        // The operator named it: a collector beside us in the pod is on loopback.
        let outbound =
            Outbound::new(Reach::Anywhere).map_err(|error| Failure::Died(format!("HTTP client: {error}")))?;
        let instance = format!("{}/{}", config.system_namespace, config.listen);
        let metrics = Arc::clone(metrics);
        tasks.spawn(async move {
            export::export(outlet, endpoint, instance, outbound, metrics).await;
            Ok(())
        });
    }
    Ok(())
}

/// Waits for every task; the first failure.
async fn join(tasks: &mut JoinSet<Result<(), String>>) -> Result<(), String> {
    while let Some(ended) = tasks.join_next().await {
        flatten(ended)?;
    }
    Ok(())
}

/// Installs. Behind a Service it is tried until it works: a pod that starts while the API server is away waits for it.
async fn register(client: &Client, registration: &Registration) -> Result<(), String> {
    let mut failure = String::new();
    loop {
        let Err(error) = install::install(client, registration).await else {
            return Ok(());
        };
        let text = format!("--install: {error}");
        if matches!(registration.endpoint, Endpoint::Url(_)) {
            return Err(text);
        }
        if text != failure {
            tracing::warn!("{text}; tried again until it works");
            failure = text;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Believes whom the file says, as it changes.
async fn renew_clients(clients: Arc<Clients>, authority: PathBuf) -> Result<(), String> {
    let mut failure = String::new();
    loop {
        tokio::time::sleep(files::LOOK).await;
        match clients.renew(&authority).await {
            Ok(renewed) => {
                failure.clear();
                if renewed {
                    tracing::info!("another authority of client certificates is believed");
                }
            }
            Err(error) => {
                let text = error.to_string();
                if text != failure {
                    tracing::warn!("--client-ca-file {text}; who is believed stays");
                    failure = text;
                }
            }
        }
    }
}

fn flatten(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Result<(), String> {
    ended.unwrap_or_else(|error| Err(format!("a task died: {error}")))
}
