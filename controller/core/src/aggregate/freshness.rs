//! How old a member's word is. What a member said is as true as its last read is recent: of one that cannot be read the
//! last known status is kept, its health is unknown, and the binding says since when.
//!
//! An outage is said late and dated back. It counts when the Cluster's Ready says so, hence after its threshold (30 s unless
//! set otherwise): a short one costs no binding a write. Until then the status is shown as fresh though the link may be lost
//! already; the Cluster's Connected says that after 2 s. What is then said is since when: from Connected where it is there. A
//! moment that was said once is kept for as long as the outage lasts, whatever the Cluster's conditions go through.
//!
//! A kind that cannot be followed in a member that answers otherwise is said by the Works ([`Sight`](super::Sight)).
//!
//! A Work that nobody has answered for shows nothing that could be old; that it is not applied is said elsewhere.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use pando_api::{
    cluster::Cluster,
    conditions::{APPLIED, CLUSTER_NOT_READ, CONNECTED, FALSE, READY, STATUS_FRESH, TRUE},
    work::Work,
};

use super::sight;
use crate::conditions::{self, Verdict};

/// Before the members in the condition's message.
const OPENING: &str = "the last known status is shown of members that are not read: ";

/// So many clusters are named in the condition's message; of the others only their number is said.
const NAMED: usize = 8;

/// Whether a member is read at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is.
    Current,
    /// It is not.
    Lost {
        /// Since when; `None` when nobody knows.
        since: Option<Time>,
    },
}

impl Reading {
    /// What the Cluster's condition Ready says, and since when: from Connected where the link is lost. `None` stands for a
    /// Cluster that is not there. One that nobody has looked at since it joined is not read either.
    #[must_use]
    pub fn of(cluster: Option<&Cluster>) -> Self {
        let Some(cluster) = cluster else { return Self::Lost { since: None } };
        let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let since = |condition: &Condition| condition.last_transition_time.clone();
        let cut = conditions::find(conditions, CONNECTED).filter(|connected| connected.status == FALSE).map(since);
        match conditions::find(conditions, READY) {
            Some(ready) if ready.status == TRUE => Self::Current,
            Some(ready) => Self::Lost { since: Some(cut.unwrap_or_else(|| since(ready))) },
            None => Self::Lost { since: cluster.metadata.creation_timestamp.clone() },
        }
    }

    /// The same, for one object in the member whose Work cannot be read on the hub.
    pub(super) fn doubted(self) -> Self {
        if self == Self::Current { Self::Lost { since: None } } else { self }
    }

    /// The same, for one object in the member: its kind may not be read though the member is.
    #[must_use]
    pub fn of_work(self, work: &Work) -> Self {
        match sight::stale(work) {
            Some(stale) => Self::Lost { since: Some(stale.last_transition_time.clone()) },
            None => self,
        }
    }
}

/// Whether execution has said anything about the Work.
#[must_use]
pub fn is_answered(work: &Work) -> bool {
    work.status.as_ref().is_some_and(|status| conditions::find(&status.conditions, APPLIED).is_some())
}

/// The condition that names the members that are not read, by name and since when; `shown` is what it says now. `None` when
/// all are read: freshness is what is expected, so only its absence is said.
pub(super) fn verdict(lost: &[(&str, Option<Time>)], shown: Option<&Condition>) -> Option<Verdict> {
    if lost.is_empty() {
        return None;
    }
    let shown = shown.map(|shown| shown.message.as_str()).unwrap_or_default();
    let mut message = OPENING.to_owned();
    for (position, (cluster, since)) in lost.iter().take(NAMED).enumerate() {
        message.push_str(if position == 0 { "" } else { ", " });
        message.push_str(cluster);
        let since = since.as_ref().map(|since| since.0).into_iter().chain(said(shown, cluster)).min();
        if let Some(since) = since {
            // Writing to a text cannot fail.
            write!(message, " since {since}").unwrap_or_default();
        }
    }
    if let Some(more) = lost.len().checked_sub(NAMED).filter(|more| *more > 0) {
        write!(message, " and {more} more").unwrap_or_default();
    }
    Some(Verdict::fails(STATUS_FRESH, CLUSTER_NOT_READ, message))
}

/// Since when a message of ours says that a cluster is not read. The binding is the only place where that outlives the
/// Cluster's conditions: Ready moves from False to Unknown, Connected goes before Ready is True again.
fn said(message: &str, cluster: &str) -> Option<Timestamp> {
    let mut members = message.strip_prefix(OPENING)?.split(", ");
    let since = members.find_map(|member| member.strip_prefix(cluster)?.strip_prefix(" since "))?;
    since.split(' ').next()?.parse().ok()
}
