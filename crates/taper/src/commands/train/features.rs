//! Features of the images, computed once and kept.

use super::super::cache::user_cache;
use super::setting::Setting;
use crate::output::Output;
use anyhow::Result;
use std::path::PathBuf;
use taper_data::View;
use taper_transfer::{FeatureCache, Features};

/// Features of `images`, seen through `view`, by the setting's frozen network; kept in the folder
/// `cache`.
pub(crate) fn features(
    cache: Option<&str>,
    setting: &Setting,
    view: &View,
    images: &[usize],
    output: &Output,
) -> Result<Features> {
    let folder = match cache {
        Some("none") => None,
        Some(folder) => Some(PathBuf::from(folder)),
        None => user_cache(),
    };
    let cache = folder.map(|folder| FeatureCache::new(&folder));
    let bar = output.bar("features", images.len() as u64)?;
    let Setting { network, state, .. } = setting;
    let made = Features::compute(view, images, network, state, cache.as_ref(), |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    Ok(made)
}
