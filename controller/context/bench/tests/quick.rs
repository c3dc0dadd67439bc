//! The benchmark measures what it says, in both trees. Nothing here looks at a clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pando_context::Scope;
use pando_context_bench::figures::{Effort, Figures};
use pando_context_bench::{sharing, single, tasks};
use tokio_util::sync::CancellationToken as Token;

const TINY: Effort = Effort { repetitions: 1, divide: 10_000, largest: 1_000 };

type Measure = fn(&mut Figures);

fn names(measure: Measure) -> Vec<String> {
    let mut figures = Figures::new(TINY, |line| {
        let median: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(median >= 0.0 && median.is_finite(), "{line}");
    });
    measure(&mut figures);
    figures.names().to_vec()
}

#[test]
fn a_case_gives_the_same_figures_for_both_trees() {
    let cases: [(Measure, Measure, &[&str]); 4] = [
        (
            single::create_drop::<Scope>,
            single::create_drop::<Token>,
            &["create_drop/1", "create_cancel_drop/1", "create_drop/1000", "create_cancel_drop/1000"],
        ),
        (single::cancel_wide::<Scope>, single::cancel_wide::<Token>, &["cancel_wide/1000"]),
        (
            tasks::waiters::<Scope>,
            tasks::waiters::<Token>,
            &["waiters_cancel/1000", "waiters_first/1000", "waiters_stopped/1000"],
        ),
        (
            sharing::contention::<Scope>,
            sharing::contention::<Token>,
            &[
                "contention/1",
                "contention_cpu/1",
                "contention/2",
                "contention_cpu/2",
                "contention/8",
                "contention_cpu/8",
            ],
        ),
    ];
    for (ours, theirs, expected) in cases {
        assert_eq!(names(ours), expected);
        assert_eq!(names(theirs), expected);
    }
}

#[test]
fn a_median_is_the_sample_in_the_middle() {
    let mut figures = Figures::new(TINY, |line| assert_eq!(line, "name/7 us 2.000"));
    figures.put("name", 7, "us", vec![3.0, 1.0, 2.0]);
    figures.put("name", 7, "us", vec![]);
    assert_eq!(figures.names(), ["name/7"]);
}
