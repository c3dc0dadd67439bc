//! The hub fails, or changes under the controller's hands: members keep what they have, and what was asked for arrives.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::DynamicObject;
use pando_e2e::audit;
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::provider::Cluster;
use pando_e2e::relay::{Mode, Relay};
use serde_json::{Value, json};

use crate::budget::{log, marks, pando, quiet};
use crate::objects::{self, spread};
use crate::records;
use crate::split::{founded, sample, settles};
use crate::subject::{self, SOON, same};
use crate::world::World;

/// `reliability.md` H1: the API server is gone for a moment, without warning.
pub(crate) async fn a_hub_whose_api_server_is_killed_goes_on_where_it_was(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub;
    let (template, _) = founded(federation, "hub-killed").await?;
    quiet(federation).await?;
    let before = members_objects(federation, &template).await?;
    let mark = marks(federation)?;

    federation.restart(hub, "kube-apiserver").await?;
    let start = Instant::now();
    objects::merge(&hub.client, &template, &json!({ "spec": { "replicas": 13 } })).await?;
    settles(federation, "hub-killed", "web-service", [6, 4, 3]).await?;
    println!("    a change was through {:.1} s after the API server was back", start.elapsed().as_secs_f64());
    quiet(federation).await?;

    for (old, new) in before.iter().zip(&members_objects(federation, &template).await?) {
        same(old, new)?;
    }
    for (cluster, mark) in mark.iter().filter(|(cluster, _)| cluster.name != hub.name) {
        let user = pando(cluster, federation);
        let mut writes = log(cluster)?.writes_since(*mark, |by| by == user)?;
        writes.retain(|entry| entry.resource != "events");
        // Replicas changed: our entry is converted at the first change, then applied.
        ensure!(
            writes.len() <= 2 && writes.iter().all(|entry| entry.verb == "patch" && entry.name == "web-service"),
            "more was written in {} than the change:\n{}",
            cluster.name,
            audit::print(&writes)
        );
    }
    Ok(())
}

/// `reliability.md` H1, shorter than any threshold: the connections stay open and nothing passes.
pub(crate) async fn a_hub_that_is_silent_for_a_while_loses_no_change(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub;
    let (template, _) = founded(federation, "hub-silent").await?;
    quiet(federation).await?;
    let before = members_objects(federation, &template).await?;
    let marks = marks(federation)?;

    let fault = relay(hub)?.disturbed(Mode::BlackHole);
    objects::merge(&hub.client, &template, &json!({ "spec": { "replicas": 13 } })).await?;
    // Nothing can tell the controller; and what it believes must not make it touch a member.
    let calm = || async { spread(federation, "hub-silent", "web-service").await };
    eventually::stays(Duration::from_secs(5), "replicas", &vec![Some(5), Some(3), Some(2)], calm).await?;
    for (cluster, mark) in marks.iter().filter(|(cluster, _)| cluster.name != hub.name) {
        let user = pando(cluster, federation);
        let writes = log(cluster)?.writes_since(*mark, |by| by == user)?;
        ensure!(writes.is_empty(), "written in {} meanwhile:\n{}", cluster.name, audit::print(&writes));
    }
    drop(fault);
    let start = Instant::now();
    settles(federation, "hub-silent", "web-service", [6, 4, 3]).await?;
    println!("    the change was through {:.1} s after the hub was back", start.elapsed().as_secs_f64());
    for (old, new) in before.iter().zip(&members_objects(federation, &template).await?) {
        same(old, new)?;
    }
    Ok(())
}

/// Every answer of the hub comes late: work takes longer, and is not done twice for that.
pub(crate) async fn a_slow_hub_costs_time_and_no_more_writes(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (_, quick) = counted(federation, "hub-quick").await?;
    let fault = relay(&federation.hub)?.disturbed(Mode::Delay(Duration::from_millis(400)));
    let (took, slow) = counted(federation, "hub-slow").await?;
    drop(fault);
    println!("    {quick} hub writes; {slow} with every answer 0.8 s late, in {:.1} s", took.as_secs_f64());
    // Statuses that come late are folded differently; that may cost a few more, never a multiple.
    ensure!(slow <= quick + quick / 2, "{slow} hub writes when the hub is slow, {quick} when it is not");
    Ok(())
}

/// Propagates a template, and gives the time and the number of hub writes that it took.
async fn counted(federation: &Federation, namespace: &str) -> Result<(Duration, usize)> {
    let hub = &federation.hub;
    subject::namespace(federation, namespace).await?;
    objects::create(&hub.client, &sample("prod-web-app-policy.yaml", namespace)?).await?;
    quiet(federation).await?;
    let mark = log(hub)?.mark()?;
    let start = Instant::now();
    objects::create(&hub.client, &sample("web-service.yaml", namespace)?).await?;
    settles(federation, namespace, "web-service", [5, 3, 2]).await?;
    let took = start.elapsed();
    quiet(federation).await?;
    let user = pando(hub, federation);
    let mut writes = log(hub)?.writes_since(mark, |by| by == user)?;
    writes.retain(|entry| entry.resource != "events");
    Ok((took, writes.len()))
}

fn relay(cluster: &Cluster) -> Result<&Relay> {
    cluster.relay.as_deref().context("tests have relays")
}

/// A member's API server is killed and comes back: its watches go on, and what changed meanwhile is put right.
pub(crate) async fn a_member_whose_api_server_is_killed_gets_what_it_missed(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (template, _) = founded(federation, "member-killed").await?;
    quiet(federation).await?;
    let before = members_objects(federation, &template).await?;
    let member = federation.member("sz-prod")?;

    let change = json!({ "spec": { "replicas": 13 } });
    let change = objects::merge(&federation.hub.client, &template, &change);
    futures::future::try_join(federation.restart(member, "kube-apiserver"), change).await?;
    settles(federation, "member-killed", "web-service", [6, 4, 3]).await?;
    // The watch lives again: an edit in the member is seen and reverted.
    objects::merge(&member.client, &template, &json!({ "spec": { "replicas": 1 } })).await?;
    settles(federation, "member-killed", "web-service", [6, 4, 3]).await?;
    for (old, new) in before.iter().zip(&members_objects(federation, &template).await?) {
        same(old, new)?;
    }
    Ok(())
}

/// A template is deleted at every moment of its binding's making; then its name is used again.
pub(crate) async fn a_template_deleted_while_its_binding_is_written_leaves_nothing(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let namespace = "deleted-early";
    subject::namespace(federation, namespace).await?;
    let template = sample("web-service.yaml", namespace)?;
    let policy = sample("prod-web-app-policy.yaml", namespace)?;
    objects::create(hub, &policy).await?;
    for delay in [0, 2, 5, 10, 20, 40, 80, 160] {
        objects::create(hub, &template).await?;
        // Not a wait for something: the moment at which the deletion meets the controller is what is varied.
        tokio::time::sleep(Duration::from_millis(delay)).await;
        objects::delete(hub, &template).await?;
    }
    eventually::some(SOON, "nothing to be left", || async {
        let left = leftovers(federation, namespace).await?;
        let spread = spread(federation, namespace, "web-service").await?;
        ensure!(left.is_empty() && spread.iter().all(Option::is_none), "left: {left:?}, {spread:?}");
        Ok(Some(()))
    })
    .await?;
    // It stays so: nothing that was late brings an object back.
    quiet(federation).await?;
    ensure!(spread(federation, namespace, "web-service").await?.iter().all(Option::is_none), "an object came back");
    objects::create(hub, &template).await?;
    settles(federation, namespace, "web-service", [5, 3, 2]).await
}

/// The members' objects of a template.
async fn members_objects(federation: &Federation, template: &Value) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for member in &federation.members {
        let found = objects::get(&member.client, template).await?;
        all.push(serde_json::to_value(found.with_context(|| format!("nothing in {}", member.name))?)?);
    }
    Ok(all)
}

/// Names of the bindings and Works of a namespace.
async fn leftovers(federation: &Federation, namespace: &str) -> Result<Vec<String>> {
    let name = |kind| move |object: DynamicObject| format!("{kind} {}", object.metadata.name.unwrap_or_default());
    let bindings = records::bindings(federation, namespace).await?;
    let works = records::works(federation, namespace).await?;
    Ok(bindings.into_iter().map(name("ResourceBinding")).chain(works.into_iter().map(name("Work"))).collect())
}
