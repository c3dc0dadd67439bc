//! Which kinds of the member cannot be followed though it answers otherwise, and since when.
//!
//! A watch that breaks keeps what it knew, so nothing else shows it: a right that was taken away, a group that is not served.
//! A watch that fails now and then and begins anew is no news, and one that can list but not watch is not well between two
//! failures: there is patience both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::core::ApiResource;
use pando_context::Instant;
use pando_runtime::watch::{Health, Phase};

/// A watch that is refused so long after it was first in trouble is said to be. What counts is the last refusal: a watch that has
/// begun again and has nothing to say looks as it did.
const DENIED: Duration = Duration::from_secs(5);
/// The same where it gave no clear answer: longer than the probe takes to find out that the whole member is lost, and than a
/// quiet watch takes to be called alive after an outage.
const UNCLEAR: Duration = Duration::from_secs(40);
/// A watch that has lived for so long is well again.
const STEADY: Duration = Duration::from_secs(5);

/// `apiVersion` and kind.
pub(crate) type Gvk = (Box<str>, Box<str>);

/// The troubles of one member's watches.
#[derive(Default)]
pub(crate) struct Sights(Mutex<BTreeMap<Gvk, Trouble>>);

/// A kind that is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// When it was first seen.
    pub(crate) since: Instant,
    /// What the last failure said.
    pub(crate) why: Box<str>,
    /// It has lasted for long enough to be said.
    pub(crate) is_blind: bool,
}

impl Sights {
    /// Takes in how the watches are doing; none while the member is lost, since then the Cluster says it. Returns the kinds
    /// that cannot be followed from now on, or can be again.
    pub(crate) fn look(&self, watches: &[(ApiResource, Health)]) -> BTreeSet<Gvk> {
        let (now, mut known, mut news) = (Instant::now(), self.known(), BTreeSet::new());
        let mut watched = BTreeSet::new();
        for (resource, health) in watches {
            let gvk: Gvk = (resource.api_version.as_str().into(), resource.kind.as_str().into());
            match &health.phase {
                Phase::Failing(why) => {
                    let why = why.as_str().into();
                    let trouble = known.entry(gvk.clone()).or_insert(Trouble { since: now, why, is_blind: false });
                    let lasts = match health.denied {
                        Some(last) => last.saturating_duration_since(trouble.since) >= DENIED,
                        None => now.saturating_duration_since(trouble.since) >= UNCLEAR,
                    };
                    if lasts && !trouble.is_blind {
                        trouble.is_blind = true;
                        news.insert(gvk.clone());
                    }
                }
                Phase::Watching if health.since.is_none_or(|since| since.elapsed() >= STEADY) => {
                    if known.remove(&gvk).is_some_and(|trouble| trouble.is_blind) {
                        news.insert(gvk.clone());
                    }
                }
                Phase::Idle | Phase::Listing | Phase::Watching => {}
            }
            watched.insert(gvk);
        }
        // What was said stays until a watch of the kind lives; nothing was said of the others.
        known.retain(|gvk, trouble| trouble.is_blind || watched.contains(gvk));
        news
    }

    /// The trouble with a kind, if any.
    pub(crate) fn trouble(&self, api_version: &str, kind: &str) -> Option<Trouble> {
        self.known().get(&(Box::from(api_version), Box::from(kind))).cloned()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Gvk, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;

    use super::*;

    fn watch(phase: Phase, denied: Option<Instant>) -> Vec<(ApiResource, Health)> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
        vec![(resource, Health { phase, since: Some(Instant::now()), denied, ..Health::default() })]
    }

    fn denied() -> Vec<(ApiResource, Health)> {
        watch(Phase::Failing("forbidden".to_owned()), Some(Instant::now()))
    }

    async fn pass(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[pando_context::test(paused)]
    async fn a_refused_watch_is_news_once_and_so_is_its_return() {
        let sights = Sights::default();
        assert!(sights.look(&denied()).is_empty(), "one failure is none");
        pass(DENIED).await;
        assert_eq!(sights.look(&denied()).len(), 1);
        pass(DENIED).await;
        assert!(sights.look(&denied()).is_empty());
        let lives = watch(Phase::Watching, None);
        assert!(sights.look(&lives).is_empty(), "a list that goes through is no watch yet");
        assert!(sights.trouble("v1", "ConfigMap").is_some_and(|trouble| trouble.is_blind));
        pass(STEADY).await;
        assert_eq!(sights.look(&lives).len(), 1);
        assert_eq!(sights.trouble("v1", "ConfigMap"), None);
    }

    #[pando_context::test(paused)]
    async fn a_watch_that_was_refused_for_a_moment_and_is_quiet_since_is_no_news() {
        let (sights, once) = (Sights::default(), denied());
        for _ in 0..10 {
            assert!(sights.look(&once).is_empty());
            pass(Duration::from_secs(2)).await;
        }
    }

    #[pando_context::test(paused)]
    async fn a_server_that_is_away_is_given_the_time_to_be_found_lost() {
        let sights = Sights::default();
        let away = watch(Phase::Failing("connection refused".to_owned()), None);
        sights.look(&away);
        pass(DENIED * 3).await;
        assert!(sights.look(&away).is_empty());
        sights.look(&[]); // lost
        pass(UNCLEAR).await;
        assert!(sights.look(&away).is_empty(), "it begins to count when the member is back");
        pass(UNCLEAR).await;
        assert_eq!(sights.look(&away).len(), 1, "only this kind is not answered");
        assert!(sights.look(&[]).is_empty(), "what was said stays while the member is lost");
        assert!(sights.trouble("v1", "ConfigMap").is_some());
    }
}
