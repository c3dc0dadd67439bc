//! The `verify` command: every check of the repository, one part after another.
//!
//! Output is streamed as it comes. A part without tests of its own (formatting, lints, the
//! cluster parts) counts as one check. The last line is `N passed, N failed, N skipped`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::federation::seconds;
use crate::parts::Source;
use crate::progress::Progress;
use crate::workspace;

/// Runs every check of the repository.
#[derive(Debug, Parser)]
#[command(name = "cargo verify --", bin_name = "cargo verify --")]
struct Args {
    /// Only this part; may be given several times.
    #[arg(long, value_name = "PART", value_parser = part)]
    only: Vec<Part>,
    /// Show the parts and what they check.
    #[arg(long)]
    list: bool,
}

/// A part of the checks.
#[derive(Clone, Copy, Debug)]
struct Part {
    name: &'static str,
    about: &'static str,
    run: Run,
    /// Part without which this one cannot run.
    needs: Option<&'static str>,
    /// Runs only when it is asked for.
    on_request: bool,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    /// One check: cargo succeeds or not.
    Cargo(&'static [&'static str]),
    /// Many checks: cargo runs test binaries that count their tests.
    Tests(&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// One check: the cluster parts can be built.
    ClusterParts,
}

const PARTS: [Part; 11] = [
    Part {
        name: "fmt",
        about: "formatting (rustfmt)",
        // The names of the files are enough: `cargo fmt` puts them right.
        run: Run::Cargo(&["fmt", "--all", "--check", "--", "-l"]),
        needs: None,
        on_request: false,
    },
    Part {
        name: "clippy",
        about: "lints of every package and test, warnings are errors",
        run: Run::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        needs: None,
        on_request: false,
    },
    Part {
        name: "unit",
        about: "unit, table, property, snapshot and model tests; no cluster",
        run: Run::Tests(&["test", "--no-fail-fast", "--workspace", "--exclude", "pando-e2e"], &[]),
        needs: None,
        on_request: false,
    },
    Part {
        name: "parts",
        about: "the real cluster parts, built from pinned Go modules unless they are cached",
        run: Run::ClusterParts,
        needs: None,
        on_request: false,
    },
    Part {
        name: "e2e",
        about: "the promises, on real API servers (and the tests of the test rig itself)",
        run: Run::Tests(&["test", "--no-fail-fast", "-p", "pando-e2e"], &[]),
        needs: Some("parts"),
        on_request: false,
    },
    Part {
        name: "slow",
        about: "property tests with a million cases",
        run: Run::Tests(
            &["test", "--release", "--no-fail-fast", "-p", "pando-core", "-p", "pando-runtime"],
            &[("PROPTEST_CASES", "20000"), ("PANDO_SLOW", "1")],
        ),
        needs: None,
        on_request: true,
    },
    Part {
        name: "slow",
        about: "the controller killed after every single write; members detached hundreds of times",
        run: Run::Tests(
            &["test", "--no-fail-fast", "-p", "pando-e2e", "--test", "it", "--", "sweep::", "detach_scale::"],
            SLOW,
        ),
        needs: None,
        on_request: true,
    },
    Part {
        name: "slow",
        about: "context models: threads that meet at a node of the context tree, in every order (loom)",
        run: Run::Tests(&["test", "-p", CONTEXT, PLAIN, "--features", "loom,intrusive", "--lib", MODELS], &[]),
        needs: None,
        on_request: true,
    },
    Part {
        name: "slow",
        about: "context models of the nodes without unsafe (loom)",
        run: Run::Tests(&["test", "-p", CONTEXT, PLAIN, "--features", "loom", "--lib", MODELS], &[]),
        needs: None,
        on_request: true,
    },
    Part {
        name: "slow",
        about: "the context tree with the nodes without unsafe",
        run: Run::Tests(&["test", "--no-fail-fast", "-p", CONTEXT, PLAIN], &[]),
        needs: None,
        on_request: true,
    },
    Part {
        name: "slow",
        about: "context asan: the context tree's tests under AddressSanitizer",
        // With a target of its own, build scripts and macros are left alone.
        run: Run::Tests(
            &[
                "test",
                "--no-fail-fast",
                "-p",
                CONTEXT,
                "--features",
                "intrusive",
                "--lib",
                "--tests",
                "--target",
                "x86_64-unknown-linux-gnu",
                "--target-dir",
                "target/asan",
            ],
            &[("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zsanitizer=address")],
        ),
        needs: None,
        on_request: true,
    },
];

/// The package of the context tree, in which two implementations of nodes pass the same tests.
const CONTEXT: &str = "pando-context";

/// Asks for the one without `unsafe`, unless the feature says otherwise.
const PLAIN: &str = "--no-default-features";

/// Its tests that try every order.
const MODELS: &str = "node::models";

/// What makes tests take their time.
const SLOW: &[(&str, &str)] = &[("PANDO_SLOW", "1")];

fn part(name: &str) -> Result<Part, String> {
    let names = PARTS.map(|part| part.name).join(", ");
    PARTS.into_iter().find(|part| part.name == name).ok_or_else(|| format!("the parts are {names}"))
}

/// Results of checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The command. Exit code 0 when nothing failed.
pub fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for part in PARTS {
            let note = if part.on_request { " (only with --only slow)" } else { "" };
            say(&format!("{:<7} {}{note}", part.name, part.about));
        }
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<Part> = PARTS
        .into_iter()
        .filter(|part| match args.only.as_slice() {
            [] => !part.on_request,
            only => only.iter().any(|one| one.name == part.name),
        })
        .collect();
    let mut total = Tally::default();
    let mut failed: Vec<&str> = Vec::new();
    for part in chosen {
        let start = Instant::now();
        let tally = match part.needs.filter(|needed| failed.contains(needed)) {
            Some(needed) => {
                say(&format!("\n=== {}: skipped, because {needed} failed", part.name));
                Tally { skipped: 1, ..Tally::default() }
            }
            None => {
                say(&format!("\n=== {}: {}", part.name, part.about));
                check(part)
            }
        };
        if tally.failed > 0 {
            failed.push(part.name);
        }
        say(&format!("=== {}: {tally} in {} s", part.name, seconds(start)));
        total += tally;
    }
    if !failed.is_empty() {
        say(&format!("\nfailed: {}; run one again with `cargo verify -- --only PART`", failed.join(", ")));
    }
    say(&format!("\n{total}"));
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(part: Part) -> Tally {
    let outcome = match part.run {
        Run::Cargo(args) => cargo(args, &[]).map(|(good, _)| one(good)),
        Run::Tests(args, env) => cargo(args, env).map(|(good, mut tally)| {
            if !good && tally.failed == 0 {
                // It did not compile, or a test binary ended before it could count.
                tally.failed = 1;
            }
            tally
        }),
        Run::ClusterParts => {
            Source::standard().and_then(|source| source.ensure(&Progress::stderr(), None)).map(|parts| {
                say(&format!("cluster parts in {}", parts.bin().display()));
                one(true)
            })
        }
    };
    outcome.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        one(false)
    })
}

fn one(good: bool) -> Tally {
    Tally { passed: u64::from(good), failed: u64::from(!good), skipped: 0 }
}

/// Runs cargo, passes its output on, and adds up the test results in it.
fn cargo(args: &[&str], env: &[(&str, &str)]) -> Result<(bool, Tally)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(cargo)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            say(&line);
            tally += results(&line).unwrap_or_default();
        }
    }
    Ok((child.wait()?.success(), tally))
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.50s`
fn results(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("test result: ")?;
    let count = |word: &str| -> Option<u64> {
        let before = rest.split(word).next()?.trim_end();
        before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some(Tally { passed: count(" passed")?, failed: count(" failed")?, skipped: count(" ignored")? })
}

fn say(text: &str) {
    // A reader that went away does not change the result.
    drop(writeln!(std::io::stdout(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_results_are_read_as_cargo_prints_them() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 40 filtered out; finished in 0.50s";
        assert_eq!(results(line), Some(Tally { passed: 12, failed: 3, skipped: 1 }));
        assert_eq!(results("test a::b ... ok"), None);
        assert_eq!(results("test result: odd"), None);
    }

    #[test]
    fn the_last_line_is_the_promised_one() {
        let tally = Tally { passed: 3, failed: 0, skipped: 1 };
        assert_eq!(tally.to_string(), "3 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn an_unknown_part_names_the_known_ones() {
        let error = part("unti").err().unwrap_or_default();
        assert!(error.contains("unit") && error.contains("e2e"), "{error}");
    }
}
