//! Keeps a serving certificate valid for as long as the process lives: looks, asks [`lifecycle::next`], obeys.
//!
//! Promises: the process serves a certificate of an authority every target was *seen* to trust; a failure keeps what
//! is served and is tried again at the next look; renewal of the serving certificate needs no API server. Only the
//! replica that leads writes the Secret and the targets, each of its writes under the resourceVersion it read; the
//! others wait until they see what it did.
#![expect(clippy::disallowed_methods, reason = "shell: looks at the wall clock")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::carried::Carried;
use super::issue::{Authority, Leaf, Names, PkiError};
use super::lifecycle::{self, EPHEMERAL_AUTHORITY_LIFE, LOOK, SETTLE, Step, View};
use super::slot::Slot;
use super::store::{self, Store, StoreError, Stored};

/// Between a write to the targets and the next look, and between looks while something is missing there.
const SOON: Duration = Duration::from_millis(500);
/// What changes in several targets at once is looked at once.
const TOGETHER: Duration = Duration::from_millis(50);

/// The certificates of a process.
pub struct Keeper {
    names: Names,
    slot: Arc<Slot>,
    leaf: Leaf,
    authority: Authority,
    bundle_pem: String,
    /// The authority that is to sign next, and since when every target was seen to trust it.
    confirmed: Option<(String, Timestamp)>,
    settle: Duration,
    store: Option<Store>,
    /// The last failure, so that the same is told once.
    failure: Option<String>,
}

/// What a look found.
#[derive(Debug)]
pub struct Look<'a> {
    /// The certificate that is served.
    pub leaf: &'a Leaf,
    /// Every target, as read, accepts it.
    pub accepted: bool,
}

impl Keeper {
    /// With an authority that lives and dies with this process.
    pub fn ephemeral(names: Names, now: Timestamp, slot: Arc<Slot>) -> Result<Self, PkiError> {
        let authority = Authority::generate(now, EPHEMERAL_AUTHORITY_LIFE)?;
        let bundle_pem = authority.certificate_pem().to_owned();
        Self::of(names, now, slot, authority, bundle_pem, None)
    }

    /// With the authority all replicas share; made here when there is none.
    pub async fn shared(
        names: Names,
        now: Timestamp,
        slot: Arc<Slot>,
        store: Store,
    ) -> Result<Self, StoreError> {
        let Stored {
            authority,
            bundle_pem,
            ..
        } = store.adopt(now).await?;
        // `adopt` gives back nothing without an authority.
        let authority = authority.ok_or_else(|| PkiError::Authority("the Secret holds none".to_owned()))?;
        Ok(Self::of(names, now, slot, authority, bundle_pem, Some(store))?)
    }

    fn of(
        names: Names,
        now: Timestamp,
        slot: Arc<Slot>,
        authority: Authority,
        bundle_pem: String,
        store: Option<Store>,
    ) -> Result<Self, PkiError> {
        let leaf = authority.sign(&names, now)?;
        slot.put(&leaf);
        Ok(Self {
            names,
            slot,
            leaf,
            authority,
            bundle_pem,
            confirmed: None,
            settle: SETTLE,
            store,
            failure: None,
        })
    }

    /// How long targets must have been trusting a new authority before it signs, instead of [`SETTLE`].
    #[must_use]
    pub fn settling(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// The certificate served now.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// What targets must trust, PEM.
    pub fn bundle_pem(&self) -> &str {
        &self.bundle_pem
    }

    /// Looks and obeys until dropped: at least every [`LOOK`], and whenever what the targets carry changes. `leads`
    /// says whether this replica writes; `publish` makes every target trust a bundle; `told` hears of each look.
    pub async fn keep<P, E>(
        mut self,
        mut carried: watch::Receiver<Carried>,
        leads: impl Fn() -> bool,
        publish: impl Fn(String) -> P,
        told: impl Fn(Look<'_>),
    ) -> Infallible
    where
        P: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        loop {
            let seen = carried.borrow_and_update().clone();
            let looked = self.step(&seen, leads(), &publish).await;
            told(Look {
                leaf: &self.leaf,
                accepted: seen.accepts(self.leaf.key(), Timestamp::now()),
            });
            let pause = match looked {
                Ok(pause) => {
                    self.failure = None;
                    pause
                }
                Err(reason) => {
                    self.complain(&reason);
                    LOOK
                }
            };
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = carried.changed() => tokio::time::sleep(TOGETHER).await,
            }
        }
    }

    fn complain(&mut self, reason: &str) {
        if self.failure.as_deref() != Some(reason) {
            tracing::warn!(reason, "certificates not renewed; what is served stays");
            self.failure = Some(reason.to_owned());
        }
    }

    /// One step; how long to wait before the next.
    async fn step<P, E>(
        &mut self,
        seen: &Carried,
        leads: bool,
        publish: &impl Fn(String) -> P,
    ) -> Result<Duration, String>
    where
        P: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let now = Timestamp::now();
        let read = match &self.store {
            None => None,
            Some(store) => match store.read().await {
                Ok(stored) => Some(stored),
                Err(error) => {
                    self.complain(&error.to_string());
                    None
                }
            },
        };
        let (view, stored) = match read {
            // An authority of our own, or a Secret that cannot be read now: what is in memory goes on.
            None => (self.view_of_memory(seen, self.store.is_none(), now), None),
            Some(stored) => (self.view(stored.as_ref(), seen, leads, now), stored),
        };
        match lifecycle::next(&view, now) {
            Step::Replace => self.replace(stored, now).await.map_err(|error| error.to_string()),
            step @ (Step::Prepare | Step::Promote | Step::Prune) => self
                .rewrite(step, stored, now)
                .await
                .map_err(|error| error.to_string()),
            Step::Publish => {
                publish(self.bundle_pem.clone())
                    .await
                    .map_err(|error| error.to_string())?;
                Ok(SOON)
            }
            Step::Switch => {
                if let Some(authority) = stored.and_then(|stored| stored.authority) {
                    self.authority = authority;
                }
                self.sign(now)
            }
            Step::SignLeaf => self.sign(now),
            Step::Wait(_) if !view.carried => Ok(SOON),
            Step::Wait(until) => {
                let left = until.as_second().saturating_sub(now.as_second()).max(1);
                Ok(LOOK.min(Duration::from_secs(left.unsigned_abs())))
            }
        }
    }

    fn view_of_memory(&mut self, seen: &Carried, leads: bool, now: Timestamp) -> View {
        View {
            leads,
            stored: Some(*self.authority.validity()),
            next: None,
            forced: false,
            stale: false,
            carried: !seen.complete || seen.is_up_to_date(&self.bundle_pem, now),
            confirmed: None,
            settle: self.settle,
            in_use: true,
            leaf: *self.leaf.validity(),
        }
    }

    fn view(&mut self, stored: Option<&Stored>, seen: &Carried, leads: bool, now: Timestamp) -> View {
        let authority = stored.and_then(|stored| stored.authority.as_ref());
        let next = stored.and_then(|stored| stored.next.as_ref());
        if let Some(stored) = stored
            && authority.is_some()
        {
            self.bundle_pem.clone_from(&stored.bundle_pem);
        }
        self.confirmed = next
            .or(authority)
            .map(Authority::certificate_pem)
            .filter(|signer| seen.trusts(signer))
            .map(|signer| match self.confirmed.take() {
                Some((pem, since)) if pem == signer => (pem, since),
                Some(_) | None => (signer.to_owned(), now),
            });
        View {
            leads,
            stored: authority.map(|authority| *authority.validity()),
            next: next.map(|next| *next.validity()),
            forced: stored.is_some_and(|stored| stored.forced),
            stale: store::is_stale(&self.bundle_pem, now),
            carried: !seen.complete || seen.is_up_to_date(&self.bundle_pem, now),
            confirmed: self.confirmed.as_ref().map(|(_, since)| *since),
            settle: self.settle,
            in_use: authority.is_some_and(|one| one.certificate_pem() == self.authority.certificate_pem()),
            leaf: *self.leaf.validity(),
        }
    }

    /// Another authority, in memory or in the Secret, in the place of one that cannot sign.
    async fn replace(&mut self, stored: Option<Stored>, now: Timestamp) -> Result<Duration, StoreError> {
        match (&self.store, stored) {
            (None, _) => {
                self.authority = Authority::generate(now, EPHEMERAL_AUTHORITY_LIFE)?;
                let known = store::unexpired(&self.bundle_pem, now);
                self.bundle_pem = format!("{}{known}", self.authority.certificate_pem());
                // Nobody else can be asked to go first: the certificate served stays until it is due.
            }
            (Some(store), Some(mut old)) => {
                // A Secret that was emptied says nothing of what is trusted and in use.
                old.bundle_pem.push_str(&self.bundle_pem);
                drop(store.replace(&old, now).await?);
            }
            (Some(store), None) => drop(store.create_beside(&self.bundle_pem, now).await?),
        }
        tracing::info!("a new certificate authority is stored, since the old one is gone or over");
        Ok(Duration::ZERO)
    }

    async fn rewrite(
        &mut self,
        step: Step,
        stored: Option<Stored>,
        now: Timestamp,
    ) -> Result<Duration, StoreError> {
        let (Some(store), Some(stored)) = (&self.store, stored) else {
            return Ok(LOOK);
        };
        match step {
            Step::Prepare => {
                store.prepare(&stored, now).await?;
                tracing::info!(
                    "the next certificate authority is stored; it signs once every target trusts it"
                );
            }
            Step::Promote => {
                store.promote(&stored, now).await?;
                tracing::info!("every target trusts the next certificate authority; it signs from now on");
            }
            Step::Prune => {
                store.prune(&stored, now).await?;
                tracing::info!("expired certificate authorities are dropped");
            }
            Step::Replace | Step::Publish | Step::Switch | Step::SignLeaf | Step::Wait(_) => {}
        }
        Ok(Duration::ZERO)
    }

    fn sign(&mut self, now: Timestamp) -> Result<Duration, String> {
        self.leaf = self
            .authority
            .sign(&self.names, now)
            .map_err(|error| error.to_string())?;
        self.slot.put(&self.leaf);
        tracing::info!(until = %self.leaf.validity().until, "a new certificate is served");
        Ok(Duration::ZERO)
    }
}
