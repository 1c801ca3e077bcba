//! What a server knows: the folder with its learner, or a finished classifier. One thread owns it, so that pages in
//! several tabs see one order of changes.

use crate::gallery::{Gallery, Kind, What, id};
use crate::learner::{Fitted, Learner, Loaded, classify_by, thumbnail};
use crate::limits::{CLASSES, EXAMPLES, PHOTOGRAPH};
use crate::problem::{Problem, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use taper_data::{Decoded, Format, Sheet, decode_image};
use taper_learn::Model;
use tokio::sync::watch;

/// Nearest examples that a page shows.
const NEAREST: usize = 3;

/// Where the network for photographs comes from.
#[derive(Debug, Clone)]
pub enum Photographs {
    /// A file of pretrained weights.
    Weights(PathBuf),
    /// There are none on this computer.
    Missing {
        /// The command that gets them, which the page shows.
        command: String,
    },
}

/// What is served.
pub(crate) enum Subject {
    Folder(Gallery),
    Classifier(Box<Model>),
}

pub(crate) struct Studio {
    subject: Subject,
    photographs: Photographs,
    /// The kind of the folder's pictures; `None` as long as there are none.
    kind: Option<Kind>,
    learner: Option<Learner>,
    /// The classifier of the present examples; `None` after a change.
    fitted: Option<Fitted>,
    /// Grows with every change.
    version: watch::Sender<u64>,
}

/// What a page shows.
#[derive(Debug, Serialize)]
pub(crate) struct State {
    version: u64,
    mode: &'static str,
    name: String,
    kind: Option<Kind>,
    /// The command that gets the weights for photographs; `None` if they are there.
    weights_command: Option<String>,
    classes: Vec<ClassState>,
    /// Examples that were read, and all that there are.
    read: usize,
    examples: usize,
    undo: Option<UndoState>,
    limits: LimitState,
}

#[derive(Debug, Serialize)]
struct ClassState {
    id: String,
    name: String,
    examples: Vec<ExampleState>,
}

#[derive(Debug, Serialize)]
struct ExampleState {
    id: String,
    #[serde(flatten)]
    problem: Option<Problem>,
}

#[derive(Debug, Serialize)]
struct UndoState {
    what: What,
    name: String,
}

#[derive(Debug, Serialize)]
struct LimitState {
    classes: usize,
    examples: usize,
    bytes: usize,
}

/// What a picture is taken for.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// The likeliest first; empty as long as there is nothing to tell apart.
    pub(crate) classes: Vec<Likely>,
    /// The most similar examples, the best first.
    pub(crate) nearest: Vec<Near>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Likely {
    pub(crate) name: String,
    pub(crate) probability: f32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Near {
    pub(crate) id: String,
    pub(crate) class: String,
}

/// What saving a classifier needs, which takes long and is done elsewhere.
pub(crate) struct Saving {
    folder: PathBuf,
    target: PathBuf,
    model: Model,
    classes: Vec<String>,
}

impl Studio {
    pub(crate) fn new(subject: Subject, photographs: Photographs, version: watch::Sender<u64>) -> Self {
        let mut studio = Self { subject, photographs, kind: None, learner: None, fitted: None, version };
        studio.changed();
        studio
    }

    fn gallery(&mut self) -> Result<&mut Gallery> {
        match &mut self.subject {
            Subject::Folder(gallery) => Ok(gallery),
            Subject::Classifier(_) => Err(Problem::FinishedModel),
        }
    }

    /// To be called after every change of the folder.
    fn changed(&mut self) {
        self.fitted = None;
        if let Subject::Folder(gallery) = &mut self.subject {
            let kind = kind_of(gallery);
            if self.kind.is_some() && kind.is_some() && kind != self.kind {
                // features of one learner mean nothing to another
                gallery.forget();
            }
            self.kind = kind;
        }
        self.version.send_modify(|version| *version += 1);
    }

    /// What a page shows. `look_again` reads the folder for changes by others.
    pub(crate) fn state(&mut self, look_again: bool) -> Result<State> {
        if let (true, Subject::Folder(gallery)) = (look_again, &mut self.subject)
            && gallery.rescan()?
        {
            self.changed();
        }
        let weights_command = match &self.photographs {
            Photographs::Missing { command } => Some(command.clone()),
            Photographs::Weights(_) => None,
        };
        let limits = LimitState { classes: CLASSES, examples: EXAMPLES, bytes: PHOTOGRAPH };
        let version = *self.version.borrow();
        Ok(match &self.subject {
            Subject::Folder(gallery) => {
                let example = |example: &crate::gallery::Example| ExampleState {
                    id: example.id.clone(),
                    problem: example.loaded.as_ref().and_then(|loaded| loaded.feature.as_ref().err().cloned()),
                };
                let class = |(name, examples): (&String, &Vec<crate::gallery::Example>)| ClassState {
                    id: id(name),
                    name: name.clone(),
                    examples: examples.iter().map(example).collect(),
                };
                State {
                    version,
                    mode: "folder",
                    name: gallery.root().display().to_string(),
                    kind: self.kind,
                    weights_command,
                    classes: gallery.classes.iter().map(class).collect(),
                    read: gallery.classes.values().flatten().filter(|example| example.loaded.is_some()).count(),
                    examples: gallery.count(),
                    undo: gallery.undoable().map(|(what, name)| UndoState { what, name }),
                    limits,
                }
            }
            Subject::Classifier(model) => State {
                version,
                mode: "classifier",
                name: model.origin.on.clone(),
                // what its transform is made for
                kind: Some(if model.transform.contains("ink") { Kind::Drawings } else { Kind::Photographs }),
                weights_command: None,
                classes: model
                    .labels
                    .iter()
                    .map(|name| ClassState { id: id(name), name: name.clone(), examples: Vec::new() })
                    .collect(),
                read: 0,
                examples: 0,
                undo: None,
                limits,
            },
        })
    }

    pub(crate) fn add_class(&mut self, name: &str) -> Result<()> {
        self.gallery()?.add_class(name)?;
        self.changed();
        Ok(())
    }

    pub(crate) fn rename_class(&mut self, class: &str, name: &str) -> Result<()> {
        self.gallery()?.rename_class(class, name)?;
        self.changed();
        Ok(())
    }

    pub(crate) fn remove_class(&mut self, class: &str) -> Result<()> {
        self.gallery()?.remove_class(class)?;
        self.changed();
        Ok(())
    }

    pub(crate) fn remove_example(&mut self, example: &str) -> Result<()> {
        self.gallery()?.remove_example(example)?;
        self.changed();
        Ok(())
    }

    pub(crate) fn undo(&mut self) -> Result<()> {
        let undone = self.gallery()?.undo();
        self.changed();
        undone
    }

    /// Adds a picture to a class. The first one decides the kind of the folder's pictures.
    pub(crate) fn add_example(&mut self, class: &str, kind: Kind, bytes: &[u8]) -> Result<()> {
        let class = self.gallery()?.class(class)?;
        if self.kind.is_some_and(|other| other != kind) {
            return Err(Problem::OtherKind);
        }
        let Decoded { image, format, .. } = decoded(bytes)?;
        let feature = self.learner(kind)?.feature(&image)?;
        let loaded = Arc::new(Loaded { thumbnail: thumbnail(&image)?, feature: Ok(feature) });
        self.gallery()?.add_example(&class, kind, ending(format), bytes, loaded)?;
        self.changed();
        Ok(())
    }

    /// The learner for pictures of a kind.
    fn learner(&mut self, kind: Kind) -> Result<&Learner> {
        match &mut self.learner {
            Some(learner) if learner.kind() == kind => {}
            other => {
                *other = Some(match (kind, &self.photographs) {
                    (Kind::Drawings, _) => Learner::of_drawings()?,
                    (Kind::Photographs, Photographs::Weights(file)) => Learner::of_photographs(file)?,
                    (Kind::Photographs, Photographs::Missing { .. }) => return Err(Problem::NoWeights),
                });
            }
        }
        self.learner.as_ref().ok_or(Problem::NoWeights)
    }

    /// What a picture is taken for.
    pub(crate) fn classify(&mut self, kind: Kind, bytes: &[u8]) -> Result<Verdict> {
        let image = decoded(bytes)?.image;
        if let Subject::Classifier(model) = &self.subject {
            if image.is_blank() {
                return Err(Problem::Blank);
            }
            let names = model.labels.iter().cloned();
            return Ok(Verdict { classes: ranked(names.zip(classify_by(model, &image)?)), nearest: Vec::new() });
        }
        if self.kind.is_some_and(|other| other != kind) {
            return Err(Problem::OtherKind);
        }
        if self.fitted.is_none() {
            self.fitted = self.fit(kind)?;
        }
        let nothing = Verdict { classes: Vec::new(), nearest: Vec::new() };
        let (Some(fitted), Some(learner)) = (&self.fitted, &self.learner) else { return Ok(nothing) };
        let feature = learner.feature(&image)?;
        let (probabilities, likeness) = learner.classify(fitted, &feature)?;
        let mut near: Vec<(f32, &String)> = likeness.into_iter().zip(&fitted.examples).collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let Subject::Folder(gallery) = &self.subject else { return Ok(nothing) };
        let near = near.into_iter().take(NEAREST).filter_map(|(_, id)| {
            let (class, _) = gallery.find(id).ok()?;
            Some(Near { id: id.clone(), class })
        });
        Ok(Verdict { classes: ranked(fitted.classes.iter().cloned().zip(probabilities)), nearest: near.collect() })
    }

    /// A classifier of the examples that were read; `None` as long as fewer than two classes have any.
    fn fit(&mut self, kind: Kind) -> Result<Option<Fitted>> {
        let Subject::Folder(gallery) = &self.subject else { return Ok(None) };
        let (mut features, mut labels, mut classes, mut examples) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (name, of_class) in &gallery.classes {
            let before = features.len();
            for example in of_class {
                if let Some(Ok(feature)) = example.loaded.as_ref().map(|loaded| &loaded.feature) {
                    features.push(feature.clone());
                    labels.push(classes.len() as u32);
                    examples.push(example.id.clone());
                }
            }
            if features.len() > before {
                classes.push(name.clone());
            }
        }
        if classes.len() < 2 {
            return Ok(None);
        }
        let features: Vec<_> = features.iter().collect();
        self.learner(kind)?.fit(&features, &labels, classes, examples).map(Some)
    }

    /// A picture's thumbnail.
    pub(crate) fn thumbnail(&mut self, example: &str) -> Result<Vec<u8>> {
        let (class, place) = self.gallery()?.find(example)?;
        if let Some(loaded) = &self.gallery()?.classes[&class][place].loaded {
            return Ok(loaded.thumbnail.clone());
        }
        Ok(self.load(&class, place)?.thumbnail.clone())
    }

    /// Reads one of the pictures that were not read yet. Returns `false` if there is none.
    pub(crate) fn read_one(&mut self) -> bool {
        let Subject::Folder(gallery) = &self.subject else { return false };
        let unread = |(class, examples): (&String, &Vec<crate::gallery::Example>)| {
            examples.iter().position(|example| example.loaded.is_none()).map(|place| (class.clone(), place))
        };
        let Some((class, place)) = gallery.classes.iter().find_map(unread) else { return false };
        let _ = self.load(&class, place);
        true
    }

    fn load(&mut self, class: &str, place: usize) -> Result<Arc<Loaded>> {
        let gallery = self.gallery()?;
        let file = gallery.classes[class][place].file.clone();
        let path = gallery.path(class, &file);
        let kind = self.kind.unwrap_or(Kind::Drawings);
        let image = taper_data::read_image(&path).map_err(|error| Problem::NotAPicture { detail: error.to_string() });
        let loaded = Arc::new(match image {
            Err(problem) => Loaded { thumbnail: Vec::new(), feature: Err(problem) },
            Ok(image) => Loaded {
                thumbnail: thumbnail(&image)?,
                feature: self.learner(kind).and_then(|learner| learner.feature(&image)),
            },
        });
        if let Some(example) = self.gallery()?.classes.get_mut(class).and_then(|examples| examples.get_mut(place)) {
            example.loaded = Some(loaded.clone());
        }
        self.fitted = None;
        self.version.send_modify(|version| *version += 1);
        Ok(loaded)
    }

    /// What saving a classifier under this name, beside the folder, needs.
    pub(crate) fn saving(&mut self, name: &str) -> Result<Saving> {
        let name = crate::name::folder_name(name)?;
        while self.read_one() {}
        let kind = self.kind.ok_or(Problem::TooFewClasses)?;
        let gallery = self.gallery()?;
        let examples = || gallery.classes.values().flatten();
        let unusable =
            examples().filter(|example| example.loaded.as_ref().is_some_and(|loaded| loaded.feature.is_err()));
        match unusable.count() {
            0 => {}
            count => return Err(Problem::UnusableExamples { count }),
        }
        let full = gallery.classes.iter().filter(|(_, examples)| !examples.is_empty());
        let classes: Vec<String> = full.map(|(name, _)| name.clone()).collect();
        if classes.len() < 2 {
            return Err(Problem::TooFewClasses);
        }
        let folder = gallery.root().canonicalize()?;
        let target = folder.parent().unwrap_or(&folder).join(&name);
        if target.symlink_metadata().is_ok() {
            return Err(Problem::NameTaken { name });
        }
        let model = self.learner(kind)?.model().clone();
        Ok(Saving { folder, target, model, classes })
    }
}

impl Saving {
    /// Saves the classifier, exactly as `adapt` makes it from the folder, and returns where.
    pub(crate) fn save(self) -> Result<PathBuf> {
        let Self { folder, target, model, classes } = self;
        let dataset = taper_data::open(&folder).map_err(Problem::other)?;
        let found: Vec<String> = dataset.classes().iter().map(|class| class.full_name()).collect();
        if found != classes {
            return Err(Problem::other(format!(
                "the folder's classes are read as {}: rename those that differ",
                found.join(", ")
            )));
        }
        let classifier = taper_compare::adapt(&model, &dataset, 1, 0)?;
        if target.symlink_metadata().is_ok() {
            let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            return Err(Problem::NameTaken { name });
        }
        classifier.save(&target)?;
        Ok(target)
    }
}

fn ranked(classes: impl Iterator<Item = (String, f32)>) -> Vec<Likely> {
    let mut classes: Vec<Likely> = classes.map(|(name, probability)| Likely { name, probability }).collect();
    classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    classes
}

fn decoded(bytes: &[u8]) -> Result<Decoded> {
    decode_image(bytes).map_err(|error| Problem::NotAPicture { detail: error.to_string() })
}

/// The kind of a folder's pictures: as their names say, else drawings if all pictures of a sample are; `None` if there
/// are none.
fn kind_of(gallery: &Gallery) -> Option<Kind> {
    const SAMPLE: usize = 20;
    let files: Vec<(&String, &String)> = gallery
        .classes
        .iter()
        .flat_map(|(class, examples)| examples.iter().map(move |example| (class, &example.file)))
        .collect();
    let named = files.iter().find_map(|(_, file)| Kind::of_file(file));
    if named.is_some() || files.is_empty() {
        return named;
    }
    let step = files.len().div_ceil(SAMPLE);
    let is_drawing =
        |path: &Path| taper_data::read_image(path).map_or(true, |image| Sheet::of(&image) != Sheet::Picture);
    let drawings = files.iter().step_by(step).all(|(class, file)| is_drawing(&gallery.path(class, file)));
    Some(if drawings { Kind::Drawings } else { Kind::Photographs })
}

fn ending(format: Format) -> &'static str {
    match format {
        Format::Png => "png",
        Format::Jpeg => "jpg",
        Format::Gif => "gif",
        Format::WebP => "webp",
        Format::Bmp => "bmp",
        Format::Tiff => "tif",
        Format::Pnm => "pnm",
        Format::Qoi => "qoi",
        Format::Heic => "heic",
    }
}
