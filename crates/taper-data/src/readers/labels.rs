//! From a label and a part for each file to the layout of a data set.

use super::bad_file;
use super::layout::{Layout, Place};
use super::names::some_of;
use super::source::Listed;
use crate::reading::counted;
use crate::{Class, Part, Reason, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What is said about the files, one entry per file.
pub(super) struct Labels {
    /// The label, and the part that the file belongs to; `None` if it has no label.
    pub(super) of_files: Vec<Option<(String, Part)>>,
    /// Files with two labels.
    pub(super) conflicting: BTreeSet<usize>,
    /// Where the labels come from (`the table`), for messages.
    pub(super) from: &'static str,
}

impl Labels {
    /// The layout of the files: the classes of the training part, and what is left out. `layout` has what was
    /// found out before.
    ///
    /// # Errors
    ///
    /// Returns an error about `path` if no file is to train on.
    pub(super) fn layout(self, path: &Path, files: &[Listed], mut layout: Layout) -> Result<Layout> {
        let Self { of_files, conflicting, from } = self;
        if !conflicting.is_empty() {
            let names = some_of(conflicting.iter().map(|&image: &usize| &files[image].name));
            let images = counted(conflicting.len(), "image");
            layout.notes.push(format!("{images} with two labels in {from} left out: {names}"));
        }
        let without = files.iter().zip(&of_files).filter(|(_, label)| label.is_none());
        let without: Vec<&str> = without.map(|(file, _)| file.name.as_str()).collect();
        if !without.is_empty() {
            let images = counted(without.len(), "image");
            layout.notes.push(format!("{images} without a label left out: {}", some_of(&without)));
        }
        let train: BTreeSet<&String> =
            of_files.iter().flatten().filter(|(_, part)| *part == Part::Train).map(|(label, _)| label).collect();
        if train.is_empty() {
            let problem = format!("has no image with a label to train on: check the labels in {from}");
            return Err(bad_file(path, problem));
        }
        let numbers: BTreeMap<&String, u32> = (0..).zip(&train).map(|(number, label)| (*label, number)).collect();
        let mut unknown: BTreeMap<&String, usize> = BTreeMap::new();
        for (image, label) in of_files.iter().enumerate() {
            let left_out = |reason, detail: String| Place::LeftOut(reason, detail);
            layout.places.push(match label {
                _ if conflicting.contains(&image) => {
                    left_out(Reason::Unlabeled, format!("has two labels in {from}, leave one"))
                }
                None => left_out(Reason::Unlabeled, format!("has no label in {from}: add one or remove the image")),
                Some((label, part)) => match numbers.get(label) {
                    Some(&class) => Place::Image(class, *part),
                    None => {
                        *unknown.entry(label).or_default() += 1;
                        let detail = "is of a class without training images: add some or remove it";
                        left_out(Reason::ClassNotInTraining, detail.to_string())
                    }
                },
            });
        }
        if !unknown.is_empty() {
            layout.notes.push(format!(
                "{} without training images left out: {}",
                counted(unknown.len(), "class"),
                some_of(unknown.iter().map(|(label, count)| format!("{label} ({count})")))
            ));
        }
        layout.classes = train.iter().map(|label| Class { name: (*label).clone(), group: String::new() }).collect();
        Ok(layout)
    }
}
