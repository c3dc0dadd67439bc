//! Who may depend on whom, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use super::hold;
use super::tree;

const SOURCE: &str = "ARCHITECTURE.md, Packages";

/// Package, and the packages of ours that it may depend on.
const EDGES: [(&str, &[&str]); 13] = [
    ("pando-api", &[]),
    ("pando-core", &["pando-api"]),
    ("pando-context", &["pando-context-macros"]),
    ("pando-context-bench", &["pando-context"]),
    ("pando-context-macros", &[]),
    // Itself: its tests are of all its features.
    ("pando-context-middleware", &["pando-context", "pando-context-middleware"]),
    ("pando-runtime", &["pando-api", "pando-context", "pando-context-middleware"]),
    ("pando-member", &["pando-api", "pando-context", "pando-runtime"]),
    ("pando-reconcilers", &["pando-api", "pando-context", "pando-core", "pando-member", "pando-runtime"]),
    ("pando", &["pando-api", "pando-context", "pando-core", "pando-member", "pando-reconcilers", "pando-runtime"]),
    ("pando-testkit", &["pando-context"]),
    (
        "pando-sim",
        &[
            "pando-api",
            "pando-context",
            "pando-core",
            "pando-member",
            "pando-reconcilers",
            "pando-runtime",
            "pando-testkit",
        ],
    ),
    ("pando-e2e", &["pando-api", "pando-context", "pando-testkit"]),
];

/// What any package may use in its tests.
const FOR_TESTS: [&str; 3] = ["pando-context", "pando-context-macros", "pando-testkit"];

/// Package, and what must not be anywhere in its normal tree.
const PURE: [(&str, &[&str]); 4] = [
    ("pando-api", NO_IO),
    ("pando-core", NO_IO),
    ("pando-context", NO_KUBERNETES),
    ("pando-context-middleware", NO_KUBERNETES),
];

const NO_KUBERNETES: &[&str] = &["kube", "kube-client", "kube-core", "k8s-openapi", "pando-api", "pando-core"];

const NO_IO: &[&str] = &["tokio", "hyper", "tower", "kube-client", "kube-runtime", "rand", "uuid"];

/// Stacks of which two generations in one process would not fit together.
const SINGLE: [&str; 9] =
    ["http", "hyper", "k8s-openapi", "kube-client", "kube-core", "rustls", "schemars", "tokio", "tower"];

/// `cargo metadata` for the platform that runs the test: other platforms' packages may not be downloaded.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let cargo = env!("CARGO");
    let version = Command::new(cargo).arg("-vV").output().expect("cargo runs");
    let version = String::from_utf8(version.stdout).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo -vV names its host");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(tree::root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata failed; is Cargo.lock up to date and committed?\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
});

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// Packages of the workspace by name.
fn members() -> BTreeMap<&'static str, &'static Value> {
    let ids: BTreeSet<&str> = items(&METADATA, "workspace_members").filter_map(Value::as_str).collect();
    let ours = items(&METADATA, "packages").filter(|package| ids.contains(text(package, "id")));
    ours.map(|package| (text(package, "name"), package)).collect()
}

#[test]
fn every_package_has_its_place() {
    let members = members();
    let known: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let new = members.keys().filter(|name| !known.contains(*name)).map(|name| format!("{name} is not in the table"));
    let gone = known.iter().filter(|name| !members.contains_key(*name)).map(|name| format!("{name} does not exist"));
    hold(
        "every package of the workspace is in the table of packages",
        SOURCE,
        "decide what it may depend on; write it there and in EDGES of this test",
        &new.chain(gone).collect::<Vec<_>>(),
    );
}

#[test]
fn packages_depend_only_downwards() {
    let members = members();
    let mut broken = Vec::new();
    for (name, allowed) in EDGES {
        let Some(package) = members.get(name) else {
            continue;
        };
        for dependency in items(package, "dependencies") {
            let target = text(dependency, "name");
            if !members.contains_key(target) {
                continue;
            }
            let for_tests = text(dependency, "kind") == "dev" && FOR_TESTS.contains(&target);
            if !allowed.contains(&target) && !for_tests {
                broken.push(format!("{name} must not depend on {target}"));
            }
        }
    }
    hold(
        "dependencies follow the table of packages",
        SOURCE,
        "move the code to the package that may do this, or pass what is needed as a value",
        &broken,
    );
}

#[test]
fn decisions_cannot_reach_the_network_or_chance() {
    let names: BTreeMap<&str, &str> = items(&METADATA, "packages").map(|p| (text(p, "id"), text(p, "name"))).collect();
    let edges: BTreeMap<&str, Vec<&str>> = items(&METADATA["resolve"], "nodes")
        .map(|node| {
            let normal = items(node, "deps").filter(|dep| items(dep, "dep_kinds").any(|kind| kind["kind"].is_null()));
            (text(node, "id"), normal.map(|dep| text(dep, "pkg")).collect())
        })
        .collect();
    let mut broken = Vec::new();
    for (name, forbidden) in PURE {
        let Some((root, _)) = names.iter().find(|(_, found)| **found == name) else {
            continue;
        };
        // Breadth first, so that the path shown is a shortest one.
        let mut paths = BTreeMap::from([(*root, name.to_owned())]);
        let mut queue = std::collections::VecDeque::from([*root]);
        while let Some(id) = queue.pop_front() {
            for next in edges.get(id).into_iter().flatten() {
                if !paths.contains_key(next) {
                    let found = names.get(next).copied().unwrap_or_default();
                    let path = format!("{} → {found}", paths[id]);
                    if forbidden.contains(&found) {
                        broken.push(path.clone());
                    }
                    paths.insert(next, path);
                    queue.push_back(next);
                }
            }
        }
    }
    hold(
        "what decides has no runtime, no client and no randomness in its tree",
        SOURCE,
        "turn the feature off in the manifest, or move the code that needs it out of the package",
        &broken,
    );
}

#[test]
fn there_is_one_generation_of_each_stack() {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in items(&METADATA, "packages") {
        versions.entry(text(package, "name")).or_default().insert(text(package, "version"));
    }
    let twice = SINGLE.iter().filter_map(|name| {
        let found = versions.get(name)?;
        (found.len() > 1).then(|| format!("{name}: {found:?}"))
    });
    hold(
        "types of these packages cross our interfaces, so there is one version of each",
        "docs/decisions/0003-dependencies.md",
        "choose versions in [workspace.dependencies] that agree",
        &twice.collect::<Vec<_>>(),
    );
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = tree::text(Path::new("Cargo.toml")).expect("the root manifest");
    let reasons = tree::text(Path::new("docs/decisions/0003-dependencies.md")).unwrap_or_default();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim());
    let silent = names.filter(|name| !name.starts_with("pando") && !reasons.contains(&format!("| `{name}` |")));
    hold(
        "each dependency has a line that says why this one",
        "docs/decisions/0003-dependencies.md",
        "add the line, or do without the dependency",
        &silent.map(str::to_owned).collect::<Vec<_>>(),
    );
}
