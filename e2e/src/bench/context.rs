//! The context tree by itself: ours in both implementations, tokio-util's, tokio alone and Go's, doing the same work.
//!
//! ```text
//! programs   the programs that measure, how they are built and run, and what else ran meanwhile
//! targets    every row of the table, what it must be and what it should be, and whether it is
//! ```
//!
//! One process measures one case of one implementation, in turns, so that a slow minute of the machine hits all of them;
//! the medians of several rounds count. Rounds in which something else took much of the machine are left out where there
//! are others.

mod programs;
mod targets;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;

use self::programs::{Program, Programs};
use self::targets::ROWS;
use super::arguments::Arguments;
use super::figures::quantile;
use super::machine::{self, Conditions};
use super::report::say;
use super::session;
use crate::ledger;
use crate::progress::Progress;

/// More of the machine than this taken by others (in processors) spoils a round.
const QUIET: f64 = 0.12;

/// Whose figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Who {
    /// Go's `context`.
    Go,
    /// tokio-util's `CancellationToken` and `TaskTracker`.
    TokioUtil,
    /// Tasks on one `Notify`, without any tree.
    Tokio,
    /// Ours, without `unsafe`.
    Safe,
    /// Ours, with intrusive lists.
    Intrusive,
}

/// A figure of somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// `NAME/SIZE`, as the programs print it.
    figure: String,
    mimalloc: bool,
    who: Who,
}

/// What a process said.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    /// In the figure's unit.
    value: f64,
    /// Processors that everybody else took meanwhile.
    others: f64,
}

/// Everything measured.
#[derive(Debug, Default)]
struct Measured(BTreeMap<Key, Vec<Sample>>);

impl Measured {
    fn add(&mut self, key: Key, sample: Sample) {
        self.0.entry(key).or_default().push(sample);
    }

    /// The samples that count: the quiet ones, or all where none was.
    fn samples(&self, figure: &str, mimalloc: bool, who: Who) -> Vec<Sample> {
        let key = Key { figure: figure.to_owned(), mimalloc, who };
        let all = self.0.get(&key).cloned().unwrap_or_default();
        let quiet: Vec<Sample> = all.iter().copied().filter(|sample| sample.others <= QUIET).collect();
        if quiet.is_empty() { all } else { quiet }
    }

    fn median(&self, figure: &str, mimalloc: bool, who: Who) -> Option<f64> {
        let values: Vec<f64> = self.samples(figure, mimalloc, who).iter().map(|sample| sample.value).collect();
        quantile(&values, 0.5)
    }

    /// Processors that others took while this was measured, at the worst of the samples that count.
    fn others(&self, figure: &str, mimalloc: bool) -> f64 {
        let whose = [Who::Go, Who::TokioUtil, Who::Tokio, Who::Safe, Who::Intrusive];
        let samples = whose.iter().flat_map(|who| self.samples(figure, mimalloc, *who));
        samples.map(|sample| sample.others).fold(0.0, f64::max)
    }
}

/// What is measured: the case, and whether it is measured with mimalloc too. Cases of one thread do little in the
/// allocator; to end a hundred thousand tasks is mostly that.
const CASES: [(&str, bool); 15] = [
    ("create_drop", false),
    ("timeout_call", false),
    ("call_memory", false),
    ("cancel_wide", false),
    ("cancel_chain", false),
    ("cancel_tree", false),
    ("waiters", true),
    ("bystander", true),
    ("memory", false),
    ("task_memory", false),
    ("contention", false),
    ("poll", false),
    ("stall", false),
    ("parent_drop", false),
    ("snapshot", false),
];

/// Measures and prints the table. Gives the number of rows without a figure of ours.
///
/// # Errors
/// When a program cannot be built or fails, or other benchmarks are asked for in the same run.
pub(super) async fn run(arguments: &Arguments, home: &Path, progress: &Progress) -> Result<usize> {
    if arguments.benchmarks.len() > 1 {
        bail!("`context` wants the machine for itself: run it alone, and the others in another run");
    }
    let programs = Programs::build(&home.join("context"), progress).await?;
    let mut conditions = Conditions::look(None, None);
    conditions.contender = "the context tree".to_owned();
    session::print(&conditions);
    programs.print();
    let rounds = arguments.scaled(u32::from(arguments.runs));
    let mut measured = Measured::default();
    for round in 1..=rounds {
        for (case, with_mimalloc) in CASES {
            progress.say(format_args!("round {round} of {rounds}: {case}"));
            for program in programs.of(case, with_mimalloc) {
                one(&mut measured, program, case, arguments.quick).await?;
            }
        }
    }
    let lines = targets::table(&measured, !arguments.quick);
    lines.iter().for_each(|line| say(line));
    say(&format!("# load after: {:.2}; rounds: {rounds}; others: processors taken by everybody else", machine::load()));
    if let Some(file) = &arguments.json {
        ledger::replace(file, format!("{:#}\n", document(&conditions, &measured)).as_bytes())?;
    }
    let ours = |row: &&targets::Row| {
        let figure = |who| measured.median(row.figure, row.mimalloc, who);
        figure(Who::Safe).or(figure(Who::Intrusive)).is_none()
    };
    Ok(if arguments.quick { 0 } else { ROWS.iter().filter(ours).count() })
}

/// One process: its figures go to the others.
async fn one(measured: &mut Measured, program: &Program, case: &str, quick: bool) -> Result<()> {
    let outcome = program.run(case, quick).await?;
    for (figure, value) in outcome.figures {
        let key = Key { figure, mimalloc: program.mimalloc, who: program.who };
        measured.add(key, Sample { value, others: outcome.others });
    }
    Ok(())
}

fn document(conditions: &Conditions, measured: &Measured) -> serde_json::Value {
    let figures = measured.0.iter().map(
        |(key, samples)| json!({ "figure": key.figure, "mimalloc": key.mimalloc, "who": key.who, "samples": samples }),
    );
    json!({ "conditions": conditions, "figures": figures.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(samples: &[(f64, f64)]) -> Measured {
        let mut measured = Measured::default();
        for (value, others) in samples {
            let key = Key { figure: "x/1".to_owned(), mimalloc: false, who: Who::Safe };
            measured.add(key, Sample { value: *value, others: *others });
        }
        measured
    }

    #[test]
    fn a_loud_round_counts_only_where_no_quiet_one_is() {
        assert_eq!(measured(&[(9.0, 1.0), (2.0, 0.1), (3.0, 0.0)]).median("x/1", false, Who::Safe), Some(2.0));
        assert_eq!(measured(&[(9.0, 1.0), (7.0, 0.5)]).median("x/1", false, Who::Safe), Some(7.0));
        assert_eq!(measured(&[(9.0, 1.0), (7.0, 0.5)]).others("x/1", false), 1.0);
        assert_eq!(measured(&[]).median("x/1", false, Who::Safe), None);
    }
}
