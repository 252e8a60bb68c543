//! Certificates: who signs, what is served, and when either is renewed.
//!
//! Owns: the authority ([`Authority`]), the serving certificate ([`Leaf`]) and the place the listener takes it from
//! ([`Slot`]). Promises: a broken pair never replaces a good one; renewal is decided by [`lifecycle::next`], a pure
//! function of validity and clock. Never talks to the API server.

pub mod issue;
pub mod lifecycle;
pub mod slot;

pub use issue::{Authority, Bundle, Leaf, Names, PkiError};
pub use lifecycle::{Step, Validity};
pub use slot::Slot;
