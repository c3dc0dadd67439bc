//! Objects as API servers of Kubernetes 1.36 return them: a template on the hub, and the member's object made from it.
//!
//! Taken from `kubectl get -o json` without managedFields, after the member's controllers were done. By hand: bound volumes
//! and ready stateful pods (the members of the test rig have no volumes), injected CA bundles, and tokens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{fs, path::Path};

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/interpreter/native/testdata");

/// Template and live object of one file.
pub(crate) fn pair(name: &str) -> (Value, Value) {
    let path = Path::new(FOLDER).join(name).with_extension("json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut both: Value = serde_json::from_str(&text).unwrap();
    (both["template"].take(), both["live"].take())
}

/// All files, sorted.
pub(crate) fn names() -> Vec<String> {
    let files = fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().path());
    let mut names: Vec<_> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}
