//! A small hub: serves one repository as huggingface.co does, and fails as scripted.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// How one answer goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The connection breaks after this many bytes of the body.
    Cut(usize),
    /// The connection falls silent after this many bytes of the body.
    Stall(usize),
    /// An HTTP status, with `Retry-After: 0`.
    Status(u16),
    /// A web page with status 200.
    Page,
    /// The right length, the wrong bytes.
    Garbled,
    /// The body comes slowly, in ten pieces.
    Slow,
    /// The whole file, whatever range was requested.
    NoRanges,
    /// A redirect to the same address.
    Circle,
}

/// A file that the server has.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
    pub(crate) tag: String,
    /// Whether it is on another host, like the hub's large files.
    pub(crate) elsewhere: bool,
}

/// What the server does.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) files: Vec<Served>,
    /// Faults of answers to GET, one each.
    pub(crate) faults: VecDeque<Fault>,
    /// Faults of answers to HEAD, one each.
    pub(crate) head_faults: VecDeque<Fault>,
    /// Whether the last fault repeats.
    pub(crate) endless: bool,
    /// The token that every request needs.
    pub(crate) token: Option<String>,
    /// Requests, as `GET /path range authorization`.
    pub(crate) log: Vec<String>,
}

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A running server; its threads end with the process.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) script: Arc<Mutex<Script>>,
}

impl Server {
    pub(crate) fn start(script: Script) -> Self {
        let script = Arc::new(Mutex::new(script));
        let elsewhere = listen(script.clone(), None);
        let address = listen(script.clone(), Some(elsewhere));
        Self { address, script }
    }

    /// How many requests began with `start`.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.script.lock().unwrap().log.iter().filter(|line| line.starts_with(start)).count()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.script.lock().unwrap().log.clone()
    }
}

/// An address without a server.
pub(crate) fn closed_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn listen(script: Arc<Mutex<Script>>, elsewhere: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (script, elsewhere) = (script.clone(), elsewhere.clone());
            thread::spawn(move || while answer(&stream, &script, elsewhere.as_deref()).is_some() {});
        }
    });
    address
}

/// Answers one request; `None` ends the connection.
fn answer(stream: &TcpStream, script: &Mutex<Script>, elsewhere: Option<&str>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next()?;
    let headers: Vec<(String, String)> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_string())))
        .collect();
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let mut words = request.split(' ');
    let (method, path) = (words.next()?, words.next()?);

    let (file, fault, refused) = {
        let mut script = script.lock().unwrap();
        let place = if elsewhere.is_some() { "" } else { "elsewhere " };
        let (range, token) = (header("range").unwrap_or("-"), header("authorization").unwrap_or("-"));
        script.log.push(format!("{place}{method} {path} {range} {token}"));
        let found = script.files.iter().find(|file| {
            path == file.path || path == file.path.replace("/resolve/main/", &format!("/resolve/{COMMIT}/"))
        });
        let file = found.cloned();
        let redirected = elsewhere.is_some() && file.as_ref().is_some_and(|file| file.elsewhere);
        let endless = script.endless;
        let faults = if method == "HEAD" { &mut script.head_faults } else { &mut script.faults };
        let fault = match faults.len() {
            _ if redirected => None,
            1 if endless => faults.front().copied(),
            _ => faults.pop_front(),
        };
        let refused = script.token.as_ref().is_some_and(|token| token != header("authorization").unwrap_or(""));
        (file, fault, refused && elsewhere.is_some())
    };
    let head = method == "HEAD";
    let Some(file) = file.filter(|_| !refused) else {
        let status = if refused { "401 Unauthorized" } else { "404 Not Found" };
        return reply(stream, status, "", b"", 0);
    };
    let origin = elsewhere.is_some();
    let mut hub = if origin { format!("X-Repo-Commit: {COMMIT}\r\n") } else { String::new() };
    let length = file.content.len();
    if origin && file.elsewhere && !matches!(fault, Some(Fault::Page)) {
        let target = format!("{}{path}", elsewhere?);
        hub += &format!("X-Linked-Etag: \"{}\"\r\nX-Linked-Size: {length}\r\nLocation: {target}\r\n", file.tag);
        return reply(stream, "302 Found", &hub, b"", 0);
    }
    if origin {
        hub += &format!("ETag: W/\"{}\"\r\n", file.tag);
    }
    let mut content = file.content;
    let ranges = !matches!(fault, Some(Fault::NoRanges));
    let start = header("range").and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
    let start: usize = start.filter(|_| ranges).unwrap_or(0);
    let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
    if start > 0 {
        hub += &format!("Content-Range: bytes {start}-{}/{length}\r\n", length - 1);
    }
    match fault {
        Some(Fault::Status(code)) => return reply(stream, &format!("{code} No"), "Retry-After: 0\r\n", b"", 0),
        Some(Fault::Circle) => return reply(stream, "302 Found", &format!("Location: {path}\r\n"), b"", 0),
        Some(Fault::Page) => {
            let page: &[u8] = b"<!doctype html><title>Please log in</title>";
            return reply(stream, "200 OK", "Content-Type: text/html\r\n", if head { b"" } else { page }, page.len());
        }
        Some(Fault::Garbled) => content.iter_mut().for_each(|byte| *byte ^= 1),
        _ => {}
    }
    let body = content.get(start..)?;
    match fault {
        _ if head => reply(stream, status, &hub, b"", body.len()),
        Some(Fault::Cut(at)) => {
            reply(stream, status, &hub, &body[..at.min(body.len())], body.len());
            stream.shutdown(std::net::Shutdown::Both).ok();
            None
        }
        Some(Fault::Stall(at)) => {
            reply(stream, status, &hub, &body[..at.min(body.len())], body.len());
            thread::sleep(Duration::from_secs(20));
            None
        }
        Some(Fault::Slow) => {
            reply(stream, status, &hub, b"", body.len())?;
            for piece in body.chunks(body.len().div_ceil(10)) {
                thread::sleep(Duration::from_millis(40));
                { stream }.write_all(piece).ok()?;
            }
            Some(())
        }
        _ => reply(stream, status, &hub, body, body.len()),
    }
}

fn reply(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8], length: usize) -> Option<()> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()
}
