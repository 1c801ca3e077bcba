//! One step of a transform.

use super::distortion::{Map, pen};
use super::drawing::{frame, ink};
use super::planes::{Raster, clamp, window};
use super::resize::{resize, resize_part};
use super::trivial_augment::trivial_augment;
use super::{Affine, AugmentRngs, Filter, Middle, Planes, Warp, center::center as move_to_center, warp::warp};
use crate::{DataError, Result};
use rand::Rng as _;
use taper_ops::Rng;

/// The largest side of an image that a transform may produce.
const LARGEST_SIDE: usize = 4096;

/// One step of a [`Transform`](crate::Transform); its text form is given after each.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// To a size, whatever the proportions; `resize(32x24)` is 32 wide and 24 high, `resize(32)`
    /// square; `resize(32x24,bicubic)`.
    Resize {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// How pixels are weighted.
        filter: Filter,
    },
    /// The shorter side to a length, proportions kept; `resize-short(256,bilinear)`.
    ResizeShort {
        /// The shorter side's pixels.
        side: usize,
        /// How pixels are weighted.
        filter: Filter,
    },
    /// The square of this side in the middle; `center-crop(224)`.
    CenterCrop(usize),
    /// A line drawing moved to the middle; `center(mass)` or `center(box)`.
    Center(Middle),
    /// A gray line drawing as light ink on dark, whatever its colors: 1 where the difference from the
    /// background is at least half of the largest difference, else 0; `ink`.
    Ink,
    /// The square around the ink of a light drawing on dark, resized; the longer side of the ink takes
    /// up a share of it; `frame(0.6,105)`. The third number keeps some of the drawing's size: with
    /// `frame(0.6,35,0.5)` a drawing four times as large becomes twice as large.
    Frame {
        /// The ink's share of the side.
        share: f32,
        /// Pixels down and across.
        side: usize,
        /// How much the ink keeps of its size relative to the image: from 0, with exactly that share, to
        /// 1, with the image's own square.
        keep: f32,
    },
    /// One channel: ITU-R 601 luma, with the weights of Pillow's `L`; `gray`.
    Gray,
    /// Three channels; a gray image is repeated; `color`.
    Color,
    /// Black to white and white to black; `invert`.
    Invert,
    /// Minus the mean, divided by the standard deviation; `normalize(mean=0.5,std=0.25)`, or three
    /// numbers each, one per channel.
    Normalize {
        /// One number, or one per channel.
        mean: Vec<f32>,
        /// One number, or one per channel.
        std: Vec<f32>,
    },
    /// A random square of the image, after its edge was continued on all sides;
    /// `random-crop(32,4)`.
    RandomCrop {
        /// Pixels down and across.
        side: usize,
        /// Pixels by which the edge is continued.
        padding: usize,
    },
    /// A part of 8% to 100% of the area, of proportions from 3:4 to 4:3, resized to a square
    /// (Szegedy et al. 2015, section 6); `random-resized-crop(224)`.
    RandomResizedCrop(usize),
    /// Mirrored left to right; `flip`.
    Flip,
    /// Mirrored left to right with probability 1/2; `random-flip`.
    RandomFlip,
    /// With this probability, a rectangle of 2% to 33% of the area, of proportions from 3:10 to 10:3,
    /// becomes gray (Zhong et al. 2020, with torchvision's proportions); `random-erasing(0.5)`.
    RandomErasing(f32),
    /// Rotated by up to this many degrees in either direction; `random-rotate(15)`.
    RandomRotate(f32),
    /// One operation, such as a shift, a rotation or more contrast, at a random strength (Müller and Hutter
    /// 2021, in the wide space); `trivial-augment`.
    TrivialAugment,
    /// Rotated, shifted, scaled and sheared; `random-affine(degrees=10,shift=0.1,scale=0.1,shear=5)`.
    RandomAffine(Affine),
    /// One of the eight symmetries of the square, the same for all images of a task: each turns an
    /// alphabet into another; `task-symmetry`. Does nothing outside of tasks; if a classifier is
    /// pretrained, its classes are those of [`Symmetries`](crate::Symmetries).
    TaskSymmetry,
    /// Distorted in the same way in all images of a class of a task, which makes new classes;
    /// `class-warp(often=0.7,degrees=9,scale=0.1,aspect=0.25,slant=0.2,shift=0,bend=0.05)`.
    /// Does nothing outside of tasks.
    ClassWarp {
        /// The share of classes that are distorted.
        often: f32,
        /// How much.
        warp: Warp,
    },
    /// Distorted, each image in its own way;
    /// `random-warp(degrees=4,scale=0.07,aspect=0.1,slant=0.1,shift=0.02,bend=0.02)`.
    RandomWarp(Warp),
    /// Lines redrawn by a thinner or thicker pen: blurred over 5x5 pixels, then black and white by
    /// a level between the two; `random-pen(0.25,0.55)`.
    RandomPen {
        /// The lowest level.
        low: f32,
        /// The highest level.
        high: f32,
    },
}

impl Step {
    /// Whether the step is random.
    pub fn is_random(&self) -> bool {
        use Step::{
            ClassWarp, RandomAffine, RandomCrop, RandomErasing, RandomFlip, RandomPen, RandomResizedCrop, RandomRotate,
            RandomWarp, TaskSymmetry, TrivialAugment,
        };
        matches!(
            self,
            RandomCrop { .. }
                | RandomResizedCrop(_)
                | RandomFlip
                | RandomErasing(_)
                | RandomRotate(_)
                | TrivialAugment
                | RandomAffine(_)
                | TaskSymmetry
                | ClassWarp { .. }
                | RandomWarp(_)
                | RandomPen { .. }
        )
    }

    /// The source of each target pixel, for steps that only move pixels; consecutive steps of this kind
    /// are resampled together. The inner `None` means that there is no generator to draw the map from.
    pub(crate) fn map(&self, rngs: &mut AugmentRngs) -> Option<Option<Map>> {
        Some(match *self {
            Self::TaskSymmetry => rngs.task().map(|mut rng| Map::symmetry(&mut rng)),
            Self::ClassWarp { often, warp } => {
                rngs.class().and_then(|mut rng| (rng.random::<f32>() < often).then(|| Map::warp(warp, &mut rng)))
            }
            Self::RandomWarp(warp) => rngs.image().map(|rng| Map::warp(warp, rng)),
            _ => return None,
        })
    }

    /// Checks the numbers of the step. Fails if they are invalid for every image.
    pub(crate) fn check(&self) -> Result<()> {
        let side = |pixels: usize| {
            within(self, "a side", pixels as f64, 1.0, LARGEST_SIDE as f64)?;
            Ok(())
        };
        match self {
            Self::Resize { width, height, .. } => side(*width).and_then(|()| side(*height)),
            Self::ResizeShort { side: pixels, .. } | Self::CenterCrop(pixels) | Self::RandomResizedCrop(pixels) => {
                side(*pixels)
            }
            Self::RandomCrop { side: pixels, padding } => {
                side(*pixels)?;
                within(self, "the padding", *padding as f64, 0.0, LARGEST_SIDE as f64)
            }
            Self::Normalize { mean, std } => {
                for numbers in [mean, std] {
                    if ![1, 3].contains(&numbers.len()) {
                        let count = numbers.len();
                        return Err(DataError::Invalid(format!("`{self}` has {count} numbers: give one or three")));
                    }
                }
                mean.iter().try_for_each(|&mean| within(self, "mean", mean.into(), -1e6, 1e6))?;
                std.iter().try_for_each(|&std| within(self, "std", std.into(), 1e-6, 1e6))
            }
            Self::RandomErasing(often) => within(self, "how often", (*often).into(), 0.0, 1.0),
            Self::RandomRotate(degrees) => within(self, "degrees", (*degrees).into(), 0.0, 180.0),
            Self::RandomAffine(most) => {
                within(self, "degrees", most.degrees.into(), 0.0, 180.0)?;
                within(self, "shift", most.shift.into(), 0.0, 1.0)?;
                within(self, "scale", most.scale.into(), 0.0, 0.9)?;
                within(self, "shear", most.shear.into(), 0.0, 80.0)
            }
            Self::Frame { share, side: pixels, keep } => {
                side(*pixels)?;
                within(self, "what is kept", (*keep).into(), 0.0, 1.0)?;
                within(self, "the share", (*share).into(), 0.05, 1.0)
            }
            Self::ClassWarp { often, warp } => {
                within(self, "often", (*often).into(), 0.0, 1.0)?;
                self.check_warp(*warp)
            }
            Self::RandomWarp(warp) => self.check_warp(*warp),
            Self::RandomPen { low, high } => {
                within(self, "the low level", (*low).into(), 0.01, 0.99)?;
                within(self, "the high level", (*high).into(), (*low).into(), 0.99)
            }
            Self::Ink
            | Self::TaskSymmetry
            | Self::Center(_)
            | Self::Gray
            | Self::Color
            | Self::Invert
            | Self::Flip
            | Self::RandomFlip
            | Self::TrivialAugment => Ok(()),
        }
    }

    fn check_warp(&self, warp: Warp) -> Result<()> {
        within(self, "degrees", warp.degrees.into(), 0.0, 180.0)?;
        let parts = [("scale", warp.scale), ("aspect", warp.aspect), ("slant", warp.slant)];
        let lengths = [("shift", warp.shift), ("bend", warp.bend)];
        parts.iter().chain(&lengths).try_for_each(|&(what, deviation)| within(self, what, deviation.into(), 0.0, 1.0))
    }

    /// The size `(c, h, w)` after the step.
    pub(crate) fn shape(&self, (channels, height, width): (usize, usize, usize)) -> Result<(usize, usize, usize)> {
        match *self {
            Self::Resize { width, height, .. } => Ok((channels, height, width)),
            Self::ResizeShort { side, .. } => {
                let (height, width) = short_side(height, width, side);
                Ok((channels, height, width))
            }
            Self::CenterCrop(side) => {
                self.fits(side, 0, height, width)?;
                Ok((channels, side, side))
            }
            Self::RandomCrop { side, padding } => {
                self.fits(side, padding, height, width)?;
                Ok((channels, side, side))
            }
            Self::RandomResizedCrop(side) | Self::Frame { side, .. } => Ok((channels, side, side)),
            Self::Ink if channels != 1 => Err(DataError::Invalid(format!(
                "`{self}` takes one channel and the image has {channels}: put gray before it"
            ))),
            Self::Gray => Ok((1, height, width)),
            Self::Color => Ok((3, height, width)),
            Self::Normalize { ref mean, ref std } if channels != 3 && mean.len().max(std.len()) == 3 => {
                Err(DataError::Invalid(format!(
                    "`{self}` has numbers for 3 channels but the image has {channels} channel: put color before it or give one number"
                )))
            }
            _ => Ok((channels, height, width)),
        }
    }

    fn fits(&self, side: usize, padding: usize, height: usize, width: usize) -> Result<()> {
        if height.min(width) + 2 * padding < side {
            return Err(DataError::Invalid(format!(
                "`{self}` is larger than an image of {width}x{height}: put resize before it"
            )));
        }
        Ok(())
    }

    /// Whether the step changes each pixel independently, so that a crop may go before it.
    pub(super) fn is_pointwise(&self) -> bool {
        matches!(self, Self::Gray | Self::Color | Self::Invert)
    }

    /// Whether the step crops without resizing.
    pub(super) fn is_crop(&self) -> bool {
        matches!(self, Self::CenterCrop(_) | Self::RandomCrop { .. })
    }

    /// Whether the step resizes the whole image.
    pub(super) fn is_resize(&self) -> bool {
        matches!(self, Self::Resize { .. } | Self::ResizeShort { .. })
    }

    /// Applies the step to a stored image or to planes, for steps that read a part of it or
    /// resize it; then `crop`, and computes only the pixels that it keeps. `None` for other steps.
    pub(super) fn sample<R: Raster>(
        &self,
        source: &R,
        crop: Option<&Self>,
        rngs: &mut AugmentRngs,
    ) -> Result<Option<Planes>> {
        let (_, from_height, from_width) = source.shape();
        let (_, height, width) = self.shape(source.shape())?;
        Ok(Some(match (self, rngs.image()) {
            (Self::Resize { filter, .. } | Self::ResizeShort { filter, .. }, rng) => match crop {
                None => resize(source, height, width, *filter),
                Some(crop) => {
                    crop.shape((1, height, width))?;
                    let corner = crop.corner(height, width, rng);
                    crop_of_resized(source, (height, width), *filter, corner, crop.crop_side())
                }
            },
            (Self::CenterCrop(side) | Self::RandomCrop { side, .. }, rng) => {
                let (top, left) = self.corner(from_height, from_width, rng);
                window(source, top, left, *side, *side)
            }
            (Self::RandomResizedCrop(side), Some(rng)) => {
                let (top, left, height, width) = random_part(from_height, from_width, rng);
                resize(&window(source, top, left, height, width), *side, *side, Filter::Bilinear)
            }
            (Self::RandomResizedCrop(side), None) => {
                let (height, width) = short_side(from_height, from_width, *side);
                let corner = (center(height, *side), center(width, *side));
                crop_of_resized(source, (height, width), Filter::Bilinear, corner, *side)
            }
            _ => return Ok(None),
        }))
    }

    /// Pixels down and across of what a crop keeps.
    fn crop_side(&self) -> usize {
        match *self {
            Self::CenterCrop(side) | Self::RandomCrop { side, .. } => side,
            _ => 0,
        }
    }

    /// Top and left of what a crop keeps of an image of `height` by `width`.
    fn corner(&self, height: usize, width: usize, rng: Option<&mut Rng>) -> (isize, isize) {
        match (self, rng) {
            (Self::RandomCrop { side, padding }, Some(rng)) => {
                let mut corner =
                    |size: usize| rng.random_range(0..=size + 2 * padding - side) as isize - *padding as isize;
                let top = corner(height);
                (top, corner(width))
            }
            _ => (center(height, self.crop_side()), center(width, self.crop_side())),
        }
    }

    /// Applies the step to `planes`, for steps that [`Step::sample`] does not handle.
    pub(crate) fn apply(&self, planes: Planes, rngs: &mut AugmentRngs) -> Result<Planes> {
        self.shape(planes.shape())?;
        Ok(match (self, rngs.image()) {
            (Self::Center(middle), _) => move_to_center(&planes, *middle),
            (Self::Ink, _) => ink(&planes)?,
            (Self::Frame { share, side, keep }, _) => frame(&planes, *share, *side, *keep),
            (Self::Gray, _) => gray(planes),
            (Self::Color, _) if planes.channels == 1 => {
                Planes { channels: 3, values: planes.values.repeat(3), ..planes }
            }
            (Self::Invert, _) => planes.map(|value| 1.0 - value),
            (Self::Flip, _) => mirrored(&planes),
            (Self::Normalize { mean, std }, _) => normalize(planes, mean, std),
            (Self::RandomFlip, Some(rng)) => {
                if rng.random::<bool>() {
                    mirrored(&planes)
                } else {
                    planes
                }
            }
            (Self::RandomErasing(often), Some(rng)) => erased(planes, *often, rng),
            (Self::RandomRotate(degrees), Some(rng)) => {
                warp(&planes, Affine { degrees: *degrees, shift: 0.0, scale: 0.0, shear: 0.0 }, rng)
            }
            (Self::TrivialAugment, Some(rng)) => trivial_augment(planes, rng),
            (Self::RandomAffine(most), Some(rng)) => warp(&planes, *most, rng),
            (Self::RandomPen { low, high }, Some(rng)) => pen(&planes, rng.random_range(*low..=*high)),
            (
                Self::Resize { .. }
                | Self::ResizeShort { .. }
                | Self::CenterCrop(_)
                | Self::RandomCrop { .. }
                | Self::RandomResizedCrop(_)
                | Self::Color
                | Self::RandomFlip
                | Self::RandomErasing(_)
                | Self::RandomRotate(_)
                | Self::TrivialAugment
                | Self::RandomAffine(_)
                | Self::RandomPen { .. }
                | Self::TaskSymmetry
                | Self::ClassWarp { .. }
                | Self::RandomWarp(_),
                _,
            ) => planes,
        })
    }
}

/// The square of `side` at (`top`, `left`) of `source` resized to `height` by `width`; pixels
/// outside continue the edge. Nothing else of the resized image is computed.
fn crop_of_resized<R: Raster>(
    source: &R,
    (height, width): (usize, usize),
    filter: Filter,
    (top, left): (isize, isize),
    side: usize,
) -> Planes {
    let inside = |from: isize, size: usize| clamp(from, size)..clamp(from + side as isize - 1, size) + 1;
    let (rows, columns) = (inside(top, height), inside(left, width));
    let (first_row, first_column) = (rows.start as isize, columns.start as isize);
    let part = resize_part(source, (height, width), filter, rows, columns);
    if (part.height, part.width) == (side, side) {
        return part;
    }
    window(&part, top - first_row, left - first_column, side, side)
}

fn within(step: &Step, what: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(DataError::Invalid(format!("{what} of `{step}` is {value}: use a value from {least} to {most}")))
}

/// Mirrored left to right.
fn mirrored(planes: &Planes) -> Planes {
    let width = planes.width;
    planes.draw(planes.height, width, |plane, row, column| plane[row * width + width - 1 - column])
}

/// Height and width with the shorter one `side`; the other is rounded down, as torchvision does.
fn short_side(height: usize, width: usize, side: usize) -> (usize, usize) {
    if height <= width { (side, side * width / height) } else { (side * height / width, side) }
}

/// Where the middle `side` of `size` pixels begins. Half a pixel goes to the even neighbor, as
/// torchvision does.
fn center(size: usize, side: usize) -> isize {
    ((size as f64 - side as f64) / 2.0).round_ties_even() as isize
}

pub(super) fn gray(planes: Planes) -> Planes {
    if planes.channels == 1 {
        return planes;
    }
    // Pillow's integers, in parts of 2^16.
    let weights = [19595.0, 38470.0, 7471.0].map(|weight: f32| weight / 65536.0);
    let mut values = vec![0.0; planes.height * planes.width];
    for (plane, weight) in planes.each().zip(weights) {
        values.iter_mut().zip(plane).for_each(|(sum, value)| *sum += weight * value);
    }
    Planes { channels: 1, values, ..planes }
}

fn normalize(mut planes: Planes, mean: &[f32], std: &[f32]) -> Planes {
    let size = planes.height * planes.width;
    for (channel, plane) in planes.values.chunks_exact_mut(size).enumerate() {
        let (mean, std) = (mean[channel % mean.len()], std[channel % std.len()]);
        plane.iter_mut().for_each(|value| *value = (*value - mean) / std);
    }
    planes
}

/// With probability `often`, a random rectangle becomes gray; unchanged if ten draws don't fit.
fn erased(mut planes: Planes, often: f32, rng: &mut Rng) -> Planes {
    const GRAY: f32 = 0.5;
    let area = (planes.height * planes.width) as f64;
    if rng.random::<f32>() >= often {
        return planes;
    }
    for _ in 0..10 {
        let part = area * rng.random_range(0.02..=0.33);
        let proportion = rng.random_range(0.3f64.ln()..=3.3f64.ln()).exp();
        let (height, width) =
            ((part * proportion).sqrt().round() as usize, (part / proportion).sqrt().round() as usize);
        if (1..planes.width).contains(&width) && (1..planes.height).contains(&height) {
            let top = rng.random_range(0..=planes.height - height);
            let left = rng.random_range(0..=planes.width - width);
            let across = planes.width;
            for plane in planes.values.chunks_exact_mut(planes.height * across) {
                let rows = plane.chunks_exact_mut(across).skip(top).take(height);
                rows.for_each(|row| row[left..left + width].fill(GRAY));
            }
            return planes;
        }
    }
    planes
}

/// Top, left, height and width of a part of random area, proportions and place; of the largest square
/// in the middle if ten draws don't fit.
fn random_part(from_height: usize, from_width: usize, rng: &mut Rng) -> (isize, isize, usize, usize) {
    let area = (from_height * from_width) as f64;
    for _ in 0..10 {
        let part = area * rng.random_range(0.08..=1.0);
        let proportion = rng.random_range((3.0f64 / 4.0).ln()..=(4.0f64 / 3.0).ln()).exp();
        let (width, height) =
            ((part * proportion).sqrt().round() as usize, (part / proportion).sqrt().round() as usize);
        if (1..=from_width).contains(&width) && (1..=from_height).contains(&height) {
            let top = rng.random_range(0..=from_height - height);
            let left = rng.random_range(0..=from_width - width);
            return (top as isize, left as isize, height, width);
        }
    }
    let side = from_height.min(from_width);
    (center(from_height, side), center(from_width, side), side, side)
}
