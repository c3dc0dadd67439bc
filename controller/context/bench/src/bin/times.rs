//! `context-times`: time. See the library's documentation for the words on the command line.

use std::process::ExitCode;

use pando_context::Scope;
use pando_context_bench::{Case, run, sharing, single, tasks};
use tokio_util::sync::CancellationToken as Token;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every case by its name.
const CASES: [(&str, Case); 12] = [
    ("create_drop", Case::both(single::create_drop::<Scope>, single::create_drop::<Token>)),
    ("timeout_call", Case::both(single::timeout_call::<Scope>, single::timeout_call::<Token>)),
    ("cancel_wide", Case::both(single::cancel_wide::<Scope>, single::cancel_wide::<Token>)),
    ("cancel_chain", Case::both(single::cancel_chain::<Scope>, single::cancel_chain::<Token>)),
    ("cancel_tree", Case::both(single::cancel_tree::<Scope>, single::cancel_tree::<Token>)),
    (
        "waiters",
        Case { tokio: Some(tasks::waiters_floor), ..Case::both(tasks::waiters::<Scope>, tasks::waiters::<Token>) },
    ),
    ("bystander", Case::both(tasks::bystander::<Scope>, tasks::bystander::<Token>)),
    ("contention", Case::both(sharing::contention::<Scope>, sharing::contention::<Token>)),
    ("poll", Case::both(sharing::poll::<Scope>, sharing::poll::<Token>)),
    ("stall", Case::both(sharing::stall::<Scope>, sharing::stall::<Token>)),
    ("parent_drop", Case::both(single::parent_drop::<Scope>, single::parent_drop::<Token>)),
    ("snapshot", Case::ours(single::snapshot)),
];

fn main() -> ExitCode {
    if run(&CASES) { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
