//! `verdigris crds`: prints the CustomResourceDefinitions.

use std::io::{self, Write};

use crate::api::crd;

/// Arguments of `verdigris crds`.
#[derive(Debug, Clone, clap::Args)]
pub struct CrdsArgs {
    /// Print them as they are applied where no conversion webhook runs: v1alpha3 is then not served.
    #[arg(long)]
    pub without_conversion: bool,
}

/// Prints the CRDs as YAML documents (the text of `manifests/base/crd.yaml`).
///
/// # Errors
/// `stdout` cannot be written.
pub fn run(args: &CrdsArgs, stdout: &mut dyn Write) -> io::Result<()> {
    let text = if args.without_conversion {
        crd::yaml(None)
    } else {
        crd::yaml(Some(crd::service_client_config()))
    };
    stdout.write_all(text.as_bytes())
}
