//! A method as Rust code uses it: the struct of its settings.

use crate::{
    Adapt, Context, LearnError, Result,
    methods::{MethodInfo, MethodSettings},
    training::Objective,
};
use taper_data::Episode;
use taper_models::{Head, Network, State};

/// A method: the struct of its settings, from which its objective and its learner are made.
///
/// A new method is a file with such a struct, and a line in a registry
/// ([`Registered`](crate::methods::Registered)).
pub trait TypedMethod: MethodSettings {
    /// Its name, its source and what it needs.
    const INFO: MethodInfo;

    /// The head that it learns with, for tasks of at most `ways` classes.
    fn head(ways: usize) -> Head {
        Head::Linear { outputs: ways }
    }

    /// The network that it learns with, for tasks of at most `ways` classes: `network` with the
    /// method's own head.
    fn network(network: &Network, ways: usize) -> Network {
        network.with_head(Self::head(ways))
    }

    /// Checks what types can't express.
    ///
    /// # Errors
    /// Returns an error if a setting is invalid, with a valid value.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// What it learns or keeps besides the network, each name under [`OWN`](crate::methods::OWN).
    ///
    /// # Errors
    /// Returns an error if the network's shapes do not fit together.
    fn own(&self, _context: &Context, _seed: u64) -> Result<State> {
        Ok(State::default())
    }

    /// Where training starts: a fresh network, or `pretrained`'s backbone with a fresh head, and
    /// the method's own parameters.
    ///
    /// # Errors
    /// Returns an error if `pretrained` belongs to another network.
    fn start(&self, context: &Context, pretrained: Option<&State>, seed: u64) -> Result<State> {
        let network = match pretrained {
            Some(state) => context.network.replace_head(state, seed)?,
            None => context.network.init(seed)?,
        };
        let own = self.own(context, seed)?;
        Ok(State { params: network.params.merged(&own.params), buffers: network.buffers.merged(&own.buffers) })
    }

    /// What a training step differentiates.
    ///
    /// # Errors
    /// Returns an error if the method is not trained on episodes, or can't be trained exactly in
    /// this process.
    fn objective(&self, _context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        let name = Self::INFO.name;
        Err(LearnError::Invalid(format!("{name} is not trained on tasks: train an ordinary classifier for it")))
    }

    /// The learner with a trained state.
    ///
    /// # Errors
    /// Returns an error if the state belongs to another method or network.
    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>>;
}
