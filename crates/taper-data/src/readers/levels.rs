//! Which level of nested folders is the class, decided from how the names repeat.

use super::names::{folded, is_numbered, some_of};
use super::part_word::{PartWord, Says};
use crate::Part;
use crate::reading::counted;
use std::collections::{BTreeMap, BTreeSet};

/// Folders that hold images, by path: for each the length of the path that names its class.
pub(super) struct Levels {
    /// By the folder's path: how many of its first names are the class's.
    pub(super) class_length: BTreeMap<Vec<String>, usize>,
    /// Whether the names below the class say a part: `red/train`, `red/test`.
    pub(super) parts_inside: bool,
    /// What was decided, and why.
    pub(super) why: Vec<String>,
    /// What a person should check.
    pub(super) notes: Vec<String>,
}

/// From so much of the full grid of outer and inner names on, the inner names repeat.
const REPEATS: f64 = 0.6;
/// With so many times more inner names than outer folders, the inner names are the classes of
/// several sources rather than places inside a class.
const SOURCES: usize = 3;

/// Decides on the level of the class.
///
/// `folders` are the paths of folders that hold images, in one form, with the number of images
/// directly inside and one path as it is written. A path is never empty.
///
/// - A folder that holds images itself is a class; folders inside it belong to it, unless they hold
///   far more than it does (then its own images are strays, and it is not in the result).
/// - One name inside every class, such as `images`, says nothing.
/// - The same names inside nearly all outer folders, such as rooms inside `dog` and `cat`: the outer
///   folder is the class. Numbered names (`character01`) are different classes of their group, as in
///   Omniglot; and with three times more inner names than outer folders the outer ones are
///   sources of the same classes, and stay groups.
pub(super) fn levels(folders: &BTreeMap<Vec<String>, usize>) -> Levels {
    let mut found = Levels { class_length: BTreeMap::new(), parts_inside: false, why: Vec::new(), notes: Vec::new() };
    let (strays, holders) = with_folders_inside(folders);
    for path in folders.keys().filter(|path| !strays.contains(*path)) {
        let holder = (1..path.len()).find(|&length| holders.contains(&path[..length]));
        found.class_length.insert(path.clone(), holder.unwrap_or(path.len()));
    }
    if !holders.is_empty() {
        let names = some_of(holders.iter().map(|path| format!("`{}`", path.join("/"))));
        let told = format!(
            "{} with images and folders of images inside: {names}; the inner folders belong to the outer class",
            counted(holders.len(), "folder")
        );
        found.why.push(told.clone());
        found.notes.push(told);
    }
    while found.collapse() {}
    found
}

/// Folders that hold images and other folders: those whose own images are strays, and those that are
/// classes with folders inside.
fn with_folders_inside(folders: &BTreeMap<Vec<String>, usize>) -> (BTreeSet<Vec<String>>, BTreeSet<Vec<String>>) {
    let (mut strays, mut holders) = (BTreeSet::new(), BTreeSet::new());
    for (path, &own) in folders {
        let inside = folders.range(path.clone()..).skip(1).take_while(|(other, _)| other.starts_with(path));
        let (images, count) = inside.fold((0, 0), |(images, count), (_, &more)| (images + more, count + 1));
        if count > 0 {
            // at least a quarter of the mean inner folder
            let into = if 4 * own * count >= images { &mut holders } else { &mut strays };
            into.insert(path.clone());
        }
    }
    (strays, holders)
}

impl Levels {
    /// Takes the innermost level away where its names say nothing about the class; `false` if
    /// nothing changed.
    fn collapse(&mut self) -> bool {
        let classes: BTreeSet<&[String]> =
            self.class_length.iter().map(|(path, &length)| &path[..length]).filter(|class| class.len() > 1).collect();
        let outer: BTreeSet<&[String]> = classes.iter().map(|class| &class[..class.len() - 1]).collect();
        let mut inner: BTreeMap<String, usize> = BTreeMap::new();
        for class in &classes {
            *inner.entry(folded(&class[class.len() - 1])).or_default() += 1;
        }
        let repeated = inner.values().filter(|&&count| count > 1).count();
        if outer.len() < 2 || repeated == 0 {
            return false;
        }
        let share = classes.len() as f64 / (outer.len() * inner.len()) as f64;
        let names = some_of(inner.keys().map(|name| format!("`{name}`")));
        let outer_names = some_of(outer.iter().map(|path| format!("`{}`", path.join("/"))));
        let says: Vec<_> = inner.keys().map(|name| PartWord::of(name).map(|word| word.says)).collect();
        let numbered = inner.keys().filter(|name| is_numbered(name)).count() * 2 > inner.len();
        let why = if says.iter().all(|says| matches!(says, Some(Says::Part(_))))
            && says.contains(&Some(Says::Part(Part::Train)))
            && says.len() > 1
        {
            self.parts_inside = true;
            format!("each class ({outer_names}) has its own {names}, which are read as parts")
        } else if inner.len() == 1 {
            format!("every class ({outer_names}) has the same folder {names} inside, which is looked through")
        } else if share < REPEATS {
            return false;
        } else if numbered || inner.len() >= SOURCES * outer.len() {
            let told = format!(
                "the names {names} repeat in {} ({outer_names}): each is read as a class of its own, in a group; where they are the same class, or none, rename or merge them",
                counted(outer.len(), "outer folder")
            );
            if share >= 0.9 && !self.why.contains(&told) {
                self.why.push(told.clone());
                self.notes.push(told);
            }
            return false;
        } else {
            let told = format!(
                "the names {names} repeat in {} ({outer_names}): the outer folder is taken for the class; to make each inner folder a class, give it a name of its own",
                counted(outer.len(), "outer folder")
            );
            self.notes.push(told.clone());
            told
        };
        self.why.push(why);
        self.class_length.values_mut().filter(|length| **length > 1).for_each(|length| *length -= 1);
        !self.parts_inside
    }
}
