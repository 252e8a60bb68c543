//! SPEAK to metric servers: pure. Queries out, numbers in.
//!
//! Owns: the text of the built-in queries, the request each server wants, the reading of its answer. Promises: a
//! missing value is never read as a good one. Never: sockets.

pub mod builtin;
pub mod prometheus;

/// Why an answer holds no number to judge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The server answered, without a value (no series, NaN).
    #[error("no values found")]
    NoValues,
    /// More than one sample per series came back.
    #[error("query returned multiple values")]
    MultipleValues,
    /// The server refused the query.
    #[error("{0}")]
    Refused(String),
    /// The answer is not what the server's protocol says.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
}
