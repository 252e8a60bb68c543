//! The node of the cluster: pods that run, Services that lead to them, and the gateway that lets other processes in.
//!
//! Owns: pod status and addresses, the demo application, service routing. Promises: no request is lost to a rolling
//! update or a switch of selector. Never: decides how many pods there are (that is [`crate::controllers`]).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::Client;

mod balance;
mod demo;
mod discovery;
mod environment;
mod gateway;
mod image;
pub(crate) mod kubelet;
mod metrics;
mod names;
mod network;
mod proxy;
mod status;
#[cfg(test)]
mod traffic;

pub use network::{Network, SERVICE_CIDR};

/// How long the stages of a pod's life take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From start to ready.
    pub ready_after: Duration,
    /// How long a pod that is ending still accepts connections, for endpoints to change meanwhile.
    pub linger: Duration,
    /// Before a crashed container is first started again; doubles, thirtyfold at most.
    pub back_off: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ready_after: Duration::from_millis(100),
            linger: Duration::from_millis(300),
            back_off: Duration::from_secs(1),
        }
    }
}

/// The running node. Dropping it stops everything.
#[derive(Debug)]
pub struct Pods {
    balancer: Arc<balance::Balancer>,
    gateway: SocketAddr,
    _tasks: JoinSet<()>,
    _end: DropGuard,
}

/// Starts the kubelet, the service proxy and the gateway. `network` is the cluster's: its Services must have
/// addresses from [`Network::service`].
pub async fn run(client: &Client, network: Arc<Network>, timing: Timing) -> std::io::Result<Pods> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let balancer = Arc::new(balance::Balancer::default());
    let end = CancellationToken::new();
    let gateway = gateway::Gateway {
        client: client.clone(),
        balancer: Arc::clone(&balancer),
        end: end.clone(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(kubelet::run(
        client.clone(),
        network,
        Arc::clone(&balancer),
        timing,
    ));
    tasks.spawn(proxy::run(client.clone(), Arc::clone(&balancer), end.clone()));
    tasks.spawn(gateway.serve(listener));
    Ok(Pods {
        balancer,
        gateway: address,
        _tasks: tasks,
        _end: end.drop_guard(),
    })
}

impl Pods {
    /// The address of a Service: `web.test`, `web.test.svc`, `web.test.svc.cluster.local`, or `web` of namespace
    /// `default`. `None` for an unknown name and for headless Services.
    pub fn resolve(&self, name: &str) -> Option<IpAddr> {
        self.balancer.resolve(name)
    }

    /// A connection to a ready pod of a Service, by name and Service port.
    pub async fn dial(&self, name: &str, port: u16) -> std::io::Result<TcpStream> {
        self.balancer.dial(name, port).await
    }

    /// Where the gateway listens: an HTTP forward proxy for names of Services (`http_proxy=http://…`), and
    /// `GET /sd/pods` for Prometheus' `http_sd`.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }
}
