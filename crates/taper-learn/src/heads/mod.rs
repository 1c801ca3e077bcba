//! Classifiers made from features in closed form, or by convex optimization: both kinds of
//! learning use them.

mod decomposition;
mod dense;
mod discriminant;
mod embedding;
mod folds;
#[cfg(test)]
mod golden;
mod gradient;
mod hausdorff;
mod lbfgs;
mod linear_on_features;
mod logistic;
mod nearest_mean;
mod nearest_neighbor;
mod neighbors;
mod rfs;
mod ridge;
mod simple_shot;

pub use discriminant::{DISCRIMINANT, Discriminant};
pub use embedding::{Embedding, TaskEmbedding};
pub use folds::{default_folds, stratified_folds};
pub use gradient::{GradientHead, LINEAR_HEAD, MLP_HEAD};
pub use hausdorff::Hausdorff;
pub use linear_on_features::LinearOnFeatures;
pub use logistic::{LINEAR_PROBE, LogisticRegression};
pub use nearest_mean::{NEAREST_MEAN, NearestMean, class_means, squared_distances};
pub use nearest_neighbor::{NearestNeighbor, PIXELS};
pub use neighbors::{NEIGHBORS, Neighbors};
pub use rfs::{RFS, Rfs};
pub use ridge::{RIDGE, Ridge};
pub use simple_shot::{SIMPLE_SHOT, SimpleShot};
