//! DECISION: what happens next in a rollout, as a pure function.
//!
//! Owns: the state machine ([`next::next`]), what it looks at ([`observed`]), what it asks ([`question`]), what
//! it orders ([`plan`]). Promises: total, deterministic, absolute (never "+1 step", always "iteration 3"), and
//! that running a plan twice changes nothing. Never: I/O, clocks, logs, Kubernetes types.

pub mod analysis;
mod change;
mod condition;
mod contest;
mod draft;
pub mod next;
pub mod observed;
mod order;
mod pass;
pub mod plan;
pub mod question;
pub mod readiness;
pub mod rejected;
pub mod stage;
mod strategy;

pub use change::checksum;
pub use condition::{CONFLICT, INVALID_SPEC, POLLED, READY, STALLED};
pub use contest::{CALM, CONTESTED};
pub use order::given_for;
pub use strategy::iterations;
