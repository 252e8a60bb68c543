//! Certificates: who signs, what is served, and when either is renewed.
//!
//! Owns: the authority ([`Authority`]), the serving certificate ([`Leaf`]) and the place the listener takes it from
//! ([`Slot`]). Promises: a broken pair never replaces a good one; renewal is decided by [`lifecycle::next`], a pure
//! function of validity, clock and what the targets were seen to trust ([`Carried`]); replicas share one authority
//! through a Secret ([`store`]), while the key of a serving certificate never leaves its process. Or the pair comes from
//! [`files`], and whoever writes them renews it. Never writes anything but that Secret.

pub mod carried;
pub mod clients;
pub mod files;
pub mod issue;
pub mod keeper;
pub mod lifecycle;
pub mod slot;
pub mod store;

pub use carried::Carried;
pub use issue::{Authority, Bundle, Leaf, Names, PkiError};
pub use keeper::Keeper;
pub use lifecycle::Validity;
pub use slot::Slot;
