//! When certificates are renewed: pure.

use std::time::Duration;

use jiff::Timestamp;

/// How far certificates reach back, so that a peer whose clock is behind accepts them: 1 h.
pub const BACKDATE: Duration = Duration::from_hours(1);
/// Life of an authority that is shared through a Secret: 365 d.
pub const AUTHORITY_LIFE: Duration = Duration::from_hours(365 * 24);
/// Life of an authority that lives and dies with one process: ten years, so it is never rotated.
pub const EPHEMERAL_AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// Life of a serving certificate: 7 d.
pub const LEAF_LIFE: Duration = Duration::from_hours(7 * 24);
/// Longest wait between two looks at clock and Secret: a suspended machine, and a replica that waits for another, find
/// out within ten seconds.
pub const LOOK: Duration = Duration::from_secs(10);

/// How long every target must have been carrying a new authority before it signs: API servers read their
/// configuration through watches, so "stored" is not yet "in use" on each of them.
pub const SETTLE: Duration = Duration::from_mins(1);

/// From when to when a certificate is valid (RFC 5280 §4.1.2.5), whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `notBefore`, inclusive.
    pub since: Timestamp,
    /// `notAfter`, inclusive.
    pub until: Timestamp,
}

impl Validity {
    /// From [`BACKDATE`] before `now` to `life` after it.
    pub fn starting(now: Timestamp, life: Duration) -> Self {
        let now = now.as_second();
        let at = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
        Self {
            since: at(now - BACKDATE.as_secs().cast_signed()),
            until: at(now + life.as_secs().cast_signed()),
        }
    }

    /// Valid at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.since <= now && now <= self.until
    }

    /// The moment at which two thirds of the life are over.
    pub fn renewal(&self) -> Timestamp {
        let (from, to) = (self.since.as_second(), self.until.as_second());
        Timestamp::from_second(to - (to - from) / 3).unwrap_or(Timestamp::MAX)
    }

    /// Not valid now, or less than a third of the life is left.
    pub fn is_due(&self, now: Timestamp) -> bool {
        !self.holds(now) || now >= self.renewal()
    }

    /// This validity, ending no later than `other`.
    #[must_use]
    pub fn within(mut self, other: &Validity) -> Self {
        self.until = self.until.min(other.until);
        self
    }
}

/// What is known when a step is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Whether this replica is the one that writes.
    pub leads: bool,
    /// The stored authority that signs; `None` when there is none that can be read.
    pub stored: Option<Validity>,
    /// The stored authority that will sign once every target carries it.
    pub next: Option<Validity>,
    /// Somebody asked for a new authority.
    pub forced: bool,
    /// The stored bundle holds certificates that have expired.
    pub stale: bool,
    /// Every target was read and carries the whole stored bundle.
    pub carried: bool,
    /// Since when every target, as read, has been carrying the authority that is to sign next: `next` if there is one,
    /// else `stored`. `None` while one does not.
    pub confirmed: Option<Timestamp>,
    /// How long that has to last ([`SETTLE`] unless told otherwise).
    pub settle: Duration,
    /// Whether the serving certificate comes from `stored`.
    pub in_use: bool,
    /// The serving certificate.
    pub leaf: Validity,
}

/// What has to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is no authority that can sign: store a new one, beside what is trusted.
    Replace,
    /// Store the next authority and a bundle that holds it too; the current one goes on signing.
    Prepare,
    /// Make every target carry the stored bundle.
    Publish,
    /// The next authority becomes the one that signs, in the Secret.
    Promote,
    /// Serve a certificate of the stored authority.
    Switch,
    /// Sign a new serving certificate with the authority in use.
    SignLeaf,
    /// Drop what expired from the stored bundle.
    Prune,
    /// Nothing before this moment; look again then, at least once per [`LOOK`], and when a target changes.
    Wait(Timestamp),
}

/// Decides the next step. An authority signs only once every target has been *seen* carrying it for `settle`; until
/// then the old one does, even past its renewal. A certificate that is no longer valid cannot wait.
pub fn next(view: &View, now: Timestamp) -> Step {
    let soon = Step::Wait(later(now, LOOK));
    let Some(stored) = view.stored.filter(|stored| stored.holds(now)) else {
        return if view.leads { Step::Replace } else { soon };
    };
    if !view.leaf.holds(now) {
        return if view.in_use { Step::SignLeaf } else { Step::Switch };
    }
    if view.leads && !view.carried {
        return Step::Publish;
    }
    let settled = view.confirmed.map(|since| later(since, view.settle));
    // A clock set back since then says nothing about how long ago it was: it was.
    let is_settled =
        settled.is_some_and(|settled| now >= settled) || view.confirmed.is_some_and(|since| now < since);
    if !view.in_use {
        return match settled {
            _ if is_settled => Step::Switch,
            Some(settled) => Step::Wait(settled),
            None => soon,
        };
    }
    if view.leaf.is_due(now) {
        return Step::SignLeaf;
    }
    if view.leads {
        match view.next {
            Some(next) if !next.is_due(now) => {
                return match settled {
                    _ if is_settled => Step::Promote,
                    Some(settled) => Step::Wait(settled),
                    None => soon,
                };
            }
            Some(_) => return Step::Prepare,
            None if view.forced || stored.is_due(now) => return Step::Prepare,
            None if view.stale => return Step::Prune,
            None => {}
        }
    }
    Step::Wait(view.leaf.renewal().min(stored.renewal().max(later(now, LOOK))))
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_second(at.as_second() + by.as_secs().cast_signed()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hours * 3600).unwrap()
    }

    fn seconds_after(at: Timestamp, seconds: i64) -> Timestamp {
        Timestamp::from_second(at.as_second() + seconds).unwrap()
    }

    fn steady() -> View {
        View {
            leads: true,
            stored: Some(Validity::starting(at(0), AUTHORITY_LIFE)),
            next: None,
            forced: false,
            stale: false,
            carried: true,
            confirmed: Some(at(0)),
            settle: SETTLE,
            in_use: true,
            leaf: Validity::starting(at(0), LEAF_LIFE),
        }
    }

    /// What every replica does, whether it leads or not.
    #[test]
    fn steps_of_any_replica() {
        let leader = steady();
        let leaf = leader.leaf;
        // A leaf lives 169 h with its backdated hour; a third is 56 h 20 min, so renewal is at 111 h 40 min.
        for view in [
            leader,
            View {
                leads: false,
                ..leader
            },
        ] {
            let stranger = View {
                in_use: false,
                ..view
            };
            for (name, view, now, expected) in [
                ("fresh", view, at(1), Step::Wait(leaf.renewal())),
                ("just before renewal", view, at(111), Step::Wait(leaf.renewal())),
                ("a third of the leaf left", view, at(112), Step::SignLeaf),
                ("leaf expired while suspended", view, at(400), Step::SignLeaf),
                (
                    "another authority, seen a moment ago",
                    stranger,
                    seconds_after(at(0), 10),
                    Step::Wait(seconds_after(at(0), 60)),
                ),
                (
                    "seen long enough",
                    stranger,
                    seconds_after(at(0), 60),
                    Step::Switch,
                ),
                (
                    "clock set back since",
                    stranger,
                    seconds_after(at(0), -10),
                    Step::Switch,
                ),
                (
                    "another authority, not everywhere",
                    View {
                        confirmed: None,
                        ..stranger
                    },
                    at(1),
                    Step::Wait(seconds_after(at(1), 10)),
                ),
                (
                    "own certificate is over: nothing to lose",
                    View {
                        confirmed: None,
                        ..stranger
                    },
                    at(170),
                    Step::Switch,
                ),
            ] {
                assert_eq!(next(&view, now), expected, "{name}, leads: {}", view.leads);
            }
        }
    }

    #[test]
    fn steps_of_the_leader_which_alone_writes() {
        let view = steady();
        let fresh = Some(Validity::starting(at(300 * 24), AUTHORITY_LIFE));
        let late = seconds_after(at(300 * 24), 30);
        let young = Validity::starting(at(300 * 24), LEAF_LIFE);
        let due = View { leaf: young, ..view };
        let prepared = View {
            next: fresh,
            confirmed: Some(at(300 * 24)),
            ..due
        };
        for (name, view, now, expected) in [
            (
                "nothing stored",
                View { stored: None, ..view },
                at(1),
                Step::Replace,
            ),
            ("stored one expired", view, at(366 * 24), Step::Replace),
            ("clock jumped back before it", view, at(-2), Step::Replace),
            (
                "a target was wiped",
                View {
                    carried: false,
                    ..view
                },
                at(1),
                Step::Publish,
            ),
            ("asked for", View { forced: true, ..view }, at(1), Step::Prepare),
            ("a third of the authority left", due, late, Step::Prepare),
            (
                "prepared, not everywhere",
                View {
                    carried: false,
                    ..prepared
                },
                late,
                Step::Publish,
            ),
            (
                "prepared, everywhere for half a minute",
                prepared,
                late,
                Step::Wait(seconds_after(late, 30)),
            ),
            (
                "everywhere for long enough",
                prepared,
                seconds_after(late, 30),
                Step::Promote,
            ),
            (
                "prepared a year ago and forgotten",
                View {
                    next: view.stored,
                    ..due
                },
                late,
                Step::Prepare,
            ),
            (
                "expired ones in the bundle",
                View { stale: true, ..view },
                at(1),
                Step::Prune,
            ),
        ] {
            assert_eq!(next(&view, now), expected, "{name}");
            let follower = View { leads: false, ..view };
            let waits = matches!(next(&follower, now), Step::Wait(_) | Step::SignLeaf);
            assert!(
                waits,
                "a follower writes nothing: {name}: {:?}",
                next(&follower, now)
            );
        }
    }

    /// Obeys [`next`] from any beginning: it comes to rest, and never signs with what is not trusted everywhere.
    #[test]
    fn it_always_comes_to_rest() {
        let old = Validity::starting(at(-300 * 24), AUTHORITY_LIFE);
        let fresh = Validity::starting(at(0), AUTHORITY_LIFE);
        for stored in [None, Some(old), Some(fresh)] {
            for following in [None, Some(old), Some(fresh)] {
                for flags in 0..16 {
                    let bit = |n: u32| flags & (1 << n) != 0;
                    let mut view = View {
                        stored,
                        next: following,
                        forced: bit(0),
                        stale: bit(1),
                        carried: bit(2),
                        confirmed: bit(2).then(|| at(-1)),
                        in_use: bit(3),
                        leaf: Validity::starting(at(-24), LEAF_LIFE),
                        ..steady()
                    };
                    let mut now = at(0);
                    let mut steps = Vec::new();
                    loop {
                        let step = next(&view, now);
                        steps.push(step);
                        assert!(steps.len() < 16, "{steps:?}");
                        let written = View {
                            carried: false,
                            confirmed: None,
                            ..view
                        };
                        match step {
                            Step::Replace => {
                                view = View {
                                    stored: Some(Validity::starting(now, AUTHORITY_LIFE)),
                                    next: None,
                                    forced: false,
                                    in_use: false,
                                    ..written
                                }
                            }
                            Step::Prepare => {
                                view = View {
                                    next: Some(Validity::starting(now, AUTHORITY_LIFE)),
                                    forced: false,
                                    ..written
                                }
                            }
                            Step::Publish => {
                                view.carried = true;
                                view.confirmed = Some(now);
                            }
                            Step::Promote => {
                                assert!(view.carried && view.confirmed.is_some());
                                view.stored = view.next.take();
                                view.in_use = false;
                            }
                            Step::Switch => {
                                assert!(view.carried && view.confirmed.is_some());
                                view.in_use = true;
                                view.leaf = Validity::starting(now, LEAF_LIFE);
                            }
                            Step::SignLeaf => view.leaf = Validity::starting(now, LEAF_LIFE),
                            Step::Prune => view.stale = false,
                            Step::Wait(until) => {
                                assert!(until > now);
                                if view.in_use && view.next.is_none() {
                                    break;
                                }
                                now = until;
                            }
                        }
                    }
                    assert!(!view.forced && !view.stale && view.carried);
                }
            }
        }
    }

    #[test]
    fn a_leaf_never_outlives_its_authority() {
        let authority = Validity::starting(at(0), Duration::from_hours(2));
        let leaf = Validity::starting(at(0), LEAF_LIFE).within(&authority);
        assert_eq!(leaf.until, authority.until);
    }

    #[test]
    fn clock_skew_of_minutes_is_tolerated() {
        let leaf = Validity::starting(at(0), LEAF_LIFE);
        assert!(leaf.holds(seconds_after(at(0), -1800)));
    }
}
