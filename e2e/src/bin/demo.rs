//! `cargo demo`: a federation on this machine from one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pando_e2e::demo::main()
}
