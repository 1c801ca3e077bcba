//! What all fuzz targets do: one file of a kind through the readers that `cargo xtask mutate` uses.

use hostile_files::{Kind, seeds};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Reads `content` as a file of this kind, in a folder with what its kind needs beside it.
///
/// # Panics
/// Panics if a reader refuses the file without a message of one line.
pub fn read(kind: Kind, content: &[u8]) {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = hostile_files::scratch_folder().expect("a temporary folder").keep();
        let seed = seeds().into_iter().find(|seed| seed.kind == kind && seed.ordinary);
        for (name, content) in seed.into_iter().flat_map(|seed| seed.beside) {
            std::fs::write(folder.join(name), content).expect("a file beside the one that is read");
        }
        folder
    });
    if let Err(problem) = kind.read(content, folder) {
        assert!(!problem.is_empty() && !problem.contains('\n'), "{problem:?}");
    }
}
