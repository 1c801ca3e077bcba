//! Methods behind one type, for a registry.

use super::settings::{described, resolved, values};
use crate::{
    Adapt, Context, Result, TypedMethod,
    methods::{MethodInfo, SettingInfo, SettingValues},
    training::Objective,
};
use std::fmt;
use std::marker::PhantomData;
use taper_data::Episode;
use taper_models::{Network, State};

/// A method with its type erased, for a registry.
///
/// ```
/// use taper_learn::{heads::LINEAR_PROBE, Method};
///
/// let registry: [&dyn Method; 1] = [&LINEAR_PROBE];
/// assert_eq!(registry[0].info().name, "linear-probe");
/// assert_eq!(registry[0].settings()?[0].name, "c");
/// # Ok::<(), taper_learn::LearnError>(())
/// ```
pub trait Method: Sync {
    /// Its name, its source and what it needs.
    fn info(&self) -> MethodInfo;

    /// Its settings with their defaults, for help and errors.
    ///
    /// # Errors
    /// Returns an error if a default can't be serialized.
    fn settings(&self) -> Result<Vec<SettingInfo>>;

    /// Returns `true` if it has a setting of this name.
    fn has_setting(&self, name: &str) -> bool {
        self.settings().is_ok_and(|settings| settings.iter().any(|setting| setting.name == name))
    }

    /// All settings: the defaults with these overrides.
    ///
    /// # Errors
    /// Returns an error, naming the setting, if there is no setting of a name or its value is
    /// invalid.
    fn resolve(&self, overrides: &SettingValues) -> Result<SettingValues>;

    /// The network that it learns with, for tasks of at most `ways` classes: `network` with the
    /// method's own head.
    fn network(&self, network: &Network, ways: usize) -> Network;

    /// The method with the defaults and these overrides, configured for `context`.
    ///
    /// # Errors
    /// As [`Method::resolve`].
    fn configure(&self, overrides: &SettingValues, context: Context) -> Result<Box<dyn ConfiguredMethod>>;
}

impl fmt::Debug for dyn Method + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Method").field(&self.info().name).finish()
    }
}

/// A method with everything chosen.
pub trait ConfiguredMethod: Send + Sync {
    /// What it is configured for.
    fn context(&self) -> &Context;

    /// All settings, as a model directory holds them.
    fn settings(&self) -> &SettingValues;

    /// Where training starts; see [`TypedMethod::start`].
    ///
    /// # Errors
    /// As [`TypedMethod::start`].
    fn start(&self, pretrained: Option<&State>, seed: u64) -> Result<State>;

    /// What a training step differentiates; see [`TypedMethod::objective`].
    ///
    /// # Errors
    /// As [`TypedMethod::objective`].
    fn objective(&self) -> Result<Box<dyn Objective<Item = Episode>>>;

    /// The learner with a trained state; see [`TypedMethod::learner`].
    ///
    /// # Errors
    /// As [`TypedMethod::learner`].
    fn learner(&self, state: State) -> Result<Box<dyn Adapt>>;
}

/// A [`TypedMethod`] as a [`Method`]: `const MAML: Registered<Maml> = Registered::new();`.
pub struct Registered<M>(PhantomData<fn() -> M>);

impl<M> Registered<M> {
    /// The method `M`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M> Default for Registered<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: TypedMethod> Method for Registered<M> {
    fn info(&self) -> MethodInfo {
        M::INFO
    }

    fn settings(&self) -> Result<Vec<SettingInfo>> {
        described::<M>()
    }

    fn resolve(&self, overrides: &SettingValues) -> Result<SettingValues> {
        values(&checked::<M>(overrides)?)
    }

    fn network(&self, network: &Network, ways: usize) -> Network {
        M::network(network, ways)
    }

    fn configure(&self, overrides: &SettingValues, context: Context) -> Result<Box<dyn ConfiguredMethod>> {
        let method = checked::<M>(overrides)?;
        Ok(Box::new(Configured { settings: values(&method)?, method, context }))
    }
}

fn checked<M: TypedMethod>(overrides: &SettingValues) -> Result<M> {
    let method: M = resolved(M::INFO.name, overrides)?;
    method.check()?;
    Ok(method)
}

struct Configured<M> {
    method: M,
    settings: SettingValues,
    context: Context,
}

impl<M: TypedMethod> ConfiguredMethod for Configured<M> {
    fn context(&self) -> &Context {
        &self.context
    }

    fn settings(&self) -> &SettingValues {
        &self.settings
    }

    fn start(&self, pretrained: Option<&State>, seed: u64) -> Result<State> {
        self.method.start(&self.context, pretrained, seed)
    }

    fn objective(&self) -> Result<Box<dyn Objective<Item = Episode>>> {
        self.method.objective(&self.context)
    }

    fn learner(&self, state: State) -> Result<Box<dyn Adapt>> {
        self.method.learner(&self.context, state)
    }
}
