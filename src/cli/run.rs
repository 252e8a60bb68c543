//! `verdigris run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use url::Url;

use crate::app;
use crate::model::canary::Provider;
use crate::model::parse::{self, Settings};
use crate::net::outbound::Reach;
use crate::telemetry::{self, LogFormat};
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
    /// error, warn, info, debug or trace, or a filter such as verdigris=debug
    #[arg(long, default_value = "info")]
    log_level: String,
    /// How log lines look
    #[arg(long, value_enum, default_value = "text", alias = "zap-encoding")]
    log_format: LogFormat,
}

/// Runs until a signal.
pub fn run(args: RunArgs) -> ExitCode {
    let config = match config(args) {
        Ok(config) => config,
        Err(message) => return super::usage(&message),
    };
    match app::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(app::Failure::Usage(message)) => super::usage(&message),
        Err(app::Failure::Died(message)) => {
            eprintln!("verdigris: {message}");
            ExitCode::FAILURE
        }
    }
}

fn config(args: RunArgs) -> Result<app::Config, String> {
    telemetry::start_logging(&args.log_level, args.log_format)?;
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
    let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && args.kubeconfig.is_none();
    Ok(app::Config {
        kubeconfig: args.kubeconfig,
        listen: args.listen,
        webhook_url: args.webhook_url,
        system_namespace: args.system_namespace,
        service_name: args.service_name,
        install: args.install,
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
        },
    })
}
