//! `context-bytes`: memory. See the library's documentation for the words on the command line.

use std::alloc::System;
use std::process::ExitCode;

use pando_context::Scope;
use pando_context_bench::{Case, memory, run};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio_util::sync::CancellationToken as Token;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Every case by its name.
const CASES: [(&str, Case); 3] = [
    ("memory", Case::both(memory::children::<Scope>, memory::children::<Token>)),
    ("task_memory", Case::both(memory::tasks::<Scope>, memory::tasks::<Token>)),
    ("call_memory", Case::both(memory::calls::<Scope>, memory::calls::<Token>)),
];

fn main() -> ExitCode {
    if run(&CASES) { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
