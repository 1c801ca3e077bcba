//! Where bytes come from: an address on the web. (The hub's are in `hub.rs`.)

use crate::fault::Fault;
use anyhow::Result;
use futures::{StreamExt, stream::BoxStream};
use reqwest::{Client, StatusCode, header::RANGE};

/// Bytes as they arrive.
pub(crate) type Arriving = BoxStream<'static, Result<Vec<u8>, Fault>>;

/// The remaining part of a file.
pub(crate) struct Rest {
    /// Where in the file it begins: the requested offset, or 0 from a server that can't resume.
    pub(crate) offset: u64,
    /// How many bytes will come, if the server says so.
    pub(crate) length: Option<u64>,
    /// The bytes.
    pub(crate) bytes: Arriving,
}

/// A source of a file's bytes from any offset on.
pub(crate) trait Source {
    /// The address, for people.
    fn address(&self) -> &str;

    /// The bytes from `offset` on.
    async fn open(&self, offset: u64) -> Result<Rest, Fault>;
}

/// A file at an address.
pub(crate) struct Web {
    client: Client,
    address: String,
}

impl Web {
    /// The file at `address`.
    pub(crate) fn new(client: Client, address: String) -> Self {
        Self { client, address }
    }
}

impl Source for Web {
    fn address(&self) -> &str {
        &self.address
    }

    async fn open(&self, offset: u64) -> Result<Rest, Fault> {
        let mut request = self.client.get(&self.address);
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        let response = request.send().await.map_err(|problem| Fault::of_transport(&problem, &self.address))?;
        if let Some(fault) = Fault::of_status(response.status(), response.headers(), &self.address) {
            return Err(fault);
        }
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT;
        let length = response.content_length();
        let address = self.address.clone();
        let bytes = response.bytes_stream().map(move |chunk| match chunk {
            Ok(chunk) => Ok(chunk.to_vec()),
            Err(problem) => Err(Fault::of_transport(&problem, &address)),
        });
        Ok(Rest { offset: if resumed { offset } else { 0 }, length, bytes: bytes.boxed() })
    }
}
