//! scikit-learn's results on made-up features, by `golden/heads.py`.

use super::matrix::Matrix;
use candle_core::Tensor;
use serde::Deserialize;

/// A linear head, row after row.
#[derive(Deserialize)]
pub(crate) struct Linear {
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
}

/// Ridge regression by leave-one-out.
#[derive(Deserialize)]
pub(crate) struct Ridge {
    pub(crate) alphas: Vec<f64>,
    pub(crate) leave_one_out_errors: Vec<f64>,
    pub(crate) best: f64,
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
}

/// Logistic regression of one strength.
#[derive(Deserialize)]
pub(crate) struct Logistic {
    pub(crate) c: f64,
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
}

#[derive(Deserialize)]
struct File {
    features: Vec<Vec<f64>>,
    labels: Vec<u32>,
    ways: usize,
    few: usize,
    ridge: Ridge,
    logistic: Vec<Logistic>,
    lda: Linear,
    lda_few: Linear,
    rda: Linear,
    rda_few: Linear,
}

/// Features, labels, and scikit-learn's results on them.
pub(crate) struct Golden {
    pub(crate) features: Matrix,
    pub(crate) labels: Vec<u32>,
    pub(crate) ways: usize,
    pub(crate) few: usize,
    pub(crate) ridge: Ridge,
    pub(crate) logistic: Vec<Logistic>,
    pub(crate) lda: Linear,
    pub(crate) lda_few: Linear,
    pub(crate) rda: Linear,
    pub(crate) rda_few: Linear,
}

pub(crate) fn golden() -> Golden {
    let text = include_str!("../../golden/heads.json");
    let File { features, labels, ways, few, ridge, logistic, lda, lda_few, rda, rda_few } =
        serde_json::from_str(text).unwrap();
    let features = Matrix::from_fn(features.len(), features[0].len(), |i, j| features[i][j]);
    Golden { features, labels, ways, few, ridge, logistic, lda, lda_few, rda, rda_few }
}

/// Within 1e-4 of the largest expected value.
pub(crate) fn assert_close(ours: &Tensor, expected: &[f64]) {
    let ours = ours.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(ours.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    for (ours, expected) in ours.iter().zip(expected) {
        assert!((f64::from(*ours) - expected).abs() < 1e-4 * largest, "{ours} is not {expected}");
    }
}
