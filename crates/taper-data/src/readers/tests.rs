//! Folders and zips of tiny images, opened.

use super::samples::{jpeg, oriented, png};
use crate::{Class, Columns, DataError, Dataset, Hash, Part, Reason, images_of_part, open, walk_images};
use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::Rng;
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
    assert_eq!(data.skipped(), [("cat/SHA256SUMS".to_string(), "is text, not an image".to_string())]);
    assert_eq!(data.held_out(), [0usize; 0]);
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
    assert_eq!(
        skipped,
        ["a/cut.jpg", "a/cut.png", "a/empty.png", "a/text.jpg", "loose.png", "nothing/", "nothing/notes.txt"]
    );
    assert!(data.skipped()[0].1.contains("cut short"));
}

#[test]
fn pictures_of_every_format_in_class_folders_are_images_whatever_they_are_called() {
    use image::ImageFormat::{Bmp, Pnm, Qoi, Tiff, WebP};
    let picture = image::DynamicImage::from(RgbImage::from_fn(6, 5, |x, y| Rgb([40 * x as u8, 50 * y as u8, 7])));
    let file = |format| {
        let mut file = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    };
    let mut files = vec![("b/1.png", gray(1)), ("b/2.jpg", jpeg(GrayImage::new(6, 5)))];
    files.extend([("a/1.bmp", Bmp), ("a/2.ppm", Pnm), ("a/3", Qoi), ("a/4.txt", Bmp)].map(|(name, f)| (name, file(f))));
    #[cfg(feature = "tiff")]
    files.push(("a/5.jpg", file(Tiff)));
    #[cfg(feature = "webp")]
    files.push(("a/6.webp", file(WebP)));
    let images = files.len();
    let data = open(folder(&files).path()).unwrap();
    assert_eq!((data.labels().len(), data.skipped().len()), (images, 0));
    let formats = &data.reading().unwrap().formats;
    assert_eq!((formats["BMP"], formats["PNM"], formats["QOI"], formats["JPEG"]), (2, 1, 1, 1), "{formats:?}");
}

#[test]
fn what_decoding_did_to_samples_is_noted() {
    let clear = super::samples::png_of(&[255, 0, 255, 255], 2, 1, image::ExtendedColorType::La8);
    let deep: Vec<u8> = [0u16, 4095].iter().flat_map(|sample| sample.to_ne_bytes()).collect();
    let deep = super::samples::png_of(&deep, 2, 1, image::ExtendedColorType::L16);
    let data = open(folder(&[("a/clear.png", clear), ("b/deep.png", deep), ("b/2.png", gray(1))]).path()).unwrap();
    let notes = data.notes().join("\n");
    assert!(notes.contains("1 image with light ink on a transparent ground, laid over black: a/clear.png"), "{notes}");
    assert!(notes.contains("1 image of 16 bits that use a part of their range, scaled to all of it: b/deep.png"));
}

#[test]
fn a_class_that_loses_all_its_images_is_an_error_that_names_it() {
    let folder = folder(&[("good/1.png", gray(1)), ("bad/1.png", vec![1, 2, 3]), ("bad/2.png", vec![])]);
    let error = refused(&folder);
    assert!(error.contains("none of the 2 images of class `bad`") && error.contains("`bad/1.png` is"), "{error}");
}

#[test]
fn what_is_no_data_set_is_an_error_that_says_what_to_do() {
    assert!(matches!(open(Path::new("/no/such/folder")), Err(DataError::NoSuchPath(_))));
    assert!(refused(&folder(&[])).contains("the folder is empty"));
    assert!(refused(&folder(&[(".hidden/1.png", gray(1))])).contains("the folder is empty"));
    assert!(refused(&folder(&[("notes/a.txt", vec![1])])).contains("no PNG, JPEG, GIF, WebP"));
    assert!(refused(&folder(&[("1.png", gray(1)), ("2.png", gray(2))])).contains("2 loose images"));
    let files =
        folder(&[("a/1.png", gray(1)), ("x.bin", vec![1; 9]), ("x.tgz", vec![0x1f, 0x8b, 8]), ("none", vec![])]);
    let error = |name: &str| open(&files.path().join(name)).err().unwrap().to_string();
    assert!(error("a/1.png").contains("a single PNG image") && error("x.bin").contains("unknown kind"));
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

#[test]
fn parts_of_a_folder_are_told_apart() {
    let files: Vec<(String, Vec<u8>)> = ["Train", "dev", "TEST"]
        .iter()
        .flat_map(|part| ["a", "b"].map(|class| (format!("set/{part}/{class}/1.png"), gray(1))))
        .collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    for data in [open(folder(&files).path()).unwrap(), open_zip(&files).unwrap()] {
        let part = |part| images_of_part(data.as_ref(), part);
        assert_eq!((part(Part::Test), part(Part::Train), part(Part::Validation)), (vec![0, 1], vec![2, 3], vec![4, 5]));
        assert_eq!(data.held_out(), [0, 1, 4, 5], "validation and test together");
        assert!(data.reading().unwrap().why.iter().any(|why| why.contains("`dev` is validation")));
    }
}

#[test]
fn what_systems_leave_behind_is_neither_a_class_nor_an_image() {
    let set = folder(&[
        ("cat/1.png", gray(1)),
        ("dog/1.png", gray(2)),
        ("dog/Thumbs.db", vec![0xd0, 0xcf]),
        ("dog/~$draft.png", vec![1]),
        ("dog/.ipynb_checkpoints/1-checkpoint.png", gray(2)),
        ("@eaDir/cat/1.png", gray(3)),
        ("$RECYCLE.BIN/S-1-5/$IABC.png", vec![2; 40]),
        ("System Volume Information/x.dat", vec![0; 12]),
    ]);
    let data = open(set.path()).unwrap();
    assert_eq!((classes(data.as_ref()), levels(data.as_ref())), (vec!["cat".into(), "dog".into()], vec![1, 2]));
    assert!(data.skipped().is_empty(), "{:?}", data.skipped());
    let left_out = &data.reading().unwrap().left_out;
    assert_eq!(left_out.len(), 6, "{left_out:?}");
    assert!(left_out.iter().all(|file| file.reason == Reason::System));
    assert_eq!(walk_images(set.path()).unwrap().files.len(), 2);
}

#[test]
fn contents_decide_and_every_file_left_out_is_listed() {
    let image = RgbImage::from_fn(8, 8, |x, y| Rgb([(x * 30) as u8, (y * 30) as u8, 9]));
    let files = [
        ("red/a.png", png(image.clone())),
        ("red/is-a-png.jpg", png(image.clone())),
        ("red/is-a-jpeg.png", jpeg(image.clone())),
        ("red/no-ending", jpeg(image.clone())),
        ("red/download.jpeg.txt", jpeg(image.clone())),
        ("red/query.jpg?w=300", jpeg(image.clone())),
        ("red/is-a-page.jpg", b"<!DOCTYPE html><html><body>404</body></html>".to_vec()),
        ("red/is-empty.jpg", vec![]),
        ("red/clip.mp4", b"\0\0\0\x18ftypmp42".to_vec()),
        ("red/scan.pdf", b"%PDF-1.4\n".to_vec()),
        ("red/drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
        ("red/notes.txt", b"words".to_vec()),
        ("red/unknown.bin", vec![0x92, 0xff, 3]),
        ("blue/1", png(image)),
        ("README.md", b"words".to_vec()),
    ];
    for data in [open(folder(&files).path()).unwrap(), open_zip(&files).unwrap()] {
        let skipped: Vec<&str> = data.skipped().iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "red/clip.mp4",
            "red/drawing.svg",
            "red/is-a-page.jpg",
            "red/is-empty.jpg",
            "red/notes.txt",
            "red/scan.pdf",
            "red/unknown.bin",
        ];
        assert_eq!((data.labels().len(), skipped), (7, expected.to_vec()));
        let why = |name: &str| data.skipped().iter().find(|(path, _)| path.ends_with(name)).unwrap().1.clone();
        assert!(why("page.jpg").contains("a web page") && why("mp4").contains("a video") && why("svg").contains("SVG"));
        let reading = data.reading().unwrap();
        assert!(reading.left_out.iter().any(|file| file.path == "README.md" && file.reason == Reason::Document));
        assert_eq!(reading.formats["JPEG"], 4);
        assert!(data.notes().iter().any(|note| note.contains("red/clip.mp4")), "{:?}", data.notes());
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_stay_apart() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    for byte in [0xe8, 0xe9] {
        let class = folder.path().join(std::ffi::OsStr::from_bytes(&[b'c', byte]));
        fs::create_dir(&class).unwrap();
        fs::write(class.join("1.png"), gray(byte)).unwrap();
    }
    let data = open(folder.path()).unwrap();
    assert_eq!(
        (classes(data.as_ref()), levels(data.as_ref())),
        (vec!["c\\xe8".into(), "c\\xe9".into()], vec![0xe8, 0xe9])
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_once_and_never_far_outside() {
    use std::os::unix::fs::symlink;
    let outside = folder(&[("red/1.png", gray(9)), ("red/deeper/2.png", gray(8)), ("far/away/blue/1.png", gray(7))]);
    let set = folder(&[("a/1.png", gray(1)), ("b/1.png", gray(2)), (".store/c/1.png", gray(3))]);
    let link = |to: &Path, name: &str| symlink(to, set.path().join(name)).unwrap();
    link(&outside.path().join("red"), "red");
    link(&outside.path().join("red"), "red-again");
    link(&outside.path().join("far"), "far");
    link(Path::new("/"), "machine");
    link(&set.path().join(".store/c"), "c");
    link(Path::new("a"), "a-again");
    link(Path::new(".."), "a/up");
    link(&outside.path().join("red"), "b/inside-a-class");
    link(Path::new("/nowhere/at/all"), "gone");
    link(Path::new("loop"), "loop");
    let made = std::process::Command::new("mkfifo").arg(set.path().join("b/pipe.png")).status();
    let walk = walk_images(set.path()).unwrap();
    let names: Vec<&str> = walk.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["a/1.png", "b/1.png", "c/1.png", "red/1.png"]);
    let reason = |name: &str| walk.skipped.iter().find(|skipped| skipped.path == name).map(|skipped| skipped.reason);
    for name in ["far", "machine", "a/up", "b/inside-a-class", "gone", "loop", "red/deeper/"] {
        assert_eq!(reason(name), Some(Reason::Link), "{name}");
    }
    assert_eq!([reason("red-again/"), reason("a-again/")], [Some(Reason::SameFolder); 2]);
    if made.is_ok_and(|made| made.success()) {
        assert_eq!(reason("b/pipe.png"), Some(Reason::SpecialFile));
        let error = crate::read_image(&set.path().join("b/pipe.png")).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        assert!(open(&set.path().join("b/pipe.png")).err().unwrap().to_string().contains("a pipe"));
    }
    assert_eq!(open(set.path()).unwrap().labels().len(), 4);
}

/// Two links in each of 30 folders lead to the next: a billion paths lead to the last.
#[cfg(unix)]
#[test]
fn folders_to_which_many_paths_lead_are_read_once() {
    let set = folder(&[("a/1.png", gray(1)), ("b/30/1.png", gray(2))]);
    for level in 0..30 {
        let level_folder = set.path().join(format!("b/{level}"));
        fs::create_dir(&level_folder).unwrap();
        for name in ["left", "right"] {
            std::os::unix::fs::symlink(format!("../{}", level + 1), level_folder.join(name)).unwrap();
        }
    }
    let walk = walk_images(set.path()).unwrap();
    assert_eq!((walk.files.len(), walk.folders.len(), walk.skipped.len()), (2, 33, 60));
    assert!(walk.skipped.iter().all(|skipped| skipped.reason == Reason::SameFolder));
}

#[cfg(unix)]
#[test]
fn a_linked_part_is_read() {
    let outside = folder(&[("red/1.png", gray(1)), ("blue/1.png", gray(2))]);
    let set = folder(&[("val/red/1.png", gray(3)), ("val/blue/1.png", gray(4))]);
    std::os::unix::fs::symlink(outside.path(), set.path().join("train")).unwrap();
    let data = open(set.path()).unwrap();
    assert_eq!((data.labels().len(), data.held_out().len()), (4, 2));
}

/// The bytes of a zip of these files, changed.
fn changed_zip(files: &[(&str, Vec<u8>)], change: impl FnOnce(&mut Vec<u8>)) -> crate::Result<Arc<dyn Dataset>> {
    let folder = zip(files);
    let path = folder.path().join("set.zip");
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    open(&path)
}

/// The places of the signature in the bytes.
fn places(bytes: &[u8], signature: &[u8]) -> Vec<usize> {
    (0..bytes.len()).filter(|&at| bytes[at..].starts_with(signature)).collect()
}

const CENTRAL: &[u8] = b"PK\x01\x02";

#[test]
fn a_zip_of_parts_in_wrappers_is_read_like_the_folder() {
    let data = open_zip(&[
        ("download/set/train/a/1.png", gray(1)),
        ("download/set/train/b/1.png", gray(2)),
        ("download/set/val/a/1.png", gray(3)),
        ("download/set/sample.png", gray(4)),
        ("__MACOSX/download/set/train/a/._1.png", vec![0, 5, 22, 7]),
    ])
    .unwrap();
    assert_eq!((classes(data.as_ref()), data.held_out()), (vec!["a".into(), "b".into()], &[2][..]));
    assert_eq!(data.skipped().len(), 1);
}

#[test]
fn names_in_zips_are_read_in_the_code_page_they_have() {
    // `K\u{e4}se` in code page 437, then in UTF-8 without the mark, in one form and the other
    for (raw, name) in
        [(&b"K\x84se"[..], "K\u{e4}se"), ("K\u{e4}s".as_bytes(), "K\u{e4}s"), ("Ka\u{308}".as_bytes(), "K\u{e4}")]
    {
        let placeholder = "x".repeat(raw.len());
        let data = changed_zip(&[(&format!("{placeholder}/1.png"), gray(1)), ("other/1.png", gray(2))], |bytes| {
            for at in places(bytes, format!("{placeholder}/1.png").as_bytes()) {
                bytes[at..at + raw.len()].copy_from_slice(raw);
            }
        });
        assert_eq!(classes(data.unwrap().as_ref())[usize::from(false)], name);
    }
    let backslashes = open_zip(&[("a\\1.png", gray(1)), ("b\\1.png", gray(2))]).unwrap();
    assert_eq!(classes(backslashes.as_ref()), ["a", "b"]);
}

#[test]
fn a_zip_that_cannot_be_unpacked_says_how_to_pack_it() {
    let files = [("a/1.png", gray(1)), ("b/1.png", gray(2))];
    let locked = changed_zip(&files, |bytes| places(bytes, CENTRAL).into_iter().for_each(|at| bytes[at + 8] |= 1));
    assert!(locked.err().unwrap().to_string().ends_with("pack the zip again without a password"));
    for (method, name) in [(12, "bzip2"), (14, "LZMA")] {
        let packed =
            changed_zip(&files, |bytes| places(bytes, CENTRAL).into_iter().for_each(|at| bytes[at + 10] = method));
        let error = packed.err().unwrap().to_string();
        assert!(error.contains(&format!("is packed by {name}: pack the zip again with deflate")), "{error}");
    }
    let inner = fs::read(zip(&files).path().join("set.zip")).unwrap();
    let error = open_zip(&[("archive.zip", inner)]).err().unwrap().to_string();
    assert!(error.contains("`archive.zip`, another zip"), "{error}");
}

#[test]
fn zip_bombs_are_refused_or_left_out() {
    // 64 MiB of zeros in 64 KiB, as an image
    let bomb = [("a/1.png", gray(1)), ("a/bomb.png", vec![0; 64 << 20])];
    let data = open_zip(&bomb).unwrap();
    assert!(data.skipped()[0].1.starts_with("unpacks to more than 16 MiB"), "{:?}", data.skipped());
    // the same with a small declared size
    let data = changed_zip(&bomb, |bytes| {
        let at = places(bytes, CENTRAL)[1];
        bytes[at + 24..at + 28].copy_from_slice(&100u32.to_le_bytes());
    });
    assert_eq!(data.unwrap().skipped().len(), 1);
    // two entries over the same bytes
    let error = changed_zip(&[("a/1.png", gray(1)), ("b/1.png", gray(2))], |bytes| {
        let at = places(bytes, CENTRAL)[1];
        bytes[at + 42..at + 46].copy_from_slice(&[0; 4]);
    });
    assert!(error.err().unwrap().to_string().contains("entries that share bytes"));
}

#[test]
fn labels_are_read_from_a_table_beside_the_images() {
    let table = |text: &str| ("train.csv", text.as_bytes().to_vec());
    let images = [
        ("images/01.png", gray(1)),
        ("images/02.png", gray(2)),
        ("images/03.png", gray(3)),
        ("images/04.png", gray(4)),
    ];
    for text in [
        "id_code,label\n01.png,dog\n02.png,cat\n03.png,dog\n09.png,cat\n",
        "id,breed\n01,dog\n02,cat\n03,dog\n09,cat\n",
        "image;width;class;height\nimages/01.png;4;dog;3\nimages/02.png;4;cat;3\nimages/03.png;4;dog;3\nx/09.png;4;cat;3\n",
        "image\tdog\tcat\ndata/images/01.png\t1.0\t0.0\n02.png\t0.0\t1.0\n03.png\t1.0\t0.0\n09.png\t0\t1\n",
        "01.png,dog\n02.png,cat\n03.png,dog\n09.png,cat\n",
    ] {
        let data = open(folder(&[&images[..], &[table(text)]].concat()).path()).unwrap();
        assert_eq!(
            (classes(data.as_ref()), data.labels()),
            (vec!["cat".into(), "dog".into()], &[1, 0, 1][..]),
            "{text}"
        );
        assert!(
            data.notes().iter().any(|note| note.contains("1 row of the table without an image left out: ")),
            "{text}"
        );
        assert!(data.notes().iter().any(|note| note.contains("1 image without a label left out: images/04.png")));
        assert!(data.reading().unwrap().why[0].contains("labels are those of train.csv"));
    }
}

#[test]
fn a_table_may_say_the_part_and_its_columns_may_be_named() {
    let images = [("1.png", gray(1)), ("2.png", gray(2)), ("3.png", gray(3)), ("4.png", gray(4))];
    let text = b"file,a,b,split\n1.png,x,q,train\n2.png,y,q,train\n3.png,y,r,valid\n4.png,x,q,test\n".to_vec();
    let folder = folder(&[&images[..], &[("labels.csv", text)]].concat());
    let error = open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("4 loose images"), "two columns may be the label: {error}");
    let table = folder.path().join("labels.csv");
    let named = |label: &str| {
        let columns = Columns { label: Some(label.into()), ..Columns::default() };
        crate::open_with_labels(folder.path(), &table, &columns)
    };
    let data = named("a").unwrap();
    assert_eq!((classes(data.as_ref()), data.labels()), (vec!["x".into(), "y".into()], &[0, 1, 1, 0][..]));
    let parts = [Part::Train, Part::Train, Part::Validation, Part::Test];
    assert_eq!(parts, [0, 1, 2, 3].map(|image| data.part(image)));
    let other = named("b").unwrap();
    assert_eq!((classes(other.as_ref()), other.labels().len()), (vec!["q".into()], 3));
    assert!(other.notes()[0].contains("1 class without training images left out: r (1)"), "{:?}", other.notes());
    let error = named("z").err().unwrap().to_string();
    assert!(error.contains("has no column `z`: use one of `file`, `a`, `b`"), "{error}");
}

#[test]
fn a_part_without_class_folders_gets_its_labels_from_a_table_in_it() {
    let annotations = b"val_0.png\tn02\t0\t1\t3\t2\nval_1.png\tn01\t1\t1\t2\t2\n".to_vec();
    let folder = folder(&[
        ("train/n01/images/n01_0.png", gray(1)),
        ("train/n01/n01_boxes.txt", b"n01_0.png\t0\t0\t3\t2\n".to_vec()),
        ("train/n02/images/n02_0.png", gray(2)),
        ("val/images/val_0.png", gray(3)),
        ("val/images/val_1.png", gray(4)),
        ("val/val_annotations.txt", annotations),
        ("words.txt", b"n01\tcat\nn02\tdog\n".to_vec()),
    ]);
    let data = open(folder.path()).unwrap();
    assert_eq!((classes(data.as_ref()), data.labels()), (vec!["n01".into(), "n02".into()], &[0, 1, 0, 1][..]));
    assert_eq!(levels(data.as_ref()), [1, 2, 4, 3]);
    assert_eq!(images_of_part(data.as_ref(), Part::Validation), [2, 3]);
    assert_eq!(data.image_name(3), "val/images/val_0.png");
    let why = data.reading().unwrap().why.join("\n");
    assert!(why.contains("labels in `val` are those of val/val_annotations.txt"), "{why}");
}

#[test]
fn class_folders_beside_a_table_are_read_as_classes() {
    let files =
        [("images/red/1.png", gray(1)), ("images/blue/1.png", gray(2)), ("labels.csv", b"file,label\n".to_vec())];
    assert_eq!(classes(open(folder(&files).path()).unwrap().as_ref()), ["blue", "red"]);
}

#[test]
fn mutated_zips_never_panic() {
    let folder = zip(&[("set/train/a/1.png", gray(1)), ("set/train/b/1.png", gray(2)), ("set/val/a/1.png", gray(3))]);
    let path = folder.path().join("set.zip");
    let whole = fs::read(&path).unwrap();
    let (mut read, mut refused) = (0, 0);
    for round in 0..1500u64 {
        let rng = &mut taper_ops::rng(7, "mutated zips", round);
        let mut bytes = whole.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = [0, 0xff, rng.random(), bytes[at] ^ 1 << rng.random_range(0..8)][rng.random_range(0..4)];
        }
        if rng.random_range(0..8) == 0 {
            bytes.truncate(rng.random_range(0..whole.len()));
        }
        fs::write(&path, bytes).unwrap();
        match open(&path) {
            Ok(data) => {
                read += 1;
                (0..data.labels().len()).for_each(|image| drop(data.image(image)));
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
    }
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
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
