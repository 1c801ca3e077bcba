//! Lake's Omniglot challenge of one-shot classification within an alphabet (Lake, Salakhutdinov
//! and Tenenbaum 2015, "Human-level concept learning through probabilistic program induction",
//! figure 5; 2019, "The Omniglot challenge: a 3-year progress report"): runs of 20 characters of
//! one alphabet, one drawing of each as support set, another person's as query; and similar runs
//! from any alphabets, for development.

mod look_alikes;
mod runs;
mod tree;

pub use look_alikes::{Drawers, LookAlike, look_alikes};
pub use runs::LakeRuns;
