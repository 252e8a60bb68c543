//! sockets.
