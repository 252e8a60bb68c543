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

/// What has to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this moment; look at the wall clock again then, and at least once per [`LOOK`].
    Wait(Timestamp),
    /// Sign a new serving certificate.
    SignLeaf,
    /// The authority is at the end of its life: a new one has to be published before it signs.
    RenewAuthority,
}

/// Decides the next step from what is in use and the wall clock.
pub fn next(authority: &Validity, leaf: Option<&Validity>, now: Timestamp) -> Step {
    if authority.is_due(now) {
        return Step::RenewAuthority;
    }
    match leaf {
        None => Step::SignLeaf,
        Some(leaf) if leaf.is_due(now) => Step::SignLeaf,
        Some(leaf) => Step::Wait(leaf.renewal().min(authority.renewal())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hours * 3600).unwrap()
    }

    #[test]
    fn steps() {
        let authority = Validity::starting(at(0), AUTHORITY_LIFE);
        let leaf = Validity::starting(at(0), LEAF_LIFE);
        // A leaf lives 169 h with its backdated hour; a third is 56 h 20 min, so renewal is at 111 h 40 min.
        for (name, leaf, now, expected) in [
            ("no leaf yet", None, at(0), Step::SignLeaf),
            ("fresh", Some(&leaf), at(0), Step::Wait(leaf.renewal())),
            (
                "just before renewal",
                Some(&leaf),
                at(111),
                Step::Wait(leaf.renewal()),
            ),
            ("a third left", Some(&leaf), at(112), Step::SignLeaf),
            ("expired while suspended", Some(&leaf), at(400), Step::SignLeaf),
            (
                "authority near its end",
                Some(&leaf),
                at(300 * 24),
                Step::RenewAuthority,
            ),
            (
                "clock jumped back before both",
                Some(&leaf),
                at(-2),
                Step::RenewAuthority,
            ),
        ] {
            assert_eq!(next(&authority, leaf, now), expected, "{name}");
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
        assert!(leaf.holds(Timestamp::from_second(at(0).as_second() - 1800).unwrap()));
    }
}
