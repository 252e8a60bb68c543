//! How a Deployment's replica sets grow and shrink. Pure: sizes in, sizes out.
//!
//! The rules are Kubernetes' own: never more than `replicas + maxSurge` pods, never fewer than
//! `replicas - maxUnavailable` available ones, unhealthy old pods go first, and a change of size in the middle of a
//! rollout is spread over the replica sets in proportion.

use serde_json::Value;

use super::object::text;

/// `spec.strategy`, resolved against the wanted number of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// All old pods go before the first new one comes.
    Recreate,
    /// Old and new overlap within these bounds.
    Rolling { surge: i32, unavailable: i32 },
}

impl Strategy {
    /// From `spec.strategy`; percentages round surge up and unavailable down, and both never resolve to zero.
    pub(crate) fn of(strategy: Option<&Value>, desired: i32) -> Self {
        if strategy.is_some_and(|strategy| text(strategy, "/type") == "Recreate") {
            return Self::Recreate;
        }
        let bound =
            |key: &str| strategy.and_then(|strategy| strategy.pointer(&format!("/rollingUpdate/{key}")));
        let surge = amount(bound("maxSurge"), desired, true);
        let unavailable = amount(bound("maxUnavailable"), desired, false);
        Self::Rolling {
            surge,
            unavailable: if surge == 0 && unavailable == 0 {
                1
            } else {
                unavailable
            },
        }
    }

    /// The pods that may be missing from `desired` while the Deployment still counts as available.
    pub(crate) fn unavailable(self, desired: i32) -> i32 {
        match self {
            Self::Recreate => 0,
            Self::Rolling { unavailable, .. } => unavailable.min(desired),
        }
    }

    /// The most pods allowed at any time, as annotated on replica sets.
    pub(crate) fn most(self, desired: i32) -> i32 {
        match self {
            Self::Recreate => desired,
            Self::Rolling { surge, .. } => desired + surge,
        }
    }
}

/// An int-or-percent of `total`; 25 % when absent.
pub(crate) fn amount(value: Option<&Value>, total: i32, up: bool) -> i32 {
    let percent = |percent: i64| {
        let product = i64::from(total) * percent;
        let rounded = if up {
            (product + 99).div_euclid(100)
        } else {
            product.div_euclid(100)
        };
        i32::try_from(rounded).unwrap_or(i32::MAX).max(0)
    };
    match value {
        Some(Value::Number(number)) => number
            .as_i64()
            .map_or(0, |n| i32::try_from(n).unwrap_or(i32::MAX))
            .max(0),
        Some(Value::String(spelt)) => match spelt.strip_suffix('%') {
            Some(digits) => percent(digits.parse().unwrap_or(0)),
            None => spelt.parse().unwrap_or(0).max(0),
        },
        _ => percent(25),
    }
}

/// One replica set, as the decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Size {
    /// `spec.replicas`.
    pub(crate) replicas: i32,
    /// `status.availableReplicas`.
    pub(crate) available: i32,
    /// Annotation `deployment.kubernetes.io/max-replicas`: the bound when it was last scaled.
    pub(crate) bound: Option<i32>,
}

/// The replica sets of a Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sizes {
    /// The one with the current template; `None` before it exists.
    pub(crate) new: Option<Size>,
    /// The others, oldest first.
    pub(crate) old: Vec<Size>,
}

impl Sizes {
    fn total(&self) -> i32 {
        self.new.iter().chain(&self.old).map(|size| size.replicas).sum()
    }

    fn available(&self) -> i32 {
        self.new.iter().chain(&self.old).map(|size| size.available).sum()
    }
}

/// What to scale next; `None` in a place means unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Step {
    /// New size of the new replica set.
    pub(crate) new: Option<i32>,
    /// Index into `Sizes::old` and its new size.
    pub(crate) old: Vec<(usize, i32)>,
}

impl Step {
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_none() && self.old.is_empty()
    }
}

/// The size a new replica set is given when it is created.
pub(crate) fn initial(desired: i32, strategy: Strategy, sizes: &Sizes) -> i32 {
    match strategy {
        Strategy::Recreate => desired,
        Strategy::Rolling { surge, .. } => grown(desired, surge, 0, sizes.total()),
    }
}

fn grown(desired: i32, surge: i32, replicas: i32, total: i32) -> i32 {
    let room = desired + surge - total;
    if room <= 0 {
        return replicas;
    }
    replicas + room.min(desired - replicas)
}

/// The next step of a rollout. The new replica set moves first; old ones shrink once it has nothing to do.
pub(crate) fn roll(desired: i32, strategy: Strategy, sizes: &Sizes) -> Step {
    match strategy {
        Strategy::Recreate => recreate(desired, sizes),
        Strategy::Rolling { surge, unavailable } => rolling(desired, surge, unavailable, sizes),
    }
}

fn recreate(desired: i32, sizes: &Sizes) -> Step {
    let old: Vec<_> = (0..)
        .zip(&sizes.old)
        .filter(|(_, size)| size.replicas > 0)
        .map(|(at, _)| (at, 0))
        .collect();
    if !old.is_empty() {
        return Step { new: None, old };
    }
    Step {
        new: sizes
            .new
            .as_ref()
            .and_then(|new| (new.replicas != desired).then_some(desired)),
        old,
    }
}

fn rolling(desired: i32, surge: i32, unavailable: i32, sizes: &Sizes) -> Step {
    let Some(new) = &sizes.new else {
        return Step::default();
    };
    let wanted = if new.replicas > desired {
        desired
    } else {
        grown(desired, surge, new.replicas, sizes.total())
    };
    if wanted != new.replicas {
        return Step {
            new: Some(wanted),
            old: Vec::new(),
        };
    }
    let least = desired - unavailable.min(desired);
    let budget = sizes.total() - least - (new.replicas - new.available).max(0);
    if budget <= 0 || sizes.old.iter().all(|size| size.replicas == 0) {
        return Step::default();
    }
    let mut left: Vec<i32> = sizes.old.iter().map(|size| size.replicas).collect();
    // Pods that are not available serve nobody: they go first, up to what the budget allows.
    let mut spare = budget;
    for (size, left) in sizes.old.iter().zip(&mut left) {
        let taken = (size.replicas - size.available).clamp(0, spare);
        *left -= taken;
        spare -= taken;
    }
    // Then available ones, as long as enough of them remain.
    let mut spare = (sizes.available() - least).max(0);
    for left in &mut left {
        let taken = (*left).min(spare);
        *left -= taken;
        spare -= taken;
    }
    let old = (0..)
        .zip(sizes.old.iter().zip(left))
        .filter(|(_, (size, left))| size.replicas != *left)
        .map(|(at, (_, left))| (at, left))
        .collect();
    Step { new: None, old }
}

/// The step after `spec.replicas` changed (or while paused): one replica set takes it all, a finished rollout
/// drops its old ones, and a rollout under way keeps its proportions.
pub(crate) fn scale(desired: i32, strategy: Strategy, sizes: &Sizes) -> Step {
    let active = sizes
        .new
        .iter()
        .chain(&sizes.old)
        .filter(|size| size.replicas > 0)
        .count();
    if active <= 1 {
        return single(desired, sizes);
    }
    if sizes
        .new
        .as_ref()
        .is_some_and(|new| new.replicas == desired && new.available == desired)
    {
        return Step {
            new: None,
            old: (0..)
                .zip(&sizes.old)
                .filter(|(_, size)| size.replicas > 0)
                .map(|(at, _)| (at, 0))
                .collect(),
        };
    }
    match strategy {
        Strategy::Recreate => Step::default(),
        Strategy::Rolling { .. } => proportional(desired, strategy.most(desired), sizes),
    }
}

fn single(desired: i32, sizes: &Sizes) -> Step {
    let mut step = Step::default();
    if let Some(at) = sizes.old.iter().position(|size| size.replicas > 0) {
        if sizes.old[at].replicas != desired {
            step.old.push((at, desired));
        }
    } else if let Some(new) = &sizes.new {
        step.new = (new.replicas != desired).then_some(desired);
    } else if let Some(latest) = sizes.old.len().checked_sub(1)
        && sizes.old[latest].replicas != desired
    {
        step.old.push((latest, desired));
    }
    step
}

/// Which replica set a share belongs to; the new one counts as the newest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Old(usize),
    New,
}

fn proportional(desired: i32, most: i32, sizes: &Sizes) -> Step {
    let allowed = if desired > 0 { most } else { 0 };
    let change = allowed - sizes.total();
    let mut shares: Vec<(Slot, &Size, i32)> = (0..)
        .zip(&sizes.old)
        .map(|(at, size)| (Slot::Old(at), size, size.replicas))
        .chain(sizes.new.iter().map(|size| (Slot::New, size, size.replicas)))
        .filter(|(_, size, _)| size.replicas > 0)
        .collect();
    if change == 0 {
        return Step::default();
    }
    // Largest first; of equals the newest grows first and the oldest shrinks first.
    if change > 0 {
        shares.reverse();
    }
    shares.sort_by_key(|(_, size, _)| std::cmp::Reverse(size.replicas));
    let mut moved = 0;
    for (_, size, share) in &mut shares {
        let bound = f64::from(
            size.bound
                .filter(|bound| *bound > 0)
                .unwrap_or(sizes.total())
                .max(1),
        );
        let ideal = (f64::from(size.replicas) * f64::from(allowed) / bound).round() as i32;
        let left = change - moved;
        let delta = (ideal - size.replicas).clamp(left.min(0), left.max(0));
        *share += delta;
        moved += delta;
    }
    if let Some((_, _, share)) = shares.first_mut() {
        *share = (*share + change - moved).max(0);
    }
    let mut step = Step::default();
    for (slot, size, share) in shares {
        match slot {
            Slot::New if share != size.replicas => step.new = Some(share),
            Slot::Old(at) if share != size.replicas => step.old.push((at, share)),
            Slot::New | Slot::Old(_) => {}
        }
    }
    step.old.sort_unstable();
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prop_assert, proptest};
    use serde_json::json;

    fn size(replicas: i32, available: i32) -> Size {
        Size {
            replicas,
            available,
            bound: None,
        }
    }

    fn sizes(new: (i32, i32), old: &[(i32, i32)]) -> Sizes {
        Sizes {
            new: Some(size(new.0, new.1)),
            old: old.iter().map(|(r, a)| size(*r, *a)).collect(),
        }
    }

    #[test]
    fn bounds() {
        let table = [
            (json!(null), 4, (1, 1)),
            (
                json!({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
                10,
                (3, 2),
            ),
            (
                json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
                3,
                (0, 1),
            ),
            (
                json!({"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "10%"}}),
                3,
                (0, 1),
            ),
            (
                json!({"rollingUpdate": {"maxSurge": 2, "maxUnavailable": "100%"}}),
                3,
                (2, 3),
            ),
            (
                json!({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
                1,
                (1, 0),
            ),
        ];
        for (value, desired, (surge, unavailable)) in table {
            let expected = Strategy::Rolling { surge, unavailable };
            assert_eq!(
                Strategy::of(Some(&value), desired),
                expected,
                "{value} of {desired}"
            );
        }
        assert_eq!(
            Strategy::of(Some(&json!({"type": "Recreate"})), 3),
            Strategy::Recreate
        );
    }

    #[test]
    fn rolling_steps() {
        let step = |new: Option<i32>, old: &[(usize, i32)]| Step {
            new,
            old: old.to_vec(),
        };
        // (desired, surge, unavailable, new, old, expected)
        let table = [
            (4, 1, 1, (0, 0), vec![(4, 4)], step(Some(1), &[])),
            (4, 1, 1, (1, 0), vec![(4, 4)], step(None, &[(0, 3)])),
            (4, 1, 1, (1, 0), vec![(3, 3)], step(Some(2), &[])),
            (4, 1, 1, (2, 1), vec![(3, 3)], step(None, &[(0, 2)])),
            (4, 1, 0, (1, 0), vec![(4, 4)], step(None, &[])),
            (4, 1, 0, (1, 1), vec![(4, 4)], step(None, &[(0, 3)])),
            (4, 0, 1, (0, 0), vec![(4, 4)], step(None, &[(0, 3)])),
            (4, 1, 1, (4, 4), vec![(1, 1)], step(None, &[(0, 0)])),
            (2, 1, 1, (4, 4), vec![], step(Some(2), &[])),
            // Unhealthy old pods go first, whatever set they are in.
            (4, 1, 1, (1, 0), vec![(2, 2), (2, 0)], step(None, &[(1, 1)])),
            // Nothing is taken from available ones while the floor is reached.
            (4, 1, 0, (1, 0), vec![(4, 3)], step(None, &[])),
            (0, 1, 0, (3, 3), vec![(1, 1)], step(Some(0), &[])),
        ];
        for (desired, surge, unavailable, new, old, expected) in table {
            let found = roll(
                desired,
                Strategy::Rolling { surge, unavailable },
                &sizes(new, &old),
            );
            assert_eq!(
                found, expected,
                "{desired} +{surge} -{unavailable} {new:?} {old:?}"
            );
        }
    }

    #[test]
    fn recreate_waits_for_the_old() {
        let found = roll(3, Strategy::Recreate, &sizes((0, 0), &[(3, 3)]));
        assert_eq!((found.new, found.old), (None, vec![(0, 0)]));
        let found = roll(3, Strategy::Recreate, &sizes((0, 0), &[(0, 0)]));
        assert_eq!((found.new, found.old), (Some(3), vec![]));
    }

    #[test]
    fn scaling() {
        let rolling = Strategy::Rolling {
            surge: 1,
            unavailable: 1,
        };
        // One active replica set takes it all, also an old one of a paused Deployment.
        assert_eq!(scale(5, rolling, &sizes((3, 3), &[(0, 0)])).new, Some(5));
        assert_eq!(scale(5, rolling, &sizes((0, 0), &[(3, 3)])).old, [(0, 5)]);
        assert_eq!(scale(2, rolling, &sizes((0, 0), &[])).new, Some(2));
        // From zero: the new one.
        assert_eq!(scale(2, rolling, &sizes((0, 0), &[(0, 0)])).new, Some(2));
        // A finished rollout drops what is left.
        assert_eq!(scale(3, rolling, &sizes((3, 3), &[(1, 1)])).old, [(0, 0)]);
        // In mid-rollout: ten become fifteen in proportion (bounds 13 and 18).
        let surge = Strategy::Rolling {
            surge: 3,
            unavailable: 2,
        };
        let mut mixed = sizes((5, 0), &[(8, 8)]);
        mixed.old[0].bound = Some(13);
        mixed.new.as_mut().unwrap().bound = Some(13);
        let found = scale(15, surge, &mixed);
        assert_eq!((found.new, found.old), (Some(7), vec![(0, 11)]));
        // To zero: everything.
        let found = scale(0, surge, &mixed);
        assert_eq!((found.new, found.old), (Some(0), vec![(0, 0)]));
    }

    proptest! {
        /// Whatever becomes available in between, a rollout keeps its two bounds and ends.
        #[test]
        fn a_rollout_keeps_its_bounds_and_ends(
            desired in 0..12i32,
            surge in 0..5i32,
            unavailable in 0..5i32,
            luck in proptest::collection::vec(0..3i32, 1..40),
        ) {
            let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
            let strategy = Strategy::Rolling { surge, unavailable };
            let mut state = sizes((0, 0), &[(desired, desired)]);
            let least = (desired - unavailable).max(0);
            for round in 0..400 {
                let step = roll(desired, strategy, &state);
                let new = state.new.as_mut().unwrap();
                if let Some(replicas) = step.new {
                    new.replicas = replicas;
                    new.available = new.available.min(replicas);
                }
                for (at, replicas) in step.old {
                    state.old[at].replicas = replicas;
                    state.old[at].available = state.old[at].available.min(replicas);
                }
                prop_assert!(state.total() <= desired + surge, "too many: {state:?}");
                prop_assert!(state.available() >= least, "too few: {state:?}");
                let done = state.old[0].replicas == 0 && state.new == Some(size(desired, desired));
                if done {
                    return Ok(());
                }
                let new = state.new.as_mut().unwrap();
                let ready = luck[round % luck.len()].max(i32::from(round % 7 == 0));
                new.available = (new.available + ready).min(new.replicas);
            }
            prop_assert!(false, "never ended: {state:?}");
        }
    }
}
