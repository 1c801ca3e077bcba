//! Pictures that occur more than once: the same file, the same pixels in another file, or a
//! resized, re-encoded or mirrored copy.
//!
//! Copies are looked for by a difference hash of 64 bits (Krawetz 2013, "Kind of like that"): the
//! picture is averaged down to 9 by 8 gray values, and each bit says whether a value is larger than
//! the one to its right. Pictures whose hashes differ in few bits are compared as 16 by 16 and 32 by 32
//! colors, and count as copies if these correlate and agree in color and contrast almost perfectly, and nowhere
//! differ far more than elsewhere: a camera on a stand sees the same scene with another object in it.
//!
//! A mirrored copy in another class is another picture: classes may be mirror images, as left and right hands are.

use crate::{Dataset, Hash, Image, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Hashes that differ in more bits are not compared further.
const BITS: u32 = 10;
/// The side of the pictures that are compared.
const SIDE: usize = 16;
/// The finer side.
const FINE_SIDE: usize = 32;
/// With fewer pixels to a place along either side, places of a copy may differ because it was resized.
const PIXELS: usize = 4;
/// What copies share at `SIDE`. The limits of places were chosen on copies of 160 photographs, re-encoded, resized, sharpened and changed in color:
/// 99% or more are found, 93% of those resized without smoothing. A square with a part of another photograph tells a photograph from itself in 83%
/// of the cases if it has 4% of its shorter side, in 99% from 8% on; a square that is 30 levels lighter or darker in 86% from 10% on, in 96% from 20% on.
const COARSE: Agreement = Agreement { correlation: 0.99, place: 0.45, times: 6.0 };
/// What copies share at `FINE_SIDE`, if they have enough pixels for that.
const FINE: Agreement = Agreement { correlation: -1.0, place: 0.4, times: 14.0 };
/// What copies of small pictures share at `FINE_SIDE`: these have no finer details that would tell them apart.
const SMALL: Agreement = Agreement { correlation: 0.995, ..ANYWHERE };
/// No limits.
const ANYWHERE: Agreement = Agreement { correlation: -1.0, place: f64::INFINITY, times: 0.0 };
/// Squares of two by two places at `SIDE` differ by at most this many standard deviations.
const SQUARE: f64 = 0.3;
/// Copies differ in their mean red, green and blue by at most this many of 255 levels.
const BRIGHTNESS: f64 = 8.0;
/// Copies' contrasts, as standard deviations, have at most this ratio.
const CONTRAST: f64 = 1.15;
/// Pictures of less contrast, in levels, are blank and not compared.
const BLANK: f64 = 2.0;
/// Up to this many pictures, every pair of hashes is compared; in larger sets only pairs that share 16
/// of the 64 bits as a block that few others have, which finds pairs that differ in up to 3 bits.
const ALL_PAIRS: usize = 60_000;

/// How two pictures are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Likeness {
    /// The same bytes.
    SameFile,
    /// The same pixels in other bytes.
    SamePixels,
    /// Resized or re-encoded.
    Copy,
    /// A copy mirrored left to right, in the same class.
    Mirrored,
}

/// Two images of a data set that show the same picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Duplicate {
    /// The image that is kept: one of the training part if there is one, else the first.
    pub original: usize,
    /// The other image.
    pub copy: usize,
    /// How they are the same.
    pub likeness: Likeness,
    /// Whether they are in different parts.
    pub across_parts: bool,
    /// Whether they have different labels.
    pub across_classes: bool,
}

/// A summary of a picture's pixels.
#[derive(Debug, Clone)]
pub(crate) struct Print {
    pub(crate) file: Hash,
    pub(crate) pixels: Hash,
    bits: u64,
    mirrored_bits: u64,
    /// At a side of `SIDE`.
    coarse: Thumbnail,
    /// At a side of `FINE_SIDE`.
    fine: Thumbnail,
    /// The picture's shorter side, in pixels.
    side: usize,
    /// Standard deviation of the picture's own samples, in levels.
    pub(crate) contrast: f64,
}

/// What two thumbnails of the same picture share.
#[derive(Debug, Clone, Copy)]
struct Agreement {
    /// They correlate at least this much.
    correlation: f64,
    /// No place differs by more than this many standard deviations, as the root of the mean square of its red, green and blue …
    place: f64,
    /// … or, where the whole pictures differ, by more than this many times the root of the mean square of all places.
    times: f64,
}

impl Agreement {
    /// With this share of the difference of a place.
    fn times(self, tolerance: f64) -> Self {
        Self { place: tolerance * self.place, ..self }
    }
}

/// A square picture.
#[derive(Debug, Clone)]
struct Thumbnail {
    side: usize,
    /// Red, green and blue values, `(side, side, 3)`.
    values: Vec<u8>,
    /// Mean red, green and blue.
    color: [f64; 3],
    /// Standard deviation around them.
    contrast: f64,
}

impl Thumbnail {
    /// Of samples `(side, side, channels)`.
    fn new(small: &[f32], side: usize, channels: usize) -> Self {
        let color = |pixel: &[f32]| [0, 1, 2].map(|channel: usize| pixel[channel.min(channels - 1)].round() as u8);
        let values: Vec<u8> = small.chunks_exact(channels).flat_map(color).collect();
        let count = values.len() as f64;
        let color = [0, 1, 2]
            .map(|channel| values.iter().skip(channel).step_by(3).map(|&v| f64::from(v)).sum::<f64>() / (count / 3.0));
        let off = |(at, &value): (usize, &u8)| (f64::from(value) - color[at % 3]).powi(2);
        let variance = values.iter().enumerate().map(off).sum::<f64>() / count;
        Self { side, values, color, contrast: variance.sqrt() }
    }

    /// Whether another picture of the same side, or its mirror image, agrees with this one.
    ///
    /// Of values scaled to mean 0 and variance 1, the mean squared difference is twice what the correlation lacks to
    /// 1. It only grows from row to row, so most pairs are told apart by their first rows.
    fn agrees(&self, other: &Self, mirrored: bool, least: Agreement) -> bool {
        let most = 2.0 * (1.0 - least.correlation) * self.values.len() as f64;
        let (mut sum, mut largest) = (0.0, 0.0f64);
        for row in 0..self.side {
            for column in 0..self.side {
                let squares: f64 =
                    self.difference(other, mirrored, row, column).map(|value| value * value).iter().sum();
                sum += squares;
                largest = largest.max(squares / 3.0);
            }
            if sum > most {
                return false;
            }
        }
        let mean = sum / self.values.len() as f64;
        largest <= least.place.powi(2) || largest <= least.times.powi(2) * mean
    }

    /// The largest difference of a square of two by two places, in standard deviations: what is lighter or darker over a larger part.
    fn largest_square(&self, other: &Self, mirrored: bool) -> f64 {
        let of_square = |(row, column)| {
            let places = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(down, right)| (row + down, column + right));
            let differences = places.map(|(row, column)| self.difference(other, mirrored, row, column));
            let squares =
                |channel: usize| (differences.iter().map(|values| values[channel]).sum::<f64>() / 4.0).powi(2);
            ((squares(0) + squares(1) + squares(2)) / 3.0).sqrt()
        };
        let steps = || (0..self.side).step_by(2);
        steps().flat_map(|row| steps().map(move |column| (row, column))).map(of_square).fold(0.0, f64::max)
    }

    /// How red, green and blue of a place differ, each scaled to mean 0 and variance 1.
    fn difference(&self, other: &Self, mirrored: bool, row: usize, column: usize) -> [f64; 3] {
        let its_column = if mirrored { self.side - 1 - column } else { column };
        let [own, its] = [column, its_column].map(|column| 3 * (row * self.side + column));
        [0, 1, 2].map(|channel| {
            (f64::from(self.values[own + channel]) - self.color[channel]) / self.contrast
                - (f64::from(other.values[its + channel]) - other.color[channel]) / other.contrast
        })
    }
}

impl Print {
    fn of(file: Hash, image: &Image) -> Self {
        let channels = image.channels;
        let fine = averaged(&image.pixels, (image.height, image.width, channels), FINE_SIDE, FINE_SIDE);
        let coarse = averaged(&fine, (FINE_SIDE, FINE_SIDE, channels), SIDE, SIDE);
        let coarse = Thumbnail::new(&coarse, SIDE, channels);
        let luma =
            |pixel: &[u8]| 0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2]);
        let gray: Vec<f32> = coarse.values.chunks_exact(3).map(luma).collect();
        let hashed = averaged(&gray, (SIDE, SIDE, 1), 9, 8);
        let mut size = Vec::with_capacity(image.pixels.len() + 24);
        for side in [image.channels, image.height, image.width] {
            size.extend((side as u64).to_le_bytes());
        }
        size.extend(&image.pixels);
        Self {
            file,
            pixels: Hash::of(&size),
            bits: bits(&hashed, false),
            mirrored_bits: bits(&hashed, true),
            contrast: deviation(image),
            coarse,
            fine: Thumbnail::new(&fine, FINE_SIDE, channels),
            side: image.height.min(image.width),
        }
    }

    /// Whether the other picture is a copy of this one, by their thumbnails. If it is in another class, they must agree better: there
    /// is more evidence that they are not the same.
    fn is_copy(&self, other: &Self, mirrored: bool, of_one_class: bool) -> bool {
        let tolerance = if of_one_class { 1.0 } else { 0.5 };
        let (own, its) = (&self.coarse, &other.coarse);
        if own.contrast.min(its.contrast) < BLANK
            || own.color.iter().zip(its.color).any(|(own, its)| (own - its).abs() > BRIGHTNESS)
            || own.contrast.max(its.contrast) > CONTRAST * own.contrast.min(its.contrast)
        {
            return false;
        }
        let smaller = self.side.min(other.side);
        let coarse =
            if smaller < PIXELS * SIDE { Agreement { correlation: COARSE.correlation, ..ANYWHERE } } else { COARSE };
        let fine = match smaller {
            _ if self.side.max(other.side) <= FINE_SIDE => SMALL,
            _ if smaller < PIXELS * FINE_SIDE => ANYWHERE,
            _ => FINE,
        };
        own.agrees(its, mirrored, coarse.times(tolerance))
            && (smaller < PIXELS * SIDE || own.largest_square(its, mirrored) <= tolerance * SQUARE)
            && self.fine.agrees(&other.fine, mirrored, fine.times(tolerance))
    }
}

/// The standard deviation of an image's samples around the mean of their channel.
fn deviation(image: &Image) -> f64 {
    let count = (image.pixels.len() / image.channels) as f64;
    let variance = |channel: usize| {
        let samples = image.pixels.iter().skip(channel).step_by(image.channels);
        let (sum, squares) =
            samples.fold((0u64, 0u64), |(sum, squares), &v| (sum + u64::from(v), squares + u64::from(v).pow(2)));
        squares as f64 / count - (sum as f64 / count).powi(2)
    };
    ((0..image.channels).map(variance).sum::<f64>() / image.channels as f64).max(0.0).sqrt()
}

/// Samples `(h, w, c)` averaged over areas, to `(height, width, c)`.
fn averaged<T: Copy + Into<f32>>(
    samples: &[T],
    (from_height, from_width, channels): (usize, usize, usize),
    width: usize,
    height: usize,
) -> Vec<f32> {
    let (across, down) = (shares(from_width, width), shares(from_height, height));
    // rows first: each input sample is read once
    let mut rows = vec![0.0f32; from_height * width * channels];
    for (row, samples) in samples.chunks_exact(from_width * channels).enumerate() {
        for (x, (first, weights)) in across.iter().enumerate() {
            let out = &mut rows[(row * width + x) * channels..][..channels];
            for (pixel, weight) in samples[first * channels..].chunks_exact(channels).zip(weights) {
                out.iter_mut().zip(pixel).for_each(|(sum, &sample)| *sum += weight * sample.into());
            }
        }
    }
    let mut out = vec![0.0f32; height * width * channels];
    for (line, (first, weights)) in out.chunks_exact_mut(width * channels).zip(&down) {
        for (offset, weight) in weights.iter().enumerate() {
            let row = &rows[(first + offset) * width * channels..][..width * channels];
            line.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    out
}

/// For each of `to` equal pieces of a line of `from` samples: the first sample in it, and the share
/// of each.
fn shares(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let piece = from as f64 / to as f64;
    (0..to)
        .map(|place| {
            let (start, end) = (place as f64 * piece, (place + 1) as f64 * piece);
            let first = (start as usize).min(from - 1);
            let last = (end.ceil() as usize).clamp(first + 1, from);
            let share = |sample: usize| (end.min((sample + 1) as f64) - start.max(sample as f64)).max(0.0) / piece;
            (first, (first..last).map(|sample| share(sample) as f32).collect())
        })
        .collect()
}

/// The difference hash of 9 by 8 gray values, or of their mirror image.
fn bits(gray: &[f32], mirrored: bool) -> u64 {
    let mut bits = 0;
    for row in gray.chunks_exact(9) {
        for x in 0..8 {
            let (left, right) = if mirrored { (row[8 - x], row[7 - x]) } else { (row[x], row[x + 1]) };
            bits = bits << 1 | u64::from(left > right);
        }
    }
    bits
}

/// The summaries of all images, in order; `None` for one that can't be decoded.
pub(crate) fn prints(dataset: &dyn Dataset) -> Vec<Option<Print>> {
    if dataset.vector(0).is_some() {
        return vec![None; dataset.labels().len()];
    }
    let print = |index: usize| {
        let image = dataset.image(index).ok().filter(|image| !image.pixels.is_empty())?;
        Some(Print::of(dataset.content_hash(index).ok()?, &image))
    };
    (0..dataset.labels().len()).into_par_iter().map(print).collect()
}

/// Pictures that are in the data set more than once: each copy with the image that it is a copy of,
/// sorted by copy. Images that can't be decoded are skipped, and so are mirrored copies in another class.
///
/// Every image is decoded once.
///
/// # Errors
///
/// Currently none; reserved for data sets whose images cannot be compared.
pub fn duplicates(dataset: &dyn Dataset) -> Result<Vec<Duplicate>> {
    Ok(duplicates_of(dataset, &prints(dataset)))
}

/// [`duplicates`], from existing summaries.
pub(crate) fn duplicates_of(dataset: &dyn Dataset, prints: &[Option<Print>]) -> Vec<Duplicate> {
    if dataset.vector(0).is_some() {
        return same_vectors(dataset);
    }
    // training images come first, so that the copy is always the image to skip
    let mut order: Vec<usize> = (0..prints.len()).filter(|&image| prints[image].is_some()).collect();
    order.sort_by_key(|&image| (dataset.part(image), image));
    let ordered: Vec<&Print> = order.iter().filter_map(|&image| prints[image].as_ref()).collect();
    let mut found = same_pixels(&ordered);
    let single: Vec<usize> = (0..ordered.len()).filter(|place| !found.contains_key(place)).collect();
    let one_class = |one: usize, other: usize| dataset.labels()[order[one]] == dataset.labels()[order[other]];
    found.extend(near_copies(&ordered, &single, one_class));
    let mut duplicates: Vec<Duplicate> = found
        .into_iter()
        .map(|(copy, (original, likeness))| {
            let (original, copy) = (order[original], order[copy]);
            Duplicate {
                original,
                copy,
                likeness,
                across_parts: dataset.part(original) != dataset.part(copy),
                across_classes: dataset.labels()[original] != dataset.labels()[copy],
            }
        })
        .collect();
    duplicates.sort_by_key(|duplicate| duplicate.copy);
    duplicates
}

/// Pictures of the same pixels as an earlier one: the first of them, by the place of the later one.
fn same_pixels(prints: &[&Print]) -> BTreeMap<usize, (usize, Likeness)> {
    let mut firsts: BTreeMap<Hash, usize> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (place, print) in prints.iter().enumerate() {
        match firsts.get(&print.pixels) {
            Some(&first) => {
                let same = prints[first].file == print.file;
                found.insert(place, (first, if same { Likeness::SameFile } else { Likeness::SamePixels }));
            }
            None => {
                firsts.insert(print.pixels, place);
            }
        }
    }
    found
}

/// Copies among these places, each with the first that it is a copy of.
fn near_copies(
    prints: &[&Print],
    places: &[usize],
    one_class: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<(usize, (usize, Likeness))> {
    let copies: Vec<Option<(usize, Likeness)>> = if places.len() <= ALL_PAIRS {
        let earlier = |at: usize| copy_of(prints, places[at], places[..at].iter().copied(), &one_class);
        (0..places.len()).into_par_iter().map(earlier).collect()
    } else {
        let blocks = Blocks::new(prints, places);
        let earlier =
            |&place: &usize| copy_of(prints, place, blocks.near(prints[place], place).into_iter(), &one_class);
        places.par_iter().map(earlier).collect()
    };
    places.iter().zip(copies).filter_map(|(&place, copy)| Some((place, copy?))).collect()
}

/// Vectors that are there more than once.
fn same_vectors(dataset: &dyn Dataset) -> Vec<Duplicate> {
    let mut order: Vec<usize> = (0..dataset.labels().len()).collect();
    order.sort_by_key(|&item| (dataset.part(item), item));
    let mut firsts: BTreeMap<Hash, usize> = BTreeMap::new();
    let mut duplicates = Vec::new();
    for item in order {
        let Ok(hash) = dataset.content_hash(item) else { continue };
        match firsts.get(&hash) {
            None => {
                firsts.insert(hash, item);
            }
            Some(&original) => duplicates.push(Duplicate {
                original,
                copy: item,
                likeness: Likeness::SameFile,
                across_parts: dataset.part(original) != dataset.part(item),
                across_classes: dataset.labels()[original] != dataset.labels()[item],
            }),
        }
    }
    duplicates.sort_by_key(|duplicate| duplicate.copy);
    duplicates
}

/// The images of `other` that show a picture of `dataset`: the same file, the same pixels, or a resized,
/// re-encoded or mirrored copy, ascending. Images that can't be decoded are passed over.
///
/// # Errors
///
/// Returns an error if an item of two data sets of vectors can't be read.
pub fn shared_pictures(dataset: &dyn Dataset, other: &dyn Dataset) -> Result<Vec<usize>> {
    let (own, theirs) = (prints(dataset), prints(other));
    let all: Vec<&Print> = own.iter().flatten().chain(theirs.iter().flatten()).collect();
    let first = own.iter().flatten().count();
    let pixels: BTreeSet<[u8; 32]> = all[..first].iter().map(|print| print.pixels.0).collect();
    let places: Vec<usize> = (0..theirs.len()).filter(|&image| theirs[image].is_some()).collect();
    let is_shared = |number: usize| {
        pixels.contains(&all[first + number].pixels.0) || copy_of(&all, first + number, 0..first, |_, _| true).is_some()
    };
    let shared: Vec<bool> = (0..places.len()).into_par_iter().map(is_shared).collect();
    Ok(places.into_iter().zip(shared).filter(|(_, shared)| *shared).map(|(image, _)| image).collect())
}

/// The first of `others` that the picture is a copy of; if there is none, the first of the same class, as `one_class` says of
/// two places, of which it is a mirrored copy.
fn copy_of(
    prints: &[&Print],
    place: usize,
    others: impl Iterator<Item = usize> + Clone,
    one_class: impl Fn(usize, usize) -> bool,
) -> Option<(usize, Likeness)> {
    let print = prints[place];
    let near = |other: usize, bits: u64| (prints[other].bits ^ bits).count_ones() <= BITS;
    let is_copy =
        |&other: &usize| near(other, print.bits) && prints[other].is_copy(print, false, one_class(place, other));
    let is_mirrored = |&other: &usize| {
        near(other, print.mirrored_bits) && one_class(place, other) && prints[other].is_copy(print, true, true)
    };
    let copy = others.clone().find(is_copy).map(|other| (other, Likeness::Copy));
    copy.or_else(|| others.clone().find(is_mirrored).map(|other| (other, Likeness::Mirrored)))
}

/// Pictures by 16-bit blocks of their hashes.
struct Blocks {
    by_block: Vec<BTreeMap<u16, Vec<usize>>>,
}

impl Blocks {
    fn new(prints: &[&Print], places: &[usize]) -> Self {
        let mut by_block = vec![BTreeMap::new(); 4];
        for &place in places {
            for (block, map) in by_block.iter_mut().enumerate() {
                map.entry((prints[place].bits >> (16 * block)) as u16).or_insert_with(Vec::new).push(place);
            }
        }
        Self { by_block }
    }

    /// Earlier pictures that share a block with the picture or its mirror image, in order.
    fn near(&self, print: &Print, before: usize) -> Vec<usize> {
        /// Blocks shared by more pictures, such as those of blank areas, are uninformative.
        const COMMON: usize = 2000;
        let mut near: Vec<usize> = [print.bits, print.mirrored_bits]
            .iter()
            .flat_map(|bits| {
                self.by_block
                    .iter()
                    .enumerate()
                    .filter_map(move |(block, map)| map.get(&((bits >> (16 * block)) as u16)))
            })
            .filter(|places| places.len() <= COMMON)
            .flatten()
            .copied()
            .filter(|&place| place < before)
            .collect();
        near.sort_unstable();
        near.dedup();
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::Toy;
    use rand::Rng;
    use taper_ops::rng;

    /// Two classes of images; the last `held_out` are for validation.
    fn toy(images: Vec<(Image, u32)>, held_out: usize) -> Toy {
        let held_out = (images.len() - held_out..images.len()).collect();
        Toy { held_out, ..Toy::new(&[("", "a"), ("", "b")], images) }
    }

    fn thumbnail(image: &Image, side: usize) -> Thumbnail {
        let small = averaged(&image.pixels, (image.height, image.width, image.channels), side, side);
        Thumbnail::new(&small, side, image.channels)
    }

    /// A picture of six disks that the seed draws, of any size, as it is or mirrored.
    fn disc(seed: u64, side: usize, mirrored: bool) -> Image {
        let rng = &mut rng(seed, "disks", 0);
        let disks: Vec<[f64; 4]> = (0..6).map(|_| rng.random()).collect();
        let mut pixels = Vec::new();
        for row in 0..side {
            for column in 0..side {
                let x = (column as f64 + 0.5) / side as f64;
                let (x, y) = (if mirrored { 1.0 - x } else { x }, (row as f64 + 0.5) / side as f64);
                let inside = disks.iter().find(|[x0, y0, radius, _]| (x - x0).hypot(y - y0) < 0.1 + 0.2 * radius);
                let level = inside.map_or(200.0, |disk| 180.0 * disk[3]);
                pixels.extend([level as u8, (level * 0.8) as u8, 90]);
            }
        }
        Image { width: side, height: side, channels: 3, pixels }
    }

    #[test]
    fn resized_mirrored_and_repeated_copies_are_found_across_parts() {
        let mut images: Vec<(Image, u32)> = (0..8).map(|seed| (disc(seed, 48, false), 0)).collect();
        images.push((disc(0, 48, false), 0));
        images.push((disc(1, 64, false), 0));
        images.push((disc(2, 48, true), 0));
        images.push((disc(3, 64, false), 1));
        let found = duplicates(&toy(images, 4)).unwrap();
        let pairs: Vec<(usize, usize, Likeness)> =
            found.iter().map(|found| (found.copy, found.original, found.likeness)).collect();
        assert_eq!(
            pairs,
            [(8, 0, Likeness::SameFile), (9, 1, Likeness::Copy), (10, 2, Likeness::Mirrored), (11, 3, Likeness::Copy)]
        );
        assert!(found.iter().all(|found| found.across_parts));
        assert_eq!(found.iter().map(|found| found.across_classes).collect::<Vec<_>>(), [false, false, false, true]);
    }

    #[test]
    fn classes_that_are_mirror_images_are_not_copies_of_each_other() {
        let images = (0..6).map(|image| (disc(image / 2, 48, image % 2 == 1), image as u32 % 2)).collect();
        assert_eq!(duplicates(&toy(images, 0)).unwrap(), []);
    }

    /// The picture with another color in a square: the shares of its side and of its place.
    fn with_square(image: &Image, side: f64, (left, top): (f64, f64), color: impl Fn(u8) -> u8) -> Image {
        let mut image = image.clone();
        let place = |share: f64| (share * image.width as f64) as usize;
        for row in place(top)..place(top + side) {
            for column in place(left)..place(left + side) {
                let pixel = &mut image.pixels[3 * (row * image.width + column)..][..3];
                pixel.iter_mut().for_each(|value| *value = color(*value));
            }
        }
        image
    }

    /// The picture with stronger edges between the columns.
    fn sharpened(image: &Image) -> Image {
        let at = |index: usize| i32::from(image.pixels[index]);
        let sharp = |index: usize| match index.checked_sub(3) {
            Some(left) => (at(index) + (at(index) - at(left)) / 2).clamp(0, 255) as u8,
            None => image.pixels[index],
        };
        Image { pixels: (0..image.pixels.len()).map(sharp).collect(), ..image.clone() }
    }

    #[test]
    fn one_scene_with_another_object_is_not_a_copy_and_one_that_is_noisy_or_sharper_is() {
        for (seed, side) in (0..12).flat_map(|seed| [(seed, 160), (seed, 96)]) {
            let scene = disc(seed, side, false);
            let mut noisy = scene.clone();
            let rng = &mut rng(seed, "noise", 0);
            noisy.pixels.iter_mut().for_each(|value| *value = value.saturating_add_signed(rng.random_range(-1..=1)));
            // less than half the contrast: the correlation and single places allow it
            let contrast = thumbnail(&scene, SIDE).contrast;
            let lighter = |value: u8| value.saturating_add((0.4 * contrast) as u8);
            let small = if side == 160 { 0.06 } else { 0.1 };
            let objects = [
                with_square(&noisy, small, (0.3, 0.7), |value| value / 2 + 120),
                with_square(&noisy, 0.15, (0.1, 0.4), |value| value / 2 + 120),
                with_square(&noisy, 0.25, (0.5, 0.25), lighter),
            ];
            let mut images: Vec<(Image, u32)> = vec![(scene.clone(), 0), (noisy.clone(), 0), (sharpened(&scene), 0)];
            images.extend(objects.map(|object| (object, 1)));
            let found = duplicates(&toy(images, 0)).unwrap();
            let pairs: Vec<(usize, usize)> = found.iter().map(|found| (found.copy, found.original)).collect();
            assert_eq!(pairs, [(1, 0), (2, 0)], "scene {seed} of {side} pixels");
        }
    }

    #[test]
    fn a_plain_copy_is_found_before_an_earlier_mirrored_one() {
        let images = vec![(disc(1, 48, true), 1), (disc(1, 48, false), 0), (disc(1, 96, false), 1)];
        let found = duplicates(&toy(images, 0)).unwrap();
        assert_eq!((found.len(), found[0].original, found[0].likeness), (1, 1, Likeness::Copy));
    }

    #[test]
    fn a_correlation_is_told_from_a_lower_one_by_the_first_rows_or_all() {
        let (one, two) = (thumbnail(&disc(1, 48, false), 16), thumbnail(&disc(1, 60, true), 16));
        let other = thumbnail(&disc(2, 48, false), 16);
        // as Pearson's formula has it
        let correlation = |a: &Thumbnail, b: &Thumbnail| {
            let product =
                |at: usize| (f64::from(a.values[at]) - a.color[at % 3]) * (f64::from(b.values[at]) - b.color[at % 3]);
            (0..a.values.len()).map(product).sum::<f64>() / a.values.len() as f64 / (a.contrast * b.contrast)
        };
        let least = |correlation: f64| Agreement { correlation, ..ANYWHERE };
        for (a, b) in [(&one, &other), (&one, &one), (&two, &other)] {
            let exact = correlation(a, b);
            assert!(a.agrees(b, false, least(exact - 1e-9)) && !a.agrees(b, false, least(exact + 1e-9)), "{exact}");
        }
        assert!(one.agrees(&two, true, least(0.99)) && !one.agrees(&two, false, least(0.99)));
    }

    #[test]
    fn blocks_find_the_same_copies_as_all_pairs() {
        let images: Vec<Image> =
            (0..20).map(|seed| disc(seed, 48, false)).chain([disc(3, 90, false), disc(4, 48, true)]).collect();
        let prints: Vec<Print> = images.iter().map(|image| Print::of(Hash::of(&image.pixels), image)).collect();
        let prints: Vec<&Print> = prints.iter().collect();
        let places: Vec<usize> = (0..prints.len()).collect();
        let blocks = Blocks::new(&prints, &places);
        for &place in &places {
            let any = |_, _| true;
            let all = copy_of(&prints, place, 0..place, any);
            assert_eq!(copy_of(&prints, place, blocks.near(prints[place], place).into_iter(), any), all, "{place}");
        }
        assert_eq!(copy_of(&prints, 20, 0..20, |_, _| true), Some((3, Likeness::Copy)));
    }

    #[test]
    fn blank_pictures_are_the_same_only_by_their_pixels() {
        let blank = |level: u8| Image { width: 20, height: 20, channels: 3, pixels: [level, 9, 90].repeat(400) };
        let images = vec![(blank(250), 0), (blank(251), 1), (blank(250), 1)];
        let found = duplicates(&toy(images, 0)).unwrap();
        assert_eq!((found.len(), found[0].copy, found[0].across_classes), (1, 2, true));
    }

    #[test]
    fn averaging_keeps_the_mean_of_any_size() {
        for (width, height) in [(1, 1), (3, 5), (16, 16), (100, 7)] {
            let pixels: Vec<u8> = (0..width * height).map(|place| (place * 37 % 251) as u8).collect();
            let mean = pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / pixels.len() as f64;
            let small = averaged(&pixels, (height, width, 1), 16, 16);
            let small_mean = small.iter().map(|&v| f64::from(v)).sum::<f64>() / small.len() as f64;
            assert!((mean - small_mean).abs() < 0.01, "{width}x{height}: {mean} {small_mean}");
        }
    }
}
