//! Transforms as text, `resize(32x32) gray normalize(mean=0.5,std=0.25)`.

use super::{Affine, Filter, Middle, Step, Transform, Warp};
use crate::{DataError, Result};
use std::fmt;
use std::str::FromStr;

const STEPS: &str = "resize, resize-short, center-crop, center, ink, frame, gray, color, invert, normalize, random-crop, \
                     random-resized-crop, flip, random-flip, random-erasing, random-rotate, trivial-augment, random-affine, \
                     task-symmetry, class-warp, random-warp and random-pen";

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resize { width, height, filter: Filter::Bilinear } => write!(f, "resize({width}x{height})"),
            Self::Resize { width, height, filter } => write!(f, "resize({width}x{height},{filter})"),
            Self::ResizeShort { side, filter } => write!(f, "resize-short({side},{filter})"),
            Self::CenterCrop(side) => write!(f, "center-crop({side})"),
            Self::Center(Middle::Mass) => write!(f, "center(mass)"),
            Self::Center(Middle::Box) => write!(f, "center(box)"),
            Self::Ink => write!(f, "ink"),
            Self::Frame { share, side, keep: 0.0 } => write!(f, "frame({share},{side})"),
            Self::Frame { share, side, keep } => write!(f, "frame({share},{side},{keep})"),
            Self::Gray => write!(f, "gray"),
            Self::Color => write!(f, "color"),
            Self::Invert => write!(f, "invert"),
            Self::Normalize { mean, std } => write!(f, "normalize(mean={},std={})", list(mean), list(std)),
            Self::RandomCrop { side, padding } => write!(f, "random-crop({side},{padding})"),
            Self::RandomResizedCrop(side) => write!(f, "random-resized-crop({side})"),
            Self::Flip => write!(f, "flip"),
            Self::RandomFlip => write!(f, "random-flip"),
            Self::RandomErasing(often) => write!(f, "random-erasing({often})"),
            Self::RandomRotate(degrees) => write!(f, "random-rotate({degrees})"),
            Self::TrivialAugment => write!(f, "trivial-augment"),
            Self::RandomAffine(Affine { degrees, shift, scale, shear }) => {
                write!(f, "random-affine(degrees={degrees},shift={shift},scale={scale},shear={shear})")
            }
            Self::TaskSymmetry => write!(f, "task-symmetry"),
            Self::ClassWarp { often, warp } => write!(f, "class-warp(often={often},{warp})"),
            Self::RandomWarp(warp) => write!(f, "random-warp({warp})"),
            Self::RandomPen { low, high } => write!(f, "random-pen({low},{high})"),
        }
    }
}

impl fmt::Display for Warp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { degrees, scale, aspect, slant, shift, bend } = self;
        write!(f, "degrees={degrees},scale={scale},aspect={aspect},slant={slant},shift={shift},bend={bend}")
    }
}

fn list(numbers: &[f32]) -> String {
    numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(",")
}

impl FromStr for Transform {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let mut steps = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let name = rest.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(rest.len());
            let end = if rest[name..].starts_with('(') {
                let unclosed = || DataError::Invalid(format!("`{rest}` lacks its closing bracket: add it"));
                rest.find(')').ok_or_else(unclosed)? + 1
            } else {
                name
            };
            steps.push(rest[..end].parse()?);
            rest = rest[end..].trim_start();
        }
        Self::new(steps)
    }
}

impl FromStr for Step {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let (name, values) = match text.split_once('(') {
            Some((name, values)) => (name, values.strip_suffix(')').unwrap_or(values)),
            None => (text, ""),
        };
        let values: Vec<&str> = values.split(',').map(str::trim).filter(|value| !value.is_empty()).collect();
        let step = match (american(name), values.as_slice()) {
            ("resize", [size, filter @ ..]) if filter.len() < 2 => {
                let (width, height) = size.split_once('x').unwrap_or((size, size));
                let (width, height) = (number(text, width)?, number(text, height)?);
                Self::Resize { width, height, filter: weighting(text, filter)? }
            }
            ("resize-short", [side, filter @ ..]) if filter.len() < 2 => {
                Self::ResizeShort { side: number(text, side)?, filter: weighting(text, filter)? }
            }
            ("center-crop", [side]) => Self::CenterCrop(number(text, side)?),
            ("center", [] | ["mass"]) => Self::Center(Middle::Mass),
            ("center", ["box"]) => Self::Center(Middle::Box),
            ("ink", []) => Self::Ink,
            ("frame", [share, side, keep @ ..]) if keep.len() < 2 => Self::Frame {
                share: number(text, share)?,
                side: number(text, side)?,
                keep: keep.first().map_or(Ok(0.0), |keep| number(text, keep))?,
            },
            ("gray", []) => Self::Gray,
            ("color", []) => Self::Color,
            ("invert", []) => Self::Invert,
            ("normalize", values) => {
                let [mean, std] = named(text, values, ["mean", "std"])?;
                Self::Normalize { mean, std }
            }
            ("random-crop", [side]) => Self::RandomCrop { side: number(text, side)?, padding: 0 },
            ("random-crop", [side, padding]) => {
                Self::RandomCrop { side: number(text, side)?, padding: number(text, padding)? }
            }
            ("random-resized-crop", [side]) => Self::RandomResizedCrop(number(text, side)?),
            ("flip", []) => Self::Flip,
            ("random-flip", []) => Self::RandomFlip,
            ("random-erasing", [often]) => Self::RandomErasing(number(text, often)?),
            ("random-rotate", [degrees]) => Self::RandomRotate(number(text, degrees)?),
            ("trivial-augment", []) => Self::TrivialAugment,
            ("random-affine", values) => {
                let [degrees, shift, scale, shear] = each(text, values, ["degrees", "shift", "scale", "shear"])?;
                Self::RandomAffine(Affine { degrees, shift, scale, shear })
            }
            ("task-symmetry", []) => Self::TaskSymmetry,
            ("class-warp", values) => {
                let names = ["often", "degrees", "scale", "aspect", "slant", "shift", "bend"];
                let [often, degrees, scale, aspect, slant, shift, bend] = each(text, values, names)?;
                Self::ClassWarp { often, warp: Warp { degrees, scale, aspect, slant, shift, bend } }
            }
            ("random-warp", values) => {
                let names = ["degrees", "scale", "aspect", "slant", "shift", "bend"];
                let [degrees, scale, aspect, slant, shift, bend] = each(text, values, names)?;
                Self::RandomWarp(Warp { degrees, scale, aspect, slant, shift, bend })
            }
            ("random-pen", [low, high]) => Self::RandomPen { low: number(text, low)?, high: number(text, high)? },
            _ => return Err(DataError::Invalid(explain(text, name))),
        };
        step.check()?;
        Ok(step)
    }
}

/// The American spelling of a step's name; British ones are aliases.
fn american(name: &str) -> &str {
    match name {
        "centre" => "center",
        "centre-crop" => "center-crop",
        "grey" => "gray",
        "colour" => "color",
        "normalise" => "normalize",
        other => other,
    }
}

/// The filter that a step names, if it names one.
fn weighting(step: &str, names: &[&str]) -> Result<Filter> {
    match names.first() {
        None => Ok(Filter::Bilinear),
        Some(name) => name.parse().map_err(|error| DataError::Invalid(format!("`{step}`: {error}"))),
    }
}

fn number<T: FromStr>(step: &str, text: &str) -> Result<T> {
    text.trim()
        .parse()
        .map_err(|_| DataError::Invalid(format!("`{text}` in `{step}` is not a number that fits: correct it")))
}

/// The numbers for each name: `mean=0.1,0.2,0.3,std=1`, or without names, in their order.
fn named<const N: usize>(step: &str, values: &[&str], names: [&str; N]) -> Result<[Vec<f32>; N]> {
    let mut numbers: [Vec<f32>; N] = std::array::from_fn(|_| Vec::new());
    let mut current = None;
    for (place, value) in values.iter().enumerate() {
        let value = match value.split_once('=') {
            Some((name, value)) => {
                let known = names.iter().position(|known| *known == name.trim());
                current = known.filter(|&known| numbers[known].is_empty());
                if current.is_none() {
                    let names = names.join(" and ");
                    return Err(DataError::Invalid(format!(
                        "`{name}` in `{step}` is unknown or given twice: give {names}"
                    )));
                }
                value
            }
            None => value,
        };
        let Some(numbers) = numbers.get_mut(current.unwrap_or(place)) else {
            return Err(DataError::Invalid(explain(step, step.split('(').next().unwrap_or(step))));
        };
        numbers.push(number(step, value)?);
    }
    Ok(numbers)
}

/// One number for each name, 0 if it is not given.
fn each<const N: usize>(step: &str, values: &[&str], names: [&str; N]) -> Result<[f32; N]> {
    Ok(named(step, values, names)?.map(|numbers| numbers.first().copied().unwrap_or(0.0)))
}

fn explain(step: &str, name: &str) -> String {
    let example = match name {
        "resize" => "resize(32x32)",
        "resize-short" => "resize-short(256,bicubic)",
        "center-crop" => "center-crop(224)",
        "center" => "center(mass) or center(box)",
        "normalize" => "normalize(mean=0.5,std=0.25)",
        "random-crop" => "random-crop(32,4)",
        "random-resized-crop" => "random-resized-crop(224)",
        "random-rotate" => "random-rotate(15)",
        "random-affine" => "random-affine(degrees=10,shift=0.1,scale=0.1,shear=5)",
        "class-warp" => "class-warp(often=0.7,degrees=9,scale=0.1,aspect=0.25,slant=0.2,shift=0,bend=0.05)",
        "random-warp" => "random-warp(degrees=4,scale=0.07,aspect=0.1,slant=0.1,shift=0.02,bend=0.02)",
        "random-pen" => "random-pen(0.25,0.55)",
        "frame" => "frame(0.6,105)",
        "ink" | "gray" | "color" | "invert" | "random-flip" | "trivial-augment" | "task-symmetry" => name,
        _ => return format!("`{step}` is not a step of a transform: use {STEPS}"),
    };
    format!("`{step}` is not understood: write {example}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_texts_are_read_and_written_unchanged() {
        let text = "center-crop(200) resize(32x24) resize(9x8,bicubic) resize-short(256,bicubic) center(box) ink frame(0.6,105) \
                    frame(0.6,35,0.5) gray color invert \
                    random-crop(32,4) random-resized-crop(16) random-flip random-rotate(7.5) trivial-augment \
                    random-affine(degrees=10,shift=0.1,scale=0,shear=5) task-symmetry \
                    class-warp(often=0.7,degrees=9,scale=0.1,aspect=0.25,slant=0.2,shift=0,bend=0.05) \
                    random-warp(degrees=4,scale=0.07,aspect=0.1,slant=0.1,shift=0.02,bend=0.02) random-pen(0.25,0.55) \
                    normalize(mean=0.485,0.456,0.406,std=0.25)";
        let transform: Transform = text.parse().unwrap();
        assert_eq!(transform.steps().len(), 22);
        assert_eq!(transform.to_string(), text);
        assert_eq!("".parse::<Transform>().unwrap().to_string(), "");
    }

    #[test]
    fn short_forms_mean_their_canonical_ones() {
        for (short, canonical) in [
            ("resize(28)", "resize(28x28)"),
            ("  resize( 28 )gray ", "resize(28x28) gray"),
            ("resize-short(64)", "resize-short(64,bilinear)"),
            ("center", "center(mass)"),
            ("random-crop(9)", "random-crop(9,0)"),
            ("normalize( 0.5, 0.25 )", "normalize(mean=0.5,std=0.25)"),
            ("normalize(std=1,mean=.5)", "normalize(mean=0.5,std=1)"),
            ("random-affine(5,0.2)", "random-affine(degrees=5,shift=0.2,scale=0,shear=0)"),
        ] {
            assert_eq!(short.parse::<Transform>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (text, part) in [
            ("resize", "write resize(32x32)"),
            ("resize(0)", "from 1 to 4096"),
            ("resize(-3)", "`-3` in `resize(-3)`"),
            ("resize(99999999999999999999)", "not a number"),
            ("grayish", "use resize"),
            ("gray(1)", "write gray"),
            ("resize(3", "closing bracket"),
            ("resize(3,cubic)", "use bilinear or bicubic"),
            ("gray )", "`)` is not a step"),
            ("normalize(mean=0.5)", "has 0 numbers"),
            ("normalize(mean=0,std=0)", "std of"),
            ("normalize(mean=0,mean=1,std=1)", "given twice"),
            ("normalize(mean=NaN,std=1)", "mean of"),
            ("random-affine(1,2,3,4,5)", "not understood"),
            ("random-rotate(200)", "0 to 180"),
            ("class-warp(often=2)", "from 0 to 1"),
            ("random-pen(0.5,0.2)", "the high level"),
            ("random-pen(0.5)", "write random-pen(0.25,0.55)"),
        ] {
            let error = text.parse::<Transform>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
