//! The kinds of files, and how each is read.

use std::{fmt, fs, path::Path};
use taper_data::mutation::decode_file;
use taper_models::WeightFile;

/// A kind of file that Taper reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A picture of any format but JPEG.
    Image,
    /// A JPEG.
    Jpeg,
    /// A zip of class folders.
    Zip,
    /// A tar of class folders.
    Tar,
    /// A tar of samples, as WebDataset writes it.
    WebDataset,
    /// A table of a data set of the Hugging Face hub.
    Parquet,
    /// Vectors in `.npz`.
    NumPy,
    /// Vectors in `.safetensors`.
    Safetensors,
    /// A table of labels beside pictures.
    Table,
    /// Images in the format of MNIST.
    Idx,
    /// Images in the format of CIFAR.
    Cifar,
    /// Runs of Lake's Omniglot challenge, in a zip.
    Lake,
    /// Weights in a zip, as `torch.save` writes them.
    TorchWeights,
    /// Weights as `torch.save` wrote them before version 1.6.
    OldTorchWeights,
    /// Weights in `.safetensors`.
    Weights,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Image,
        Self::Jpeg,
        Self::Zip,
        Self::Tar,
        Self::WebDataset,
        Self::Parquet,
        Self::NumPy,
        Self::Safetensors,
        Self::Table,
        Self::Idx,
        Self::Cifar,
        Self::Lake,
        Self::TorchWeights,
        Self::OldTorchWeights,
        Self::Weights,
    ];

    /// The name that the file has in a folder of its own.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Image | Self::Jpeg => "image",
            Self::Zip => "set.zip",
            Self::Tar => "set.tar",
            Self::WebDataset => "shard.tar",
            Self::Parquet => "rows.parquet",
            Self::NumPy => "vectors.npz",
            Self::Safetensors => "vectors.safetensors",
            Self::Table => "labels.csv",
            Self::Idx => "train-images-idx3-ubyte",
            Self::Cifar => "data_batch_1.bin",
            Self::Lake => "all_runs.zip",
            Self::TorchWeights | Self::OldTorchWeights => "tiny.pth",
            Self::Weights => "tiny.safetensors",
        }
    }

    /// Reads `content` as a file of this kind in `folder`, which holds what else the kind needs, down
    /// to its last image.
    ///
    /// # Errors
    /// Returns the reader's message if it refuses the file.
    pub fn read(self, content: &[u8], folder: &Path) -> Result<(), String> {
        if matches!(self, Self::Image | Self::Jpeg) {
            return decode_file(content).map(drop);
        }
        let path = folder.join(self.file_name());
        fs::write(&path, content).map_err(|error| error.to_string())?;
        match self {
            Self::TorchWeights | Self::OldTorchWeights | Self::Weights => {
                WeightFile::read(&path).map(drop).map_err(|error| error.to_string())
            }
            Self::Lake => taper_data::LakeRuns::open(&path).map(drop).map_err(|error| error.to_string()),
            Self::Table | Self::Cifar => read_data(folder),
            _ => read_data(&path),
        }
    }
}

fn read_data(path: &Path) -> Result<(), String> {
    let data = taper_data::open(path).map_err(|error| error.to_string())?;
    for item in 0..data.labels().len() {
        if data.vector(item).is_none() {
            data.image(item).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Image => "image",
            Self::Jpeg => "image, JPEG",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::WebDataset => "WebDataset",
            Self::Parquet => "Parquet",
            Self::NumPy => "NumPy",
            Self::Safetensors => "safetensors",
            Self::Table => "table",
            Self::Idx => "IDX",
            Self::Cifar => "CIFAR",
            Self::Lake => "Lake's runs",
            Self::TorchWeights => "weights, torch",
            Self::OldTorchWeights => "weights, old",
            Self::Weights => "weights",
        })
    }
}
