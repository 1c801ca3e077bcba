//! A course of training: the classes that methods learn from, and the ways to learn from them.

use crate::output::Output;
use crate::stage::{self, Stage};
use anyhow::{Context, Result};
use rand::Rng as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use taper_data::{Batch, EpisodeSampler, Inputs, Scope, TaskShape, View};
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
    /// Tasks of another data set among those of the classes.
    pub(crate) beside: Option<Beside>,
}

impl Course<'_> {
    /// The backbone with a linear head of `outputs`.
    pub(crate) fn classifier(&self, outputs: usize) -> Result<Network> {
        Ok(Network::new(self.backbone.backbone(self.view.shape())?, Head::Linear { outputs }))
    }

    fn stage<'a>(&'a self, name: &'a str) -> Stage<'a> {
        Stage { name, run: self.run, output: self.output }
    }

    /// An ordinary classifier of all classes, `size` images a step.
    pub(crate) fn pretrain(&self, stage: &str, plan: &Plan, size: usize) -> Result<(Network, stage::Trained)> {
        let dataset = self.view.dataset();
        let place: BTreeMap<u32, u32> =
            self.classes.iter().enumerate().map(|(place, &class)| (class, place as u32)).collect();
        let images: Vec<(usize, u32)> = dataset
            .labels()
            .iter()
            .enumerate()
            .filter_map(|(image, class)| Some((image, *place.get(class)?)))
            .collect();
        let ways = self.classes.len();
        let network = self.classifier(ways)?;
        let objective = Supervised { network: network.clone(), head_only: false, norm: Norm::Batch, smoothing: 0.0 };
        let size = size.min(images.len());
        let steps_an_epoch = (images.len() / size) as u64;
        let items = |at: Draw| {
            let order = permutation(&mut taper_ops::rng(at.seed, "epoch", at.step / steps_an_epoch), images.len());
            let first = (at.step % steps_an_epoch) as usize * size;
            let (indices, labels): (Vec<usize>, Vec<u32>) =
                order[first..first + size].iter().map(|&k| images[k]).unzip();
            Ok(Batch::new(self.view.inputs(&indices, Some(&mut at.rng("transform")))?, &labels, ways)?)
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
            let other = self.beside.as_ref().filter(|beside| at.rng("source").random::<f64>() < beside.share);
            let (view, sampler) = other.map_or((self.view, &sampler), |beside| (&beside.view, &beside.sampler));
            Ok(view.episode(&sampler.draw(at.seed, at.number), Some(&mut at.rng("transform")))?)
        };
        let objective = (episodic.objective)(setup)?;
        let start = setup.begin(episodic, pretrained, plan.seed)?;
        self.stage(stage).train(plan, start, objective.as_ref(), items, validate)
    }

    /// What a model directory says about a method trained here.
    pub(crate) fn trained(&self, method: &str, setup: &Setup) -> Trained {
        let dataset = self.view.dataset();
        let beside = self.beside.as_ref().map_or_else(String::new, |beside| {
            let dataset = beside.view.dataset();
            format!(" beside {} ({} classes)", dataset.name(), dataset.classes().len())
        });
        Trained {
            method: method.into(),
            on: format!("{} ({} classes){beside}", dataset.name(), self.classes.len()),
            classes: self.classes.iter().map(|&class| dataset.classes()[class as usize].full_name()).collect(),
            settings: setup.settings.to_map(),
            norm: setup.norm.to_string(),
        }
    }
}
