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
/// Longest wait between two looks at the clock: a suspended machine finds out within a minute.
pub const LOOK: Duration = Duration::from_mins(1);

/// How long a bundle must have been stored in every target before its newest authority signs: API servers read their
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
    /// The stored authority that should sign; `None` when there is none that can be read.
    pub stored: Option<Validity>,
    /// Whether the serving certificate comes from it.
    pub in_use: bool,
    /// Since when every target has been trusting the stored bundle; `None` while one does not.
    pub published: Option<Timestamp>,
    /// The serving certificate.
    pub leaf: Validity,
}

/// What has to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Store a new authority, and a bundle that holds it beside the old one.
    Replace,
    /// Make every target trust the stored bundle.
    Publish,
    /// Serve a certificate of the stored authority.
    Switch,
    /// Sign a new serving certificate with the authority in use.
    SignLeaf,
    /// Nothing before this moment; look at the wall clock again then, and at least once per [`LOOK`].
    Wait(Timestamp),
}

/// Decides the next step. An authority signs only once every target has been trusting it for [`SETTLE`]; until then
/// the old one does, even past its renewal. A certificate that is no longer valid cannot wait.
pub fn next(view: &View, now: Timestamp) -> Step {
    let Some(stored) = view.stored.filter(|stored| !stored.is_due(now)) else {
        return Step::Replace;
    };
    let Some(published) = view.published else {
        return Step::Publish;
    };
    if !view.in_use {
        let settled = later(published, SETTLE);
        return if now >= settled || now < published || !view.leaf.holds(now) {
            Step::Switch
        } else {
            Step::Wait(settled)
        };
    }
    if view.leaf.is_due(now) {
        return Step::SignLeaf;
    }
    Step::Wait(view.leaf.renewal().min(stored.renewal()))
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

    #[test]
    fn steps() {
        let authority = Validity::starting(at(0), AUTHORITY_LIFE);
        let leaf = Validity::starting(at(0), LEAF_LIFE);
        let steady = View {
            stored: Some(authority),
            in_use: true,
            published: Some(at(0)),
            leaf,
        };
        let stranger = View {
            in_use: false,
            ..steady
        };
        // A leaf lives 169 h with its backdated hour; a third is 56 h 20 min, so renewal is at 111 h 40 min.
        for (name, view, now, expected) in [
            ("fresh", steady, at(1), Step::Wait(leaf.renewal())),
            ("just before renewal", steady, at(111), Step::Wait(leaf.renewal())),
            ("a third of the leaf left", steady, at(112), Step::SignLeaf),
            ("leaf expired while suspended", steady, at(400), Step::SignLeaf),
            (
                "a third of the authority left",
                steady,
                at(300 * 24),
                Step::Replace,
            ),
            ("clock jumped back before both", steady, at(-2), Step::Replace),
            (
                "nothing stored",
                View {
                    stored: None,
                    ..steady
                },
                at(1),
                Step::Replace,
            ),
            (
                "not trusted yet",
                View {
                    published: None,
                    ..steady
                },
                at(1),
                Step::Publish,
            ),
            (
                "stored by another replica, not trusted yet",
                View {
                    published: None,
                    ..stranger
                },
                at(1),
                Step::Publish,
            ),
            (
                "trusted a moment ago",
                stranger,
                seconds_after(at(0), 10),
                Step::Wait(seconds_after(at(0), 60)),
            ),
            (
                "trusted long enough",
                stranger,
                seconds_after(at(0), 60),
                Step::Switch,
            ),
            ("own certificate is over", stranger, at(170), Step::Switch),
        ] {
            assert_eq!(next(&view, now), expected, "{name}");
        }
    }

    /// Obeys [`next`] from any beginning: it comes to rest, and never serves what is not trusted everywhere.
    #[test]
    fn it_always_comes_to_rest() {
        let old = Validity::starting(at(-300 * 24), AUTHORITY_LIFE);
        let fresh = Validity::starting(at(0), AUTHORITY_LIFE);
        let leaf = Validity::starting(at(-24), LEAF_LIFE);
        for stored in [None, Some(old), Some(fresh)] {
            for in_use in [false, true] {
                for published in [None, Some(at(-1))] {
                    let mut view = View {
                        stored,
                        in_use,
                        published,
                        leaf,
                    };
                    let mut now = at(0);
                    let mut steps = Vec::new();
                    loop {
                        let step = next(&view, now);
                        steps.push(step);
                        assert!(steps.len() < 8, "{steps:?}");
                        match step {
                            Step::Replace => {
                                view = View {
                                    stored: Some(Validity::starting(now, AUTHORITY_LIFE)),
                                    in_use: false,
                                    published: None,
                                    ..view
                                }
                            }
                            Step::Publish => view.published = Some(now),
                            Step::Switch => {
                                assert!(view.published.is_some());
                                view.in_use = true;
                                view.leaf = Validity::starting(now, LEAF_LIFE);
                            }
                            Step::SignLeaf => view.leaf = Validity::starting(now, LEAF_LIFE),
                            Step::Wait(until) if view.in_use => {
                                assert!(until > now);
                                break;
                            }
                            Step::Wait(until) => now = until,
                        }
                    }
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
