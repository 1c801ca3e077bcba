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
    /// The number of classes.
    pub ways: usize,
    /// How many inputs each image has: all images in one view, then all in the next one.
    pub views: usize,
}

impl Batch {
    /// Inputs with their labels.
    ///
    /// # Errors
    /// Returns an error if the numbers of inputs and labels differ, or a label is not below `ways`.
    pub fn new(inputs: Tensor, labels: &[u32], ways: usize) -> Result<Self> {
        let n = inputs.dim(0)?;
        if n != labels.len() {
            return Err(DataError::Invalid(format!("{n} inputs have {} labels: give one each", labels.len())));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= ways) {
            return Err(DataError::Invalid(format!(
                "label {label} is too large for {ways} classes: use labels below {ways}"
            )));
        }
        Ok(Self { inputs, labels: Tensor::from_slice(labels, n, &Device::Cpu)?, ways, views: 1 })
    }

    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.labels.elem_count()
    }

    /// Returns `true` if there are no inputs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A small classification problem: adapt on the support set, be scored on the query set.
#[derive(Debug, Clone)]
pub struct Episode {
    /// The examples that a learner adapts on.
    pub support: Batch,
    /// The examples that it is scored on.
    pub query: Batch,
    /// The data set's index of each query image, in the order of `query`.
    pub query_images: Vec<usize>,
    /// For each label of the task, the data set's class.
    pub classes: Vec<u32>,
    /// The group of the classes, or the data set's name.
    pub source: String,
}

/// A source of input tensors for indices of images: transformed images, or features of a frozen
/// network.
pub trait Inputs: Send + Sync {
    /// `(n, …)`, one row per index. Random transforms draw from `rng`; without it they are replaced by
    /// their fixed counterpart.
    ///
    /// # Errors
    /// Returns an error if an index is out of range, or an image can't be read or transformed.
    fn inputs(&self, indices: &[usize], rng: Option<&mut Rng>) -> Result<Tensor>;

    /// The task that the indices describe.
    ///
    /// # Errors
    /// Returns an error if [`Inputs::inputs`] does.
    fn episode(&self, drawn: &EpisodeIndices, mut rng: Option<&mut Rng>) -> Result<Episode> {
        let ways = drawn.classes.len();
        let support = self.inputs(&drawn.support, rng.as_deref_mut())?;
        let query = self.inputs(&drawn.query, rng)?;
        Ok(Episode {
            support: Batch::new(support, &drawn.support_labels, ways)?,
            query: Batch::new(query, &drawn.query_labels, ways)?,
            query_images: drawn.query.clone(),
            classes: drawn.classes.clone(),
            source: drawn.source.clone(),
        })
    }
}
