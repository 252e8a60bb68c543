//! Which pods a Service's port leads to now, and connections to them, round robin.
//!
//! Owns: the table of Services. Promises: a new connection goes to an endpoint that was ready when it was made; one
//! under way is never touched when the endpoints change.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::names;
use crate::controllers::object::{Key, int, list, text};

/// How long a connection waits for a ready endpoint.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between tries when every endpoint refused.
const PAUSE: Duration = Duration::from_millis(25);

/// One port of a Service and the pods behind it.
#[derive(Debug)]
pub(crate) struct Port {
    ready: watch::Sender<Vec<SocketAddr>>,
    next: AtomicUsize,
}

impl Port {
    fn new(ready: Vec<SocketAddr>) -> Self {
        Self {
            ready: watch::Sender::new(ready),
            next: AtomicUsize::new(0),
        }
    }

    /// Connects to the next ready endpoint; one that refuses is passed over. Fails when none took the connection
    /// in time.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let deadline = Instant::now() + PATIENCE;
        let mut changes = self.ready.subscribe();
        loop {
            let ready = changes.borrow_and_update().clone();
            let first = self.next.fetch_add(1, Ordering::Relaxed);
            for at in 0..ready.len() {
                if let Ok(stream) = TcpStream::connect(ready[(first + at) % ready.len()]).await {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
            }
            let again = if ready.is_empty() {
                deadline
            } else {
                deadline.min(Instant::now() + PAUSE)
            };
            let waited = tokio::time::timeout_at(again, changes.changed()).await;
            if waited.is_err() && Instant::now() >= deadline {
                let kind = io::ErrorKind::ConnectionRefused;
                return Err(io::Error::new(kind, "no ready endpoint took the connection"));
            }
        }
    }
}

/// A Service as routed.
#[derive(Debug, Clone, Default)]
struct Route {
    /// Its `clusterIP`; `None` when headless.
    ip: Option<IpAddr>,
    ports: BTreeMap<u16, Arc<Port>>,
}

/// Every Service of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Balancer {
    routes: RwLock<HashMap<Key, Route>>,
    /// Told after every change of the table.
    changed: watch::Sender<()>,
}

impl Balancer {
    /// Takes in a Service and its Endpoints. Ports that stay keep their identity, so that whoever waits on one sees
    /// the change. Answers the addresses to listen on.
    pub(crate) fn set(&self, service: &Value, endpoints: Option<&Value>) -> Vec<(SocketAddr, Arc<Port>)> {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let route = routes.entry(Key::of(service)).or_default();
        route.ip = text(service, "/spec/clusterIP").parse().ok();
        let mut old = std::mem::take(&mut route.ports);
        for (number, ready) in backends(service, endpoints) {
            let port = match old.remove(&number) {
                Some(port) => {
                    port.ready.send_if_modified(|now| {
                        let changed = *now != ready;
                        *now = ready;
                        changed
                    });
                    port
                }
                None => Arc::new(Port::new(ready)),
            };
            route.ports.insert(number, port);
        }
        self.changed.send_replace(());
        let listen = |ip: IpAddr| {
            route
                .ports
                .iter()
                .map(move |(number, port)| (SocketAddr::new(ip, *number), Arc::clone(port)))
        };
        route
            .ip
            .filter(IpAddr::is_loopback)
            .into_iter()
            .flat_map(listen)
            .collect()
    }

    pub(crate) fn remove(&self, service: &Key) {
        self.routes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(service);
        self.changed.send_replace(());
    }

    /// Waits until no Service leads to an address any more.
    pub(crate) async fn without(&self, ip: IpAddr) {
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            let routed = {
                let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
                let mut ports = routes.values().flat_map(|route| route.ports.values());
                ports.any(|port| port.ready.borrow().iter().any(|address| address.ip() == ip))
            };
            if !routed || changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn route(&self, host: &str) -> Option<Route> {
        let (service, namespace) = names::parse(host)?;
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(&Key::new(namespace, service)).cloned()
    }

    /// The address of the Service a host name means.
    pub(crate) fn resolve(&self, host: &str) -> Option<IpAddr> {
        self.route(host)?.ip
    }

    /// Connects to a Service by name, or to a loopback address.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let address = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
            return TcpStream::connect((host, port)).await;
        }
        let Some(route) = self.route(host) else {
            let message =
                format!("{host}: no such Service; expected <service>.<namespace> or a loopback address");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        };
        let Some(found) = route.ports.get(&port) else {
            let ports: Vec<String> = route.ports.keys().map(ToString::to_string).collect();
            let message = format!(
                "{host}: the Service has no port {port}; it has {}",
                ports.join(", ")
            );
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        };
        let refused = |error: io::Error| io::Error::new(error.kind(), format!("{host}:{port}: {error}"));
        found.connect().await.map_err(refused)
    }
}

/// Ready addresses by Service port, from `spec.ports` and the subsets whose port has the same name.
fn backends(service: &Value, endpoints: Option<&Value>) -> BTreeMap<u16, Vec<SocketAddr>> {
    let mut found = BTreeMap::new();
    for port in list(service, "/spec/ports") {
        let number = int(port, "/port").and_then(|number| u16::try_from(number).ok());
        let Some(number) = number.filter(|_| matches!(text(port, "/protocol"), "" | "TCP")) else {
            continue;
        };
        let mut ready: Vec<SocketAddr> = Vec::new();
        for subset in endpoints.map_or(&[][..], |endpoints| list(endpoints, "/subsets")) {
            let target = list(subset, "/ports")
                .iter()
                .find(|target| text(target, "/name") == text(port, "/name"))
                .and_then(|target| u16::try_from(int(target, "/port")?).ok());
            let ips = list(subset, "/addresses")
                .iter()
                .filter_map(|address| text(address, "/ip").parse().ok());
            ready.extend(
                target
                    .into_iter()
                    .flat_map(|target| ips.clone().map(move |ip| SocketAddr::new(ip, target))),
            );
        }
        ready.sort_unstable();
        found.insert(number, ready);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn backends_by_port_name() {
        let service = json!({"spec": {"ports": [
            {"name": "http", "port": 80, "targetPort": "web"}, {"name": "grpc", "port": 81}, {"name": "dns", "port": 53, "protocol": "UDP"}]}});
        let endpoints = json!({"subsets": [
            {"addresses": [{"ip": "127.1.0.2"}, {"ip": "127.1.0.1"}], "notReadyAddresses": [{"ip": "127.1.0.9"}],
             "ports": [{"name": "http", "port": 9898}]}]});
        let found = backends(&service, Some(&endpoints));
        let ready = vec![
            "127.1.0.1:9898".parse().unwrap(),
            "127.1.0.2:9898".parse().unwrap(),
        ];
        assert_eq!(found, BTreeMap::from([(80, ready), (81, vec![])]));
    }

    #[tokio::test]
    async fn names_lead_to_services() {
        let balancer = Balancer::default();
        let service = json!({"metadata": {"name": "web", "namespace": "test"},
            "spec": {"clusterIP": "127.96.0.9", "ports": [{"port": 80}]}});
        assert_eq!(balancer.set(&service, None).len(), 1);
        assert_eq!(
            balancer.resolve("web.test.svc"),
            Some("127.96.0.9".parse().unwrap())
        );
        assert_eq!(balancer.resolve("web"), None);
        let error = balancer.dial("web.test", 81).await.unwrap_err();
        assert!(error.to_string().contains("it has 80"), "{error}");
        let error = balancer.dial("example.com.org", 80).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        balancer.remove(&Key::new("test", "web"));
        assert_eq!(balancer.resolve("web.test"), None);
    }
}
