//! Composition root: start order, stop order, the only place that starts long-lived tasks.
//!
//! Start: TLS server first, then registration (`--install`), then caches and controller: the API server may call
//! the webhooks before anything of ours has been listed. Admission reads the caches whoever runs the controller. Stop: controller first, then registration is taken back,
//! then the server, which has answered until then. Every long-lived task is supervised: any of them ending ends
//! the process with its reason.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: makes the client and reads the clock once"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use regex::Regex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::cache::Caches;
use crate::controller;
use crate::install::{self, Registration};
use crate::lease::{self, Election, Leadership};
use crate::loadtester::gate::Gates;
use crate::loadtester::runner::Runner;
use crate::loadtester::server::{self, Desk};
use crate::migrate;
use crate::net::outbound::{Outbound, Reach};
use crate::net::probe;
use crate::net::serve::{self, Farewell, Limits};
use crate::pki;
use crate::pki::store::Store;
use crate::pki::{Keeper, Names};
use crate::telemetry::Metrics;
use crate::webhook::{self, Latch};

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
    /// The controller's part.
    pub controller: controller::Config,
}

/// Runs until SIGTERM or SIGINT; a second signal aborts.
pub fn run(config: Config) -> Result<(), Failure> {
    runtime()?.block_on(serve_and_control(config))
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

async fn client_of(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, Failure> {
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

async fn serve_and_control(config: Config) -> Result<(), Failure> {
    let died = |what: &str, error: &dyn std::fmt::Display| Failure::Died(format!("{what}: {error}"));
    let client = client(config.kubeconfig.as_deref()).await?;
    let bound = serve::bind(config.listen)
        .await
        .map_err(|error| Failure::Usage(error.to_string()))?;

    let metrics = Arc::new(Metrics::new());
    let mut names = Names::of_service(&config.service_name, &config.system_namespace);
    names = names.and(&config.listen.ip().to_string());
    if let Some(host) = config.webhook_url.as_ref().and_then(Url::host_str) {
        names = names.and(host);
    }
    let name = names.as_slice().first().cloned().unwrap_or_default();
    let mut keeper = if config.webhook_url.is_some() {
        Keeper::ephemeral(names, Timestamp::now()).map_err(|error| died("certificates", &error))?
    } else {
        let store = Store::new(client.clone(), &config.system_namespace);
        Keeper::shared(names, Timestamp::now(), store)
            .await
            .map_err(|error| died("certificates", &error))?
    };
    metrics.certificate_expiry(keeper.leaf().validity().until.as_second());
    let (slot, address) = (keeper.slot(), bound.address());

    let (stop, stop_serving) = (stop_on_signal()?, CancellationToken::new());
    let caches = Caches::new(config.controller.namespace.clone());
    let state = webhook::State::new(config.controller.settings.clone(), Arc::clone(&metrics))
        .looking_around(
            caches.clone(),
            config.controller.rendering.selector_labels.clone(),
        )
        .stopping_with(stop_serving.clone());
    let state = Arc::new(state);
    state.readiness().latch(Latch::Certificate);
    let farewell = if config.webhook_url.is_some() {
        Farewell::from_a_laptop()
    } else {
        Farewell::default()
    };
    let mut tasks: JoinSet<Result<(), String>> = JoinSet::new();
    let router = webhook::app(Arc::clone(&state));
    let serving = bound.serve(router, slot, stop_serving.clone(), Limits::default(), farewell);
    tasks.spawn(async move {
        serving
            .await
            .map(drop)
            .map_err(|error| format!("the webhook server ended: {error}"))
    });
    tracing::info!("webhooks are served on {}", config.listen);

    probe::call(address, &name, keeper.bundle_pem())
        .await
        .map_err(|error| died("the webhook server does not answer itself", &error))?;
    state.readiness().latch(Latch::SelfCall);

    let registration = Registration::new(
        config.webhook_url.clone(),
        &config.system_namespace,
        &config.service_name,
        keeper.bundle_pem(),
    );
    if config.install {
        tokio::select! {
            done = install::install(&client, &registration) => {
                done.map_err(|error| died("--install", &error))?;
            }
            () = stop.cancelled() => {}
        }
    }
    keeper.published(Timestamp::now());
    state.readiness().latch(Latch::Trusted);
    let outbound = Outbound::new(config.reach).map_err(|error| died("HTTP client", &error))?;
    let (retire, mut electing) = (CancellationToken::new(), JoinSet::new());
    let leadership = match config.election.clone() {
        None => Leadership::alone(),
        Some(taking_part) => {
            let (election, leadership) = Election::new(client.clone(), taking_part);
            electing.spawn(election.run(retire.clone()));
            leadership
        }
    };
    let stop_controller = stop.clone();
    let mut control: JoinSet<Result<(), String>> = JoinSet::new();
    control.spawn(caches.clone().keep(client.clone()));
    let controller = controller::run(
        client.clone(),
        caches,
        config.controller.clone(),
        outbound,
        Arc::clone(&metrics),
        leadership,
        async move { stop_controller.cancelled().await },
    );
    control.spawn(controller);
    let (publisher, installing) = (client.clone(), config.install);
    control.spawn(async move {
        let publish = |bundle: String| {
            let (client, renewed) = (publisher.clone(), registration.trusting(bundle));
            async move {
                if installing {
                    install::install(&client, &renewed).await
                } else {
                    Ok(())
                }
            }
        };
        let served = |leaf: &pki::Leaf| metrics.certificate_expiry(leaf.validity().until.as_second());
        match keeper.keep(publish, served).await {}
    });
    let outcome = tokio::select! {
        Some(ended) = control.join_next() => flatten(ended),
        Some(ended) = electing.join_next() => flatten(ended.map(|()| Err("the election ended".to_owned()))),
        Some(ended) = tasks.join_next() => flatten(ended).and(Err("the webhook server ended".to_owned())),
    };

    if config.install && config.webhook_url.is_some() {
        match tokio::time::timeout(Duration::from_secs(15), install::uninstall(&client)).await {
            Ok(Ok(())) => tracing::info!("webhook configurations are removed, v1alpha3 is no longer served"),
            Ok(Err(error)) => {
                tracing::warn!("not everything was taken back: {error}; run verdigris uninstall");
            }
            Err(_) => tracing::warn!("the API server did not answer; run verdigris uninstall"),
        }
    }
    // Nothing is written any more: the next leader may begin while this process still serves.
    control.shutdown().await;
    retire.cancel();
    stop_serving.cancel();
    while let Some(ended) = electing.join_next().await {
        flatten(ended.map(Ok)).map_err(Failure::Died)?;
    }
    while let Some(ended) = tasks.join_next().await {
        flatten(ended).map_err(Failure::Died)?;
    }
    outcome.map_err(Failure::Died)
}

fn flatten(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Result<(), String> {
    ended.unwrap_or_else(|error| Err(format!("a task died: {error}")))
}
