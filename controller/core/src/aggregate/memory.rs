//! What is remembered of one binding between two aggregations, so that only what changed is looked at again.
//!
//! It saves work and decides nothing: with an empty memory the result is the same.

use pando_api::work::AggregatedStatusItem;
use serde_json::Value;

use super::{item, parsed};

/// The memory of one binding. Empty after a start, and whenever it was dropped.
#[derive(Debug, Default)]
pub struct Memory {
    /// By cluster, in the order of the names.
    pub(super) parts: Vec<Part>,
    /// The template for which, with these parts, there was nothing to write.
    pub(super) template: Option<u64>,
    pub(super) tally: Tally,
}

/// How much was looked at, since the memory was empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Items that were made from their Works.
    pub built: u64,
    /// Member statuses that were parsed for the template.
    pub parsed: u64,
    /// Template statuses that were computed.
    pub templates: u64,
}

impl Memory {
    /// How much was looked at so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }
}

/// One cluster's part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) cluster: Box<str>,
    /// What the item was made of: see [`item::source`].
    pub(super) source: u64,
    /// The item as the binding shows it: see [`item::digest`].
    pub(super) shown: u64,
    /// Its status parsed, once somebody has asked.
    status: Option<Option<Value>>,
}

impl Part {
    /// A part whose item has just been made. What was parsed before stays if the item is still the same.
    pub(super) fn new(cluster: &str, source: u64, item: &AggregatedStatusItem, before: Option<Self>) -> Self {
        let shown = item::digest(item);
        let status = before.filter(|before| before.shown == shown).and_then(|before| before.status);
        Self { cluster: cluster.into(), source, shown, status }
    }

    /// Whether `known` is what this source gave.
    pub(super) fn stands(&self, source: u64, known: &AggregatedStatusItem) -> bool {
        self.source == source && self.shown == item::digest(known)
    }

    /// The status of the item, parsed at most once. [`Part::put_back`] returns it.
    pub(super) fn take_status(&mut self, item: &AggregatedStatusItem, tally: &mut Tally) -> Option<Value> {
        self.status.take().unwrap_or_else(|| {
            tally.parsed += u64::from(item.status.is_some());
            parsed(item.status.as_ref())
        })
    }

    pub(super) fn put_back(&mut self, status: Option<Value>) {
        self.status = Some(status);
    }
}
