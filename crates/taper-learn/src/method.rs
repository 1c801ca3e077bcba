//! What a method is, as data: the registry of the program is a list of these, and everything that
//! trains, scores, keeps or explains a method reads it here.

use crate::{Adapt, LearnError, Objective, Result, TaskNorm};
use std::collections::BTreeMap;
use std::fmt;
use taper_data::Episode;
use taper_models::{Head, Network, Params, State};

/// The prefix of what a method learns beside the network, such as step sizes: `method.…`.
pub const OWN: &str = "method";

/// What a method has behind it when it meets a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, and it learns nothing: what every learner has to beat.
    Floor,
    /// Nothing but the task itself.
    Scratch,
    /// One network trained on other classes in the ordinary way.
    Transfer,
    /// Training on tasks, for tasks.
    Meta,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Floor => "floor",
            Self::Scratch => "scratch",
            Self::Transfer => "transfer",
            Self::Meta => "meta",
        })
    }
}

/// One number that a method can be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Its name, in kebab case.
    pub name: &'static str,
    /// What it is unless told.
    pub default: f64,
    /// What it does, in a few words.
    pub about: &'static str,
}

/// What a method is trained on before it meets a task.
#[derive(Clone, Copy)]
pub enum Training {
    /// Nothing: it starts from an untrained network, or needs none.
    Nothing,
    /// An ordinary classifier of all training classes.
    Pretraining,
    /// One shared head over fixed tasks.
    SharedTasks,
    /// Tasks like those it will meet.
    Episodes(Episodic),
}

/// How a method learns from tasks.
#[derive(Clone, Copy)]
pub struct Episodic {
    /// Does it start from an ordinary classifier of all training classes?
    pub pretrained: bool,
    /// The network's head, for tasks of so many classes at most.
    pub head: fn(ways: usize) -> Head,
    /// What it learns or keeps beside the network, each name under [`OWN`], from a seed.
    pub own: fn(&Setup, seed: u64) -> Result<State>,
    /// What a training step differentiates.
    pub objective: fn(&Setup) -> Result<Box<dyn Objective<Item = Episode>>>,
}

/// A method as the registry knows it.
pub struct Method {
    /// Its name on the command line and in model directories (`"protonet"`).
    pub name: &'static str,
    /// Its name in tables (`"ProtoNet"`).
    pub title: &'static str,
    /// What it has behind it when it meets a task.
    pub kind: Kind,
    /// Where it is from: authors and year.
    pub paper: &'static str,
    /// Does it look at all queries together, whatever the norm?
    pub transductive: bool,
    /// Whose statistics normalize its tasks, unless told.
    pub norm: TaskNorm,
    /// What it can be told.
    pub settings: &'static [Setting],
    /// What it is trained on.
    pub training: Training,
    /// The learner that a trained state is.
    pub learner: fn(&Setup, State) -> Result<Box<dyn Adapt>>,
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Method").field(&self.name).finish()
    }
}

impl Method {
    /// The network it trains, for tasks of `ways` classes at most: `network` with its own head.
    pub fn network(&self, network: &Network, ways: usize) -> Network {
        match self.training {
            Training::Episodes(episodic) => network.with_head((episodic.head)(ways)),
            _ => network.with_head(Head::Linear { outputs: ways }),
        }
    }

    /// All settings, those that `told` names as it says.
    ///
    /// Errs when it names one that the method has not.
    pub fn settings(&self, told: &BTreeMap<String, f64>) -> Result<Settings> {
        let mut values: BTreeMap<String, f64> =
            self.settings.iter().map(|setting| (setting.name.to_string(), setting.default)).collect();
        for (name, &value) in told {
            match values.get_mut(name) {
                Some(place) => *place = value,
                None => {
                    let known: Vec<&str> = self.settings.iter().map(|setting| setting.name).collect();
                    let hint =
                        if known.is_empty() { "it has none".to_string() } else { format!("use {}", known.join(", ")) };
                    return Err(LearnError::Invalid(format!("{} has no setting `{name}`: {hint}", self.name)));
                }
            }
        }
        Ok(Settings(values))
    }
}

/// A method's settings, every one with its value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings(BTreeMap<String, f64>);

impl Settings {
    /// Those a model directory wrote down.
    pub fn written(values: BTreeMap<String, f64>) -> Self {
        Self(values)
    }

    /// The setting of that name.
    ///
    /// Errs when there is none: an older version wrote them.
    pub fn get(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().ok_or_else(|| {
            LearnError::Invalid(format!("the model's config.json lacks the setting `{name}`: train it again"))
        })
    }

    /// A setting that counts something.
    ///
    /// Errs when there is none, or it is no whole number.
    pub fn count(&self, name: &str) -> Result<usize> {
        let value = self.get(name)?;
        if value < 0.0 || value.fract() != 0.0 || value > 1e9 {
            return Err(LearnError::Invalid(format!("{name} is {value}, it must be a whole number, such as 5")));
        }
        Ok(value as usize)
    }

    /// A setting that is on (anything but 0) or off.
    ///
    /// Errs when there is none.
    pub fn is_on(&self, name: &str) -> Result<bool> {
        Ok(self.get(name)? != 0.0)
    }

    /// As a map, to be written down.
    pub fn to_map(&self) -> BTreeMap<String, f64> {
        self.0.clone()
    }
}

/// A method with everything chosen: what its objective and its learner are made from.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The network, with the method's head.
    pub network: Network,
    /// Whose statistics normalize a task.
    pub norm: TaskNorm,
    /// The method's settings.
    pub settings: Settings,
    /// Steps of the whole training, for what changes on the way; 0 in use.
    pub steps: u64,
}

impl Setup {
    /// Where training starts: a fresh network, or `pretrained`'s backbone with a fresh head, and
    /// what the method has beside it.
    pub fn begin(&self, episodic: &Episodic, pretrained: Option<&State>, seed: u64) -> Result<State> {
        let network = match pretrained {
            Some(state) => self.network.replace_head(state, seed)?,
            None => self.network.init(seed)?,
        };
        let own = (episodic.own)(self, seed)?;
        Ok(State { params: network.params.merged(&own.params), buffers: network.buffers.merged(&own.buffers) })
    }
}

/// For methods that learn nothing beside the network.
pub fn nothing_beside(_setup: &Setup, _seed: u64) -> Result<State> {
    Ok(State::default())
}

/// Is this name of something beside the network?
pub fn is_own(name: &str) -> bool {
    name.strip_prefix(OWN).is_some_and(|rest| rest.starts_with('.'))
}

/// The network's part of a state.
pub fn network_part(state: &State) -> State {
    State { params: state.params.filter(|name| !is_own(name)), buffers: state.buffers.filter(|name| !is_own(name)) }
}

/// What a method learned beside the network, without the prefix.
pub fn own_params(params: &Params) -> Params {
    params.under(OWN)
}
