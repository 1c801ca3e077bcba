//! `cargo xtask fetch-weights` and `fetch-data` against a small hub on the loopback address, with
//! every fault that a network, a proxy or a disk can have.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and say why it was skipped")]

mod bench;
mod data;
mod server;
mod weights;
