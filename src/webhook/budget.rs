//! How much work is taken on at once, and how large it may be.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Budgets of the webhooks. Admission and conversion never share one: a flood of the first must not starve the
/// second, on which every read of an old version depends.
#[derive(Debug, Clone)]
pub struct Budgets {
    admissions: Arc<Semaphore>,
    conversions: Arc<Semaphore>,
    large_conversions: Arc<Semaphore>,
    /// Largest admission body: two objects of 3 MiB (the API server's request limit) and the envelope.
    pub admission_body: usize,
    /// Largest conversion body: a LIST nobody paginates.
    pub conversion_body: usize,
    /// Deadline for reading an admission body.
    pub admission_read: Duration,
    /// Deadline for reading a conversion body.
    pub conversion_read: Duration,
}

/// A conversion from this size on counts against the large ones, bytes.
const LARGE: u64 = 1 << 20;
/// How long a large conversion waits for its turn before it is shed.
const QUEUE: Duration = Duration::from_secs(10);

impl Default for Budgets {
    fn default() -> Self {
        // The API server decodes watch events with ten workers per version and server (KEP-6178): 32 small
        // conversions at once never throttle that. Two large ones bound memory to a few times their body.
        Self::of(64, 32, 2)
    }
}

impl Budgets {
    /// Budgets with these numbers of reviews at once.
    pub fn of(admissions: usize, conversions: usize, large_conversions: usize) -> Self {
        Self {
            admissions: Arc::new(Semaphore::new(admissions)),
            conversions: Arc::new(Semaphore::new(conversions)),
            large_conversions: Arc::new(Semaphore::new(large_conversions)),
            admission_body: 7 << 20,
            conversion_body: 128 << 20,
            admission_read: Duration::from_secs(5),
            conversion_read: Duration::from_secs(20),
        }
    }

    /// A place for an admission review, or `None` when it has to be shed.
    pub(super) fn admission(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.admissions).try_acquire_owned().ok()
    }

    /// A place for a conversion of `length` bytes (unknown counts as large), or `None` when it has to be shed.
    pub(super) async fn conversion(&self, length: Option<u64>) -> Option<OwnedSemaphorePermit> {
        if length.is_some_and(|length| length < LARGE) {
            return Arc::clone(&self.conversions).try_acquire_owned().ok();
        }
        let turn = Arc::clone(&self.large_conversions).acquire_owned();
        tokio::time::timeout(QUEUE, turn).await.ok()?.ok()
    }
}
