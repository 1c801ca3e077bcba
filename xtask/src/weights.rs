//! `fetch-weights`: pretrained weights into the hub's cache, checked.

use crate::{
    args::FetchWeights,
    cache::{Shelf, set_aside, write_beside},
    digest::is_sha256,
    fault::Fault,
    fetch::{Expected, fetch, lock},
    hub::Hub,
    manifest::{Entry, Manifest, Pin, Wanted},
    progress::{Bars, size},
};
use anyhow::{Context, Result, anyhow, bail};
use futures::{StreamExt, stream};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// How many files are fetched at once.
const AT_ONCE: usize = 2;

/// A file to fetch.
struct Job<'a> {
    name: &'a str,
    repository: &'a str,
    revision: &'a str,
    file: &'a Wanted,
    /// What is pinned about it at this revision.
    pinned: Expected,
}

/// A checked file in the cache.
struct Obtained {
    path: PathBuf,
    commit: String,
    bytes: u64,
    sha256: String,
}

/// Lists or fetches the requested weights.
///
/// Fails if a name is unknown, or one of its files can't be fetched or is not as expected.
pub(crate) fn run(asked: &FetchWeights) -> Result<()> {
    let manifest = Manifest::read(&asked.manifest)?;
    let hub = Hub::from_environment(asked.patience)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the network can't be used: check the system's limits")?;
    if asked.list {
        runtime.block_on(list(&manifest, &hub, asked));
        return Ok(());
    }
    let jobs = plan(&manifest, asked)?;
    let (hub, bars) = (&hub, &Bars::default());
    let fetching = stream::iter(&jobs).map(|job| async move { (job, obtain(hub, job, asked, bars).await) });
    let outcomes: Vec<_> = runtime.block_on(fetching.buffer_unordered(AT_ONCE).collect());

    let mut failed = BTreeSet::new();
    let mut problems = Vec::new();
    let mut pins = Vec::new();
    for (job, outcome) in outcomes {
        match outcome {
            Ok(got) if job.pinned.sha256.is_none() => pins.push(Pin {
                entry: job.name.to_string(),
                commit: got.commit,
                file: job.file.name.clone(),
                bytes: got.bytes,
                sha256: got.sha256,
            }),
            Ok(_) => {}
            // one reason per name is enough
            Err(problem) => {
                if failed.insert(job.name) {
                    problems.push(problem.context(job.name.to_string()));
                }
            }
        }
    }
    pins.retain(|pin| !failed.contains(pin.entry.as_str()));
    if asked.pin {
        pins.iter().for_each(|pin| println!("{}: pinned {} at {}", pin.entry, pin.file, pin.commit));
        manifest.pin(&pins)?;
    } else {
        tell_unverified(&pins);
    }
    match problems.pop() {
        None => Ok(()),
        Some(last) => {
            problems.iter().for_each(|problem| eprintln!("error: {problem:#}"));
            Err(last)
        }
    }
}

/// The files of the requested names.
fn plan<'a>(manifest: &'a Manifest, asked: &'a FetchWeights) -> Result<Vec<Job<'a>>> {
    let mut chosen: Vec<(&str, &Entry)> = Vec::new();
    if asked.all {
        chosen.extend(manifest.entries.iter().map(|(name, entry)| (name.as_str(), entry)));
        chosen.retain(|(_, entry)| entry.repository.is_some());
    }
    for name in &asked.names {
        let found = manifest.find(name)?;
        if chosen.iter().all(|(name, _)| *name != found.0) {
            chosen.push(found);
        }
    }
    let mut jobs = Vec::new();
    for (name, entry) in chosen {
        let Some(repository) = &entry.repository else {
            let source = entry.source.as_deref().unwrap_or("elsewhere");
            bail!("{name} is not on the hub: get it from {source}; taper recognizes the file by its hash");
        };
        let revision = asked.revision.as_deref().unwrap_or(entry.revision());
        jobs.extend(entry.files.iter().map(|file| {
            let pinned = if revision == entry.revision() { file.expected() } else { Expected::default() };
            Job { name, repository, revision, file, pinned }
        }));
    }
    Ok(jobs)
}

async fn list(manifest: &Manifest, hub: &Hub, asked: &FetchWeights) {
    println!("{:<29} {:>8}  {:<18} here", "name", "size", "license");
    for (name, entry) in &manifest.entries {
        let wanted = asked.names.is_empty() || asked.names.iter().any(|n| n == name || entry.also.as_ref() == Some(n));
        if !wanted {
            continue;
        }
        let here = match &entry.repository {
            None => "known by its hash",
            Some(repository) => {
                let revision = asked.revision.as_deref().unwrap_or(entry.revision());
                let found = stream::iter(&entry.files).map(|file| hub.cached(repository, revision, &file.name));
                if found.buffered(1).all(async |path| path.is_some()).await { "yes" } else { "no" }
            }
        };
        let full = match &entry.also {
            Some(short) => format!("{name} ({short})"),
            None => name.clone(),
        };
        let license = entry.license.as_deref().unwrap_or("see repository");
        println!("{full:<29} {:>8}  {license:<18} {here}", size(entry.bytes()));
    }
}

/// Gets a file, reports it, and copies it if requested.
async fn obtain(hub: &Hub, job: &Job<'_>, asked: &FetchWeights, bars: &Bars) -> Result<Obtained> {
    let got = have(hub, job, asked, bars).await?;
    let mut place = got.path.clone();
    if let Some(folder) = &asked.to {
        place = folder.join(job.name).join(&job.file.name);
        write_beside(&place, |path| fs::copy(&got.path, path).map(drop))?;
    }
    let trust = if job.pinned.sha256.is_some() { "verified" } else { "unverified" };
    bars.say(&format!("{}: {}, {trust}: {}", job.name, size(got.bytes), place.display()));
    Ok(got)
}

/// Finds a file in the cache, or downloads it.
async fn have(hub: &Hub, job: &Job<'_>, asked: &FetchWeights, bars: &Bars) -> Result<Obtained> {
    let shelf = Shelf::new(hub.cache(), job.repository);
    let cached = hub.cached(job.repository, job.revision, &job.file.name).await;
    let settled = hub.offline || is_commit(job.revision);
    if let Some(path) = cached.as_deref().filter(|_| settled)
        && let Some(got) = take(&shelf, job, path).await?
    {
        return Ok(got);
    }
    if hub.offline {
        bail!(
            "{} of {} at {} is not in {}, and HF_HUB_OFFLINE forbids to fetch it; unset it",
            job.file.name,
            job.repository,
            job.revision,
            hub.cache().display()
        );
    }
    let described = match (hub.describe(job.repository, job.revision, &job.file.name).await, cached) {
        (Err(Fault::Passing { problem, .. }), Some(path)) => {
            let Some(got) = take(&shelf, job, &path).await? else { return Err(problem) };
            bars.warn(&format!("warning: {}: {problem:#}; the cached file is used", job.name));
            return Ok(got);
        }
        (described, _) => described.map_err(Fault::into_problem)?,
    };
    let hubs_hash = is_sha256(&described.tag).then(|| described.tag.clone());
    let expected = Expected {
        bytes: job.pinned.bytes.or(described.bytes),
        sha256: job.pinned.sha256.clone().or(hubs_hash.clone()),
    };
    if let (Some(pinned), Some(hubs)) = (&job.pinned.sha256, &hubs_hash)
        && pinned != hubs
    {
        return Err(changed(job, pinned, hubs));
    }

    let _lock = lock(&shelf.lock(&described.tag)).await?;
    let blob = shelf.blob(&described.tag);
    let kept = if blob.exists() { expected.check(&blob)?.ok() } else { None };
    let sha256 = match kept {
        Some(sha256) => sha256,
        None => {
            set_aside(&blob)?;
            let source = hub.file(job.repository, &job.file.name, &described)?;
            let bar = bars.add(&format!("{} {}", job.name, job.file.name));
            let fetched = fetch(&source, &expected, &blob, asked.patience, &bar).await;
            bar.finish_and_clear();
            fetched.map_err(Fault::into_problem)?
        }
    };
    let path = shelf.link(job.revision, &described.commit, &job.file.name, &described.tag)?;
    let bytes = length(&path)?;
    Ok(Obtained { path, commit: described.commit, bytes, sha256 })
}

/// The cached file, if it is correct; a broken file is renamed to `….rejected`.
///
/// Fails if the file is complete, but is not the pinned one.
async fn take(shelf: &Shelf, job: &Job<'_>, path: &Path) -> Result<Option<Obtained>> {
    let commit = shelf.commit_of(path).ok_or_else(|| anyhow!("{} is not a file of the cache", path.display()))?;
    let blob = path.canonicalize().with_context(|| format!("{} can't be read: check the disk", path.display()))?;
    let tag = blob.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let hubs_hash = is_sha256(&tag).then(|| tag.clone());
    let whole = Expected { bytes: None, sha256: hubs_hash.clone() };
    if let (Some(pinned), Some(hubs), Ok(_)) = (&job.pinned.sha256, &hubs_hash, whole.check(&blob)?)
        && pinned != hubs
    {
        return Err(changed(job, pinned, hubs));
    }
    let expected = Expected { bytes: job.pinned.bytes, sha256: job.pinned.sha256.clone().or(hubs_hash) };
    match expected.check(&blob)? {
        Ok(sha256) => Ok(Some(Obtained { path: path.to_path_buf(), commit, bytes: length(&blob)?, sha256 })),
        Err(_) => {
            let _lock = lock(&shelf.lock(&tag)).await?;
            // another process may have repaired it in the meantime
            if blob.exists() && expected.check(&blob)?.is_err() {
                set_aside(&blob)?;
            }
            Ok(None)
        }
    }
}

fn tell_unverified(pins: &[Pin]) {
    let mut last = "";
    for pin in pins {
        if pin.entry != last {
            let (entry, commit) = (&pin.entry, &pin.commit);
            eprintln!(
                "warning: {entry} is unverified: no hash is pinned; to pin what came use --pin, or write under its name"
            );
            eprintln!("  revision = \"{commit}\"");
        }
        eprintln!("  {}", pin.line());
        last = &pin.entry;
    }
}

fn changed(job: &Job<'_>, pinned: &str, hubs: &str) -> anyhow::Error {
    anyhow!(
        "{} of {} at {} has sha256 {hubs} on the hub, not the pinned {pinned}; check the revision in crates/taper-models/catalog/weights.toml",
        job.file.name,
        job.repository,
        job.revision
    )
}

fn length(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("{} can't be read: check the disk", path.display()))?.len())
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}
