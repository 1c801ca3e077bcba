//! `taper completions`: completions for a shell.

use crate::args::{Cli, Completions};
use crate::output::Output;
use anyhow::Result;
use clap::CommandFactory;

pub(crate) fn run(options: &Completions, output: &Output) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "taper", &mut script);
    output.text(String::from_utf8(script)?.trim_end());
    Ok(())
}
