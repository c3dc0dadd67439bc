//! The programs that measure: built from this checkout, run one at a time.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use super::Who;
use crate::bench::machine;
use crate::bench::report::say;
use crate::parts::Go;
use crate::progress::Progress;
use crate::workspace;

/// The package of the programs in Rust, and the two programs in it.
const PACKAGE: &str = "pando-context-bench";
const TIMES: &str = "context-times";
const BYTES: &str = "context-bytes";

/// Cases about memory, which have a program of their own: one whose allocator counts.
const BYTE_CASES: [&str; 3] = ["memory", "task_memory", "call_memory"];
/// Cases that only we have.
const OWN_CASES: [&str; 2] = ["call_memory", "snapshot"];

/// One implementation, ready to be run.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) who: Who,
    pub(super) mimalloc: bool,
    times: PathBuf,
    /// None where one program has all cases.
    bytes: Option<PathBuf>,
}

/// What a run of a program gave.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `NAME/SIZE` and the median in its unit.
    pub(super) figures: Vec<(String, f64)>,
    /// Processors that everybody else took meanwhile.
    pub(super) others: f64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Programs {
    all: Vec<Program>,
    /// The version of Go, or why it is not there.
    go: Result<String, String>,
}

impl Programs {
    /// Builds them into a folder.
    pub(super) async fn build(home: &Path, progress: &Progress) -> Result<Self> {
        std::fs::create_dir_all(home).with_context(|| format!("cannot write {}", home.display()))?;
        let mut all = Vec::new();
        let go = match Go::find() {
            Ok(Some(go)) => Ok(go),
            Ok(None) => Err("`go` is not on the PATH".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        };
        if let Ok(go) = &go {
            progress.say("building the benchmark in Go");
            let times = build_go(go, home).await?;
            all.push(Program { who: Who::Go, mimalloc: false, times, bytes: None });
        }
        for mimalloc in [false, true] {
            for who in [Who::Safe, Who::Intrusive] {
                progress.say(format_args!("building the benchmark in Rust: {}", name(who, mimalloc)));
                let program = build_rust(who, mimalloc, home).await?;
                if who == Who::Safe {
                    // Those that are not ours are in every build.
                    all.push(Program { who: Who::TokioUtil, ..program.clone() });
                    all.push(Program { who: Who::Tokio, ..program.clone() });
                }
                all.push(program);
            }
        }
        Ok(Self { all, go: go.map(|go| go.version) })
    }

    /// Says what is compared.
    pub(super) fn print(&self) {
        match &self.go {
            Ok(version) => say(&format!("# {version}; Rust built with `--profile bench`")),
            Err(why) => say(&format!("# no column for Go: {why}; Rust built with `--profile bench`")),
        }
    }

    /// Those that have a case, in the order in which they take turns.
    pub(super) fn of(&self, case: &str, with_mimalloc: bool) -> impl Iterator<Item = &Program> {
        self.all.iter().filter(move |program| {
            let has = match program.who {
                Who::Safe | Who::Intrusive => true,
                Who::TokioUtil => case != "snapshot",
                Who::Tokio => case == "waiters",
                Who::Go => !OWN_CASES.contains(&case),
            };
            has && (with_mimalloc || !program.mimalloc)
        })
    }
}

impl Program {
    /// Runs one case to its end.
    pub(super) async fn run(&self, case: &str, quick: bool) -> Result<Outcome> {
        let program = match &self.bytes {
            Some(bytes) if BYTE_CASES.contains(&case) => bytes,
            _ => &self.times,
        };
        let mut command = Command::new(program);
        command.args(match self.who {
            Who::Go => None,
            Who::TokioUtil => Some("tokio-util"),
            Who::Tokio => Some("tokio"),
            Who::Safe | Who::Intrusive => Some("ours"),
        });
        command.arg(case).args(quick.then_some("quick"));
        let (start, busy, own) = (Instant::now(), machine::busy_seconds(), machine::children_seconds());
        let output = finish(&mut command).await?;
        let (busy, own) = (machine::busy_seconds() - busy, machine::children_seconds() - own);
        let others = ((busy - own) / start.elapsed().as_secs_f64()).max(0.0);
        let figures = String::from_utf8_lossy(&output.stdout).lines().filter_map(figure).collect::<Vec<_>>();
        if figures.is_empty() {
            bail!("{} measured nothing in the case {case}", name(self.who, self.mimalloc));
        }
        Ok(Outcome { figures, others })
    }
}

/// `NAME/SIZE UNIT MEDIAN`. The units are known from the table.
fn figure(line: &str) -> Option<(String, f64)> {
    let mut words = line.split(' ');
    let (figure, _unit, median) = (words.next()?, words.next()?, words.next()?);
    Some((figure.to_owned(), median.parse().ok()?))
}

fn name(who: Who, mimalloc: bool) -> &'static str {
    match (who, mimalloc) {
        (Who::Go, _) => "go",
        (Who::TokioUtil, false) => "tokio-util",
        (Who::TokioUtil, true) => "tokio-util, mimalloc",
        (Who::Tokio, false) => "tokio",
        (Who::Tokio, true) => "tokio, mimalloc",
        (Who::Safe, false) => "safe",
        (Who::Safe, true) => "safe, mimalloc",
        (Who::Intrusive, false) => "intrusive",
        (Who::Intrusive, true) => "intrusive, mimalloc",
    }
}

/// Waits for a program; it is stopped when the benchmark is.
async fn finish(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).stdout(Stdio::piped()).kill_on_drop(true);
    let program = command.as_std().get_program().display().to_string();
    let output = command.spawn().with_context(|| format!("cannot run {program}"))?.wait_with_output().await?;
    if !output.status.success() {
        bail!("{program} failed ({}); see above", output.status);
    }
    Ok(output)
}

async fn build_go(go: &Go, home: &Path) -> Result<PathBuf> {
    let program = home.join("context-go");
    let mut command = Command::new(&go.program);
    command.args(["build", "-o"]).arg(&program).arg(".");
    command.current_dir(workspace::root().join("e2e/tools/contextbench"));
    command.envs([("CGO_ENABLED", "0"), ("GOFLAGS", "-mod=readonly"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]);
    finish(&mut command).await?;
    Ok(program)
}

/// The builds share their names in cargo's folder, so each is copied to a place of its own.
async fn build_rust(who: Who, mimalloc: bool, home: &Path) -> Result<Program> {
    let features = [(who == Who::Intrusive).then_some("intrusive"), mimalloc.then_some("mimalloc")];
    let features = features.into_iter().flatten().collect::<Vec<_>>().join(",");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile", "bench", "-p", PACKAGE, "--bins", "--features", &features]);
    command.arg("--message-format=json-render-diagnostics").current_dir(workspace::root());
    let output = finish(&mut command).await?;
    let messages: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let take = |target: &str| -> Result<PathBuf> {
        let built = messages
            .iter()
            .filter(|message| message["target"]["name"] == target)
            .find_map(|message| message["executable"].as_str())
            .with_context(|| format!("cargo did not say where it put {target}"))?;
        let copy = home.join(format!("{target}-{}", name(who, mimalloc).replace(", ", "-")));
        std::fs::copy(built, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        Ok(copy)
    };
    Ok(Program { who, mimalloc, times: take(TIMES)?, bytes: Some(take(BYTES)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_a_name_a_unit_and_a_median() {
        assert_eq!(figure("create_drop/1 ns 51.250"), Some(("create_drop/1".to_owned(), 51.25)));
        assert_eq!(figure("warning: nothing"), None);
        assert_eq!(figure(""), None);
    }

    #[test]
    fn each_case_is_run_by_those_that_have_it() {
        let program = |who, mimalloc| Program { who, mimalloc, times: PathBuf::new(), bytes: None };
        let whose = [Who::Go, Who::TokioUtil, Who::Tokio, Who::Safe, Who::Intrusive];
        let all = whose.iter().map(|who| program(*who, false)).chain([program(Who::Safe, true)]).collect();
        let programs = Programs { all, go: Ok("go1.26".to_owned()) };
        let of =
            |case, mimalloc| programs.of(case, mimalloc).map(|one| name(one.who, one.mimalloc)).collect::<Vec<_>>();
        assert_eq!(of("poll", false), ["go", "tokio-util", "safe", "intrusive"]);
        assert_eq!(of("waiters", true), ["go", "tokio-util", "tokio", "safe", "intrusive", "safe, mimalloc"]);
        assert_eq!(of("snapshot", false), ["safe", "intrusive"]);
    }
}
