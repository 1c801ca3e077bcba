//! How a data set was read: its layout and why, and what was left out.

use serde::Serialize;
use std::collections::BTreeMap;

/// The part of a data set that an image belongs to, as its owner set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Images to train on.
    Train,
    /// Images to validate on: held out from training and from every choice.
    Validation,
    /// Images for the final score only.
    Test,
}

impl Part {
    /// The part's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Why a file or folder does not belong to a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Left behind by an operating system or tool, or hidden.
    System,
    /// Text next to the images, such as a README.
    Document,
    /// Not an image.
    NotAnImage,
    /// An image that can't be read.
    Unreadable,
    /// An image outside the class folders.
    OutsideClasses,
    /// An image without a label.
    Unlabeled,
    /// An image of a class that has no training images.
    ClassNotInTraining,
    /// A folder next to the parts that is not one of them.
    OtherFolder,
    /// A second copy of the data set.
    SecondCopy,
    /// A folder without images.
    NoImages,
    /// A link that is not followed.
    Link,
    /// A folder that was read already, under another name.
    SameFolder,
    /// A pipe, a socket or a device.
    SpecialFile,
    /// A row of a table of labels without its image.
    NoSuchFile,
}

impl Reason {
    /// The reason in words, to follow a number of files.
    pub fn words(self) -> &'static str {
        match self {
            Self::System => "hidden, or left behind by an operating system",
            Self::Document => "text next to the images",
            Self::NotAnImage => "not an image",
            Self::Unreadable => "an image that can't be read",
            Self::OutsideClasses => "an image outside the class folders",
            Self::Unlabeled => "an image without a label",
            Self::ClassNotInTraining => "an image of a class without training images",
            Self::OtherFolder => "in a folder that is not train, validation or test",
            Self::SecondCopy => "in a second copy of the data set",
            Self::NoImages => "a folder without images",
            Self::Link => "a link that is not followed",
            Self::SameFolder => "a folder that was read under another name",
            Self::SpecialFile => "a pipe, socket or device",
            Self::NoSuchFile => "in the table of labels, but there is no such file",
        }
    }

    /// Whether such files should be reported without being asked for.
    pub fn matters(self) -> bool {
        !matches!(self, Self::System | Self::Document)
    }
}

/// A file or folder that does not belong to a data set, or a link that was not followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeftOut {
    /// Its path inside the data set, on one line; folders end in `/`.
    pub path: String,
    /// Why, as a kind.
    pub reason: Reason,
    /// What is wrong, and what to do.
    pub detail: String,
}

impl LeftOut {
    pub(crate) fn new(path: &str, reason: Reason, detail: impl Into<String>) -> Self {
        Self { path: crate::one_line(path).into_owned(), reason, detail: detail.into() }
    }
}

/// How a data set was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The layout in a few words: `class folders in train, validation and test folders`.
    pub layout: String,
    /// What was decided about the layout, and on what evidence.
    pub why: Vec<String>,
    /// The number of image files of each format.
    pub formats: BTreeMap<String, usize>,
    /// Everything that was skipped, sorted by path.
    pub left_out: Vec<LeftOut>,
    /// What a person should know before using the data set, each with how many and the first names.
    pub notes: Vec<String>,
}

/// `12 images`, `1 image`: a count with its noun.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = match noun {
        noun if count == 1 => noun.to_string(),
        "entry" => "entries".to_string(),
        "copy" => "copies".to_string(),
        noun if noun.ends_with("ss") => format!("{noun}es"),
        noun => format!("{noun}s"),
    };
    format!("{count} {plural}")
}
