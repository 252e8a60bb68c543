//! Processor time of threads, from Linux' scheduler.
#![allow(dead_code, reason = "each measurement uses some of it")]

use std::time::Duration;

/// Of every thread that lives.
pub(crate) fn all() -> Duration {
    named("")
}

/// Of the threads whose name begins so.
pub(crate) fn named(prefix: &str) -> Duration {
    let mut total = Duration::ZERO;
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let folder = thread.unwrap().path();
        // A thread may end meanwhile.
        let (Ok(name), Ok(spent)) = (
            std::fs::read_to_string(folder.join("comm")),
            std::fs::read_to_string(folder.join("schedstat")),
        ) else {
            continue;
        };
        if name.starts_with(prefix) {
            let nanoseconds = spent.split_whitespace().next().unwrap().parse().unwrap();
            total += Duration::from_nanos(nanoseconds);
        }
    }
    total
}
