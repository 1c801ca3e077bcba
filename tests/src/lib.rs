//! What several tests of whole runs and outside oracles share.

pub mod formula;
