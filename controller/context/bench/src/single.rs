//! One thread and no tasks: create, cancel, ask, drop.

use std::hint::black_box;
use std::time::Instant;

use pando_context::{Kind, Scope};

use crate::figures::{Figures, Stopwatch, micros, nanos_each};
use crate::tasks::on_runtime;
use crate::tree::Tree;

const GROUP: Kind = Kind::new("group");
const LEAF: Kind = Kind::new("leaf");

/// A child comes and goes beside so many siblings; and one that is cancelled in between.
pub fn create_drop<T: Tree>(figures: &mut Figures) {
    for siblings in figures.sizes(&[1, 1_000, 100_000]) {
        let parent = T::root();
        let others: Vec<T> = (0..siblings).map(|_| parent.child()).collect();
        figures.operation("create_drop", siblings, 1_000_000, || drop(black_box(parent.child())));
        figures.operation("create_cancel_drop", siblings, 1_000_000, || {
            let child = black_box(parent.child());
            child.cancel();
            drop(child);
        });
        drop(others);
    }
}

/// A call with a deadline of 30 s, inside the caller's future: answered at once, and at the second poll.
pub fn timeout_call<T: Tree>(figures: &mut Figures) {
    let calls = figures.operations(1_000_000);
    let samples = figures.samples(|| {
        on_runtime(async move {
            let root = T::root();
            let watch = Stopwatch::start();
            for _ in 0..calls {
                assert!(root.call().await, "the call has an answer");
            }
            // It never waited, so it stayed on its thread. The next one goes from thread to thread.
            let (ready, start) = (watch.time(), Instant::now());
            for _ in 0..calls {
                assert!(root.call_pending().await, "the call has an answer");
            }
            (ready, start.elapsed())
        })
    });
    let each = |time| nanos_each(time, calls);
    figures.put("timeout_call", "30s", "ns", samples.iter().map(|(ready, _)| each(*ready)).collect());
    figures.put("timeout_call_pending", "30s", "ns", samples.iter().map(|(_, pending)| each(*pending)).collect());
}

/// So many direct children are cancelled; nobody waits in them.
pub fn cancel_wide<T: Tree>(figures: &mut Figures) {
    for size in figures.sizes(&[1_000, 10_000, 100_000, 1_000_000]) {
        let samples = figures.samples(|| {
            let root = T::root();
            let children: Vec<T> = (0..size).map(|_| root.child()).collect();
            let watch = Stopwatch::start();
            root.cancel();
            let time = watch.time();
            assert!(children.iter().all(T::is_cancelled), "cancel reaches every child before it returns");
            micros(time)
        });
        figures.put("cancel_wide", size, "us", samples);
    }
}

/// A chain of so many is cancelled at its top, and dropped from its top.
pub fn cancel_chain<T: Tree>(figures: &mut Figures) {
    for size in figures.sizes(&[1_000, 10_000, 100_000, 1_000_000]) {
        let samples = figures.samples(|| {
            let mut chain = Vec::with_capacity(size + 1);
            chain.push(T::root());
            for above in 0..size {
                let child = chain[above].child();
                chain.push(child);
            }
            let watch = Stopwatch::start();
            chain[0].cancel();
            let time = watch.time();
            assert!(chain.iter().all(T::is_cancelled), "cancel reaches the end of the chain");
            let watch = Stopwatch::start();
            drop(chain);
            (micros(time), micros(watch.time()))
        });
        let (cancel, end) = samples.into_iter().unzip();
        figures.put("cancel_chain", size, "us", cancel);
        figures.put("drop_chain", size, "us", end);
    }
}

/// A tree of so many, ten below each, is cancelled at its top.
pub fn cancel_tree<T: Tree>(figures: &mut Figures) {
    for size in figures.sizes(&[10_000, 100_000]) {
        let samples = figures.samples(|| {
            let mut nodes = Vec::with_capacity(size);
            nodes.push(T::root());
            for number in 1..size {
                let child = nodes[(number - 1) / 10].child();
                nodes.push(child);
            }
            let watch = Stopwatch::start();
            nodes[0].cancel();
            let time = watch.time();
            assert!(nodes.iter().all(T::is_cancelled), "cancel reaches every leaf");
            micros(time)
        });
        figures.put("cancel_tree", size, "us", samples);
    }
}

/// The owner of so many children goes; and a hundred owners, one below the other, go over so many leaves.
pub fn parent_drop<T: Tree>(figures: &mut Figures) {
    for size in figures.sizes(&[10_000, 100_000]) {
        let samples = figures.samples(|| {
            let root = T::root();
            let owner = root.child();
            let children: Vec<T> = (0..size).map(|_| owner.child()).collect();
            let watch = Stopwatch::start();
            drop(owner);
            let time = watch.time();
            drop(children);
            micros(time)
        });
        figures.put("parent_drop", size, "us", samples);
    }
    let samples = figures.samples(|| {
        let root = T::root();
        let mut owners = vec![root.child()];
        for above in 0..99 {
            let child = owners[above].child();
            owners.push(child);
        }
        let leaves: Vec<T> = (0..10_000).map(|_| owners[99].child()).collect();
        let watch = Stopwatch::start();
        while let Some(innermost) = owners.pop() {
            drop(innermost);
        }
        let time = watch.time();
        drop(leaves);
        micros(time)
    });
    figures.put("nested_drop", "100x10000", "us", samples);
}

/// A snapshot of a tree of so many leaves in a hundred groups.
pub fn snapshot(figures: &mut Figures) {
    for size in figures.sizes(&[10_000, 100_000]) {
        let root = Scope::root("bench");
        let groups: Vec<Scope> = (0..100).map(|_| root.ctx().child(&GROUP)).collect();
        let leaves: Vec<Scope> = (0..size).map(|number| groups[number % 100].ctx().child(&LEAF)).collect();
        let samples = figures.samples(|| {
            let watch = Stopwatch::start();
            let tree = black_box(root.ctx().dump());
            let time = watch.time();
            assert_eq!(tree.len(), size + 101, "everything is in the snapshot");
            micros(time)
        });
        figures.put("snapshot", size, "us", samples);
        drop(leaves);
    }
}
