//! The most confident errors, as pictures.

use crate::Thumbnail;
use askama::Template;
use serde::{Deserialize, Serialize};

/// The most confident errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstErrors {
    /// The most confident one first.
    pub pictures: Vec<ErrorPicture>,
}

/// An image that is classified wrongly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorPicture {
    /// The image's name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// The class predicted.
    pub predicted: String,
    /// The predicted class's probability, if the classifier has probabilities.
    pub probability: Option<f64>,
    /// What it looks like.
    pub thumbnail: Thumbnail,
}

#[derive(Template)]
#[template(path = "worst_errors.html")]
pub(crate) struct Page<'a> {
    pub(crate) figure: &'a WorstErrors,
}
