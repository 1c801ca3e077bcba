//! The arithmetic itself, on slices, without tensors or gradients.
//!
//! How unsafe code is checked: every kernel is behind a safe function that checks sizes with
//! `assert!` in every build; rows that a kernel reads through addresses are checked against their
//! slice when they are listed ([`tile::List`]), and what it writes is a borrowed slice of checked
//! length. Outputs are not zeroed first ([`buffer::written`]); with debug assertions, as in
//! tests, they are filled with NaN, so that an unwritten value shows, and lie between guards.

pub(crate) mod attention;
pub(crate) mod buffer;
pub(crate) mod channels;
pub(crate) mod depthwise;
pub(crate) mod depthwise_gradient;
pub(crate) mod depthwise_panels;
pub(crate) mod depthwise_strip;
pub(crate) mod direct;
pub(crate) mod inverted_residual;
pub(crate) mod lanes;
pub(crate) mod pack;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod product;
pub(crate) mod row_norm;
pub(crate) mod simd;
pub(crate) mod smooth;
pub(crate) mod tile;
pub(crate) mod transpose;
pub(crate) mod winograd;
