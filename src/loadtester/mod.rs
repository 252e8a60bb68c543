//! the test runner and load generator service.
