//! A description of a data set.

use crate::duplicates::{Duplicate, Likeness, duplicates_of, prints};
use crate::reading::{Part, Reason, counted};
use crate::{Dataset, LeftOut, Result, one_line};
use serde::Serialize;
use std::collections::BTreeMap;

/// Pictures with a shorter side than this, in pixels, are called tiny.
const TINY: usize = 8;
/// Pictures whose contrast, as a standard deviation of 255 levels, is lower are called blank.
const BLANK: f64 = 2.0;
/// Classes are called imbalanced from this ratio of the largest to the smallest on.
const IMBALANCED: usize = 5;
/// The number of names shown as examples of their kind.
const NAMED: usize = 5;

/// A data set, explained. Names are on one line each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The data set's name.
    pub name: String,
    /// The layout in a few words, if the data set is made of files.
    pub layout: Option<String>,
    /// What was decided about the layout, and on what evidence.
    pub why: Vec<String>,
    /// The number of images.
    pub images: usize,
    /// The number of images in each part that has some.
    pub parts: BTreeMap<Part, usize>,
    /// The classes, in order.
    pub classes: Vec<ClassCount>,
    /// The number of images of each size, the most frequent first.
    pub sizes: Vec<SizeCount>,
    /// The number of image files of each format.
    pub formats: BTreeMap<String, usize>,
    /// What was skipped, by reason.
    pub left_out: BTreeMap<Reason, Several>,
    /// Every skipped file, sorted by path.
    pub left_out_files: Vec<LeftOut>,
    /// Pictures that occur more than once.
    pub duplicates: Duplicates,
    /// Pictures without contrast.
    pub blank: Several,
    /// Classes whose pictures are all blank.
    pub blank_classes: Vec<String>,
    /// Pictures with a side of fewer than 8 pixels.
    pub tiny: Several,
    /// Pictures that could be opened but not decoded.
    pub undecodable: Several,
    /// Classes with one training image.
    pub single: Several,
    /// The ratio of the training images of the largest class to those of the smallest.
    pub imbalance: f64,
    /// What a person should know, one line each.
    pub notes: Vec<String>,
}

/// A class and its images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The class's name with its group.
    pub name: String,
    /// Its group; empty if there are no groups.
    pub group: String,
    /// The number of its images.
    pub images: usize,
    /// The number of its images in each part that has some.
    pub parts: BTreeMap<Part, usize>,
}

/// A size and how many images have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SizeCount {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// 1 (gray) or 3 (color).
    pub channels: usize,
    /// The number of images.
    pub images: usize,
}

/// How many there are, and the names of the first five.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Several {
    /// How many there are.
    pub count: usize,
    /// The first names.
    pub first: Vec<String>,
}

impl Several {
    fn of(names: impl Iterator<Item = String>) -> Self {
        let mut several = Self::default();
        names.for_each(|name| several.add(name));
        several
    }

    fn add(&mut self, name: String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(one_line(&name).into_owned());
        }
    }

    /// `a, b, c, …`: the first names.
    fn names(&self) -> String {
        format!("{}{}", self.first.join(", "), if self.count > self.first.len() { ", …" } else { "" })
    }
}

/// Pictures that occur more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Every copy, with the image that it is a copy of.
    pub all: Vec<Duplicate>,
    /// Copies in another part than their original: they make scores too good.
    pub across_parts: Several,
    /// Copies with another label than their original: one of the two is wrong.
    pub across_classes: Several,
    /// Copies in the same part and class.
    pub within: Several,
}

/// Inspects a data set. Every image is decoded once, on all threads.
///
/// # Errors
///
/// Returns an error if the size of an image can't be read.
pub fn inspect(dataset: &dyn Dataset) -> Result<Inspection> {
    let prints = prints(dataset);
    let vectors = dataset.vector(0).is_some();
    let reading = dataset.reading().cloned().unwrap_or_default();
    let count = dataset.labels().len();
    let name = |image: usize| dataset.image_name(image);
    let mut parts = BTreeMap::new();
    let mut classes: Vec<ClassCount> = dataset
        .classes()
        .iter()
        .map(|class| ClassCount {
            name: one_line(&class.full_name()).into_owned(),
            group: one_line(&class.group).into_owned(),
            images: 0,
            parts: BTreeMap::new(),
        })
        .collect();
    let mut sizes: BTreeMap<(usize, usize, usize), usize> = BTreeMap::new();
    let mut tiny = Several::default();
    let mut contrasts: Vec<bool> = vec![true; classes.len()];
    for (image, &label) in dataset.labels().iter().enumerate() {
        let part = dataset.part(image);
        *parts.entry(part).or_insert(0) += 1;
        let class = &mut classes[label as usize];
        class.images += 1;
        *class.parts.entry(part).or_insert(0) += 1;
        let size = dataset.size(image)?;
        *sizes.entry(size).or_insert(0) += 1;
        if size.1.min(size.2) < TINY && !vectors {
            tiny.add(name(image));
        }
        contrasts[label as usize] &= prints[image].as_ref().is_some_and(|print| print.contrast < BLANK);
    }
    let mut sizes: Vec<SizeCount> = sizes
        .into_iter()
        .map(|((channels, height, width), images)| SizeCount { width, height, channels, images })
        .collect();
    sizes.sort_by_key(|size| std::cmp::Reverse(size.images));
    let is_blank = |image: &usize| prints[*image].as_ref().is_some_and(|print| print.contrast < BLANK);
    let training: Vec<usize> =
        classes.iter().map(|class| class.parts.get(&Part::Train).copied().unwrap_or(0)).collect();
    let (fewest, most) = (training.iter().min().copied().unwrap_or(0), training.iter().max().copied().unwrap_or(0));
    let mut left_out: BTreeMap<Reason, Several> = BTreeMap::new();
    for file in &reading.left_out {
        left_out.entry(file.reason).or_default().add(file.path.clone());
    }
    let single = classes.iter().zip(&training).filter(|&(_, &count)| count == 1);
    let mut inspection = Inspection {
        name: dataset.name().to_string(),
        layout: dataset.reading().map(|reading| reading.layout.clone()),
        why: reading.why,
        images: count,
        parts,
        sizes,
        formats: reading.formats,
        left_out,
        left_out_files: reading.left_out,
        duplicates: gathered(dataset, duplicates_of(dataset, &prints)),
        blank: Several::of((0..count).filter(is_blank).map(name)),
        blank_classes: classes
            .iter()
            .zip(contrasts)
            .filter(|(_, blank)| *blank)
            .map(|(class, _)| class.name.clone())
            .collect(),
        tiny,
        undecodable: Several::of((0..count).filter(|&image| prints[image].is_none() && !vectors).map(name)),
        single: Several::of(single.map(|(class, _)| class.name.clone())),
        imbalance: most as f64 / fewest.max(1) as f64,
        notes: dataset.notes().to_vec(),
        classes,
    };
    let told = inspection.found(most, fewest);
    inspection.notes.extend(told);
    Ok(inspection)
}

/// The duplicates, by what they affect.
fn gathered(dataset: &dyn Dataset, all: Vec<Duplicate>) -> Duplicates {
    let mut duplicates = Duplicates::default();
    for found in &all {
        let how = match found.likeness {
            Likeness::SameFile | Likeness::SamePixels => "=",
            Likeness::Copy => "is a copy of",
            Likeness::Mirrored => "mirrors",
        };
        let name = format!("{} {how} {}", dataset.image_name(found.copy), dataset.image_name(found.original));
        let (parts, classes) = (found.across_parts, found.across_classes);
        if parts {
            duplicates.across_parts.add(name.clone());
        }
        if classes {
            duplicates.across_classes.add(name.clone());
        }
        if !parts && !classes {
            duplicates.within.add(name);
        }
    }
    duplicates.all = all;
    duplicates
}

impl Inspection {
    /// Notes on what was found in the pictures.
    fn found(&self, most: usize, fewest: usize) -> Vec<String> {
        let mut notes = Vec::new();
        let mut tell = |several: &Several, noun: &str, what: &str| {
            if several.count > 0 {
                let what = format!("{} {what}", counted(several.count, noun));
                notes.push(format!("{}: {}", what.trim_end(), several.names()));
            }
        };
        tell(&self.duplicates.across_parts, "copy", "of an image in another part");
        tell(&self.duplicates.across_classes, "copy", "of an image in another class");
        tell(&self.duplicates.within, "copy", "of another image in the same class");
        tell(&self.blank, "blank image", "");
        tell(&Several::of(self.blank_classes.iter().cloned()), "class", "with only blank images");
        tell(&self.tiny, "image", "smaller than 8 pixels");
        tell(&self.undecodable, "image", "that can't be decoded");
        tell(&self.single, "class", "with one training image");
        if most >= IMBALANCED * fewest.max(1) {
            let named = |count: usize| {
                let class =
                    self.classes.iter().find(|class| class.parts.get(&Part::Train).copied().unwrap_or(0) == count);
                class.map_or("", |class| class.name.as_str())
            };
            notes.push(format!(
                "classes are imbalanced: {} has {most} training images, {} has {fewest}",
                named(most),
                named(fewest)
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, GrayImage, ImageFormat, Luma};
    use std::fs;

    fn put(root: &std::path::Path, name: &str, image: GrayImage) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        DynamicImage::from(image).save_with_format(path, ImageFormat::Png).unwrap();
    }

    fn ramp(side: u32, step: u32) -> GrayImage {
        GrayImage::from_fn(side, side, |x, y| Luma([(x * step + y * y * (step + 3)) as u8]))
    }

    #[test]
    fn an_inspection_explains_everything_about_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for image in 0..12 {
            put(root, &format!("train/red/{image}.png"), ramp(16, 3 + image));
        }
        put(root, "train/blue\n/1.png", ramp(20, 2));
        put(root, "train/clear/1.png", GrayImage::from_pixel(16, 16, Luma([255])));
        put(root, "train/clear/2.png", GrayImage::from_pixel(16, 17, Luma([255])));
        put(root, "train/blue\n/2.png", ramp(16, 3));
        put(root, "val/red/copy.png", ramp(16, 4));
        put(root, "val/red/tiny.png", GrayImage::from_fn(3, 9, |x, y| Luma([(x * 80 + y) as u8])));
        fs::write(root.join("train/red/cut.png"), b"\x89PNG\r\n").unwrap();
        fs::write(root.join("README.md"), b"words").unwrap();
        let data = crate::open(root).unwrap();
        let found = inspect(data.as_ref()).unwrap();
        assert_eq!((found.images, &found.parts), (18, &BTreeMap::from([(Part::Train, 16), (Part::Validation, 2)])));
        assert_eq!(found.classes[0].name, "blue\\n", "names are on one line");
        assert_eq!((found.classes[2].images, found.classes[2].parts[&Part::Validation]), (14, 2));
        assert_eq!((found.sizes[0].width, found.sizes[0].images), (16, 15));
        assert_eq!(found.formats, BTreeMap::from([("PNG".to_string(), 18)]));
        assert_eq!(found.duplicates.across_parts.first, ["val/red/copy.png = train/red/1.png"]);
        assert_eq!(found.duplicates.across_classes.first, ["train/red/0.png = train/blue\\n/2.png"]);
        assert_eq!((found.blank.count, &found.blank_classes), (2, &vec!["clear".to_string()]));
        assert_eq!(found.tiny.first, ["val/red/tiny.png"]);
        assert_eq!((found.left_out[&Reason::Unreadable].count, found.left_out[&Reason::Document].count), (1, 1));
        assert_eq!(found.imbalance, 6.0);
        let notes = found.notes.join("\n");
        for told in [
            "red has 12 training images",
            "1 copy of an image in another part: val/red/copy.png",
            "2 blank images: ",
            "train/red/cut.png",
        ] {
            assert!(notes.contains(told), "{told}: {notes}");
        }
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!((&json["parts"]["train"], &json["left_out"]["unreadable"]["count"]), (&16.into(), &1.into()));
    }
}
