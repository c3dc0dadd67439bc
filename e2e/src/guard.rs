//! A small process that stops what a run started when the run itself cannot: it was killed, it
//! crashed, its terminal went away.
//!
//! It holds one end of a pipe. When the other end closes without a word, it stops everything in
//! the ledger. A run that stops its processes itself, or means to leave them, says so first.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

use crate::ledger::State;
use crate::process;

/// First argument by which a program becomes a guard.
pub const ARGUMENT: &str = "guard";

const LEAVE: &[u8] = b"leave";

/// The owner's end. Dropping it without [`Guard::dismiss`] stops the processes.
#[derive(Debug)]
pub struct Guard {
    child: Child,
}

impl Guard {
    /// Starts `program guard STATE`; the program must call [`run`] for this argument.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(program: &Path, state: &Path) -> Result<Self> {
        let child = Command::new(program)
            .arg(ARGUMENT)
            .arg(state)
            // A Ctrl-C in the terminal is for the run, not for its guard.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start the guard {}", program.display()))?;
        Ok(Self { child })
    }

    /// Ends the guard without stopping anything.
    ///
    /// # Errors
    /// When the guard is gone already.
    pub fn dismiss(mut self) -> Result<()> {
        if let Some(mut pipe) = self.child.stdin.take() {
            pipe.write_all(LEAVE).context("the guard is gone")?;
        }
        self.child.wait()?;
        Ok(())
    }
}

/// The guard's own life: waits for the owner's word or end.
pub fn run(state: &Path) -> ExitCode {
    let mut word = Vec::new();
    // A broken pipe is the owner's end too.
    drop(std::io::stdin().read_to_end(&mut word));
    if word == LEAVE {
        return ExitCode::SUCCESS;
    }
    match stop(state) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn stop(path: &Path) -> Result<()> {
    let Some(state) = State::load(path)? else {
        return Ok(());
    };
    state.stop(process::GRACE)?;
    // It described what is gone now, unless somebody has started anew meanwhile.
    if State::load(path)?.as_ref() == Some(&state) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
