//! The `demo` command: set-up and main job in one.
//!
//! Everything that runs is written down in `.pando/demo/state.json` before it is needed, a guard
//! process stops it if this command is killed half way, and a lock keeps two commands apart.

mod report;
mod up;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::guard;
use crate::ledger::{Phase, State};
use crate::process;
use crate::provider::Choice;
use crate::workspace;

/// The members, and how the founding policy splits ten replicas over them.
pub const MEMBERS: [(&str, i32); 3] = [("bj-prod", 5), ("sh-prod", 3), ("sz-prod", 2)];

/// Starts a hub, three members and Pando on this machine, and spreads `web-service` over them.
#[derive(Debug, Parser)]
#[command(name = "cargo demo --", bin_name = "cargo demo --")]
struct Args {
    /// Stop everything at the end instead of leaving it running.
    #[arg(long)]
    once: bool,
    /// Print the result as one JSON object, the last line of stdout.
    #[arg(long)]
    json: bool,
    /// Where the clusters come from: auto or processes.
    #[arg(long, default_value = "auto", value_name = "PROVIDER")]
    provider: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show what runs.
    Status,
    /// Stop and remove everything.
    Down,
    /// Stop what STATE names when stdin ends (started by this command itself).
    #[command(hide = true, name = guard::ARGUMENT)]
    Guard {
        /// The state file.
        state: PathBuf,
    },
}

/// The command. Exit code 0 when it did what it says, 1 when not, 2 for wrong usage, 130 after Ctrl-C.
pub fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Guard { state }) = &args.command {
        return guard::run(state);
    }
    if let Err(error) = args.provider.parse::<Choice>() {
        complain(&format!("error: {error}"));
        return ExitCode::from(2);
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(&args));
            // A blocking build may still be on its way; its process is stopped already.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<ExitCode> {
    let home = workspace::root().join(".pando").join(if args.once { "once" } else { "demo" });
    match &args.command {
        Some(Command::Status) => report::status(&home).await,
        Some(Command::Down) => down(&home).map(|()| ExitCode::SUCCESS),
        Some(Command::Guard { .. }) => Ok(ExitCode::SUCCESS),
        None => {
            let _lock = lock(&home)?;
            if !args.once
                && let Some(state) = State::load(&state_file(&home))?
                && state.phase == Phase::Running
                && state.alive().next().is_some()
            {
                return report::already_running(&home, &state, args.json).await;
            }
            clear_leftovers(&home)?;
            up::run(&home, args.once, args.json).await
        }
    }
}

fn state_file(home: &Path) -> PathBuf {
    home.join("state.json")
}

/// Keeps a second `cargo demo` away while the first one starts or stops.
fn lock(home: &Path) -> Result<File> {
    let busy = format!("another `cargo demo` is at work in {}; wait for it or stop it", workspace::display(home));
    workspace::lock(home, &busy)
}

/// Stops and removes what an interrupted run, or one before a reboot, left behind.
fn clear_leftovers(home: &Path) -> Result<()> {
    if let Some(state) = State::load(&state_file(home))? {
        let count = state.alive().count();
        if count > 0 {
            complain(&format!("stopping {count} process(es) that an interrupted run left behind"));
        }
        state.stop(process::GRACE)?;
    }
    remove(home)
}

/// Removes everything in the folder but the lock, which may be held.
fn remove(home: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(home) else {
        return Ok(());
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.ends_with(".lock") {
            continue;
        }
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn down(home: &Path) -> Result<()> {
    let _lock = lock(home)?;
    match State::load(&state_file(home))? {
        None => say("Nothing runs."),
        Some(state) => {
            let count = state.alive().count();
            state.stop(process::GRACE)?;
            say(&format!("Stopped {count} processes and removed their data."));
        }
    }
    remove(home)?;
    // The lock is ours; with the folder it leaves nothing behind.
    drop(std::fs::remove_dir_all(home));
    Ok(())
}

/// One line, or a table, on stdout. A reader that went away is no reason to fail.
fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// One line on stderr.
fn complain(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
