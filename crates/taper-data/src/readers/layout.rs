//! From the names of image files to classes, groups and parts.

use super::format::READABLE;
use super::levels::levels;
use super::names::{composed, folded, one_line, some_of};
use super::part_word::{PartWord, Says};
use super::tree::Folder;
use crate::reading::counted;
use crate::{Class, Part, Reason};
use std::collections::{BTreeMap, BTreeSet};

/// What an image file is in its data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// An image of a class.
    Image(u32, Part),
    /// Left out, and why.
    LeftOut(Reason, String),
}

/// Which class and part each file belongs to.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) classes: Vec<Class>,
    /// What each file is.
    pub(super) places: Vec<Place>,
    /// The layout in a few words.
    pub(super) text: String,
    /// What was decided, and by what evidence.
    pub(super) why: Vec<String>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// Reads the layout off names such as `Greek/alpha/01.png`, sorted: the innermost folder is the
/// class, what is around it the group, with the exceptions that [`levels`] lists.
///
/// Folders that hold nothing but one folder are looked through. Folders called train, validation and
/// test in any usual spelling are parts of the same classes; what lies beside them is left out. If
/// they have no class in common they are groups, as in data sets whose classes are split.
///
/// # Errors
///
/// Returns what was found instead of class folders, and what to do.
pub(super) fn layout(names: &[Vec<&str>]) -> Result<Layout, String> {
    if names.is_empty() {
        return Err(format!("it holds no {READABLE} images"));
    }
    let root = Folder::of(names);
    if root.is_flat() {
        return Err(format!(
            "it holds {} loose images and no class folders: make a folder for each class and move its images there, or give a table of labels",
            names.len()
        ));
    }
    let mut reader = Reader {
        places: vec![
            Place::LeftOut(
                Reason::OutsideClasses,
                "lies outside the class folders: move it into one".to_string()
            );
            names.len()
        ],
        images: Vec::new(),
        why: Vec::new(),
        notes: Vec::new(),
    };
    reader.base(&root);
    reader.classes(names)
}

/// Reads a layout step by step.
struct Reader<'a> {
    places: Vec<Place>,
    /// Images of class folders: their number, part and the class folder's path below its part.
    images: Vec<(usize, Part, Vec<&'a str>)>,
    why: Vec<String>,
    notes: Vec<String>,
}

/// The folders that are parts of one data set.
struct Parts<'t, 'a> {
    parts: Vec<(&'a str, Part, &'t Folder<'a>)>,
    unlabeled: Vec<(&'a str, &'t Folder<'a>)>,
    others: Vec<(&'a str, &'t Folder<'a>)>,
}

/// The folders that are parts, if the folder's are. A part for training with class folders is one
/// of them; and another part, which may be without labels. `None` too where the parts' classes are
/// others, as in data sets whose classes are split.
fn parts<'t, 'a>(folder: &'t Folder<'a>) -> Option<Parts<'t, 'a>> {
    let words: Vec<_> = folder.folders.iter().map(|(name, inner)| (*name, PartWord::of(name), inner)).collect();
    let beside = words.iter().find_map(|(_, word, inner)| {
        word.as_ref()
            .filter(|word| word.says == Says::Part(Part::Train) && !inner.is_flat())
            .map(|word| word.beside.clone())
    })?;
    let mut found = Parts { parts: Vec::new(), unlabeled: Vec::new(), others: Vec::new() };
    for (name, word, inner) in words {
        match word.filter(|word| word.beside == beside).map(|word| word.says) {
            Some(Says::Part(part)) => found.parts.push((name, part, inner)),
            Some(Says::Unlabeled) => found.unlabeled.push((name, inner)),
            None => found.others.push((name, inner)),
        }
    }
    let paths = |train: bool| -> BTreeSet<Vec<String>> {
        let chosen = found.parts.iter().filter(|(_, part, _)| (*part == Part::Train) == train);
        chosen.flat_map(|(_, _, inner)| inner.unwrapped().class_paths()).collect()
    };
    let (train, others) = (paths(true), paths(false));
    let one_part = found.parts.iter().all(|(_, part, _)| *part == Part::Train);
    if (one_part && found.unlabeled.is_empty()) || train.is_empty() {
        return None;
    }
    let shared = others.iter().any(|path| is_class_of(path, &train));
    let split = !shared && !others.is_empty() && (others.len() > 1 || train.len() == 1);
    (!split).then_some(found)
}

/// Whether the path is a class's, or above or below one.
fn is_class_of(path: &[String], train: &BTreeSet<Vec<String>>) -> bool {
    (1..=path.len()).any(|length| train.contains(&path[..length])) || train.iter().any(|class| class.starts_with(path))
}

impl<'a> Reader<'a> {
    /// Finds the folder that the data set begins at, and what lies in it.
    fn base(&mut self, root: &Folder<'a>) {
        let mut base = root;
        let mut around = String::new();
        let found = loop {
            if let Some(found) = parts(base) {
                break Some(found);
            }
            if let Some((name, inner)) = base.wrapper() {
                around = format!("{around}{name}/");
                base = inner;
                continue;
            }
            // one folder with parts, and beside it flat ones
            let mut with_parts = base.folders.iter().filter(|(_, inner)| parts(inner.unwrapped()).is_some());
            match (with_parts.next(), with_parts.next()) {
                (Some((name, inner)), None) if base.folders.values().filter(|other| !other.is_flat()).count() == 1 => {
                    for (other, folder) in base.folders.iter().filter(|(other, _)| *other != name) {
                        self.leave_out_folder(&format!("{around}{other}"), folder, Reason::OtherFolder);
                    }
                    around = format!("{around}{name}/");
                    base = inner;
                }
                _ => break None,
            }
        };
        if !around.is_empty() {
            self.why.push(format!("looked through the outer folder `{}`", one_line(around.trim_end_matches('/'))));
        }
        match found {
            Some(found) => self.parts(base, found),
            None => {
                let copies = self.leave_out_copies(base, &around);
                self.add(base, Part::Train, &copies);
            }
        }
    }

    /// Takes the images of all parts.
    fn parts(&mut self, base: &Folder<'a>, found: Parts<'_, 'a>) {
        let names = found.parts.iter().map(|(name, part, _)| format!("`{}` is {}", one_line(name), part.name()));
        self.why.push(format!("parts: {}", names.collect::<Vec<_>>().join(", ")));
        let own: BTreeSet<String> =
            found.parts.iter().flat_map(|(_, _, inner)| inner.unwrapped().folded_names()).collect();
        for (name, part, inner) in found.parts {
            let inside = inner.unwrapped();
            if inside.is_flat() {
                self.leave_out(
                    &inside.images,
                    Reason::Unlabeled,
                    &format!(
                        "lies in `{}/` itself and has no label: move it into a class folder there",
                        one_line(name)
                    ),
                );
                self.notes.push(format!(
                    "{} without labels in `{}` left out",
                    counted(inside.images.len(), "image"),
                    one_line(name)
                ));
                continue;
            }
            let copies = self.leave_out_copies(inside, &format!("{name}/"));
            self.add(inside, part, &copies);
        }
        for (name, inner) in found.unlabeled {
            self.leave_out_folder(name, inner, Reason::Unlabeled);
        }
        for (name, inner) in found.others {
            let inside = inner.unwrapped();
            let again = parts(inside).is_some()
                || inside.folded_names().iter().filter(|name| own.contains(*name)).count() >= 2
                || (!inside.is_flat() && inside.folded_names() == base.folded_names());
            self.leave_out_folder(name, inner, if again { Reason::SecondCopy } else { Reason::OtherFolder });
        }
    }

    /// Leaves out folders that hold folders of the same names as those beside them: the data set
    /// inside itself a second time.
    fn leave_out_copies(&mut self, base: &Folder<'a>, around: &str) -> BTreeSet<&'a str> {
        let beside = base.folded_names();
        let copies: Vec<(&'a str, &Folder<'a>)> = base
            .folders
            .iter()
            .filter(|(name, folder)| {
                let inside = folder.unwrapped().folded_names();
                inside.len() >= 2 && inside.is_subset(&beside) && !inside.contains(&folded(name))
            })
            .map(|(name, folder)| (*name, folder))
            .collect();
        for (name, folder) in &copies {
            self.leave_out_folder(&format!("{around}{name}"), folder, Reason::SecondCopy);
        }
        copies.into_iter().map(|(name, _)| name).collect()
    }

    /// Takes the images of class folders below `base`, without the folders `except`.
    fn add(&mut self, base: &Folder<'a>, part: Part, except: &BTreeSet<&str>) {
        for (name, folder) in base.folders.iter().filter(|(name, _)| !except.contains(*name)) {
            folder.visit(&mut vec![*name], &mut |path, folder| {
                self.images.extend(folder.images.iter().map(|&image| (image, part, path.to_vec())));
            });
        }
    }

    fn leave_out(&mut self, images: &[usize], reason: Reason, detail: &str) {
        for &image in images {
            self.places[image] = Place::LeftOut(reason, detail.to_string());
        }
    }

    /// Leaves out a folder that is not one of the data set, with a note.
    fn leave_out_folder(&mut self, name: &str, folder: &Folder<'a>, reason: Reason) {
        let name = one_line(name);
        let detail = match reason {
            Reason::SecondCopy => {
                format!("lies in `{name}`, which holds the data set's folders a second time: remove it")
            }
            Reason::Unlabeled => format!("lies in `{name}`, whose images have no labels"),
            _ => format!("lies in `{name}`, which is not a train, validation or test folder"),
        };
        let images = folder.all_images();
        self.leave_out(&images, reason, &detail);
        let what = match reason {
            Reason::SecondCopy => "holds the same folders a second time",
            Reason::Unlabeled => "has no labels",
            _ => "is not a train, validation or test folder",
        };
        self.notes.push(format!("`{name}` {what}: its {} left out", counted(images.len(), "image")));
    }

    /// The classes of the images taken.
    fn classes(mut self, names: &[Vec<&str>]) -> Result<Layout, String> {
        let images = std::mem::take(&mut self.images);
        let composed_path = |path: &[&str]| path.iter().map(|name| composed(name).into_owned()).collect::<Vec<_>>();
        let mut folders: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        let mut spellings: BTreeMap<Vec<String>, BTreeSet<&[&str]>> = BTreeMap::new();
        for (_, part, path) in &images {
            spellings.entry(composed_path(path)).or_default().insert(path);
            if *part == Part::Train {
                *folders.entry(composed_path(path)).or_default() += 1;
            }
        }
        let two_forms: Vec<&Vec<String>> =
            spellings.iter().filter(|(_, spellings)| spellings.len() > 1).map(|(path, _)| path).collect();
        if !two_forms.is_empty() {
            self.notes.push(format!(
                "{} written in two Unicode forms, read as one each: {}",
                counted(two_forms.len(), "folder"),
                some_of(two_forms.iter().map(|path| path.join("/")))
            ));
        }
        let levels = levels(&folders);
        self.why.extend(levels.why);
        self.notes.extend(levels.notes);
        // The classes of the training part, in the order of their names as written.
        let mut written: BTreeMap<&[String], Vec<&str>> = BTreeMap::new();
        let keys: Vec<(usize, Part, Vec<String>, &Vec<&str>)> =
            images.iter().map(|(image, part, path)| (*image, *part, composed_path(path), path)).collect();
        for (_, part, key, path) in &keys {
            if let (Part::Train, Some(&length)) = (part, levels.class_length.get(key)) {
                let first = written.entry(&key[..length]).or_insert_with(|| path[..length].to_vec());
                if path[..length] < first[..] {
                    *first = path[..length].to_vec();
                }
            }
        }
        let mut order: Vec<(&[String], Vec<&str>)> = written.into_iter().collect();
        order.sort_by(|a, b| a.1.cmp(&b.1));
        let numbers: BTreeMap<&[String], u32> =
            (0..).zip(&order).map(|(number, (class, _))| (*class, number)).collect();
        let mut by_fold: BTreeMap<Vec<String>, Vec<u32>> = BTreeMap::new();
        for (class, number) in &numbers {
            by_fold.entry(class.iter().map(|name| folded(name)).collect()).or_default().push(*number);
        }
        let classes: Vec<Class> = order
            .iter()
            .filter_map(|(class, _)| class.split_last())
            .map(|(name, group)| Class { name: name.clone(), group: group.join("/") })
            .collect();
        let twins: Vec<String> = by_fold
            .values()
            .filter(|twins| twins.len() > 1)
            .map(|twins| {
                twins.iter().map(|&class| classes[class as usize].full_name()).collect::<Vec<_>>().join(" and ")
            })
            .collect();
        if !twins.is_empty() {
            self.notes.push(format!(
                "{} of classes whose names differ in upper and lower case only, read as different classes: {}",
                counted(twins.len(), "set"),
                some_of(twins)
            ));
        }
        let mut unknown: BTreeMap<(Part, String), Vec<usize>> = BTreeMap::new();
        let mut other_case: BTreeSet<String> = BTreeSet::new();
        for (image, part, key, path) in &keys {
            let exact = || (1..=key.len()).find_map(|length| numbers.get(&key[..length]).copied());
            let in_any_case = || {
                let key: Vec<String> = key.iter().map(|name| folded(name)).collect();
                (1..=key.len()).find_map(|length| {
                    by_fold.get(&key[..length]).filter(|found| found.len() == 1).map(|found| found[0])
                })
            };
            let class = match part {
                Part::Train => levels.class_length.get(key).and_then(|&length| numbers.get(&key[..length]).copied()),
                _ => exact().or_else(|| {
                    let class = in_any_case()?;
                    other_case.insert(path.join("/"));
                    Some(class)
                }),
            };
            match class {
                Some(class) => {
                    let inside = levels.parts_inside.then(|| PartWord::of(path[path.len() - 1])).flatten();
                    let part = match inside.map(|word| word.says) {
                        Some(Says::Part(part)) => part,
                        _ => *part,
                    };
                    self.places[*image] = Place::Image(class, part);
                }
                None if *part != Part::Train => unknown.entry((*part, path.join("/"))).or_default().push(*image),
                None => {}
            }
        }
        if !other_case.is_empty() {
            self.notes.push(format!(
                "{} outside the training part whose name differs in case from the class's, read as that class: {}",
                counted(other_case.len(), "folder"),
                some_of(&other_case)
            ));
        }
        self.leave_out_unknown(unknown);
        if classes.is_empty() {
            return Err(format!(
                "it holds {} images and no class folders to train on: make a folder for each class and move its images there",
                names.len()
            ));
        }
        self.tell_missing(&classes);
        let text = self.text(&classes);
        Ok(Layout { classes, places: self.places, text, why: self.why, notes: self.notes })
    }

    /// Leaves out images of validation and test classes that the training part lacks.
    fn leave_out_unknown(&mut self, unknown: BTreeMap<(Part, String), Vec<usize>>) {
        let mut by_part: BTreeMap<Part, Vec<(String, usize)>> = BTreeMap::new();
        for ((part, class), images) in unknown {
            let detail =
                format!("is of class `{}`, which has no training images: add some or remove it", one_line(&class));
            self.leave_out(&images, Reason::ClassNotInTraining, &detail);
            by_part.entry(part).or_default().push((class, images.len()));
        }
        for (part, classes) in by_part {
            let images = classes.iter().map(|(_, count)| count).sum();
            self.notes.push(format!(
                "{} in {} of {} that the training part lacks, left out: {}",
                counted(images, "image"),
                part.name(),
                counted(classes.len(), "folder"),
                some_of(classes.iter().map(|(class, count)| format!("{class} ({count})")))
            ));
        }
    }

    /// Tells which classes a part lacks.
    fn tell_missing(&mut self, classes: &[Class]) {
        for part in [Part::Validation, Part::Test] {
            let present: BTreeSet<u32> = self
                .places
                .iter()
                .filter_map(|place| match place {
                    Place::Image(class, of) if *of == part => Some(*class),
                    _ => None,
                })
                .collect();
            let missing = || (0..).zip(classes).filter(|(number, _)| !present.contains(number));
            if !present.is_empty() && present.len() < classes.len() {
                self.notes.push(format!(
                    "{} without {} images: {}",
                    counted(missing().count(), "class"),
                    part.name(),
                    some_of(missing().map(|(_, class)| class.full_name()))
                ));
            }
        }
    }

    /// The layout in a few words.
    fn text(&self, classes: &[Class]) -> String {
        let parts: BTreeSet<Part> = self
            .places
            .iter()
            .filter_map(|place| match place {
                Place::Image(_, part) => Some(*part),
                Place::LeftOut(..) => None,
            })
            .collect();
        let grouped = classes.iter().any(|class| !class.group.is_empty());
        let folders = if grouped { "class folders in group folders" } else { "class folders" };
        match parts.len() {
            0 | 1 => folders.to_string(),
            _ => {
                format!("{folders}, in parts: {}", parts.iter().map(|part| part.name()).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str]) -> Result<Layout, String> {
        let mut names: Vec<Vec<&str>> = names.iter().map(|name| name.split('/').collect()).collect();
        names.sort();
        layout(&names)
    }

    fn full_names(layout: &Layout) -> Vec<String> {
        layout.classes.iter().map(Class::full_name).collect()
    }

    /// The numbers of images in train, validation and test, and of files left out.
    fn counts(layout: &Layout) -> [usize; 4] {
        let mut counts = [0; 4];
        for place in &layout.places {
            counts[match place {
                Place::Image(_, part) => *part as usize,
                Place::LeftOut(..) => 3,
            }] += 1;
        }
        counts
    }

    /// Three images of each class in the folder.
    fn three(folder: &str, classes: &[&str]) -> Vec<String> {
        classes.iter().flat_map(|class| (0..3).map(move |image| format!("{folder}{class}/{image}.png"))).collect()
    }

    fn read_all(files: &[Vec<String>]) -> Layout {
        let names: Vec<&str> = files.iter().flatten().map(String::as_str).collect();
        read(&names).unwrap()
    }

    fn labels(layout: &Layout) -> Vec<Option<u32>> {
        let label = |place: &Place| match place {
            Place::Image(class, _) => Some(*class),
            Place::LeftOut(..) => None,
        };
        layout.places.iter().map(label).collect()
    }

    #[test]
    fn the_innermost_folder_is_the_class_and_the_others_its_group() {
        let layout = read(&["1.png", "a/x/1.png", "a/x/2.png", "a/y/z/1.png", "b/1.png"]).unwrap();
        assert_eq!(full_names(&layout), ["a/x", "a/y/z", "b"]);
        assert_eq!(layout.classes[1], Class { name: "z".into(), group: "a/y".into() });
        assert_eq!(labels(&layout), [None, Some(0), Some(0), Some(1), Some(2)]);
        assert_eq!((layout.notes.len(), layout.text.as_str()), (0, "class folders in group folders"));
    }

    #[test]
    fn parts_are_known_in_any_usual_spelling() {
        for (train, other, counted) in [
            ("train", "val", [6, 6, 0, 0]),
            ("train", "valid", [6, 6, 0, 0]),
            ("Training", "Testing", [6, 0, 6, 0]),
            ("TRAIN", "TEST", [6, 0, 6, 0]),
            ("train", "dev", [6, 6, 0, 0]),
            ("train_set", "test_set", [6, 0, 6, 0]),
            ("seg_train/seg_train", "seg_test/seg_test", [6, 0, 6, 0]),
            ("train/images", "validation/images", [6, 6, 0, 0]),
        ] {
            let classes = ["red", "blue"];
            let layout = read_all(&[three(&format!("{train}/"), &classes), three(&format!("{other}/"), &classes)]);
            assert_eq!((full_names(&layout), counts(&layout)), (vec!["blue".into(), "red".into()], counted), "{train}");
            assert!(layout.notes.is_empty(), "{:?}", layout.notes);
        }
    }

    #[test]
    fn validation_and_test_are_kept_apart() {
        let classes = ["red", "blue"];
        let layout = read_all(&[three("train/", &classes), three("val/", &classes), three("test/", &classes[..1])]);
        assert_eq!(counts(&layout), [6, 6, 3, 0]);
        assert!(layout.notes[0].contains("1 class without test images: blue"), "{:?}", layout.notes);
        assert!(layout.text.ends_with("in parts: train, validation, test"));
    }

    #[test]
    fn wrappers_strays_and_siblings_do_not_switch_parts_off() {
        let classes = ["red", "blue"];
        let parts =
            |root: &str| [three(&format!("{root}train/"), &classes), three(&format!("{root}val/"), &classes)].concat();
        for (root, more, left_out) in [
            ("", "sample.png", 1),
            ("download/dataset/", "download/dataset/sample.png", 1),
            ("download/dataset/", "download/sample.png", 1),
            ("", "samples/montage.png", 1),
            ("dataset/", "samples/montage.png", 1),
            ("", "train/stray.png", 1),
            ("", "pred/1.png", 1),
        ] {
            let layout = read_all(&[parts(root), vec![more.to_string()]]);
            assert_eq!((full_names(&layout).len(), counts(&layout)), (2, [6, 6, 0, left_out]), "{root} {more}");
        }
        let layout = read_all(&[parts(""), vec!["samples/montage.png".into()]]);
        assert!(layout.notes[0].contains("`samples` is not a train, validation or test folder: its 1 image"));
    }

    #[test]
    fn images_without_labels_are_left_out_of_parts() {
        let train = three("train/", &["red", "blue"]);
        for flat in ["test/1.png", "test/unknown/1.png", "val/images/1.png"] {
            let layout = read_all(&[train.clone(), vec![flat.to_string()]]);
            assert_eq!((full_names(&layout).len(), counts(&layout)), (2, [6, 0, 0, 1]), "{flat}");
            assert!(layout.notes[0].contains("left out"), "{:?}", layout.notes);
        }
    }

    #[test]
    fn a_class_that_training_lacks_is_left_out_with_a_note() {
        let layout = read_all(&[three("train/", &["red", "blue"]), three("val/", &["blue", "pink", "gold"])]);
        assert_eq!((full_names(&layout), counts(&layout)), (vec!["blue".into(), "red".into()], [6, 3, 0, 6]));
        assert!(layout.notes[0].contains(
            "6 images in validation of 2 folders that the training part lacks, left out: gold (3), pink (3)"
        ));
        assert!(layout.notes[1].contains("1 class without validation images: red"));
    }

    #[test]
    fn parts_without_a_common_class_are_groups() {
        let layout = read(&["train/a/1.png", "val/b/2.png"]).unwrap();
        assert_eq!((full_names(&layout), counts(&layout)), (vec!["train/a".into(), "val/b".into()], [2, 0, 0, 0]));
        let layout = read_all(&[three("train/", &["a", "b"]), three("val/", &["c", "d"]), three("test/", &["e", "f"])]);
        assert_eq!(full_names(&layout), ["test/e", "test/f", "train/a", "train/b", "val/c", "val/d"]);
    }

    #[test]
    fn classes_may_be_called_train_or_test() {
        assert_eq!(full_names(&read(&["bus/1.png", "train/1.png"]).unwrap()), ["bus", "train"]);
        assert_eq!(full_names(&read(&["test/1.png", "train/1.png"]).unwrap()), ["test", "train"]);
    }

    #[test]
    fn folders_that_hold_one_folder_are_looked_through() {
        let layout = read_all(&[three("download/pets/", &["cat", "dog"])]);
        assert_eq!(full_names(&layout), ["cat", "dog"]);
        assert!(layout.why[0].contains("looked through the outer folder `download/pets`"));
        assert_eq!(full_names(&read(&["only/1.png"]).unwrap()), ["only"]);
    }

    #[test]
    fn the_set_inside_itself_is_read_once() {
        let classes = ["red", "blue"];
        let parts =
            |root: &str| [three(&format!("{root}train/"), &classes), three(&format!("{root}test/"), &classes)].concat();
        let layout = read_all(&[parts(""), parts("chest/")]);
        assert_eq!((full_names(&layout).len(), counts(&layout)), (2, [6, 0, 6, 12]));
        assert!(
            layout.notes[0].contains("`chest` holds the same folders a second time: its 12 images"),
            "{:?}",
            layout.notes
        );
        let layout = read_all(&[three("set/", &classes), three("set/set/", &classes)]);
        assert_eq!((full_names(&layout), counts(&layout)), (vec!["blue".into(), "red".into()], [6, 0, 0, 6]));
    }

    #[test]
    fn rooms_inside_classes_are_not_classes() {
        let layout = read_all(&[three("dog/", &["garden", "kitchen"]), three("cat/", &["garden", "kitchen"])]);
        assert_eq!(
            (full_names(&layout), labels(&layout)[0], labels(&layout)[11]),
            (vec!["cat".into(), "dog".into()], Some(0), Some(1))
        );
        assert!(
            layout.notes[0].contains("`garden`, `kitchen` repeat in 2 outer folders (`cat`, `dog`)"),
            "{:?}",
            layout.notes
        );
        let in_parts = read_all(&[
            three("train/dog/", &["garden", "kitchen"]),
            three("train/cat/", &["garden", "kitchen"]),
            three("val/dog/", &["attic"]),
            three("val/", &["cat"]),
        ]);
        assert_eq!((full_names(&in_parts), counts(&in_parts)), (vec!["cat".into(), "dog".into()], [12, 6, 0, 0]));
    }

    #[test]
    fn one_folder_inside_every_class_is_looked_through() {
        let train = |class: &str| three(&format!("train/{class}/"), &["images"]);
        let layout = read_all(&[
            train("n01"),
            train("n02"),
            train("n03"),
            three("val/", &["images"]),
            three("test/", &["images"]),
        ]);
        assert_eq!(
            (full_names(&layout), counts(&layout)),
            (vec!["n01".into(), "n02".into(), "n03".into()], [9, 0, 0, 6])
        );
        assert!(layout.notes[0].contains("images (3)"), "{:?}", layout.notes);
    }

    #[test]
    fn numbered_folders_are_classes_of_their_group() {
        let layout = read_all(&[
            three("Greek/", &["character01", "character02", "character03"]),
            three("Latin/", &["character01", "character02"]),
        ]);
        assert_eq!((layout.classes.len(), layout.classes[0].full_name().as_str()), (5, "Greek/character01"));
        assert!(layout.notes.is_empty());
        let undecided = read_all(&[three("Greek/", &["1", "2"]), three("Latin/", &["1", "2"])]);
        assert_eq!(undecided.classes.len(), 4);
        assert!(undecided.notes[0].contains("each is read as a class of its own"), "{:?}", undecided.notes);
    }

    #[test]
    fn many_classes_in_a_few_sources_stay_groups_with_a_note() {
        let classes = ["ant", "bee", "cat", "dog", "elk", "fox"];
        let layout = read_all(&[three("photo/", &classes), three("sketch/", &classes)]);
        assert_eq!((layout.classes.len(), layout.classes[0].full_name().as_str()), (12, "photo/ant"));
        assert!(layout.notes[0].contains("repeat in 2 outer folders (`photo`, `sketch`)"), "{:?}", layout.notes);
    }

    #[test]
    fn parts_may_lie_inside_classes() {
        let layout = read_all(&[three("dog/", &["train", "test"]), three("cat/", &["train", "test"])]);
        assert_eq!((full_names(&layout), counts(&layout)), (vec!["cat".into(), "dog".into()], [6, 0, 6, 0]));
    }

    #[test]
    fn a_class_with_folders_inside_takes_their_images() {
        let layout = read_all(&[three("", &["red", "blue"]), three("red/", &["more"])]);
        assert_eq!((full_names(&layout), counts(&layout)), (vec!["blue".into(), "red".into()], [9, 0, 0, 0]));
        let stray = (0..30).map(|image| format!("dog/husky/{image}.png")).collect();
        let layout = read_all(&[three("", &["cat"]), stray, vec!["dog/montage.png".into()]]);
        assert_eq!((full_names(&layout), counts(&layout)), (vec!["cat".into(), "dog/husky".into()], [33, 0, 0, 1]));
    }

    #[test]
    fn names_in_two_unicode_forms_or_two_cases_are_told() {
        let accents = read_all(&[three("train/", &["cafe\u{301}", "bar"]), three("val/", &["café", "bar"])]);
        assert_eq!((full_names(&accents), counts(&accents)), (vec!["bar".into(), "café".into()], [6, 6, 0, 0]));
        let twins = read_all(&[three("", &["Red", "red", "blue"])]);
        assert_eq!(full_names(&twins), ["Red", "blue", "red"]);
        assert!(twins.notes[0].contains("Red and red"), "{:?}", twins.notes);
        let across = read_all(&[three("train/", &["red", "blue"]), three("val/", &["Red", "Blue"])]);
        assert_eq!((full_names(&across).len(), counts(&across)), (2, [6, 6, 0, 0]));
        assert!(across.notes[0].contains("differs in case"), "{:?}", across.notes);
    }

    #[test]
    fn what_is_no_data_set_says_what_to_do() {
        assert!(read(&["1.png", "2.png"]).unwrap_err().contains("2 loose images"));
        assert!(read(&[]).unwrap_err().contains("no PNG"));
    }
}
