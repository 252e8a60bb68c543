//! The four kinds of PATCH as pure functions over JSON values, and field ownership.
//!
//! Owns: JSON patch ([`json`]), merge patch ([`merge`]), strategic merge patch ([`strategic`]), server-side apply
//! ([`apply`]) and the `managedFields` every write leaves behind ([`managed`]). Promises: the result is what a
//! kube-apiserver would store, and a refusal carries its words. Never reads a clock, a store or a network: `now`,
//! schemas and conversions are handed in.

pub mod apply;
pub mod fields;
pub mod json;
pub mod managed;
pub mod merge;
pub mod strategic;
pub mod typed;

pub use crate::schema::{Cause, KindRef, Refusal};

/// A refused patch: the Status a kube-apiserver answers with.
pub type PatchError = Refusal;
