//! A member that is cut off: the hub goes on, nothing is lost, and what was missed is made good.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pando_e2e::audit;
use pando_e2e::eventually;
use pando_e2e::federation::{Federation, cluster_resource};
use pando_e2e::relay::Mode;
use serde_json::{Value, json};

use crate::budget::{log, pando, quiet};
use crate::subject::{self, SOON};
use crate::world::World;
use crate::{objects, records};

const LOST: &str = "sz-prod";
const OTHERS: [&str; 2] = ["bj-prod", "sh-prod"];
/// What a member may take that has nothing to do with the fault.
const PROMPT: Duration = Duration::from_secs(5);

/// Three ConfigMaps in every member.
async fn everywhere(federation: &Federation, namespace: &str) -> Result<[Value; 3]> {
    let hub = &federation.hub.client;
    subject::namespace(federation, namespace).await?;
    let maps = ["changed", "deleted", "kept"].map(|name| objects::config_map(namespace, name));
    let mut policy = objects::duplicated(namespace, "v1", "ConfigMap", "all", &[OTHERS[0], OTHERS[1], LOST]);
    policy["spec"]["resourceSelectors"] = json!([{ "apiVersion": "v1", "kind": "ConfigMap" }]);
    objects::create(hub, &policy).await?;
    for map in &maps {
        objects::create(hub, map).await?;
    }
    for member in &federation.members {
        for map in &maps {
            eventually::some(SOON, "a ConfigMap in every member", || objects::get(&member.client, map)).await?;
        }
    }
    Ok(maps)
}

async fn value(federation: &Federation, member: &str, object: &Value) -> Result<Value> {
    let seen = objects::get(&federation.member(member)?.client, object).await?;
    Ok(seen.map_or(Value::Null, |seen| seen.data["data"]["key"].clone()))
}

async fn missed_changes_are_made_good(world: &World, namespace: &str, mode: Mode) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let [changed, deleted, kept] = everywhere(federation, namespace).await?;
    let lost = federation.member(LOST)?;
    quiet(federation).await?; // what other tests let go is gone
    let mark = log(lost)?.mark()?;
    let relay = lost.relay.as_ref().context("tests have relays")?;
    let fault = relay.disturbed(mode);

    let start = Instant::now();
    objects::merge(hub, &changed, &json!({ "data": { "key": "second" } })).await?;
    objects::delete(hub, &deleted).await?;
    let fresh = objects::config_map(namespace, "fresh");
    objects::create(hub, &fresh).await?;
    for name in OTHERS {
        eventually::equal(
            SOON,
            &format!("the changes in {name}"),
            &[json!("second"), Value::Null, json!("value")],
            || async {
                let seen = [&changed, &deleted, &fresh].map(|object| value(federation, name, object));
                let [first, second, third] = seen;
                Ok([first.await?, second.await?, third.await?])
            },
        )
        .await?;
    }
    let took = start.elapsed();
    println!("    the others have it after {:.2} s", took.as_secs_f64());
    ensure!(took < PROMPT, "the others waited {took:?}");

    for object in [&changed, &deleted, &kept] {
        ensure!(value(federation, LOST, object).await? == "value", "{object} has changed in {LOST}");
    }
    let user = pando(lost, federation);
    let writes = log(lost)?.writes_since(mark, |by| by == user)?;
    ensure!(writes.is_empty(), "written through a broken connection:\n{}", audit::print(&writes));
    // The Work of the deleted template waits for the member; it is the record of what is owed.
    ensure!(works_of(federation, namespace, "deleted").await? == 1, "the Work was given up while {LOST} was away");
    ensure!(ready(federation).await? == "True", "a short fault must not make a cluster unfit");

    drop(fault);
    let start = Instant::now();
    eventually::equal(
        SOON,
        "the changes in the member that is back",
        &[json!("second"), Value::Null, json!("value")],
        || async {
            Ok([
                value(federation, LOST, &changed).await?,
                value(federation, LOST, &deleted).await?,
                value(federation, LOST, &fresh).await?,
            ])
        },
    )
    .await?;
    println!("    the lost one has it {:.2} s after healing", start.elapsed().as_secs_f64());
    eventually::equal(SOON, "Works of the deleted template", &0, || works_of(federation, namespace, "deleted")).await?;
    ensure!(value(federation, LOST, &kept).await? == "value");

    let mut deletes = log(lost)?.writes_since(mark, |by| by == user)?;
    deletes.retain(|entry| entry.verb.starts_with("delete"));
    let names: Vec<&str> = deletes.iter().map(|entry| entry.name.as_str()).collect();
    ensure!(names == ["deleted"], "deleted in {LOST}:\n{}", audit::print(&deletes));
    Ok(())
}

/// How many Works of a ConfigMap are left for the lost member.
async fn works_of(federation: &Federation, namespace: &str, name: &str) -> Result<usize> {
    let place = format!("karmada-es-{LOST}");
    let works = records::works(federation, namespace).await?;
    let ours = works.iter().filter(|work| {
        work.metadata.namespace.as_ref() == Some(&place) && records::manifest(work)["metadata"]["name"] == name
    });
    Ok(ours.count())
}

/// Status of the lost member's condition Ready.
async fn ready(federation: &Federation) -> Result<Value> {
    let clusters = kube::Api::<kube::api::DynamicObject>::all_with(federation.hub.client.clone(), &cluster_resource());
    let cluster = clusters.get(LOST).await?;
    let conditions = cluster.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
    Ok(ready.map_or(Value::Null, |ready| ready["status"].clone()))
}

pub(crate) async fn a_member_that_was_cut_off_gets_what_it_missed(world: &World) -> Result<()> {
    missed_changes_are_made_good(world, "cut-off", Mode::Cut).await
}

pub(crate) async fn a_member_that_was_silent_gets_what_it_missed(world: &World) -> Result<()> {
    missed_changes_are_made_good(world, "silent", Mode::BlackHole).await
}
