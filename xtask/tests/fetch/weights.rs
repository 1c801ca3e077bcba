//! `fetch-weights`.

use crate::{
    bench::{Bench, Outcome, names},
    server::{COMMIT, Fault, Script, Server, closed_address},
};
use std::{collections::VecDeque, fs, time::Instant};

/// Fetches with these faults of the file's answers, the last of which repeats if `endless`.
fn fetch_with_faults(bench: &Bench, faults: &[Fault], endless: bool) -> (Outcome, Server) {
    let server = Server::start(Script { faults: VecDeque::from(faults.to_vec()), endless, ..bench.script() });
    (bench.fetch(&server.address), server)
}

#[test]
fn a_whole_file_lands_in_the_shared_cache_once() {
    let bench = Bench::new();
    let server = Server::start(bench.script());
    let first = bench.fetch(&server.address);
    assert!(first.assert_success().stdout.contains("unverified"), "{first:?}");
    assert!(first.stderr.contains(&bench.sha256()) && first.stderr.contains("--pin"), "{first:?}");
    bench.assert_whole();
    assert_eq!(fs::read_to_string(bench.repository().join("refs/main")).unwrap(), COMMIT);
    bench.fetch(&server.address).assert_success();
    assert_eq!(server.count("GET"), 1);
}

#[test]
fn what_another_client_of_the_hub_has_fetched_is_not_fetched_again() {
    let bench = Bench::new();
    for folder in [bench.blob(), bench.weights(), bench.repository().join("refs/main")] {
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
    }
    fs::write(bench.blob(), &bench.content).unwrap();
    fs::copy(bench.blob(), bench.weights()).unwrap();
    fs::write(bench.repository().join("refs/main"), COMMIT).unwrap();
    let server = Server::start(bench.script());
    bench.fetch(&server.address).assert_success();
    assert_eq!(server.count("GET"), 0);
    let list = Outcome::of(bench.fetch_with(&closed_address(), &["--list"]).output().unwrap());
    let line = list.assert_success().stdout.lines().find(|line| line.starts_with("tiny.a1 (tiny)"));
    assert!(line.unwrap().ends_with("yes"), "{list:?}");
}

#[test]
fn a_pinned_file_is_verified_and_later_needs_no_network() {
    let bench = Bench::new();
    let server = Server::start(bench.script());
    let pinning = Outcome::of(bench.fetch_with(&server.address, &["tiny", "--pin"]).output().unwrap());
    assert_eq!(pinning.assert_success().stderr, "");
    let list = fs::read_to_string(bench.list()).unwrap();
    assert!(list.starts_with("# kept\n") && list.contains(COMMIT) && list.contains(&bench.sha256()), "{list}");
    let second = bench.fetch(&closed_address());
    assert!(second.assert_success().stdout.contains(", verified"), "{second:?}");
}

#[test]
fn a_connection_cut_at_any_byte_is_taken_up_there() {
    for at in [0, 1, 65_536, 123_457, 300_006] {
        let bench = Bench::new();
        let (outcome, server) = fetch_with_faults(&bench, &[Fault::Cut(at)], false);
        outcome.assert_success();
        bench.assert_whole();
        let resumed = server.log().iter().any(|line| line.starts_with("GET") && line.contains(&format!("bytes={at}-")));
        assert!(resumed || at == 0, "{:?}", server.log());
    }
}

#[test]
fn a_connection_that_stays_broken_is_given_up_and_taken_up_by_the_next_run() {
    let bench = Bench::new();
    let (outcome, _) = fetch_with_faults(&bench, &[Fault::Cut(1_000)], true);
    outcome.assert_failure(&["tiny.a1", "the connection broke"]);
    bench.assert_nothing_final();
    let (outcome, server) = fetch_with_faults(&bench, &[], false);
    outcome.assert_success();
    bench.assert_whole();
    assert!(server.log().iter().any(|line| line.contains("bytes=4000-")), "{:?}", server.log());
}

#[test]
fn a_server_that_knows_no_ranges_is_asked_for_the_whole() {
    let bench = Bench::new();
    fetch_with_faults(&bench, &[Fault::Cut(70_000), Fault::NoRanges], true).0.assert_success();
    bench.assert_whole();
}

#[test]
fn a_first_part_of_another_file_is_fetched_again() {
    let bench = Bench::new();
    fs::create_dir_all(bench.blob().parent().unwrap()).unwrap();
    fs::write(format!("{}.incomplete", bench.blob().display()), vec![0; 1_234]).unwrap();
    fetch_with_faults(&bench, &[], false).0.assert_success();
    bench.assert_whole();
    assert_eq!(names(&bench.repository().join("blobs")), [bench.sha256()]);
}

#[test]
fn a_silent_server_is_given_up_in_time() {
    let bench = Bench::new();
    fetch_with_faults(&bench, &[Fault::Stall(5_000)], false).0.assert_success();
    bench.assert_whole();

    let bench = Bench::new();
    let start = Instant::now();
    let (outcome, _) = fetch_with_faults(&bench, &[Fault::Stall(0)], true);
    outcome.assert_failure(&["tiny.a1", "try again later"]);
    assert!(start.elapsed().as_secs() < 10);
    bench.assert_nothing_final();
}

#[test]
fn an_overloaded_hub_is_asked_again() {
    for status in [429, 503] {
        let bench = Bench::new();
        let faults = VecDeque::from(vec![Fault::Status(status); 2]);
        let script = Script { head_faults: faults.clone(), faults, ..bench.script() };
        bench.fetch(&Server::start(script).address).assert_success();
        bench.assert_whole();

        let bench = Bench::new();
        let (outcome, server) = fetch_with_faults(&bench, &[Fault::Status(status)], true);
        outcome.assert_failure(&["tiny.a1", &status.to_string(), "try again later"]);
        assert_eq!(server.count("GET"), 4);
        bench.assert_nothing_final();
    }
}

#[test]
fn a_large_file_is_followed_to_its_host_without_the_token() {
    let bench = Bench::new();
    let mut script = bench.script();
    script.files[0].elsewhere = true;
    script.token = Some("Bearer hf_secret".into());
    script.faults = VecDeque::from([Fault::Cut(99_999)]);
    let server = Server::start(script);
    bench.fetch(&server.address).assert_failure(&["needs a token", "HF_TOKEN"]);
    bench.assert_nothing_final();
    let with_token = bench.fetch_with(&server.address, &["tiny"]).env("HF_TOKEN", "hf_secret").output().unwrap();
    Outcome::of(with_token).assert_success();
    bench.assert_whole();
    let elsewhere: Vec<String> = server.log().into_iter().filter(|line| line.starts_with("elsewhere GET")).collect();
    assert!(elsewhere.len() == 2 && elsewhere.iter().all(|line| line.ends_with(" -")), "{elsewhere:?}");
    assert!(elsewhere[1].contains("bytes=99999-"), "{elsewhere:?}");
}

#[test]
fn a_circle_of_redirections_is_left() {
    let bench = Bench::new();
    let head_faults = VecDeque::from([Fault::Circle]);
    let script = Script { head_faults, endless: true, ..bench.script() };
    bench.fetch(&Server::start(script).address).assert_failure(&["tiny.a1", "too many redirects"]);
    bench.assert_nothing_final();
}

#[test]
fn a_page_with_status_200_is_no_file() {
    let bench = Bench::new();
    let (outcome, _) = fetch_with_faults(&bench, &[Fault::Page], true);
    outcome.assert_failure(&["tiny.a1", "43 bytes came, and begin a web page, where 300007 were expected"]);
    bench.assert_nothing_final();
    assert!(fs::read_to_string(bench.rejected()).unwrap().contains("log in"));

    let bench = Bench::new();
    let script = Script { head_faults: VecDeque::from([Fault::Page]), endless: true, ..bench.script() };
    bench.fetch(&Server::start(script).address).assert_failure(&["tiny.a1", "not a hub's", "HF_ENDPOINT"]);
    assert!(!bench.repository().exists());
}

#[test]
fn wrong_bytes_of_the_right_length_are_kept_aside() {
    for bench in [Bench::new(), { Bench::new().pinned(&Bench::new().sha256()) }] {
        let (outcome, _) = fetch_with_faults(&bench, &[Fault::Garbled], true);
        outcome.assert_failure(&["tiny.a1", "sha256", &bench.sha256(), ".rejected"]);
        bench.assert_nothing_final();
        assert!(bench.rejected().exists());
        fetch_with_faults(&bench, &[], false).0.assert_success();
        bench.assert_whole();
    }
}

#[test]
fn another_file_than_the_pinned_one_is_not_even_fetched() {
    let bench = Bench::new().pinned(&"ab".repeat(32));
    let server = Server::start(bench.script());
    bench.fetch(&server.address).assert_failure(&["tiny.a1", "not the pinned abab"]);
    assert_eq!(server.count("GET"), 0);
    bench.assert_nothing_final();
}

#[test]
fn a_file_that_rots_in_the_cache_is_put_aside_and_fetched_again() {
    let bench = Bench::new().pinned(&Bench::new().sha256());
    let server = Server::start(bench.script());
    bench.fetch(&server.address).assert_success();
    let mut rotten = bench.content.clone();
    rotten[1_000] ^= 4;
    fs::write(bench.blob(), &rotten).unwrap();
    let offline = bench.fetch_with(&server.address, &["tiny"]).env("HF_HUB_OFFLINE", "1").output().unwrap();
    Outcome::of(offline).assert_failure(&["tiny.a1", "HF_HUB_OFFLINE"]);
    assert!(fs::read(bench.rejected()).unwrap() == rotten);
    bench.fetch(&server.address).assert_success();
    bench.assert_whole();
    assert_eq!(server.count("GET"), 2);
}

#[test]
fn without_a_network_only_the_cache_answers() {
    let bench = Bench::new();
    bench.fetch(&closed_address()).assert_failure(&["tiny.a1", "no connection", "check the address"]);
    assert!(!bench.repository().exists());

    let server = Server::start(bench.script());
    let offline = |endpoint: &str| {
        Outcome::of(bench.fetch_with(endpoint, &["tiny"]).env("HF_HUB_OFFLINE", "1").output().unwrap())
    };
    offline(&server.address).assert_failure(&["tiny.a1", "model.safetensors of timm/tiny at main", "HF_HUB_OFFLINE"]);
    assert_eq!(server.log(), [""; 0]);
    bench.fetch(&server.address).assert_success();
    let before = server.log().len();
    offline(&server.address).assert_success();
    assert_eq!(server.log().len(), before);
    let unplugged = bench.fetch(&closed_address());
    assert!(unplugged.assert_success().stderr.contains("the cached file is used"), "{unplugged:?}");
}

/// `/dev/full` answers every write as a full disk does (ENOSPC).
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_line_and_no_file() {
    let bench = Bench::new();
    fs::create_dir_all(bench.blob().parent().unwrap()).unwrap();
    let partial = format!("{}.incomplete", bench.blob().display());
    std::os::unix::fs::symlink("/dev/full", partial).unwrap();
    let (outcome, _) = fetch_with_faults(&bench, &[], false);
    outcome.assert_failure(&["tiny.a1", "No space left on device", "make room"]);
    bench.assert_nothing_final();
}

#[test]
fn two_processes_that_want_one_file_fetch_it_once() {
    let bench = Bench::new();
    let server = Server::start(Script { faults: VecDeque::from([Fault::Slow]), endless: true, ..bench.script() });
    let start = || {
        let mut command = bench.fetch_with(&server.address, &["tiny"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start(), start()];
    for process in both {
        Outcome::of(process.wait_with_output().unwrap()).assert_success();
    }
    bench.assert_whole();
    assert_eq!(server.count("GET"), 1);
    assert_eq!(names(&bench.repository().join("blobs")), [bench.sha256()]);
}

#[test]
fn a_copy_goes_where_it_is_asked_for() {
    let bench = Bench::new();
    let server = Server::start(bench.script());
    let command = bench.fetch_with(&server.address, &["tiny", "--to", "copies"]).output();
    Outcome::of(command.unwrap()).assert_success();
    let copies = bench.folder.path().join("copies/tiny.a1");
    assert!(fs::read(copies.join("model.safetensors")).unwrap() == bench.content);
    assert_eq!(names(&copies), ["model.safetensors"]);
}

#[test]
fn names_and_revisions_that_do_not_exist_are_one_line() {
    let bench = Bench::new();
    let server = Server::start(bench.script());
    let run = |arguments: &[&str]| Outcome::of(bench.fetch_with(&server.address, arguments).output().unwrap());
    run(&["huge"]).assert_failure(&["`huge`", "tiny.a1"]);
    run(&["elsewhere"]).assert_failure(&["not on the hub", "https://example.org/x"]);
    run(&["tiny", "--revision", "never"]).assert_failure(&["resolve/never/", "404"]);
    assert_eq!(run(&[]).code, Some(2));
    bench.assert_nothing_final();
}
