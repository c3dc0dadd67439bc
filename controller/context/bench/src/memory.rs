//! Bytes and allocations. For a program whose allocator is [`stats_alloc::INSTRUMENTED_SYSTEM`].

use std::time::Duration;

use futures::FutureExt as _;
use stats_alloc::INSTRUMENTED_SYSTEM;

use crate::figures::Figures;
use crate::tasks::on_runtime;
use crate::tree::Tree;

/// Bytes for each of so many children, requested and resident, and what is left of them when they are gone.
pub fn children<T: Tree>(figures: &mut Figures) {
    // The largest first: what they leave resident the others would find.
    for size in figures.sizes(&[10_000, 100_000, 1_000_000]).into_iter().rev() {
        let parent = T::root();
        // Written to once, so that the pages of the handles do not count.
        let mut children: Vec<Option<T>> = std::iter::repeat_with(|| None).take(size).collect();
        let (heap_before, resident_before) = (heap(), resident());
        for place in &mut children {
            *place = Some(parent.child());
        }
        figures.put("heap_per_child", size, "B", vec![each(heap() - heap_before, size)]);
        if size == 1_000_000 {
            figures.put("resident_per_child", size, "B", vec![each(resident() - resident_before, size)]);
        }
        for place in &mut children {
            *place = None;
        }
        figures.put("heap_left", size, "B", vec![each(heap() - heap_before, size)]);
    }
}

/// Bytes for each of so many tasks that wait in a child of their own.
pub fn tasks<T: Tree>(figures: &mut Figures) {
    for size in figures.sizes(&[10_000, 100_000]) {
        let taken = on_runtime(async move {
            let (root, tasks) = (T::root(), T::Tasks::default());
            let before = heap();
            for _ in 0..size {
                root.spawn_waiting(&tasks, || {});
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
            let taken = heap() - before;
            root.cancel();
            root.join(&tasks).await;
            taken
        });
        figures.put("heap_per_task", size, "B", vec![each(taken, size)]);
    }
}

/// Allocations of a call with a deadline whose answer is there at once.
pub fn calls<T: Tree>(figures: &mut Figures) {
    const CALLS: usize = 10_000;
    let count = on_runtime(async {
        let root = T::root();
        assert_eq!(root.call().now_or_never(), Some(true), "the call has an answer");
        let before = INSTRUMENTED_SYSTEM.stats().allocations;
        for _ in 0..CALLS {
            assert_eq!(root.call().now_or_never(), Some(true), "the call has an answer");
        }
        amount(INSTRUMENTED_SYSTEM.stats().allocations - before)
    });
    figures.put("call_allocations", 1, "allocations", vec![each(count, CALLS)]);
}

/// Bytes that are requested and not given back.
fn heap() -> f64 {
    let stats = INSTRUMENTED_SYSTEM.stats();
    amount(stats.bytes_allocated) - amount(stats.bytes_deallocated)
}

/// Resident bytes of this process; 0 where the system does not say.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kibibytes| kibibytes.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}

#[expect(clippy::cast_precision_loss, reason = "a measurement")]
fn amount(count: usize) -> f64 {
    count as f64
}

fn each(all: f64, count: usize) -> f64 {
    all / amount(count)
}
