//! The little linear algebra in f64 that closed-form heads need.

mod cholesky;
mod eigen;
mod matrix;

pub(crate) use cholesky::Cholesky;
pub(crate) use eigen::{Eigen, symmetric_eigen};
pub(crate) use matrix::{Matrix, dot};
