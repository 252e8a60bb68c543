//! The `verdigris` binary.

fn main() {}
