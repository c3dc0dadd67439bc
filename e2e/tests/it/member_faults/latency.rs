//! How long an edit on the hub takes until it is in members.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::provider::Cluster;
use serde_json::{Value, json};

use crate::objects;
use crate::subject::SOON;

/// How often a member is looked at: fine enough for what is measured, coarse enough not to be the load.
const EVERY: Duration = Duration::from_millis(3);

/// Of edits made one after the other, the time until each was in every member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latencies {
    pub(super) count: usize,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, p50, p99 } = self;
        write!(f, "{count} edits, p50 {} ms, p99 {} ms", p50.as_millis(), p99.as_millis())
    }
}

/// Edits a ConfigMap on the hub so many times, each time waiting until the members have it.
pub(super) async fn edits(
    federation: &Federation,
    members: &[&Cluster],
    map: &Value,
    count: usize,
) -> Result<Latencies> {
    for member in members {
        eventually::some(SOON, &format!("{map} in {}", member.name), || objects::get(&member.client, map)).await?;
    }
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let value = format!("edit {number}");
        let start = Instant::now();
        objects::merge(&federation.hub.client, map, &json!({ "data": { "key": value } })).await?;
        try_join_all(members.iter().map(|member| arrives(member, map, &value))).await?;
        took.push(start.elapsed());
    }
    took.sort();
    let at = |percent: usize| took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Ok(Latencies { count, p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default() })
}

async fn arrives(member: &Cluster, map: &Value, value: &str) -> Result<()> {
    let arrival = async {
        loop {
            let seen = objects::get(&member.client, map).await?;
            if seen.is_some_and(|seen| seen.data["data"]["key"] == value) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::time::timeout(SOON, arrival).await?
}
