//! Options of `taper completions` and `taper man`.

use super::shared::CommonOptions;
use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(Args, Clone)]
#[command(after_help = "Examples:\n  \
    taper completions bash > ~/.local/share/bash-completion/completions/taper\n  \
    taper completions zsh > ~/.zfunc/_taper\n  \
    taper completions fish > ~/.config/fish/completions/taper.fish\n  \
    taper completions powershell >> $PROFILE")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}

#[derive(Args, Clone)]
pub(crate) struct Man {
    /// The folder to write the pages into, such as ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
