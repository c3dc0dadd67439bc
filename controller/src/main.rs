//! `pando`: one binary for the hub, for member agents and for the person at the terminal.
//!
//! `pando controller` runs every hub reconciler; `join`, `unjoin` and `get` are the user commands;
//! `crds` prints what the hub must serve. Installed as `kubectl-pando` it is a kubectl plugin.
//!
//! ```text
//! argv ── args ──► commands ──┬─► manager      (controller: the one list of everything that runs)
//!                             └─► join, unjoin, get, crds, version   (one request at a time, then exit)
//! ```
//!
//! It does not decide anything about placement, and it holds no state between two invocations.

mod args;
mod commands;
mod crds;
mod manager;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match args::Cli::from_invocation(std::env::args_os()) {
        Ok(cli) => cli,
        Err(refusal) => return commands::terminal::usage(&refusal),
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => commands::terminal::failure(&error),
    }
}
