//! The folder: pictures in class folders, which every other command takes too.
//!
//! Nothing is ever deleted: what a person removes is moved to `.removed`, from where it can be brought back.

use crate::error::ServeError;
use crate::learner::Loaded;
use crate::limits::{CLASSES, EXAMPLES, UNDOABLE};
use crate::name::folder_name;
use crate::problem::{Problem, Result};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use taper_data::{Hash, is_left_behind, walk_images};
use taper_learn::runs::write_atomically;

/// Where removed pictures go; readers of data sets skip hidden folders.
const REMOVED: &str = ".removed";
/// Held locked while a server uses the folder.
const LOCK: &str = ".taper-serve.lock";

/// What a folder's pictures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Line drawings.
    Drawings,
    /// Anything else.
    Photographs,
}

impl Kind {
    /// What the names of new files start with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Drawings => "drawing",
            Self::Photographs => "photo",
        }
    }

    /// The kind of a file that a page wrote; `None` for other names.
    pub(crate) fn of_file(name: &str) -> Option<Self> {
        [Self::Drawings, Self::Photographs].into_iter().find(|kind| {
            let rest = name.strip_prefix(kind.prefix()).and_then(|rest| rest.strip_prefix('-'));
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    }
}

/// A picture of a class.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    /// What a page calls it.
    pub(crate) id: String,
    /// Its file's name.
    pub(crate) file: String,
    /// What was found out about it; `None` before it is read.
    pub(crate) loaded: Option<Arc<Loaded>>,
}

/// A change that can be undone.
#[derive(Debug, Clone)]
enum Change {
    ClassAdded {
        class: String,
    },
    ExampleAdded {
        class: String,
        file: String,
    },
    /// A file or a class's folder that was moved.
    Moved {
        from: PathBuf,
        to: PathBuf,
        what: What,
        name: String,
    },
}

/// What undoing brings back or takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    ClassAdded,
    ExampleAdded,
    ExampleRemoved,
    ClassRenamed,
    ClassRemoved,
}

/// A folder of class folders that one process changes.
pub(crate) struct Gallery {
    root: PathBuf,
    /// By name.
    pub(crate) classes: BTreeMap<String, Vec<Example>>,
    changes: Vec<Change>,
    /// Held locked as long as the folder is used.
    _lock: Option<File>,
}

impl Gallery {
    /// Opens the folder, which is made if it does not exist.
    ///
    /// # Errors
    /// Returns an error if another process serves it, it holds something else than class folders, or it can't be
    /// read or written.
    pub(crate) fn open(root: &Path) -> std::result::Result<Self, ServeError> {
        let wrong = |problem: String| ServeError::Folder { folder: root.to_path_buf(), problem };
        let failed = |error: std::io::Error| wrong(format!("can't be used ({error}): choose another folder"));
        fs::create_dir_all(root).map_err(failed)?;
        let mut gallery = Self { root: root.to_path_buf(), classes: BTreeMap::new(), changes: Vec::new(), _lock: None };
        // before anything is written: a folder given by mistake stays as it is
        gallery.rescan().map_err(|problem| match problem {
            Problem::Other { detail } | Problem::Disk { detail } => wrong(detail),
            problem => wrong(format!("can't be read ({problem:?}): choose another folder")),
        })?;
        let lock = File::options().create(true).truncate(false).write(true).open(root.join(LOCK)).map_err(failed)?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(wrong("is used by another `taper serve`: close it, or choose another folder".into()));
        }
        gallery._lock = Some(lock);
        Ok(gallery)
    }

    /// The folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Reads the folder again; what is known about pictures that are still there is kept. Returns whether anything
    /// has changed.
    ///
    /// # Errors
    /// Returns an error if the folder can't be read or holds folders of class folders.
    pub(crate) fn rescan(&mut self) -> Result<bool> {
        let mut known: HashMap<(String, String), Arc<Loaded>> = HashMap::new();
        for (class, examples) in &self.classes {
            for example in examples {
                if let Some(loaded) = &example.loaded {
                    known.insert((class.clone(), example.id.clone()), loaded.clone());
                }
            }
        }
        let mut classes = BTreeMap::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let Ok(class) = entry.file_name().into_string() else {
                return Err(Problem::other("has a folder whose name is not valid text: rename it"));
            };
            // links to folders elsewhere are not followed: nothing outside of this folder is changed
            if is_left_behind(&class) || !entry.file_type()?.is_dir() {
                continue;
            }
            let mut examples = self.scan(&class)?;
            for example in &mut examples {
                example.loaded = known.get(&(class.clone(), example.id.clone())).cloned();
            }
            classes.insert(class, examples);
        }
        let ids = |classes: &BTreeMap<String, Vec<Example>>| -> Vec<(String, Vec<String>)> {
            let of = |examples: &Vec<Example>| examples.iter().map(|example| example.id.clone()).collect();
            classes.iter().map(|(class, examples)| (class.clone(), of(examples))).collect()
        };
        let changed = ids(&self.classes) != ids(&classes);
        let count: usize = classes.values().map(Vec::len).sum();
        if classes.len() > CLASSES || count > EXAMPLES {
            return Err(Problem::other(format!(
                "holds {} classes with {count} pictures, and the page shows {CLASSES} with {EXAMPLES} at most: give a smaller folder",
                classes.len()
            )));
        }
        self.classes = classes;
        Ok(changed)
    }

    /// The pictures in a class's folder, by name.
    fn scan(&self, class: &str) -> Result<Vec<Example>> {
        let folder = self.root.join(class);
        // looked at first, so that a folder given by mistake is not searched to its depths
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() && !is_left_behind(&name) {
                return Err(Problem::other(format!(
                    "holds folders in its folders (such as {class}/{name}): give a folder of class folders, or a new one"
                )));
            }
        }
        let found = walk_images(&folder).map_err(Problem::other)?;
        found.files.into_iter().map(|file| self.example(class, file.name)).collect()
    }

    fn example(&self, class: &str, file: String) -> Result<Example> {
        let metadata = fs::metadata(self.root.join(class).join(&file))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.unwrap_or_default().as_nanos();
        let id = id(&format!("{class}\n{file}\n{}\n{modified}", metadata.len()));
        Ok(Example { id, file, loaded: None })
    }

    /// Forgets what was found out about the pictures.
    pub(crate) fn forget(&mut self) {
        self.classes.values_mut().flatten().for_each(|example| example.loaded = None);
    }

    /// How many pictures there are.
    pub(crate) fn count(&self) -> usize {
        self.classes.values().map(Vec::len).sum()
    }

    /// Where a picture is.
    pub(crate) fn path(&self, class: &str, file: &str) -> PathBuf {
        self.root.join(class).join(file)
    }

    /// The class that a page calls `id`.
    pub(crate) fn class(&self, class_id: &str) -> Result<String> {
        self.classes.keys().find(|class| id(class) == class_id).cloned().ok_or(Problem::Gone)
    }

    /// The class and the place of the picture that a page calls `id`.
    pub(crate) fn find(&self, example_id: &str) -> Result<(String, usize)> {
        let find = |(class, examples): (&String, &Vec<Example>)| {
            examples.iter().position(|example| example.id == example_id).map(|place| (class.clone(), place))
        };
        self.classes.iter().find_map(find).ok_or(Problem::Gone)
    }

    /// The name of a new or renamed class's folder.
    fn free_name(&self, given: &str, except: Option<&str>) -> Result<String> {
        let name = folder_name(given)?;
        let taken = |other: &&String| Some(other.as_str()) != except && other.to_lowercase() == name.to_lowercase();
        match self.classes.keys().find(taken) {
            Some(other) => Err(Problem::NameTaken { name: other.clone() }),
            None => Ok(name),
        }
    }

    /// Adds a class without pictures, and returns its name.
    pub(crate) fn add_class(&mut self, given: &str) -> Result<String> {
        let name = self.free_name(given, None)?;
        if self.classes.len() >= CLASSES {
            return Err(Problem::TooManyClasses { most: CLASSES });
        }
        match fs::create_dir(self.root.join(&name)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(Problem::NameTaken { name }),
            made => made?,
        }
        self.classes.insert(name.clone(), Vec::new());
        self.changed(Change::ClassAdded { class: name.clone() });
        Ok(name)
    }

    /// Writes a picture into a class's folder, whole or not at all.
    pub(crate) fn add_example(
        &mut self,
        class: &str,
        kind: Kind,
        ending: &str,
        bytes: &[u8],
        loaded: Arc<Loaded>,
    ) -> Result<()> {
        if self.count() >= EXAMPLES {
            return Err(Problem::TooManyExamples { most: EXAMPLES });
        }
        let folder = self.root.join(class);
        let names: Vec<String> = fs::read_dir(&folder)?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        let number = |name: &String| {
            let stem = name.strip_prefix(kind.prefix())?.strip_prefix('-')?.split('.').next()?;
            stem.parse::<u64>().ok()
        };
        // a removed picture's number is not used again, so that it can be brought back under its name
        let removed = fs::read_dir(self.root.join(REMOVED).join(class)).into_iter().flatten().flatten();
        let removed = removed.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let last = names.iter().cloned().chain(removed).filter_map(|name| number(&name)).max().unwrap_or(0);
        let file = format!("{}-{:04}.{ending}", kind.prefix(), last.saturating_add(1));
        write_atomically(&folder.join(&file), bytes)?;
        let example = self.example(class, file.clone())?;
        self.classes.entry(class.to_string()).or_default().push(Example { loaded: Some(loaded), ..example });
        self.changed(Change::ExampleAdded { class: class.to_string(), file });
        Ok(())
    }

    /// Moves a picture out of its class.
    pub(crate) fn remove_example(&mut self, example_id: &str) -> Result<()> {
        let (class, place) = self.find(example_id)?;
        let file = self.classes[&class][place].file.clone();
        let (from, to) = self.move_away(&class, &file)?;
        self.changed(Change::Moved { from, to, what: What::ExampleRemoved, name: class.clone() });
        self.classes.entry(class).or_default().remove(place);
        Ok(())
    }

    fn move_away(&self, class: &str, file: &str) -> Result<(PathBuf, PathBuf)> {
        let folder = self.root.join(REMOVED).join(class);
        fs::create_dir_all(&folder)?;
        let from = self.path(class, file);
        let to = free_path(&folder, file);
        fs::rename(&from, &to)?;
        Ok((from, to))
    }

    /// Gives a class another name, and returns that.
    pub(crate) fn rename_class(&mut self, class_id: &str, given: &str) -> Result<String> {
        let class = self.class(class_id)?;
        let name = self.free_name(given, Some(&class))?;
        if name == class {
            return Ok(name);
        }
        let (from, to) = (self.root.join(&class), self.root.join(&name));
        // a file system that ignores case finds the class's own folder under the new name
        if to.exists() && class.to_lowercase() != name.to_lowercase() {
            return Err(Problem::NameTaken { name });
        }
        fs::rename(&from, &to)?;
        self.changed(Change::Moved { from, to, what: What::ClassRenamed, name: class.clone() });
        self.take_over(&class, &name)?;
        Ok(name)
    }

    /// Moves what is known about a class to its new name.
    fn take_over(&mut self, class: &str, name: &str) -> Result<()> {
        let old = self.classes.remove(class).unwrap_or_default();
        let mut examples = self.scan(name)?;
        for example in &mut examples {
            let known = old.iter().find(|known| known.file == example.file);
            example.loaded = known.and_then(|known| known.loaded.clone());
        }
        self.classes.insert(name.to_string(), examples);
        Ok(())
    }

    /// Moves a class with its pictures out of the folder.
    pub(crate) fn remove_class(&mut self, class_id: &str) -> Result<()> {
        let class = self.class(class_id)?;
        let removed = self.root.join(REMOVED);
        fs::create_dir_all(&removed)?;
        let (from, to) = (self.root.join(&class), free_path(&removed, &class));
        fs::rename(&from, &to)?;
        self.changed(Change::Moved { from, to, what: What::ClassRemoved, name: class.clone() });
        self.classes.remove(&class);
        Ok(())
    }

    fn changed(&mut self, change: Change) {
        self.changes.push(change);
        if self.changes.len() > UNDOABLE {
            self.changes.remove(0);
        }
    }

    /// What would be undone, and the class that it was about.
    pub(crate) fn undoable(&self) -> Option<(What, String)> {
        Some(match self.changes.last()? {
            Change::ClassAdded { class } => (What::ClassAdded, class.clone()),
            Change::ExampleAdded { class, .. } => (What::ExampleAdded, class.clone()),
            Change::Moved { what, name, .. } => (*what, name.clone()),
        })
    }

    /// Undoes the last change. One that can't be undone any more, because the folder was changed by others, is
    /// forgotten.
    pub(crate) fn undo(&mut self) -> Result<()> {
        let change = self.changes.pop().ok_or(Problem::NothingToUndo)?;
        match change {
            // a folder that has got pictures since then is not removed
            Change::ClassAdded { class } => fs::remove_dir(self.root.join(class))?,
            Change::ExampleAdded { class, file } => {
                self.move_away(&class, &file)?;
            }
            Change::Moved { from, to, .. } => {
                if from.exists() {
                    let name = from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                    return Err(Problem::NameTaken { name });
                }
                fs::rename(to, from)?;
            }
        }
        self.rescan()?;
        Ok(())
    }
}

/// What a page calls the thing that these words tell apart.
pub(crate) fn id(words: &str) -> String {
    Hash::of(words.as_bytes()).to_string()[..16].to_string()
}

/// A path in `folder` that is free: `name`, or `name-2` and so on.
fn free_path(folder: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|number| folder.join(format!("{name}-{number}")));
    let first = folder.join(name);
    if !first.exists() {
        return first;
    }
    numbered.into_iter().find(|path| !path.exists()).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

    fn add(gallery: &mut Gallery, class: &str) {
        let loaded = Arc::new(Loaded { thumbnail: Vec::new(), feature: Err(Problem::Blank) });
        gallery.add_example(class, Kind::Drawings, "png", PNG, loaded).unwrap();
    }

    fn files(folder: &Path) -> Vec<String> {
        let walk = taper_data::walk(folder).unwrap();
        walk.files.into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn every_change_can_be_undone_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut gallery = Gallery::open(folder.path()).unwrap();
        let states = |gallery: &Gallery| -> Vec<(String, usize)> {
            gallery.classes.iter().map(|(class, examples)| (class.clone(), examples.len())).collect()
        };
        let mut seen = vec![states(&gallery)];
        let class = gallery.add_class("heart").unwrap();
        seen.push(states(&gallery));
        for _ in 0..2 {
            add(&mut gallery, &class);
            seen.push(states(&gallery));
        }
        let first = gallery.classes["heart"][0].id.clone();
        gallery.remove_example(&first).unwrap();
        assert_eq!(gallery.remove_example(&first), Err(Problem::Gone));
        seen.push(states(&gallery));
        add(&mut gallery, &class);
        assert_eq!(gallery.classes["heart"][1].file, "drawing-0003.png");
        seen.push(states(&gallery));
        gallery.rename_class(&id("heart"), "my heart").unwrap();
        assert!(gallery.classes["my heart"][0].loaded.is_some());
        seen.push(states(&gallery));
        gallery.remove_class(&id("my heart")).unwrap();
        assert!(gallery.classes.is_empty() && files(folder.path()).is_empty());
        seen.push(states(&gallery));
        while let Some(state) = seen.pop() {
            assert_eq!(states(&gallery), state);
            if !seen.is_empty() {
                gallery.undo().unwrap();
            }
        }
        assert_eq!(gallery.undo(), Err(Problem::NothingToUndo));
        let kept = files(&folder.path().join(REMOVED));
        assert_eq!(kept.len(), 3, "{kept:?}");
    }

    #[test]
    fn a_class_has_one_name_in_any_case_and_a_folder_one_server() {
        let folder = tempfile::tempdir().unwrap();
        let mut gallery = Gallery::open(folder.path()).unwrap();
        gallery.add_class("Été").unwrap();
        assert_eq!(gallery.add_class("été"), Err(Problem::NameTaken { name: "Été".into() }));
        assert_eq!(gallery.rename_class(&id("Été"), "été").unwrap(), "été");
        let error = Gallery::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("is used by another"), "{error}");
    }

    #[test]
    fn pictures_put_there_by_others_are_found_and_groups_of_classes_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut gallery = Gallery::open(folder.path()).unwrap();
        gallery.add_class("heart").unwrap();
        fs::write(folder.path().join("heart/mine.png"), PNG).unwrap();
        fs::write(folder.path().join("heart/notes.txt"), "no picture").unwrap();
        assert!(gallery.rescan().unwrap() && !gallery.rescan().unwrap());
        assert_eq!(gallery.classes["heart"].len(), 1);
        fs::create_dir_all(folder.path().join("Greek/alpha")).unwrap();
        fs::write(folder.path().join("Greek/alpha/a.png"), PNG).unwrap();
        let Problem::Other { detail } = gallery.rescan().unwrap_err() else { panic!() };
        assert!(detail.contains("Greek/alpha"), "{detail}");
        drop(gallery);
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        assert!(Gallery::open(folder.path()).is_err());
        assert!(!folder.path().join(LOCK).exists(), "a folder given by mistake stays as it is");
    }

    #[cfg(unix)]
    #[test]
    fn folders_behind_links_are_left_alone() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("a.png"), PNG).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("link")).unwrap();
        let mut gallery = Gallery::open(folder.path()).unwrap();
        assert!(gallery.classes.is_empty());
        assert!(matches!(gallery.add_class("link"), Err(Problem::NameTaken { .. })));
    }
}
