//! A course of training: the classes that methods learn from, and the ways to learn from them.

use crate::output::Output;
use crate::stage::{self, Stage};
use anyhow::{Context, Result};
use rand::Rng as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use taper_data::{Batch, EpisodeSampler, Inputs, Scope, Step, Symmetries, TaskShape, View};
use taper_learn::{Draw, Episodic, Plan, RunDirectory, Setup, Supervised, Trained};
use taper_meta::SharedTasks;
use taper_models::{Architecture, Head, Network, Norm, State};
use taper_ops::permutation;

/// Other tasks, mixed in.
pub(crate) struct Beside {
    pub(crate) view: Arc<View>,
    pub(crate) sampler: EpisodeSampler,
    /// Their share.
    pub(crate) share: f64,
    /// Classes of theirs that a model directory names.
    pub(crate) classes: Vec<u32>,
}

impl Beside {
    /// How people call it, with its size.
    fn title(&self) -> String {
        let dataset = self.view.dataset();
        let count = if self.classes.is_empty() { dataset.classes().len() } else { self.classes.len() };
        format!(" beside {} ({count} classes)", dataset.name())
    }
}

/// What methods learn from, and where what they learn is kept.
pub(crate) struct Course<'a> {
    pub(crate) run: Option<&'a RunDirectory>,
    pub(crate) output: &'a Output,
    pub(crate) view: &'a Arc<View>,
    /// Classes to learn from.
    pub(crate) classes: &'a [u32],
    pub(crate) scope: Scope,
    /// Shape of the tasks.
    pub(crate) shape: TaskShape,
    pub(crate) backbone: Architecture,
    /// Tasks of other data sets among those of the classes.
    pub(crate) beside: Vec<Beside>,
}

impl Course<'_> {
    /// The backbone with a linear head of `outputs`.
    pub(crate) fn classifier(&self, outputs: usize) -> Result<Network> {
        Ok(Network::new(self.backbone.backbone(self.view.shape())?, Head::Linear { outputs }))
    }

    fn stage<'a>(&'a self, name: &'a str) -> Stage<'a> {
        Stage { name, run: self.run, output: self.output }
    }

    /// What a classifier learns from: where tasks become others by symmetries, so do the classes.
    fn pretraining(&self) -> Result<(Arc<View>, Vec<u32>)> {
        let transform = self.view.transform();
        if !transform.steps().contains(&Step::TaskSymmetry) {
            return Ok((self.view.clone(), self.classes.to_vec()));
        }
        let symmetries = Symmetries::new(self.view.dataset().clone());
        let classes = symmetries.of(self.classes);
        Ok((Arc::new(View::new(Arc::new(symmetries), transform.clone())?), classes))
    }

    /// An ordinary classifier of all classes, `size` images a step.
    pub(crate) fn pretrain(&self, stage: &str, plan: &Plan, size: usize) -> Result<(Network, stage::Trained)> {
        let (view, classes) = self.pretraining()?;
        let dataset = view.dataset();
        let place: BTreeMap<u32, u32> =
            classes.iter().enumerate().map(|(place, &class)| (class, place as u32)).collect();
        let images: Vec<(usize, u32)> = dataset
            .labels()
            .iter()
            .enumerate()
            .filter_map(|(image, class)| Some((image, *place.get(class)?)))
            .collect();
        let ways = classes.len();
        let network = self.classifier(ways)?;
        let objective = Supervised { network: network.clone(), head_only: false, norm: Norm::Batch, smoothing: 0.0 };
        let size = size.min(images.len());
        let steps_per_epoch = (images.len() / size) as u64;
        let items = |at: Draw| {
            let order = permutation(&mut taper_ops::rng(at.seed, "epoch", at.step / steps_per_epoch), images.len());
            let first = (at.step % steps_per_epoch) as usize * size;
            let (indices, labels): (Vec<usize>, Vec<u32>) =
                order[first..first + size].iter().map(|&k| images[k]).unzip();
            Ok(Batch::new(view.inputs(&indices, Some(&mut at.rng("transform")))?, &labels, ways)?)
        };
        let start = network.init(plan.seed)?;
        let trained = self.stage(stage).train(plan, start, &objective, items, |_| Ok(0.0))?;
        Ok((network, trained))
    }

    /// One shared head over fixed tasks, `size` images a step.
    pub(crate) fn shared_tasks(&self, plan: &Plan, size: usize) -> Result<(Network, stage::Trained)> {
        let ways = self.shape.ways().high();
        let tasks = SharedTasks::new(self.view.dataset().as_ref(), self.classes, ways, plan.seed)?;
        let network = self.classifier(ways)?;
        let objective = Supervised { network: network.clone(), head_only: false, norm: Norm::Batch, smoothing: 0.0 };
        let items = |at: Draw| tasks.batch(self.view.as_ref(), at.step as usize, size, at);
        let start = network.init(plan.seed)?;
        let trained = self.stage("multitask").train(plan, start, &objective, items, |_| Ok(0.0))?;
        Ok((network, trained))
    }

    /// Meta-training by a method's own objective, from its own start.
    pub(crate) fn episodes(
        &self,
        stage: &str,
        episodic: &Episodic,
        setup: &Setup,
        pretrained: Option<&State>,
        plan: &Plan,
        validate: impl FnMut(&State) -> taper_learn::Result<f64>,
    ) -> Result<stage::Trained> {
        let dataset = self.view.dataset();
        let sampler = EpisodeSampler::new(dataset.as_ref(), self.classes, self.shape, self.scope)
            .with_context(|| dataset.name().to_string())?;
        let items = |at: Draw| {
            let (view, sampler) = match self.other(at) {
                Some(beside) => (&beside.view, &beside.sampler),
                None => (self.view, &sampler),
            };
            Ok(view.episode(&sampler.draw(at.seed, at.number), Some(&mut at.rng("transform")))?)
        };
        let objective = (episodic.objective)(setup)?;
        let start = setup.begin(episodic, pretrained, plan.seed)?;
        self.stage(stage).train(plan, start, objective.as_ref(), items, validate)
    }

    /// Whose task a draw is, if not the course's own.
    fn other(&self, at: Draw) -> Option<&Beside> {
        let mut left = at.rng("source").random::<f64>();
        self.beside.iter().find(|beside| {
            left -= beside.share;
            left < 0.0
        })
    }

    /// What a model directory says about a method trained here.
    pub(crate) fn trained(&self, method: &str, setup: &Setup) -> Trained {
        let dataset = self.view.dataset();
        let named = |view: &View, classes: &[u32]| -> Vec<String> {
            let all = view.dataset().classes();
            classes.iter().map(|&class| all[class as usize].full_name()).collect()
        };
        let others = self.beside.iter().flat_map(|beside| named(&beside.view, &beside.classes));
        let beside: String = self.beside.iter().map(Beside::title).collect();
        Trained {
            method: method.into(),
            on: format!("{} ({} classes){beside}", dataset.name(), self.classes.len()),
            classes: named(self.view, self.classes).into_iter().chain(others).collect(),
            settings: setup.settings.to_map(),
            norm: setup.norm.to_string(),
        }
    }
}
