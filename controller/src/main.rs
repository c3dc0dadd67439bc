//! `pando`: one binary for the hub, for member agents and for the person at the terminal.
//!
//! `pando controller` runs every hub reconciler; `join`, `unjoin` and `get` are the user commands;
//! `debug` looks into a running controller; `crds` prints what the hub must serve. Installed as
//! `kubectl-pando` it is a kubectl plugin.
//!
//! ```text
//! argv ── args ──► commands ──┬─► manager      (controller: the one list of everything that runs)
//!                             └─► join, unjoin, get, debug, crds, version   (one request at a time, then exit)
//! ```
//!
//! It does not decide anything about placement, and it holds no state between two invocations.

mod args;
mod commands;
mod crds;
mod manager;

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// What was taken for a burst or a list goes back to the system; `docs/decisions/0008-allocator.md` has the figures. Its
/// options are set where it is built, in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

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
