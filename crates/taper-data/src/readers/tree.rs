//! The folders of a data set's images, as a tree.

use super::names::folded;
use std::collections::{BTreeMap, BTreeSet};

/// A folder with images somewhere below it.
#[derive(Debug, Default)]
pub(super) struct Folder<'a> {
    /// The folders in it, by name.
    pub(super) folders: BTreeMap<&'a str, Folder<'a>>,
    /// Images that lie in it directly, as places in the list of names.
    pub(super) images: Vec<usize>,
}

impl<'a> Folder<'a> {
    /// The tree of images whose names are given as their parts.
    pub(super) fn of(names: &[Vec<&'a str>]) -> Self {
        let mut root = Self::default();
        for (place, name) in names.iter().enumerate() {
            let mut folder = &mut root;
            for &part in name.iter().take(name.len().saturating_sub(1)) {
                folder = folder.folders.entry(part).or_default();
            }
            folder.images.push(place);
        }
        root
    }

    /// Whether it holds images and no folders.
    pub(super) fn is_flat(&self) -> bool {
        self.folders.is_empty()
    }

    /// The only folder in it, if that holds folders: a wrapper around what matters.
    pub(super) fn wrapper(&self) -> Option<(&'a str, &Self)> {
        let (name, inner) = self.folders.iter().next()?;
        (self.folders.len() == 1 && !inner.is_flat()).then_some((name, inner))
    }

    /// What is inside all wrappers.
    pub(super) fn unwrapped(&self) -> &Self {
        self.wrapper().map_or(self, |(_, inner)| inner.unwrapped())
    }

    /// All images in it and below.
    pub(super) fn all_images(&self) -> Vec<usize> {
        let mut images = self.images.clone();
        self.folders.values().for_each(|folder| images.extend(folder.all_images()));
        images
    }

    /// The names of the folders in it, in the form in which they are compared.
    pub(super) fn folded_names(&self) -> BTreeSet<String> {
        self.folders.keys().map(|name| folded(name)).collect()
    }

    /// The paths below it of folders that hold images, in the form in which they are compared.
    pub(super) fn class_paths(&self) -> BTreeSet<Vec<String>> {
        let mut paths = BTreeSet::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, at: &mut Vec<String>, into: &mut BTreeSet<Vec<String>>) {
        if !self.images.is_empty() && !at.is_empty() {
            into.insert(at.clone());
        }
        for (name, folder) in &self.folders {
            at.push(folded(name));
            folder.collect_paths(at, into);
            at.pop();
        }
    }

    /// Calls `f` with the path below it and the images of every folder that holds some.
    pub(super) fn visit(&self, at: &mut Vec<&'a str>, f: &mut dyn FnMut(&[&'a str], &Self)) {
        f(at, self);
        for (name, folder) in &self.folders {
            at.push(name);
            folder.visit(at, f);
            at.pop();
        }
    }
}
