//! Lake's Omniglot challenge of one-shot classification inside an alphabet (Lake, Salakhutdinov
//! and Tenenbaum 2015, "Human-level concept learning through probabilistic program induction",
//! figure 5; 2019, "The Omniglot challenge: a 3-year progress report"): runs of 20 characters of
//! one alphabet, one drawing of each to learn from, another person's to name; and look-alikes of
//! it from any alphabets, to develop on.

mod look_alikes;
mod runs;
mod tree;

pub use look_alikes::{Drawers, LookAlike, look_alikes};
pub use runs::LakeRuns;
