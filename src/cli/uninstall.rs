//! `verdigris uninstall`: takes the webhooks out of the cluster, after a crash or for good.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::install::{self, InstallError};

/// Flags of `verdigris uninstall`.
#[derive(Debug, clap::Args)]
pub struct UninstallArgs {
    /// Kubeconfig file; without it $KUBECONFIG, ~/.kube/config or the pod's service account
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

/// Removes the webhook configurations and stops serving v1alpha3. Canaries and CRDs stay.
pub fn run(args: UninstallArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("no runtime: {error}")),
    };
    let removed = runtime.block_on(async {
        let client = install::connect(args.kubeconfig.as_deref()).await?;
        install::uninstall(&client).await
    });
    match removed {
        Ok(()) => {
            eprintln!(
                "verdigris: webhook configurations removed, v1alpha3 no longer served; Canaries and CRDs stay"
            );
            ExitCode::SUCCESS
        }
        Err(InstallError::Kubeconfig(message)) => super::usage(&message),
        Err(error @ (InstallError::Cluster(_) | InstallError::NotEstablished { .. })) => {
            failed(&error.to_string())
        }
    }
}

fn failed(message: &str) -> ExitCode {
    eprintln!("verdigris: {message}");
    ExitCode::FAILURE
}
