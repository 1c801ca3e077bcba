//! What the tests share: formula weights, the built program, and tiny data sets.

pub mod conformance;
pub mod drawings;
pub mod formula;
pub mod program;

/// The README's examples compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
