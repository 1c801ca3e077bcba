//! `fetch-data`.

use crate::{
    bench::{Bench, Outcome, names},
    server::{Fault, Script, Served, Server, closed_address},
};
use std::{fs, path::Path};

const FILE: &str = "images_background_small1.zip";

fn fetch(bench: &Bench, from: &str) -> Outcome {
    Outcome::of(bench.command("-", &["fetch-data", "omniglot", "--from", from, "--to", "data"]).output().unwrap())
}

fn script(content: Vec<u8>, faults: &[Fault]) -> Script {
    let served = Served { path: "/small1.zip".into(), content, tag: "1".into(), elsewhere: false };
    Script { files: vec![served], faults: faults.iter().copied().collect(), ..Script::default() }
}

#[test]
fn the_published_omniglot_arrives_whole_over_a_broken_line_and_is_not_fetched_twice() {
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/omniglot").join(FILE);
    let Ok(content) = fs::read(&original) else {
        println!("skipped, no {}", original.display());
        return;
    };
    let bench = Bench::new();
    let server = Server::start(script(content.clone(), &[Fault::Cut(900_001), Fault::Status(503), Fault::Stall(77)]));
    for _ in 0..2 {
        fetch(&bench, &format!("{}/small1.zip", server.address)).assert_success();
        assert!(fs::read(bench.folder.path().join("data").join(FILE)).unwrap() == content);
    }
    let ranges: Vec<String> = server.log().iter().map(|line| line.split(' ').nth(2).unwrap().to_string()).collect();
    assert_eq!(ranges, ["-", "bytes=900001-", "bytes=900001-", "bytes=900078-"]);
}

#[test]
fn another_file_at_the_address_is_kept_aside() {
    for (content, faults, words) in [
        (vec![7; 1_319_022], vec![], "sha256"),
        (vec![7; 2_000_000], vec![], "1319022 were expected"),
        (vec![7; 9], vec![Fault::Page], "begin a web page"),
    ] {
        let bench = Bench::new();
        let server = Server::start(script(content, &faults));
        fetch(&bench, &format!("{}/small1.zip", server.address)).assert_failure(&[words, "the file is kept as"]);
        let mut left = names(&bench.folder.path().join("data"));
        left.sort();
        assert_eq!(left, [format!("{FILE}.lock"), format!("{FILE}.rejected")]);
    }
}

#[test]
fn what_is_no_address_or_does_not_answer_is_one_line() {
    let bench = Bench::new();
    fetch(&bench, &format!("{}/small1.zip", closed_address())).assert_failure(&["no connection"]);
    fetch(&bench, "small1.zip").assert_failure(&["small1.zip", "not the address"]);
    let server = Server::start(script(vec![1], &[]));
    fetch(&bench, &format!("{}/other.zip", server.address)).assert_failure(&["404"]);
    assert_eq!(names(&bench.folder.path().join("data")), [format!("{FILE}.lock")]);
}
