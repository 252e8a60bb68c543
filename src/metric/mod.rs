//! SPEAK to metric servers: pure.
