//! `look-alikes`: runs like those of Lake's Omniglot challenge, written in its published format.

use crate::args::{DrawersName, LookAlikes};
use anyhow::{Context, Result, bail};
use image::GrayImage;
use std::{fs, path::Path};
use taper_data::{Dataset, Drawers, look_alikes, open};

/// Writes the runs.
///
/// Fails if the target exists, or an alphabet has no such runs.
pub(crate) fn run(asked: &LookAlikes) -> Result<()> {
    if asked.out.exists() {
        bail!("{} already exists: remove it or choose another --out", asked.out.display());
    }
    let dataset = open(&asked.data)?;
    let drawers = match asked.drawers {
        DrawersName::Random => Drawers::Random,
        DrawersName::Typical => Drawers::Typical,
    };
    let runs = look_alikes(dataset.as_ref(), &asked.alphabets, asked.runs, drawers, asked.seed)?;
    for (number, run) in runs.iter().enumerate() {
        let name = format!("run{:02}", number + 1);
        let folder = asked.out.join(&name);
        let mut answers = String::new();
        for (place, &index) in run.training.iter().enumerate() {
            write(dataset.as_ref(), index, &folder.join(format!("training/class{:02}.png", place + 1)))?;
        }
        for (place, (&index, answer)) in run.test.iter().zip(&run.answers).enumerate() {
            let item = format!("test/item{:02}.png", place + 1);
            write(dataset.as_ref(), index, &folder.join(&item))?;
            answers += &format!("{name}/{item} {name}/training/class{:02}.png\n", answer + 1);
        }
        fs::write(folder.join("class_labels.txt"), answers).with_context(|| folder.display().to_string())?;
    }
    println!(
        "{}: {} runs of {} by {drawers} drawers, seed {}",
        asked.out.display(),
        runs.len(),
        asked.alphabets.join(", "),
        asked.seed
    );
    Ok(())
}

fn write(dataset: &dyn Dataset, index: usize, path: &Path) -> Result<()> {
    let about = || path.display().to_string();
    fs::create_dir_all(path.parent().unwrap_or(path)).with_context(about)?;
    let image = dataset.image(index)?;
    let gray = GrayImage::from_fn(image.width as u32, image.height as u32, |x, y| {
        image::Luma([image.sample(y as usize, x as usize, 0)])
    });
    gray.save(path).with_context(about)
}
