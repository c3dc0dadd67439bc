//! Waiting tasks: how long until all of them are gone, and who else has to wait meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::figures::{Figures, micros};
use crate::tree::Tree;

/// Until every task has been polled for the first time and waits.
const SETTLE: Duration = Duration::from_millis(400);

/// Runs something as a task of a runtime of its own, of two threads.
///
/// # Panics
/// When there is no runtime or the work panics: nothing was measured then.
#[expect(clippy::panic, reason = "nothing was measured")]
pub fn on_runtime<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match Builder::new_multi_thread().worker_threads(2).enable_time().build() {
        Ok(runtime) => match runtime.block_on(async { tokio::spawn(work).await }) {
            Ok(output) => output,
            Err(error) => panic!("the measurement failed: {error}"),
        },
        Err(error) => panic!("no runtime: {error}"),
    }
}

/// So many tasks wait, each in a child of its own. Cancel: until the call returns, until the first task has noticed,
/// until all are gone.
pub fn waiters<T: Tree>(figures: &mut Figures) {
    for size in figures.sizes(&[1_000, 10_000, 100_000]) {
        let samples = figures.samples(|| on_runtime(cancel_waiting::<T>(size)));
        figures.put("waiters_cancel", size, "us", samples.iter().map(|sample| micros(sample.returned)).collect());
        figures.put("waiters_first", size, "us", samples.iter().map(|sample| micros(sample.first)).collect());
        figures.put("waiters_stopped", size, "us", samples.iter().map(|sample| micros(sample.stopped)).collect());
    }
}

struct Sample {
    returned: Duration,
    first: Duration,
    stopped: Duration,
}

async fn cancel_waiting<T: Tree>(size: usize) -> Sample {
    let (root, tasks) = (T::root(), T::Tasks::default());
    let (seen, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let base = Instant::now();
    for _ in 0..size {
        let (seen, first) = (Arc::clone(&seen), Arc::clone(&first));
        root.spawn_waiting(&tasks, move || {
            if seen.fetch_add(1, Relaxed) == 0 {
                first.store(u64::try_from(base.elapsed().as_nanos()).unwrap_or(u64::MAX), Relaxed);
            }
        });
    }
    tokio::time::sleep(SETTLE).await;
    let start = Instant::now();
    root.cancel();
    let returned = start.elapsed();
    root.join(&tasks).await;
    let stopped = start.elapsed();
    assert_eq!(seen.load(Relaxed), size, "every task has noticed");
    let first = Duration::from_nanos(first.load(Relaxed)).saturating_sub(start - base);
    Sample { returned, first, stopped }
}

/// What tokio itself needs: so many tasks wait for one `Notify`, all are woken, until all are gone.
pub fn waiters_floor(figures: &mut Figures) {
    for size in figures.sizes(&[1_000, 10_000, 100_000]) {
        let samples = figures.samples(|| {
            on_runtime(async move {
                let (notify, tasks) = (Arc::new(Notify::new()), TaskTracker::new());
                for _ in 0..size {
                    let notify = Arc::clone(&notify);
                    drop(tasks.spawn(async move { notify.notified().await }));
                }
                tokio::time::sleep(SETTLE).await;
                tasks.close();
                let start = Instant::now();
                notify.notify_waiters();
                tasks.wait().await;
                micros(start.elapsed())
            })
        });
        figures.put("waiters_stopped", size, "us", samples);
    }
}

/// The longest that a timer of 1 ms that has nothing to do with it takes while so many waiting tasks are cancelled.
pub fn bystander<T: Tree>(figures: &mut Figures) {
    for size in figures.sizes(&[1_000, 10_000, 100_000]) {
        let samples = figures.samples(|| micros(on_runtime(disturbed::<T>(size))));
        figures.put("bystander", size, "us", samples);
    }
}

async fn disturbed<T: Tree>(size: usize) -> Duration {
    let (root, tasks) = (T::root(), T::Tasks::default());
    for _ in 0..size {
        root.spawn_waiting(&tasks, || {});
    }
    tokio::time::sleep(SETTLE).await;
    let over = Arc::new(AtomicBool::new(false));
    let bystanders: Vec<JoinHandle<Duration>> = (0..4).map(|_| tokio::spawn(tick(Arc::clone(&over)))).collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    root.cancel();
    root.join(&tasks).await;
    over.store(true, Relaxed);
    let mut worst = Duration::ZERO;
    for bystander in bystanders {
        worst = worst.max(bystander.await.unwrap_or(Duration::MAX));
    }
    worst
}

async fn tick(over: Arc<AtomicBool>) -> Duration {
    let mut worst = Duration::ZERO;
    while !over.load(Relaxed) {
        let start = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
        worst = worst.max(start.elapsed());
    }
    worst
}
