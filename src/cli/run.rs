//! `verdigris run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use url::Url;

use crate::app;
use crate::lease;
use crate::model::canary::Provider;
use crate::model::duration;
use crate::model::parse::{self, Settings};
use crate::net::outbound::Reach;
use crate::pki::files::Files;
use crate::telemetry::{self, LogFormat, Traces};
use crate::{controller, workload};

/// Flags of `verdigris run`. Names follow Flagger's where it has them.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Kubeconfig file; without it $KUBECONFIG, ~/.kube/config or the pod's service account
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Release Canaries of this namespace only [default: all]
    #[arg(long)]
    namespace: Option<String>,
    /// Prometheus for built-in and inline queries
    #[arg(long, default_value = "http://prometheus:9090")]
    metrics_server: String,
    /// Provider of Canaries that name none
    #[arg(long, default_value = "kubernetes", value_parser = parse::provider)]
    mesh_provider: Provider,
    /// Address the webhooks are served on
    #[arg(long, default_value = "0.0.0.0:9443")]
    listen: SocketAddr,
    /// Register this URL (https) for the webhooks instead of the Service
    #[arg(long)]
    webhook_url: Option<Url>,
    /// Namespace of the webhook Service and of our own Secrets
    #[arg(long, default_value = "verdigris-system", env = "POD_NAMESPACE")]
    system_namespace: String,
    /// Name of the webhook Service
    #[arg(long, default_value = "verdigris-webhook")]
    service_name: String,
    /// Apply the CRDs and webhook configurations, with our CA
    #[arg(long)]
    install: bool,
    /// Let only the replica that holds the Lease `verdigris` of the system namespace write
    #[arg(long, alias = "enable-leader-election", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    leader_elect: bool,
    /// How long the Lease is respected after the last sign of its holder, whole seconds
    #[arg(long, default_value = "10s", value_parser = lease_duration)]
    leader_elect_lease_duration: Duration,
    /// Name to lead under; no two running processes may share it [default: the pod's, else host and address]
    #[arg(long, env = "POD_NAME")]
    leader_elect_identity: Option<String>,
    /// Serve this certificate (PEM, with what leads to its authority) instead of one of the built-in authority
    #[arg(long, requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// The key of --tls-cert-file: PKCS#8, SEC1 or PKCS#1, PEM
    #[arg(long, requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    /// Put this authority of --tls-cert-file (PEM) into the webhook configurations and CRDs
    #[arg(long, requires = "tls_cert_file")]
    tls_ca_file: Option<PathBuf>,
    /// Oldest TLS version that is spoken
    #[arg(long, default_value = "1.2", value_parser = ["1.2", "1.3"])]
    tls_min_version: String,
    /// Let only callers with a certificate of this authority (PEM) ask /validate and /mutate
    #[arg(long)]
    client_ca_file: Option<PathBuf>,
    /// Names (common or DNS) of which such a certificate must bear one [default: any]
    #[arg(long, value_delimiter = ',', requires = "client_ca_file")]
    client_allowed_names: Vec<String>,
    /// How long every webhook configuration and CRD must have been trusting a new authority before it signs
    #[arg(long, default_value = "1m", value_parser = super::interval)]
    ca_settle: Duration,
    /// Shorter analysis intervals are raised to this
    #[arg(long, default_value = "10s", value_parser = super::interval)]
    min_analysis_interval: Duration,
    /// Labels that may tell the pods of a target, in order
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "app,name,app.kubernetes.io/name"
    )]
    selector_labels: Vec<String>,
    /// Prefixes of labels and annotations copied to generated objects; * for all
    #[arg(long, value_delimiter = ',')]
    include_label_prefix: Vec<String>,
    /// Judge changes of ConfigMaps and Secrets too, and give the primary copies of its own
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    enable_config_tracking: bool,
    /// Canaries worked on at once
    #[arg(long, default_value_t = 32)]
    threadiness: u16,
    #[command(flatten)]
    alerts: super::alerts::AlertArgs,
    /// Release Canaries; false serves the webhooks only
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    controller: bool,
    /// Loopback address of /statusz and /log-level, such as 127.0.0.1:9444 [default: none]
    #[arg(long)]
    admin_listen: Option<SocketAddr>,
    /// Send spans to this trace collector: OTLP over HTTP, such as http://collector:4318 [default: none]
    #[arg(long)]
    otlp_endpoint: Option<Url>,
    /// error, warn, info, debug or trace, or a filter such as verdigris=debug
    #[arg(long, default_value = "info")]
    log_level: String,
    /// How log lines look
    #[arg(long, value_enum, default_value = "text", alias = "zap-encoding")]
    log_format: LogFormat,
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_secs(2)..=Duration::from_secs(60);
    duration::go_positive(text)
        .filter(|duration| allowed.contains(duration) && duration.subsec_nanos() == 0)
        .ok_or_else(|| format!("{text:?} is not a whole number of seconds from 2s to 60s; write 10s"))
}

/// The name a process leads under when none is given: the host, and the address only one process there can have.
fn identity(args: &RunArgs) -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = read.or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.as_deref().map_or("localhost", str::trim);
    match args.listen.port() {
        0 => format!("{host}_{}", std::process::id()),
        _ => format!("{host}_{}", args.listen),
    }
}

/// Runs until a signal.
pub fn run(args: RunArgs) -> ExitCode {
    let mut traces = args.otlp_endpoint.as_ref().map(|_| Traces::default());
    let config = match config(args, traces.as_ref()) {
        Ok(config) => config,
        Err(message) => return super::usage(&message),
    };
    match app::run(config, traces.as_mut().and_then(Traces::outlet)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(app::Failure::Usage(message)) => super::usage(&message),
        Err(app::Failure::Died(message)) => {
            eprintln!("verdigris: {message}");
            ExitCode::FAILURE
        }
    }
}

fn config(args: RunArgs, traces: Option<&Traces>) -> Result<app::Config, String> {
    let logs = telemetry::start_logging_and_tracing(&args.log_level, args.log_format, traces)?;
    if let Some(url) = &args.otlp_endpoint
        && !matches!(url.scheme(), "http" | "https")
    {
        return Err(format!(
            "--otlp-endpoint {url} is not an http or https URL; write one such as http://collector:4318"
        ));
    }
    match Url::parse(&args.metrics_server) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {}
        Ok(_) | Err(_) => {
            return Err(format!(
                "--metrics-server {:?} is not an http or https URL; write one such as http://prometheus:9090",
                args.metrics_server
            ));
        }
    }
    if let Some(url) = &args.webhook_url
        && url.scheme() != "https"
    {
        return Err(format!(
            "--webhook-url {url} must be https; the API server calls no other"
        ));
    }
    let identity = args
        .leader_elect_identity
        .clone()
        .unwrap_or_else(|| identity(&args));
    let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && args.kubeconfig.is_none();
    let certificates = match (args.tls_cert_file, args.tls_key_file) {
        (Some(certificate), Some(key)) => {
            if args.install && args.tls_ca_file.is_none() {
                return Err(
                    "--install with --tls-cert-file must be told whom the API server is to trust; name --tls-ca-file"
                        .to_owned(),
                );
            }
            app::Source::Files(Files {
                certificate,
                key,
                authority: args.tls_ca_file,
            })
        }
        _ if args.webhook_url.is_some() => app::Source::Own,
        _ => app::Source::Shared {
            namespace: args.system_namespace.clone(),
            settle: args.ca_settle,
        },
    };
    Ok(app::Config {
        certificates,
        tls_13_only: args.tls_min_version == "1.3",
        clients: args.client_ca_file.map(|authority| app::ClientCheck {
            authority,
            names: args.client_allowed_names,
        }),
        kubeconfig: args.kubeconfig,
        listen: args.listen,
        webhook_url: args.webhook_url,
        system_namespace: args.system_namespace.clone(),
        service_name: args.service_name,
        install: args.install,
        election: args.leader_elect.then(|| lease::Config {
            namespace: args.system_namespace.clone(),
            identity,
            duration: args.leader_elect_lease_duration,
            alone_without_namespace: !in_cluster,
        }),
        reach: if in_cluster {
            Reach::InCluster
        } else {
            Reach::Anywhere
        },
        controller: controller::Config {
            namespace: args.namespace,
            metrics_server: args.metrics_server,
            settings: Settings {
                provider: args.mesh_provider,
                min_interval: args.min_analysis_interval,
                provider_is_certain: false,
                refuse_loopback: in_cluster,
                unknown_fields: false,
            },
            rendering: workload::Options {
                selector_labels: args
                    .selector_labels
                    .iter()
                    .map(|label| label.trim().to_owned())
                    .collect(),
                include_label_prefix: args
                    .include_label_prefix
                    .iter()
                    .map(|prefix| prefix.trim().to_owned())
                    .collect(),
            },
            track_configs: args.enable_config_tracking,
            concurrency: args.threadiness.max(1),
            notifier: args.alerts.notifier()?,
            cluster_name: args.alerts.cluster_name,
            event_webhook: args.alerts.event_webhook,
        },
        releases: args.controller,
        logs,
        admin_listen: args.admin_listen,
        otlp_endpoint: args.otlp_endpoint,
    })
}
