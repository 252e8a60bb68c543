//! A certificate and its key from files, as cert-manager or an operator mounts them from a Secret.
//!
//! Promises: what changes in the files is served within one look, without a restart; a pair that is half written, does
//! not belong together or cannot be read never replaces the last good one, and is told once. The files are read, not
//! watched: kubelet swaps a symlink, which watches on files miss.
#![expect(clippy::disallowed_methods, reason = "shell: looks at files by the clock")]

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use super::carried::Carried;
use super::issue::{Leaf, MAX_PEM, PkiError};
use super::keeper::Look;
use super::slot::Slot;
use super::store;

/// How often files are read.
pub const LOOK: Duration = Duration::from_secs(5);
/// A swap between the two reads makes a pair that does not match; by then it is over.
const AGAIN: Duration = Duration::from_millis(100);

/// Where a pair is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate and what leads from it to an authority, PEM.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, SEC1 or PKCS#1, PEM.
    pub key: PathBuf,
    /// The authority that targets are to trust, PEM; without it somebody else puts `caBundle` there.
    pub authority: Option<PathBuf>,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: {source}; expected a PEM file that this process may read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no PEM of a sensible size.
    #[error("{path}: not a PEM text of at most 64 KiB; expected a mounted certificate or key")]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The two do not make a pair.
    #[error("{certificate} and {key}: {source}; expected a certificate and the key it was made for")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: PkiError,
    },
}

impl Files {
    /// Reads the pair as it is now.
    pub async fn read(&self) -> Result<Leaf, FileError> {
        let (certificate, key) = (text(&self.certificate).await?, text(&self.key).await?);
        Leaf::from_pem(&certificate, &key).map_err(|source| FileError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })
    }

    /// Serves what the files hold, from now on; looks every `every`. A new pair is served once every target accepts it,
    /// or at once when the one that is served is of no use any more. `publish` makes every target trust the authority's
    /// file, where there is one and `leads`.
    pub async fn keep<P, E>(
        self,
        slot: Arc<Slot>,
        every: Duration,
        mut carried: watch::Receiver<Carried>,
        leads: impl Fn() -> bool,
        publish: impl Fn(String) -> P,
        told: impl Fn(Look<'_>),
    ) -> Infallible
    where
        P: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut served: Option<Leaf> = None;
        let mut failures = [None, None];
        loop {
            let (seen, now) = (carried.borrow_and_update().clone(), Timestamp::now());
            let trusted = self.trust(&seen, leads(), &publish, now).await;
            tell(&mut failures[0], trusted.err());
            match self.read_whole().await {
                Ok(found) => {
                    tell(&mut failures[1], None);
                    let may_replace = served.as_ref().is_none_or(|served| {
                        !served.is_same(&found)
                            && (seen.accepts(found.key(), now)
                                || !seen.accepts(served.key(), now)
                                || !served.validity().holds(now))
                    });
                    if may_replace {
                        slot.put(&found);
                        tracing::info!(until = %found.validity().until, "the certificate of the files is served");
                        served = Some(found);
                    }
                }
                Err(error) => tell(&mut failures[1], Some(format!("{error}; what is served stays"))),
            }
            if let Some(leaf) = &served {
                let accepted = seen.accepts(leaf.key(), now);
                told(Look { leaf, accepted });
            }
            tokio::select! {
                () = sleep(every) => {}
                Ok(()) = carried.changed() => sleep(every.min(AGAIN)).await,
            }
        }
    }

    /// Reads the pair, twice when it does not match.
    async fn read_whole(&self) -> Result<Leaf, FileError> {
        let read = self.read().await;
        if !matches!(read, Err(FileError::Pair { .. })) {
            return read;
        }
        sleep(AGAIN).await;
        self.read().await
    }

    async fn trust<P, E>(
        &self,
        seen: &Carried,
        leads: bool,
        publish: &impl Fn(String) -> P,
        now: Timestamp,
    ) -> Result<(), String>
    where
        P: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let Some(path) = &self.authority else {
            return Ok(());
        };
        let pem = text(path).await.map_err(|error| error.to_string())?;
        if store::unexpired(&pem, now).is_empty() {
            return Err(format!("{}: no certificate that is valid now", path.display()));
        }
        if leads && seen.complete && !seen.is_up_to_date(&pem, now) {
            publish(pem).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Tells a failure once.
fn tell(last: &mut Option<String>, failure: Option<String>) {
    if let Some(text) = &failure
        && last.as_ref() != Some(text)
    {
        tracing::warn!("{text}");
    }
    *last = failure;
}

/// A PEM file, bounded.
pub async fn text(path: &Path) -> Result<String, FileError> {
    let unreadable = |source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let malformed = || FileError::Malformed {
        path: path.to_owned(),
    };
    let size = tokio::fs::metadata(path).await.map_err(unreadable)?.len();
    if size > MAX_PEM as u64 {
        return Err(malformed());
    }
    let bytes = tokio::fs::read(path).await.map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| malformed())
}
