//! The Hugging Face hub, through hf-hub: its environment, its cache and its files' bytes.
//!
//! A file's commit, tag and length are queried here: hf-hub's `get_file_metadata` follows a large
//! file's redirect to another host, whose answer has no commit.

use crate::{
    args::Patience,
    fault::{Fault, in_time, with_patience},
    source::{Rest, Source},
};
use anyhow::{Context, Result, anyhow};
use futures::StreamExt;
use hf_hub::{HFClient, HFRepository, repository::RepoTypeModel};
use reqwest::{
    Client, Url,
    header::{ACCEPT_ENCODING, HeaderMap, HeaderValue},
    redirect::Policy,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// A client of the hub.
pub(crate) struct Hub {
    client: HFClient,
    head: Client,
    token: Option<String>,
    patience: Patience,
    /// Whether only the cache may be used.
    pub(crate) offline: bool,
}

/// What the hub says about a file at a revision.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    /// The commit of the revision.
    pub(crate) commit: String,
    /// The name of the file's content: its SHA-256 for large files, git's hash for small ones.
    pub(crate) tag: String,
    /// Its length.
    pub(crate) bytes: Option<u64>,
}

impl Hub {
    /// The hub that HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE describe.
    ///
    /// Fails if they are invalid.
    pub(crate) fn from_environment(patience: Patience) -> Result<Self> {
        let token = token();
        let mut builder = HFClient::builder().client(client(patience, Policy::limited(10))?).retry_max_attempts(0);
        if let Some(token) = &token {
            builder = builder.token(token);
        }
        let client = builder.build().context("the hub's client does not start: check HF_ENDPOINT")?;
        let offline = env::var("HF_HUB_OFFLINE")
            .is_ok_and(|value| matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"));
        Ok(Self { client, head: self::client(patience, stay_on_host())?, token, patience, offline })
    }

    /// Where the cache is.
    pub(crate) fn cache(&self) -> &Path {
        self.client.cache_dir()
    }

    /// The file's path in the cache, if it is there.
    pub(crate) async fn cached(&self, repository: &str, revision: &str, name: &str) -> Option<PathBuf> {
        let repository = self.repository(repository);
        repository.download_file().filename(name).revision(revision).local_files_only(true).send().await.ok()
    }

    /// Describes the hub's file of this name.
    pub(crate) async fn describe(&self, repository: &str, revision: &str, name: &str) -> Result<Description, Fault> {
        let url = self.url(repository, revision, name)?;
        with_patience(self.patience, || in_time(self.patience, url.as_str(), self.ask(&url))).await
    }

    /// The bytes of a described file.
    pub(crate) fn file(&self, repository: &str, name: &str, description: &Description) -> Result<HubFile> {
        Ok(HubFile {
            repository: self.repository(repository),
            address: self.url(repository, &description.commit, name)?.into(),
            name: name.to_string(),
            description: description.clone(),
        })
    }

    async fn ask(&self, url: &Url) -> Result<Description, Fault> {
        let mut request = self.head.head(url.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|problem| Fault::of_transport(&problem, url.as_str()))?;
        let headers = response.headers();
        if let Some(fault) = Fault::of_status(response.status(), headers, url.as_str()) {
            return Err(fault);
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let plain = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let tag = header("x-linked-etag").or(header("etag"));
        let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"')).filter(plain);
        let (Some(commit), Some(tag)) = (header("x-repo-commit").filter(plain), tag) else {
            return Err(Fault::Lasting(anyhow!(
                "{url}: the answer is not a hub's (a log-in page?): check the proxy and HF_ENDPOINT"
            )));
        };
        let own_length = header("content-length").filter(|_| response.status().is_success());
        let bytes = header("x-linked-size").or(own_length).and_then(|bytes| bytes.parse().ok());
        Ok(Description { commit: commit.to_string(), tag: tag.to_lowercase(), bytes })
    }

    fn repository(&self, repository: &str) -> HFRepository<RepoTypeModel> {
        let (owner, name) = hf_hub::split_id(repository);
        self.client.model(owner, name)
    }

    fn url(&self, repository: &str, revision: &str, name: &str) -> Result<Url> {
        let endpoint = self.client.endpoint();
        let mut url =
            Url::parse(endpoint).with_context(|| format!("`{endpoint}` is not an address: check HF_ENDPOINT"))?;
        url.path_segments_mut()
            .map_err(|()| anyhow!("`{endpoint}` is not the address of a hub: check HF_ENDPOINT"))?
            .pop_if_empty()
            .extend(repository.split('/').chain(["resolve", revision]))
            .extend(name.split('/'));
        Ok(url)
    }
}

/// A file of the hub at a commit, streamed by hf-hub.
pub(crate) struct HubFile {
    repository: HFRepository<RepoTypeModel>,
    address: String,
    name: String,
    description: Description,
}

impl Source for HubFile {
    fn address(&self) -> &str {
        &self.address
    }

    async fn open(&self, offset: u64) -> Result<Rest, Fault> {
        let whole = self.description.bytes;
        let range = whole.filter(|_| offset > 0).map(|end| offset..end);
        let wanted = range.as_ref().map(|range| range.end - range.start);
        let stream = self.repository.download_file_stream().filename(&self.name).revision(&self.description.commit);
        let (length, bytes) =
            stream.maybe_range(range).send().await.map_err(|problem| Fault::of_hub(problem, &self.address))?;
        // hf-hub hides the status: only an answer with the remaining length is the rest of the file
        if wanted.is_some() && length != wanted {
            return Box::pin(self.open(0)).await;
        }
        let address = self.address.clone();
        let bytes = bytes.map(move |chunk| match chunk {
            Ok(chunk) => Ok(chunk.to_vec()),
            Err(problem) => Err(Fault::of_hub(problem, &address)),
        });
        Ok(Rest { offset: if wanted.is_some() { offset } else { 0 }, length, bytes: bytes.boxed() })
    }
}

/// An HTTP client that gives up on a silent server.
pub(crate) fn client(patience: Patience, redirections: Policy) -> Result<Client> {
    let identity = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    Client::builder()
        .user_agent(concat!("taper/", env!("CARGO_PKG_VERSION")))
        .default_headers(identity)
        .connect_timeout(patience.timeout)
        .read_timeout(patience.timeout)
        .redirect(redirections)
        .build()
        .context("the HTTP client does not start: check the system's certificates and proxy settings")
}

/// Follows the hub's redirects to itself, and stops at those to the host of large files, whose
/// headers describe the file.
fn stay_on_host() -> Policy {
    Policy::custom(|attempt| {
        let origin = |url: &Url| (url.host_str().map(str::to_string), url.port_or_known_default());
        let same = attempt.previous().last().is_some_and(|from| origin(from) == origin(attempt.url()));
        match attempt.previous().len() {
            10.. => attempt.error("too many redirects"),
            _ if same => attempt.follow(),
            _ => attempt.stop(),
        }
    })
}

/// The token as hf-hub finds it; hf-hub does not expose its own.
fn token() -> Option<String> {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    if set("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some() {
        return None;
    }
    let read = |path: PathBuf| {
        fs::read_to_string(path).ok().map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
    };
    set("HF_TOKEN").or_else(|| read(set("HF_TOKEN_PATH")?.into())).or_else(|| read(hf_hub::hf_home().join("token")))
}
