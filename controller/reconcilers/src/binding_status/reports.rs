//! What is remembered of the bindings that were reported lately: when, how often, and what their items were made of.
//!
//! Of a binding that has been quiet for a while nothing is remembered. Its next report is made from everything that the
//! stores know, with the same result.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pando_context::Instant;
use pando_core::aggregate::Memory;
use pando_core::aggregate::pacing::Pace;
use pando_runtime::store::Key;

/// Fewer bindings than this are not worth sweeping.
const SWEEP_AT: usize = 256;

/// The reports of this process. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Reports {
    /// The pace counts from here.
    started: Instant,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    bindings: BTreeMap<Key, Track>,
    /// How many there may be before the quiet ones are forgotten.
    sweep_at: usize,
}

impl Shared {
    fn sweep(&mut self, now: Duration) {
        self.bindings.retain(|_, track| !track.pace.is_quiet(now));
        self.sweep_at = SWEEP_AT.max(2 * self.bindings.len());
    }
}

#[derive(Default)]
struct Track {
    pace: Pace,
    memory: Memory,
}

/// A report that is being written. One that fails is dropped and does not count for the pace: the queue's back-off is the
/// pace of failures, and would begin anew after each hold.
#[must_use = "only one that was written counts"]
pub(super) struct Report<'a> {
    reports: &'a Reports,
    binding: &'a Key,
    began: Duration,
}

impl Report<'_> {
    /// It was written.
    pub(super) fn written(self) {
        let took = self.reports.now().saturating_sub(self.began);
        if let Some(track) = self.reports.lock().bindings.get_mut(self.binding) {
            track.pace.reported(self.began, took);
        }
    }
}

impl Reports {
    /// Nothing has been reported.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared { bindings: BTreeMap::new(), sweep_at: SWEEP_AT };
        Self { started: Instant::now(), shared: Arc::new(Mutex::new(shared)) }
    }

    /// How long to wait with a change that was seen now; see [`Pace::wait`].
    #[must_use]
    pub fn wait(&self, binding: &Key, is_complete: bool) -> Duration {
        let now = self.now();
        let shared = self.lock();
        let pace = shared.bindings.get(binding).map(|track| &track.pace);
        pace.map_or_else(|| Pace::default().wait(now, is_complete), |pace| pace.wait(now, is_complete))
    }

    /// How long nothing may be reported yet; see [`Pace::hold`].
    pub(super) fn hold(&self, binding: &Key) -> Option<Duration> {
        let now = self.now();
        self.lock().bindings.get(binding)?.pace.hold(now)
    }

    /// What is remembered of the binding. The caller has it alone until [`Reports::keep`] or [`Reports::begin`].
    pub(super) fn memory(&self, binding: &Key) -> Memory {
        self.lock().bindings.get_mut(binding).map(|track| std::mem::take(&mut track.memory)).unwrap_or_default()
    }

    /// There was nothing to report. What was remembered of a quiet binding is forgotten now.
    pub(super) fn keep(&self, binding: &Key, memory: Memory) {
        if let Some(track) = self.lock().bindings.get_mut(binding) {
            track.memory = memory;
        }
    }

    /// A report is written from now on.
    pub(super) fn begin<'a>(&'a self, binding: &'a Key, memory: Memory) -> Report<'a> {
        let began = self.now();
        let mut shared = self.lock();
        if shared.bindings.len() >= shared.sweep_at {
            shared.sweep(began);
        }
        shared.bindings.entry(binding.clone()).or_default().memory = memory;
        Report { reports: self, binding, began }
    }

    /// Forgets the bindings that are quiet. To be called from time to time: when all are, nothing is reported any more.
    pub fn sweep(&self) {
        let now = self.now();
        self.lock().sweep(now);
    }

    /// The binding is gone.
    pub fn forget(&self, binding: &Key) {
        self.lock().bindings.remove(binding);
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reports({} bindings)", self.lock().bindings.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use pando_core::aggregate::pacing::{LEADING_EDGE, LEAST, MOST, SETTLE};

    use super::*;

    fn report(reports: &Reports, name: &str) {
        let key = Key::namespaced("shop", name);
        let memory = reports.memory(&key);
        reports.begin(&key, memory).written();
    }

    #[pando_context::test(paused)]
    async fn after_a_report_the_next_one_stays_away() {
        let reports = Reports::new();
        let key = Key::namespaced("shop", "web");
        assert_eq!((reports.hold(&key), reports.wait(&key, true)), (None, LEADING_EDGE));
        assert_eq!(reports.wait(&key, false), SETTLE);
        report(&reports, "web");
        assert_eq!((reports.hold(&key), reports.wait(&key, true)), (Some(LEAST), LEAST));
        assert_eq!(reports.hold(&Key::namespaced("shop", "other")), None, "each binding has its own pace");
    }

    #[pando_context::test(paused)]
    async fn a_report_that_fails_holds_nothing_back() {
        let reports = Reports::new();
        let key = Key::namespaced("shop", "web");
        drop(reports.begin(&key, Memory::default()));
        assert_eq!(reports.hold(&key), None, "the queue's back-off is the pace of failures");
    }

    #[pando_context::test(paused)]
    async fn many_quiet_bindings_are_forgotten() {
        let reports = Reports::new();
        let name = |number: usize| format!("web-{number}");
        (0..SWEEP_AT).for_each(|number| report(&reports, &name(number)));
        tokio::time::advance(MOST * 100).await;
        report(&reports, "fresh");
        assert_eq!(reports.lock().bindings.len(), 1);
        (0..3 * SWEEP_AT).for_each(|number| report(&reports, &name(number)));
        assert_eq!(reports.lock().bindings.len(), 1 + 3 * SWEEP_AT, "nothing is forgotten that is not quiet");
    }

    #[pando_context::test(paused)]
    async fn after_the_last_report_a_sweep_leaves_nothing_behind() {
        let reports = Reports::new();
        report(&reports, "web");
        reports.sweep();
        assert_eq!(reports.lock().bindings.len(), 1, "not quiet yet");
        tokio::time::advance(MOST * 100).await;
        reports.sweep();
        assert!(reports.lock().bindings.is_empty());
    }

    #[pando_context::test(paused)]
    async fn a_binding_that_is_gone_leaves_nothing_behind() {
        let reports = Reports::new();
        report(&reports, "web");
        reports.forget(&Key::namespaced("shop", "web"));
        assert!(reports.lock().bindings.is_empty());
    }
}
