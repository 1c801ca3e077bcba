#![doc = include_str!("../README.md")]

mod batch;
mod copies;
mod dataset;
mod duplicates;
mod error;
mod glyphs;
mod heat_map;
mod image;
mod inspection;
mod lake;
mod large_classes;
mod look;
mod manifest;
mod open;
mod readers;
mod reading;
mod sampler;
mod split;
mod symmetries;
mod task;
#[cfg(test)]
mod toy;
mod transform;
mod vectors;
mod view;

pub use batch::{Batch, Episode, Inputs};
pub use copies::{Copies, copies};
pub use dataset::{Class, Dataset, Hash, images_by_class, images_of_part};
pub use duplicates::{Duplicate, Likeness, duplicates, shared_pictures};
pub use error::{DataError, Result};
pub use glyphs::{Glyphs, GlyphsSize, Hands};
pub use heat_map::HeatMap;
pub use image::Image;
pub use inspection::{ClassCount, Duplicates, Inspection, Several, SizeCount, inspect};
pub use lake::{Drawers, LakeRuns, LookAlike, look_alikes};
pub use large_classes::LargeClasses;
pub use look::{Look, sample};
pub use manifest::{read_manifest, write_manifest};
pub use open::open;
pub use readers::limits;
#[cfg(any(test, feature = "mutation"))]
pub use readers::mutation;
pub use readers::{
    Columns, Decoded, Format, Found, Ground, Walk, decode_image, is_left_behind, one_line, open_with_labels, path_text,
    read_image, read_image_noted, walk, walk_images,
};
pub use reading::{LeftOut, Part, Reading, Reason};
pub use sampler::{EpisodeIndices, EpisodeSampler, Scope};
pub use split::{Split, split_classes};
pub use symmetries::Symmetries;
pub use task::{Count, TaskShape};
pub use transform::{Affine, AugmentRngs, Filter, Middle, Planes, Sheet, Step, Transform, Warp};
pub use vectors::Vectors;
pub use view::View;
