//! B0, the floor: what this machine can do without any controller.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kube::Client;
use serde_json::{Value, json};

use super::figures::{Row, Unit};
use super::load::{self, Call, IN_FLIGHT};
use super::machine;
use super::objects::{self, Kind, Shape};
use super::report::Report;
use super::rig::{Lone, Rig, Workshop};
use crate::eventually;
use crate::install;

/// How long each level of writing lasts.
const LEVEL: Duration = Duration::from_secs(5);
/// How long an idle pair rests before its memory is read.
const REST: Duration = Duration::from_secs(5);
/// Requests in flight that are measured.
const LEVELS: [usize; 3] = [1, IN_FLIGHT, 64];
/// Writes to the disk that are timed.
const DISK_WAITS: u32 = 200;
/// Where the objects of the floor are.
const OBJECTS: &str = "/apis/bench.pando.io/v1/namespaces/default/floors";
/// How long the members may take with workloads that are handed to them directly.
const WORKLOADS: Duration = Duration::from_secs(300);

/// Measures one API server alone, and tells the report its POST/s at 16 in flight. Rows are printed when they are asked
/// for; the floor is needed for every target.
///
/// # Errors
/// When the API server does not start or a write fails.
pub async fn measure(workshop: &Workshop, report: &mut Report, print: bool) -> Result<()> {
    if let Some(floor) = workshop.arguments.floor {
        report.floor = Some(floor);
        return Ok(());
    }
    workshop.progress.say("measuring the floor of this machine: one API server alone");
    let lone = Lone::start(workshop).await?;
    let client = &lone.site.client;
    install::definitions(client, &[definition()]).await?;
    tokio::time::sleep(REST).await;
    let idle = lone.memory()?;
    let lasts = if workshop.arguments.quick { LEVEL / 5 } else { LEVEL };
    let mut rows = Vec::new();
    for in_flight in LEVELS {
        let posts = rate(lasts, in_flight, |number| post(client, in_flight, number)).await?;
        let names = posts.done;
        let patches = rate(lasts, in_flight, |number| patch(client, in_flight, number % names)).await?;
        for (verb, level) in [("post", &posts), ("patch", &patches)] {
            let id = format!("b0.{verb}.{in_flight}");
            let what = format!("{} of a 4 KB custom resource, {in_flight} in flight", verb.to_uppercase());
            rows.push(Row::median(id, what, Unit::PerSecond, level.each_second.clone()));
        }
        if in_flight == IN_FLIGHT {
            report.floor = super::figures::quantile(&posts.each_second, 0.5);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
    let megabytes = idle.resident as f64 / 1e6;
    rows.push(Row::median("b0.pair.idle", "API server and etcd, resident when idle", Unit::Megabytes, vec![megabytes]));
    let home = lone.home.clone();
    let waits = tokio::task::spawn_blocking(move || machine::disk_waits(&home, DISK_WAITS)).await??;
    rows.push(
        Row::median("b0.disk.sync", "4 KB written and synced to this disk", Unit::Millis, waits)
            .note("etcd of the rig keeps its data in memory and does not sync"),
    );
    lone.stop().await?;
    for row in rows.into_iter().filter(|_| print) {
        report.row(row)?;
    }
    Ok(())
}

/// How fast a kind of request went.
#[derive(Debug)]
struct Level {
    /// Requests done.
    done: u32,
    /// Requests done in each whole second.
    each_second: Vec<f64>,
}

/// Does something over and over, this many at once, for a while. The part of a second that is left at the end does
/// not count, unless there is no other.
async fn rate<F>(lasts: Duration, in_flight: usize, each: impl Fn(u32) -> F) -> Result<Level>
where
    F: Future<Output = Result<()>>,
{
    let start = Instant::now();
    let running = (0..u32::MAX).take_while(|_| start.elapsed() < lasts).map(|number| {
        let one = each(number);
        async move { one.await.map(|()| start.elapsed()) }
    });
    let mut times: Vec<Duration> = stream::iter(running).buffer_unordered(in_flight).try_collect().await?;
    times.retain(|time| *time < lasts);
    let whole = lasts.as_secs().max(1);
    let in_second = |second: u64| times.iter().filter(|time| time.as_secs() == second).count();
    #[expect(clippy::cast_precision_loss, reason = "requests of a second")]
    let each_second = (0..whole).map(|second| in_second(second) as f64).collect();
    Ok(Level { done: u32::try_from(times.len().max(1))?, each_second })
}

fn name(in_flight: usize, number: u32) -> String {
    format!("floor-{in_flight}-{number:06}")
}

async fn post(client: &Client, in_flight: usize, number: u32) -> Result<()> {
    let object = json!({
        "apiVersion": "bench.pando.io/v1",
        "kind": "Floor",
        "metadata": { "namespace": "default", "name": name(in_flight, number) },
        "spec": { "text": "x".repeat(3800), "number": 0 },
    });
    Call::post(OBJECTS.to_owned(), &object)?.send(client).await
}

async fn patch(client: &Client, in_flight: usize, number: u32) -> Result<()> {
    // Each patch changes something: the times are never equal.
    let patch = json!({ "spec": { "number": jiff::Timestamp::now().as_microsecond() } });
    Call::merge(format!("{OBJECTS}/{}", name(in_flight, number)), &patch)?.send(client).await
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "floors.bench.pando.io" },
        "spec": {
            "group": "bench.pando.io",
            "scope": "Namespaced",
            "names": { "kind": "Floor", "listKind": "FloorList", "plural": "floors", "singular": "floor" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": {
                        "type": "object",
                        "properties": { "text": { "type": "string" }, "number": { "type": "integer" } },
                    }},
                }},
            }],
        },
    })
}

/// What the members need for the workloads of B1 when somebody hands them over directly: no controller can make
/// "all ready" come sooner.
///
/// # Errors
/// When they refuse the objects or do not get ready.
pub async fn workloads(rig: &Rig, report: &mut Report, apps: u32) -> Result<()> {
    let namespace = "bench-floor";
    for member in &rig.members {
        Call::create(&objects::namespace(namespace))?.send(&member.client).await?;
    }
    rig.calm().await?;
    for (id, shape) in [("b0.members.full", Shape::Full), ("b0.members.deploy", Shape::Deployment)] {
        let mut calls = Vec::new();
        for number in 0..apps {
            for object in shape.templates(namespace, &format!("app-{number:05}")) {
                calls.push(Call::create(&object)?);
            }
        }
        let start = Instant::now();
        let all = rig.members.iter().map(|member| load::send_all(&member.client, calls.clone(), IN_FLIGHT));
        futures::future::try_join_all(all).await?;
        let wanted = usize::try_from(apps)?;
        for member in &rig.members {
            let client = &member.client;
            eventually::some(WORKLOADS, "the members' own Deployments to be ready", || async move {
                let list = load::read(client, &Kind::Deployment.collection(Some(namespace))).await?;
                let list = list.context("no Deployments")?;
                let items = list["items"].as_array().into_iter().flatten();
                Ok((items.filter(|one| one["status"]["readyReplicas"] == 1).count() == wanted).then_some(()))
            })
            .await?;
        }
        let took = start.elapsed().as_secs_f64();
        let what = format!("{apps} apps handed to {} members directly: all ready", rig.members.len());
        report.row(Row::median(id, what, Unit::Seconds, vec![took]))?;
        for (member, kind) in rig.members.iter().flat_map(|member| shape.kinds().iter().map(move |kind| (member, kind)))
        {
            Call::delete(kind.collection(Some(namespace))).send(&member.client).await?;
            let client = &member.client;
            eventually::some(WORKLOADS, "the members' own objects to be gone", || async move {
                let mut left = load::names(client, *kind, namespace).await?;
                left.retain(|name| name != objects::EVERYWHERE);
                Ok(left.is_empty().then_some(()))
            })
            .await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_rate_counts_whole_seconds_and_stops_at_the_first_failure() {
        let level = rate(Duration::from_millis(50), 4, |_| async { Ok(()) }).await.unwrap();
        assert!(level.done >= 1 && level.each_second.len() == 1, "{level:?}");
        let failed = rate(Duration::from_secs(5), 4, |number| async move {
            anyhow::ensure!(number < 3, "the fourth fails");
            Ok(())
        });
        assert!(failed.await.is_err());
    }

    #[test]
    fn the_object_of_the_floor_is_about_four_kilobytes() {
        assert!(definition()["spec"]["versions"][0]["schema"].is_object());
        assert_eq!(name(16, 7), "floor-16-000007");
    }
}
