//! Weights in the Hugging Face hub's shared cache.

use super::KnownWeights;
use crate::Result;
use std::path::{Path, PathBuf};

impl KnownWeights {
    /// The newest weight file of this entry in the hub's cache `hub` (`~/.cache/huggingface/hub`
    /// unless configured otherwise); `None` if it was not fetched.
    pub fn in_hub_cache(&self, hub: &Path) -> Option<PathBuf> {
        let repository = self.repository.as_ref()?;
        let snapshots = hub.join(format!("models--{}", repository.replace('/', "--"))).join("snapshots");
        let files =
            std::fs::read_dir(snapshots).ok()?.flatten().map(|snapshot| snapshot.path().join("model.safetensors"));
        let newest = |file: &PathBuf| file.metadata().and_then(|data| data.modified()).ok();
        files.filter(|file| file.is_file()).max_by_key(newest)
    }

    /// The default weights for photographs: strong, small, and fast on a CPU.
    ///
    /// # Errors
    /// Returns an error if the catalog is broken.
    pub fn default_for_photographs() -> Result<Self> {
        Self::named("efficientnet-lite0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetched_weights_are_found_where_the_hub_keeps_them() {
        let hub = tempfile::tempdir().unwrap();
        let known = KnownWeights::default_for_photographs().unwrap();
        assert_eq!(known.in_hub_cache(hub.path()), None);
        let snapshot = hub.path().join("models--timm--tf_efficientnet_lite0.in1k/snapshots/0123abcd");
        std::fs::create_dir_all(&snapshot).unwrap();
        assert_eq!(known.in_hub_cache(hub.path()), None, "a snapshot without its file");
        std::fs::write(snapshot.join("model.safetensors"), b"weights").unwrap();
        assert_eq!(known.in_hub_cache(hub.path()), Some(snapshot.join("model.safetensors")));
    }
}
