//! What is to be scored, in which order and with which share of the time.

use super::meta_data::MetaSource;
use super::options::{OwnTask, Part};
use super::row::LeftOut;
use crate::from_weights::Frozen;
use crate::{CompareError, Result};
use taper_learn::{Method, Observer};

/// What is still to be scored.
pub(super) enum Planned {
    Method(&'static dyn Method, Part),
    FineTuneAll,
    MetaThenFineTune,
    /// A kept learner, by its place.
    Learner(usize),
}

impl Planned {
    /// Its name among measured times.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Method(method, _) => method.info().name,
            Self::FineTuneAll => "fine-tuning everything",
            Self::MetaThenFineTune => "fine-tuning after meta-training",
            Self::Learner(_) => "a kept learner",
        }
    }

    /// Its share of the time, relative to the others'.
    pub(super) fn weight(&self) -> f64 {
        match self {
            Self::Method(_, Part::Floor) => 0.5,
            Self::Method(_, Part::Head | Part::Scratch) | Self::Learner(_) => 1.0,
            Self::Method(_, Part::Meta) => 2.0,
            Self::Method(_, Part::FineTune) => 6.0,
            Self::FineTuneAll => 5.0,
            Self::MetaThenFineTune => 4.0,
        }
    }
}

/// What is to be scored, the cheapest first, and what can't be; a note says so.
///
/// # Errors
/// Returns an error if nothing can be scored.
pub(super) fn planned(
    own: &OwnTask,
    frozen: Option<&Frozen>,
    meta: Option<&MetaSource>,
    learners: usize,
    observer: &mut dyn Observer,
) -> Result<(Vec<Planned>, Vec<LeftOut>)> {
    let mut left_out = Vec::new();
    let mut leave_out = |method: &dyn Method, reason: &str| {
        let info = method.info();
        left_out.push(LeftOut { name: info.title.to_string(), kind: info.kind, reason: reason.to_string() });
    };
    let parts = own.parts()?;
    let can_cut = frozen.is_some_and(|frozen| frozen.stage.is_some());
    let mut planned = Vec::new();
    let (mut without_weights, mut without_meta, mut uncut) = (0, 0, 0);
    for part in [Part::Floor, Part::Head, Part::Scratch, Part::Meta, Part::FineTune] {
        if part == Part::Meta {
            planned.extend((0..learners).map(Planned::Learner));
        }
        for &(method, _) in parts.iter().filter(|(_, of)| *of == part) {
            match part {
                Part::Head | Part::Meta | Part::FineTune if frozen.is_none() => {
                    without_weights += 1;
                    leave_out(method, "no pretrained weights");
                }
                Part::Meta if meta.is_none() => {
                    without_meta += 1;
                    leave_out(method, "no other images to meta-learn from");
                }
                Part::Meta if !can_cut => {
                    uncut += 1;
                    leave_out(method, "this network can't be trained in part");
                }
                Part::FineTune if !can_cut => planned.push(Planned::FineTuneAll),
                Part::FineTune => {
                    planned.push(Planned::Method(method, part));
                    if planned.iter().any(|one| matches!(one, Planned::Method(_, Part::Meta))) {
                        planned.push(Planned::MetaThenFineTune);
                    }
                    planned.push(Planned::FineTuneAll);
                }
                _ => planned.push(Planned::Method(method, part)),
            }
        }
    }
    if without_weights > 0 {
        observer
            .note(format!("{without_weights} methods start from pretrained weights, and there are none: left out"))?;
    }
    if without_meta > 0 {
        observer.note(format!(
            "meta-learners are left out ({without_meta}): they need other images to learn from, such as a folder of other \
             photographs with classes of their own"
        ))?;
    }
    if uncut > 0 {
        observer.note(format!("meta-learners are left out ({uncut}): this network can't be trained in part"))?;
    }
    if planned.is_empty() {
        return Err(CompareError::Invalid(
            "no method can be scored: give what they start from, or ask for others".into(),
        ));
    }
    Ok((planned, left_out))
}
