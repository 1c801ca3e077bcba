//! Classifiers on features, in closed form or by convex optimization, which both kinds of
//! learning use.

mod components;
mod covariance;
mod decomposition;
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
mod matrix;
mod nearest_mean;
mod nearest_neighbor;
mod neighbors;
mod on_features;
mod penalty;
mod regularized_discriminant;
mod rfs;
mod ridge;
mod simple_shot;
mod unit_length;

pub use components::PrincipalPlane;
pub use discriminant::{DISCRIMINANT, Discriminant};
pub use embedding::{Embedding, TaskEmbedding};
pub use folds::{default_folds, stratified_folds};
pub use gradient::{GradientHead, LINEAR_HEAD, LinearHead, MLP_HEAD, MlpHead};
pub use hausdorff::Hausdorff;
pub use linear_on_features::LinearOnFeatures;
pub use logistic::{LINEAR_PROBE, LinearProbe, LogisticRegression};
pub use nearest_mean::{NEAREST_MEAN, NearestMean, class_means, squared_distances};
pub use nearest_neighbor::{NearestNeighbor, PIXELS, Pixels};
pub use neighbors::{NEIGHBORS, Neighbors};
pub use on_features::{FeatureHead, OnFeatures};
pub use penalty::Penalty;
pub use regularized_discriminant::{REGULARIZED_DISCRIMINANT, RegularizedDiscriminant};
pub use rfs::{RFS, Rfs};
pub use ridge::{RIDGE, Ridge};
pub use simple_shot::{SIMPLE_SHOT, SimpleShot};
pub use unit_length::unit_length;
