//! What goes wrong in a transfer, and whether to retry.

use crate::args::Patience;
use anyhow::{Error, Result, anyhow};
use hf_hub::HFError;
use reqwest::{StatusCode, header::HeaderMap};
use std::{future::Future, time::Duration};

/// A failed attempt.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Temporary: a broken or silent connection, an overloaded server.
    Passing {
        /// What happened.
        problem: Error,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
    /// Permanent.
    Lasting(Error),
}

impl From<Error> for Fault {
    fn from(problem: Error) -> Self {
        Self::Lasting(problem)
    }
}

impl Fault {
    /// A temporary fault.
    pub(crate) fn passing(problem: impl Into<Error>) -> Self {
        Self::Passing { problem: problem.into(), wait: None }
    }

    /// What happened.
    pub(crate) fn into_problem(self) -> Error {
        match self {
            Self::Passing { problem, .. } | Self::Lasting(problem) => problem,
        }
    }

    /// What an HTTP status means; `None` for success and redirection.
    pub(crate) fn of_status(status: StatusCode, headers: &HeaderMap, address: &str) -> Option<Self> {
        let wait = headers.get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self::judge(status, wait.map(Duration::from_secs), address)
    }

    fn judge(status: StatusCode, wait: Option<Duration>, address: &str) -> Option<Self> {
        let lasting = |what: &str| Some(Self::Lasting(anyhow!("{address} {what}")));
        match status.as_u16() {
            200..=399 => None,
            401 => lasting("does not exist or needs a token (401): check the address or set HF_TOKEN"),
            403 => lasting("is forbidden (403), accept its license there or use another token"),
            404 | 410 => lasting("does not exist (404): check the address"),
            408 | 429 | 500..=599 => Some(Self::Passing {
                problem: anyhow!("{address} is not available now ({status}), try again later"),
                wait,
            }),
            code => lasting(&format!("was refused ({code}): check the address")),
        }
    }

    /// What an error of the HTTP client means.
    pub(crate) fn of_transport(problem: &reqwest::Error, address: &str) -> Self {
        let hint = if problem.is_connect() {
            "no connection: check the address, the network and the proxy"
        } else if problem.is_timeout() {
            "the server fell silent, try again later"
        } else if problem.is_redirect() {
            "too many redirects: check the address"
        } else if problem.is_builder() {
            return Self::Lasting(anyhow!("{address}: not the address of a file: give one that starts with https://"));
        } else {
            "the connection broke, try again later"
        };
        Self::passing(anyhow!("{address}: {hint}"))
    }

    /// What an error of hf-hub means.
    pub(crate) fn of_hub(problem: HFError, address: &str) -> Self {
        let judged = match &problem {
            HFError::RateLimited { retry_after, context } => Self::judge(context.status, *retry_after, address),
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::EntryNotFound { context: Some(context), .. } => Self::judge(context.status, None, address),
            HFError::Request { source, .. } => Some(Self::of_transport(source, address)),
            _ => None,
        };
        judged.unwrap_or_else(|| Self::passing(anyhow!("{address}: {problem}, try again later")))
    }
}

/// Runs `attempt` until it succeeds, fails permanently, or patience ends. Each pause is twice the
/// previous one, at least as long as the server asks for, and at most a minute.
pub(crate) async fn with_patience<T, F>(patience: Patience, mut attempt: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let mut pause = patience.backoff;
    for _ in 0..patience.retries {
        match attempt().await {
            Err(Fault::Passing { wait, .. }) => {
                tokio::time::sleep(wait.unwrap_or_default().max(pause).min(Duration::from_secs(60))).await;
                pause *= 2;
            }
            done => return done,
        }
    }
    attempt().await
}

/// `waiting`, aborted if it takes longer than the patience allows.
pub(crate) async fn in_time<T>(
    patience: Patience,
    address: &str,
    waiting: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(patience.timeout, waiting).await.unwrap_or_else(|_| {
        let seconds = patience.timeout.as_secs_f64();
        Err(Fault::passing(anyhow!("{address}: no byte for {seconds} s, try again later or raise --timeout")))
    })
}
