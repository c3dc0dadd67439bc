//! `cargo verify`: every check of the repository from one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pando_e2e::verify::main()
}
