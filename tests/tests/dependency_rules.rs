//! The arrows of docs/architecture.md, read from `cargo metadata`: which crate may depend on which.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

/// Each member with its dependencies, including those of its tests if `tests_too`.
fn dependencies(tests_too: bool) -> BTreeMap<String, BTreeSet<String>> {
    let kinds = |dependency: &&Value| tests_too || dependency["kind"] != "dev";
    let members = metadata()["packages"].as_array().unwrap().clone();
    let of = |member: &Value| {
        let dependencies = member["dependencies"].as_array().unwrap().iter();
        dependencies.filter(kinds).map(|dependency| text(&dependency["name"])).collect()
    };
    members.iter().map(|member| (text(&member["name"]), of(member))).collect()
}

/// Members that `from` depends on, directly or indirectly.
fn reached(from: &str, direct: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        for next in direct.get(name).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    found
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
    let direct = dependencies(false);
    let rules = [
        ("taper-ops", "taper-data"),
        ("taper-ops", "taper-models"),
        ("taper-data", "taper-models"),
        ("taper-data", "taper-learn"),
        ("taper-models", "taper-data"),
        ("taper-models", "taper-learn"),
        ("taper-learn", "taper-transfer"),
        ("taper-learn", "taper-meta"),
        ("taper-transfer", "taper-meta"),
        ("taper-meta", "taper-transfer"),
    ];
    for (one, other) in rules {
        assert!(direct.contains_key(one) && direct.contains_key(other), "{one} or {other} is not a member");
        assert!(!reached(one, &direct).contains(other), "{one} must not know {other}");
    }
}

#[test]
fn data_and_models_do_not_meet_in_their_tests_either() {
    let direct = dependencies(true);
    assert!(!direct["taper-data"].contains("taper-models"));
    assert!(!direct["taper-models"].contains("taper-data"));
}

#[test]
fn nobody_depends_on_the_programs() {
    for (name, dependencies) in dependencies(true) {
        assert!(!dependencies.contains("taper") && !dependencies.contains("xtask"), "{name} depends on a program");
    }
}

#[test]
fn only_xtask_touches_the_network() {
    let direct = dependencies(true);
    for network in ["hf-hub", "reqwest", "tokio"] {
        let users: Vec<&String> = direct.iter().filter(|(_, of)| of.contains(network)).map(|(name, _)| name).collect();
        assert_eq!(users, ["xtask"], "who uses {network}");
    }
}

#[test]
fn every_dependency_is_declared_in_the_workspace() {
    for member in metadata()["packages"].as_array().unwrap() {
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
