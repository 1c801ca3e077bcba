//! Classifiers made from features in closed form, or by convex optimisation: both kinds of
//! learning use them.

mod embedding;
mod hausdorff;
mod linear_on_features;
mod logistic;
mod nearest_mean;
mod nearest_neighbour;

pub use embedding::{Embedding, TaskEmbedding};
pub use hausdorff::Hausdorff;
pub use linear_on_features::LinearOnFeatures;
pub use logistic::{LINEAR_PROBE, LogisticRegression, fit_logistic};
pub use nearest_mean::{NEAREST_MEAN, NearestMean, class_means, squared_distances};
pub use nearest_neighbour::{NearestNeighbour, PIXELS};
