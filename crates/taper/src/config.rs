//! `--config FILE` and `--resume DIR`: every key of the file becomes the flag of that name, put
//! before the user's own, which therefore win. And the other way round: all options as TOML.

use crate::args::{Cli, Usage};
use anyhow::Result;
use clap::{ArgMatches, CommandFactory};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Options that say where and how a run is done, not what it is: not part of its configuration.
const NOT_CONFIGURATION: [&str; 7] = ["out", "force", "resume", "config", "threads", "json", "cache"];

/// The arguments with a configuration file's keys in front.
pub(crate) fn expand(arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let (file, missing) = match (value_of(&arguments, "--config"), value_of(&arguments, "--resume")) {
        (Some(_), Some(_)) => {
            return Err(Usage("--resume goes on with a run's own options: leave out --config".into()).into());
        }
        (Some(file), None) => (PathBuf::from(file), "give an existing file to --config"),
        (None, Some(run)) => {
            (Path::new(&run).join("config.toml"), "give the --out directory of an earlier run to --resume")
        }
        (None, None) => return Ok(arguments),
    };
    let cli = Cli::command();
    let Some(command) = arguments.get(1).and_then(|name| cli.find_subcommand(name)) else { return Ok(arguments) };
    let text =
        std::fs::read_to_string(&file).map_err(|_| Usage(format!("{}: can't be read, {missing}", file.display())))?;
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        Usage(format!("{}: is no TOML ({}), correct it", file.display(), error.message()))
    })?;
    if let Some(meant) = table.remove("command").filter(|meant| meant.as_str() != Some(command.get_name())) {
        let meant = meant.as_str().unwrap_or("another command");
        return Err(Usage(format!("{}: is for another command, use `taper {meant}`", file.display())).into());
    }
    let mut flags = Vec::new();
    let mut positional = Vec::new();
    for (key, value) in table {
        let known = command.get_arguments().find(|argument| argument.get_id().as_str().replace('_', "-") == key);
        let Some(argument) = known else {
            return Err(Usage(format!(
                "{}: `{key}` is no option of `taper {}`, see its --help",
                file.display(),
                command.get_name()
            ))
            .into());
        };
        let text = match &value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if argument.is_positional() {
            positional.push((argument.get_index().unwrap_or(usize::MAX), text));
        } else if argument.get_action().takes_values() {
            flags.push(OsString::from(format!("--{key}={text}")));
        } else if value.as_bool() == Some(true) {
            flags.push(OsString::from(format!("--{key}")));
        }
    }
    let mut expanded: Vec<OsString> = arguments[..2].to_vec();
    expanded.extend(flags);
    expanded.extend_from_slice(&arguments[2..]);
    // a file's positional arguments count only where the user gives none
    if Cli::command().try_get_matches_from(&expanded).is_ok_and(|matches| given_positionals(&matches) == 0) {
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

/// Every option with its value, defaults included, as TOML: enough to run it again.
pub(crate) fn text(matches: &ArgMatches) -> String {
    let cli = Cli::command();
    let Some((name, matches)) = matches.subcommand() else { return String::new() };
    let mut table = toml::Table::new();
    table.insert("command".into(), name.into());
    for argument in cli.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments) {
        let id = argument.get_id().as_str();
        if NOT_CONFIGURATION.contains(&id) || !matches!(matches.try_contains_id(id), Ok(true)) {
            continue;
        }
        let Some(raw) = matches.get_raw(id) else { continue };
        let mut values = raw.map(|value| absolute(id, &value.to_string_lossy()));
        let value = match argument.get_value_delimiter() {
            Some(comma) => values.collect::<Vec<_>>().join(&comma.to_string()),
            None => values.next_back().unwrap_or_default(),
        };
        let value = match value.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => match (value.parse::<f64>(), value.parse::<bool>()) {
                (Ok(number), _) if number.is_finite() => number.into(),
                (_, Ok(flag)) => flag.into(),
                _ => value.into(),
            },
        };
        table.insert(id.replace('_', "-"), value);
    }
    toml::to_string(&table).unwrap_or_default()
}

/// Options that are paths, or begin with one (`drawings=0.3`).
const PATHS: [&str; 8] = ["data", "weights", "model", "support", "meta_data", "split", "also", "datasets"];

/// Paths are kept absolute, so that a run can be resumed from anywhere.
fn absolute(id: &str, value: &str) -> String {
    let (path, rest) = value.rfind('=').filter(|_| id == "also").map_or((value, ""), |at| value.split_at(at));
    match std::path::absolute(path) {
        Ok(full) if PATHS.contains(&id) && full.exists() => format!("{}{rest}", full.display()),
        _ => value.to_string(),
    }
}
