//! `verdigris uninstall`: takes the webhooks out of the cluster, after a crash or for good.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::app;

/// Flags of `verdigris uninstall`.
#[derive(Debug, clap::Args)]
pub struct UninstallArgs {
    /// Kubeconfig file; without it $KUBECONFIG, ~/.kube/config or the pod's service account
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

/// Removes the webhook configurations and stops serving v1alpha3. Canaries and CRDs stay.
pub fn run(args: &UninstallArgs) -> ExitCode {
    match app::uninstall(args.kubeconfig.as_deref()) {
        Ok(()) => {
            eprintln!(
                "verdigris: webhook configurations removed, v1alpha3 no longer served; Canaries and CRDs stay"
            );
            ExitCode::SUCCESS
        }
        Err(app::Failure::Usage(message)) => super::usage(&message),
        Err(app::Failure::Died(message)) => {
            eprintln!("verdigris: {message}");
            ExitCode::FAILURE
        }
    }
}
