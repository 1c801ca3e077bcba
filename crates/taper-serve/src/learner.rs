//! A learner whose examples come and go: the features of each are computed once, and a new drawing costs one pass
//! through the network.

use crate::gallery::Kind;
use crate::problem::{Problem, Result};
use candle_core::{Device, Tensor};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use taper_compare::{drawing_learner, learner};
use taper_data::{Batch, Image, Look, Sheet, Transform};
use taper_learn::Method as _;
use taper_learn::{
    Adapt, Classifier, Model, TaskNorm, heads::LINEAR_PROBE, methods::SettingValues, models::Origin,
    provenance::Provenance,
};
use taper_models::catalog::{Pretrained, WeightHints};
use taper_models::{Head, HeadPolicy, Matching, Mode, Network, PackedWeights};
use taper_ops::log_softmax;
use taper_transfer::input_transform;

/// The longer side of a thumbnail, in pixels: sharp on a dense screen.
const THUMBNAIL: u32 = 200;

/// What was found out about a picture.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// A small PNG.
    pub(crate) thumbnail: Vec<u8>,
    /// Its features `(1, d)`, or why there are none.
    pub(crate) feature: Result<Tensor>,
}

/// A learner of one kind of pictures.
pub(crate) struct Learner {
    kind: Kind,
    model: Model,
    transform: Transform,
    method: Box<dyn Adapt>,
    /// The network's final weights, packed for the first picture.
    packed: Arc<PackedWeights>,
}

/// A classifier of the examples that there are now.
pub(crate) struct Fitted {
    classifier: Box<dyn Classifier>,
    /// `(n, d)`.
    features: Tensor,
    /// `(ways, n)`: each example's share in its class.
    shares: Tensor,
    /// Names of the classes that have examples.
    pub(crate) classes: Vec<String>,
    /// The page's names of the examples, one per row of the features.
    pub(crate) examples: Vec<String>,
}

impl Learner {
    /// The built-in learner for line drawings.
    pub(crate) fn of_drawings() -> Result<Self> {
        Self::new(Kind::Drawings, drawing_learner()?)
    }

    /// Logistic regression on the features of pretrained weights.
    pub(crate) fn of_photographs(weights: &Path) -> Result<Self> {
        Self::new(Kind::Photographs, photograph_learner(weights).map_err(Problem::other)?)
    }

    fn new(kind: Kind, model: Model) -> Result<Self> {
        let transform = model.transform.parse().map_err(Problem::other)?;
        Ok(Self { kind, transform, method: learner(&model)?, packed: Arc::default(), model })
    }

    /// What it learns from.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The model that it learns with.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// Features `(1, d)` of an image.
    pub(crate) fn feature(&self, image: &Image) -> Result<Tensor> {
        check(self.kind, image)?;
        let input = input(&self.transform, &self.model, image)?;
        let Model { network, state, .. } = &self.model;
        let mode = Mode { packed: Some(self.packed.clone()), ..Mode::evaluate() };
        let made = network.forward(&state.params, &state.buffers, &input, mode).map_err(Problem::other)?;
        Ok(made.features.detach())
    }

    /// A classifier of labeled features.
    pub(crate) fn fit(
        &self,
        features: &[&Tensor],
        labels: &[u32],
        classes: Vec<String>,
        examples: Vec<String>,
    ) -> Result<Fitted> {
        let features = Tensor::cat(features, 0).map_err(Problem::other)?;
        let support = Batch::new(features.clone(), labels, classes.len()).map_err(Problem::other)?;
        let classifier = self.method.adapt(&support, 0)?;
        let shares = shares(labels, classes.len()).map_err(Problem::other)?;
        Ok(Fitted { classifier, features, shares, classes, examples })
    }

    /// The probability of each class, and the likeness of each example, the larger the more alike.
    pub(crate) fn classify(&self, fitted: &Fitted, feature: &Tensor) -> Result<(Vec<f32>, Vec<f32>)> {
        let (logits, likeness) = self.logits_and_likeness(fitted, feature)?;
        let likeness = likeness.detach().get(0).and_then(|row| row.to_vec1()).map_err(Problem::other)?;
        Ok((probabilities(&logits)?, likeness))
    }

    /// Logits `(1, ways)` and likeness `(1, n)`.
    fn logits_and_likeness(&self, fitted: &Fitted, feature: &Tensor) -> Result<(Tensor, Tensor)> {
        let Model { network, state, .. } = &self.model;
        let backbone = network.backbone();
        if let Head::Matching { .. } = network.head() {
            // the matching head's logits are the mean likeness of a class, so that it is computed once for both
            let matching = Matching::new(&state.params, backbone.head_name(), backbone.layout());
            let likeness = matching.likeness(feature, &fitted.features).map_err(Problem::other)?.both;
            let logits = taper_ops::matmul_nt(&likeness, &fitted.shares).map_err(Problem::other)?;
            return Ok((logits, likeness));
        }
        let unit = |x: &Tensor| x.broadcast_div(&x.sqr()?.sum_keepdim(1)?.affine(1.0, 1e-12)?.sqrt()?);
        let cosine = unit(feature).and_then(|query| query.matmul(&unit(&fitted.features)?.t()?));
        Ok((fitted.classifier.logits(feature)?, cosine.map_err(Problem::other)?))
    }
}

/// The probabilities of a finished classifier's classes for an image.
pub(crate) fn classify_by(model: &Model, image: &Image) -> Result<Vec<f32>> {
    let transform = model.transform.parse().map_err(Problem::other)?;
    let input = input(&transform, model, image)?;
    probabilities(&model.network.logits(&model.state, &input).map_err(Problem::other)?)
}

/// `(ways, n)`: each example's share in its class.
fn shares(labels: &[u32], ways: usize) -> candle_core::Result<Tensor> {
    let mut shares = vec![0.0f32; ways * labels.len()];
    for (place, &label) in labels.iter().enumerate() {
        let of_class = labels.iter().filter(|&&other| other == label).count();
        shares[label as usize * labels.len() + place] = 1.0 / of_class as f32;
    }
    Tensor::from_vec(shares, (ways, labels.len()), &Device::Cpu)
}

fn input(transform: &Transform, model: &Model, image: &Image) -> Result<Tensor> {
    let planes = transform.apply(image, None).map_err(Problem::other)?;
    let (c, h, w) = planes.shape();
    if (c, h, w) != model.network.backbone().input() {
        return Err(Problem::other(format!(
            "the model's transform produces {c}x{h}x{w}, which its network does not take"
        )));
    }
    Tensor::from_vec(planes.values, (1, c, h, w), &Device::Cpu).map_err(Problem::other)
}

fn probabilities(logits: &Tensor) -> Result<Vec<f32>> {
    let all = log_softmax(logits).and_then(|logs| logs.exp()?.get(0)?.to_vec1());
    all.map_err(Problem::other)
}

/// Checks that a picture can be learned from as one of its kind.
fn check(kind: Kind, image: &Image) -> Result<()> {
    match (kind, Sheet::of(image)) {
        (_, _) if image.is_blank() => Err(Problem::Blank),
        (Kind::Drawings, Sheet::Blank) => Err(Problem::Blank),
        (Kind::Drawings, Sheet::Picture) => Err(Problem::NotADrawing),
        _ => Ok(()),
    }
}

/// Pretrained weights as a learner that fits a linear probe to them.
fn photograph_learner(weights: &Path) -> std::result::Result<Model, Box<dyn std::error::Error>> {
    let pretrained = Pretrained::read(weights, &WeightHints::default())?;
    let look = Look { channels: 3, dark_on_light: false };
    let transform = input_transform(&pretrained, look, None)?;
    // any photograph becomes an input of this size
    let shape = transform.shape((3, 512, 512))?;
    let network = Network::new(pretrained.architecture.backbone(shape)?, Head::Identity);
    let state = pretrained.state(&network, HeadPolicy::Replace { seed: 0 })?;
    let origin = Origin {
        method: LINEAR_PROBE.info().name.into(),
        on: pretrained.name,
        classes: Vec::new(),
        settings: SettingValues::new(),
        norm: TaskNorm::Stored.to_string(),
        revised: false,
    };
    let provenance = Provenance::unrecorded(&origin);
    Ok(Model {
        network,
        state,
        labels: Vec::new(),
        transform: transform.to_string(),
        origin,
        provenance,
        support: None,
    })
}

/// A small PNG of an image.
pub(crate) fn thumbnail(image: &Image) -> Result<Vec<u8>> {
    let (width, height) = (image.width as u32, image.height as u32);
    let longer = width.max(height).max(1);
    let side = |side: u32| (u64::from(side) * u64::from(THUMBNAIL.min(longer)) / u64::from(longer)).max(1) as u32;
    let (w, h) = (side(width), side(height));
    let pixels = image.pixels.clone();
    let broken = || Problem::other("the picture has no pixels");
    let small: image::DynamicImage = match image.channels {
        1 => image::imageops::thumbnail(&image::GrayImage::from_raw(width, height, pixels).ok_or_else(broken)?, w, h)
            .into(),
        _ => image::imageops::thumbnail(&image::RgbImage::from_raw(width, height, pixels).ok_or_else(broken)?, w, h)
            .into(),
    };
    let mut png = Cursor::new(Vec::new());
    small.write_to(&mut png, image::ImageFormat::Png).map_err(Problem::other)?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_keeps_the_shape_and_is_never_larger_than_the_picture() {
        let size = |width, height| {
            let image = Image { width, height, channels: 1, pixels: vec![7; width * height] };
            let decoded = taper_data::decode_image(&thumbnail(&image).unwrap()).unwrap().image;
            (decoded.width, decoded.height)
        };
        assert_eq!(size(1000, 500), (200, 100));
        assert_eq!(size(30, 20), (30, 20));
        assert_eq!(size(3000, 1), (200, 1));
    }
}
