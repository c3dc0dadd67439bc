//! Kinds that somebody needs and the member does not serve (yet): how soon discovery looks again. A value.

use std::collections::BTreeMap;
use std::time::Duration;

use pando_context::Instant;

use crate::probe::Discovered;

/// Looks in short succession after a kind was missed for the first time: a CustomResourceDefinition is served about a second
/// after it was made.
const EAGER: u32 = 10;
/// Time between two of them.
const SOON: Duration = Duration::from_secs(1);
/// Time to the look after those; it doubles from look to look, since the kind is installed when somebody gets to it.
const LATER: Duration = Duration::from_secs(5);
/// Longest time between two looks.
const LATEST: Duration = Duration::from_secs(30);
/// What was found so short a time ago is not asked again because a call says otherwise.
const FRESH: Duration = Duration::from_secs(5);
/// A kind that nobody has mentioned for so long is not needed any more. What waits for a kind tries again every 30 s.
const FORGOTTEN: Duration = Duration::from_secs(90);

/// The kinds that are missed, and how eagerly.
#[derive(Debug, Default)]
pub struct Missing {
    /// apiVersion and kind → when it was last mentioned.
    kinds: BTreeMap<(Box<str>, Box<str>), Instant>,
    /// Looks since a kind was missed for the first time.
    looks: u32,
    looked: Option<Instant>,
}

impl Missing {
    /// Somebody needs a kind. True when that is news, so that a look is due at once.
    pub fn mention(&mut self, api_version: &str, kind: &str, now: Instant) -> bool {
        let is_news = self.kinds.insert((api_version.into(), kind.into()), now).is_none();
        if is_news {
            self.looks = 0;
        }
        is_news
    }

    /// A kind is about to be served, however long it was missed before.
    pub fn expect(&mut self, api_version: &str, kind: &str, now: Instant) {
        self.kinds.insert((api_version.into(), kind.into()), now);
        self.looks = 0;
    }

    /// Was the member asked just now?
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < FRESH)
    }

    /// The member was asked which kinds it serves.
    pub fn looked(&mut self, discovered: &Discovered, now: Instant) {
        self.looks = self.looks.saturating_add(1);
        self.looked = Some(now);
        self.kinds.retain(|(api_version, kind), mentioned| {
            discovered.resource(api_version, kind).is_none() && now.saturating_duration_since(*mentioned) < FORGOTTEN
        });
    }

    /// Time to the next look; `None` when nothing is missed.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        let doublings = self.looks.checked_sub(EAGER);
        let period = doublings.map_or(SOON, |doublings| (LATER * 2_u32.saturating_pow(doublings.min(4))).min(LATEST));
        (!self.kinds.is_empty()).then_some(period)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;
    use crate::probe::{GroupVersion, Kind};

    #[test]
    fn a_kind_that_is_missed_is_looked_for_eagerly_then_patiently_then_no_more() {
        let (mut missing, mut now) = (Missing::default(), Instant::now());
        assert_eq!(missing.period(), None);
        assert!(missing.mention("x.example/v1", "Thing", now));
        assert!(!missing.mention("x.example/v1", "Thing", now), "known already");
        let mut looks = Vec::new();
        while let Some(period) = missing.period() {
            looks.push(period.as_secs());
            now += period;
            missing.looked(&Discovered::default(), now);
        }
        assert_eq!(looks, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 10, 20, 30, 30]);
    }

    #[test]
    fn a_kind_that_was_found_is_not_missed() {
        let (mut missing, now) = (Missing::default(), Instant::now());
        missing.mention("x.example/v1", "Thing", now);
        let kinds = vec![Kind { name: "things".into(), kind: "Thing".into(), namespaced: true, ..Kind::default() }];
        let found = GroupVersion { group_version: "x.example/v1".into(), kinds, ..GroupVersion::default() };
        missing.looked(&Discovered { group_versions: vec![found], missing: vec![] }, now);
        assert_eq!(missing.period(), None);
    }
}
