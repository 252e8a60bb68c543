//! logs, registry.
