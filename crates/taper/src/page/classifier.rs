//! What a classifier answered, as figures: which classes are confused, the most confident errors, how often
//! probabilities are right, and a map of the images.

use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use taper_data::{Dataset, one_line};
use taper_learn::evaluation::{Answers, ReliabilityBin, expected_calibration_error};
use taper_learn::heads::PrincipalPlane;
use taper_ops::map_in_order;
use taper_report::{
    Calibration, CalibrationBin, ConfusedPair, Confusion, ErrorPicture, Figure, Map, MapPoint, Section, Thumbnail,
    WorstErrors,
};

/// Pairs of classes with pictures, and pictures of each.
const PAIRS: usize = 6;
const PICTURES_OF_PAIR: usize = 3;
/// Pictures of errors, and on the map.
const ERRORS: usize = 18;
const ON_MAP: usize = 24;
/// Probabilities that are off by less are called right.
const NOTABLE: f64 = 0.03;
/// Of fewer images, no deviation means little.
const FEW: usize = 50;
/// Ranges of probability.
const BINS: usize = 10;

/// Answers about images of a data set.
pub(crate) struct Answered<'a> {
    pub(crate) answers: &'a Answers,
    /// Names of the labels.
    pub(crate) classes: &'a [String],
    pub(crate) dataset: &'a dyn Dataset,
    /// The images in a few words, such as `validation images`.
    pub(crate) images: &'a str,
    /// Who classified them, such as `by ridge`.
    pub(crate) how: &'a str,
}

impl Answered<'_> {
    /// The figures.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub(crate) fn sections(&self) -> Result<Vec<Section>> {
        let Self { answers, .. } = self;
        if answers.images.is_empty() {
            return Ok(Vec::new());
        }
        let pairs = self.pairs();
        let errors: Vec<usize> = match answers.probabilities.is_empty() {
            true => Vec::new(),
            false => answers.errors().into_iter().take(ERRORS).collect(),
        };
        let features = &answers.features.places;
        let every = features.len().div_ceil(ON_MAP).max(1);
        let on_map: BTreeSet<usize> = features.iter().step_by(every).copied().collect();
        let shown = pairs.iter().flat_map(|(_, places)| places.iter().take(PICTURES_OF_PAIR)).chain(&errors);
        let pictures = self.thumbnails(&shown.chain(&on_map).copied().collect())?;
        let mut sections = vec![self.confusion(&pairs, &pictures)?];
        let worst: Vec<ErrorPicture> = errors.iter().filter_map(|place| self.picture(*place, &pictures)).collect();
        if !worst.is_empty() {
            sections.push(Section {
                title: "The most confident errors".into(),
                text: format!(
                    "Of the {}, those whose wrong class has the highest probability. Some may be labeled wrongly.",
                    self.images
                ),
                figure: Figure::WorstErrors(WorstErrors { pictures: worst }),
            });
        }
        sections.extend(self.calibration());
        sections.extend(self.map(&pictures, &on_map)?);
        Ok(sections)
    }

    /// The pairs of classes that are confused most often, with the places of their images, the most confident first.
    fn pairs(&self) -> Vec<((u32, u32), Vec<usize>)> {
        let mut pairs: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
        for place in self.answers.errors() {
            pairs.entry((self.answers.labels[place], self.answers.predicted[place])).or_default().push(place);
        }
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then(a.0.cmp(&b.0)));
        pairs.truncate(PAIRS);
        pairs
    }

    fn confusion(&self, pairs: &[((u32, u32), Vec<usize>)], pictures: &BTreeMap<usize, Thumbnail>) -> Result<Section> {
        let confusion = self.answers.confusion(self.classes.len())?;
        let right = (0..self.classes.len()).map(|class| confusion.counts()[class][class]).sum::<usize>();
        let pair = |((class, predicted), places): &((u32, u32), Vec<usize>)| ConfusedPair {
            class: self.name(*class),
            predicted: self.name(*predicted),
            images: places.len(),
            pictures: places.iter().take(PICTURES_OF_PAIR).filter_map(|place| self.picture(*place, pictures)).collect(),
        };
        Ok(Section {
            title: self.most_confused(pairs),
            text: format!(
                "{right} of {} {} are classified correctly {}.",
                self.answers.images.len(),
                self.images,
                self.how
            ),
            figure: Figure::Confusion(Confusion {
                classes: (0..self.classes.len() as u32).map(|class| self.name(class)).collect(),
                counts: confusion.counts().to_vec(),
                pairs: pairs.iter().map(pair).collect(),
            }),
        })
    }

    /// The pair of classes that is confused most often, or that no single one is.
    fn most_confused(&self, pairs: &[((u32, u32), Vec<usize>)]) -> String {
        let most = pairs.first().map_or(0, |(_, places)| places.len());
        let tied: Vec<String> = pairs
            .iter()
            .take_while(|(_, places)| places.len() == most)
            .map(|((class, predicted), _)| format!("{} taken for {}", self.name(*class), self.name(*predicted)))
            .collect();
        match (tied.as_slice(), most) {
            ([], _) => "No image is classified wrongly".into(),
            ([pair], 1) => format!("One image is classified wrongly: {pair}"),
            ([pair], _) => format!("Most often confused: {pair}"),
            (_, 1) => "No pair of classes is confused more than once".into(),
            ([one, other], _) => format!("Most often confused, {most} times each: {one}, {other}"),
            ([one, other, ..], _) => format!("Most often confused, {most} times each: {one}, {other} and others"),
        }
    }

    fn calibration(&self) -> Option<Section> {
        let bins = self.answers.reliability(BINS);
        let error = expected_calibration_error(&bins);
        let bin = |bin: &ReliabilityBin| {
            let ReliabilityBin { from, to, images, probability, right } = *bin;
            CalibrationBin { from, to, images, probability, right }
        };
        let answered = self.answers.images.len();
        let images = answered.max(1) as f64;
        let sum = |of: fn(&ReliabilityBin) -> f64| bins.iter().map(|bin| bin.images as f64 * of(bin)).sum::<f64>();
        let over = sum(|bin| bin.probability - bin.right) / images;
        // two standard errors of the share of right answers, if the probabilities are right; less is chance
        let chance = 2.0 * sum(|bin| bin.probability * (1.0 - bin.probability)).sqrt() / images;
        let title = match over.abs() > chance.max(NOTABLE) {
            true if over > 0.0 => "Probabilities are too high",
            true => "Probabilities are too low",
            false if answered < FEW => "How often probabilities are right",
            false => "Probabilities match how often answers are right",
        };
        (!bins.is_empty()).then(|| Section {
            title: title.into(),
            text: format!("{} {}, by the probability of the predicted class.", self.answers.images.len(), self.images),
            figure: Figure::Calibration(Calibration { bins: bins.iter().map(bin).collect(), expected_error: error }),
        })
    }

    fn map(&self, pictures: &BTreeMap<usize, Thumbnail>, on_map: &BTreeSet<usize>) -> Result<Option<Section>> {
        let features = &self.answers.features;
        if features.rows.len() < 3 {
            return Ok(None);
        }
        let plane = PrincipalPlane::of(&features.rows)?;
        let point = |(&place, at): (&usize, &[f64; 2])| MapPoint {
            name: self.image_name(place),
            class: self.answers.labels[place] as usize,
            at: *at,
            thumbnail: pictures.get(&place).filter(|_| on_map.contains(&place)).cloned(),
        };
        Ok(Some(Section {
            title: "Which images the network sees as alike".into(),
            text: format!("{} of {} {}.", features.rows.len(), self.answers.images.len(), self.images),
            figure: Figure::Map(Map {
                classes: (0..self.classes.len() as u32).map(|class| self.name(class)).collect(),
                points: features.places.iter().zip(&plane.places).map(point).collect(),
                variance: plane.variance,
            }),
        }))
    }

    /// Thumbnails of the images at these places; none if the data are vectors.
    fn thumbnails(&self, places: &BTreeSet<usize>) -> Result<BTreeMap<usize, Thumbnail>> {
        if self.dataset.vector(0).is_some() {
            return Ok(BTreeMap::new());
        }
        let places: Vec<usize> = places.iter().copied().collect();
        let made = map_in_order(&places, |_, &place| -> Result<Thumbnail> {
            let image = self.dataset.image(self.answers.images[place])?;
            Ok(Thumbnail::of(image.width, image.height, image.channels, image.pixels)?)
        });
        places.into_iter().zip(made).map(|(place, thumbnail)| Ok((place, thumbnail?))).collect()
    }

    fn picture(&self, place: usize, pictures: &BTreeMap<usize, Thumbnail>) -> Option<ErrorPicture> {
        Some(ErrorPicture {
            name: self.image_name(place),
            class: self.name(self.answers.labels[place]),
            predicted: self.name(self.answers.predicted[place]),
            probability: self.answers.probabilities.get(place).map(|&probability| f64::from(probability)),
            thumbnail: pictures.get(&place)?.clone(),
        })
    }

    fn name(&self, class: u32) -> String {
        self.classes.get(class as usize).map_or_else(String::new, |name| one_line(name).into_owned())
    }

    fn image_name(&self, place: usize) -> String {
        one_line(&self.dataset.image_name(self.answers.images[place])).into_owned()
    }
}
