//! What a weight file holds, and how it was read.

use candle_core::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// The kind of a weight file, recognized by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightFormat {
    /// One safetensors file.
    #[default]
    Safetensors,
    /// Several safetensors files with an index.
    ShardedSafetensors,
    /// PyTorch's zip archive, since version 1.6.
    TorchZip,
    /// PyTorch's format before version 1.6.
    TorchLegacy,
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::ShardedSafetensors => "safetensors in shards",
            Self::TorchZip => "PyTorch",
            Self::TorchLegacy => "PyTorch before 1.6",
        })
    }
}

/// Tensors that are not the network's, by their branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The common beginning of their names, such as `projector`.
    pub branch: String,
    /// The number of tensors.
    pub tensors: usize,
}

/// How a weight file was read: what was used, and what was not.
///
/// [`WeightReport::notes`] gives it as sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WeightReport {
    /// The file that was read; inside the folder, if a folder was given.
    pub file: PathBuf,
    /// Its kind.
    pub format: WeightFormat,
    /// The keys of a checkpoint that led to the weights, such as `["state_dict"]`; empty if the
    /// file holds nothing else.
    pub container: Vec<String>,
    /// Whether the weights used are an average over training (EMA, SWA, a teacher network).
    pub averaged: bool,
    /// Containers of other weights, which were not used.
    pub other_containers: Vec<String>,
    /// Prefixes that every key had, in the order of their removal, such as `["model.", "_orig_mod."]`.
    pub prefixes: Vec<String>,
    /// Branches that are not part of the network.
    pub left_out: Vec<LeftOut>,
    /// Entries among the weights that are not tensors.
    pub not_tensors: Vec<String>,
    /// Tensors whose element type is not supported.
    pub unsupported: Vec<String>,
    /// Classes of Python objects in the file, which were replaced by placeholders; nothing was executed.
    pub foreign: Vec<String>,
    /// Tensors that hold NaN or infinity, each with the number of such values.
    pub not_finite: Vec<(String, usize)>,
}

impl WeightReport {
    /// The report as sentences for a user: one for each change to the file's content.
    /// A plain file of weights gives none.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.container.is_empty() {
            let average = if self.averaged { " (averaged weights)" } else { "" };
            let others = match self.other_containers.as_slice() {
                [] => String::new(),
                others => format!(", not from {}", listed(others)),
            };
            notes.push(format!("weights are from `{}`{average}{others}", self.container.join(".")));
        } else if !self.other_containers.is_empty() {
            notes.push(format!("weights are from the file's root, not from {}", listed(&self.other_containers)));
        }
        if !self.prefixes.is_empty() {
            notes.push(format!("removed the prefix {} from the names", listed(&self.prefixes)));
        }
        if !self.left_out.is_empty() {
            let count: usize = self.left_out.iter().map(|branch| branch.tensors).sum();
            let branches: Vec<String> = self.left_out.iter().map(|branch| branch.branch.clone()).collect();
            notes.push(format!("left out {count} tensors that are not the network's: {}", listed(&branches)));
        }
        if !self.not_tensors.is_empty() {
            notes.push(format!("left out entries that are not tensors: {}", listed(&self.not_tensors)));
        }
        if !self.unsupported.is_empty() {
            notes.push(format!(
                "left out {} tensors of an unsupported element type: {}",
                self.unsupported.len(),
                listed(&self.unsupported)
            ));
        }
        if !self.foreign.is_empty() {
            notes.push(format!("skipped Python objects without executing them: {}", listed(&self.foreign)));
        }
        for (name, count) in self.not_finite.iter().take(5) {
            notes.push(format!("`{name}` has {count} values that are NaN or infinite"));
        }
        if let Some(more) = self.not_finite.len().checked_sub(5).filter(|&more| more > 0) {
            notes.push(format!("{more} more tensors have values that are NaN or infinite"));
        }
        notes
    }
}

/// The first few names, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|name| format!("`{}`", name.escape_debug())).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A weight file's tensors as stored, with the report.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) report: WeightReport,
    /// The names in the file or its shards, before prefixes were removed.
    pub(super) names: BTreeSet<String>,
}
