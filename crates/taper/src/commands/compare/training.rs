//! The training behind a comparison: every method sees as many images as the others, and what
//! several start from is trained once.

use super::rows::setup;
use crate::args::Compare;
use crate::course::Course;
use crate::stage;
use anyhow::Result;
use taper_learn::{Episodic, Method, Plan, Schedule, Training as Before};
use taper_models::{Network, State};

/// What methods have been trained so far.
pub(super) struct Training<'a> {
    options: &'a Compare,
    course: &'a Course<'a>,
    pretrained: Option<Learned>,
    half_pretrained: Option<Learned>,
    shared: Option<Learned>,
}

/// A network as it is before a task.
#[derive(Clone)]
pub(super) struct Learned {
    pub(super) network: Network,
    pub(super) state: State,
    /// Of training; none where there was none.
    pub(super) seconds: Option<f64>,
}

impl<'a> Training<'a> {
    pub(super) fn new(options: &'a Compare, course: &'a Course<'a>) -> Self {
        Self { options, course, pretrained: None, half_pretrained: None, shared: None }
    }

    /// What `method` has behind it when it meets a task.
    pub(super) fn of(&mut self, method: &Method) -> Result<Learned> {
        let (options, course) = (self.options, self.course);
        let whole = plan(options, 1, options.batch_size, 1.0);
        match &method.training {
            Before::Nothing => {
                let network = method.network(&course.classifier(0)?, course.shape.ways().high());
                let state = network.init(options.run.common.seed)?;
                Ok(Learned { network, state, seconds: None })
            }
            Before::Pretraining => {
                once(&mut self.pretrained, || course.pretrain("pretrained", &whole, options.batch_size))
            }
            Before::SharedTasks => once(&mut self.shared, || course.shared_tasks(&whole, options.batch_size)),
            Before::Episodes(episodic) => self.episodes(method, episodic),
        }
    }

    /// Meta-training; a method of two stages has half of the images in each.
    fn episodes(&mut self, method: &Method, episodic: &Episodic) -> Result<Learned> {
        let (options, course) = (self.options, self.course);
        let half = plan(options, 1, options.batch_size, 0.5);
        let before = match episodic.pretrained {
            true => {
                Some(once(&mut self.half_pretrained, || course.pretrain("pretrained-half", &half, options.batch_size))?)
            }
            false => None,
        };
        let shape = &course.shape;
        let images_per_task = shape.ways().high() * (shape.shots().high() + shape.queries().high());
        let share = if before.is_some() { 0.5 } else { 1.0 };
        let plan = plan(options, options.meta_batch_size, images_per_task, share);
        let network = method.network(&course.classifier(0)?, shape.ways().high());
        let setup = setup(options, method, network.clone(), plan.steps)?;
        let start = before.as_ref().map(|learned| &learned.state);
        let trained = course.episodes(method.name, episodic, &setup, start, &plan, |_| Ok(0.0))?;
        let seconds = trained.seconds + before.and_then(|learned| learned.seconds).unwrap_or(0.0);
        Ok(Learned { network, state: trained.progress.state, seconds: Some(seconds) })
    }
}

/// What is in `place`; trained when it is first asked for.
fn once(place: &mut Option<Learned>, train: impl FnOnce() -> Result<(Network, stage::Trained)>) -> Result<Learned> {
    if let Some(learned) = place {
        return Ok(learned.clone());
    }
    let (network, trained) = train()?;
    let learned = Learned { network, state: trained.progress.state, seconds: Some(trained.seconds) };
    *place = Some(learned.clone());
    Ok(learned)
}

/// As many steps as a share of the budget of images allows.
fn plan(options: &Compare, items: usize, images_per_item: usize, share: f64) -> Plan {
    Plan {
        steps: ((options.images as f64 * share) as u64 / (items * images_per_item) as u64).max(1),
        items,
        learning_rate: options.meta_lr,
        schedule: Schedule::Cosine { warmup: 0 },
        clip: Some(10.0),
        save_every: 100,
        seed: options.run.common.seed,
        ..Plan::default()
    }
}
