//! SHELL of admission and conversion.
