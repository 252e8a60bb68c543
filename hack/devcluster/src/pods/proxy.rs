//! The service proxy: listens on every Service's loopback `clusterIP` and leads connections to ready pods.
//!
//! Promises: a connection under way survives any change of selector, endpoints or Service. One that finds no ready
//! endpoint within a second is reset.

#![expect(
    clippy::disallowed_methods,
    reason = "shell: a task per connection, which outlives its listener"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::balance::{Balancer, Port};
use crate::client::{Change, Client};
use crate::controllers::object::{ENDPOINTS, Key, SERVICES};

/// Follows Services and Endpoints for as long as the cluster lives.
pub(crate) async fn run(client: Client, balancer: Arc<Balancer>, end: CancellationToken) {
    let mut proxy = Proxy {
        balancer,
        end,
        services: HashMap::new(),
        endpoints: HashMap::new(),
        listeners: HashMap::new(),
    };
    let services = client.watch(SERVICES).map(|change| (true, change));
    let endpoints = client.watch(ENDPOINTS).map(|change| (false, change));
    let mut changes = futures::stream::select(services, endpoints);
    while let Some((service, change)) = changes.next().await {
        proxy.take(service, change).await;
    }
}

struct Proxy {
    balancer: Arc<Balancer>,
    end: CancellationToken,
    services: HashMap<Key, Value>,
    endpoints: HashMap<Key, Value>,
    listeners: HashMap<Key, HashMap<SocketAddr, Listening>>,
}

/// An address a Service is served on, until this is dropped.
struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Proxy {
    async fn take(&mut self, service: bool, change: Change) {
        let kept = if service {
            &mut self.services
        } else {
            &mut self.endpoints
        };
        let key = match change {
            Change::Applied(object) => {
                let key = Key::of(&object);
                kept.insert(key.clone(), object);
                key
            }
            Change::Deleted(object) => {
                let key = Key::of(&object);
                kept.remove(&key);
                key
            }
        };
        let Some(service) = self.services.get(&key) else {
            self.balancer.remove(&key);
            self.listeners.remove(&key);
            return;
        };
        let wanted = self.balancer.set(service, self.endpoints.get(&key));
        let listeners = self.listeners.entry(key).or_default();
        listeners.retain(|address, _| wanted.iter().any(|(wanted, _)| wanted == address));
        for (address, port) in wanted {
            if listeners.contains_key(&address) {
                continue;
            }
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    let task = tokio::spawn(listen(listener, port, self.end.clone()));
                    listeners.insert(address, Listening(task.abort_handle()));
                }
                Err(error) => {
                    tracing::warn!(%address, %error, "a Service is reachable by name through the gateway only");
                }
            }
        }
    }
}

async fn listen(listener: TcpListener, port: Arc<Port>, end: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.cancelled() => return,
        };
        match accepted {
            Ok((client, _)) => {
                let (port, end) = (Arc::clone(&port), end.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = forward(client, &port) => {}
                        () = end.cancelled() => {}
                    }
                });
            }
            Err(error) => tracing::debug!(%error, "connection not accepted"),
        }
    }
}

async fn forward(mut client: TcpStream, port: &Port) {
    let outcome = async {
        client.set_nodelay(true)?;
        let mut server = port.connect().await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    };
    if let Err(error) = outcome.await {
        tracing::debug!(%error, "connection reset");
        if let Err(error) = client.set_zero_linger() {
            tracing::debug!(%error, "connection closed instead");
        }
    }
}
