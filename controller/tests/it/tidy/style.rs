//! Budgets and words.

use super::hold;
use super::source::{self, Source, block, words};

const FROM: &str = "CONTRIBUTING.md, Budgets";

/// Lines of code in a file, tests and comments apart.
const FILE: usize = 600;

/// Lines of code in a function.
const FUNCTION: usize = 80;

#[test]
fn files_stay_readable() {
    let long = source::all().into_iter().filter(|source| {
        let excused = source.text.contains("// tidy: budget ");
        !source.is_test() && source.lines() > FILE && !excused
    });
    hold(
        &format!("a file has at most {FILE} lines of code without its tests"),
        FROM,
        "split it by what it decides, or say why not in one line: `// tidy: budget <reason>`",
        &long.map(|source| format!("{}: {} lines", source.file.display(), source.lines())).collect::<Vec<_>>(),
    );
}

#[test]
fn functions_fit_on_a_screen() {
    let mut broken = Vec::new();
    for source in source::all().iter().filter(|source| !source.is_test()) {
        for at in words(&source.code, "fn") {
            let Some(body) = body(&source.code[at..]) else {
                continue;
            };
            let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
            if lines > FUNCTION && !excused(source, at) {
                broken.push(format!("{}: {lines} lines", source.place(at)));
            }
        }
    }
    hold(
        &format!("a function has at most {FUNCTION} lines of code"),
        FROM,
        "give its steps names; a table may say `#[expect(clippy::too_many_lines, reason = \"...\")]`",
        &broken,
    );
}

/// The function's text from its signature to its last brace; none for a declaration.
fn body(code: &str) -> Option<&str> {
    let brace = code.find('{')?;
    match code.find(';') {
        // A semicolon inside an array type of the signature is rare enough.
        Some(semicolon) if semicolon < brace => None,
        _ => Some(&code[..brace + block(&code[brace..])]),
    }
}

fn excused(source: &Source, at: usize) -> bool {
    let before = source.code[..at].lines().rev().take(6);
    before.take_while(|line| !line.contains('}')).any(|line| line.contains("clippy::too_many_lines"))
}

#[test]
fn modules_are_named_for_what_they_hold() {
    // `tests/<name>/mod.rs` is how integration tests share a module without making it a test binary.
    let is_shared = |source: &Source| source.is_test() && source::stem(&source.file) == "mod";
    const EMPTY_WORDS: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "mod"];
    let vague = source::all()
        .into_iter()
        .filter(|source| EMPTY_WORDS.contains(&source::stem(&source.file).as_str()) && !is_shared(source));
    hold(
        "no module is called util, common or helpers, and none is a mod.rs",
        FROM,
        "name it for the one thing in it; `foo.rs` beside `foo/` replaces `foo/mod.rs`",
        &vague.map(|source| source.file.display().to_string()).collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_unfinished_is_committed() {
    let markers = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let broken = source::all().into_iter().flat_map(|source| {
        let all = source::blank(&source.text);
        let found: Vec<String> = markers
            .iter()
            .filter(|marker| words(&all, marker).next().is_some() || (marker.starts_with('#') && all.contains(*marker)))
            .map(|marker| format!("{}: {marker}", source.file.display()))
            .collect();
        found
    });
    hold(
        "no placeholder, debug print or ignored test is committed",
        "CONTRIBUTING.md, House rules",
        "finish it, or leave it out and write it on the roadmap",
        &broken.collect::<Vec<_>>(),
    );
}

/// Packages in which tasks are made, or that are no part of the product.
const OUTSIDE_THE_TREE: [&str; 3] = ["controller/context", "controller/testkit", "e2e"];

#[test]
fn unsafe_code_is_in_one_module() {
    const ONE: &str = "controller/context/src/node/intrusive.rs";
    let others = source::all().into_iter().filter(|source| !source.file.ends_with(ONE));
    let broken: Vec<String> = others
        .flat_map(|source| {
            let all = source::blank(&source.text);
            let found: Vec<usize> = words(&all, "unsafe").chain(words(&all, "unsafe_code")).collect();
            // Where the module is declared, the lint is lifted for it.
            let lifted = usize::from(source.file.ends_with("controller/context/src/node.rs"));
            found.into_iter().skip(lifted).map(move |at| source.place(at)).collect::<Vec<_>>()
        })
        .collect();
    hold(
        &format!("`unsafe` is in one module, {ONE}, which has models and runs under AddressSanitizer"),
        "CONTRIBUTING.md, House rules",
        "do without; the lint is not to be lifted anywhere else",
        &broken,
    );
}

#[test]
fn every_task_has_a_parent() {
    let free = ["tokio::spawn", "tokio::task::spawn", "thread::spawn", "tokio::time::sleep", "tokio::time::timeout"];
    let mut broken = Vec::new();
    let sources = source::all();
    let inside = sources.iter().filter(|source| !OUTSIDE_THE_TREE.iter().any(|folder| source.is_in(folder)));
    for source in inside.filter(|source| !source.is_test()) {
        for call in free {
            let found = words(&source.code, call).map(|at| format!("{}: {call}", source.place(at)));
            broken.extend(found);
        }
    }
    hold(
        "tasks and waits belong to the context tree",
        "ARCHITECTURE.md, The context tree",
        "use `Ctx::spawn`, `Ctx::sleep`, `Ctx::timeout`",
        &broken,
    );
}

#[test]
fn nobody_is_excused_from_the_context_tree() {
    // Written apart, so that this file obeys its own rule.
    let lint = ["clippy::disallowed", "_methods"].concat();
    let mut broken = Vec::new();
    for source in source::all() {
        let excused = ["controller/context", "e2e"].iter().any(|folder| source.is_in(folder));
        // Threads against a lock have no context; they end with the test that starts them.
        let threads = source.is_test() && source.text.contains("thread::scope");
        if excused || threads {
            continue;
        }
        let lines = blank_comments(&source.text);
        let found = lines.iter().enumerate().filter(|(_, line)| line.contains(&lint));
        broken.extend(found.map(|(at, _)| format!("{}:{}", source.file.display(), at + 1)));
    }
    hold(
        "what clippy.toml forbids is forbidden to everyone but the context tree itself and the test rig",
        "clippy.toml",
        "use the replacement that the lint names; where there is none, add one to pando-context",
        &broken,
    );
}

/// The lines without what follows `//`.
fn blank_comments(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect()
}

#[test]
fn every_async_test_has_a_root_and_leaves_nothing() {
    let mut broken = Vec::new();
    for source in source::all().iter().filter(|source| !source.is_in("e2e")) {
        let code = source::blank(&source.text);
        // What spawns past the tree on purpose is a test of the attribute itself.
        let escapes =
            if source.is_in("controller/context") { &["tokio::test"][..] } else { &["tokio::test", "foreign_tasks"] };
        for (number, line) in code.lines().enumerate() {
            let found = escapes.iter().filter(|word| words(line, word).next().is_some());
            broken.extend(found.map(|word| format!("{}:{}: {word}", source.file.display(), number + 1)));
        }
    }
    hold(
        "a test that leaves a context, a task or a socket behind fails",
        "ARCHITECTURE.md, The context tree",
        "use `#[pando_context::test]`, with `paused` for virtual time; keep clients in the tree (`pando_runtime::client`)",
        &broken,
    );
}

#[test]
fn decisions_do_not_wait_look_at_a_clock_or_throw_dice() {
    let impure = [
        "async fn",
        ".await",
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
        "HashMap",
        "HashSet",
        "std::env",
        "std::fs",
        "std::net",
        "std::thread",
    ];
    let mut broken = Vec::new();
    for source in source::all().iter().filter(|source| source.is_in("controller/core/src") && !source.is_test()) {
        for word in impure {
            let found = source.code.match_indices(word);
            broken.extend(found.map(|(at, _)| format!("{}: {word}", source.place(at))));
        }
    }
    hold(
        "core is a function of its input: no await, no clock, no randomly seeded map",
        "ARCHITECTURE.md, Invariants",
        "take the time or the answer as an argument; use BTreeMap, or a map with a fixed hasher in its own type",
        &broken,
    );
}

#[test]
fn names_can_be_traced_to_their_definition() {
    let mut broken = Vec::new();
    for source in source::all().iter().filter(|source| !source.is_test()) {
        for (at, _) in source.code.match_indices("pub use ") {
            let statement = source.code[at..].split(';').next().unwrap_or_default();
            if statement.ends_with("::*") {
                broken.push(source.place(at));
            }
        }
    }
    hold("nothing is re-exported with a star", FROM, "list the names", &broken);
}
