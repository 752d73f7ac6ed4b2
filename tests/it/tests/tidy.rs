//! The rules of the house that a machine can check: who may depend on whom, and what may not stand in the tree.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

const PURE: [&str; 4] = ["model", "rules", "predict", "desk"];
const SHELLS: [&str; 5] = ["journal", "store", "gateway", "notify", "board"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names under `[dependencies]` of a crate.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

/// Every tracked or new text file that git does not ignore.
fn files() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git ls-files failed; the tests run in a checkout");
    String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .filter_map(|name| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?)))
        .collect()
}

#[test]
fn pure_crates_know_no_io() {
    let impure = ["tokio", "sqlx", "reqwest", "axum", "rumqttc", "lettre", "getrandom", "rand", "fjall", "chrono"];
    for folder in PURE {
        for dependency in dependencies(folder) {
            assert!(!impure.contains(&dependency.as_str()), "{folder} is pure and must not depend on {dependency}");
            assert!(
                !SHELLS.contains(&dependency.as_str()) && dependency != "hub",
                "{folder} is pure and must not depend on the shell crate {dependency}"
            );
        }
    }
}

#[test]
fn shell_crates_do_not_import_each_other() {
    for folder in SHELLS {
        for dependency in dependencies(folder) {
            let allowed = folder == "board" && dependency == "store";
            assert!(
                allowed || !SHELLS.contains(&dependency.as_str()),
                "{folder} must not depend on {dependency}: only hub wires shell crates"
            );
        }
    }
}

#[test]
fn each_outside_world_has_one_owner() {
    let owners: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("sqlx", ["store"].as_slice()),
        ("rumqttc", &["gateway", "firmware-sim"]),
        ("rumqttc-v4", &["gateway", "firmware-sim"]),
        ("lettre", &["notify"]),
        ("maud", &["board", "hub", "notify"]),
    ]);
    for folder in PURE.into_iter().chain(SHELLS).chain(["hub", "firmware-sim"]) {
        for dependency in dependencies(folder) {
            if let Some(owners) = owners.get(dependency.as_str()) {
                assert!(owners.contains(&folder), "{dependency} belongs to {owners:?}, not to {folder}");
            }
        }
    }
    assert!(
        !dependencies("firmware-sim").contains("gateway"),
        "firmware-sim encodes its own payloads: it must not depend on gateway"
    );
}

#[test]
fn nothing_is_left_behind() {
    // Split, so that this file does not find itself.
    let left_behind = [
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ig", "nore"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("<<<<", "<<< "),
        concat!(">>>>", ">>> "),
    ];
    for (name, text) in files() {
        if name.ends_with("package-lock.json") || name.ends_with("Cargo.lock") {
            continue;
        }
        for word in left_behind {
            assert!(!text.contains(word), "{name} contains {word}");
        }
    }
}

#[test]
fn lock_files_name_no_registry_of_one_machine() {
    for (name, text) in files() {
        if name.ends_with("package-lock.json") {
            assert!(!text.contains("\"resolved\""), "{name}: run npm with --omit-lockfile-registry-resolved");
        }
    }
}

#[test]
fn files_keep_to_their_purpose() {
    for (name, text) in files() {
        let code = [".rs", ".ts", ".svelte"].iter().any(|ending| name.ends_with(ending));
        let lines = text.lines().count();
        assert!(!code || lines <= 600, "{name} has {lines} lines; split it by concept");
    }
}

#[test]
fn migrations_come_in_pairs() {
    let names = |engine: &str| -> BTreeSet<String> {
        std::fs::read_dir(root().join("store/migrations").join(engine))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names("postgres"), names("sqlite"));
}
