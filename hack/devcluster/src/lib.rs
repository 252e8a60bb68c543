//! An in-process Kubernetes API over HTTPS, for Verdigris's tests and playground. Never shipped.
//!
//! Three floors: the API server ([`server`], [`store`], [`kinds`]), the pure rules it applies ([`patch`],
//! [`schema`], [`table`]), and the controllers and pods that live on it through [`client`] ([`controllers`],
//! [`pods`]). It knows nothing of Verdigris: semantics come from Kubernetes.

pub mod client;
pub mod controllers;
pub mod kinds;
pub mod patch;
pub mod pods;
pub mod schema;
pub mod server;
pub mod store;
pub mod table;
