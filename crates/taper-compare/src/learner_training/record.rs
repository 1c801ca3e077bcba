//! What a kept learner records about its training.

use super::prepared::{PreparedTraining, Start};
use crate::Result;
use taper_learn::{
    methods::Training,
    models::Origin,
    provenance::{Provenance, UsedData},
};
use taper_meta::training::TaskSource;

impl PreparedTraining<'_> {
    /// The sources that are recorded: synthetic data are never used again, so their names would only fill the file.
    fn recorded(&self) -> impl Iterator<Item = &TaskSource> {
        let also = self.also.iter().filter(|divided| !divided.is_synthetic).map(|divided| &divided.training);
        (!self.own.is_synthetic).then_some(&self.tasks.main).into_iter().chain(also)
    }

    /// Where the learner comes from.
    pub(super) fn origin(&self) -> Origin {
        let named = |source: &TaskSource| -> Vec<String> {
            let classes = source.dataset().classes();
            source.classes.iter().map(|&class| classes[class as usize].full_name()).collect()
        };
        let norm = match self.method.info().training {
            Training::Episodes { .. } => self.options.norm.unwrap_or(self.method.info().norm),
            _ => self.method.info().norm,
        };
        let on = self.tasks.description();
        let (on, norm) = match &self.start {
            Start::Nothing => (on, norm.to_string()),
            Start::Weights(frozen) => (format!("{}, {on}", frozen.name), taper_learn::TaskNorm::Stored.to_string()),
        };
        Origin {
            method: self.method.info().name.into(),
            on,
            classes: self.recorded().flat_map(named).collect(),
            settings: self.settings.clone(),
            norm,
            revised: false,
        }
    }

    /// The images that the learner was trained and validated on.
    pub(super) fn provenance(&self) -> Result<Provenance> {
        let used = |source: &TaskSource| UsedData::of_classes(source.dataset(), &source.classes);
        let validates =
            matches!(self.method.info().training, Training::Episodes { .. }) && !self.own.validation.classes.is_empty();
        let weights = match &self.start {
            Start::Nothing => None,
            Start::Weights(frozen) => Some(UsedData::unrecorded(&frozen.name, &[])),
        };
        let recorded = self.recorded().map(used).collect::<taper_learn::Result<Vec<_>>>()?;
        Ok(Provenance {
            trained_on: weights.into_iter().chain(recorded).collect(),
            validated_on: if validates { vec![used(&self.own.validation)?] } else { Vec::new() },
            chosen_on: Vec::new(),
        })
    }
}
