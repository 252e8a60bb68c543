//! Where a process has its certificates from, and the task that keeps them.
//!
//! The listener answers from the first moment with a certificate nobody trusts, so that probes need no API server; the
//! real one takes its place as soon as there is one.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: reads the clock, hands the client on"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::install::{Endpoint, trust};
use crate::lease::Leadership;
use crate::net::probe;
use crate::pki::files::{self, Files};
use crate::pki::keeper::Look;
use crate::pki::store::Store;
use crate::pki::{Bundle, Carried, Keeper, Names, PkiError, Slot};
use crate::telemetry::Metrics;
use crate::webhook::{self, Latch};

/// Between attempts at a Secret that cannot be had.
const AGAIN: Duration = Duration::from_secs(1);
/// Attempts of the self-call, [`AGAIN`] apart: a listener that does not answer itself for so long is broken.
const CALLS: usize = 10;

/// Where the certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An authority that lives and dies with this process.
    Own,
    /// The authority all replicas share, in a Secret of this namespace.
    Shared {
        /// The namespace.
        namespace: String,
        /// How long targets must have been trusting a new authority before it signs.
        settle: Duration,
    },
    /// Files that somebody else keeps.
    Files(Files),
}

/// Latches [`Latch::Trusted`] once the registration is made and every target accepts what is served.
pub(super) struct Trusted {
    state: Arc<webhook::State>,
    registered: AtomicBool,
    accepted: AtomicBool,
}

impl Trusted {
    /// `registered`: somebody else registers, or has.
    pub(super) fn new(state: Arc<webhook::State>, registered: bool) -> Arc<Self> {
        Arc::new(Self {
            state,
            registered: AtomicBool::new(registered),
            accepted: AtomicBool::new(false),
        })
    }

    /// This process has registered itself.
    pub(super) fn registered(&self) {
        self.registered.store(true, Ordering::Release);
        self.look();
    }

    fn accepted(&self) {
        self.accepted.store(true, Ordering::Release);
        self.look();
    }

    fn look(&self) {
        if self.registered.load(Ordering::Acquire) && self.accepted.load(Ordering::Acquire) {
            self.state.readiness().latch(Latch::Trusted);
        }
    }
}

/// What the task needs.
pub(super) struct Certificates {
    pub(super) source: Source,
    pub(super) names: Names,
    pub(super) address: SocketAddr,
    pub(super) slot: Arc<Slot>,
    pub(super) client: Client,
    pub(super) endpoint: Endpoint,
    pub(super) leadership: Leadership,
    pub(super) carried: watch::Receiver<Carried>,
    pub(super) state: Arc<webhook::State>,
    pub(super) trusted: Arc<Trusted>,
    pub(super) metrics: Arc<Metrics>,
    /// Told whom targets must trust, once that is known.
    pub(super) bundle: watch::Sender<Option<String>>,
}

/// Fills a slot with a certificate that nobody trusts.
pub(super) fn provisional(slot: &Slot, names: &Names) -> Result<(), PkiError> {
    slot.put(&Bundle::generate(names, Timestamp::now())?.leaf);
    Ok(())
}

impl Certificates {
    /// Gets certificates and keeps them. Ends only when the listener does not answer itself.
    pub(super) async fn keep(self) -> Result<(), String> {
        match self.source.clone() {
            Source::Own => {
                let keeper = Keeper::ephemeral(self.names.clone(), Timestamp::now(), Arc::clone(&self.slot))
                    .map_err(|error| error.to_string())?;
                // It owns its registration: no other process writes it.
                self.with(keeper, || true).await
            }
            Source::Shared { namespace, settle } => {
                let keeper = self.adopt(&namespace).await.settling(settle);
                let leadership = self.leadership.clone();
                self.with(keeper, move || leadership.leads()).await
            }
            Source::Files(files) => self.with_files(files).await,
        }
    }

    /// The shared authority, however long it takes.
    async fn adopt(&self, namespace: &str) -> Keeper {
        let mut failure = String::new();
        loop {
            let store = Store::new(self.client.clone(), namespace);
            match Keeper::shared(
                self.names.clone(),
                Timestamp::now(),
                Arc::clone(&self.slot),
                store,
            )
            .await
            {
                Ok(keeper) => return keeper,
                Err(error) => {
                    let text = error.to_string();
                    if failure != text {
                        tracing::warn!("no certificate authority yet: {text}; tried again until it works");
                        failure = text;
                    }
                }
            }
            sleep(AGAIN).await;
        }
    }

    async fn with(self, keeper: Keeper, leads: impl Fn() -> bool) -> Result<(), String> {
        self.state.readiness().latch(Latch::Certificate);
        self.call(keeper.bundle_pem()).await?;
        self.bundle.send_replace(Some(keeper.bundle_pem().to_owned()));
        let kept = keeper.keep(
            self.carried.clone(),
            leads,
            |bundle| self.publish(bundle),
            |look| self.heard(&look),
        );
        never(kept.await)
    }

    async fn with_files(self, files: Files) -> Result<(), String> {
        let (carried, leadership) = (self.carried.clone(), self.leadership.clone());
        let authority = files.authority.clone();
        let kept = files.keep(
            Arc::clone(&self.slot),
            files::LOOK,
            carried,
            move || leadership.leads(),
            |bundle| self.publish(bundle),
            |look| self.heard(&look),
        );
        let called = async {
            self.state.readiness().wait_for(Latch::Certificate).await;
            let bundle = match &authority {
                Some(path) => files::text(path).await.map_err(|error| error.to_string())?,
                // Whoever put a bundle into the targets vouches for the files.
                None => self.accepted_bundle().await,
            };
            self.bundle.send_replace(Some(bundle.clone()));
            self.call(&bundle).await?;
            std::future::pending::<Result<(), String>>().await
        };
        tokio::select! {
            kept = kept => never(kept),
            failed = called => failed,
        }
    }

    /// What the targets trust, once they accept what is served.
    async fn accepted_bundle(&self) -> String {
        self.state.readiness().wait_for(Latch::Trusted).await;
        let seen = self.carried.borrow();
        seen.targets
            .iter()
            .map(|target| target.bundle_pem.as_str())
            .collect()
    }

    /// The self-call.
    async fn call(&self, bundle_pem: &str) -> Result<(), String> {
        let name = self.names.as_slice().first().map_or("localhost", String::as_str);
        let mut failure = String::new();
        for _ in 0..CALLS {
            match probe::call(self.address, name, bundle_pem).await {
                Ok(()) => {
                    self.state.readiness().latch(Latch::SelfCall);
                    return Ok(());
                }
                Err(error) => failure = error.to_string(),
            }
            sleep(AGAIN).await;
        }
        Err(format!(
            "the webhook server does not answer itself as {name}: {failure}"
        ))
    }

    async fn publish(&self, bundle: String) -> Result<(), crate::cluster::ClusterError> {
        trust::inject(&self.client, &self.endpoint, &bundle, Timestamp::now()).await
    }

    fn heard(&self, look: &Look<'_>) {
        let readiness = self.state.readiness();
        readiness.latch(Latch::Certificate);
        if look.accepted {
            self.trusted.accepted();
        }
        self.metrics
            .certificate_expiry(look.leaf.validity().until.as_second());
    }
}

fn never(kept: Infallible) -> Result<(), String> {
    match kept {}
}
