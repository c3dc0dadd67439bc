//! One member is away with much to do: the others work as if it were not there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use pando_e2e::audit;
use pando_e2e::eventually;
use pando_e2e::http_relay::{Fault, Rule, When};
use serde_json::{Value, json};

use super::latency::{self, Latencies};
use super::stage::{FAULTY, OTHERS, SOON, SPACE, Stage};
use crate::budget::{self, log};
use crate::objects;
use crate::world::World;

/// Works that wait for the member that is away.
const PENDING: usize = 100;
/// Edits that reach the others meanwhile.
const EDITS: usize = 100;
/// How long nothing may follow before writes are counted.
const REST: Duration = Duration::from_secs(2);
/// Requests that may be open beside the calls that the controller counts: its probe, and the lists of its watches.
const BESIDE: usize = 8;
/// How often both runs are made until they can be compared: a shared machine has moments of its own.
const ATTEMPTS: usize = 3;

/// What one run came to.
struct Run {
    latencies: Latencies,
    /// Writes of the controller on the hub, until everything had converged; Events have a budget of their own.
    hub_writes: Vec<audit::Entry>,
    /// Until the member that was away had everything, counted from its return.
    caught_up: Duration,
    /// Requests to it that were open at once, until its return.
    peak: usize,
    /// How many calls the controller allowed itself before, and after.
    limits: [usize; 2],
}

/// M9, M31, N9.
pub(crate) async fn a_black_holed_member_costs_the_others_nothing(world: &World) -> Result<()> {
    let stage = Stage::open(world, "bulkhead").await?;
    let hub = &stage.federation.hub.client;
    let mut policy = objects::duplicated(SPACE, "v1", "ConfigMap", "pending", &[FAULTY]);
    policy["spec"]["resourceSelectors"] = json!([
        { "apiVersion": "v1", "kind": "ConfigMap", "labelSelector": { "matchLabels": { "reach": "pending" } } },
    ]);
    objects::create(hub, &policy).await?;
    let pending: Vec<Value> = (0..PENDING).map(pending).collect();
    let creations: Vec<_> = pending.iter().map(|map| objects::create(hub, map)).collect();
    stream::iter(creations).buffer_unordered(16).try_collect::<Vec<_>>().await?;
    arrived(&stage, &pending, "value").await?;

    let outcome = Box::pin(attempts(&stage, &pending)).await;
    // A hundred bindings that go on telling of themselves would keep the tests that follow from finding Pando at rest.
    let deletions: Vec<_> = pending.iter().map(|map| objects::delete(hub, map)).collect();
    stream::iter(deletions).buffer_unordered(16).try_collect::<Vec<_>>().await?;
    objects::delete(hub, &policy).await?;
    outcome
}

async fn attempts(stage: &Stage<'_>, pending: &[Value]) -> Result<()> {
    for attempt in 1..=ATTEMPTS {
        let healthy = run(stage, pending, &format!("healthy {attempt}"), Vec::new()).await?;
        let silence = vec![Rule::new(When::any(), Fault::Silence)];
        let away = run(stage, pending, &format!("away {attempt}"), silence).await?;
        compare(&healthy, &away)?;
        // The target is a factor of 1.1, on a machine of one's own.
        let limit = (healthy.latencies.p99 * 2).max(healthy.latencies.p99 + Duration::from_millis(150));
        if away.latencies.p99 <= limit {
            return Ok(());
        }
    }
    bail!("the others were slower each time that a member was away, see above")
}

/// What holds on any machine.
fn compare(healthy: &Run, away: &Run) -> Result<()> {
    println!("    healthy:     {}, {} hub writes", healthy.latencies, healthy.hub_writes.len());
    println!("    one is away: {}, {} hub writes", away.latencies, away.hub_writes.len());
    println!(
        "    {PENDING} Works were in the member {:.2} s after its return; at most {} requests to it were open at once, its \
         limit was {} before and {} after",
        away.caught_up.as_secs_f64(),
        away.peak,
        away.limits[0],
        away.limits[1]
    );
    ensure!(away.peak <= away.limits[0] + BESIDE, "{} open requests, the limit was {:?}", away.peak, away.limits);
    ensure!(away.caught_up <= Duration::from_secs(20), "caught up after {:?} only", away.caught_up);
    // That a member is lost and back is itself said on the hub, in its Cluster.
    let of = |run: &Run, cluster: bool| {
        run.hub_writes.iter().filter(|entry| (entry.resource == "clusters") == cluster).count()
    };
    let text = || format!("with:\n{}without:\n{}", by_kind(&away.hub_writes), by_kind(&healthy.hub_writes));
    ensure!(of(away, false) == of(healthy, false), "other hub writes than in a healthy run, {}", text());
    ensure!(of(away, true) <= 4, "the Cluster was written too often, {}", text());
    Ok(())
}

/// How many calls to the faulty member the controller allows itself at present.
async fn call_limit(stage: &Stage<'_>) -> Result<usize> {
    let metrics = stage.federation.controller().metrics().await?.body;
    let prefix = format!("pando_member_calls_limit{{member_cluster=\"{FAULTY}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&prefix));
    Ok(value.with_context(|| format!("no metric {prefix}"))?.trim().parse()?)
}

/// Gives the member much to do and edits what the others have.
async fn run(stage: &Stage<'_>, pending: &[Value], value: &str, rules: Vec<Rule>) -> Result<Run> {
    let federation = stage.federation;
    let others = [federation.member(OTHERS[0])?, federation.member(OTHERS[1])?];
    let hub_log = log(&federation.hub)?;
    at_rest(stage, hub_log.mark()?).await?;
    let before = call_limit(stage).await?;
    let (written, mark) = (hub_log.mark()?, stage.http.record().mark());
    let fault = stage.http.answer_by(rules);
    let patch = json!({ "data": { "key": value } });
    let changes: Vec<_> = pending.iter().map(|map| objects::merge(&federation.hub.client, map, &patch)).collect();
    stream::iter(changes).buffer_unordered(16).try_collect::<Vec<_>>().await?;
    let latencies = latency::edits(federation, &others, &stage.elsewhere(), EDITS).await?;
    let peak = stage.http.record().peak(mark);
    drop(fault);
    let back = Instant::now();
    arrived(stage, pending, value).await?;
    let caught_up = back.elapsed();
    let hub_writes = at_rest(stage, written).await?;
    Ok(Run { latencies, hub_writes, caught_up, peak, limits: [before, call_limit(stage).await?] })
}

/// Waits until the controller has written nothing on the hub for a while; Events, which have a slow lane of their own, do not
/// count. Gives what it has written since the mark.
async fn at_rest(stage: &Stage<'_>, since: audit::Mark) -> Result<Vec<audit::Entry>> {
    let hub = &stage.federation.hub;
    let user = budget::pando(hub, stage.federation);
    let written = || {
        let mut writes = log(hub)?.writes_since(since, |by| by == user)?;
        writes.retain(|entry| entry.resource != "events" && entry.resource != "leases");
        anyhow::Ok(writes)
    };
    eventually::some(SOON, "the controller to come to rest", || async {
        let before = written()?.len();
        tokio::time::sleep(REST).await;
        Ok(Some(written()?).filter(|writes| writes.len() == before))
    })
    .await
}

fn pending(number: usize) -> Value {
    let mut map = objects::config_map(SPACE, &format!("pending-{number}"));
    map["metadata"]["labels"] = json!({ "reach": "pending" });
    map
}

/// Waits until the member has all of them with this value.
async fn arrived(stage: &Stage<'_>, pending: &[Value], value: &str) -> Result<()> {
    let first = pending.first().context("nothing is pending")?;
    let api = objects::api_of(&stage.faulty.client, first)?;
    let these = kube::api::ListParams::default().labels("reach=pending");
    eventually::equal(SOON, "changed ConfigMaps in the member that is back", &pending.len(), || async {
        let all = api.list(&these).await?.items;
        Ok(all.iter().filter(|map| map.data["data"]["key"] == value).count())
    })
    .await
}

fn by_kind(writes: &[audit::Entry]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for entry in writes {
        let subresource = if entry.is_status() { "/status" } else { "" };
        *counts.entry(format!("{} {}{subresource}", entry.verb, entry.resource)).or_insert(0) += 1;
    }
    counts.iter().map(|(what, count)| format!("  {count} {what}\n")).collect()
}
