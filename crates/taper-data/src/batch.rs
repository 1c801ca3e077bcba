//! Labeled inputs, and a task made of two of them.

use crate::{DataError, EpisodeIndices, Result};
use candle_core::{Device, Tensor};
use taper_ops::Rng;

/// Labeled inputs of one classification problem.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Images `(n, c, h, w)` or features `(n, d)`, f32.
    pub inputs: Tensor,
    /// Labels `(n)`, u32, each below `ways`.
    pub labels: Tensor,
    /// How many classes there are.
    pub ways: usize,
}

impl Batch {
    /// Inputs with their labels.
    ///
    /// Errs when the numbers of inputs and labels differ, or a label is not below `ways`.
    pub fn new(inputs: Tensor, labels: &[u32], ways: usize) -> Result<Self> {
        let n = inputs.dim(0)?;
        if n != labels.len() {
            return Err(DataError::Invalid(format!("{n} inputs have {} labels, give one each", labels.len())));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= ways) {
            return Err(DataError::Invalid(format!(
                "label {label} does not exist among {ways} classes, counted from 0"
            )));
        }
        Ok(Self { inputs, labels: Tensor::from_slice(labels, n, &Device::Cpu)?, ways })
    }

    /// How many inputs there are.
    pub fn len(&self) -> usize {
        self.labels.elem_count()
    }

    /// Is there no input?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A small classification problem: adapt on the support set, be scored on the query set.
#[derive(Debug, Clone)]
pub struct Episode {
    /// What a learner adapts on.
    pub support: Batch,
    /// What it is scored on.
    pub query: Batch,
    /// For each label of the task, the data set's class.
    pub classes: Vec<u32>,
    /// Where the classes come from: a group, or the data set's name.
    pub source: String,
}

/// Whatever turns numbers of images into input tensors: images through transforms, or features
/// of a frozen network.
pub trait Inputs: Send + Sync {
    /// `(n, …)`, one row an index. Random transforms draw from `chance`; without it they are
    /// replaced by their fixed counterpart.
    fn inputs(&self, indices: &[usize], rng: Option<&mut Rng>) -> Result<Tensor>;

    /// The task that the indices describe.
    fn episode(&self, drawn: &EpisodeIndices, mut rng: Option<&mut Rng>) -> Result<Episode> {
        let ways = drawn.classes.len();
        let support = self.inputs(&drawn.support, rng.as_deref_mut())?;
        let query = self.inputs(&drawn.query, rng)?;
        Ok(Episode {
            support: Batch::new(support, &drawn.support_labels, ways)?,
            query: Batch::new(query, &drawn.query_labels, ways)?,
            classes: drawn.classes.clone(),
            source: drawn.source.clone(),
        })
    }
}
