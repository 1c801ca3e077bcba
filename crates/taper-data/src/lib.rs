//! Data sets of labeled images, and the tasks drawn from them.
//!
//! A [`Dataset`] gives single decoded images; tasks are drawn by an [`EpisodeSampler`] from a
//! seed, as indices; whatever gives [`Inputs`] for indices turns them into an [`Episode`].
//! Nothing here knows a network.

mod batch;
mod copies;
mod dataset;
mod error;
mod glyphs;
mod image;
mod lake;
mod manifest;
mod mixture;
mod open;
mod readers;
mod sampler;
mod split;
mod symmetries;
mod task;
mod transform;
mod view;

pub use batch::{Batch, Episode, Inputs};
pub use copies::{Copies, copies};
pub use dataset::{Class, Dataset, Hash, images_by_class};
pub use error::{DataError, Result};
pub use glyphs::{Glyphs, GlyphsSize, Hands};
pub use image::Image;
pub use lake::{Drawers, LakeRuns, LookAlike, look_alikes};
pub use manifest::{read_manifest, write_manifest};
pub use mixture::Mixture;
pub use open::open;
pub use readers::{is_image_name, read_image};
pub use sampler::{EpisodeIndices, EpisodeSampler, Scope};
pub use split::{Split, split_classes};
pub use symmetries::Symmetries;
pub use task::{Count, TaskShape};
pub use transform::{Affine, AugmentRngs, Filter, Middle, Planes, Sheet, Step, Transform, Warp};
pub use view::View;
