//! A client that never stops asking a Service, and counts what it gets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answered, failed, and the last failure.
type Counts = Arc<Mutex<(u64, u64, String)>>;

pub(crate) struct Traffic {
    task: tokio::task::JoinHandle<()>,
    counts: Counts,
}

impl Traffic {
    /// Asks ten times a second, each time on a connection of its own.
    pub(crate) fn start(gateway: SocketAddr, url: String) -> Self {
        let client = reqwest::Client::builder()
            .proxy(reqwest::Proxy::http(format!("http://{gateway}")).unwrap())
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        let counts = Counts::default();
        let shared = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(100));
            loop {
                beat.tick().await;
                let failure = match client.get(&url).send().await {
                    Ok(answer) if answer.status().is_success() => None,
                    Ok(answer) => Some(answer.status().to_string()),
                    Err(error) => Some(format!("{error:?}")),
                };
                let mut counts = shared.lock().unwrap();
                match failure {
                    None => counts.0 += 1,
                    Some(failure) => {
                        counts.1 += 1;
                        counts.2 = failure;
                    }
                }
            }
        });
        Self { task, counts }
    }

    /// Ends; no request may have failed.
    pub(crate) fn unharmed(self) {
        self.task.abort();
        let counts = self.counts.lock().unwrap();
        assert!(
            counts.0 > 20 && counts.1 == 0,
            "answered, failed, last failure: {counts:?}"
        );
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}
