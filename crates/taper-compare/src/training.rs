//! The training behind a comparison: every method sees as many images as the others, and what
//! several methods start from is trained once per run.

use crate::contender::Contender;
use crate::registry::{METHODS, learner};
use crate::tasks::ComparisonTasks;
use crate::{CompareError, Comparison, Result, Start};
use rand::Rng as _;
use taper_learn::{
    Context, Method, Model, Observer, Plan, RunDirectory,
    methods::{ConfiguredMethod, Kind, SettingValues, Training},
    models::Origin,
    provenance::Provenance,
    training::{Schedule, Stage},
};
use taper_meta::training::{MultitaskTraining, TrainingTasks, multitask, pretrain};
use taper_models::{Head, Network, State};

/// One training run of every method that is trained here.
pub(crate) struct TrainingRun<'a> {
    comparison: &'a Comparison,
    tasks: &'a ComparisonTasks,
    run: Option<&'a RunDirectory>,
    /// Which run this is, from 0.
    number: u64,
    seed: u64,
    pretrained: Option<Trunk>,
    half_pretrained: Option<Trunk>,
    shared: Option<Trunk>,
}

/// A network as it is before it meets a task.
#[derive(Clone)]
struct Trunk {
    network: Network,
    state: State,
    /// Seconds of training; `None` if it was not trained.
    seconds: Option<f64>,
}

impl<'a> TrainingRun<'a> {
    /// Training run `number` of the comparison; each has a seed of its own.
    pub(crate) fn new(
        comparison: &'a Comparison,
        tasks: &'a ComparisonTasks,
        run: Option<&'a RunDirectory>,
        number: u64,
    ) -> Self {
        let seed = match number {
            0 => comparison.seed,
            number => taper_ops::rng(comparison.seed, "training run", number).random(),
        };
        let (pretrained, half_pretrained, shared) = (None, None, None);
        Self { comparison, tasks, run, number, seed, pretrained, half_pretrained, shared }
    }

    /// Trains those methods that the comparison asks for and `mine` accepts, each with its place in the registry.
    pub(crate) fn contenders(
        &mut self,
        mine: &dyn Fn(&dyn Method) -> bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<(usize, Contender)>> {
        let asked = METHODS.iter().enumerate().filter(|(_, method)| self.comparison.asks_for(method.info().name));
        let asked: Vec<_> = asked.filter(|(_, method)| mine(**method)).collect();
        asked.into_iter().map(|(place, &method)| Ok((place, self.contender(method, observer)?))).collect()
    }

    fn contender(&mut self, method: &dyn Method, observer: &mut dyn Observer) -> Result<Contender> {
        let info = method.info();
        let trunk = self.trunk(method, observer)?;
        let configured = configured(self.comparison, method, trunk.network.clone(), 0)?;
        let source = &self.tasks.training;
        let dataset = source.dataset();
        let classes = dataset.classes();
        let (on, seen) = match trunk.seconds {
            Some(_) => (
                format!("{} ({} classes)", dataset.name(), source.classes.len()),
                source.classes.iter().map(|&class| classes[class as usize].full_name()).collect(),
            ),
            None => ("nothing".to_string(), Vec::new()),
        };
        let model = Model {
            network: trunk.network,
            state: trunk.state,
            labels: Vec::new(),
            transform: self.tasks.test.view.transform().to_string(),
            provenance: Provenance::default(),
            support: None,
            origin: Origin {
                method: info.name.into(),
                on,
                classes: seen,
                settings: configured.settings().clone(),
                norm: configured.context().norm.to_string(),
                revised: false,
            },
        };
        Ok(Contender {
            name: info.title.into(),
            kind: info.kind,
            start: Start::Nothing,
            trained_on: match info.kind {
                Kind::Floor => "nothing".into(),
                Kind::Scratch => "the support set".into(),
                Kind::Transfer | Kind::Meta => dataset.name().to_string(),
            },
            train_seconds: trunk.seconds.unwrap_or(0.0),
            trained_here: trunk.seconds.is_some(),
            learner: learner(&model)?,
            validation: self.tasks.validation.view.clone(),
            test: self.tasks.test.view.clone(),
            model: (info.kind != Kind::Floor).then_some(model),
        })
    }

    /// What `method` has learned before it meets a task.
    fn trunk(&mut self, method: &dyn Method, observer: &mut dyn Observer) -> Result<Trunk> {
        match method.info().training {
            Training::Nothing => {
                let network = method.network(&self.plain_network()?, self.ways());
                let state = network.init(self.seed)?;
                Ok(Trunk { network, state, seconds: None })
            }
            Training::Pretraining => self.pretrained(1.0, observer),
            Training::SharedTasks => self.shared(observer),
            Training::Episodes { pretrained } => self.meta_trained(method, pretrained, observer),
        }
    }

    /// The classifier pretrained on a share of the images, trained when it is first asked for.
    fn pretrained(&mut self, share: f64, observer: &mut dyn Observer) -> Result<Trunk> {
        let whole = share == 1.0;
        let known = if whole { &self.pretrained } else { &self.half_pretrained };
        if let Some(trunk) = known {
            return Ok(trunk.clone());
        }
        let Comparison { backbone, batch_size, .. } = *self.comparison;
        let name = self.stage(if whole { "pretrained" } else { "pretrained-half" });
        let stage = Stage { name: &name, run: self.run };
        let plan = self.plan(1, batch_size, share);
        let (network, outcome) = pretrain(stage, &self.tasks.training, backbone, &plan, batch_size, observer)?;
        let trunk = Trunk { network, state: outcome.progress.state, seconds: Some(outcome.seconds) };
        *(if whole { &mut self.pretrained } else { &mut self.half_pretrained }) = Some(trunk.clone());
        Ok(trunk)
    }

    /// One shared head over fixed tasks.
    fn shared(&mut self, observer: &mut dyn Observer) -> Result<Trunk> {
        if let Some(trunk) = &self.shared {
            return Ok(trunk.clone());
        }
        let training = MultitaskTraining {
            architecture: self.comparison.backbone,
            ways: self.ways(),
            batch: self.comparison.batch_size,
            epochs: 1,
            queries: None,
            plan: self.plan(1, self.comparison.batch_size, 1.0),
        };
        let name = self.stage("multitask");
        let trained = multitask(Stage { name: &name, run: self.run }, &self.tasks.training, &training, observer)?;
        let (state, seconds) = (trained.outcome.progress.state, Some(trained.outcome.seconds));
        self.shared = Some(Trunk { network: trained.network, state, seconds });
        self.shared.clone().ok_or_else(|| CompareError::Invalid("multitask training gave nothing".into()))
    }

    /// Meta-training; a method of two stages sees half of the images in each.
    fn meta_trained(&mut self, method: &dyn Method, pretrained: bool, observer: &mut dyn Observer) -> Result<Trunk> {
        let before = if pretrained { Some(self.pretrained(0.5, observer)?) } else { None };
        let shape = self.tasks.shape;
        let images_per_task = shape.ways().high() * (shape.shots().high() + shape.queries().high());
        let share = if before.is_some() { 0.5 } else { 1.0 };
        let plan = self.plan(self.comparison.meta_batch_size, images_per_task, share);
        let network = method.network(&self.plain_network()?, self.ways());
        let configured = configured(self.comparison, method, network.clone(), plan.steps)?;
        let objective = configured.objective()?;
        let start = configured.start(before.as_ref().map(|trunk| &trunk.state), self.seed)?;
        let tasks = TrainingTasks::new(self.tasks.training.clone(), Vec::new(), shape)?;
        let name = self.stage(method.info().name);
        let outcome = Stage { name: &name, run: self.run }.train(
            &plan,
            start,
            objective.as_ref(),
            |at| tasks.episode(at),
            |_| Ok(0.0),
            observer,
        )?;
        let seconds = outcome.seconds + before.and_then(|trunk| trunk.seconds).unwrap_or(0.0);
        Ok(Trunk { network, state: outcome.progress.state, seconds: Some(seconds) })
    }

    fn ways(&self) -> usize {
        self.tasks.shape.ways().high()
    }

    fn plain_network(&self) -> Result<Network> {
        let backbone = self.comparison.backbone.backbone(self.tasks.training.view.shape())?;
        Ok(Network::new(backbone, Head::Linear { outputs: 0 }))
    }

    /// A stage's name, unique among training runs.
    fn stage(&self, name: &str) -> String {
        match self.number {
            0 => name.to_string(),
            number => format!("{name}-run{}", number + 1),
        }
    }

    /// As many steps as a share of the images allows.
    fn plan(&self, items: usize, images_per_item: usize, share: f64) -> Plan {
        let images = (self.comparison.images as f64 * share) as u64;
        Plan {
            steps: (images / (items * images_per_item) as u64).max(1),
            items,
            learning_rate: self.comparison.meta_lr,
            schedule: Schedule::Cosine { warmup: 0 },
            clip: Some(10.0),
            save_every: 100,
            seed: self.seed,
            ..Plan::default()
        }
    }
}

/// A method with the settings that the comparison gives it.
pub(crate) fn configured(
    comparison: &Comparison,
    method: &dyn Method,
    network: Network,
    steps: u64,
) -> Result<Box<dyn ConfiguredMethod>> {
    let info = method.info();
    // a pretrained network wants a lower rate than one that learns from the support set alone
    let lr = if info.training == Training::Pretraining { comparison.lr * 0.1 } else { comparison.lr };
    let mut values =
        SettingValues::from_iter([("steps".to_string(), comparison.tune_steps.into()), ("lr".to_string(), lr.into())]);
    values.retain(|name, _| method.has_setting(name));
    values.extend(comparison.set.of(info.name));
    let norm = match info.training {
        Training::Episodes { .. } => comparison.norm.unwrap_or(info.norm),
        _ => info.norm,
    };
    Ok(method.configure(&values, Context { network, norm, steps })?)
}
