//! SHELL of the loop.
