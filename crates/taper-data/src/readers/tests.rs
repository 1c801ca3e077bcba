//! Folders and zips of tiny images, opened.

use super::samples::{jpeg, oriented, png};
use crate::{Class, DataError, Dataset, Hash, open};
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A gray PNG of this level.
fn gray(level: u8) -> Vec<u8> {
    png(GrayImage::from_pixel(4, 3, Luma([level])))
}

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn zip(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = zip::ZipWriter::new(fs::File::create(folder.path().join("set.zip")).unwrap());
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    folder
}

fn open_zip(files: &[(&str, Vec<u8>)]) -> crate::Result<Arc<dyn Dataset>> {
    open(&zip(files).path().join("set.zip"))
}

fn refused(folder: &TempDir) -> String {
    open(folder.path()).err().unwrap().to_string()
}

fn classes(data: &dyn Dataset) -> Vec<String> {
    data.classes().iter().map(Class::full_name).collect()
}

fn levels(data: &dyn Dataset) -> Vec<u8> {
    (0..data.labels().len()).map(|index| data.image(index).unwrap().pixels[0]).collect()
}

#[test]
fn a_folder_of_class_folders_is_sorted_by_name() {
    let folder = folder(&[
        ("dog/2.png", gray(4)),
        ("dog/10.PNG", gray(3)),
        ("cat/b.png", gray(2)),
        ("cat/a.jpg", gray(1)),
        ("README.md", b"words".to_vec()),
        ("cat/.DS_Store", vec![1]),
        ("cat/.hidden.png", gray(9)),
        ("__MACOSX/cat/a.png", gray(9)),
        (".git/x/a.png", gray(9)),
        ("cat/SHA256SUMS", b"sums".to_vec()),
    ]);
    let data = open(folder.path()).unwrap();
    assert_eq!((classes(data.as_ref()), data.labels()), (vec!["cat".into(), "dog".into()], &[0, 0, 1, 1][..]));
    assert_eq!(levels(data.as_ref()), [1, 2, 3, 4]);
    assert_eq!(data.image_name(2), "dog/10.PNG");
    assert_eq!(data.content_hash(1).unwrap(), Hash::of(&gray(2)));
    assert_eq!((data.skipped(), data.held_out()), (&[][..], &[][..]));
    assert_eq!(data.name(), folder.path().file_name().unwrap().to_str().unwrap());
}

#[test]
fn nested_folders_are_groups_and_parts_are_held_out() {
    let nested = folder(&[("Greek/alpha/1.png", gray(1)), ("Greek/beta/1.png", gray(2)), ("one/two/x/1.png", gray(3))]);
    let data = open(nested.path()).unwrap();
    assert_eq!(data.classes()[2], Class { name: "x".into(), group: "one/two".into() });
    assert_eq!(data.classes()[0], Class { name: "alpha".into(), group: "Greek".into() });
    let parts = folder(&[("train/a/1.png", gray(1)), ("train/b/1.png", gray(2)), ("val/a/9.png", gray(3))]);
    let data = open(parts.path()).unwrap();
    assert_eq!((classes(data.as_ref()), data.labels()), (vec!["a".into(), "b".into()], &[0, 1, 0][..]));
    assert_eq!(data.held_out(), [2]);
}

#[test]
fn damaged_images_are_skipped_and_listed_and_the_others_stay() {
    let noisy = RgbImage::from_fn(40, 40, |x, y| Rgb([(x * 91 + y * 57) as u8, (x * y) as u8, 9]));
    let (whole, large) = (png(noisy.clone()), jpeg(noisy));
    let folder = folder(&[
        ("a/cut.jpg", large[..large.len() / 2].to_vec()),
        ("a/cut.png", whole[..whole.len() - 60].to_vec()),
        ("a/empty.png", vec![]),
        ("a/good.png", gray(7)),
        ("a/text.jpg", b"not found".to_vec()),
        ("b/good.png", gray(8)),
        ("loose.png", gray(9)),
        ("nothing/notes.txt", vec![1]),
    ]);
    let data = open(folder.path()).unwrap();
    assert_eq!(levels(data.as_ref()), [7, 8]);
    let skipped: Vec<&str> = data.skipped().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(skipped, ["a/cut.jpg", "a/cut.png", "a/empty.png", "a/text.jpg", "loose.png", "nothing/"]);
    assert!(data.skipped()[0].1.contains("cut short"));
}

#[test]
fn a_class_that_loses_all_its_images_is_an_error_that_names_it() {
    let folder = folder(&[("good/1.png", gray(1)), ("bad/1.png", vec![1, 2, 3]), ("bad/2.png", vec![])]);
    let error = refused(&folder);
    assert!(error.contains("none of the 2 images of class `bad`") && error.contains("`bad/1.png` is no"), "{error}");
}

#[test]
fn what_is_no_data_set_is_an_error_that_says_what_to_do() {
    assert!(matches!(open(Path::new("/no/such/folder")), Err(DataError::NoSuchPath(_))));
    assert!(refused(&folder(&[])).contains("the folder is empty"));
    assert!(refused(&folder(&[(".hidden/1.png", gray(1))])).contains("the folder is empty"));
    assert!(refused(&folder(&[("notes/a.txt", vec![1])])).contains("no PNG, JPEG or GIF images"));
    assert!(refused(&folder(&[("1.png", gray(1)), ("2.png", gray(2))])).contains("2 loose images"));
    let files =
        folder(&[("a/1.png", gray(1)), ("x.bin", vec![9; 9]), ("x.tgz", vec![0x1f, 0x8b, 8]), ("none", vec![])]);
    let error = |name: &str| open(&files.path().join(name)).err().unwrap().to_string();
    assert!(error("a/1.png").contains("a single image") && error("x.bin").contains("unknown kind"));
    assert!(error("x.tgz").contains("unpack it") && error("none").contains("empty"));
}

#[test]
fn one_class_is_enough_to_open() {
    assert_eq!(open(folder(&[("only/1.png", gray(1))]).path()).unwrap().classes().len(), 1);
    assert_eq!(classes(open_zip(&[("only/1.png", gray(1))]).unwrap().as_ref()), ["only"]);
}

#[test]
fn large_sets_are_read_by_header_and_decoded_when_asked() {
    let noisy = RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 91 + y * 57) as u8, (x * y) as u8, 9]));
    let file = jpeg(noisy);
    let folder = folder(&[
        ("a/1.jpg", oriented(&file, 8)),
        ("a/2.jpg", file[..file.len() - 100].to_vec()),
        ("a/3.jpg", vec![0]),
        ("b/1.png", gray(5)),
    ]);
    let limits = super::files::Limits { decoded_at_once: 0, kept: 3000 };
    let data = super::files::open_listing(super::folder::list(folder.path()).unwrap(), limits).unwrap();
    assert_eq!((data.labels(), data.skipped().len()), (&[0, 0, 1][..], 1));
    assert_eq!((data.size(0).unwrap(), data.size(2).unwrap()), ((3, 40, 30), (1, 3, 4)));
    assert_eq!(data.image(0).unwrap().height, 40);
    let error = data.image(1).unwrap_err().to_string();
    assert!(error.contains("2.jpg") && error.contains("cut short"), "{error}");
    assert_eq!(data.content_hash(2).unwrap(), Hash::of(&gray(5)));
    assert_eq!(data.image(2).unwrap(), data.image(2).unwrap());
    fs::write(folder.path().join("a/1.jpg"), gray(1)).unwrap();
    assert!(data.image(0).unwrap_err().to_string().ends_with("open the data set again"));
}

#[test]
fn a_zip_is_read_packed_with_its_outer_folder_left_out() {
    let files = [
        ("images/Greek/character01/0001_01.png", gray(1)),
        ("images/Greek/character02/0002_01.png", gray(2)),
        ("images/Latin/character01/0003_01.png", gray(3)),
        ("images/README", vec![1]),
        ("__MACOSX/images/Greek/character01/._0001_01.png", vec![1]),
    ];
    let data = open_zip(&files).unwrap();
    assert_eq!(classes(data.as_ref()), ["Greek/character01", "Greek/character02", "Latin/character01"]);
    assert_eq!((levels(data.as_ref()), data.name()), (vec![1, 2, 3], "set"));
    assert_eq!(data.content_hash(2).unwrap(), Hash::of(&gray(3)));
    let flat = open_zip(&[("cat/1.png", gray(1)), ("dog/1.png", gray(2))]).unwrap();
    assert_eq!(classes(flat.as_ref()), ["cat", "dog"]);
}

#[test]
fn a_zip_whose_names_lead_outside_is_refused() {
    for name in ["../a/1.png", "a/../../b/1.png", "/etc/a/1.png", "..\\a\\1.png", "C:/a/1.png"] {
        let error = open_zip(&[("a/1.png", gray(1)), (name, gray(2))]).err().unwrap().to_string();
        assert!(error.contains("leads outside"), "{name}: {error}");
    }
}

#[test]
fn a_damaged_zip_is_an_error() {
    let folder = zip(&[("a/1.png", gray(1))]);
    let path = folder.path().join("set.zip");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();
    assert!(open(&path).err().unwrap().to_string().contains("damaged zip"));
}

#[cfg(unix)]
#[test]
fn links_that_lead_back_do_not_hang() {
    let folder = folder(&[("a/1.png", gray(1)), ("b/1.png", gray(2))]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/again")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("a/1.png"), folder.path().join("b/linked.png")).unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!((data.labels(), data.skipped().len()), (&[0, 1, 1][..], 1));
}

/// A data set of `/work/shared`, where that is there.
#[expect(clippy::print_stderr, reason = "says that a test was skipped")]
fn shared(name: &str) -> Option<Arc<dyn Dataset>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        eprintln!("skipped, no {}", path.display());
        return None;
    }
    Some(open(&path).unwrap())
}

#[test]
fn published_data_sets_are_read() {
    if let Some(data) = shared("omniglot/images_background_small1.zip") {
        assert_eq!((data.classes().len(), data.labels().len(), data.skipped().len()), (136, 2720, 0));
        assert_eq!(data.classes()[0].full_name(), "Balinese/character01");
        let groups: std::collections::BTreeSet<&str> = data.classes().iter().map(|c| c.group.as_str()).collect();
        assert_eq!(groups.into_iter().collect::<Vec<_>>(), ["Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"]);
        assert_eq!(data.size(2719).unwrap(), (1, 105, 105));
    }
    for (name, classes, images, held_out) in
        [("sign-digits", 10, 800, 200), ("trashnet", 6, 420, 120), ("fashion-mnist", 10, 10_000, 0)]
    {
        if let Some(data) = shared(name) {
            assert_eq!((data.classes().len(), data.labels().len()), (classes, images), "{name}");
            assert_eq!((data.held_out().len(), data.skipped().len()), (held_out, 0), "{name}");
        }
    }
}
