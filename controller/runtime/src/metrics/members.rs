//! The traffic to each member, asked for at each scrape.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::gauges;

/// The traffic to one member at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member.
    pub cluster: String,
    /// How the link is: `connecting`, `connected` or `lost`.
    pub state: &'static str,
    /// Why it is lost; empty otherwise.
    pub cause: String,
    /// Calls that were sent and have not ended.
    pub in_flight: usize,
    /// The most that ever were at the same time.
    pub peak: usize,
    /// How many there may be.
    pub limit: usize,
    /// Calls that wait for room.
    pub waiting: usize,
    /// Works that wait for the member.
    pub parked: usize,
    /// How often the member was lost.
    pub lost: u64,
}

type Ask = Box<dyn Fn() -> Vec<Member> + Send + Sync>;

/// Whom to ask.
#[derive(Clone, Default)]
pub(super) struct Members(Arc<Mutex<Vec<Ask>>>);

impl Members {
    pub(super) fn watch(&self, ask: Ask) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ask);
    }

    pub(super) fn all(&self) -> Vec<Member> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().flat_map(|ask| ask()).collect()
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Members")
    }
}

impl Collector for Members {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Column = (&'static str, &'static str, fn(&Member) -> usize);
        let columns: [Column; 7] = [
            ("pando_member_connected", "1 while the member can be worked with", |member| {
                usize::from(member.state == "connected")
            }),
            ("pando_member_calls_in_flight", "Calls to the member that have not ended", |member| member.in_flight),
            ("pando_member_calls_peak", "The most calls that ever were in flight", |member| member.peak),
            ("pando_member_calls_limit", "How many calls may be in flight", |member| member.limit),
            ("pando_member_calls_waiting", "Calls that wait for room", |member| member.waiting),
            ("pando_member_works_parked", "Works that wait for the member to come back", |member| member.parked),
            ("pando_member_outages", "How often the member was lost", |member| {
                usize::try_from(member.lost).unwrap_or(usize::MAX)
            }),
        ];
        let members = self.all();
        for (name, help, column) in columns {
            let rows = members.iter().map(|member| (vec![("member_cluster", member.cluster.as_str())], column(member)));
            gauges(&mut encoder, name, help, rows)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::Metrics;
    use super::*;

    #[test]
    fn each_member_shows_its_own_traffic() {
        let metrics = Metrics::new();
        metrics.watch_members(|| {
            let member = Member {
                cluster: "bj".into(),
                state: "lost",
                cause: "no route".into(),
                in_flight: 3,
                peak: 9,
                limit: 4,
                waiting: 0,
                parked: 100,
                lost: 1,
            };
            vec![member]
        });
        let text = metrics.encode().unwrap();
        for line in [
            "pando_member_connected{member_cluster=\"bj\"} 0",
            "pando_member_calls_in_flight{member_cluster=\"bj\"} 3",
            "pando_member_calls_limit{member_cluster=\"bj\"} 4",
            "pando_member_works_parked{member_cluster=\"bj\"} 100",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
