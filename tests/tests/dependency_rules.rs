//! The rules of docs/architecture.md, read from `cargo metadata` and the sources: who may know whom.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

/// Each crate of the house, and the other crates of it that it may know.
const MAY_KNOW: [(&str, &[&str]); 11] = [
    ("taper-ops", &[]),
    ("taper-report", &[]),
    ("taper-data", &["taper-ops"]),
    ("taper-models", &["taper-ops"]),
    ("taper-learn", &["taper-ops", "taper-data", "taper-models"]),
    ("taper-transfer", &["taper-ops", "taper-data", "taper-models", "taper-learn"]),
    ("taper-meta", &["taper-ops", "taper-data", "taper-models", "taper-learn"]),
    ("taper-compare", &["taper-ops", "taper-data", "taper-models", "taper-learn", "taper-transfer", "taper-meta"]),
    ("taper-export", &["taper-ops", "taper-data", "taper-models", "taper-learn"]),
    ("taper-serve", &["taper-ops", "taper-data", "taper-models", "taper-learn", "taper-transfer", "taper-compare"]),
    (
        "taper",
        &[
            "taper-ops",
            "taper-data",
            "taper-models",
            "taper-learn",
            "taper-transfer",
            "taper-meta",
            "taper-compare",
            "taper-export",
            "taper-report",
            "taper-serve",
        ],
    ),
];

/// Each member, and all that it and its tests depend on.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let of = |member: &Value| {
        member["dependencies"].as_array().unwrap().iter().map(|dependency| text(&dependency["name"])).collect()
    };
    members().iter().map(|member| (text(&member["name"]), of(member))).collect()
}

/// The crates and programs of the workspace, as cargo describes them.
fn members() -> Vec<Value> {
    metadata()["packages"].as_array().unwrap().clone()
}

/// The Rust files under `folder` with their text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

/// The folder of a crate.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(name)
}

/// The words of a program's text: names, keywords, numbers.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_string()
}

#[test]
fn no_crate_knows_what_the_architecture_forbids() {
    let direct = dependencies();
    let ours = |name: &String| MAY_KNOW.iter().any(|(crate_name, _)| crate_name == name);
    for (name, allowed) in MAY_KNOW {
        for known in direct[name].iter().filter(|name| ours(name)) {
            assert!(allowed.contains(&known.as_str()), "{name} must not know {known}, not even in its tests");
        }
    }
    for name in direct.keys().filter(|name| name.starts_with("taper") && *name != "taper-tests") {
        assert!(ours(name), "say in MAY_KNOW whom {name} may know");
    }
}

#[test]
fn nobody_depends_on_the_programs() {
    for (name, dependencies) in dependencies() {
        for program in ["taper", "taper-tests", "xtask"] {
            assert!(!dependencies.contains(program), "{name} depends on {program}");
        }
    }
}

#[test]
fn no_command_imports_another_command() {
    let folder = folder("taper").join("src/commands");
    let command = |path: &Path| {
        let below = path.strip_prefix(&folder).unwrap().iter().next().unwrap().to_str().unwrap();
        below.trim_end_matches(".rs").to_string()
    };
    let files: Vec<(PathBuf, String)> =
        sources(&folder).into_iter().filter(|(path, _)| command(path) != "mod").collect();
    let names: BTreeSet<String> = files.iter().map(|(path, _)| command(path)).collect();
    assert!(names.contains("compare") && names.contains("train"), "{names:?}");
    for (path, text) in &files {
        let code: String =
            text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
        for way_there in ["super::", "commands::"] {
            for (at, _) in code.match_indices(way_there) {
                let end = code[at..].find([';', '(']).map_or(code.len(), |length| at + length);
                let other = words(&code[at..end]).find(|word| names.contains(*word) && *word != command(path));
                assert!(other.is_none(), "{} imports the command {}", path.display(), other.unwrap_or_default());
            }
        }
    }
}

/// Whether a line has an option of a command line in it, such as `--ways`.
fn names_an_option(line: &str) -> bool {
    line.match_indices("--").any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + 2..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '-') && after.is_some_and(|c| c.is_ascii_lowercase())
    })
}

#[test]
fn libraries_never_speak_of_options() {
    for (name, _) in MAY_KNOW.iter().filter(|(name, _)| *name != "taper") {
        for (path, text) in sources(&folder(name).join("src")) {
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
            let found = code.lines().find(|line| names_an_option(line));
            assert!(found.is_none(), "{}: {}", path.display(), found.unwrap_or_default());
        }
    }
}

#[test]
fn every_crate_can_be_packed_by_itself() {
    for member in members() {
        let name = text(&member["name"]);
        assert!(
            member["description"].is_string() && member["license"].is_string(),
            "{name} lacks a description or license"
        );
        let folder = folder(&name);
        if !folder.exists() {
            continue; // tests and xtask are never published
        }
        assert!(member["readme"].is_string() && member["documentation"].is_string(), "{name} lacks a readme");
        let root = if name == "taper" { "src/main.rs" } else { "src/lib.rs" };
        let root = std::fs::read_to_string(folder.join(root)).unwrap();
        assert!(root.starts_with("#![doc = include_str!(\"../README.md\")]"), "{name}'s page is not its README");
        for (path, text) in sources(&folder) {
            let depth = path.strip_prefix(&folder).unwrap().components().count() - 1;
            let outside = format!("(\"{}", "../".repeat(depth + 1));
            for include in ["include_str!", "include_bytes!", "include!"] {
                let found = text.contains(&format!("{include}{outside}"));
                assert!(!found, "{} includes a file from outside of {name}", path.display());
            }
        }
    }
}

#[test]
fn only_xtask_asks_the_network_and_only_the_page_is_asked() {
    let direct = dependencies();
    for (network, allowed) in [
        ("hf-hub", &["xtask"][..]),
        ("reqwest", &["xtask"]),
        ("hyper", &["taper-serve"]),
        ("axum", &["taper-serve"]),
        ("tokio", &["taper-serve", "xtask"]),
    ] {
        let users: Vec<&String> = direct.iter().filter(|(_, of)| of.contains(network)).map(|(name, _)| name).collect();
        assert_eq!(users, allowed, "who uses {network}");
    }
}

#[test]
fn every_dependency_is_declared_in_the_workspace() {
    for member in members() {
        let manifest = std::fs::read_to_string(Path::new(member["manifest_path"].as_str().unwrap())).unwrap();
        let mut section = String::new();
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']).to_string();
                let alone = section.contains("dependencies.");
                assert!(!alone, "{}: write [{section}] as one line", member["name"]);
            } else if section.ends_with("dependencies") && !line.is_empty() && !line.starts_with('#') {
                let inherited = line.contains("workspace = true");
                assert!(inherited, "{}: `{line}` belongs in [workspace.dependencies]", member["name"]);
            }
        }
    }
}
