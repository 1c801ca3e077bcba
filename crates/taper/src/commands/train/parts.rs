//! The images to learn from, and those that the figure is made on.

use crate::args::Usage;
use crate::output::Output;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use taper_data::{Dataset, Hash, images_by_class};
use taper_learn::Labeled;
use taper_ops::{permutation, rng};

/// Training and validation images, none in both.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) training: Labeled,
    pub(crate) validation: Labeled,
}

/// As the data set sets them apart, or a `share` of each class; pictures that are in both parts are
/// named and left out of validation.
pub(crate) fn parts(dataset: &dyn Dataset, share: f64, seed: u64, output: &Output) -> Result<Parts> {
    let mut validation = dataset.held_out().to_vec();
    if validation.is_empty() {
        validation = drawn(dataset, share, seed)?;
    }
    validation.sort_unstable();
    let training: Vec<usize> =
        (0..dataset.labels().len()).filter(|image| validation.binary_search(image).is_err()).collect();
    if training.is_empty() {
        bail!("{}: has no images to train on, put some beside the validation part", dataset.name());
    }
    let labeled = |images: Vec<usize>| Labeled {
        labels: images.iter().map(|&image| dataset.labels()[image]).collect(),
        images,
        ways: dataset.classes().len(),
    };
    check_classes(dataset, &training, output)?;
    let validation = without_copies(dataset, &training, validation, output)?;
    Ok(Parts { training: labeled(training), validation: labeled(validation) })
}

/// A share of each class.
fn drawn(dataset: &dyn Dataset, share: f64, seed: u64) -> Result<Vec<usize>> {
    if !(0.0..1.0).contains(&share) || share == 0.0 {
        return Err(Usage(format!("--validation {share} is no share of the images, use 0.2")).into());
    }
    let mut validation = Vec::new();
    for (class, images) in images_by_class(dataset).into_iter().enumerate() {
        let count = ((images.len() as f64 * share).round() as usize).max(1);
        if images.len() < 2 {
            bail!(
                "class `{}` has {} image, it needs at least 2: one to train on, one to validate",
                dataset.classes()[class].full_name(),
                images.len()
            );
        }
        let order = permutation(&mut rng(seed, "validation part", class as u64), images.len());
        validation.extend(order[..count].iter().map(|&place| images[place]));
    }
    Ok(validation)
}

/// Errs when a class has nothing to train on; tells when classes are very unequal.
fn check_classes(dataset: &dyn Dataset, training: &[usize], output: &Output) -> Result<()> {
    /// From here on a classifier does well by favoring the large class.
    const UNEQUAL: usize = 5;
    let mut counts = vec![0; dataset.classes().len()];
    training.iter().for_each(|&image| counts[dataset.labels()[image] as usize] += 1);
    let name = |class: usize| dataset.classes()[class].full_name();
    if let Some(class) = counts.iter().position(|&count| count == 0) {
        bail!(
            "class `{}` is in the validation part and not in the training part: add images to train on, or remove it",
            name(class)
        );
    }
    let (fewest, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
    if most >= UNEQUAL * fewest {
        let at = |count: usize| counts.iter().position(|&other| other == count).map(name).unwrap_or_default();
        output.note(format!(
            "classes are very unequal ({} has {most} images, {} has {fewest}): look at macro-F1, which counts each class alike, and try --balance",
            at(most),
            at(fewest)
        ));
    }
    Ok(())
}

/// The validation images that are no training image too, by content.
fn without_copies(
    dataset: &dyn Dataset,
    training: &[usize],
    validation: Vec<usize>,
    output: &Output,
) -> Result<Vec<usize>> {
    const SHOWN: usize = 3;
    let known: BTreeMap<Hash, usize> =
        training.iter().map(|&image| Ok((dataset.content_hash(image)?, image))).collect::<Result<_>>()?;
    let mut kept = Vec::with_capacity(validation.len());
    let mut copies = Vec::new();
    for image in validation {
        match known.get(&dataset.content_hash(image)?) {
            Some(&twin) => copies.push((image, twin)),
            None => kept.push(image),
        }
    }
    if !copies.is_empty() {
        let name =
            |&(image, twin): &(usize, usize)| format!("{} = {}", dataset.image_name(image), dataset.image_name(twin));
        let shown: Vec<String> = copies.iter().take(SHOWN).map(name).collect();
        output.note(format!(
            "{} validation image(s) are training images too and left out of the figure: {}{}",
            copies.len(),
            shown.join(", "),
            if copies.len() > SHOWN { ", …" } else { "" }
        ));
    }
    if kept.is_empty() {
        bail!("{}: every validation image is a training image too, give others to validate on", dataset.name());
    }
    Ok(kept)
}
