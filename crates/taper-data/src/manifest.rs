//! Episodes in a file, so that another run, method or program scores exactly the same ones: one
//! JSON object per line, images by their content's hash, not by their number.

use crate::{DataError, Dataset, EpisodeIndices, Hash, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

#[derive(Serialize, Deserialize)]
struct Line {
    source: String,
    classes: Vec<ClassLine>,
}

#[derive(Serialize, Deserialize)]
struct ClassLine {
    name: String,
    support: Vec<String>,
    query: Vec<String>,
}

/// The episodes as a manifest.
///
/// # Errors
///
/// Returns an error if an image can't be read.
pub fn write_manifest(dataset: &dyn Dataset, episodes: &[EpisodeIndices]) -> Result<String> {
    let mut text = String::new();
    for episode in episodes {
        let hashes = |images: &[usize], labels: &[u32], label: u32| -> Result<Vec<String>> {
            let chosen = images.iter().zip(labels).filter(|&(_, &of)| of == label);
            chosen.map(|(&image, _)| Ok(dataset.content_hash(image)?.to_string())).collect()
        };
        let class = |(label, &class): (usize, &u32)| -> Result<ClassLine> {
            Ok(ClassLine {
                name: dataset.classes()[class as usize].full_name(),
                support: hashes(&episode.support, &episode.support_labels, label as u32)?,
                query: hashes(&episode.query, &episode.query_labels, label as u32)?,
            })
        };
        let classes = episode.classes.iter().enumerate().map(class).collect::<Result<_>>()?;
        let line = serde_json::to_string(&Line { source: episode.source.clone(), classes });
        text += &line.map_err(|error| DataError::Invalid(error.to_string()))?;
        text.push('\n');
    }
    Ok(text)
}

/// The episodes that a manifest lists, as numbers of the data set's images.
///
/// # Errors
///
/// Returns an error if a line is not one of a manifest, a class is not in the data set, or images are missing or
/// changed; the error counts those and names the first.
pub fn read_manifest(text: &str, dataset: &dyn Dataset) -> Result<Vec<EpisodeIndices>> {
    let classes: HashMap<String, u32> =
        dataset.classes().iter().enumerate().map(|(place, class)| (class.full_name(), place as u32)).collect();
    let mut images: HashMap<(u32, Hash), usize> = HashMap::new();
    for (image, &label) in dataset.labels().iter().enumerate() {
        images.entry((label, dataset.content_hash(image)?)).or_insert(image);
    }
    let mut missing = Vec::new();
    let mut episodes = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(line).map_err(|error| {
            DataError::Invalid(format!(
                "line {} is not an episode ({error}): give a file of saved episodes",
                number + 1
            ))
        })?;
        let mut episode = EpisodeIndices { source: line.source, ..EpisodeIndices::default() };
        for (label, class) in line.classes.iter().enumerate() {
            let Some(&place) = classes.get(&class.name) else {
                return Err(DataError::Invalid(format!(
                    "class `{}` of episode {} is not in {}: give the data set that the episodes were drawn from",
                    class.name,
                    number + 1,
                    dataset.name()
                )));
            };
            episode.classes.push(place);
            let mut find = |hashes: &[String], into: &mut Vec<usize>, labels: &mut Vec<u32>| {
                for text in hashes {
                    match Hash::parse(text).and_then(|hash| images.get(&(place, hash))) {
                        Some(&image) => {
                            into.push(image);
                            labels.push(label as u32);
                        }
                        None => missing.push(format!("{} {text}", class.name)),
                    }
                }
            };
            find(&class.support, &mut episode.support, &mut episode.support_labels);
            find(&class.query, &mut episode.query, &mut episode.query_labels);
        }
        episodes.push(episode);
    }
    if missing.is_empty() {
        return Ok(episodes);
    }
    missing.sort();
    missing.dedup();
    let shown = missing.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    Err(DataError::Invalid(format!(
        "{} image(s) of the episodes are missing from {} or have changed: {shown}{}: give the data set that they were drawn from",
        missing.len(),
        dataset.name(),
        if missing.len() > 5 { ", …" } else { "" }
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EpisodeSampler, Glyphs, GlyphsSize, Scope, TaskShape};

    fn glyphs(seed: u64) -> Glyphs {
        Glyphs::new(seed, GlyphsSize { alphabets: 2, characters: 4, drawings: 4 }).unwrap()
    }

    #[test]
    fn episodes_come_back_as_they_were() {
        let data = glyphs(0);
        let all: Vec<u32> = (0..8).collect();
        let sampler = EpisodeSampler::new(&data, &all, TaskShape::fixed(3, 1, 2).unwrap(), Scope::All).unwrap();
        let drawn: Vec<EpisodeIndices> = (0..4).map(|number| sampler.draw(7, number)).collect();
        let text = write_manifest(&data, &drawn).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(read_manifest(&text, &data).unwrap(), drawn);
    }

    #[test]
    fn missing_images_are_counted_and_named() {
        let data = glyphs(0);
        let sampler = EpisodeSampler::new(&data, &[0, 1, 2], TaskShape::fixed(2, 1, 1).unwrap(), Scope::All).unwrap();
        let text = write_manifest(&data, &[sampler.draw(0, 0)]).unwrap();
        let hash = data.content_hash(sampler.draw(0, 0).support[0]).unwrap().to_string();
        let changed = text.replace(&hash, &"0".repeat(64));
        let error = read_manifest(&changed, &data).unwrap_err().to_string();
        assert!(error.contains("1 image(s)") && error.contains("000"), "{error}");
        assert!(read_manifest("{}", &data).unwrap_err().to_string().contains("line 1"));
    }
}
