//! Several threads at one context.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::figures::{Figures, Stopwatch, micros, nanos_each};
use crate::tree::Tree;

/// So many threads create and drop children of one parent: time, and processor time, for each child.
pub fn contention<T: Tree>(figures: &mut Figures) {
    let each = figures.operations(400_000);
    for threads in [1, 2, 8] {
        let parent = T::root();
        let others: Vec<T> = (0..1_000).map(|_| parent.child()).collect();
        let samples = figures.samples(|| {
            let (wall, processor) = together(threads, || {
                for _ in 0..each {
                    drop(black_box(parent.child()));
                }
            });
            (nanos_each(wall, each * threads), nanos_each(processor, each * threads))
        });
        let (wall, processor) = samples.into_iter().unzip();
        figures.put("contention", threads, "ns", wall);
        figures.put("contention_cpu", threads, "ns", processor);
        drop(others);
    }
}

/// "Am I cancelled?" at the end of a chain of so many; and the same leaf from two threads, processor time for each.
pub fn poll<T: Tree>(figures: &mut Figures) {
    let asks = figures.operations(20_000_000);
    for depth in [1, 10, 100, 1_000] {
        let mut chain = vec![T::root()];
        for above in 0..depth {
            let child = chain[above].child();
            chain.push(child);
        }
        let samples = figures.samples(|| {
            let watch = Stopwatch::start();
            ask(&chain[depth], asks);
            nanos_each(watch.time(), asks)
        });
        figures.put("poll", depth, "ns", samples);
    }
    let root = T::root();
    let leaf = root.child();
    let samples = figures.samples(|| nanos_each(together(2, || ask(&leaf, asks)).1, 2 * asks));
    figures.put("poll_threads", 2, "ns", samples);
}

fn ask<T: Tree>(leaf: &T, asks: usize) {
    for _ in 0..asks {
        assert!(!black_box(leaf).is_cancelled(), "nobody cancels it");
    }
}

/// The longest that another thread waits for a new child while so many are cancelled.
pub fn stall<T: Tree>(figures: &mut Figures) {
    for size in figures.sizes(&[10_000, 100_000, 1_000_000]) {
        let samples = figures.samples(|| {
            let root = T::root();
            let children: Vec<T> = (0..size).map(|_| root.child()).collect();
            let worst = worst_wait(&root);
            drop(children);
            micros(worst)
        });
        figures.put("stall", size, "us", samples);
    }
}

fn worst_wait<T: Tree>(root: &T) -> Duration {
    let (over, counts) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|threads| {
        let other = threads.spawn(|| {
            let mut worst = Duration::ZERO;
            while !over.load(Relaxed) {
                let start = Instant::now();
                let child = root.child();
                black_box(child.is_cancelled());
                drop(child);
                let wait = start.elapsed();
                if wait > worst && counts.load(Relaxed) {
                    worst = wait;
                }
            }
            worst
        });
        thread::sleep(Duration::from_millis(20));
        counts.store(true, Relaxed);
        root.cancel();
        over.store(true, Relaxed);
        other.join().unwrap_or(Duration::MAX)
    })
}

/// Does the same on so many threads at once: time from the first start to the last end, and processor time of all.
fn together(threads: usize, work: impl Fn() + Sync) -> (Duration, Duration) {
    let barrier = Barrier::new(threads);
    let turn = || {
        barrier.wait();
        // Its own clocks: on a busy machine nobody else sees its start in time.
        let (start, watch) = (Instant::now(), Stopwatch::start());
        work();
        (start, Instant::now(), watch.time())
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(turn)).collect();
        let all: Vec<_> = all.into_iter().filter_map(|thread| thread.join().ok()).collect();
        let first = all.iter().map(|(start, ..)| *start).min();
        let last = all.iter().map(|(_, end, _)| *end).max();
        let wall = first.zip(last).map_or(Duration::MAX, |(first, last)| last - first);
        (wall, all.iter().map(|(.., processor)| *processor).sum())
    })
}
