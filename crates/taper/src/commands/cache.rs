//! `taper cache`: the features that are kept of frozen networks.

use super::result_json;
use crate::args::{Cache, Usage};
use crate::output::Output;
use crate::table::{duration, table};
use anyhow::Result;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use taper_transfer::FeatureCache;

pub(crate) fn run(options: &Cache, output: &Output) -> Result<()> {
    let start = Instant::now();
    let Some(folder) = options.dir.clone().or_else(user_cache) else {
        return Err(Usage("there is no HOME to keep features in, say where with --dir".into()).into());
    };
    let cache = FeatureCache::new(&folder);
    let files = cache.list()?;
    let bytes: u64 = files.iter().map(|features| features.bytes).sum();
    if options.clear {
        cache.clear()?;
        output.line(format!("{} of features removed from {}", size(bytes), folder.display()));
    } else if files.is_empty() {
        output.line(format!("no features are kept in {}", folder.display()));
    } else {
        let row = |features: &taper_transfer::CachedFeatures| {
            let age = SystemTime::now().duration_since(features.used).unwrap_or_default();
            vec![
                named(&features.key),
                features.images.to_string(),
                size(features.bytes),
                format!("{} ago", duration(age.as_secs_f64())),
            ]
        };
        output.line(table(
            &["network and transform", "images", "size", "used"],
            &files.iter().map(row).collect::<Vec<_>>(),
        ));
        output.line(format!("{} in {}, at most {}", size(bytes), folder.display(), size(cache.bound())));
    }
    let listed: Vec<_> = files
        .iter()
        .map(|features| json!({"key": features.key, "images": features.images, "bytes": features.bytes}))
        .collect();
    let mut result = result_json("cache", start.elapsed().as_secs_f64(), vec![], None);
    result["cleared"] = options.clear.into();
    result["features"] = listed.into();
    output.event(&result);
    Ok(())
}

/// A key with a short form of the weights' fingerprint, which is its second word.
fn named(key: &str) -> String {
    match key.split_once(' ').and_then(|(network, rest)| Some((network, rest.split_once(": ")?))) {
        Some((network, (fingerprint, transform))) => {
            format!("{network} {}: {transform}", fingerprint.get(..8).unwrap_or(fingerprint))
        }
        None => key.to_string(),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Where a user's caches are, by the system's convention.
pub(super) fn user_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || set("HOME").map(|home| Path::new(&home).join(".cache"));
    Some(set("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("taper").join("features"))
}
