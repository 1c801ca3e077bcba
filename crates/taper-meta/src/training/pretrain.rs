//! Ordinary pretraining: one classifier of all training classes.

use super::TaskSource;
use std::collections::BTreeMap;
use std::sync::Arc;
use taper_data::{Batch, Inputs, Step, Symmetries, View};
use taper_learn::{
    Draw, Observer, Plan, Result,
    training::{MiniBatches, Stage, StageOutcome, Supervised, Targeted, Trainable},
};
use taper_models::{Architecture, Head, Network, Norm};

/// Trains a classifier of all classes of `source`, and returns its network. An item of the plan is a mini-batch of `batch`
/// images, normalized by itself.
/// If the transform applies symmetries of the square to tasks, they are applied to classes.
///
/// # Errors
/// Returns an error if the network does not take such images, or training fails or is stopped.
///
/// ```
/// use std::sync::Arc;
/// use taper_data::{Glyphs, GlyphsSize, View};
/// use taper_learn::{NoopObserver, Plan, training::Stage};
/// use taper_meta::training::{TaskSource, pretrain};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let glyphs = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 4 })?);
/// let source = TaskSource::new(Arc::new(View::new(glyphs, "gray resize(16x16) invert".parse()?)?), vec![0, 1, 2]);
/// let (stage, plan) = (Stage { name: "pretrained", run: None }, Plan { steps: 2, ..Plan::default() });
/// let (_network, outcome) = pretrain(stage, &source, "conv4-4".parse()?, &plan, 4, &mut NoopObserver)?;
/// assert_eq!(outcome.progress.step, 2);
/// # Ok(())
/// # }
/// ```
pub fn pretrain(
    stage: Stage<'_>,
    source: &TaskSource,
    architecture: Architecture,
    plan: &Plan,
    batch: usize,
    observer: &mut dyn Observer,
) -> Result<(Network, StageOutcome)> {
    let (view, classes) = with_symmetries(source)?;
    let dataset = view.dataset();
    let label_of: BTreeMap<u32, u32> =
        classes.iter().enumerate().map(|(label, &class)| (class, label as u32)).collect();
    let images: Vec<(usize, u32)> =
        dataset.labels().iter().enumerate().filter_map(|(image, class)| Some((image, *label_of.get(class)?))).collect();
    let ways = classes.len();
    let network = Network::new(architecture.backbone(view.shape())?, Head::Linear { outputs: ways });
    let objective = Supervised::new(network.clone(), Trainable::All, Norm::Batch);
    let batches = MiniBatches::new(images.len(), batch)?;
    let items = |at: Draw| {
        let places = batches.places(at.seed, at.number);
        let (indices, labels): (Vec<usize>, Vec<u32>) = places.into_iter().map(|k| images[k]).unzip();
        let batch = Batch::new(view.inputs(&indices, Some(&mut at.rng("transform")))?, &labels, ways)?;
        Targeted::of(&batch, None, 0.0)
    };
    let start = network.init(plan.seed)?;
    let outcome = stage.train(plan, start, &objective, items, |_| Ok(0.0), observer)?;
    Ok((network, outcome))
}

/// The source's view and classes; rotated and mirrored ones are separate classes.
fn with_symmetries(source: &TaskSource) -> Result<(Arc<View>, Vec<u32>)> {
    let transform = source.view.transform();
    if !transform.steps().contains(&Step::TaskSymmetry) {
        return Ok((source.view.clone(), source.classes.clone()));
    }
    let symmetries = Symmetries::new(source.view.dataset().clone());
    let classes = symmetries.of(&source.classes);
    Ok((Arc::new(View::new(Arc::new(symmetries), transform.clone())?), classes))
}

impl TaskSource {
    /// The source's number of images.
    pub fn images(&self) -> usize {
        self.dataset().labels().iter().filter(|label| self.classes.contains(label)).count()
    }
}
