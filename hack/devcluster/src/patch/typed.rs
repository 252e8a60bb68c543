//! Walks over values along a schema.
