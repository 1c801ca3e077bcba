//! `taper man`: a page for the program, and one for each command.

use crate::args::{Cli, Man};
use crate::output::Output;
use crate::replaceable::head_of_file;
use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap_mangen::Man as Page;
use taper_learn::runs::write_atomically;

pub(crate) fn run(options: &Man, output: &Output) -> Result<()> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let commands = program.get_subcommands().map(|command| (format!("taper-{}", command.get_name()), command.clone()));
    let pages: Vec<(String, clap::Command)> =
        [("taper".to_string(), program.clone())].into_iter().chain(commands).collect();
    if options.folder.is_file() {
        bail!("{}: is a file: name a folder for the pages", options.folder.display());
    }
    let path_of = |name: &str| options.folder.join(format!("{name}.1"));
    for (name, _) in &pages {
        let path = path_of(name);
        let is_page = |head: &[u8]| String::from_utf8_lossy(head).contains(&format!(".TH {name} "));
        if head_of_file(&path)?.is_some_and(|head| !is_page(&head)) {
            bail!("{}: exists but is not one of this program's pages: choose another folder", path.display());
        }
    }
    for (name, command) in &pages {
        let path = path_of(name);
        let mut page = Vec::new();
        Page::new(command.clone()).title(name).render(&mut page).with_context(|| path.display().to_string())?;
        write_atomically(&path, &page)?;
    }
    let count = pages.len();
    output.line(format!("wrote {count} pages to {}", options.folder.display()));
    Ok(())
}
