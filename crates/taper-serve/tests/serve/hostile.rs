//! What an attacker does: a site on the Internet in the same browser, or a program on the network.

use crate::client::{Served, drawings, photograph, png};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use taper_data::{Hash, Image};

/// Every file around the served folder by its content, but for those in it.
fn outside(around: &Path) -> BTreeMap<String, Hash> {
    let mut found = BTreeMap::new();
    let mut folders = vec![around.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for path in paths.filter(|path| *path != around.join("served")) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.display().to_string(), Hash::of(&std::fs::read(path).unwrap()));
            }
        }
    }
    found
}

/// Numbers without end.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        // Knuth's linear congruential generator
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

const PATHS: [&str; 16] = [
    "/../../secret.txt",
    "/..%2f..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/assets/../../secret.txt",
    "/assets/..%2f..%2fCargo.toml",
    "/assets/%2fetc%2fpasswd",
    "/assets/main.js%00",
    "/api/examples/..%2f..%2fsecret.txt",
    "/api/examples/%2e%2e",
    "/api/examples/0000000000000000",
    "//etc/passwd",
    "/etc/passwd",
    "/%c0%ae%c0%ae/secret.txt",
    "/api/state?after=-1",
    "/api/state?after=99999999999999999999999",
    "/api/classes/..%2f..%2fsecret/remove",
];

/// What takes a name or a picture.
const POSTS: [&str; 7] = [
    "/api/classes",
    "/api/classes/CLASS/drawings",
    "/api/classes/CLASS/photographs",
    "/api/classes/CLASS/rename",
    "/api/classify/drawing",
    "/api/classify/photograph",
    "/api/save",
];

/// A file that is nearly a picture.
fn broken(chance: &mut Chance, whole: &[u8]) -> Vec<u8> {
    let mut file = whole.to_vec();
    match chance.below(4) {
        0 => file.truncate(chance.below(whole.len())),
        1 => {
            for _ in 0..20 {
                let place = chance.below(file.len());
                file[place] = chance.below(256) as u8;
            }
        }
        // a picture that claims 65,535 by 65,535 pixels
        2 => file[16..24].copy_from_slice(&[0, 0, 255, 255, 0, 0, 255, 255]),
        _ => file = chance.bytes(2_000),
    }
    file
}

/// Sends one hostile request, and returns the status.
fn attack(served: &Served, chance: &mut Chance, class: &str, pictures: &[Vec<u8>]) -> u16 {
    let picture = chance.of(&[0, 1]);
    let post = chance.of(&POSTS).replace("CLASS", class);
    let other = chance.of(&["http://evil.example", "null", "http://127.0.0.1", "file://", "http://localhost:1"]);
    match chance.below(9) {
        0 => {
            served
                .request(chance.of(&["GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD"]), chance.of(&PATHS), &[], b"")
                .0
        }
        1 => {
            let host = chance.of(&[
                "evil.example",
                "evil.example:8273",
                "127.0.0.1",
                "localhost",
                "[::1]",
                "",
                "a b",
                "0.0.0.0",
            ]);
            served.request("GET", chance.of(&["/", "/api/state"]), &[("Host", host)], b"").0
        }
        2 => served.request("POST", &post, &[("Origin", other), ("Content-Type", "image/png")], &pictures[picture]).0,
        3 => {
            let kind =
                chance.of(&["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "text/html", ""]);
            served.request("POST", &post, &[("Content-Type", kind)], &pictures[picture]).0
        }
        4 => {
            let file = broken(chance, &pictures[picture]);
            let path = chance.of(&["/api/classify/drawing", "/api/classify/photograph"]);
            served.request("POST", path, &[("Content-Type", "image/png")], &file).0
        }
        5 => {
            let name = chance.of(&[
                r#"{"name":"../../../secret"}"#,
                r#"{"name":"/etc/passwd"}"#,
                r#"{"name":"\u0000"}"#,
                r#"{"name":".."}"#,
                r#"{"name":"CON"}"#,
                r#"{"name":12}"#,
                r#"{"name":"\ud800"}"#,
                "{",
                "",
                "[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
            ]);
            let path = chance.of(&["/api/save", "/api/classes/0000000000000000/rename", "/api/classes/x/remove"]);
            served.request("POST", path, &[("Content-Type", "application/json")], name.as_bytes()).0
        }
        6 => {
            // more bytes than allowed, said before or not
            let length = chance.of(&["99999999999", "18446744073709551616", "-1", "3000000", "x"]);
            let head = format!(
                "POST {post} HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\nabc",
                served.address
            );
            status(&answer_at_once(served, head.as_bytes()))
        }
        7 => {
            let size = chance.of(&["ffffffff", "FFFFFFFFFFFFFFFFFF", "-5", "5;x=y", "zz"]);
            let head = format!(
                "POST {post} HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nabc\r\n0\r\n\r\n",
                served.address
            );
            status(&answer_at_once(served, head.as_bytes()))
        }
        _ => {
            let length = chance.of(&[10, 300, 40_000]);
            let noise = chance.bytes(length);
            let long = [b"GET / HTTP/1.1\r\nX: ", &vec![b'a'; 100_000][..]].concat();
            status(&answer_at_once(served, if chance.below(2) == 0 { &noise } else { &long }))
        }
    }
}

/// What comes back before the client closes: it sends no more, and doesn't wait for time-outs.
fn answer_at_once(served: &Served, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let _ = stream.write_all(request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn status(answer: &[u8]) -> u16 {
    String::from_utf8_lossy(answer).split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// The most memory that this process has had, in MiB.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? >> 10)
}

#[test]
fn a_thousand_hostile_requests_change_nothing_and_cost_little() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        shown(panic);
    }));
    let around = tempfile::tempdir().unwrap();
    std::fs::write(around.path().join("secret.txt"), "secret").unwrap();
    std::fs::create_dir(around.path().join("other")).unwrap();
    std::fs::write(around.path().join("other/a.png"), photograph()).unwrap();
    let before = outside(around.path());
    let served = Served::folder(&around.path().join("served"));
    let all = drawings(2, 2);
    served.teach("heart", &all[0][0]);
    served.teach("house", &all[1][0]);
    let class = served.class("heart");
    let state = served.state();
    // some send half a head and then nothing, from the beginning to the end
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&served.address).unwrap()).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap());
    let memory = peak();
    let mut chance = Chance(7);
    let pictures =
        [all[0][1].clone(), png(&Image { width: 700, height: 700, channels: 1, pixels: chance.bytes(490_000) })];
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for _ in 0..1_000 {
        *statuses.entry(attack(&served, &mut chance, &class, &pictures)).or_default() += 1;
    }
    println!("statuses {statuses:?} in {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    assert!(!statuses.contains_key(&500), "{statuses:?}");
    if let (Some(before), Some(after)) = (memory, peak()) {
        println!("peak memory {before} to {after} MiB");
        assert!(after - before < 300, "{before} to {after} MiB");
    }
    let mut now = outside(around.path());
    // a name like any other may have been given to a classifier, beside the folder
    now.retain(|path, _| !path.contains("-secret") && !path.contains("etc-passwd"));
    assert_eq!(now, before);
    let classes = |state: &serde_json::Value| state["classes"].clone();
    assert_eq!(classes(&served.state()), classes(&state));
    assert_eq!(served.post("/api/classify/drawing", &all[1][1]).1["classes"][0]["name"], "house");
    for stream in &mut slow {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(25), "slow heads are given up");
}

#[test]
fn answers_tell_the_browser_to_run_no_foreign_script() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::folder(folder.path());
    for path in ["/", "/assets/main.js", "/api/state", "/nothing"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", served.address);
        let answer = String::from_utf8_lossy(&served.raw(head.as_bytes())).to_lowercase();
        assert!(answer.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{answer}");
        assert!(answer.contains("x-content-type-options: nosniff"));
    }
    let (_, page) = served.request("GET", "/", &[], b"");
    let page = String::from_utf8(page).unwrap();
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick"));
    for asset in page.split('"').filter(|part| part.starts_with("/assets/")) {
        assert_eq!(served.request("GET", asset, &[], b"").0, 200, "{asset}");
    }
}

#[test]
fn on_a_network_only_those_with_the_link_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = taper_serve::Server::bind(taper_serve::ServeOptions {
        content: taper_serve::Content::Folder(folder.path().to_path_buf()),
        listen: Some("0.0.0.0".parse().unwrap()),
        port: Some(0),
        photographs: taper_serve::Photographs::Missing { command: "get-weights".into() },
        threads: 1,
    })
    .unwrap();
    let link = server.link();
    let (_, key) = link.split_once("?key=").unwrap();
    assert_eq!(key.len(), 16);
    let port = link.trim_start_matches("http://").split('/').next().unwrap().rsplit(':').next().unwrap();
    let address = format!("127.0.0.1:{port}");
    let stopper = server.stopper();
    let thread = std::thread::spawn(move || server.run().unwrap());
    let get = |path: &str, cookie: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    };
    assert!(get("/api/state", "").starts_with("HTTP/1.1 403"));
    assert!(get("/assets/main.js", "taper=wrong").starts_with("HTTP/1.1 403"));
    let welcome = get(&format!("/?key={key}"), "");
    assert!(welcome.starts_with("HTTP/1.1 303") && welcome.contains(&format!("set-cookie: taper={key}")), "{welcome}");
    assert!(get("/api/state", &format!("taper={key}")).starts_with("HTTP/1.1 200"));
    stopper.stop();
    thread.join().unwrap();
}
