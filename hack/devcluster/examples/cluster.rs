//! Runs the embedded cluster until it is told to stop: `cluster DIR [PORT]`. Writes `DIR/kubeconfig`.
//!
//! `hack/cluster up DIR [PORT]` starts it in the background.

use std::path::PathBuf;
use std::process::ExitCode;

use devcluster::{Config, DevCluster};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(
        arguments
            .next()
            .ok_or("no folder; expected: cluster DIR [PORT]")?,
    );
    let port = match arguments.next() {
        Some(text) => Some(
            text.parse()
                .map_err(|e| format!("PORT: {text:?} ({e}); expected 1-65535"))?,
        ),
        None => None,
    };
    std::fs::create_dir_all(&folder)
        .map_err(|e| format!("{}: {e}; expected a folder to write to", folder.display()))?;
    let config = Config {
        port,
        ..Config::default()
    };
    let cluster = DevCluster::start(config).await.map_err(|e| e.to_string())?;
    let kubeconfig = folder.join("kubeconfig");
    // Written whole, so that whoever waits for the file never reads half of it.
    let partial = folder.join("kubeconfig.partial");
    std::fs::write(&partial, cluster.kubeconfig())
        .and_then(|()| std::fs::rename(&partial, &kubeconfig))
        .map_err(|e| format!("{}: {e}; expected a file to write to", kubeconfig.display()))?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|e| format!("signals: {e}; expected to wait for SIGTERM"))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    cluster.stop().await;
    Ok(())
}
