//! Who may write: of all replicas one leads, by a Lease (`coordination.k8s.io/v1`).
//!
//! Owns: the Lease [`NAME`] of the system namespace, and what is known of it in this process ([`Leadership`]).
//! Promises: nobody's clock is compared with anybody else's. A candidate takes over once it has *seen* the same
//! renewal for as long as the holder asked for; a leader stops by its own clocks well before that, whether or not the
//! API server can be reached; a clean stop gives the Lease back at once. Never ends the process: a replica that loses
//! the Lease competes again.
//!
//! A process that finds its own name in the Lease goes on as leader at once, so names must be those of processes
//! that cannot run twice: a pod's name, or the address this process has bound.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: reads and writes the Lease, by the clocks"
)]

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// The Lease's name.
pub const NAME: &str = "verdigris";
/// Longest time a Lease is respected without a renewal, whatever it says itself.
const LONGEST: Duration = Duration::from_mins(1);
/// Longest wait for the API server when the Lease is given back.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a process takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The Lease's namespace.
    pub namespace: String,
    /// The name this process leads under; no other running process may have it.
    pub identity: String,
    /// How long others wait after the last renewal they saw, whole seconds. The leader renews five times in that time
    /// and stops after seven tenths of it without success; candidates look ten times.
    pub duration: Duration,
    /// Lead where the namespace does not exist. Replicas in a cluster live in it, so without it there are none; for
    /// processes outside a cluster only.
    pub alone_without_namespace: bool,
}

impl Config {
    /// How long a renewal carries the leader itself.
    fn tenure(&self) -> Duration {
        self.duration * 7 / 10
    }

    fn renewal(&self) -> Duration {
        self.duration / 5
    }

    fn look(&self) -> Duration {
        self.duration / 10
    }
}

/// A moment on both clocks. The monotonic one stands still while a machine sleeps, the wall clock can be set: time is
/// over when either says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    monotonic: Instant,
    wall: Timestamp,
}

impl Moment {
    fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: Timestamp::now(),
        }
    }

    fn after(self, by: Duration) -> Self {
        let wall = SignedDuration::try_from(by).ok();
        Self {
            monotonic: self.monotonic + by,
            wall: wall
                .and_then(|by| self.wall.checked_add(by).ok())
                .unwrap_or(Timestamp::MAX),
        }
    }

    fn is_before(self, end: Self) -> bool {
        self.monotonic < end.monotonic && self.wall < end.wall
    }
}

/// What a process knows about who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// There is no election.
    Always,
    /// This process, until then unless it renews.
    Leader { until: Moment },
    /// Somebody else, or nobody that is known.
    Follower { leader: Option<String> },
}

impl Term {
    fn leads(&self, now: Moment) -> bool {
        match self {
            Term::Always => true,
            Term::Leader { until } => now.is_before(*until),
            Term::Follower { .. } => false,
        }
    }
}

/// Whether this process leads, for whoever wants to write. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct Leadership(watch::Receiver<Term>);

impl Leadership {
    /// Of a process that has no others: it always leads.
    pub fn alone() -> Self {
        Self(watch::channel(Term::Always).1)
    }

    /// Whether this process may write, at this moment.
    pub fn leads(&self) -> bool {
        self.0.borrow().leads(Moment::now())
    }

    /// Who else leads, as far as is known.
    pub fn leader(&self) -> Option<String> {
        match &*self.0.borrow() {
            Term::Follower { leader } => leader.clone(),
            Term::Always | Term::Leader { .. } => None,
        }
    }

    /// Waits until this process leads.
    pub async fn gained(&self) {
        let mut term = self.0.clone();
        if term.wait_for(|term| term.leads(Moment::now())).await.is_err() {
            // The election has ended; the process is about to.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this process does not lead.
    pub async fn lost(&self) {
        let mut term = self.0.clone();
        loop {
            let current = term.borrow_and_update().clone();
            let until = match current {
                Term::Leader { until } if Moment::now().is_before(until) => until.monotonic,
                Term::Always => std::future::pending().await,
                Term::Leader { .. } | Term::Follower { .. } => return,
            };
            tokio::select! {
                Ok(()) = term.changed() => {}
                () = sleep_until(until.into()) => {}
            }
        }
    }
}

/// What a Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    holder: Option<String>,
    renewed: Option<Timestamp>,
    transitions: i32,
    duration: Option<Duration>,
}

impl Record {
    fn of(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        Self {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            renewed: spec.renew_time.map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or_default(),
            duration: seconds.map(Duration::from_secs),
        }
    }
}

/// A record, and since when it has been seen unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    record: Record,
    since: Instant,
}

impl Seen {
    /// What is seen now, given what was seen before.
    fn again(before: Option<&Self>, record: Record, now: Instant) -> Self {
        let since = match before {
            Some(before) if before.record == record => before.since,
            Some(_) | None => now,
        };
        Self { record, since }
    }
}

/// What to do about the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There is none: make one.
    Create,
    /// It is ours: say that we are alive.
    Renew,
    /// Nobody holds it, or its holder was silent for too long.
    Take,
    /// Somebody else leads.
    Follow,
}

/// Decides. `usual` is respected where the Lease does not say how long it wants to be.
fn step(me: &str, seen: Option<&Seen>, usual: Duration, now: Instant) -> Step {
    let Some(Seen { record, since }) = seen else {
        return Step::Create;
    };
    match record.holder.as_deref() {
        None => Step::Take,
        Some(holder) if holder == me => Step::Renew,
        Some(_) => {
            let respected = record
                .duration
                .unwrap_or(usual)
                .clamp(Duration::from_secs(1), LONGEST);
            if now.saturating_duration_since(*since) < respected {
                Step::Follow
            } else {
                Step::Take
            }
        }
    }
}

/// The part of a process that competes; [`Election::run`] it for as long as the process may write.
pub struct Election {
    api: Api<Lease>,
    config: Config,
    term: watch::Sender<Term>,
    /// The Lease as last read or written.
    lease: Option<Lease>,
    seen: Option<Seen>,
    /// The last failure, so that the same is told once.
    failure: Option<String>,
}

impl Election {
    /// Takes part from [`Self::run`] on; follows until then.
    pub fn new(client: Client, config: Config) -> (Self, Leadership) {
        let (term, told) = watch::channel(Term::Follower { leader: None });
        let election = Self {
            api: Api::namespaced(client, &config.namespace),
            config,
            term,
            lease: None,
            seen: None,
            failure: None,
        };
        (election, Leadership(told))
    }

    /// Competes until `stop`, then gives the Lease back. Stop it after the last write.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let asked = Moment::now();
            let patience = self.config.tenure() / 2;
            let tried = tokio::select! {
                () = stop.cancelled() => break,
                tried = timeout(patience, self.attempt(asked)) => tried,
            };
            let pause = match tried {
                Ok(Ok(())) if self.leads() => {
                    self.failure = None;
                    self.config.renewal()
                }
                Ok(Ok(())) => {
                    self.failure = None;
                    self.config.look()
                }
                Ok(Err(error)) => self.failed(&error.to_string()),
                Err(_) => self.failed("no answer"),
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        if timeout(FAREWELL, self.give_back()).await.is_err() {
            tracing::warn!("the Lease is not given back: no answer; others wait until it runs out");
        }
    }

    fn leads(&self) -> bool {
        self.term.borrow().leads(Moment::now())
    }

    /// Looks and takes one step.
    async fn attempt(&mut self, asked: Moment) -> kube::Result<()> {
        // Who leads knows what stands there: its own last words, unless the write says otherwise.
        if !self.leads() {
            self.look().await?;
        }
        let me = self.config.identity.as_str();
        let step = step(me, self.seen.as_ref(), self.config.duration, asked.monotonic);
        let written = match step {
            Step::Follow => {
                let leader = self.seen.as_ref().and_then(|seen| seen.record.holder.clone());
                self.set(Term::Follower { leader });
                return Ok(());
            }
            Step::Create => {
                self.api
                    .create(&PostParams::default(), &self.wanted(step, asked.wall))
                    .await
            }
            Step::Renew | Step::Take => {
                self.api
                    .replace(NAME, &PostParams::default(), &self.wanted(step, asked.wall))
                    .await
            }
        };
        match written {
            Ok(lease) => {
                self.note(Some(lease), asked.monotonic);
                self.set(Term::Leader {
                    until: asked.after(self.config.tenure()),
                });
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                // Somebody else wrote: who leads is what stands there now.
                self.look().await?;
                let holder = self.seen.as_ref().and_then(|seen| seen.record.holder.clone());
                if holder.as_deref() != Some(self.config.identity.as_str()) {
                    self.set(Term::Follower { leader: holder });
                }
                Ok(())
            }
            Err(kube::Error::Api(status))
                if status.is_not_found() && step == Step::Create && self.config.alone_without_namespace =>
            {
                self.set(Term::Leader {
                    until: asked.after(self.config.tenure()),
                });
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() && step != Step::Create => {
                // Deleted under our hands: made anew by whoever comes first.
                self.note(None, asked.monotonic);
                self.set(Term::Follower { leader: None });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn look(&mut self) -> kube::Result<()> {
        let found = self.api.get_opt(NAME).await?;
        self.note(found, Instant::now());
        Ok(())
    }

    fn note(&mut self, lease: Option<Lease>, now: Instant) {
        self.seen = lease
            .as_ref()
            .map(|lease| Seen::again(self.seen.as_ref(), Record::of(lease), now));
        self.lease = lease;
    }

    /// The Lease as it should be, under the resourceVersion that was read.
    fn wanted(&self, step: Step, now: Timestamp) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let seconds = self.config.duration.as_secs().max(1);
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if step != Step::Renew {
            spec.acquire_time = Some(MicroTime(now));
            if step == Step::Take {
                spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
            }
        }
        spec.holder_identity = Some(self.config.identity.clone());
        spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
        spec.renew_time = Some(MicroTime(now));
        lease
    }

    fn set(&self, term: Term) {
        let me = &self.config.identity;
        let led = matches!(*self.term.borrow(), Term::Leader { .. });
        match &term {
            Term::Leader { .. } if !led => tracing::info!(identity = me, "this replica leads"),
            Term::Follower { leader } if led => {
                tracing::warn!(identity = me, leader, "this replica leads no more");
            }
            Term::Follower { leader } if self.term.borrow().clone() != term => {
                tracing::info!(identity = me, leader, "another replica leads");
            }
            Term::Always | Term::Leader { .. } | Term::Follower { .. } => {}
        }
        self.term.send_if_modified(|current| {
            let news = *current != term;
            *current = term;
            news
        });
    }

    /// Keeps what is known; how long to wait before the next attempt.
    fn failed(&mut self, reason: &str) -> Duration {
        if self.failure.as_deref() != Some(reason) {
            let namespace = &self.config.namespace;
            tracing::warn!("Lease {namespace}/{NAME}: {reason}; tried again until it works");
            self.failure = Some(reason.to_owned());
        }
        let lapsed = matches!(*self.term.borrow(), Term::Leader { .. }) && !self.leads();
        if lapsed {
            self.set(Term::Follower { leader: None });
        }
        self.config.look()
    }

    /// Leaves the Lease to whoever comes next.
    async fn give_back(&mut self) {
        let led = matches!(*self.term.borrow(), Term::Leader { .. });
        self.set(Term::Follower { leader: None });
        if !led {
            return;
        }
        // Twice: a renewal that was under way at the stop may have been stored since.
        for _ in 0..2 {
            if let Err(error) = self.look().await {
                tracing::warn!("the Lease is not given back: {error}; others wait until it runs out");
                return;
            }
            let Some(mut lease) = self.lease.clone() else {
                return;
            };
            let ours = lease.spec.as_mut().filter(|spec| {
                let holder = spec.holder_identity.as_deref();
                holder == Some(self.config.identity.as_str())
            });
            let Some(spec) = ours else { return };
            spec.holder_identity = None;
            match self.api.replace(NAME, &PostParams::default(), &lease).await {
                Ok(_) => {
                    tracing::info!("the Lease is given back");
                    return;
                }
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                Err(error) => {
                    tracing::warn!("the Lease is not given back: {error}; others wait until it runs out");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn record(holder: Option<&str>, renewed: i64) -> Record {
        Record {
            holder: holder.map(str::to_owned),
            renewed: Timestamp::from_second(renewed).ok(),
            transitions: 3,
            duration: Some(TEN),
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_its_holder_was_silent_for_as_long_as_it_asked() {
        let start = Instant::now();
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let held = |duration: Option<Duration>| Record {
            duration,
            ..record(Some("b"), 0)
        };
        for (name, found, now, expected) in [
            ("none", None, after(0.0), Step::Create),
            ("given back", Some(record(None, 0)), after(0.0), Step::Take),
            ("ours", Some(record(Some("a"), 0)), after(0.0), Step::Renew),
            (
                "ours, from long ago",
                Some(record(Some("a"), 0)),
                after(1e6),
                Step::Renew,
            ),
            ("just seen", Some(held(Some(TEN))), after(0.0), Step::Follow),
            ("nearly silent", Some(held(Some(TEN))), after(9.9), Step::Follow),
            ("silent", Some(held(Some(TEN))), after(10.0), Step::Take),
            (
                "says nothing: ours counts",
                Some(held(None)),
                after(14.9),
                Step::Follow,
            ),
            ("says nothing, silent", Some(held(None)), after(15.0), Step::Take),
            (
                "no time at all",
                Some(held(Some(Duration::ZERO))),
                after(0.9),
                Step::Follow,
            ),
            (
                "asks for a year",
                Some(held(Some(LONGEST * 500_000))),
                after(59.0),
                Step::Follow,
            ),
            (
                "asked for a year",
                Some(held(Some(LONGEST * 500_000))),
                after(60.0),
                Step::Take,
            ),
        ] {
            let seen = found.map(|record| Seen { record, since: start });
            let usual = Duration::from_secs(15);
            assert_eq!(step("a", seen.as_ref(), usual, now), expected, "{name}");
        }
    }

    /// The clocks of holder and candidate are never compared: a renewal a day in the future or in the past counts
    /// from when it was seen.
    #[test]
    fn only_a_change_restarts_the_wait() {
        let start = Instant::now();
        let later = start + Duration::from_secs(9);
        for first in [-86_400, 0, 86_400] {
            let seen = Seen::again(None, record(Some("b"), first), start);
            assert_eq!(seen.since, start);
            assert_eq!(
                Seen::again(Some(&seen), record(Some("b"), first), later).since,
                start
            );
            assert_eq!(
                Seen::again(Some(&seen), record(Some("b"), first + 1), later).since,
                later
            );
            assert_eq!(
                Seen::again(Some(&seen), record(Some("c"), first), later).since,
                later
            );
        }
    }

    #[test]
    fn a_term_ends_by_whichever_clock_is_first() {
        let now = Moment::now();
        let term = Term::Leader {
            until: now.after(Duration::from_secs(7)),
        };
        let at = |monotonic: u64, wall: i64| Moment {
            monotonic: now.monotonic + Duration::from_secs(monotonic),
            wall: now.wall + SignedDuration::from_secs(wall),
        };
        for (name, moment, expected) in [
            ("at once", at(0, 0), true),
            ("just before", at(6, 6), true),
            ("over", at(7, 7), false),
            (
                "the machine slept: its monotonic clock did not run",
                at(1, 60),
                false,
            ),
            ("the wall clock was set back", at(6, -3600), true),
            ("set back, and over", at(7, -3600), false),
            ("the wall clock jumped ahead", at(1, 3600), false),
        ] {
            assert_eq!(term.leads(moment), expected, "{name}");
        }
    }

    /// Candidates respect a renewal for longer than it carries the leader, and take over in less than 15 s.
    #[test]
    fn two_never_lead_and_nobody_waits_long() {
        let config = Config {
            namespace: String::new(),
            identity: String::new(),
            duration: TEN,
            alone_without_namespace: false,
        };
        assert!(config.tenure() < config.duration);
        assert!(
            config.renewal() * 3 < config.tenure(),
            "a failed renewal or two are survived"
        );
        // The last renewal may be seen a look later, and its end a look after that.
        assert!(config.duration + config.look() * 2 < Duration::from_secs(15));
    }
}
