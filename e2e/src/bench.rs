//! The `bench-fed` command: what propagation costs and how long it takes, beside what the machine can do at all.
//!
//! ```text
//! floor      B0   one API server without any controller; every target scales with it
//! rig             hub and members, and the controller under test: Pando, or somebody else's (`--external`)
//! load            objects, sent so many at once
//! observer        own watches of hub and members, own clock
//! requests        what the API servers' audit logs say about the controller under test
//! burst      B1   many applications at once
//! latency    B2   one object at a time
//! memory     B7   resident bytes, and bytes for each binding
//! amounts    B13  writes by verb, conflicts, requests when idle
//! context         the context tree by itself, without any cluster, beside Go's and tokio-util's
//! ```
//!
//! Progress goes to stderr, rows go to stdout as they come. Nothing here knows how Pando works inside.

pub mod amounts;
pub mod arguments;
pub mod burst;
mod context;
mod external;
pub mod figures;
pub mod floor;
pub mod latency;
pub mod load;
pub mod machine;
pub mod memory;
pub mod objects;
pub mod observer;
pub mod report;
pub mod requests;
pub mod rig;
mod session;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use self::arguments::{Arguments, Benchmark};
use crate::guard;
use crate::ledger::State;
use crate::process;
use crate::progress::Progress;
use crate::workspace;

/// The command. Exit code 0 when every row has a result, met or not; 1 when not, 2 for wrong usage, 130 after Ctrl-C.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, state] = words.as_slice()
        && word == guard::ARGUMENT
    {
        return guard::run(Path::new(state));
    }
    let arguments = Arguments::parse();
    let progress = Progress::stderr();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(arguments, &progress));
            // A blocking build may still be on its way; its process is stopped already.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            progress.say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments, progress: &Progress) -> Result<ExitCode> {
    let home = workspace::root().join(".pando").join("bench");
    // A second run would measure the first one.
    let _lock = workspace::lock(&home, "another `cargo bench-fed` is measuring on this machine; wait for it")?;
    stop_all(&home).await?;
    let measured = tokio::select! {
        measured = measure(arguments, &home, progress) => Some(measured),
        () = interrupted() => None,
    };
    // After a success nothing is left to stop.
    stop_all(&home).await?;
    match measured {
        Some(Ok(0)) => Ok(ExitCode::SUCCESS),
        Some(Ok(missing)) => {
            progress.say(format_args!("{missing} row(s) have no result; logs are in {}", workspace::display(&home)));
            Ok(ExitCode::FAILURE)
        }
        Some(Err(error)) => Err(error.context(format!("stopped; logs are in {}", workspace::display(&home)))),
        None => {
            progress.say("interrupted: everything is stopped");
            Ok(ExitCode::from(130))
        }
    }
}

/// Gives the number of rows without a result.
async fn measure(arguments: Arguments, home: &Path, progress: &Progress) -> Result<usize> {
    match arguments.wants(Benchmark::Context) {
        true => context::run(&arguments, home, progress).await,
        false => session::run(arguments, home, progress).await,
    }
}

/// Stops what any rig under this folder has started, in this run or in one that was killed.
async fn stop_all(home: &Path) -> Result<()> {
    let rigs = std::fs::read_dir(home).into_iter().flatten().flatten().map(|entry| rig::state_file(&entry.path()));
    let files: Vec<PathBuf> = rigs.filter(|file| file.is_file()).collect();
    for file in files {
        let Some(state) = State::load(&file)? else { continue };
        tokio::task::spawn_blocking(move || state.stop(process::GRACE)).await??;
        // A guard may have been faster.
        drop(std::fs::remove_file(&file));
    }
    Ok(())
}

/// Ctrl-C, or the polite request to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = || Ok::<_, std::io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::hangup())?));
    match listen() {
        Ok((mut terminate, mut hang_up)) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        }
        // Without signals the guards still stop everything.
        Err(_) => std::future::pending().await,
    }
}
