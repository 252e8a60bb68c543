//! A client that never stops asking the apex Service, and counts what it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Asks `http://podinfo.test:9898/` twenty times a second, each on a connection of its own.
pub(crate) struct Traffic {
    task: tokio::task::JoinHandle<()>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    failed: AtomicU64,
    last: Mutex<String>,
}

impl Traffic {
    /// Starts asking.
    pub(crate) fn start(gateway: SocketAddr) -> Result<Self, String> {
        let proxy = reqwest::Proxy::http(format!("http://{gateway}")).map_err(|error| error.to_string())?;
        let client = reqwest::Client::builder()
            .proxy(proxy)
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| error.to_string())?;
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(50));
            loop {
                beat.tick().await;
                let problem = match client.get("http://podinfo.test:9898/").send().await {
                    Ok(answer) if answer.status().is_success() => None,
                    Ok(answer) => Some(format!("HTTP {}", answer.status())),
                    Err(error) => Some(format!("{error:?}")),
                };
                match problem {
                    None => shared.answered.fetch_add(1, Ordering::Relaxed),
                    Some(problem) => {
                        if let Ok(mut last) = shared.last.lock() {
                            *last = problem;
                        }
                        shared.failed.fetch_add(1, Ordering::Relaxed)
                    }
                };
            }
        });
        Ok(Self { task, counts })
    }

    /// Requests answered and failed so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.counts.answered.load(Ordering::Relaxed),
            self.counts.failed.load(Ordering::Relaxed),
        )
    }

    /// What the last failure was.
    pub(crate) fn last_failure(&self) -> String {
        self.counts
            .last
            .lock()
            .map(|last| last.clone())
            .unwrap_or_default()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}
