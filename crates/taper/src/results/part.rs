//! The file of one part of a job, and how all parts are put together.

use crate::args::{Shard, UsageError};
use crate::output::Output;
use crate::report::{result_json, with};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use taper_learn::{RunDirectory, runs::write_atomically};

/// The version of the file's format.
const FORMAT: u32 = 1;

/// The file's name in a run directory.
pub(crate) const PART_FILE: &str = "part.json";

/// What a result depends on, by name: parts with other facts belong to another job.
pub(crate) type Facts = BTreeMap<String, String>;

/// What one part of a job found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    taper_part: u32,
    command: String,
    part: usize,
    parts: usize,
    facts: Facts,
    seconds: f64,
    content: Value,
}

/// All parts of a job.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The command that made them.
    pub(crate) command: String,
    /// Seconds of all parts together.
    pub(crate) seconds: f64,
    /// Where each part was, in their order.
    pub(crate) paths: Vec<PathBuf>,
    contents: Vec<Value>,
}

/// Fails if there is anything at the path of a part that is to be written.
///
/// # Errors
/// Returns a usage error.
pub(crate) fn check_free(path: &Path) -> Result<(), UsageError> {
    match path.symlink_metadata() {
        Ok(_) => Err(UsageError(format!("--out {}: exists already: choose another path", path.display()))),
        Err(_) => Ok(()),
    }
}

impl Part {
    /// What a part of a command found.
    ///
    /// # Errors
    /// Returns an error if the content can't be written as JSON.
    pub(crate) fn new<T: Serialize>(
        command: &str,
        shard: Shard,
        facts: Facts,
        seconds: f64,
        content: &T,
    ) -> Result<Self> {
        let Shard { part, parts } = shard;
        let version = ("program".to_string(), env!("CARGO_PKG_VERSION").to_string());
        let facts = facts.into_iter().chain([version]).collect();
        let content = serde_json::to_value(content)?;
        Ok(Self { taper_part: FORMAT, command: command.into(), part, parts, facts, seconds, content })
    }

    /// Writes the part.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        Ok(write_atomically(path, &serde_json::to_vec(self)?)?)
    }

    /// Writes the part into a run directory, and says so.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub(crate) fn keep(&self, run: &RunDirectory, shard: Shard, extent: &str, output: &Output) -> Result<()> {
        self.write(&run.file(PART_FILE)?)?;
        output.line(format!("part {shard} ({extent}) is in {}", run.path().display()));
        let result = result_json(&self.command, self.seconds, Vec::new(), Some(run.path()));
        output.event(&with(result, json!({"shard": shard.to_string()})));
        Ok(())
    }

    /// Reads a part: a file, or a run directory that has one.
    fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join(PART_FILE) } else { path.to_path_buf() };
        let advice = "give what `taper … --shard I/N --out PART` wrote";
        let text = fs::read_to_string(&file).with_context(|| format!("{}: can't be read: {advice}", file.display()))?;
        let part: Self = match serde_json::from_str(&text) {
            Ok(part) => part,
            Err(_) => bail!("{}: is not a part of a result: {advice}", file.display()),
        };
        if part.taper_part != FORMAT {
            bail!(
                "{}: was written by another version of Taper: merge parts with the version that made them",
                file.display()
            );
        }
        Ok(part)
    }
}

/// Reads the parts of one job, in any order.
///
/// # Errors
/// Returns an error that names the first part that belongs to another job or is given twice, or the parts that are
/// missing.
pub(crate) fn merge(paths: &[PathBuf]) -> Result<Merged> {
    let mut parts: Vec<(&PathBuf, Part)> =
        paths.iter().map(|path| Ok((path, Part::read(path)?))).collect::<Result<_>>()?;
    parts.sort_by_key(|(_, part)| part.part);
    let (first_path, first) = &parts[0];
    for (path, part) in &parts {
        let (path, first_path) = (path.display(), first_path.display());
        if (&part.command, part.parts) != (&first.command, first.parts) {
            bail!(
                "{path}: is part {} of {} of `taper {}`, but {first_path} is one of {} of `taper {}`: merge parts of one \
                 command",
                part.part,
                part.parts,
                part.command,
                first.parts,
                first.command
            );
        }
        let names = part.facts.keys().chain(first.facts.keys());
        let mut other: Vec<&str> =
            names.filter(|name| part.facts.get(*name) != first.facts.get(*name)).map(String::as_str).collect();
        other.sort_unstable();
        other.dedup();
        if !other.is_empty() {
            bail!("{path}: differs from {first_path} in its {}: merge parts of one job", other.join(", "));
        }
    }
    let count = first.parts;
    if let Some(pair) = parts.windows(2).find(|pair| pair[0].1.part == pair[1].1.part) {
        let [(a, part), (b, _)] = pair else { bail!("parts overlap: give each once") };
        bail!("{} and {} are both part {} of {count}: give one of them", a.display(), b.display(), part.part);
    }
    let missing: Vec<String> = (1..=count)
        .filter(|number| parts.binary_search_by_key(number, |(_, part)| part.part).is_err())
        .map(|number| format!("{number}/{count}"))
        .collect();
    if !missing.is_empty() {
        bail!("parts are missing: make them with --shard {}", missing.join(", "));
    }
    let command = first.command.clone();
    Ok(Merged {
        command,
        seconds: parts.iter().map(|(_, part)| part.seconds).sum(),
        paths: parts.iter().map(|(path, _)| path.to_path_buf()).collect(),
        contents: parts.into_iter().map(|(_, part)| part.content).collect(),
    })
}

impl Merged {
    /// The contents of the parts, in their order.
    ///
    /// # Errors
    /// Returns an error if one is damaged.
    pub(crate) fn contents<T: for<'de> Deserialize<'de>>(&self) -> Result<Vec<T>> {
        let read = |(content, path): (&Value, &PathBuf)| {
            T::deserialize(content).with_context(|| format!("{}: is damaged: make the part again", path.display()))
        };
        self.contents.iter().zip(&self.paths).map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part of a job with this seed, in a folder.
    fn part(folder: &Path, name: &str, shard: &str, seed: &str) -> PathBuf {
        let facts = Facts::from([("seed".to_string(), seed.to_string())]);
        let path = folder.join(name);
        let shard: Shard = shard.parse().unwrap();
        Part::new("evaluate", shard, facts, 1.5, &shard.part).unwrap().write(&path).unwrap();
        path
    }

    fn problem(paths: &[&PathBuf]) -> String {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
        format!("{:#}", merge(&paths).unwrap_err())
    }

    #[test]
    fn parts_are_merged_in_their_order_whatever_the_order_of_the_paths() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = ["1/3", "2/3", "3/3"].map(|shard| part(folder.path(), &shard.replace('/', "of"), shard, "0"));
        let merged = merge(&[c, a, b]).unwrap();
        assert_eq!((merged.contents::<usize>().unwrap(), merged.seconds), (vec![1, 2, 3], 4.5));
        assert!(merged.contents::<String>().unwrap_err().to_string().ends_with("is damaged: make the part again"));
    }

    #[test]
    fn overlapping_missing_and_foreign_parts_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name, shard, seed| part(folder.path(), name, shard, seed);
        let (a, b, twice) = (make("a", "1/3", "0"), make("b", "2/3", "0"), make("twice", "2/3", "0"));
        assert!(problem(&[&a, &b]).ends_with("make them with --shard 3/3"));
        assert!(problem(&[&a]).ends_with("make them with --shard 2/3, 3/3"));
        let both = problem(&[&b, &twice, &a]);
        assert!(both.contains("/b and ") && both.contains("/twice are both part 2 of 3"), "{both}");
        let foreign = problem(&[&a, &b, &make("foreign", "3/3", "1")]);
        assert!(foreign.contains("/foreign: differs from "), "{foreign}");
        let other = problem(&[&a, &make("other", "2/2", "0")]);
        assert!(other.contains("/other: is part 2 of 2 of `taper evaluate`, but "), "{other}");
        fs::write(folder.path().join("text"), "{}").unwrap();
        assert!(problem(&[&a, &folder.path().join("text")]).contains("/text: is not a part of a result"));
        assert!(problem(&[&folder.path().join("none")]).contains("/none: can't be read"));
    }
}
