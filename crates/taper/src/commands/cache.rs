//! `taper cache`: the cached features of frozen networks.

use crate::args::{Cache, UsageError};
use crate::data::user_cache;
use crate::output::Output;
use crate::report::result_json;
use crate::table::{duration, table};
use anyhow::Result;
use serde_json::json;
use std::time::{Instant, SystemTime};
use taper_transfer::FeatureCache;

pub(crate) fn run(options: &Cache, output: &Output) -> Result<()> {
    let start = Instant::now();
    let Some(folder) = options.dir.clone().or_else(user_cache) else {
        return Err(UsageError("no cache folder: HOME is not set, so give --dir".into()).into());
    };
    let cache = FeatureCache::new(&folder);
    let files = cache.list()?;
    let bytes: u64 = files.iter().map(|features| features.bytes).sum();
    if options.clear {
        cache.clear()?;
        output.line(format!("removed {} of features from {}", size(bytes), folder.display()));
    } else if files.is_empty() {
        output.line(format!("no features in {}", folder.display()));
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

/// A key with the weights' fingerprint, its second word, shortened.
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
