//! Keeps a serving certificate valid for as long as the process lives: looks, asks [`lifecycle::next`], obeys.
//!
//! Promises: the process serves a certificate of an authority every target trusts; a failure keeps what is served
//! and is tried again at the next look. Two replicas need no leader for this: whoever replaces the authority first
//! wins by the Secret's resourceVersion, each replica publishes the same bundle before it serves from it.
#![expect(clippy::disallowed_methods, reason = "shell: looks at the wall clock")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::issue::{Authority, Leaf, Names, PkiError};
use super::lifecycle::{self, EPHEMERAL_AUTHORITY_LIFE, LOOK, Step, View};
use super::slot::Slot;
use super::store::{Store, StoreError, Stored};

/// The certificates of a process.
pub struct Keeper {
    names: Names,
    slot: Arc<Slot>,
    leaf: Leaf,
    authority: Authority,
    bundle_pem: String,
    /// The bundle every target trusts, and since when.
    published: Option<(String, Timestamp)>,
    store: Option<Store>,
}

impl Keeper {
    /// With an authority that lives and dies with this process.
    pub fn ephemeral(names: Names, now: Timestamp) -> Result<Self, PkiError> {
        let authority = Authority::generate(now, EPHEMERAL_AUTHORITY_LIFE)?;
        let bundle_pem = authority.certificate_pem().to_owned();
        Self::of(names, now, authority, bundle_pem, None)
    }

    /// With the authority all replicas share; made here when there is none.
    pub async fn shared(names: Names, now: Timestamp, store: Store) -> Result<Self, StoreError> {
        let Stored {
            authority,
            bundle_pem,
            ..
        } = store.adopt(now).await?;
        // `adopt` gives back nothing without an authority.
        let authority = authority.ok_or_else(|| PkiError::Authority("the Secret holds none".to_owned()))?;
        Ok(Self::of(names, now, authority, bundle_pem, Some(store))?)
    }

    fn of(
        names: Names,
        now: Timestamp,
        authority: Authority,
        bundle_pem: String,
        store: Option<Store>,
    ) -> Result<Self, PkiError> {
        let leaf = authority.sign(&names, now)?;
        let slot = Slot::new();
        slot.put(&leaf);
        Ok(Self {
            names,
            slot,
            leaf,
            authority,
            bundle_pem,
            published: None,
            store,
        })
    }

    /// Where the listener takes the certificate from; filled from the beginning.
    pub fn slot(&self) -> Arc<Slot> {
        Arc::clone(&self.slot)
    }

    /// The certificate served now.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// What targets must trust, PEM.
    pub fn bundle_pem(&self) -> &str {
        &self.bundle_pem
    }

    /// Says that every target trusts [`Self::bundle_pem`] since `now` (the first registration did that).
    pub fn published(&mut self, now: Timestamp) {
        self.published = Some((self.bundle_pem.clone(), now));
    }

    /// Looks and obeys until dropped. `publish` makes every target trust a bundle; `served` is told of each new
    /// certificate.
    pub async fn keep<P, E>(mut self, publish: impl Fn(String) -> P, served: impl Fn(&Leaf)) -> Infallible
    where
        P: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut pause = Duration::ZERO;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.step(&publish, &served).await {
                Ok(pause) => pause,
                Err(reason) => {
                    tracing::warn!(%reason, "certificates not renewed; what is served stays");
                    LOOK
                }
            };
        }
    }

    /// One step; how long to wait before the next.
    async fn step<P, E>(
        &mut self,
        publish: &impl Fn(String) -> P,
        served: &impl Fn(&Leaf),
    ) -> Result<Duration, String>
    where
        P: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let now = Timestamp::now();
        let stored = match &self.store {
            Some(store) => store.read().await.map_err(|error| error.to_string())?,
            None => None,
        };
        if let Some(stored) = &stored
            && stored.authority.is_some()
        {
            self.bundle_pem.clone_from(&stored.bundle_pem);
        }
        let newest = match (&self.store, &stored) {
            (Some(_), Some(stored)) => stored.authority.as_ref(),
            (Some(_), None) => None,
            (None, _) => Some(&self.authority),
        };
        let published = self
            .published
            .as_ref()
            .filter(|(bundle, _)| *bundle == self.bundle_pem);
        let view = View {
            stored: newest.map(|authority| *authority.validity()),
            in_use: newest.is_some_and(|one| one.certificate_pem() == self.authority.certificate_pem()),
            published: published.map(|(_, since)| *since),
            leaf: *self.leaf.validity(),
        };
        match lifecycle::next(&view, now) {
            Step::Replace => {
                self.replace(stored, now)
                    .await
                    .map_err(|error| error.to_string())?;
                Ok(Duration::ZERO)
            }
            Step::Publish => {
                publish(self.bundle_pem.clone())
                    .await
                    .map_err(|error| error.to_string())?;
                self.published(now);
                tracing::info!("the targets trust the current certificate authorities");
                Ok(Duration::ZERO)
            }
            Step::Switch => {
                if let Some(authority) = stored.and_then(|stored| stored.authority) {
                    self.authority = authority;
                }
                self.sign(now, served)
            }
            Step::SignLeaf => self.sign(now, served),
            Step::Wait(until) => {
                let left = until.as_second().saturating_sub(now.as_second()).max(1);
                Ok(LOOK.min(Duration::from_secs(left.unsigned_abs())))
            }
        }
    }

    async fn replace(&mut self, stored: Option<Stored>, now: Timestamp) -> Result<(), StoreError> {
        match (&self.store, stored) {
            (None, _) => {
                self.authority = Authority::generate(now, EPHEMERAL_AUTHORITY_LIFE)?;
                let known = super::store::unexpired(&self.bundle_pem, now);
                self.bundle_pem = format!("{}{known}", self.authority.certificate_pem());
                // Nobody else can be asked to go first: the certificate served stays until the targets trust this.
            }
            (Some(store), Some(mut old)) => {
                if old.bundle_pem.is_empty() {
                    old.bundle_pem.clone_from(&self.bundle_pem);
                }
                drop(store.replace(&old, now).await?);
            }
            (Some(store), None) => drop(store.create_beside(&self.bundle_pem, now).await?),
        }
        Ok(())
    }

    fn sign(&mut self, now: Timestamp, served: &impl Fn(&Leaf)) -> Result<Duration, String> {
        self.leaf = self
            .authority
            .sign(&self.names, now)
            .map_err(|error| error.to_string())?;
        self.slot.put(&self.leaf);
        served(&self.leaf);
        tracing::info!(until = %self.leaf.validity().until, "a new certificate is served");
        Ok(Duration::ZERO)
    }
}
