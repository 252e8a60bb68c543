//! What a Kubernetes API must do, row by row. Runs against the embedded cluster; with `CONFORMANCE_KUBECONFIG=FILE`
//! against any other, unchanged. Whatever a real kube-apiserver does differently is a bug of the embedded one.
//!
//! `CONFORMANCE_ONLY=text` runs the rows whose name contains the text.
#![expect(clippy::disallowed_methods, reason = "shell: a test that waits for a cluster")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what must not happen ends it"
)]

mod admission;
mod conversion;
mod custom;
mod deleting;
mod discovery;
mod errors;
mod lists;
mod objects;
mod patches;
mod server_side_apply;
mod webhook;
mod workloads;
mod world;

use std::time::Instant;

use futures::stream::{self, StreamExt};

use world::World;

/// A row: its name and what it checks.
type Row = (&'static str, fn(World) -> futures::future::BoxFuture<'static, ()>);

/// Rows from functions `async fn name(w: World)`.
macro_rules! rows {
    ($module:ident: $($name:ident),+ $(,)?) => {
        vec![$((concat!(stringify!($module), "::", stringify!($name)), (|w| Box::pin($name(w))) as crate::Runner)),+]
    };
}

type Runner = fn(World) -> futures::future::BoxFuture<'static, ()>;

fn all() -> Vec<Row> {
    [
        objects::rows(),
        patches::rows(),
        server_side_apply::rows(),
        lists::rows(),
        errors::rows(),
        deleting::rows(),
        custom::rows(),
        conversion::rows(),
        admission::rows(),
        discovery::rows(),
        workloads::rows(),
    ]
    .concat()
}

pub(crate) use rows;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance() {
    let only = std::env::var("CONFORMANCE_ONLY").unwrap_or_default();
    let cluster = world::Cluster::find().await;
    let selected: Vec<Row> = all()
        .into_iter()
        .filter(|(name, _)| name.contains(&only))
        .collect();
    assert!(!selected.is_empty(), "no row's name contains {only:?}");
    assert!(
        !only.is_empty() || selected.len() >= 60,
        "{} rows",
        selected.len()
    );
    let results: Vec<(&str, bool)> = stream::iter(selected.into_iter().enumerate())
        .map(|(number, (name, run))| {
            let cluster = &cluster;
            async move {
                let world = cluster.world(number).await;
                let started = Instant::now();
                let outcome = tokio::spawn(run(world.clone())).await;
                world.clean().await;
                println!(
                    "{} {name} {:.1}s",
                    if outcome.is_ok() { "ok  " } else { "FAIL" },
                    started.elapsed().as_secs_f64()
                );
                (name, outcome.is_ok())
            }
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let failed: Vec<&str> = results
        .iter()
        .filter(|(_, ok)| !ok)
        .map(|(name, _)| *name)
        .collect();
    println!("{} passed, {} failed", results.len() - failed.len(), failed.len());
    cluster.stop().await;
    assert!(failed.is_empty(), "failed: {failed:?}");
}
