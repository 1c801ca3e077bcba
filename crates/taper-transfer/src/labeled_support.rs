//! What a classifier keeps of its labeled images, made with one pass over folds of them.

use crate::Result;
use crate::calibration::{calibrated_by, cooled};
use std::sync::Arc;
use taper_data::{Dataset, Inputs};
use taper_learn::{
    Adapt,
    evaluation::Labeled,
    heads::default_folds,
    support::{HeldOut, Similarity, Support, SupportImage, features},
};
use taper_models::{Network, State};

/// Images that a classifier keeps at most, which bounds its file and the time for comparing them with each other.
pub(crate) const MOST: usize = 3000;

/// Labeled images that a classifier was made from. It keeps at most about 3,000 of them, spread evenly over the classes;
/// from a part of them its head can't be made anew.
pub struct LabeledSupport<'a> {
    /// The data set.
    pub dataset: &'a dyn Dataset,
    /// Its images that the classifier was made from.
    pub labeled: &'a Labeled,
    /// The seed of the folds.
    pub seed: u64,
}

impl LabeledSupport<'_> {
    /// For a head on features that `learner` fits. `name` is its method, or `None` if it can't be made from features
    /// alone. `inputs` are the features of the images: first as the classifier sees them, then of copies that it also
    /// learns from. Returns the state with its logits divided by the temperature that the folds give, or that is typical
    /// if a class has a single image.
    ///
    /// # Errors
    /// Returns an error if an image can't be read, or learning from folds fails.
    pub fn of_head(
        &self,
        name: Option<&str>,
        learner: &dyn Adapt,
        inputs: &[Arc<dyn Inputs>],
        network: &Network,
        state: State,
    ) -> Result<(Support, State)> {
        let labeled = &self.kept();
        let plain = inputs[0].as_ref();
        let features = plain.inputs(&labeled.images, None).map_err(taper_learn::LearnError::from)?;
        let (held_out, state) = calibrated(learner, inputs, labeled, network, state, self.seed)?;
        let whole = labeled.images.len() == self.labeled.images.len();
        Ok((self.support(labeled, features, name.filter(|_| whole), held_out)?, state))
    }

    /// For a network that was itself fitted to the classes: its features of the images through `inputs`, and its scores
    /// on `apart`, labeled images that it has not learned from.
    ///
    /// # Errors
    /// Returns an error if an image can't be read or does not fit the network.
    pub fn of_fine_tuned(
        &self,
        inputs: &dyn Inputs,
        network: &Network,
        state: &State,
        apart: &Labeled,
    ) -> Result<Support> {
        let labeled = &self.kept();
        let features = features(network, state, inputs, &labeled.images)?;
        let held_out = match apart.images.is_empty() {
            true => None,
            false => Some(HeldOut::of_images(network, state, &features, inputs, apart)?),
        };
        self.support(labeled, features, None, held_out)
    }

    /// The images that are kept: of very many an even share of each class, of small classes at least a few.
    pub fn kept(&self) -> Labeled {
        /// What is kept of a class in any case, as far as it goes: enough for folds.
        const FEWEST: usize = 5;
        let n = self.labeled.images.len();
        let mut of_class = vec![Vec::new(); self.labeled.ways];
        for (place, &label) in self.labeled.labels.iter().enumerate() {
            of_class[label as usize].push(place);
        }
        let share = |places: &Vec<usize>| match n <= MOST {
            true => places.len(),
            false => (places.len() * MOST / n).max(places.len().min(FEWEST)),
        };
        let spread = |places: &Vec<usize>| {
            let count = share(places);
            (0..count).map(|number| places[number * places.len() / count]).collect::<Vec<_>>()
        };
        let mut kept: Vec<usize> = of_class.iter().flat_map(spread).collect();
        kept.sort_unstable();
        self.labeled.select(&kept)
    }

    /// What is kept of the images `labeled`, with their features `(n, d)`.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn support(
        &self,
        labeled: &Labeled,
        features: candle_core::Tensor,
        head: Option<&str>,
        held_out: Option<HeldOut>,
    ) -> Result<Support> {
        let image = |&index: &usize| {
            let content = self.dataset.content_hash(index).map_err(taper_learn::LearnError::from)?;
            Ok(SupportImage { name: self.dataset.image_name(index), content })
        };
        let images = labeled.images.iter().map(image).collect::<Result<Vec<_>>>()?;
        Ok(Support { features, labels: labeled.labels.clone(), images, head: head.map(String::from), held_out })
    }
}

/// Scores of the labeled images by heads that `learner` fits to the others, and the state with its logits divided by the
/// temperature that they give. If a class has a single image: `None`, and the state with logits divided by a temperature
/// that is typical of single images; see [`HeldOut::temperature_of_learned`].
///
/// # Errors
/// Returns an error if learning from folds fails.
pub fn calibrated(
    learner: &dyn Adapt,
    inputs: &[Arc<dyn Inputs>],
    labeled: &Labeled,
    network: &Network,
    state: State,
    seed: u64,
) -> Result<(Option<HeldOut>, State)> {
    let plain = inputs[0].as_ref();
    let Some(folds) = default_folds(&labeled.labels, labeled.ways) else {
        if network.output_layer().is_none() {
            return Ok((None, state));
        }
        let temperature = HeldOut::temperature_of_learned(network, &state, plain, labeled)?;
        return Ok((None, cooled(network, state, temperature)?));
    };
    let learn = |kept: &[usize]| labeled.select(kept).batch_through_each(inputs);
    let features = plain.inputs(&labeled.images, None).map_err(taper_learn::LearnError::from)?;
    let similarity = Similarity::new(network, &state, &features)?;
    let held_out = HeldOut::out_of_fold(learner, &learn, plain, labeled, Some(&similarity), folds, seed)?;
    let (held_out, state) = calibrated_by(network, state, held_out)?;
    Ok((Some(held_out), state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_data::{Glyphs, GlyphsSize};

    #[test]
    fn few_images_are_all_kept_and_of_many_an_even_share_of_each_class() {
        let dataset = Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 2 }).unwrap();
        let kept = |n: usize| {
            let labels: Vec<u32> = (0..n).map(|image| if image % 4 == 0 { 1 } else { 0 }).collect();
            let labeled = Labeled { images: (0..n).collect(), labels, ways: 2 };
            LabeledSupport { dataset: &dataset, labeled: &labeled, seed: 0 }.kept()
        };
        assert_eq!(kept(100).images, (0..100).collect::<Vec<_>>());
        let many = kept(40_000);
        assert_eq!(many.images.len(), MOST);
        assert!(many.images.is_sorted() && many.images.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(many.labels.iter().filter(|label| **label == 1).count(), MOST / 4);
    }
}
