//! The files of the repository, and what must be among them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::hold;

/// The root of the checkout.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("controller/ is in the workspace")
}

/// Every file that is or would be committed, relative to the root.
pub(super) fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "the tidy tests need a git checkout");
    let names = String::from_utf8(output.stdout).expect("file names are text");
    let existing = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    existing.filter(|file| root().join(file).is_file()).collect()
}

/// The text of a file; none for binary ones.
pub(super) fn text(file: &Path) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(file)).expect("a listed file can be read")).ok()
}

#[test]
fn the_documents_a_newcomer_looks_for_are_there() {
    let wanted = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
        "docs/roadmap.md",
        "docs/decisions/0003-dependencies.md",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
        "rust-toolchain.toml",
    ];
    let missing = wanted.iter().filter(|file| !root().join(file).is_file());
    hold(
        "the root of the repository explains itself",
        "CONTRIBUTING.md, Documents",
        "write the file",
        &missing.map(ToString::to_string).collect::<Vec<_>>(),
    );
}

#[test]
fn the_architecture_can_be_read_in_one_sitting() {
    let lines = text(Path::new("ARCHITECTURE.md")).unwrap_or_default().lines().count();
    let broken = if lines < 400 { vec![] } else { vec![format!("{lines} lines")] };
    hold(
        "ARCHITECTURE.md stays under 400 lines",
        "CONTRIBUTING.md, Documents",
        "move detail into the doc comment of the module it describes",
        &broken,
    );
}

#[test]
fn the_code_map_leads_somewhere() {
    let text = text(Path::new("ARCHITECTURE.md")).unwrap_or_default();
    let map = text.split("## Code map").nth(1).unwrap_or_default();
    let map = map.split("\n## ").next().unwrap_or_default();
    // Every second piece stands between backticks; those with a slash and without a pattern are paths.
    let named = map.split('`').skip(1).step_by(2);
    let paths = named.filter(|word| word.contains('/') && !word.contains(['<', '{', '*', ' ']));
    let lost = paths.filter(|path| !root().join(path).exists() && !root().join("controller").join(path).exists());
    hold(
        "the code map names files that exist",
        "ARCHITECTURE.md, Code map",
        "correct the map in the change that moves the file",
        &lost.map(str::to_owned).collect::<Vec<_>>(),
    );
}

#[test]
fn every_decision_has_its_own_number() {
    let mut broken = Vec::new();
    let mut taken = std::collections::BTreeMap::new();
    for file in files() {
        let Ok(name) = file.strip_prefix("docs/decisions") else {
            continue;
        };
        let name = name.display().to_string();
        let number = name.split('-').next().unwrap_or_default();
        let numbered = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        if !numbered || !name.ends_with(".md") {
            broken.push(format!("{name} is not NNNN-title.md"));
        } else if let Some(other) = taken.insert(number.to_owned(), name.clone()) {
            broken.push(format!("{name} and {other} share a number"));
        }
    }
    hold("decisions are numbered", "CONTRIBUTING.md, Decisions", "take the next free number", &broken);
}

#[test]
fn nothing_committed_names_a_place_on_somebodys_machine() {
    // Written apart, so that this file obeys its own rule.
    let places = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["/tm", "p/"], ["C:", "\\Users"]];
    let places = places.map(|parts| parts.concat());
    let mut broken = Vec::new();
    for file in files() {
        let Some(text) = text(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            let found = places.iter().find(|place| {
                line.match_indices(place.as_str())
                    .any(|(at, _)| line[..at].chars().next_back().is_none_or(|before| " \t\"'`=(:[,".contains(before)))
            });
            if let Some(place) = found {
                broken.push(format!("{}:{}: {place}", file.display(), number + 1));
            }
        }
    }
    hold(
        "no committed file names a path of one machine",
        "CONTRIBUTING.md, House rules",
        "ask the system for the folder (std::env::temp_dir, a flag, an environment variable)",
        &broken,
    );
}

#[test]
fn every_package_inherits_the_lints() {
    let manifests =
        files().into_iter().filter(|file| file.ends_with("Cargo.toml") && file.parent() != Some(Path::new("")));
    let bare = manifests.filter(|file| !text(file).unwrap_or_default().contains("[lints]\nworkspace = true"));
    hold(
        "lints are the same in every package",
        "Cargo.toml, workspace.lints",
        "add `[lints]` with `workspace = true` to the manifest",
        &bare.map(|file| file.display().to_string()).collect::<Vec<_>>(),
    );
}
