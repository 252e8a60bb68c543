//! One process of the product.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A replica under measurement.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    process: Mutex<std::process::Child>,
}

impl Replica {
    pub(crate) fn start(verdigris: &Path, folder: &Path, namespace: &str, settle: u64) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("verdigris.log"))
            .unwrap();
        let process = Command::new(verdigris)
            .arg("run")
            .arg("--install")
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"))
            .arg(format!("--listen={address}"))
            .arg(format!("--system-namespace={namespace}"))
            .arg(format!("--ca-settle={settle}s"))
            .arg("--metrics-server=http://127.0.0.1:1")
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        Self {
            address,
            process: Mutex::new(process),
        }
    }

    /// What a readiness probe finds.
    pub(crate) async fn is_ready(&self) -> bool {
        crate::line::probe(self.address).await
    }

    pub(crate) async fn until_ready(&self) {
        let began = Instant::now();
        while !self.is_ready().await {
            assert!(began.elapsed() < Duration::from_secs(60), "never ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = self.process.lock().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .arg("-TERM")
                .arg(id)
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits until it has ended by itself, well.
    pub(crate) async fn ended(&self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.lock().unwrap().try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(40), "never ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn kill(&self) {
        let mut process = self.process.lock().unwrap();
        let _ = process.kill();
        let _ = process.wait();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}
