//! Tensor operations that candle lacks, computes wrongly or computes slowly, closed under
//! differentiation; seeded chance; and what a process must set before its first thread.
//!
//! Activations are channels-last, `(n, h, w, c)`, so that channels are the vector lanes; weights
//! keep torchvision's `(o, i, kh, kw)`. [`channels_last`] is the one place that converts images.
//! Every operation's backward pass is made of operations of this crate (or of candle's
//! elementwise ones), so gradients of gradients are right to any order; f64 works throughout and
//! is the reference of the tests.
//!
//! Nothing here knows about learning.

mod activation;
mod batch_norm;
mod composed;
mod conv_norm;
mod convolution;
mod element;
mod frozen;
mod group_norm;
mod inverse;
mod kernels;
mod layout;
mod leaky_relu;
mod loss;
mod mapped;
mod norm;
mod packs;
mod pooling;
mod process;
mod random;
mod select;
mod sigmoid;
mod tape;
mod threads;
mod vector;
mod window_match;

pub use activation::{add_relu, relu};
pub use batch_norm::batch_norm_by_batch;
pub use conv_norm::conv_norm;
pub use convolution::{Convolution, conv2d, linear};
pub use frozen::{FrozenConvolution, fold_batch_norm};
pub use group_norm::{group_norm, layer_norm};
pub use inverse::inverse;
pub use layout::{add_per_channel, channels_last, multiply_per_channel};
pub use leaky_relu::{leaky_relu, relu6};
pub use loss::{cross_entropy, cross_entropy_to, log_softmax, one_hot, smoothed};
pub use mapped::MappedFile;
pub use norm::{Statistics, batch_norm, batch_statistics, scale_shift};
pub use packs::PackedOnce;
pub use pooling::{Window, avg_pool2d, global_avg_pool, max_pool2d};
pub use process::{configure_process, second_order_probe};
pub use random::{Rng, normal, permutation, rng, uniform};
pub use select::Epilogue;
pub use sigmoid::{sigmoid, swish};
pub use tape::{Gradients, Tape};
pub use threads::{in_pool, map_in_order, on_one_thread, threads};
pub use vector::{dot, over_root, weighted_square, weighted_sum};
pub use window_match::window_match;

#[cfg(test)]
pub(crate) mod test_support;
