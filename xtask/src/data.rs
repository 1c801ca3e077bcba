//! `fetch-data`: data sets over HTTPS, by pinned hashes.

use crate::{
    args::{DataName, FetchData},
    fault::Fault,
    fetch::{Expected, fetch, lock, with_suffix},
    hub,
    progress::{Bars, size},
    source::Web,
};
use anyhow::{Context, Result};
use reqwest::redirect::Policy;

/// A data set in one file.
struct Published {
    file: &'static str,
    address: &'static str,
    bytes: u64,
    sha256: &'static str,
}

impl DataName {
    fn published(self) -> Published {
        match self {
            // Lake, Salakhutdinov and Tenenbaum: Human-level concept learning through probabilistic
            // program induction, Science 350 (2015), MIT license.
            Self::Omniglot => Published {
                file: "images_background_small1.zip",
                address: "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_background_small1.zip",
                bytes: 1_319_022,
                sha256: "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
            },
        }
    }
}

/// Fetches a data set, unless it is already there.
///
/// Fails if it can't be fetched, or is not the published one.
pub(crate) fn run(asked: &FetchData) -> Result<()> {
    let published = asked.name.published();
    let expected = Expected { bytes: Some(published.bytes), sha256: Some(published.sha256.to_string()) };
    let target = asked.to.join(published.file);
    let address = asked.from.clone().unwrap_or_else(|| published.address.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the network can't be used: check the system's limits")?;
    runtime.block_on(async {
        let _lock = lock(&with_suffix(&target, ".lock")).await?;
        let present = target.exists() && expected.check(&target)?.is_ok();
        if !present {
            let source = Web::new(hub::client(asked.patience, Policy::limited(10))?, address);
            let bar = Bars::default().add(published.file);
            let fetched = fetch(&source, &expected, &target, asked.patience, &bar).await;
            bar.finish_and_clear();
            fetched.map_err(Fault::into_problem)?;
        }
        println!("{}: {}, verified", target.display(), size(published.bytes));
        Ok(())
    })
}
