//! A member that cannot be reached loses nothing and delays nobody.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pando_e2e::audit;
use pando_e2e::eventually;
use pando_e2e::relay::Mode;
use serde_json::json;

use crate::budget::{log, pando, quiet};
use crate::objects;
use crate::split::{founded, settles};
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);

pub(crate) async fn a_silent_member_loses_nothing_and_delays_nobody(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let (template, _) = founded(federation, "outage").await?;
    let silent = federation.member("sh-prod")?;
    let relay = silent.relay.as_ref().context("tests have relays")?;
    quiet(federation).await?; // what other tests let go is gone
    let before = log(silent)?.mark()?;

    let silence = relay.disturbed(Mode::BlackHole);
    let start = Instant::now();
    let edit = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:1.30" },
    ]);
    objects::json_patch(hub, &template, edit).await?;
    for name in ["bj-prod", "sz-prod"] {
        let client = &federation.member(name)?.client;
        eventually::some(SOON, &format!("the new image in {name}"), || async {
            let seen = objects::get(client, &template).await?.context("gone")?;
            let image = &seen.data["spec"]["template"]["spec"]["containers"][0]["image"];
            Ok((image == "nginx:1.30").then_some(()))
        })
        .await?;
    }
    let took = start.elapsed();
    ensure!(took < Duration::from_secs(5), "the others waited {took:?}");
    let held = objects::get(&silent.client, &template).await?.context("the silent member lost it")?;
    ensure!(held.data["spec"]["replicas"] == 3);
    drop(silence);

    eventually::some(SOON, "the new image after the outage", || async {
        let seen = objects::get(&silent.client, &template).await?.context("gone")?;
        let image = &seen.data["spec"]["template"]["spec"]["containers"][0]["image"];
        Ok((image == "nginx:1.30").then_some(()))
    })
    .await?;
    settles(federation, "outage", "web-service", [5, 3, 2]).await?;
    let user = pando(silent, federation);
    let mut deletes = log(silent)?.writes_since(before, |by| by == user)?;
    deletes.retain(|entry| entry.verb.starts_with("delete"));
    ensure!(deletes.is_empty(), "deleted in the silent member:\n{}", audit::print(&deletes));
    Ok(())
}

pub(crate) async fn a_reset_connection_is_opened_again(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (template, _) = founded(federation, "reset").await?;
    let member = federation.member("bj-prod")?;
    let relay = member.relay.as_ref().context("tests have relays")?;
    for _ in 0..3 {
        relay.reset();
        objects::delete(&member.client, &template).await?;
        eventually::some(SOON, "the Deployment to be back", || async {
            let seen = objects::get(&member.client, &template).await?;
            Ok(seen.filter(|seen| seen.metadata.deletion_timestamp.is_none()).map(drop))
        })
        .await?;
    }
    settles(federation, "reset", "web-service", [5, 3, 2]).await
}
