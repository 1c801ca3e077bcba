//! A weight file with everything that is known about it.

use super::{KnownWeights, Preparation, Preprocessing};
use crate::{Architecture, HeadPolicy, ModelError, Network, Result, State, WeightFile, identify, nearest};
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// What the caller knows about a weight file beyond its content.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WeightHints {
    /// The network.
    pub architecture: Option<Architecture>,
    /// Names of the head's outputs, in their order.
    pub classes: Option<Vec<String>>,
}

/// A weight file with everything that is known about it.
#[derive(Debug, Clone)]
pub struct Pretrained {
    /// Its name: the catalog's, or the file's.
    pub name: String,
    /// The network.
    pub architecture: Architecture,
    /// Outputs of the head; 0 if the file has none.
    pub outputs: usize,
    /// Names of the head's outputs.
    pub classes: Option<Vec<String>>,
    /// How images are prepared for it; `None` if nothing says so.
    pub preparation: Option<Preparation>,
    /// What was read from the file and what was skipped, one sentence each.
    pub notes: Vec<String>,
    tensors: BTreeMap<String, Tensor>,
}

impl Pretrained {
    /// Reads a weight file, or a folder of the hub with one.
    ///
    /// # Errors
    /// Returns an error if the file is broken or its architecture is unknown.
    pub fn read(path: &Path, hints: &WeightHints) -> Result<Self> {
        let file = WeightFile::read(path)?;
        if let Some((tensor, count)) = file.report().not_finite.first() {
            let problem =
                format!("{count} values of `{tensor}` are NaN or infinite: get the file again, or train it again");
            return Err(ModelError::BadFile { path: path.to_path_buf(), problem });
        }
        let mut notes = file.report().notes();
        let tensors = file.into_tensors();
        let known = KnownWeights::of_file(path)?;
        let fits = identify(&tensors);
        let architecture = hints.architecture.or(known.as_ref().map(|known| known.architecture));
        let Some(architecture) = architecture.or(fits.map(|(architecture, _)| architecture)) else {
            let nearest = nearest(&tensors)
                .map(|nearest| format!(" (nearest is {}: {})", nearest.architecture, nearest.problems));
            return Err(ModelError::UnknownArchitecture {
                path: path.to_path_buf(),
                nearest: nearest.unwrap_or_default(),
            });
        };
        let outputs = fits.filter(|(fitting, _)| *fitting == architecture).map_or(0, |(_, outputs)| outputs);
        let (name, own_classes, preparation) = match known {
            Some(known) => (known.name, known.classes, Some(Preparation::Published(known.preprocessing))),
            None => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                (name, None, Preparation::beside(path)?)
            }
        };
        let (preparation, reduced) = reduced(architecture, preparation);
        notes.extend(reduced);
        let classes = hints.classes.clone().or(own_classes);
        Ok(Self { name, architecture, tensors, outputs, classes, preparation, notes })
    }

    /// The number of channels of its images.
    pub fn channels(&self) -> usize {
        let kernels = self.tensors.values().filter(|tensor| tensor.rank() == 4);
        match self.architecture {
            Architecture::Conv4(_) | Architecture::SmallCnn => {
                kernels.map(|kernel| kernel.dims()[1]).min().unwrap_or(3)
            }
            _ => 3,
        }
    }

    /// The state of `network` with these weights, and its head as specified.
    ///
    /// # Errors
    /// Returns an error that lists every key if the weights don't fit.
    pub fn state(&self, network: &Network, head: HeadPolicy) -> Result<State> {
        network.load(self.tensors.clone(), head).map_err(|error| ModelError::Invalid(format!("{}: {error}", self.name)))
    }
}

/// The preparation for images of the default side if the network was published for larger ones, and a note about it: a
/// transformer's time grows faster than the number of its patches.
fn reduced(architecture: Architecture, preparation: Option<Preparation>) -> (Option<Preparation>, Option<String>) {
    let side = architecture.default_side();
    match (architecture, preparation) {
        (Architecture::VisionTransformer(kind), Some(Preparation::Published(published)))
            if published.size == kind.published_side() && published.size > side =>
        {
            let note = format!(
                "{architecture} was published for images of {} pixels; unless a size is asked for, {side} are used, which \
                 takes a fraction of the time",
                published.size
            );
            (Some(Preparation::Published(Preprocessing { size: side, ..published })), Some(note))
        }
        (_, preparation) => (preparation, None),
    }
}
