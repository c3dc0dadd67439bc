//! Every row of the table, and what is promised of it.
//!
//! Two sets of promises: what the implementation without `unsafe` must reach, and what the intrusive one is there for.
//! Most are ratios within one run, which hold on any machine; the others are for the class of machine that
//! `docs/benchmarks.md` names.

use super::{Measured, Who};
use crate::bench::figures::short;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// In words.
    what: &'static str,
    /// `NAME/SIZE` of the figure.
    pub(super) figure: &'static str,
    unit: &'static str,
    /// Whether all of it runs with mimalloc.
    pub(super) mimalloc: bool,
    /// For the implementation without `unsafe`.
    must: &'static [Limit],
    /// For the intrusive one.
    goal: &'static [Limit],
}

/// The most that a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// In its unit.
    AtMost(f64),
    /// So many times tokio-util's.
    TokioUtil(f64),
    /// So many times that of tokio alone.
    Tokio(f64),
    /// Go's is at least so many times as large.
    Go(f64),
    /// So many times another figure of the same implementation.
    Own(&'static str, f64),
}

use Limit::{AtMost, Go, Own, Tokio, TokioUtil};

const fn row(what: &'static str, figure: &'static str, unit: &'static str) -> Row {
    Row { what, figure, unit, mimalloc: false, must: &[], goal: &[] }
}

impl Row {
    const fn must(self, must: &'static [Limit]) -> Self {
        Self { must, ..self }
    }

    const fn goal(self, goal: &'static [Limit]) -> Self {
        Self { goal, ..self }
    }

    const fn mimalloc(self) -> Self {
        Self { mimalloc: true, ..self }
    }
}

const CREATE: &[Limit] = &[TokioUtil(0.85), AtMost(60.0), Go(4.5)];
const CREATE_GOAL: &[Limit] = &[TokioUtil(0.5), AtMost(40.0), Go(8.0)];
const CHAIN: &[Limit] = &[AtMost(50_000.0)];
const POLL: &[Limit] = &[AtMost(1.5)];
const STALL: &[Limit] = &[AtMost(1_000.0)];
/// A timer's worst case varies: a tenth more is no later.
const BYSTANDER: &[Limit] = &[TokioUtil(1.1)];

/// The table.
pub(super) const ROWS: [Row; 54] = [
    row("create + drop a child, 1 sibling", "create_drop/1", "ns").must(CREATE).goal(CREATE_GOAL),
    row("1k siblings", "create_drop/1000", "ns").must(CREATE).goal(CREATE_GOAL),
    row("100k siblings", "create_drop/100000", "ns").must(CREATE).goal(CREATE_GOAL),
    row("create + cancel + drop, 1k siblings", "create_cancel_drop/1000", "ns"),
    row("call, deadline 30 s, answer at once", "timeout_call/30s", "ns"),
    row("the same, pending once", "timeout_call_pending/30s", "ns"),
    row("allocations of a call", "call_allocations/1", "").goal(&[AtMost(0.0)]),
    row("cancel, 1k children", "cancel_wide/1000", "us"),
    row("10k", "cancel_wide/10000", "us"),
    row("100k", "cancel_wide/100000", "us")
        .must(&[TokioUtil(0.7), AtMost(3_000.0)])
        .goal(&[TokioUtil(0.35), AtMost(1_200.0)]),
    row("1M", "cancel_wide/1000000", "us").goal(&[AtMost(12_000.0)]),
    row("cancel, chain of 1k", "cancel_chain/1000", "us"),
    row("chain of 10k", "cancel_chain/10000", "us"),
    row("chain of 100k", "cancel_chain/100000", "us"),
    row("chain of 1M", "cancel_chain/1000000", "us").must(CHAIN).goal(CHAIN),
    row("drop, chain of 1M, top first", "drop_chain/1000000", "us").must(CHAIN).goal(CHAIN),
    row("cancel, tree of 100k, 10 below each", "cancel_tree/100000", "us"),
    row("10k waiting tasks: cancel returns", "waiters_cancel/10000", "us"),
    row("first task has noticed", "waiters_first/10000", "us"),
    row("all stopped and joined", "waiters_stopped/10000", "us"),
    row("100k waiting tasks: cancel returns", "waiters_cancel/100000", "us"),
    row("first task has noticed", "waiters_first/100000", "us"),
    row("all stopped and joined", "waiters_stopped/100000", "us").must(&[Tokio(1.3)]),
    row("10k, mimalloc: cancel returns", "waiters_cancel/10000", "us").mimalloc(),
    row("all stopped and joined", "waiters_stopped/10000", "us").mimalloc(),
    row("100k, mimalloc: cancel returns", "waiters_cancel/100000", "us").mimalloc(),
    row("first task has noticed", "waiters_first/100000", "us").mimalloc(),
    row("all stopped and joined", "waiters_stopped/100000", "us")
        .mimalloc()
        .must(&[Tokio(1.3), Go(4.0)])
        .goal(&[Tokio(1.15), Go(5.0)]),
    row("unrelated 1 ms timer, during 10k", "bystander/10000", "us"),
    row("during 100k", "bystander/100000", "us").must(BYSTANDER).goal(BYSTANDER),
    row("during 100k, mimalloc", "bystander/100000", "us").mimalloc().must(BYSTANDER).goal(BYSTANDER),
    row("heap for each of 100k children", "heap_per_child/100000", "B").must(&[AtMost(192.0)]).goal(&[AtMost(128.0)]),
    row("of 1M", "heap_per_child/1000000", "B").must(&[AtMost(192.0)]).goal(&[AtMost(128.0)]),
    row("resident for each of 1M", "resident_per_child/1000000", "B"),
    // Of a million, none: what is left then is a kilobyte of the parent's.
    row("heap left for each when all are gone", "heap_left/1000000", "B").goal(&[AtMost(0.1)]),
    row("heap + stack for each waiting task", "heap_per_task/100000", "B"),
    row("create + drop on one parent, 1 thread", "contention/1", "ns"),
    row("2 threads", "contention/2", "ns")
        .must(&[TokioUtil(0.35), AtMost(90.0)])
        .goal(&[TokioUtil(0.12), AtMost(30.0)]),
    row("8 threads", "contention/8", "ns"),
    row("processor time, 1 thread", "contention_cpu/1", "ns"),
    // A tenth for what two threads on two processors disturb each other anyway.
    row("2 threads", "contention_cpu/2", "ns").goal(&[Own("contention_cpu/1", 1.1)]),
    row("8 threads", "contention_cpu/8", "ns"),
    row("cancelled? below 1", "poll/1", "ns").must(POLL).goal(POLL),
    row("below 10", "poll/10", "ns").must(POLL).goal(POLL),
    row("below 100", "poll/100", "ns").must(POLL).goal(POLL),
    row("below 1000", "poll/1000", "ns").must(POLL).goal(POLL),
    row("from 2 threads", "poll_threads/2", "ns").must(POLL).goal(POLL),
    row("another thread's longest wait, cancel of 100k", "stall/100000", "us"),
    row("cancel of 1M", "stall/1000000", "us").must(STALL).goal(STALL),
    row("the owner of 10k children goes", "parent_drop/10000", "us"),
    row("of 100k", "parent_drop/100000", "us"),
    row("100 owners over 10k leaves go, inner first", "nested_drop/100x10000", "us"),
    row("snapshot of 10k", "snapshot/10000", "us"),
    row("of 100k", "snapshot/100000", "us").must(&[AtMost(20_000.0)]).goal(&[AtMost(5_000.0)]),
];

/// How a promise was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing was promised.
    None,
    /// There is no figure, or nobody to compare it with.
    Unknown,
    Met,
    /// With the limits that were not kept.
    NotMet(String),
}

impl Limit {
    /// The most that the figure of this row may be; none when what it refers to was not measured.
    fn most(self, row: &Row, who: Who, measured: &Measured) -> Option<f64> {
        let median = |figure, mimalloc, who| measured.median(figure, mimalloc, who);
        match self {
            Self::AtMost(most) => Some(most),
            Self::TokioUtil(times) => median(row.figure, row.mimalloc, Who::TokioUtil).map(|theirs| theirs * times),
            Self::Tokio(times) => median(row.figure, row.mimalloc, Who::Tokio).map(|theirs| theirs * times),
            // Go has an allocator of its own.
            Self::Go(times) => median(row.figure, false, Who::Go).map(|theirs| theirs / times),
            Self::Own(figure, times) => median(figure, row.mimalloc, who).map(|own| own * times),
        }
    }

    fn text(self, most: f64) -> String {
        match self {
            Self::AtMost(_) => short(most),
            Self::TokioUtil(times) => format!("{times} x tokio-util = {}", short(most)),
            Self::Tokio(times) => format!("{times} x tokio = {}", short(most)),
            Self::Go(times) => format!("Go / {times} = {}", short(most)),
            Self::Own(figure, times) => format!("{times} x {figure} = {}", short(most)),
        }
    }
}

impl Row {
    fn verdict(&self, who: Who, measured: &Measured) -> Verdict {
        let limits = if who == Who::Intrusive { self.goal } else { self.must };
        if limits.is_empty() {
            return Verdict::None;
        }
        let Some(value) = measured.median(self.figure, self.mimalloc, who) else {
            return Verdict::Unknown;
        };
        let judged: Vec<(Limit, Option<f64>)> =
            limits.iter().map(|limit| (*limit, limit.most(self, who, measured))).collect();
        let broken: Vec<String> = judged
            .iter()
            .filter_map(|(limit, most)| most.filter(|most| value > *most).map(|most| limit.text(most)))
            .collect();
        match broken.as_slice() {
            [] if judged.iter().any(|(_, most)| most.is_none()) => Verdict::Unknown,
            [] => Verdict::Met,
            broken => Verdict::NotMet(broken.join(", ")),
        }
    }
}

/// The lines of the table: a row each, and how many promises were kept. Without `judge`, no verdicts.
pub(super) fn table(measured: &Measured, judge: bool) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<46} {:<3} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9} {:>12} {:>6}  {}",
        "", "", "Go", "tokio-util", "tokio", "safe", "intrusive", "Go : ours", "t-util : ours", "others", "verdict"
    )];
    let (mut met, mut not_met, mut unknown) = (0, 0, 0);
    for row in &ROWS {
        let of = |who| measured.median(row.figure, row.mimalloc && who != Who::Go, who);
        let best = of(Who::Intrusive).or(of(Who::Safe));
        let ratio = |theirs: Option<f64>| match (theirs, best) {
            (Some(theirs), Some(ours)) if ours > 0.0 => format!("{}x", short(theirs / ours)),
            _ => "-".to_owned(),
        };
        let number = |who| of(who).map_or("-".to_owned(), short);
        let mut words = Vec::new();
        for (who, name) in [(Who::Safe, "must"), (Who::Intrusive, "goal")] {
            match row.verdict(who, measured) {
                _ if !judge => {}
                Verdict::None => {}
                Verdict::Unknown => {
                    unknown += 1;
                    words.push(format!("{name} ?"));
                }
                Verdict::Met => {
                    met += 1;
                    words.push(format!("{name} met"));
                }
                Verdict::NotMet(limits) => {
                    not_met += 1;
                    words.push(format!("{name} NOT met (<= {limits})"));
                }
            }
        }
        let line = format!(
            "{:<46} {:<3} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9} {:>12} {:>6.2}  {}",
            row.what,
            row.unit,
            number(Who::Go),
            number(Who::TokioUtil),
            number(Who::Tokio),
            number(Who::Safe),
            number(Who::Intrusive),
            ratio(of(Who::Go)),
            ratio(of(Who::TokioUtil)),
            measured.others(row.figure, row.mimalloc),
            words.join("; ")
        );
        lines.push(line.trim_end().to_owned());
    }
    if judge {
        lines.push(format!("# {met} met, {not_met} not met, {unknown} without a figure to judge by"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{Key, Sample};
    use super::*;

    fn measured(figures: &[(&str, Who, f64)]) -> Measured {
        let mut measured = Measured::default();
        for (figure, who, value) in figures {
            let key = Key { figure: (*figure).to_owned(), mimalloc: false, who: *who };
            measured.add(key, Sample { value: *value, others: 0.0 });
        }
        measured
    }

    fn create(tokio_util: f64, go: f64, ours: f64) -> Measured {
        let figure = "create_drop/1";
        measured(&[(figure, Who::TokioUtil, tokio_util), (figure, Who::Go, go), (figure, Who::Safe, ours)])
    }

    #[test]
    fn a_promise_is_kept_only_with_all_its_limits() {
        assert_eq!(ROWS[0].verdict(Who::Safe, &create(100.0, 300.0, 50.0)), Verdict::Met);
        let slower_than_others = ROWS[0].verdict(Who::Safe, &create(50.0, 300.0, 50.0));
        assert_eq!(slower_than_others, Verdict::NotMet("0.85 x tokio-util = 42.5".to_owned()));
        let slow = ROWS[0].verdict(Who::Safe, &create(100.0, 225.0, 61.0));
        assert_eq!(slow, Verdict::NotMet("60, Go / 4.5 = 50".to_owned()));
    }

    #[test]
    fn without_a_figure_or_somebody_to_compare_it_with_nothing_is_said_to_be_met() {
        let alone = measured(&[("create_drop/1", Who::Safe, 1.0)]);
        assert_eq!(ROWS[0].verdict(Who::Safe, &alone), Verdict::Unknown);
        assert_eq!(ROWS[0].verdict(Who::Intrusive, &alone), Verdict::Unknown);
        assert_eq!(ROWS[3].verdict(Who::Safe, &alone), Verdict::None);
    }

    #[test]
    fn the_table_has_a_line_for_each_row_and_counts_what_is_kept() {
        let lines = table(&create(100.0, 300.0, 50.0), true);
        assert_eq!(lines.len(), ROWS.len() + 2);
        assert!(lines[1].contains("6x") && lines[1].contains("must met; goal ?"), "{}", lines[1]);
        assert!(lines.last().is_some_and(|line| line.starts_with("# 1 met, 0 not met")));
        let quick = table(&create(100.0, 300.0, 50.0), false);
        assert!(!quick.iter().any(|line| line.contains("met")));
    }

    #[test]
    fn no_row_is_there_twice() {
        let mut names: Vec<(&str, bool)> = ROWS.iter().map(|row| (row.figure, row.mimalloc)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }
}
