//! What operating systems, editors and tools leave behind in folders.

/// Folders of systems, network storage, notebooks and version control, in lower case.
const FOLDERS: [&str; 14] = [
    "__macosx",
    "$recycle.bin",
    "recycler",
    "recycled",
    "system volume information",
    "lost+found",
    "@eadir",
    "#recycle",
    "#snapshot",
    "@recycle",
    "@recently-snapshot",
    "__pycache__",
    "found.000",
    "network trash folder",
];
/// Files of systems, in lower case.
const FILES: [&str; 6] = ["thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "folder.htt"];

/// Whether a file or folder of this name is hidden or was left behind by a system: never part of a
/// data set.
pub fn is_left_behind(name: &str) -> bool {
    if name.starts_with('.') || name.starts_with("~$") {
        return true;
    }
    let lower = name.to_lowercase();
    FOLDERS.contains(&lower.as_str()) || FILES.contains(&lower.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systems_leave_behind_is_known_in_any_case() {
        for name in
            [".DS_Store", "._a.png", ".ipynb_checkpoints", "__MACOSX", "$RECYCLE.BIN", "@eaDir", "Thumbs.db", "~$a.png"]
        {
            assert!(is_left_behind(name), "{name}");
        }
        for name in ["red", "$HOME", "~home", "#1", "lost", "a.png", "icon"] {
            assert!(!is_left_behind(name), "{name}");
        }
    }
}
