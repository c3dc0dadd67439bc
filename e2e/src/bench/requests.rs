//! Requests of the controller under test, counted by the API servers themselves, and where their time went.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::figures::{quantile, short};
use super::rig::Rig;
use crate::audit::{Entry, Mark};

/// Whether a user is neither the rig itself nor a part of a cluster: then it is the controller under test.
fn is_contender(user: &str) -> bool {
    const RIG: [&str; 6] = [
        "pando-e2e",
        "kwok",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "system:apiserver",
        "system:anonymous",
    ];
    !RIG.contains(&user) && !user.starts_with("system:serviceaccount:kube-system:")
}

/// A point in time in the logs of every cluster of a rig.
#[derive(Clone, Debug)]
pub struct Marks(Vec<Mark>);

impl Marks {
    /// Now.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn now(rig: &Rig) -> Result<Self> {
        rig.sites().map(|site| site.log()?.mark()).collect::<Result<_>>().map(Self)
    }

    /// What the controller under test was answered since then.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn requests(&self, rig: &Rig) -> Result<Requests> {
        let mut all = Requests::default();
        for (place, (site, mark)) in rig.sites().zip(&self.0).enumerate() {
            let mut entries = site.log()?.since(*mark)?;
            entries.retain(|entry| is_contender(&entry.user));
            match place {
                0 => all.hub = entries,
                _ => all.members.extend(entries),
            }
        }
        Ok(all)
    }
}

/// Answered requests.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// On the hub.
    pub hub: Vec<Entry>,
    /// In all members.
    pub members: Vec<Entry>,
}

/// Numbers of writes. Leases, which no load causes, are left out everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// On the hub, by verb and resource, all of them.
    pub hub: BTreeMap<String, usize>,
    /// In members, by verb and resource.
    pub members: BTreeMap<String, usize>,
    /// On the hub, without Events and the marks of policies, clusters and namespaces.
    pub hub_writes: usize,
    /// Events on the hub.
    pub hub_events: usize,
    /// In members, without Events.
    pub member_writes: usize,
    /// Answers 409 everywhere, whatever was asked.
    pub conflicts: usize,
    /// Other refusals (400 and above, but 404 of a read) everywhere.
    pub refusals: usize,
}

impl Requests {
    /// Counts the writes.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.hub.iter().filter(|entry| counts_as_write(entry)) {
            *counts.hub.entry(label(entry)).or_default() += 1;
            match entry.resource.as_str() {
                "events" => counts.hub_events += 1,
                "namespaces" | "clusters" | "propagationpolicies" | "clusterpropagationpolicies" => {}
                _ => counts.hub_writes += 1,
            }
        }
        for entry in self.members.iter().filter(|entry| counts_as_write(entry)) {
            *counts.members.entry(label(entry)).or_default() += 1;
            counts.member_writes += usize::from(entry.resource != "events");
        }
        for entry in self.hub.iter().chain(&self.members) {
            let reading = matches!(entry.verb.as_str(), "get" | "list" | "watch");
            counts.conflicts += usize::from(entry.code == 409);
            counts.refusals += usize::from(entry.code >= 400 && entry.code != 409 && !(reading && entry.code == 404));
        }
        counts
    }

    /// Whether nothing was written that a load may have caused.
    pub fn is_quiet(&self) -> bool {
        let stirs =
            |entry: &&Entry| counts_as_write(entry) && entry.resource != "clusters" && entry.resource != "events";
        self.hub.iter().chain(&self.members).find(stirs).is_none()
    }

    /// Writes by stage, in the order in which the stages begin.
    pub fn stages(&self, start: Timestamp) -> Vec<Stage> {
        let mut groups: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
        for (place, entries) in [("hub", &self.hub), ("member", &self.members)] {
            for entry in entries.iter().filter(|entry| counts_as_write(entry)) {
                groups.entry(format!("{place} {}", label(entry))).or_default().push(entry);
            }
        }
        let mut stages: Vec<Stage> =
            groups.into_iter().map(|(what, entries)| Stage::of(what, &entries, start)).collect();
        stages.sort_by(|one, other| one.first.total_cmp(&other.first));
        stages
    }
}

fn counts_as_write(entry: &Entry) -> bool {
    entry.is_write() && entry.resource != "leases"
}

/// `patch works/status`.
fn label(entry: &Entry) -> String {
    let slash = if entry.subresource.is_empty() { "" } else { "/" };
    format!("{} {}{slash}{}", entry.verb, entry.resource, entry.subresource)
}

/// Requests of one kind during a burst.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Place, verb and resource.
    pub what: String,
    /// How many.
    pub count: usize,
    /// Seconds from the start of the burst until the first was received.
    pub first: f64,
    /// Until half of them were received.
    pub half: f64,
    /// Until the last was answered.
    pub last: f64,
    /// Milliseconds in the server, median.
    pub took: f64,
    /// The same, of the slowest hundredth.
    pub took_p99: f64,
    /// Requests in flight between first and last, on average.
    pub in_flight: f64,
}

impl Stage {
    fn of(what: String, entries: &[&Entry], start: Timestamp) -> Self {
        let since = |time: Timestamp| seconds_between(start, time);
        let received: Vec<f64> = entries.iter().map(|entry| since(entry.received)).collect();
        let answered: Vec<f64> = entries.iter().map(|entry| since(entry.answered)).collect();
        let took: Vec<f64> = received.iter().zip(&answered).map(|(from, to)| (to - from) * 1000.0).collect();
        let part = |samples: &[f64], part: f64| quantile(samples, part).unwrap_or(0.0);
        let (first, last) = (part(&received, 0.0), part(&answered, 1.0));
        let busy: f64 = took.iter().sum::<f64>() / 1000.0;
        Self {
            what,
            count: entries.len(),
            first,
            half: part(&received, 0.5),
            last,
            took: part(&took, 0.5),
            took_p99: part(&took, 0.99),
            in_flight: if last > first { busy / (last - first) } else { 0.0 },
        }
    }
}

/// Seconds from one time of a server's clock to another.
pub fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// Stages as a table.
pub fn print(stages: &[Stage]) -> String {
    let mut text = format!(
        "    {:<40} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9}\n",
        "writes", "count", "first s", "half s", "last s", "p50 ms", "p99 ms", "in flight"
    );
    for stage in stages {
        text += &format!(
            "    {:<40} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9}\n",
            stage.what,
            stage.count,
            short(stage.first),
            short(stage.half),
            short(stage.last),
            short(stage.took),
            short(stage.took_p99),
            short(stage.in_flight)
        );
    }
    text
}

/// Waits until the controller under test has not written for `rest`, but not longer than `within`. Says whether it came
/// to rest.
///
/// # Errors
/// When a log cannot be read.
pub async fn quiet(rig: &Rig, rest: Duration, within: Duration) -> Result<bool> {
    let end = std::time::Instant::now() + within;
    while std::time::Instant::now() < end {
        let marks = Marks::now(rig)?;
        tokio::time::sleep(rest).await;
        if marks.requests(rig).context("waiting for the controller to come to rest")?.is_quiet() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(verb: &str, resource: &str, subresource: &str, code: u16, at: i64) -> Entry {
        let time = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or_default();
        Entry {
            verb: verb.into(),
            user: "controller".into(),
            agent: String::new(),
            group: String::new(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: "ns".into(),
            name: "x".into(),
            code,
            dry_run: false,
            received: time(at),
            answered: time(at + 10),
        }
    }

    #[test]
    fn the_rig_and_the_clusters_own_parts_are_not_the_contender() {
        for user in ["pando-e2e", "kwok", "system:apiserver", "system:serviceaccount:kube-system:deployment-controller"]
        {
            assert!(!is_contender(user), "{user}");
        }
        for user in ["system:serviceaccount:karmada-system:pando-controller", "somebody", "system:admin"] {
            assert!(is_contender(user), "{user}");
        }
    }

    #[test]
    fn events_marks_leases_and_refusals_are_counted_apart() {
        let hub = vec![
            entry("create", "works", "", 201, 0),
            entry("patch", "works", "status", 200, 0),
            entry("patch", "works", "status", 409, 0),
            entry("create", "events", "", 201, 0),
            entry("update", "leases", "", 200, 0),
            entry("patch", "propagationpolicies", "", 200, 0),
            entry("get", "works", "", 404, 0),
            entry("create", "works", "", 403, 0),
        ];
        let requests = Requests { hub, members: vec![entry("create", "configmaps", "", 201, 0)] };
        let counts = requests.counts();
        assert_eq!((counts.hub_writes, counts.hub_events, counts.member_writes), (2, 1, 1));
        assert_eq!((counts.conflicts, counts.refusals), (1, 1));
        assert_eq!(counts.hub.get("patch works/status"), Some(&1));
        assert_eq!(counts.hub.get("update leases"), None);
        assert!(!requests.is_quiet());
        assert!(Requests { hub: vec![entry("create", "events", "", 201, 0)], members: vec![] }.is_quiet());
    }

    #[test]
    fn a_stage_tells_when_it_ran_and_how_much_at_once() {
        let hub = vec![entry("create", "works", "", 201, 100), entry("create", "works", "", 201, 110)];
        let stages = Requests { hub, members: vec![] }.stages(Timestamp::UNIX_EPOCH);
        assert_eq!(stages.len(), 1);
        let stage = &stages[0];
        assert_eq!((stage.what.as_str(), stage.count), ("hub create works", 2));
        assert!((stage.first - 0.1).abs() < 1e-9 && (stage.last - 0.12).abs() < 1e-9, "{stage:?}");
        assert!((stage.took - 10.0).abs() < 1e-6 && (stage.in_flight - 1.0).abs() < 1e-6, "{stage:?}");
        assert!(print(&stages).contains("hub create works"));
    }
}
