//! Sockets: what goes out ([`outbound`]) and what comes in ([`serve`]).

pub mod outbound;
pub mod serve;
