//! Sockets: what goes out ([`outbound`]) and what comes in ([`serve`], [`probe`]).

pub mod outbound;
pub mod probe;
pub mod serve;
