//! Watches that a server closes at once are opened again at a slower and slower pace.
//!
//! kube's watcher opens a watch that has ended in an orderly way again without a pause. With a server (or a proxy in front of
//! it) that closes every watch after a moment that is a loop as hot as the network allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pando_context::Instant;

use crate::backoff::Backoff;

/// The first pause, and the longest: a watch that lives for moments only is still worth a look every few seconds.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// A watch that lived so long is opened again at once. API servers close watches after a minute or more.
const STABLE: Duration = Duration::from_secs(10);

/// The pace of each watch of a client, by path. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pacing(Arc<Mutex<HashMap<String, Pace>>>);

#[derive(Debug)]
struct Pace {
    /// When the last watch of this path was opened, its pause included.
    opened: Instant,
    /// Watches in a row that did not live long.
    short: u32,
    /// The last one was never open: whoever asked for it makes the pause, and it counts for nothing here.
    has_failed: bool,
}

impl Pacing {
    /// How long to wait before the watch of this path is opened (again).
    pub(super) fn pause(&self, path: &str, now: Instant) -> Option<Duration> {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pace) = paces.get_mut(path) else {
            paces.insert(path.to_owned(), Pace { opened: now, short: 0, has_failed: false });
            return None;
        };
        if std::mem::take(&mut pace.has_failed) {
            pace.opened = now;
            return None;
        }
        let is_stable = now.saturating_duration_since(pace.opened) >= STABLE;
        pace.short = if is_stable { 0 } else { pace.short.saturating_add(1) };
        let pause = BACKOFF.delay(pace.short);
        pace.opened = now + pause;
        (!pause.is_zero()).then_some(pause)
    }

    /// The watch of this path could not be opened.
    pub(super) fn failed(&self, path: &str) {
        if let Some(pace) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(path) {
            pace.has_failed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_is_closed_at_once_is_opened_more_and_more_slowly_until_one_lives() {
        let (pacing, mut now) = (Pacing::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let pause = pacing.pause("/api/v1/pods", now).unwrap_or_default();
            pauses.push(pause.as_millis());
            now += pause + Duration::from_millis(100);
        }
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pacing.pause("/api/v1/nodes", now), None, "another kind has its own pace");
        now += Duration::from_secs(75);
        assert_eq!(pacing.pause("/api/v1/pods", now), None);
        now += Duration::from_millis(100);
        assert_eq!(pacing.pause("/api/v1/pods", now), Some(Duration::from_millis(100)));
    }

    #[test]
    fn a_watch_that_could_not_be_opened_is_nothing_that_was_closed() {
        let (pacing, mut now) = (Pacing::default(), Instant::now());
        assert_eq!(pacing.pause("/api/v1/pods", now), None);
        for _ in 0..9 {
            pacing.failed("/api/v1/pods");
            now += Duration::from_secs(3);
            assert_eq!(pacing.pause("/api/v1/pods", now), None);
        }
        assert_eq!(pacing.pause("/api/v1/pods", now), Some(Duration::from_millis(100)), "this one was open");
    }
}
