//! The table against a model API server: one global sequence of revisions, a watch that lags, lists
//! that are snapshots, replies that come late and in any order.
//!
//! `PANDO_SLOW=1` runs the sweep of a million cases, `PANDO_SEED=<n>` one case with its history.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod model;

use std::panic::{AssertUnwindSafe, catch_unwind};

use model::{Mode, World};
use proptest::prelude::*;

const MODES: [Mode; 3] = [Mode::Plain, Mode::Selector, Mode::Faults];

/// xorshift64*: small, fast, and the same everywhere.
struct Xorshift(u64);

impl Xorshift {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

fn run_seed(seed: u64, loud: bool) {
    let mut random = Xorshift::new(seed);
    let mode = MODES[(seed % 3) as usize];
    let steps = 10 + random.next() % 90;
    let mut world = World::new(mode, loud);
    for _ in 0..steps {
        let choice = (random.next() >> 32) as u32;
        world.step(choice);
    }
    world.settle();
}

fn sweep(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        if catch_unwind(AssertUnwindSafe(|| run_seed(seed, false))).is_err() {
            eprintln!("seed {seed} failed; its history:");
            run_seed(seed, true);
        }
    }
}

#[test]
fn the_table_agrees_with_the_server_whatever_overtakes_what() {
    if let Some(seed) = std::env::var("PANDO_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run_seed(seed, true);
    }
    sweep(0..20_000);
}

#[test]
fn a_million_histories() {
    if std::env::var_os("PANDO_SLOW").is_none() {
        return;
    }
    let began = pando_context::Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let share = 1_000_000_u64.div_ceil(threads);
    #[expect(clippy::disallowed_methods, reason = "a pure sweep, there is no context here")]
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let first = 1_000_000 + thread * share;
            scope.spawn(move || sweep(first..first + share));
        }
    });
    eprintln!("{} histories in {:?} on {threads} threads", share * threads, began.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same as the sweep, with a failure that shrinks.
    #[test]
    fn short_histories_agree_too(mode in 0..3_usize, choices in prop::collection::vec(any::<u32>(), 0..40)) {
        let mut world = World::new(MODES[mode], false);
        for choice in choices {
            world.step(choice);
        }
        world.settle();
    }
}
