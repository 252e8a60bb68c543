//! Addresses: every cluster has two blocks of loopback addresses of its own, one for Services and one for pods.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// The block of Services of the first cluster on a machine; see [`Network::service_cidr`] for a given one.
pub const SERVICE_CIDR: &str = "127.96.0.0/16";

/// Clusters that can live on one machine at a time.
const CLUSTERS: u8 = 31;
const FIRST_SERVICES: u8 = 96;
const FIRST_PODS: u8 = 1;
/// Whoever listens here, on the last address of a block, owns the block.
const LOCK_PORT: u16 = 6111;

/// The addresses of one cluster; they are its own, across processes, until this is dropped.
#[derive(Debug)]
pub struct Network {
    number: u8,
    pods: AtomicU16,
    _lock: TcpListener,
}

impl Network {
    /// Takes the first blocks no other cluster has.
    pub fn claim() -> std::io::Result<Self> {
        let mut refusal = None;
        for number in 0..CLUSTERS {
            match TcpListener::bind((Ipv4Addr::new(127, FIRST_SERVICES + number, 255, 254), LOCK_PORT)) {
                Ok(lock) => {
                    return Ok(Self {
                        number,
                        pods: AtomicU16::new(0),
                        _lock: lock,
                    });
                }
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
    }

    /// The block Services take their `clusterIP` from, as a CIDR.
    pub fn service_cidr(&self) -> String {
        format!("127.{}.0.0/16", FIRST_SERVICES + self.number)
    }

    /// The `index`-th address of that block, counted from 0; `None` past the last.
    pub fn service(&self, index: u16) -> Option<Ipv4Addr> {
        let [high, low] = index.checked_add(1)?.to_be_bytes();
        (high < 255).then(|| Ipv4Addr::new(127, FIRST_SERVICES + self.number, high, low))
    }

    /// The next address for a pod; addresses come round again after 65 000 pods.
    pub(crate) fn next_pod(&self) -> Ipv4Addr {
        let index = self.pods.fetch_add(1, Ordering::Relaxed) % (255 * 256 - 1);
        let [high, low] = (index + 1).to_be_bytes();
        Ipv4Addr::new(127, FIRST_PODS + self.number, high, low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_share_nothing() {
        let (a, b) = (Network::claim().unwrap(), Network::claim().unwrap());
        assert_ne!(a.service_cidr(), b.service_cidr());
        assert_ne!(a.next_pod(), b.next_pod());
        assert_ne!(a.service(0), b.service(0));
        assert_ne!(a.next_pod(), a.next_pod());
        assert_eq!(a.service(u16::MAX), None);
    }
}
