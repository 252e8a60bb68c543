//! what was typed, and what it means.

pub mod convert;
pub mod crds;
