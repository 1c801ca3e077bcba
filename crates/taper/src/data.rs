//! Data sets by path or by name, and how their images reach a network.

use crate::args::{ImageOptions, ScopeName, TaskOptions, Usage};
use crate::output::Output;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::sync::Arc;
use taper_data::{
    Dataset, Glyphs, GlyphsSize, Hands, Scope, Split, TaskShape, Transform, View, images_by_class, open, split_classes,
};
use taper_models::Architecture;

/// The embedded data set's name.
pub(crate) const GLYPHS: &str = "glyphs";

/// Alphabets, characters and drawings of the embedded data set, as `compare` uses it.
const GLYPHS_SIZE: GlyphsSize = GlyphsSize { alphabets: 40, characters: 20, drawings: 20 };

/// Glyphs are the same for every run's seed: the seed picks tasks, not the world.
const GLYPHS_SEED: u64 = 0;

/// The data set at a path; without one, the embedded glyphs.
pub(crate) fn dataset(path: Option<&Path>) -> Result<Arc<dyn Dataset>> {
    match path {
        Some(path) if path != Path::new(GLYPHS) || path.exists() => {
            let dataset = open(path)?;
            if dataset.classes().len() < 2 {
                bail!("{}: has one class only, learning to tell classes apart takes at least two", path.display());
            }
            Ok(dataset)
        }
        _ => Ok(Arc::new(Glyphs::new(GLYPHS_SEED, GLYPHS_SIZE)?)),
    }
}

/// Drawers of each of the alphabets that are trained on.
const INVENTED_DRAWERS: usize = 20;
/// Alphabets that are trained on are others than those that `compare` and `evaluate` use.
const INVENTED_SEED: u64 = 1;

/// So many invented alphabets to train on.
pub(crate) fn invented(alphabets: usize) -> Result<Arc<dyn Dataset>> {
    let size = GlyphsSize { alphabets, characters: GLYPHS_SIZE.characters, drawings: INVENTED_DRAWERS };
    Ok(Arc::new(Glyphs::by(Hands::Own, INVENTED_SEED, size)?))
}

/// Tells what a user should know of a data set: files left out, images of unequal size.
pub(crate) fn tell(dataset: &dyn Dataset, output: &Output) -> Result<()> {
    let skipped = dataset.skipped();
    if let Some((path, reason)) = skipped.first() {
        output.note(format!(
            "{}: {} file(s) skipped, such as {path} ({reason}); `taper inspect` lists them",
            dataset.name(),
            skipped.len()
        ));
    }
    let first = dataset.size(0)?;
    for image in 1..dataset.labels().len() {
        if dataset.size(image)? != first {
            output.note(format!("{}: images are of unequal size, all are resized", dataset.name()));
            break;
        }
    }
    Ok(())
}

/// Errs when a class has fewer images than a task takes of it, naming the class and what would fit.
pub(crate) fn check_classes(dataset: &dyn Dataset, shape: &TaskShape) -> Result<()> {
    let images = images_by_class(dataset);
    let fewest = dataset.classes().iter().zip(&images).min_by_key(|(_, images)| images.len());
    let needed = shape.images_per_class();
    match fewest {
        Some((class, images)) if images.len() < needed => {
            let (name, count) = (class.full_name(), images.len());
            let fit = match count {
                0 | 1 => "add images or remove it".to_string(),
                _ => {
                    let shots = shape.shots().low().min(count - 1);
                    format!("--shots {shots} --queries {} would fit, or add images or remove it", count - shots)
                }
            };
            bail!(
                "{}: class `{name}` has {count} image(s) and tasks take {needed} of each class: {fit}",
                dataset.name()
            )
        }
        _ => Ok(()),
    }
}

/// How the classes of a data set serve training, validation and test: as a file says, or by the
/// seed; none where there are too few for that.
pub(crate) fn split(dataset: &dyn Dataset, tasks: &TaskOptions, seed: u64) -> Result<Option<Split>> {
    if let Some(path) = &tasks.split {
        return published(dataset, path).map(Some);
    }
    let split = split_classes(dataset, seed);
    let ways = tasks.shape()?.ways().high();
    let enough = [&split.train, &split.validation, &split.test].iter().all(|part| part.len() >= ways);
    Ok(enough.then_some(split))
}

/// The split that a file says.
pub(crate) fn published(dataset: &dyn Dataset, path: &Path) -> Result<Split> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        Usage(format!("{path}: can't be read ({error}), give --split a text file of lines such as class,train"))
    })?;
    Split::parse(&text, dataset).with_context(|| path.display().to_string())
}

pub(crate) fn scope(asked: Option<ScopeName>, dataset: &dyn Dataset) -> Scope {
    match asked {
        Some(ScopeName::All) => Scope::All,
        Some(ScopeName::Group) => Scope::Group,
        None if dataset.classes().iter().all(|class| class.group.is_empty()) => Scope::All,
        None => Scope::Group,
    }
}

/// What a data set's images look like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// 1 or 3.
    pub(crate) channels: usize,
    /// Dark on a light ground?
    dark_on_light: bool,
}

/// Looks at a few images, one of each of some classes.
pub(crate) fn look(dataset: &dyn Dataset) -> Result<Look> {
    let (mut channels, mut light, mut seen) = (1, 0, 0);
    let classes = images_by_class(dataset);
    let firsts: Vec<usize> = classes.iter().filter_map(|images| images.first().copied()).collect();
    for &index in firsts.iter().step_by((firsts.len() / 10).max(1)) {
        let image = dataset.image(index)?;
        channels = channels.max(image.channels);
        let mean = image.pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / image.pixels.len() as f64;
        light += usize::from(mean > 127.5);
        seen += 1;
    }
    Ok(Look { channels, dark_on_light: 2 * light > seen })
}

/// The steps from image to input: as asked, or by the look of the images. Drawings become light
/// on dark; photographs are cropped to squares and brought to zero mean.
pub(crate) fn transform(
    options: &ImageOptions,
    backbone: Architecture,
    look: Look,
    channels: usize,
) -> Result<Transform> {
    if let Some(transform) = &options.transform {
        return Ok(transform.clone());
    }
    let side = options.image_size.unwrap_or(match backbone {
        Architecture::Conv4(_) if channels == 3 => 42,
        other => other.default_side(),
    });
    let text = match (channels, look.channels) {
        (1, _) => format!("gray resize({side}x{side}){}", if look.dark_on_light { " invert" } else { "" }),
        (_, 1) => format!("resize({side}x{side}) color{}", if look.dark_on_light { " invert" } else { "" }),
        _ => format!(
            "color resize-short({side}) center-crop({side}) normalize(mean=0.485,0.456,0.406,std=0.229,0.224,0.225)"
        ),
    };
    Ok(text.parse()?)
}

/// A view of a data set by a transform.
pub(crate) fn view(dataset: Arc<dyn Dataset>, transform: Transform) -> Result<Arc<View>> {
    Ok(Arc::new(View::new(dataset, transform)?))
}
