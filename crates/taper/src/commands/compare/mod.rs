//! `taper compare`: both kinds of learning, the same tasks, one table, one verdict.

mod own_task;
mod tasks;

use crate::args::{Compare, Tasks, UsageError};
use crate::data;
use crate::output::Output;
use anyhow::Result;
use taper_data::{Dataset, Look};

/// Photographs of up to so many classes are taken for those that a person wants to tell apart.
const OWN_CLASSES: usize = 100;

pub(crate) fn run(options: &Compare, output: &Output) -> Result<()> {
    let asked = options.tasks()?;
    if asked == Some(Tasks::Random) {
        options.tasks.check(&options.comparison(false))?;
    }
    let dataset = data::given_labeled(options.data.as_ref(), &options.labels, output)?;
    let tasks = match asked {
        Some(tasks) => tasks,
        None if is_own(options, dataset.as_ref())? => Tasks::Own,
        None => Tasks::Random,
    };
    match tasks {
        Tasks::Own if options.data.is_none() => {
            Err(UsageError("--labels, --budget and --allow-unlike are for a data set of yours: name it".into()).into())
        }
        Tasks::Own if options.shard.is_some() || output.ranks().count() > 1 => Err(UsageError(
            "a comparison on all classes shares its time among its rows, so it can't be divided: start one process \
             without --shard, or compare on random classes, such as with --ways 5"
                .into(),
        )
        .into()),
        Tasks::Own => own_task::run(options, dataset, output),
        Tasks::Random => tasks::run(options, dataset, output),
    }
}

/// Whether a data set's classes are those that a person wants to tell apart: a few classes of photographs.
fn is_own(options: &Compare, dataset: &dyn Dataset) -> Result<bool> {
    let has_images = dataset.vector(0).is_none();
    let few = options.data.is_some() && has_images && dataset.classes().len() <= OWN_CLASSES;
    Ok(few && Look::of(dataset)?.channels == 3)
}
