//! what was typed, and what it means.

pub mod rules;
