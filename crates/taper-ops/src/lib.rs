#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod batch_norm;
mod composed;
mod conv_norm;
mod convolution;
mod element;
mod file_content;
mod frozen;
mod frozen_linear;
mod gelu;
mod global_pool;
mod group_norm;
mod inverse;
mod inverted_residual;
mod kernels;
mod layer_norm;
mod layout;
mod loss;
mod matmul;
mod norm;
mod packs;
mod padding;
mod pooling;
mod process;
mod random;
mod select;
mod sigmoid;
mod tape;
mod threads;
mod vector;
mod window_match;

pub use activation::{add_relu, leaky_relu, relu, relu6};
pub use attention::attention;
pub use batch_norm::batch_norm_by_batch;
pub use conv_norm::conv_norm;
pub use convolution::{Convolution, conv2d, linear};
pub use file_content::FileContent;
pub use frozen::{FrozenConvolution, fold_batch_norm};
pub use frozen_linear::{FoldedNorm, FrozenLinear};
pub use gelu::gelu;
pub use global_pool::global_avg_pool;
pub use group_norm::group_norm;
pub use inverse::inverse;
pub use inverted_residual::{InvertedResidual, same_padding};
pub use kernels::smooth::Gelu;
pub use kernels::tile::Activation;
pub use layer_norm::layer_norm;
pub use layout::{add_per_channel, channels_last, multiply_per_channel};
pub use loss::{cross_entropy, cross_entropy_part, cross_entropy_to, log_softmax, one_hot, smoothed, target_weight};
pub use matmul::{matmul, matmul_nt, matmul_tn};
pub use norm::{Statistics, batch_norm, batch_statistics, scale_shift};
pub use packs::PackedOnce;
pub use padding::pad_images;
pub use pooling::{Window, avg_pool2d, max_pool2d};
pub use process::{configure_process, second_order_probe};
pub use random::{Rng, normal, permutation, rng, uniform};
pub use select::Epilogue;
pub use sigmoid::{sigmoid, softplus, swish};
pub use tape::{Gradients, Tape};
pub use threads::{in_pool, map_in_order, on_one_thread, threads};
pub use vector::{dot, over_root, weighted_square, weighted_sum};
pub use window_match::window_match;

#[cfg(test)]
mod sizes;
#[cfg(test)]
mod soundness;
#[cfg(test)]
pub(crate) mod test_support;
