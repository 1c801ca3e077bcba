//! `taper serve`: a page in the browser that learns from drawings and photographs.

use crate::args::{Serve, UsageError};
use crate::data;
use crate::output::{Output, on_interrupt};
use anyhow::{Result, bail};
use serde_json::json;
use taper_data::path_text;
use taper_learn::Model;
use taper_models::catalog::{KnownWeights, WeightHints};
use taper_serve::{Content, Photographs, ServeOptions, Server};

pub(crate) fn run(options: &Serve, threads: usize, output: &Output) -> Result<()> {
    let content = content(options)?;
    let about = match &content {
        Content::Folder(folder) if folder.exists() => format!("serving the pictures in {}", path_text(folder)),
        Content::Folder(folder) => format!("serving a new folder, {}", path_text(folder)),
        Content::Classifier(_) => format!("serving the classifier {}", path_text(&options.path)),
    };
    let photographs = photographs(options)?;
    let server =
        Server::bind(ServeOptions { content, listen: options.listen, port: options.port, photographs, threads })?;
    let stopper = server.stopper();
    on_interrupt(move || stopper.stop())?;
    let link = server.link();
    output.line(format!("{about}: open {link} in a browser; Ctrl-C ends it"));
    if options.listen.is_some_and(|address| !address.is_loopback()) {
        output.note(
            "everyone with this link can see and change the pictures, and the connection is not encrypted: \
             use it only on a network that you trust",
        );
    }
    output.event(&json!({"event": "serving", "link": link}));
    if options.open
        && let Err(error) = open::that_detached(&link)
    {
        output.note(format!("the browser can't be opened ({error}): open the link yourself"));
    }
    server.run()?;
    output.line("stopped");
    Ok(())
}

/// A folder of pictures, or a finished classifier.
fn content(options: &Serve) -> Result<Content> {
    let path = &options.path;
    let is_model = ["config.json", "model", "model.safetensors"].iter().any(|name| path.join(name).exists());
    if !path.is_file() && !is_model {
        return Ok(Content::Folder(path.clone()));
    }
    if options.weights.is_some() {
        return Err(UsageError("a classifier has its own network: remove --weights".into()).into());
    }
    let model = Model::open(path, &WeightHints::default())?;
    data::check_classifier(&model, path)?;
    Ok(Content::Classifier(Box::new(model)))
}

/// The weights of the option, or those that were fetched.
fn photographs(options: &Serve) -> Result<Photographs> {
    if let Some(given) = &options.weights {
        let weights = data::weights(given)?;
        if !weights.path().exists() {
            bail!("{}: no such file or folder: check the path", path_text(weights.path()));
        }
        return Ok(Photographs::Weights(weights.path().to_path_buf()));
    }
    let default = KnownWeights::default_for_photographs()?;
    Ok(match data::hub_cache().and_then(|hub| default.in_hub_cache(&hub)) {
        Some(file) => Photographs::Weights(file),
        None => Photographs::Missing { command: format!("cargo xtask fetch-weights {}", default.name) },
    })
}
