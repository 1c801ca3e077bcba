//! From the names of image files to classes, groups and parts.

use crate::Class;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// The folder that learners train on; beside it lie parts set aside.
const TRAIN: &str = "train";
const SET_ASIDE: [&str; 4] = ["val", "valid", "validation", "test"];

/// Which class each file belongs to.
#[derive(Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) classes: Vec<Class>,
    /// For each name its class; none for a file outside the class folders.
    pub(super) labels: Vec<Option<u32>>,
    /// For each name: does it belong to a part set aside?
    pub(super) held_out: Vec<bool>,
}

/// Reads the layout off names such as `Greek/alpha/01.png`: the innermost folder is the class,
/// what is around it the group.
///
/// With `train/` and `val/`, `valid/`, `validation/` or `test/` outermost and nothing else, these
/// are parts with the same classes; images outside `train/` are held out. Where the parts have
/// no class in common they are groups, as in data sets whose classes are split.
///
/// The error says what was found, and what to do.
pub(super) fn layout(names: &[Vec<&str>]) -> Result<Layout, String> {
    if names.is_empty() {
        return Err("it holds no PNG, JPEG or GIF images".to_string());
    }
    let folders: Vec<&[&str]> = names.iter().map(|name| &name[..name.len() - 1]).collect();
    if folders.iter().all(|folders| folders.is_empty()) {
        return Err(format!(
            "it holds {} loose images and no class folders, make a folder for each class and move its images there",
            names.len()
        ));
    }
    let parts = parts(&folders)?;
    let inner = |folders: &[&str]| folders[usize::from(parts && !folders.is_empty())..].join("/");
    let paths: Vec<String> = folders.iter().map(|folders| inner(folders)).collect();
    let distinct: BTreeSet<Vec<&str>> =
        paths.iter().filter(|path| !path.is_empty()).map(|path| path.split('/').collect()).collect();
    let mut classes = Vec::new();
    let mut numbers = BTreeMap::new();
    for (number, path) in distinct.into_iter().enumerate() {
        numbers.insert(path.join("/"), number as u32);
        if let Some((name, groups)) = path.split_last() {
            classes.push(Class { name: (*name).to_string(), group: groups.join("/") });
        }
    }
    Ok(Layout {
        classes,
        labels: paths.iter().map(|path| numbers.get(path).copied()).collect(),
        held_out: folders.iter().map(|folders| parts && folders.first().is_some_and(|part| *part != TRAIN)).collect(),
    })
}

/// Are the outermost folders parts of one data set, with the same classes?
fn parts(folders: &[&[&str]]) -> Result<bool, String> {
    let outermost: BTreeSet<&str> = folders.iter().filter_map(|folders| folders.first().copied()).collect();
    if !outermost.contains(TRAIN) || outermost.iter().any(|part| *part != TRAIN && !SET_ASIDE.contains(part)) {
        return Ok(false);
    }
    let classes = |train: bool| -> BTreeSet<&[&str]> {
        let part = folders.iter().filter(|folders| folders.len() > 1 && (folders[0] == TRAIN) == train);
        part.map(|folders| &folders[1..]).collect()
    };
    let (train, others) = (classes(true), classes(false));
    let unknown: Vec<String> = others.difference(&train).map(|class| class.join("/")).collect();
    match unknown.first() {
        None => Ok(!train.is_empty()),
        Some(_) if unknown.len() == others.len() => Ok(false),
        Some(class) => Err(format!(
            "class `{class}` is set aside for validation or test but `{TRAIN}/` lacks it, add training images or remove its folder"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str]) -> Result<Layout, String> {
        layout(&names.iter().map(|name| name.split('/').collect()).collect::<Vec<_>>())
    }

    fn full_names(layout: &Layout) -> Vec<String> {
        layout.classes.iter().map(Class::full_name).collect()
    }

    #[test]
    fn the_innermost_folder_is_the_class_and_the_others_its_group() {
        let layout = read(&["b/1.png", "a/x/1.png", "a/x/2.png", "a/y/z/1.png", "1.png"]).unwrap();
        assert_eq!(full_names(&layout), ["a/x", "a/y/z", "b"]);
        assert_eq!(layout.classes[1], Class { name: "z".into(), group: "a/y".into() });
        assert_eq!(layout.labels, [Some(2), Some(0), Some(0), Some(1), None]);
        assert_eq!(layout.held_out, [false; 5]);
    }

    #[test]
    fn parts_share_their_classes_and_what_is_not_train_is_held_out() {
        let layout = read(&["train/a/1.png", "train/b/1.png", "val/b/2.png", "test/a/3.png", "test/4.png"]).unwrap();
        assert_eq!(full_names(&layout), ["a", "b"]);
        assert_eq!(layout.labels, [Some(0), Some(1), Some(1), Some(0), None]);
        assert_eq!(layout.held_out, [false, false, true, true, true]);
    }

    #[test]
    fn parts_without_a_common_class_are_groups() {
        let layout = read(&["train/a/1.png", "val/b/2.png"]).unwrap();
        assert_eq!(full_names(&layout), ["train/a", "val/b"]);
        assert_eq!(layout.held_out, [false, false]);
    }

    #[test]
    fn classes_may_be_called_train_or_test() {
        assert_eq!(full_names(&read(&["bus/1.png", "train/1.png"]).unwrap()), ["bus", "train"]);
        assert_eq!(full_names(&read(&["test/1.png", "train/1.png"]).unwrap()), ["test", "train"]);
    }

    #[test]
    fn what_is_no_data_set_says_what_to_do() {
        assert!(read(&["1.png", "2.png"]).unwrap_err().contains("2 loose images"));
        assert!(read(&[]).unwrap_err().contains("no PNG"));
        let error = read(&["train/a/1.png", "val/a/1.png", "val/b/1.png"]).unwrap_err();
        assert!(error.contains("class `b`"), "{error}");
    }
}
