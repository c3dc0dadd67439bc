//! What a context tree costs: create, cancel, wait, contend; ours, and tokio-util's `CancellationToken` with its
//! `TaskTracker`, doing the same work.
//!
//! ```text
//! context-times ours|tokio-util|tokio CASE [quick]      tokio: no tree at all, the floor of the waiters
//! context-bytes ours|tokio-util CASE [quick]
//! ```
//!
//! One process measures one case of one implementation, so that nobody inherits another's heap. Each line on stdout is a
//! figure, `NAME/SIZE UNIT MEDIAN`; the Go program of `e2e/tools/contextbench` prints the same names. `cargo bench-fed --
//! context` runs them all in turns and holds the medians against the targets.
#![allow(clippy::disallowed_methods, reason = "it measures real time, on threads and tasks beside the tree")]

pub mod figures;
pub mod memory;
pub mod sharing;
pub mod single;
pub mod tasks;
pub mod tree;

/// Runs the program: implementation, case and effort from the command line, figures to stdout. `false` if the words on
/// the command line say nothing that can be run.
pub fn run(cases: &[(&str, Case)]) -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (implementation, case, effort) = match words.as_slice() {
        [implementation, case] => (*implementation, *case, figures::Effort::FULL),
        [implementation, case, "quick"] => (*implementation, *case, figures::Effort::QUICK),
        _ => return false,
    };
    let Some((_, case)) = cases.iter().find(|(name, _)| *name == case) else {
        return false;
    };
    let chosen = match implementation {
        "ours" => case.ours,
        "tokio-util" => case.tokio_util,
        "tokio" => case.tokio,
        _ => None,
    };
    let Some(measure) = chosen else { return false };
    measure(&mut figures::Figures::new(effort, figures::print));
    true
}

/// One case, for each implementation that has it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `pando-context`.
    pub ours: Option<fn(&mut figures::Figures)>,
    /// tokio-util.
    pub tokio_util: Option<fn(&mut figures::Figures)>,
    /// Tasks without any tree.
    pub tokio: Option<fn(&mut figures::Figures)>,
}

impl Case {
    /// A case of both trees.
    pub const fn both(ours: fn(&mut figures::Figures), tokio_util: fn(&mut figures::Figures)) -> Self {
        Self { ours: Some(ours), tokio_util: Some(tokio_util), tokio: None }
    }

    /// A case that only we have.
    pub const fn ours(ours: fn(&mut figures::Figures)) -> Self {
        Self { ours: Some(ours), tokio_util: None, tokio: None }
    }
}
