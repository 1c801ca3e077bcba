//! What the tests share: formula weights, the built program, and tiny data sets.

pub mod drawings;
pub mod formula;
pub mod program;
