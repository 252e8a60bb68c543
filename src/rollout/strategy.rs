//! What a strategy comes to on a provider: iterations, each under one split, or weights in order.
//!
//! Owns: what becomes of a strategy that the provider has no router for. A router adds capabilities, and nothing here or
//! in the stages changes.

use crate::model::canary::Strategy;
use crate::model::split::{Capabilities, Split};

/// Iterations for weights on a provider that routes none (Flagger uses the same number).
const WITHOUT_ROUTER: u32 = 10;

/// The course of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Course<'a> {
    /// Checks that must pass, one after another.
    Iterations {
        /// How many.
        total: u32,
        /// Traffic while they are done.
        during: Split,
        /// One more check under this split, before the promotion; A/B tests have none.
        last: Option<Split>,
    },
    /// Checks that must pass, each before the next weight.
    Weights {
        /// Percent for the canary, rising.
        weights: &'a [u8],
        /// Copies of the traffic come first.
        mirror: bool,
    },
}

/// The course of `strategy` where a router can do `can`.
pub(super) fn course(strategy: &Strategy, can: Capabilities) -> Course<'_> {
    let switch = if can.weights { Split::ALL } else { Split::NONE };
    match strategy {
        Strategy::BlueGreen { iterations, mirror } => Course::Iterations {
            total: iterations.get(),
            during: if *mirror && can.mirror {
                Split::MIRRORED
            } else {
                Split::NONE
            },
            last: Some(switch),
        },
        Strategy::AbTest { iterations } if can.matches => Course::Iterations {
            total: iterations.get(),
            during: Split::ALL,
            last: None,
        },
        // Nobody is sent to the canary unless the match can be told apart.
        Strategy::AbTest { iterations } => Course::Iterations {
            total: iterations.get(),
            during: Split::NONE,
            last: Some(Split::NONE),
        },
        Strategy::Progressive { weights, mirror, .. } if can.weights => Course::Weights {
            weights,
            mirror: *mirror && can.mirror,
        },
        Strategy::Progressive { .. } => Course::Iterations {
            total: WITHOUT_ROUTER,
            during: Split::NONE,
            last: Some(Split::NONE),
        },
    }
}

/// Iterations of a run on provider kubernetes.
pub fn iterations(strategy: &Strategy) -> u32 {
    match course(strategy, Capabilities::default()) {
        Course::Iterations { total, .. } => total,
        Course::Weights { weights, .. } => u32::try_from(weights.len()).unwrap_or(u32::MAX),
    }
}

/// Percent that go back to the primary at a time, once it runs what was judged.
pub(super) fn ramp(strategy: &Strategy) -> Option<u8> {
    match strategy {
        Strategy::Progressive { promotion, .. } => promotion.filter(|step| *step > 0),
        Strategy::BlueGreen { .. } | Strategy::AbTest { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const ALL: Capabilities = Capabilities {
        weights: true,
        mirror: true,
        matches: true,
    };

    fn progressive() -> Strategy {
        Strategy::Progressive {
            weights: vec![10, 20],
            mirror: true,
            promotion: Some(50),
        }
    }

    #[test]
    fn without_a_router_everything_is_iterations_on_the_primary() {
        let iterations = NonZeroU32::new(3).unwrap();
        let green = Strategy::BlueGreen {
            iterations,
            mirror: true,
        };
        for (strategy, expected) in [
            (green, 3),
            (Strategy::AbTest { iterations }, 3),
            (progressive(), 10),
        ] {
            let Course::Iterations { total, during, last } = course(&strategy, Capabilities::default())
            else {
                unreachable!("{strategy:?}");
            };
            assert_eq!((total, during, last), (expected, Split::NONE, Some(Split::NONE)));
        }
    }

    #[test]
    fn with_a_router_each_has_its_own() {
        let iterations = NonZeroU32::new(3).unwrap();
        let green = Strategy::BlueGreen {
            iterations,
            mirror: true,
        };
        assert_eq!(
            course(&green, ALL),
            Course::Iterations {
                total: 3,
                during: Split::MIRRORED,
                last: Some(Split::ALL)
            }
        );
        assert_eq!(
            course(&Strategy::AbTest { iterations }, ALL),
            Course::Iterations {
                total: 3,
                during: Split::ALL,
                last: None
            }
        );
        let weighted = progressive();
        assert_eq!(
            course(&weighted, ALL),
            Course::Weights {
                weights: &[10, 20],
                mirror: true
            }
        );
        assert_eq!((ramp(&weighted), ramp(&green)), (Some(50), None));
    }
}
