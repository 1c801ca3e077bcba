//! A served folder, and a small client.

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;
use taper_data::{Dataset, Glyphs, GlyphsSize, Image};
use taper_serve::{Content, Photographs, ServeOptions, Server, Stopper};

/// A server that ends when it is dropped.
pub(crate) struct Served {
    pub(crate) address: String,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub(crate) fn folder(folder: &Path) -> Self {
        let missing = Photographs::Missing { command: "get-weights".into() };
        Self::new(Content::Folder(folder.to_path_buf()), missing)
    }

    pub(crate) fn new(content: Content, photographs: Photographs) -> Self {
        let options = ServeOptions { content, listen: None, port: Some(0), photographs, threads: 2 };
        let server = Server::bind(options).unwrap();
        let address = server.link().trim_start_matches("http://").trim_end_matches('/').to_string();
        let stopper = server.stopper();
        Self { address, stopper, thread: Some(std::thread::spawn(move || server.run().unwrap())) }
    }

    /// Sends bytes as they are and returns all that comes back.
    pub(crate) fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // a server that has refused already may not read all
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// The status and the body of a request's answer.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        let host = [("Host", self.address.as_str())];
        let given = headers.iter().any(|(name, _)| *name == "Host");
        let host = if given { &[][..] } else { &host };
        let origin = format!("http://{}", self.address);
        let origin = [("Origin", origin.as_str())];
        let given = method == "GET" || headers.iter().any(|(name, _)| *name == "Origin");
        let origin = if given { &[][..] } else { &origin };
        for (name, value) in host.iter().chain(origin).chain(headers) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let answer = self.raw(&[head.as_bytes(), b"\r\n", body].concat());
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.unwrap_or(0), answer[end..].to_vec())
    }

    fn json(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        let (status, answer) = self.request(method, path, &[("Content-Type", kind)], body);
        (status, serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    pub(crate) fn state(&self) -> Value {
        self.json("GET", "/api/state", "", b"").1
    }

    /// Posts a name.
    pub(crate) fn name(&self, path: &str, name: &str) -> (u16, Value) {
        self.json("POST", path, "application/json", serde_json::json!({ "name": name }).to_string().as_bytes())
    }

    /// Posts a picture, or nothing.
    pub(crate) fn post(&self, path: &str, picture: &[u8]) -> (u16, Value) {
        self.json("POST", path, "image/png", picture)
    }

    /// The id of a class.
    pub(crate) fn class(&self, name: &str) -> String {
        let state = self.state();
        let mut classes = state["classes"].as_array().unwrap().iter();
        classes.find(|class| class["name"] == name).unwrap()["id"].as_str().unwrap().to_string()
    }

    /// Adds a class with one drawing.
    pub(crate) fn teach(&self, name: &str, drawing: &[u8]) {
        assert_eq!(self.name("/api/classes", name).0, 200);
        let (status, answer) = self.post(&format!("/api/classes/{}/drawings", self.class(name)), drawing);
        assert_eq!(status, 200, "{answer}");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stopper.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// Characters, and for each the drawings of several people.
pub(crate) fn drawings(characters: usize, drawings: usize) -> Vec<Vec<Vec<u8>>> {
    let glyphs = Glyphs::new(0, GlyphsSize { alphabets: 1, characters, drawings }).unwrap();
    let png = |index: usize| png(&glyphs.image(index).unwrap());
    taper_data::images_by_class(&glyphs).into_iter().map(|images| images.into_iter().map(png).collect()).collect()
}

/// An image as a PNG file.
pub(crate) fn png(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    let color = if image.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    PngEncoder::new(&mut bytes).write_image(&image.pixels, image.width as u32, image.height as u32, color).unwrap();
    bytes
}

/// A picture that is not a drawing.
pub(crate) fn photograph() -> Vec<u8> {
    let pixels = (0..64 * 64 * 3).map(|place| (place * 7 % 251) as u8).collect();
    png(&Image { width: 64, height: 64, channels: 3, pixels })
}
