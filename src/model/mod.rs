//! MEANING: what a Canary says, valid by construction. The hub every other folder speaks in.
//!
//! Owns: the parsed [`canary::Canary`], the status it keeps, the words it may say to people, the rules a
//! manifest is judged by. Promises: nothing past [`parse`] sees a wire type. Never: I/O, clocks, logs.

pub mod canary;
pub mod change;
pub mod default;
pub mod duration;
pub mod names;
pub mod notice;
pub mod order;
pub mod parse;
pub mod promql;
pub mod reconciler;
pub mod revision;
pub mod rules;
pub mod split;
pub mod status;
pub mod subject;
pub mod surroundings;
pub mod template;
pub mod violation;
