//! `--config FILE` and `--resume DIR`: every key of the file becomes the option of that name, put
//! before the user's own, which therefore win; and the reverse, a command's options as TOML.

use crate::args::{Cli, UsageError};
use anyhow::Result;
use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory};
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The arguments with a configuration file's options in front.
pub(crate) fn expand(arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let (file, missing) = match (value_of(&arguments, "--config"), value_of(&arguments, "--resume")) {
        (Some(_), Some(_)) => {
            return Err(UsageError("--resume uses the run's own options: remove --config".into()).into());
        }
        (Some(file), None) => (PathBuf::from(file), "give an existing file to --config"),
        (None, Some(run)) => {
            (Path::new(&run).join("config.toml"), "give the --out directory of an earlier run to --resume")
        }
        (None, None) => return Ok(arguments),
    };
    let cli = Cli::command();
    let Some(command) = arguments.get(1).and_then(|name| cli.find_subcommand(name)) else { return Ok(arguments) };
    let text = std::fs::read_to_string(&file)
        .map_err(|_| UsageError(format!("{}: can't be read: {missing}", file.display())))?;
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        UsageError(format!("{}: invalid TOML: {}", file.display(), error.message()))
    })?;
    if let Some(meant) = table.remove("command").filter(|meant| meant.as_str() != Some(command.get_name())) {
        let meant = meant.as_str().unwrap_or("another command");
        return Err(UsageError(format!("{}: is for another command: use `taper {meant}`", file.display())).into());
    }
    let mut flags = Vec::new();
    let mut positional = Vec::new();
    for (key, value) in table {
        let known = command.get_arguments().find(|argument| {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            argument.get_id().as_str().replace('_', "-") == key || aliases.contains(&key.as_str())
        });
        let Some(argument) = known else {
            return Err(UsageError(format!(
                "{}: `taper {}` has no option `{key}`: see its --help",
                file.display(),
                command.get_name()
            ))
            .into());
        };
        let text = match &value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(all) => {
                let text = |one: &toml::Value| one.as_str().map_or_else(|| one.to_string(), String::from);
                all.iter().map(text).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        if argument.is_positional() {
            let place = command.get_positionals().position(|one| one.get_id() == argument.get_id());
            positional.push((place, text));
        } else if argument.get_action().takes_values() {
            flags.push(OsString::from(format!("--{key}={text}")));
        } else if value.as_bool() == Some(true) {
            flags.push(OsString::from(format!("--{key}")));
        }
    }
    let mut expanded: Vec<OsString> = arguments[..2].to_vec();
    expanded.extend(flags);
    expanded.extend_from_slice(&arguments[2..]);
    // a file's positional arguments count only if the user gives none
    let gives_none = match Cli::command().try_get_matches_from(&expanded) {
        Ok(matches) => given_positionals(&matches) == 0,
        // what is missing may be in the file
        Err(error) => error.kind() == ErrorKind::MissingRequiredArgument,
    };
    if gives_none {
        positional.sort();
        expanded.extend(positional.into_iter().map(|(_, text)| OsString::from(text)));
    }
    Ok(expanded)
}

fn value_of(arguments: &[OsString], flag: &str) -> Option<OsString> {
    arguments.iter().enumerate().find_map(|(place, argument)| {
        let text = argument.to_str()?;
        if text == flag {
            return arguments.get(place + 1).cloned();
        }
        text.strip_prefix(flag)?.strip_prefix('=').map(OsString::from)
    })
}

fn given_positionals(matches: &ArgMatches) -> usize {
    let cli = Cli::command();
    let Some((name, matches)) = matches.subcommand() else { return 0 };
    let Some(command) = cli.find_subcommand(name) else { return 0 };
    command.get_positionals().filter(|argument| matches.contains_id(argument.get_id().as_str())).count()
}

/// A command's options with their values, defaults included, as TOML: enough to run it again.
pub(crate) fn written<T: Serialize>(command: &str, options: &T) -> Result<String> {
    let mut table = toml::Table::try_from(options)?;
    table.retain(|_, value| value.as_array().is_none_or(|all| !all.is_empty()));
    table.insert("command".into(), command.into());
    Ok(toml::to_string(&table)?)
}
