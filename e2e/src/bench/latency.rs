//! B2, latency: one ConfigMap at a time, from its POST until the last member has it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::burst::Burst;
use super::figures::{quantile, short};
use super::load::Call;
use super::objects::{self, Kind, Shape};
use super::observer::Observer;
use super::requests::{Marks, Requests, seconds_between};
use super::rig::Rig;

/// How long one object may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Objects before those that count.
const WARM_UP: u32 = 10;

/// What was measured.
#[derive(Debug)]
pub struct Latencies {
    /// Milliseconds from the POST until the last member had the object, one for each object.
    pub exist: Vec<f64>,
    /// Milliseconds from the POST until the binding said that all have it.
    pub complete: Vec<f64>,
    /// Milliseconds from the POST's arrival until the servers had received and answered the writes of a kind: p50 of the
    /// first one's arrival and of the last one's answer.
    pub stages: BTreeMap<String, (f64, f64)>,
}

/// Times objects one by one. The next one comes when the controller has nothing more to say about the last one.
///
/// # Errors
/// When an object does not arrive.
pub async fn measure(rig: &Rig, samples: u32) -> Result<Latencies> {
    let burst = Burst::prepare(rig, Shape::Lite, 0).await?;
    let namespace = burst.namespace.as_str();
    rig.calm().await?;
    let observer = Observer::start(rig, namespace, Shape::Lite).await?;
    let (mut exist, mut complete, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    let marks = Marks::now(rig)?;
    for number in 0..WARM_UP + samples {
        let name = format!("lite-{number:05}");
        let call = Call::create(&objects::config_map(namespace, &name))?;
        starts.push((name.clone(), Timestamp::now()));
        let start = Instant::now();
        let since = |time: Option<Instant>, what: &str| {
            let time = time.with_context(|| format!("{name} {what} within {PATIENCE:?}"))?;
            Ok::<f64, anyhow::Error>(time.duration_since(start).as_secs_f64() * 1000.0)
        };
        call.send(&rig.hub.client).await?;
        let arrived = observer.exists(Kind::ConfigMap, &name, PATIENCE, &rig.progress).await?;
        let told = observer.complete(usize::try_from(number)? + 1, PATIENCE, &rig.progress).await?;
        if number >= WARM_UP {
            exist.push(since(arrived, "was not in every member")?);
            complete.push(since(told, "was not reported")?);
        }
    }
    rig.calm().await?;
    let stages = stages(&marks.requests(rig)?, &starts);
    burst.clear(rig).await?;
    Ok(Latencies { exist, complete, stages })
}

/// Follows each object through the audit logs: every write that names it, or was made while it was the only one.
fn stages(requests: &Requests, starts: &[(String, Timestamp)]) -> BTreeMap<String, (f64, f64)> {
    let mut times: BTreeMap<String, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for (index, (_, start)) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(Timestamp::MAX, |(_, next)| *next);
        let mut of_object: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (place, entries) in [("hub", &requests.hub), ("member", &requests.members)] {
            for entry in entries.iter().filter(|entry| entry.is_write() && entry.resource != "leases") {
                if entry.received < *start || entry.received >= end {
                    continue;
                }
                let slash = if entry.subresource.is_empty() { "" } else { "/" };
                let stage = format!("{place} {} {}{slash}{}", entry.verb, entry.resource, entry.subresource);
                let from = seconds_between(*start, entry.received) * 1000.0;
                let to = seconds_between(*start, entry.answered) * 1000.0;
                let known = of_object.entry(stage).or_insert((from, to));
                *known = (known.0.min(from), known.1.max(to));
            }
        }
        for (stage, (from, to)) in of_object {
            let known = times.entry(stage).or_default();
            known.0.push(from);
            known.1.push(to);
        }
    }
    let half = |all: &[f64]| quantile(all, 0.5).unwrap_or(0.0);
    times.into_iter().map(|(stage, (from, to))| (stage, (half(&from), half(&to)))).collect()
}

impl Latencies {
    /// For the file.
    pub fn profile(&self) -> Value {
        json!({ "stages": self.stages, "complete": self.complete })
    }

    /// For a person.
    pub fn print(&self) -> String {
        let mut stages: Vec<_> = self.stages.iter().collect();
        stages.sort_by(|one, other| one.1.0.total_cmp(&other.1.0));
        let mut text = format!("    {:<40} {:>10} {:>10}\n", "since the POST", "first ms", "last ms");
        for (stage, (from, to)) in stages {
            text += &format!("    {stage:<40} {:>10} {:>10}\n", short(*from), short(*to));
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Entry;

    #[test]
    fn a_stage_is_timed_from_the_post_of_its_own_object() {
        let time = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or_default();
        let entry = |verb: &str, at: i64| Entry {
            verb: verb.into(),
            user: "controller".into(),
            agent: String::new(),
            group: String::new(),
            resource: "works".into(),
            subresource: String::new(),
            namespace: "ns".into(),
            name: "x".into(),
            code: 200,
            dry_run: false,
            received: time(at),
            answered: time(at + 5),
        };
        let hub = vec![entry("create", 110), entry("create", 120), entry("create", 1030), entry("get", 1001)];
        let requests = Requests { hub, members: vec![] };
        let starts = [("a".to_owned(), time(100)), ("b".to_owned(), time(1000))];
        let stages = stages(&requests, &starts);
        assert_eq!(stages.keys().collect::<Vec<_>>(), ["hub create works"]);
        let (first, last) = stages["hub create works"];
        assert!((first - 10.0).abs() < 1e-6 && (last - 25.0).abs() < 1e-6, "{first} {last}");
    }
}
