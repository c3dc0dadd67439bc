//! `cargo bench-fed`: what a federation costs and how long it takes.

use std::process::ExitCode;

fn main() -> ExitCode {
    pando_e2e::bench::main()
}
