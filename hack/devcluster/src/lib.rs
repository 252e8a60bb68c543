//! An in-process Kubernetes API over HTTPS, for Verdigris's tests and playground. Never shipped.
//!
//! Three floors: the API server (`server`, `store`, `kinds`), the pure rules it applies ([`patch`],
//! [`schema`], [`table`]), and the controllers and pods that live on it through [`client`] ([`controllers`],
//! [`pods`]). It knows nothing of Verdigris: semantics come from Kubernetes.

pub mod client;
pub mod controllers;
mod kinds;
pub mod patch;
pub mod pods;
pub mod schema;
mod server;
mod store;
pub mod table;

pub use server::{Config, DevCluster, StartError};
